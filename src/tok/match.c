/*
 * The rules are those of the `tokenizers` library (its added_vocabulary.rs): leftmost-longest; a
 * match that single_word forbids is passed over whole; lstrip and rstrip take the white space
 * beside a token, but not what an earlier token took. SPDX-License-Identifier: MIT
 */
#include "tok/match.h"
#include "tok/utf8.h"

#include <stdlib.h>
#include <string.h>

static int by_text(const void *pa, const void *pb)
{
    const struct pq_match_row *a = (const struct pq_match_row *)pa;
    const struct pq_match_row *b = (const struct pq_match_row *)pb;
    int c = memcmp(a->text, b->text, a->len < b->len ? a->len : b->len);
    c = c ? c : (a->len > b->len) - (a->len < b->len);
    return c ? c : (a->id > b->id) - (a->id < b->id);
}

void pq_matcher_init(struct pq_matcher *m, struct pq_match_row *row, size_t n)
{
    m->row = row;
    if (n)
        qsort(row, n, sizeof *row, by_text);
    size_t k = 0;
    for (size_t i = 0; i < n; i++)
        if (row[i].len && (!k || row[i].len != row[k - 1].len ||
                           memcmp(row[i].text, row[k - 1].text, row[i].len) != 0))
            row[k++] = row[i];
    for (size_t i = 0; i < k; i++)
        m->first[(unsigned char)row[i].text[0] + 1]++;
    for (size_t c = 0; c < 256; c++)
        m->first[c + 1] += m->first[c];
}

/* The first of rows [lo, hi), all alike in their first k bytes, whose byte k is at least c. Rows
 * that end at k come before all. */
static uint32_t lower(const struct pq_match_row *row, uint32_t lo, uint32_t hi, size_t k,
                      unsigned c)
{
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (row[mid].len <= k || (unsigned char)row[mid].text[k] < c)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* The longest row that the text begins with, or NULL. */
static const struct pq_match_row *longest(const struct pq_matcher *m, const char *s, size_t n)
{
    const struct pq_match_row *best = NULL;
    uint32_t lo = m->first[(unsigned char)s[0]], hi = m->first[(unsigned char)s[0] + 1];
    for (size_t k = 1; lo < hi; k++) {
        if (m->row[lo].len == k)
            best = &m->row[lo];
        if (k == n)
            break;
        unsigned c = (unsigned char)s[k];
        lo = lower(m->row, lo, hi, k, c);
        hi = lower(m->row, lo, hi, k, c + 1);
    }
    return best;
}

static size_t spaces_before(const char *text, size_t end, size_t floor)
{
    while (end > floor) {
        size_t k = pq_utf8_len_back(text, end);
        if (!pq_utf8_len(text + end - k, k) || !pq_utf8_is_space(pq_utf8_get(text + end - k, k)))
            break;
        end -= k;
    }
    return end > floor ? end : floor;
}

static size_t spaces_after(const char *text, size_t begin, size_t n)
{
    size_t k;
    while (begin < n && (k = pq_utf8_len(text + begin, n - begin)) > 0 &&
           pq_utf8_is_space(pq_utf8_get(text + begin, k)))
        begin += k;
    return begin;
}

static bool stands_alone(const struct pq_matcher *m, const char *text, size_t n, size_t begin,
                         size_t end)
{
    size_t before = begin ? pq_utf8_len_back(text, begin) : 0;
    size_t after = end < n ? pq_utf8_len(text + end, n - end) : 0;
    return !pq_split_is(m->word_char, text + begin - before, before) &&
           !pq_split_is(m->word_char, text + end, after);
}

bool pq_match_next(const struct pq_matcher *m, const char *text, size_t n, bool plain_special,
                   struct pq_match *out)
{
    size_t from = out->done;
    while (out->at < n) {
        const struct pq_match_row *row = longest(m, text + out->at, n - out->at);
        if (!row) {
            out->at++;
            continue;
        }
        const struct pq_token *tok = &m->token[row->id];
        size_t begin = out->at, end = begin + row->len;
        out->at = end;
        if ((plain_special && tok->special) ||
            (tok->single_word && !stands_alone(m, text, n, begin, end)))
            continue;
        out->begin = tok->lstrip ? spaces_before(text, begin, from) : begin;
        out->end = tok->rstrip ? spaces_after(text, end, n) : end;
        if (out->begin >= out->end)
            continue;
        out->done = out->end;
        out->id = row->id;
        return true;
    }
    return false;
}
