/* GPT-2's byte alphabet: every byte as a printable character. SPDX-License-Identifier: MIT */
#ifndef PQ_TOK_ALPHABET_H
#define PQ_TOK_ALPHABET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PQ_ALPHABET_END = 0x144 }; /* one past its last character */

uint32_t pq_alphabet_char(uint8_t byte);
/* The bytes of a token, at most n, into out; false (and nothing useful in out) when the text has a
 * character that is not of the alphabet. */
bool pq_alphabet_bytes(const char *text, size_t n, uint8_t *out, size_t *n_out);

#endif
