/* Bounds of bytes: table 3-7 of the Unicode standard. SPDX-License-Identifier: MIT */
#include "tok/utf8.h"

/* Length by the first byte, 0 when none starts so. */
static size_t expected(unsigned char c)
{
    if (c < 0x80)
        return 1;
    if (c < 0xc2 || c > 0xf4)
        return 0;
    return c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
}

/* How many of the n bytes at s are a character or the beginning of one; at most `len`. */
static size_t good_bytes(const unsigned char *s, size_t n, size_t len)
{
    unsigned char c = s[0];
    unsigned char low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
    unsigned char high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
    size_t k = 1;
    if (k < n && k < len && s[k] >= low && s[k] <= high)
        for (k = 2; k < n && k < len && (s[k] & 0xc0) == 0x80;)
            k++;
    return k;
}

size_t pq_utf8_len(const char *s, size_t n)
{
    size_t len = expected((unsigned char)s[0]);
    return len && len <= n && good_bytes((const unsigned char *)s, n, len) == len ? len : 0;
}

size_t pq_utf8_partial(const char *s, size_t n)
{
    size_t len = n ? expected((unsigned char)s[0]) : 0;
    return len ? good_bytes((const unsigned char *)s, n, len) : 0;
}

uint32_t pq_utf8_get(const char *s, size_t len)
{
    static const unsigned char mask[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    uint32_t c = (unsigned char)s[0] & mask[len];
    for (size_t i = 1; i < len; i++)
        c = c << 6 | ((unsigned char)s[i] & 0x3f);
    return c;
}

size_t pq_utf8_put(uint32_t c, char out[4])
{
    static const unsigned char lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    size_t len = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    out[0] = (char)(lead[len] | c >> 6 * (len - 1));
    for (size_t i = 1; i < len; i++)
        out[i] = (char)(0x80 | (c >> 6 * (len - 1 - i) & 0x3f));
    return len;
}

size_t pq_utf8_len_back(const char *s, size_t n)
{
    for (size_t k = 1; k <= 4 && k <= n; k++)
        if (((unsigned char)s[n - k] & 0xc0) != 0x80)
            return pq_utf8_len(s + n - k, k) == k ? k : 1;
    return 1;
}

bool pq_utf8_is_space(uint32_t c)
{
    if (c < 0x80)
        return c == ' ' || (c >= '\t' && c <= '\r');
    return c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 ||
           c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}
