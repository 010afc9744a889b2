/* Merges from the scores of a SentencePiece vocabulary. SPDX-License-Identifier: MIT */
#ifndef PQ_TOK_MERGES_H
#define PQ_TOK_MERGES_H

#include "tok/strmap.h"
#include "tok/vocab.h"

struct pq_spm_merge {
    float score; /* of the whole */
    uint32_t left, right, whole;
};

/* The caller pq_free()s *out, also on failure. */
int pq_spm_merges(const struct pq_vocab *v, struct pq_arena *a, struct pq_spm_merge **out,
                  size_t *n, struct pq_err *e) PQ_MUST_CHECK;

#endif
