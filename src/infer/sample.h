/*
 * Choosing the next token. The order is that of transformers: repetition penalty, temperature, the
 * top_k most likely, the most likely that make up top_p, those with at least min_p of the best
 * one's probability. SPDX-License-Identifier: MIT
 */
#ifndef PQ_INFER_SAMPLE_H
#define PQ_INFER_SAMPLE_H

#include "base/err.h"

struct pq_sampling {
    double temperature; /* 0 = always the most likely */
    uint32_t top_k;     /* 0 = all */
    double top_p;       /* 0 or 1 = all */
    double min_p;       /* 0 = all */
    double
        repeat_penalty; /* divides (multiplies below zero) the logits of what was seen; 0, 1 = no */
    uint64_t seed;
};

struct pq_sampler;
int pq_sampler_new(struct pq_sampler **out, const struct pq_sampling *how, uint32_t vocab,
                   struct pq_err *e) PQ_MUST_CHECK;
void pq_sampler_free(struct pq_sampler *s); /* NULL is fine */

struct pq_choice {
    uint32_t id;
    double logprob; /* natural logarithm, under the model's own distribution */
};
/* logits [vocab]; seen[n] are the tokens so far. */
struct pq_choice pq_sampler_pick(struct pq_sampler *s, const float *logits, const uint32_t *seen,
                                 size_t n);

#endif
