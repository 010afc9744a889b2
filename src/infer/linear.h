/*
 * Weights as the forward pass uses them: rows of plain floats straight from the mapped file; rows
 * of a quantized scheme decoded while they are used, or kept as codes for integer products.
 * SPDX-License-Identifier: MIT
 */
#ifndef PQ_INFER_LINEAR_H
#define PQ_INFER_LINEAR_H

#include "arch/network.h"
#include "base/pool.h"
#include "kern/compute.h"

/* How a scheme's rows become codes and scales; see struct pq_strip. */
struct pq_code_rule {
    enum pq_codes type; /* PQ_CODES_TYPES: not at all */
    uint32_t group;
    int32_t zero;
    bool has_offsets;
    int bits;
    struct pq_codes_in in; /* but for the parts */
};

struct pq_linear {
    const struct pq_tensor *w; /* NULL: there is none */
    const float *bias;         /* [rows] or NULL */
    struct pq_code_rule code;
    uint64_t part_bytes[PQ_MAX_PARTS]; /* of a stored row */
};

/* What products need besides the weights. */
struct pq_engine {
    const struct pq_kern *kern;
    const struct pq_compute *compute;
    struct pq_pool *pool;
    bool fast;
    uint64_t max_cols;
    float *scratch;         /* PQ_STRIP_ROWS rows of max_cols for every worker */
    struct pq_strip *strip; /* of every worker, with memory for max_cols */
    struct pq_tile *tile;
    struct pq_panel acts; /* of a whole batch */
};

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

/* Parts of it. */
struct pq_code_rule pq_code_rule_of(const struct pq_tensor *t);
void pq_product_integers(const struct pq_product *p);
/* At most PQ_STRIP_ROWS rows from r0 on, of a linear that has a code rule, as floats. */
void pq_linear_widen(const struct pq_product *p, uint64_t r0, uint64_t rows, int worker, float *x);
/* The slice that holds a row of the tensor; *row becomes the row of the stored matrix, *left what
 * the slice has from there on. */
const struct pq_slice *pq_linear_slice(const struct pq_tensor *t, uint64_t *row, uint64_t *left);
/* out (+)= y[token][PQ_STRIP_ROWS] + bias for `rows` rows from r0 and n tokens from t0 on. */
void pq_product_put(const struct pq_product *p, uint64_t r0, uint64_t rows, uint64_t t0, uint64_t n,
                    const float *y);

#endif
