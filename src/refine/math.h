/*
 * The three products of learning - forward, to the inputs, to the weights - as one: rows times rows
 * of floats by the kernels of the forward pass. Sums do not depend on the number of threads.
 * SPDX-License-Identifier: MIT
 */
#ifndef PQ_REFINE_MATH_H
#define PQ_REFINE_MATH_H

#include "base/pool.h"
#include "kern/compute.h"

struct pq_math {
    const struct pq_compute *compute;
    struct pq_pool *pool;
};

/* rows of cols floats, `step` apart */
struct pq_rows {
    float *at;
    uint64_t rows, cols, step;
};

/* c[i][j] = (or += with add) row i of a times row j of b. */
void pq_math_times(const struct pq_math *m, const struct pq_rows *a, const struct pq_rows *b,
                   const struct pq_rows *c, bool add);
/* to[j][i] = from[i][j]; `to` is [cols][rows] without gaps. */
struct pq_rows pq_math_turn(const struct pq_math *m, const struct pq_rows *from, float *to);

#endif
