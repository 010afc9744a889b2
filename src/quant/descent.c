/*
 * Sweeps of coordinate descent on e^T H e, e = w - q, over the columns in blocks. g = H e of a
 * block comes from one product over all columns; within the block it follows every move.
 * SPDX-License-Identifier: MIT
 */
#include "quant/rounding.h"

#include <math.h>

enum { LEAST_BLOCK = PQ_ROUND_STEP, MOST_BLOCK = 256 };

/* A block of one row. */
struct block {
    const struct pq_rounding *w;
    uint64_t row, j0, n; /* columns j0 to j0 + n - 1 */
    float *g;            /* [n] */
    float *lost, *low, *step;
    uint8_t *code;
};

static const float *products_of(const struct block *b, uint64_t k)
{
    return b->w->f->h + (b->j0 + k) * b->w->f->n + b->j0;
}

/* ---- scales ---- */

/* How values change with a scale's relative change t, and what that does to the loss. */
struct direction {
    float value[MOST_BLOCK];
    double along, square; /* -2 along t + square t^2 */
};

static void direction_of(struct direction *d, const struct block *b, uint64_t k0, uint64_t n,
                         int kind)
{
    const struct pq_rounding *w = b->w;
    const int of = w->scales.kind[kind].of;
    float product[MOST_BLOCK] = {0};
    d->along = d->square = 0;
    for (uint64_t k = 0; k < n; k++) {
        const float levels = b->step[k0 + k] * pq_level(&w->levels, b->code[k0 + k]);
        d->value[k] = of == PQ_SCALES_LOW    ? b->low[k0 + k]
                      : of == PQ_SCALES_STEP ? levels
                                             : b->low[k0 + k] + levels;
    }
    for (uint64_t k = 0; k < n; k++) {
        const float *h = products_of(b, k0 + k) + k0;
        for (uint64_t i = 0; i < n; i++)
            product[i] += d->value[k] * h[i];
    }
    for (uint64_t k = 0; k < n; k++) {
        d->along += (double)(d->value[k] * b->g[k0 + k]);
        d->square += (double)(d->value[k] * product[k]);
    }
}

static void scale_block(const struct block *b, uint64_t k0, uint64_t n, int kind, float by)
{
    const int of = b->w->scales.kind[kind].of;
    for (uint64_t k = k0; k < k0 + n; k++) {
        b->low[k] *= of != PQ_SCALES_STEP ? by : 1;
        b->step[k] *= of != PQ_SCALES_LOW ? by : 1;
    }
}

static void follow_scale(const struct block *b, const struct direction *d, uint64_t k0, uint64_t n,
                         float t)
{
    for (uint64_t k = 0; k < n; k++) {
        const float *h = products_of(b, k0 + k);
        const float move = t * d->value[k];
        b->lost[k0 + k] -= move;
        for (uint64_t i = 0; i < b->n; i++)
            b->g[i] -= move * h[i];
    }
}

/* The scale of columns [k0, k0 + n), which is the i-th of its kind in the row. */
static bool refit(const struct block *b, uint64_t k0, uint64_t n, int kind)
{
    struct direction d;
    const struct pq_scales *s = &b->w->scales;
    void *const *part = b->w->part[b->row];
    const uint64_t i = (b->j0 + k0) / s->span;
    const float was = pq_scales_get(s, kind, i, part);
    direction_of(&d, b, k0, n, kind);
    if (was == 0 || !(d.square > 0))
        return false;
    const float is = pq_scales_round(s, (float)(was * (1 + d.along / d.square)));
    const double t = (double)is / was - 1;
    if (is == 0 || !isfinite(is) || !(2 * d.along * t > d.square * t * t))
        return false;
    pq_scales_put(s, kind, i, is, part);
    scale_block(b, k0, n, kind, is / was);
    follow_scale(b, &d, k0, n, (float)t);
    return true;
}

static bool refit_block(const struct block *b)
{
    const struct pq_scales *s = &b->w->scales;
    bool moved = false;
    for (uint64_t k = 0; k < b->n && s->span <= b->n; k += s->span)
        for (int kind = 0; kind < s->n; kind++)
            moved |= refit(b, k, s->span, kind);
    return moved;
}

/* ---- codes ---- */

static bool move_codes(const struct block *b)
{
    const struct pq_levels *l = &b->w->levels;
    bool moved = false;
    for (uint64_t k = 0; k < b->n; k++) {
        const float *h = products_of(b, k);
        const float was = b->low[k] + b->step[k] * pq_level(l, b->code[k]);
        const uint8_t c = pq_nearest_code(l, was + b->g[k] / h[k], b->low[k], b->step[k]);
        if (c == b->code[k])
            continue;
        const float move = b->low[k] + b->step[k] * pq_level(l, c) - was;
        b->code[k] = c;
        b->lost[k] -= move;
        for (uint64_t i = 0; i < b->n; i++)
            b->g[i] -= move * h[i];
        moved = true;
    }
    return moved;
}

/* ---- the sweep ---- */

static uint64_t block_of(const struct pq_rounding *w)
{
    const uint64_t span = w->scales.n && w->scales.span <= MOST_BLOCK ? w->scales.span : 0;
    return span < LEAST_BLOCK ? LEAST_BLOCK : span;
}

bool pq_descent_sweep(const struct pq_rounding *w)
{
    float g[PQ_ROUND_ROWS * MOST_BLOCK];
    const uint64_t n = w->f->n, size = block_of(w);
    bool moved = false;
    for (uint64_t j0 = 0; j0 < n; j0 += size) {
        const struct pq_dots d = {.w = w->f->h + j0 * n,
                                  .w_step = n * sizeof *w->f->h,
                                  .rows = n - j0 < size ? n - j0 : size,
                                  .cols = n,
                                  .x = w->lost,
                                  .x_step = n,
                                  .n = w->rows,
                                  .out = g,
                                  .out_step = size};
        w->f->compute->dots[PQ_DENSE_F32](&d);
        for (uint64_t r = 0; r < w->rows; r++) {
            const uint64_t at = r * n + j0;
            const struct block b = {
                w,           r, j0, d.rows, g + r * size, w->lost + at, w->low + at, w->step + at,
                w->code + at};
            moved |= refit_block(&b);
            moved |= move_codes(&b);
        }
    }
    return moved;
}
