/*
 * Template: rows of a matrix times rows of activations, single precision. A tile keeps one
 * accumulator for each pair of a row and a token, so that tiles of any shape give the same bits.
 * SPDX-License-Identifier: MIT
 */
#ifndef PQ_KERN_RUN_DOTS_H
#define PQ_KERN_RUN_DOTS_H

#include "kern/run_lanes.h"

/* What the registers hold: rows x tokens accumulators, a row's and a token's operand. */
#if PQ_LANE_WIDTH == 16
enum { DOT_ROWS = 4, DOT_TOKENS = 6 };
#elif PQ_LANE_WIDTH == 4
enum { DOT_ROWS = 2, DOT_TOKENS = 2 };
#else
enum { DOT_ROWS = 2, DOT_TOKENS = 2 };
#endif

struct dot_tile {
    const uint8_t *w;
    uint64_t w_step;
    const float *x;
    uint64_t x_step;
};

LANE_INLINE void dot_step(pq_v16 acc[DOT_ROWS][DOT_TOKENS], const pq_v16 w[DOT_ROWS],
                          const pq_v16 x[DOT_TOKENS], int rows, int tokens)
{
    for (int r = 0; r < rows; r++)
        for (int t = 0; t < tokens; t++)
            acc[r][t] = v16_fma(w[r], x[t], acc[r][t]);
}

LANE_INLINE void dot_tile(const struct pq_dots *d, uint64_t r0, uint64_t t0, int rows, int tokens,
                          enum pq_dense type)
{
    pq_v16 acc[DOT_ROWS][DOT_TOKENS], w[DOT_ROWS], x[DOT_TOKENS];
    const uint8_t *wp = (const uint8_t *)d->w + r0 * d->w_step;
    const float *xp = d->x + t0 * d->x_step;
    const uint64_t whole = d->cols / PQ_LANES * PQ_LANES, rest = d->cols - whole;
    for (int r = 0; r < rows; r++)
        for (int t = 0; t < tokens; t++)
            acc[r][t] = v16_set(0.0f);
    for (uint64_t i = 0; i < whole; i += PQ_LANES) {
        for (int r = 0; r < rows; r++)
            w[r] = dense_load(wp + (uint64_t)r * d->w_step, i, type);
        for (int t = 0; t < tokens; t++)
            x[t] = v16_load(xp + (uint64_t)t * d->x_step + i);
        dot_step(acc, w, x, rows, tokens);
    }
    if (rest && type != PQ_DENSE_Q8) {
        for (int r = 0; r < rows; r++)
            w[r] = dense_tail(wp + (uint64_t)r * d->w_step, whole, rest, type);
        for (int t = 0; t < tokens; t++)
            x[t] = dense_tail((const uint8_t *)(xp + (uint64_t)t * d->x_step), whole, rest,
                              PQ_DENSE_F32);
        dot_step(acc, w, x, rows, tokens);
    }
    for (int r = 0; r < rows; r++)
        for (int t = 0; t < tokens; t++)
            d->out[(t0 + (uint64_t)t) * d->out_step + r0 + (uint64_t)r] = v16_sum(acc[r][t]);
}

LANE_INLINE void dots_of(const struct pq_dots *d, enum pq_dense type)
{
    uint64_t t = 0;
    for (; t + DOT_TOKENS <= d->n; t += DOT_TOKENS) {
        uint64_t r = 0;
        for (; r + DOT_ROWS <= d->rows; r += DOT_ROWS)
            dot_tile(d, r, t, DOT_ROWS, DOT_TOKENS, type);
        for (; r < d->rows; r++)
            dot_tile(d, r, t, 1, DOT_TOKENS, type);
    }
    for (; t < d->n; t++) {
        uint64_t r = 0;
        for (; r + DOT_ROWS <= d->rows; r += DOT_ROWS)
            dot_tile(d, r, t, DOT_ROWS, 1, type);
        for (; r < d->rows; r++)
            dot_tile(d, r, t, 1, 1, type);
    }
}

static void dots_f32(const struct pq_dots *d)
{
    dots_of(d, PQ_DENSE_F32);
}

static void dots_f16(const struct pq_dots *d)
{
    dots_of(d, PQ_DENSE_F16);
}

static void dots_bf16(const struct pq_dots *d)
{
    dots_of(d, PQ_DENSE_BF16);
}

static void dots_q8(const struct pq_dots *d)
{
    dots_of(d, PQ_DENSE_Q8);
}

#define PQ_ROWS_DOTS                                                                   \
    [PQ_DENSE_F32] = dots_f32, [PQ_DENSE_F16] = dots_f16, [PQ_DENSE_BF16] = dots_bf16, \
    [PQ_DENSE_Q8] = dots_q8

#endif
