/* Words of a text by a regular expression. Private to the room. SPDX-License-Identifier: MIT */
#ifndef PQ_TOK_SPLIT_H
#define PQ_TOK_SPLIT_H

#include "base/err.h"
#include <stdbool.h>

struct pq_split;
int pq_split_new(struct pq_split **out, const char *pattern, struct pq_err *e) PQ_MUST_CHECK;
void pq_split_free(struct pq_split *s); /* NULL is fine */

/* Whether the pattern matches the beginning of the n bytes, which are UTF-8; false for none. Memory
 * that is out reads as no match. */
bool pq_split_is(const struct pq_split *s, const char *text, size_t n);

/* Where a search has come to. One per thread and text; pq_words_end when done. */
struct pq_words {
    const struct pq_split *split;
    const char *text;
    size_t n, at;    /* the next word begins at text + at */
    size_t good;     /* text[at..good] is well-formed UTF-8 */
    size_t from, to; /* the next match, where from > at */
    void *match;     /* PCRE2's */
};
int pq_words_begin(struct pq_words *w, const struct pq_split *s, struct pq_err *e) PQ_MUST_CHECK;
void pq_words_text(struct pq_words *w, const char *text, size_t n);
/* The next word: 1, or 0 at the end. Every byte is in one word: what no match covers is a word of
 * its own, and so is each byte that is not UTF-8. */
int pq_words_next(struct pq_words *w, const char **word, size_t *n, struct pq_err *e) PQ_MUST_CHECK;
void pq_words_end(struct pq_words *w);

#endif
