/*
 * Rounding with feedback: what is lost in one column is made up for in those that come later, as
 * far as their inputs go together. With H = X^T X = (U + 1) D (U + 1)^T, U strictly upper
 * triangular, column j takes the code nearest to w_j + sum over k < j of (w_k - q_k) U_kj. That is
 * GPTQ (Frantar et al., arXiv 2210.17323) in the form of LDLQ (Chee et al., arXiv 2307.13304): the
 * same codes from one factorisation without an inverse. Columns come in the order of their inputs'
 * size, largest first; grids are fixed before, so that the order costs nothing in any container.
 *
 * Then sweeps go over the columns again: every scale, and every code, moves to where e^T H e of its
 * row, e = w - q, is least while all others stay.
 * SPDX-License-Identifier: MIT
 */
#ifndef PQ_QUANT_FEEDBACK_H
#define PQ_QUANT_FEEDBACK_H

#include "base/pool.h"
#include "kern/compute.h"
#include "quant/scheme.h"

/* Sums of products of inputs: row i of the lower triangle from element i (i + 1) / 2 on, float32
 * little-endian in a file. */
struct pq_products {
    const uint8_t *lower; /* NULL: there are none */
    uint64_t n;           /* columns */
    double rows;          /* summed over */
};

enum { PQ_USUAL_SWEEPS = 3 }; /* the first gains most */

struct pq_feedback {
    const struct pq_compute *compute;
    uint64_t n;
    int sweeps;
    uint32_t *order; /* [n]: which column comes j-th */
    float *u;        /* [n][n]: u[j][k] = U_kj in that order, k < j */
    float *h;        /* [n][n]: H itself, what was added to its diagonal included; for sweeps */
};
/* `name` is the matrix, for messages. The result does not depend on the number of threads. */
int pq_feedback_make(struct pq_feedback *f, const struct pq_products *p, int sweeps,
                     struct pq_pool *pool, const char *name, struct pq_err *e) PQ_MUST_CHECK;
void pq_feedback_free(struct pq_feedback *f);

/* Encoded rows: part i of row r begins at at[i] + r * row_bytes[i]. */
struct pq_encoded {
    const struct pq_scheme *scheme;
    uint8_t *at[PQ_MAX_PARTS];
    uint64_t row_bytes[PQ_MAX_PARTS];
};
/* Chooses the codes of n rows x [n][cols] anew, on the grids that their search has found; scales
 * only move in sweeps. scratch has pq_feedback_floats(cols) floats. */
void pq_feedback_run(const struct pq_feedback *f, const struct pq_encoded *to, const float *x,
                     uint64_t n, float *scratch);
uint64_t pq_feedback_floats(uint64_t cols);

#endif
