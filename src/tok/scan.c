/* Grammar: RFC 8259. SPDX-License-Identifier: MIT */
#include "tok/scan.h"
#include "tok/utf8.h"

#include <string.h>

char pq_scan_peek(struct pq_scan *s)
{
    while (s->p < s->end && (*s->p == ' ' || *s->p == '\n' || *s->p == '\t' || *s->p == '\r'))
        s->p++;
    return s->p < s->end ? *s->p : '\0';
}

bool pq_scan_take(struct pq_scan *s, char c)
{
    if (pq_scan_peek(s) != c)
        return false;
    s->p++;
    return true;
}

/* The end of the string whose first character is at p, NULL when there is none. */
static const char *closing(const char *p, const char *end)
{
    const char *from = p;
    while (p < end && (p = (const char *)memchr(p, '"', (size_t)(end - p))) != NULL) {
        const char *slash = p;
        while (slash > from && slash[-1] == '\\')
            slash--;
        if ((p - slash) % 2 == 0)
            return p;
        from = ++p; /* an escaped quote */
    }
    return NULL;
}

static bool has_control(const char *s, size_t n)
{
    unsigned found = 0;
    for (size_t i = 0; i < n; i++)
        found |= (unsigned char)s[i] < 0x20;
    return found;
}

static bool hex4(const char *p, const char *end, uint32_t *v)
{
    *v = 0;
    for (int i = 0; i < 4; i++, p++) {
        if (p >= end)
            return false;
        unsigned char c = (unsigned char)(*p | 0x20);
        if (!((*p >= '0' && *p <= '9') || (c >= 'a' && c <= 'f')))
            return false;
        *v = *v << 4 | (uint32_t)(c >= 'a' ? c - 'a' + 10 : *p - '0');
    }
    return true;
}

static void put_utf8(struct pq_buf *b, uint32_t c)
{
    char bytes[4];
    pq_buf_put(b, bytes, pq_utf8_put(c, bytes));
}

/* \uXXXX or a pair of them at p; returns the characters it has, 0 when it is none. */
static size_t unicode_escape(const char *p, const char *end, struct pq_buf *b)
{
    uint32_t c, low;
    if (!hex4(p + 2, end, &c) || c == 0 || (c >= 0xdc00 && c <= 0xdfff))
        return 0;
    if (c < 0xd800 || c > 0xdbff) {
        put_utf8(b, c);
        return 6;
    }
    if (end - p < 12 || p[6] != '\\' || p[7] != 'u' || !hex4(p + 8, end, &low) || low < 0xdc00 ||
        low > 0xdfff)
        return 0;
    put_utf8(b, 0x10000 + ((c - 0xd800) << 10 | (low - 0xdc00)));
    return 12;
}

static bool unescape(const char *p, const char *end, struct pq_buf *b)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    b->len = 0;
    for (size_t k; p < end; p += k) {
        const char *which = *p == '\\' && p[1] ? strchr(from, p[1]) : NULL;
        k = which ? 2 : 1;
        if (which)
            pq_buf_put(b, to + (which - from), 1);
        else if (*p != '\\')
            pq_buf_put(b, p, 1);
        else if (p[1] != 'u' || (k = unicode_escape(p, end, b)) == 0)
            return false;
    }
    return !b->failed;
}

bool pq_scan_string(struct pq_scan *s, struct pq_buf *scratch, const char **text, size_t *n)
{
    if (!pq_scan_take(s, '"'))
        return false;
    const char *from = s->p, *to = closing(s->p, s->end);
    if (!to || has_control(from, (size_t)(to - from)))
        return false;
    s->p = to + 1;
    *text = from;
    *n = (size_t)(to - from);
    if (!memchr(from, '\\', *n))
        return true;
    if (!unescape(from, to, scratch))
        return false;
    *text = (const char *)scratch->data;
    *n = scratch->len;
    return true;
}

bool pq_scan_u32(struct pq_scan *s, uint32_t *v)
{
    uint64_t x = 0;
    char first = pq_scan_peek(s);
    const char *from = s->p;
    for (; s->p < s->end && *s->p >= '0' && *s->p <= '9' && x <= UINT32_MAX; s->p++)
        x = x * 10 + (uint64_t)(*s->p - '0');
    bool zero_first = first == '0' && s->p - from > 1;
    *v = (uint32_t)x;
    return s->p > from && x <= UINT32_MAX && !zero_first && s->p < s->end &&
           memchr(",]} \n\t\r", *s->p, 7);
}

static bool skip_brackets(struct pq_scan *s)
{
    for (size_t depth = 0; s->p < s->end; s->p++) {
        if (*s->p == '"') {
            s->p = closing(s->p + 1, s->end);
            if (!s->p)
                return false;
        }
        depth += *s->p == '{' || *s->p == '[';
        depth -= *s->p == '}' || *s->p == ']';
        if (!depth) {
            s->p++;
            return true;
        }
    }
    return false;
}

bool pq_scan_skip(struct pq_scan *s)
{
    char c = pq_scan_peek(s);
    if (c == '{' || c == '[')
        return skip_brackets(s);
    if (c == '"') {
        const char *to = closing(s->p + 1, s->end);
        s->p = to ? to + 1 : s->end;
        return to != NULL;
    }
    while (s->p < s->end && !memchr(",]} \n\t\r", *s->p, 7))
        s->p++;
    return c != '\0';
}
