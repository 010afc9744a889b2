/* Codes with feedback, row by row. SPDX-License-Identifier: MIT */
#include "quant/rounding.h"

#include "base/num.h"

#include <math.h>

enum { ROWS = PQ_ROUND_ROWS, STEP = PQ_ROUND_STEP };

uint64_t pq_feedback_floats(uint64_t cols)
{
    return ROWS * (3 * cols + pq_ceil_div(cols, sizeof(float)));
}

static uint8_t nearest_in_table(const float value[16], float v)
{
    uint8_t best = 0;
    for (uint8_t c = 1; c < 16; c++)
        best = fabsf(value[c] - v) < fabsf(value[best] - v) ? c : best;
    return best;
}

uint8_t pq_nearest_code(const struct pq_levels *l, float v, float low, float step)
{
    const float c = step != 0 ? (v - low) / step : 0;
    if (!l->even)
        return nearest_in_table(l->value, c);
    return c <= (float)l->first  ? (uint8_t)l->first
           : c >= (float)l->last ? (uint8_t)l->last
                                 : (uint8_t)(c + 0.5f);
}

static float value_at(const struct pq_rounding *w, uint64_t at)
{
    return w->low[at] + w->step[at] * pq_level(&w->levels, w->code[at]);
}

/* Columns order[j0] to order[j1 - 1] of one row; fed_back: by the columns before these. */
static void choose(const struct pq_rounding *w, uint64_t r, uint64_t j0, uint64_t j1,
                   const float *fed_back)
{
    const uint64_t n = w->f->n;
    float *lost = w->lost + r * n;
    for (uint64_t j = j0; j < j1; j++) {
        const uint64_t at = r * n + w->f->order[j];
        const float *u = w->f->u + j * n;
        float v = w->x[at] + fed_back[j - j0];
        for (uint64_t k = j0; k < j; k++)
            v += u[k] * lost[k];
        w->code[at] = pq_nearest_code(&w->levels, v, w->low[at], w->step[at]);
        lost[j] = w->x[at] - value_at(w, at);
    }
}

static void choose_all(const struct pq_rounding *w)
{
    const uint64_t n = w->f->n;
    float fed_back[ROWS * STEP] = {0};
    for (uint64_t j0 = 0, j1; j0 < n; j0 = j1) {
        j1 = n - j0 < STEP ? n : j0 + STEP;
        const struct pq_dots d = {.w = w->f->u + j0 * n,
                                  .w_step = n * sizeof *w->f->u,
                                  .rows = j1 - j0,
                                  .cols = j0,
                                  .x = w->lost,
                                  .x_step = n,
                                  .n = w->rows,
                                  .out = fed_back,
                                  .out_step = STEP};
        if (j0)
            w->f->compute->dots[PQ_DENSE_F32](&d);
        for (uint64_t r = 0; r < w->rows; r++)
            choose(w, r, j0, j1, fed_back + r * STEP);
    }
}

static void sweep(const struct pq_rounding *w)
{
    for (uint64_t at = 0; at < w->rows * w->f->n; at++)
        w->lost[at] = w->x[at] - value_at(w, at);
    for (int i = 0; i < w->f->sweeps && pq_descent_sweep(w); i++)
        continue;
}

static void row_parts(const struct pq_encoded *to, uint64_t row, void *part[PQ_MAX_PARTS])
{
    for (int i = 0; i < PQ_MAX_PARTS; i++)
        part[i] = to->at[i] ? to->at[i] + row * to->row_bytes[i] : NULL;
}

void pq_feedback_run(const struct pq_feedback *f, const struct pq_encoded *to, const float *x,
                     uint64_t n, float *scratch)
{
    const uint64_t cols = f->n;
    struct pq_rounding w = {.f = f,
                            .scheme = to->scheme,
                            .levels = pq_codes_levels(to->scheme),
                            .scales = pq_codes_scales(to->scheme, cols),
                            .lost = scratch};
    w.low = w.lost + ROWS * cols;
    w.step = w.low + ROWS * cols;
    w.code = (uint8_t *)(w.step + ROWS * cols);
    for (uint64_t at = 0; at < n; at += ROWS) {
        w.rows = n - at < ROWS ? n - at : ROWS;
        w.x = x + at * cols;
        for (uint64_t r = 0; r < w.rows; r++) {
            const struct pq_grid g = {w.low + r * cols, w.step + r * cols, w.code + r * cols};
            row_parts(to, at + r, w.part[r]);
            pq_codes_grid(to->scheme, cols, w.part[r], &g);
        }
        choose_all(&w);
        if (f->sweeps)
            sweep(&w);
        for (uint64_t r = 0; r < w.rows; r++)
            pq_codes_put(to->scheme, w.code + r * cols, cols, w.part[r]);
    }
}
