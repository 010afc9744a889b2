/*
 * Weights as the forward pass uses them: rows of plain floats straight from the mapped file, rows
 * of a quantized scheme decoded while they are used. SPDX-License-Identifier: MIT
 */
#ifndef PQ_INFER_LINEAR_H
#define PQ_INFER_LINEAR_H

#include "arch/network.h"
#include "base/pool.h"
#include "kern/compute.h"

struct pq_linear {
    const struct pq_tensor *w; /* NULL: there is none */
    const float *bias;         /* [rows] or NULL */
};

/* What products need besides the weights. */
struct pq_engine {
    const struct pq_kern *kern;
    const struct pq_compute *compute;
    struct pq_pool *pool;
    float *scratch; /* PQ_LINEAR_ROWS rows of max_cols for every worker */
    uint64_t max_cols;
};

enum { PQ_LINEAR_ROWS = 16 };

/* out[t] = w x[t] + bias, or added to what is there. */
struct pq_product {
    const struct pq_engine *engine;
    const struct pq_linear *linear;
    const float *x;
    uint64_t x_step, n;
    float *out;
    uint64_t out_step;
    bool add;
};
void pq_product_run(const struct pq_product *p);

#endif
