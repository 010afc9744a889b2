/*
 * Rows whose codes are being chosen, some at a time so that a row of H or U read once serves all.
 * SPDX-License-Identifier: MIT
 */
#ifndef PQ_QUANT_ROUNDING_H
#define PQ_QUANT_ROUNDING_H

#include "quant/codes.h"
#include "quant/feedback.h"

enum { PQ_ROUND_ROWS = 24, PQ_ROUND_STEP = 32 };

struct pq_rounding {
    const struct pq_feedback *f;
    const struct pq_scheme *scheme;
    const float *x; /* [rows][n] */
    uint64_t rows;
    struct pq_levels levels;
    struct pq_scales scales;
    void *part[PQ_ROUND_ROWS][PQ_MAX_PARTS];
    float *lost;       /* [rows][n], x - q: in the order of choosing, then in the matrix's */
    float *low, *step; /* [rows][n] */
    uint8_t *code;     /* [rows][n] */
};

/* The code whose value is nearest to v. */
uint8_t pq_nearest_code(const struct pq_levels *l, float v, float low, float step);

/* descent.c: one sweep over scales and codes; false when nothing moved. */
bool pq_descent_sweep(const struct pq_rounding *w);

#endif
