/*
 * Text to token ids and back, as the `tokenizers` library does it with the checkpoint's
 * tokenizer.json. A tokenizer is never changed after it is made, so threads may share it.
 *
 * Where the two can differ: bytes that are not UTF-8, which that library cannot take, are kept,
 * each as the token of that byte; letters and digits are those of the Unicode version that PCRE2
 * knows; and where a SentencePiece model spells broken UTF-8 in byte tokens, that library replaces
 * the whole run, we what is broken in it. SPDX-License-Identifier: MIT
 */
#ifndef PQ_TOK_TOKENIZER_H
#define PQ_TOK_TOKENIZER_H

#include "tok/ids.h"
#include "tok/vocab.h"

struct pq_tokenizer;
/* Borrows the vocabulary, which must outlive it. */
int pq_tokenizer_new(struct pq_tokenizer **out, const struct pq_vocab *v,
                     struct pq_err *e) PQ_MUST_CHECK;
void pq_tokenizer_free(struct pq_tokenizer *t); /* NULL is fine */

enum {
    PQ_ENCODE_ENDS = 1,         /* bos before and eos after, where the checkpoint adds them */
    PQ_ENCODE_PLAIN_SPECIAL = 2 /* the names of special tokens are text like any other */
};
/* Appends the ids of n bytes of text. */
int pq_tokenizer_encode(const struct pq_tokenizer *t, const char *text, size_t n, unsigned flags,
                        struct pq_ids *out, struct pq_err *e) PQ_MUST_CHECK;

enum { PQ_DECODE_SKIP_SPECIAL = 1 /* special tokens have no text */ };
/* Appends the bytes of ids; they need not be UTF-8. Ids that are no token have no bytes. */
int pq_tokenizer_decode(const struct pq_tokenizer *t, const uint32_t *id, size_t n, unsigned flags,
                        struct pq_buf *out, struct pq_err *e) PQ_MUST_CHECK;

/* Decoding as tokens arrive. What it appends is whole characters: bytes of an unfinished one are
 * held back, bytes that cannot be one become U+FFFD. */
struct pq_detok {
    const struct pq_tokenizer *t;
    unsigned flags;
    bool started;       /* something was decoded */
    struct pq_buf held; /* at most 3 bytes between calls */
};
void pq_detok_begin(struct pq_detok *d, const struct pq_tokenizer *t, unsigned flags);
int pq_detok_put(struct pq_detok *d, uint32_t id, struct pq_buf *out,
                 struct pq_err *e) PQ_MUST_CHECK;
/* Lets go of what is held and frees; the detokenizer can then begin anew. */
int pq_detok_end(struct pq_detok *d, struct pq_buf *out, struct pq_err *e) PQ_MUST_CHECK;

#endif
