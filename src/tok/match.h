/* Added tokens in text: at each place the longest, none inside another. Private to the room.
 * SPDX-License-Identifier: MIT */
#ifndef PQ_TOK_MATCH_H
#define PQ_TOK_MATCH_H

#include "tok/split.h"
#include "tok/vocab.h"

struct pq_match_row {
    const char *text;
    uint32_t len, id;
};

/* Rows in order of their bytes: those that begin alike are neighbours. */
struct pq_matcher {
    const struct pq_token *token;     /* of the vocabulary, by id */
    const struct pq_split *word_char; /* PQ_WORD_CHAR; needed for tokens that are single words */
    struct pq_match_row *row;
    uint32_t first[257]; /* rows of a first byte: first[c] to first[c + 1] */
};

/* What \w is to the Rust library `regex`: Alphabetic, Mark, Decimal_Number, Connector_Punctuation
 * and Join_Control; Alphabetic outside of letters, marks and letter numbers: circled letters. */
#define PQ_WORD_CHAR                                                                     \
    "[\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{200c}\\x{200d}\\x{24b6}-\\x{24e9}\\x{1f130}-" \
    "\\x{1f149}\\x{1f150}-\\x{1f169}\\x{1f170}-\\x{1f189}]"

/* Sorts the rows and borrows them; rows of no length are dropped, of equal ones the first counts.
 * The caller sets the other members. */
void pq_matcher_init(struct pq_matcher *m, struct pq_match_row *row, size_t n);

/* A walk over one text. Zero-initialise `at` and `done` to start. */
struct pq_match {
    size_t at;         /* where the next search begins */
    size_t done;       /* text before it has been handed out */
    size_t begin, end; /* what a token takes, with the white space that it strips */
    uint32_t id;
};
/* False when there is none any more. With plain_special, special tokens are plain text. */
bool pq_match_next(const struct pq_matcher *m, const char *text, size_t n, bool plain_special,
                   struct pq_match *out);

#endif
