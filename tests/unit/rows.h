/* Rows of weights for tests of schemes, and their encoded form. SPDX-License-Identifier: MIT */
#ifndef PQ_TEST_ROWS_H
#define PQ_TEST_ROWS_H

#include "quant/scheme.h"

enum { ROW_COLS = 1024 };

/* An encoded row of ROW_COLS weights or fewer; bytes that no part uses stay as coded_clear left
 * them, so that whole structures can be compared. */
struct coded {
    uint8_t part[PQ_MAX_PARTS][4 * ROW_COLS];
};

void rows_encode(const struct pq_scheme *s, const struct pq_kern *k, enum pq_solver solver,
                 const float *x, const float *importance, uint64_t cols, struct coded *c);
void rows_decode(const struct pq_scheme *s, const struct coded *c, uint64_t cols, float *x);
/* Encodes with the best level and decodes again. */
void rows_through(const struct pq_scheme *s, enum pq_solver solver, const float *x,
                  const float *importance, float *y);

/* Nearly normal weights with a standard deviation of 0.02. */
void rows_normal(unsigned seed, float x[ROW_COLS]);
double rows_error(const float *x, const float *y); /* relative RMS */

/* Rows that break careless encoders; the i-th of rows_worst_count. */
extern const int rows_worst_count;
const char *rows_worst(int i, float x[ROW_COLS]);

#endif
