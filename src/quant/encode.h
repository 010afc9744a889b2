/*
 * Rows of a matrix into their stored form, with or without feedback. SPDX-License-Identifier: MIT
 */
#ifndef PQ_QUANT_ENCODE_H
#define PQ_QUANT_ENCODE_H

#include "quant/feedback.h"

/* How rows of one matrix are encoded. */
struct pq_row_encoder {
    const struct pq_kern *kern;
    enum pq_solver solver;
    const float *importance;            /* [cols] or NULL */
    const struct pq_feedback *feedback; /* of its inputs; NULL: none */
};

/* Points p at memory for `rows` rows, part after part; returns the bytes that they take. */
uint64_t pq_encoded_lay_out(struct pq_encoded *p, const struct pq_scheme *s, uint64_t cols,
                            uint64_t rows, uint8_t *memory);
/* The same from a row on. */
struct pq_encoded pq_encoded_from(const struct pq_encoded *p, uint64_t row);
/* The parts of one row. */
void pq_encoded_row(const struct pq_encoded *p, uint64_t row, void *part[PQ_MAX_PARTS]);

/* x [rows][cols] into the rows of p from 0 on. scratch has pq_feedback_floats(cols) floats when
 * there is feedback. */
void pq_rows_encode(const struct pq_row_encoder *c, const struct pq_encoded *p, const float *x,
                    uint64_t rows, uint64_t cols, float *scratch);

#endif
