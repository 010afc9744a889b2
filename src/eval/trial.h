/*
 * One matrix quantized in memory: to be multiplied with instead of the model's own, or only rows of
 * it, to see by how much its products differ. SPDX-License-Identifier: MIT
 */
#ifndef PQ_EVAL_TRIAL_H
#define PQ_EVAL_TRIAL_H

#include "arch/network.h"
#include "kern/compute.h"
#include "quant/encode.h"

/* How it is done, for one matrix after the other. */
struct pq_trial_setup {
    struct pq_row_encoder encoder; /* of the matrix in question */
    const struct pq_compute *compute;
    struct pq_pool *pool;
};

struct pq_trial {
    struct pq_tensor tensor; /* the source's, with rows of this scheme */
    uint8_t *memory;
};
int pq_trial_make(struct pq_trial *t, const struct pq_trial_setup *s, const struct pq_tensor *w,
                  const struct pq_scheme *scheme, struct pq_err *e) PQ_MUST_CHECK;
void pq_trial_free(struct pq_trial *t);

/* Rows of a matrix and inputs that are multiplied with it. */
struct pq_sample {
    const struct pq_tensor *w;
    uint64_t *row; /* [n_rows] which */
    uint64_t n_rows;
    float *w_rows;      /* [n_rows][cols] */
    float *x;           /* [n_x][cols]; NULL: rows are taken as they are (an embedding) */
    uint64_t n_x, seen; /* seen: of those that these were taken from */
};
/* Every so many-th row, `rows` of them at most. */
int pq_sample_rows(struct pq_sample *s, const struct pq_tensor *w, uint64_t rows,
                   const struct pq_kern *k, struct pq_err *e) PQ_MUST_CHECK;
void pq_sample_free(struct pq_sample *s);
/* Squared error of the sample's products over their squares. */
int pq_sample_error(double *error, const struct pq_sample *s, const struct pq_trial_setup *t,
                    const struct pq_scheme *scheme, struct pq_err *e) PQ_MUST_CHECK;

#endif
