/* UTF-8, character by character. SPDX-License-Identifier: MIT */
#ifndef PQ_TOK_UTF8_H
#define PQ_TOK_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of the well-formed character at s (n > 0), or 0. */
size_t pq_utf8_len(const char *s, size_t n);
/* How many bytes at s could still become a character with more of them: 0 to n. */
size_t pq_utf8_partial(const char *s, size_t n);
uint32_t pq_utf8_get(const char *s, size_t len); /* the code point of a well-formed character */
size_t pq_utf8_put(uint32_t c, char out[4]);     /* its bytes; returns how many */
/* Bytes of the character that ends before s + n (n > 0); 1 when it is not well-formed. */
size_t pq_utf8_len_back(const char *s, size_t n);
bool pq_utf8_is_space(uint32_t c); /* Unicode's White_Space */

#endif
