/* Rows of a matrix into their stored form. SPDX-License-Identifier: MIT */
#include "quant/encode.h"
#include "quant/codes.h"

uint64_t pq_encoded_lay_out(struct pq_encoded *p, const struct pq_scheme *s, uint64_t cols,
                            uint64_t rows, uint8_t *memory)
{
    struct pq_part part[PQ_MAX_PARTS];
    const int n = s->parts(s, cols, part);
    uint64_t at = 0;
    *p = (struct pq_encoded){.scheme = s};
    for (int i = 0; i < n; i++) {
        p->row_bytes[i] = pq_scheme_part_bytes(s, cols, i);
        p->at[i] = memory + at;
        at += p->row_bytes[i] * rows;
    }
    return at;
}

struct pq_encoded pq_encoded_from(const struct pq_encoded *p, uint64_t row)
{
    struct pq_encoded from = *p;
    for (int i = 0; i < PQ_MAX_PARTS; i++)
        from.at[i] = p->at[i] ? p->at[i] + row * p->row_bytes[i] : NULL;
    return from;
}

void pq_encoded_row(const struct pq_encoded *p, uint64_t row, void *part[PQ_MAX_PARTS])
{
    for (int i = 0; i < PQ_MAX_PARTS; i++)
        part[i] = p->at[i] ? p->at[i] + row * p->row_bytes[i] : NULL;
}

void pq_rows_encode(const struct pq_row_encoder *c, const struct pq_encoded *p, const float *x,
                    uint64_t rows, uint64_t cols, float *scratch)
{
    for (uint64_t r = 0; r < rows; r++) {
        void *part[PQ_MAX_PARTS];
        pq_encoded_row(p, r, part);
        pq_scheme_encode(p->scheme, c->kern, c->solver, x + r * cols, c->importance, cols, part);
    }
    if (c->feedback && pq_codes_known(p->scheme))
        pq_feedback_run(c->feedback, p, x, rows, scratch);
}
