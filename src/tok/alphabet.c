/*
 * bytes_to_unicode of openai/gpt-2: the printable characters of Latin-1 stand for themselves, the
 * other 68 bytes, in order, for U+0100 to U+0143. SPDX-License-Identifier: MIT
 */
#include "tok/alphabet.h"
#include "tok/utf8.h"

/* Runs of bytes that do not stand for themselves, and the character of the first. */
static const struct run {
    uint32_t first, last, start;
} runs[] = {
    {0x00, 0x20, 0x100},
    {0x7f, 0xa0, 0x121},
    {0xad, 0xad, 0x143},
};

enum { N_RUNS = sizeof runs / sizeof runs[0] };

uint32_t pq_alphabet_char(uint8_t byte)
{
    for (int i = 0; i < N_RUNS; i++)
        if (byte >= runs[i].first && byte <= runs[i].last)
            return runs[i].start + byte - runs[i].first;
    return byte;
}

static bool byte_of(uint32_t c, uint8_t *out)
{
    for (int i = 0; i < N_RUNS; i++) {
        uint32_t at = c - runs[i].start;
        if (c >= runs[i].start && at <= runs[i].last - runs[i].first) {
            *out = (uint8_t)(runs[i].first + at);
            return true;
        }
        if (c >= runs[i].first && c <= runs[i].last)
            return false;
    }
    *out = (uint8_t)c;
    return c < 0x100;
}

bool pq_alphabet_bytes(const char *text, size_t n, uint8_t *out, size_t *n_out)
{
    *n_out = 0;
    for (size_t i = 0, k; i < n; i += k) {
        k = pq_utf8_len(text + i, n - i);
        if (!k || !byte_of(pq_utf8_get(text + i, k), &out[(*n_out)++]))
            return false;
    }
    return true;
}
