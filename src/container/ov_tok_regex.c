/*
 * Regular expressions of OpenVINO's tokenizer operations: PCRE2 with UTF and UCP. \s is spelled
 * out: PCRE2's has U+180E in it, that of the `tokenizers` library is Unicode's White_Space.
 * SPDX-License-Identifier: MIT
 */
#include "base/num.h"
#include "container/ov_tok.h"

#include <stdlib.h>
#include <string.h>

#define SPACES                                                                               \
    "\\t-\\r \\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}" \
    "\\x{3000}"
#define SPACE "[" SPACES "]"

/* ---- added tokens ---- */

/* The `tokenizers` library looks for tokens that are not `normalized` first, then for the others in
 * what is left, the longest first each time. One operation has to do here (SpecialTokensSplit
 * of 2026.4 cannot follow another one), and that differs only where the two sorts overlap. */
static int by_turn(const void *pa, const void *pb)
{
    const struct pq_token *a = *(const struct pq_token *const *)pa;
    const struct pq_token *b = *(const struct pq_token *const *)pb;
    if (a->normalized != b->normalized)
        return a->normalized ? 1 : -1;
    if (a->len != b->len)
        return a->len < b->len ? 1 : -1;
    return (a > b) - (a < b);
}

static void put_literal(struct pq_buf *b, const struct pq_token *t)
{
    for (size_t i = 0; i < t->len; i++) {
        unsigned char c = (unsigned char)t->text[i];
        bool plain = c >= 0x80 || (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
                     (c >= 'a' && c <= 'z') || c == '_';
        if (!plain)
            pq_buf_u8(b, '\\');
        pq_buf_u8(b, c);
    }
}

static bool same_flags(const struct pq_token *a, const struct pq_token *b)
{
    return a->lstrip == b->lstrip && a->rstrip == b->rstrip && a->single_word == b->single_word;
}

/* Neighbours with the same flags, as one alternative. Returns how many they are. Blanks are taken
 * from the first of their run on, so that a long run is not looked through from each of its
 * characters. */
static size_t put_alternative(struct pq_buf *b, const struct pq_token *const *t, size_t n)
{
    const struct pq_token *flags = t[0];
    size_t i = 0;
    pq_buf_puts(b, flags->lstrip ? "(?:(?<!" SPACE ")" SPACE "++)?" : "");
    pq_buf_puts(b, flags->single_word ? "(?<!\\w)(" : "(");
    for (; i < n && same_flags(t[i], flags); i++) {
        pq_buf_puts(b, i ? "|" : "");
        put_literal(b, t[i]);
    }
    pq_buf_puts(b, flags->single_word ? ")(?!\\w)" : ")");
    pq_buf_puts(b, flags->rstrip ? SPACE "*+" : "");
    return i;
}

size_t pq_ov_put_added(struct pq_buf *b, struct pq_arena *a, const struct pq_vocab *v)
{
    const struct pq_token **list =
        (const struct pq_token **)pq_arena_alloc(a, v->n_tokens, sizeof *list);
    size_t n = 0;
    b->failed |= !list;
    for (size_t i = 0; list && i < v->n_tokens; i++)
        if (v->token[i].added)
            list[n++] = &v->token[i];
    if (!list || !n)
        return n;
    qsort(list, n, sizeof *list, by_turn);
    pq_buf_puts(b, "(?|");
    for (size_t i = 0; i < n;) {
        pq_buf_puts(b, i ? "|" : "");
        i += put_alternative(b, list + i, n - i);
    }
    pq_buf_puts(b, ")");
    return n;
}

/* ---- words ---- */

int pq_ov_put_split(struct pq_buf *b, const char *pattern, struct pq_err *e)
{
    bool inside = false; /* [...] */
    for (const char *s = pattern; *s; s++) {
        if (*s == '\\' && s[1]) {
            s++;
            if (*s == 'S' && inside)
                return pq_fail(e, PQ_EUNSUPPORTED, "the split pattern has \\S inside brackets: %s",
                               pattern);
            if (*s == 's')
                pq_buf_puts(b, inside ? SPACES : SPACE);
            else if (*s == 'S')
                pq_buf_puts(b, "[^" SPACES "]");
            else
                pq_buf_printf(b, "\\%c", *s);
            continue;
        }
        inside = *s == '[' || (inside && *s != ']');
        pq_buf_u8(b, (uint8_t)*s);
    }
    return PQ_OK;
}
