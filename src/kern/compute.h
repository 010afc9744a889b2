/*
 * Kernels of the forward pass, in a table of their own: they may know instructions that the
 * encoders' levels do not have. Single-precision ones give the same bits at every level, for any
 * number of rows and tokens at once: a sum runs over sixteen lanes in the order of the columns and
 * is folded by a fixed tree. Kernels see pointers and counts: they never allocate, lock or fail.
 * SPDX-License-Identifier: MIT
 */
#ifndef PQ_KERN_COMPUTE_H
#define PQ_KERN_COMPUTE_H

#include "base/dtype.h"

#include <stdbool.h>
#include <stdint.h>

enum pq_dense { PQ_DENSE_F32, PQ_DENSE_F16, PQ_DENSE_BF16, PQ_DENSE_TYPES };

/* out[t * out_step + r] = row r of w times row t of x. w may lie at any address. */
struct pq_dots {
    const void *w;
    uint64_t w_step; /* bytes from row to row */
    uint64_t rows, cols;
    const float *x; /* [n] rows of cols */
    uint64_t x_step;
    uint64_t n;
    float *out;
    uint64_t out_step;
};

/* out[t][d] += the sum over i of p[t][i] v[i][d], i ascending; dims is a multiple of 16. */
struct pq_mix {
    const void *v;
    uint64_t v_step; /* bytes from row to row */
    uint64_t rows, dims;
    const float *p; /* [n] rows of p_step */
    uint64_t p_step;
    uint64_t n;
    float *out;
    uint64_t out_step;
};

struct pq_compute {
    const char *level;
    void (*dots[PQ_DENSE_TYPES])(const struct pq_dots *d);
    void (*mix[PQ_DENSE_TYPES])(const struct pq_mix *m);
    /* y = x / sqrt(mean(x^2) + eps) * weight */
    void (*norm_rms)(const float *x, uint64_t n, double eps, const float *weight, float *y);
    /* y = (x - mean) / sqrt(variance + eps) * weight + bias */
    void (*norm_layer)(const float *x, uint64_t n, double eps, const float *weight,
                       const float *bias, float *y);
    float (*largest)(const float *x, uint64_t n);               /* n > 0 */
    float (*exp_sum)(float *x, uint64_t n, float below);        /* x = e^(x - below); their sum */
    void (*silu_mul)(float *gate, const float *up, uint64_t n); /* gate = silu(gate) up */
    void (*gelu)(float *x, uint64_t n);                         /* the tanh form, in place */
};

/* As pq_kern_best and pq_kern_level: the names are theirs. */
const struct pq_compute *pq_compute_best(const char *limit);
const struct pq_compute *pq_compute_level(int i);

#endif
