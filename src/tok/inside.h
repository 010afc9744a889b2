/* What a tokenizer is made of. Private to the room. SPDX-License-Identifier: MIT */
#ifndef PQ_TOK_INSIDE_H
#define PQ_TOK_INSIDE_H

#include "tok/bpe.h"
#include "tok/build.h"
#include "tok/match.h"
#include "tok/strmap.h"
#include "tok/tokenizer.h"

#include <string.h>

struct pq_tokenizer {
    struct pq_arena arena;
    const struct pq_vocab *v;
    struct pq_matcher raw;        /* added tokens in text as it comes */
    struct pq_matcher normalized; /* those that are looked for after the normalizer */
    struct pq_split *words;       /* BPE */
    struct pq_split *word_char;   /* where a token is a single word */
    struct pq_bpe bpe;
    struct pq_strmap piece; /* SPM: pieces of one character; BPE with ignore_merges: all tokens */
    uint32_t byte[256];     /* the token of each byte */
    bool breaks;            /* SPM: no merge crosses the beginning of a run of U+2581 */
};

static inline bool pq_space_at(const char *s, size_t n)
{
    return n >= PQ_SPM_SPACE_LEN && !memcmp(s, PQ_SPM_SPACE, PQ_SPM_SPACE_LEN);
}

/* The normalizer of SPM in both its forms: spaces become U+2581, with one more in front. */
void pq_spm_normalize(const struct pq_vocab *v, const char *text, size_t n, bool prefix,
                      struct pq_buf *out);

#endif
