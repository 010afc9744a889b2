/* X^T X of the inputs of a matrix, by the kernels of the forward pass: columns are turned into rows
 * first. SPDX-License-Identifier: MIT */
#include "eval/calibrate.h"

enum { TILE = 16, COLUMNS = 64 };

struct job {
    const struct pq_inputs *in;
    const struct pq_compute *compute;
    float *turned; /* [cols][n] */
    float *lower;
};

static void turn_columns(void *ctx, uint64_t item, int worker)
{
    const struct job *j = (const struct job *)ctx;
    const struct pq_inputs *in = j->in;
    (void)worker;
    for (uint64_t c = item * TILE; c < in->weight->cols && c < (item + 1) * TILE; c++)
        for (uint64_t t = 0; t < in->n; t++)
            j->turned[c * in->n + t] = in->x[t * in->step + c];
}

/* TILE rows of the result, from the first column to the diagonal. */
static void add_rows(void *ctx, uint64_t item, int worker)
{
    const struct job *j = (const struct job *)ctx;
    const uint64_t n = j->in->n, r0 = item * TILE, cols = j->in->weight->cols;
    const uint64_t rows = cols - r0 < TILE ? cols - r0 : TILE, end = r0 + rows;
    float tile[COLUMNS * TILE];
    (void)worker;
    for (uint64_t c0 = 0; c0 < end; c0 += COLUMNS) {
        const struct pq_dots d = {.w = j->turned + r0 * n,
                                  .w_step = n * sizeof *j->turned,
                                  .rows = rows,
                                  .cols = n,
                                  .x = j->turned + c0 * n,
                                  .x_step = n,
                                  .n = end - c0 < COLUMNS ? end - c0 : COLUMNS,
                                  .out = tile,
                                  .out_step = TILE};
        j->compute->dots[PQ_DENSE_F32](&d);
        for (uint64_t r = r0; r < end; r++)
            for (uint64_t c = c0; c < c0 + d.n && c <= r; c++)
                j->lower[r * (r + 1) / 2 + c] += tile[(c - c0) * TILE + r - r0];
    }
}

void pq_products_add(float *lower, const struct pq_inputs *in, const struct pq_compute *compute,
                     float *turned)
{
    struct job j = {in, compute, turned, lower};
    const uint64_t tiles = (in->weight->cols + TILE - 1) / TILE;
    pq_pool_each(in->pool, tiles, turn_columns, &j);
    pq_pool_each(in->pool, tiles, add_rows, &j);
}
