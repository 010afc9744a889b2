/*
 * Template: integer products of strips and panels. A group's sum is an integer; groups are added up
 * in order as a fused multiply-add of the sum and the product of both scales.
 * SPDX-License-Identifier: MIT
 */
#ifndef PQ_KERN_RUN_INT_H
#define PQ_KERN_RUN_INT_H

#include "kern/run_group.h"
#include "kern/run_lanes.h"
#include "kern/run_tile.h"

/* ---- sixteen rows turned round ---- */

/* [16][n] to [n][16], four bytes each; n is a multiple of 16. */
static void int_turn(const float *from, uint64_t n, float *to)
{
    pq_v16 v[PQ_LANES];
    for (uint64_t i = 0; i < n; i += PQ_LANES) {
        for (uint64_t r = 0; r < PQ_LANES; r++)
            v[r] = v16_load(from + r * n + i);
        v16_transpose(v);
        for (uint64_t k = 0; k < PQ_LANES; k++)
            v16_store(to + (i + k) * PQ_LANES, v[k]);
    }
}

static void int_turn_strip(const struct pq_strip *s, const struct pq_tile *t)
{
    int_turn((const void *)s->q, s->step / 4, (void *)t->q);
    int_turn(s->scale, s->step / s->group, t->scale);
    if (s->has_offsets)
        int_turn(s->offset, s->step / s->group, t->offset);
}

/* ---- back to floats ---- */

/* The operations of the decoders, each rounded on its own. */
LANE_INLINE void int_widen_row(const struct pq_strip *s, uint64_t r, float *x)
{
    const uint64_t groups = s->step / s->group;
    for (uint64_t k = 0; k < s->cols; k += PQ_LANES) {
        const uint64_t g = r * groups + k / s->group;
        const pq_v16 scale = v16_set(s->scale[g]);
        const float zero = s->offsets_are_zeros ? s->offset[g] : (float)s->zero;
        pq_v16 v = v16_sub(v16_from_bytes(s->q + r * s->step + k), v16_set(zero));
        v = v16_mul(scale, v);
        if (s->has_offsets && !s->offsets_are_zeros)
            v = v16_add(v, v16_set(s->offset[g]));
        v16_store(x + k, v);
    }
}

static void int_widen(const struct pq_strip *s, uint64_t rows, float *x)
{
    for (uint64_t r = 0; r < rows; r++)
        int_widen_row(s, r, x + r * s->cols);
}

/* ---- activations ---- */

/* 32 values to whole numbers up to 127 in size; returns what one of them is worth. */
LANE_INLINE float int_round_block(const float *x, int8_t *q, int32_t sum[2])
{
    pq_v16 a = v16_load(x), b = v16_load(x + PQ_LANES);
    float most = v16_hmax(v16_max(v16_abs(a), v16_abs(b)));
    pq_v16 per_unit = v16_set(most > 0x1p-100f && most < 0x1p100f ? 127.0f / most : 0.0f);
    const pq_v16 low = v16_set(-127.0f), high = v16_set(127.0f);
    a = v16_clamp(v16_round(v16_mul(a, per_unit)), low, high); /* numbers, whatever came in */
    b = v16_clamp(v16_round(v16_mul(b, per_unit)), low, high);
    v16_bytes(a, (uint8_t *)q);
    v16_bytes(b, (uint8_t *)q + PQ_LANES);
    sum[0] = (int32_t)v16_sum(a);
    sum[1] = (int32_t)v16_sum(b);
    return most / 127.0f;
}

LANE_INLINE void int_put_sum(const struct pq_strip *s, const struct pq_panel *p, uint64_t at,
                             int32_t sum, float scale)
{
    p->sum[at] = sum;
    p->start[at] = -s->zero * sum;
    p->shift[at] = scale * (float)sum;
}

static void int_round_token(const struct pq_strip *s, const float *x, const struct pq_panel *p,
                            uint64_t token)
{
    const uint64_t w = p->width, blocks = s->step / PQ_ACT_BLOCK;
    for (uint64_t b = 0; b < blocks; b++) {
        int8_t q[PQ_ACT_BLOCK] = {0};
        int32_t sum[2] = {0};
        float scale = 0;
        if (b * PQ_ACT_BLOCK < s->cols)
            scale = int_round_block(x + b * PQ_ACT_BLOCK, q, sum);
        p->scale[b * w + token] = scale;
        for (uint64_t k = 0; k < PQ_ACT_BLOCK / 4; k++)
            memcpy(p->q + ((b * PQ_ACT_BLOCK / 4 + k) * w + token) * 4, q + 4 * k, 4);
        if (s->group == PQ_ACT_BLOCK) {
            int_put_sum(s, p, b * w + token, sum[0] + sum[1], scale);
        } else {
            int_put_sum(s, p, 2 * b * w + token, sum[0], scale);
            int_put_sum(s, p, (2 * b + 1) * w + token, sum[1], scale);
        }
    }
}

static void int_round_panel(const struct pq_strip *s, const float *x, uint64_t x_step,
                            const struct pq_panel *p)
{
    for (uint64_t t = 0; t < p->width; t++)
        int_round_token(s, x + t * x_step, p, t);
}

/* ---- one token: rows as they lie ---- */

/* Sixteen groups from the g-th on, of sixteen rows: lanes are rows. */
LANE_INLINE pq_v16 int_add_groups(const struct pq_strip *s, const struct pq_panel *p, uint64_t g,
                                  uint64_t n, pq_v16 f, int group)
{
    pq_v16 dot[PQ_LANES], scale[PQ_LANES];
    const uint64_t groups = s->step / (uint64_t)group;
    for (uint64_t r = 0; r < PQ_STRIP_ROWS; r++) {
        float ints[PQ_LANES];
        group_sums(s->q + r * s->step + g * (uint64_t)group, p->q + g * (uint64_t)group, group,
                   s->bits, p->start + g, p->sum + g, ints);
        dot[r] = v16_load(ints);
        scale[r] = v16_load(s->scale + r * groups + g);
    }
    v16_transpose(dot);
    v16_transpose(scale);
    for (uint64_t k = 0; k < n; k++) {
        float a = p->scale[(g + k) * (uint64_t)group / PQ_ACT_BLOCK];
        f = v16_fma(dot[k], v16_mul(scale[k], v16_set(a)), f);
        if (s->has_offsets) {
            float offset[PQ_LANES];
            for (uint64_t r = 0; r < PQ_STRIP_ROWS; r++)
                offset[r] = s->offset[r * groups + g + k];
            f = v16_fma(v16_load(offset), v16_set(p->shift[g + k]), f);
        }
    }
    return f;
}

LANE_INLINE void int_strip(const struct pq_strip *s, const struct pq_panel *p, float *out,
                           int group)
{
    const uint64_t groups = s->cols / (uint64_t)group;
    pq_v16 f = v16_set(0.0f);
    for (uint64_t g = 0; g < groups; g += PQ_LANES)
        f = int_add_groups(s, p, g, groups - g < PQ_LANES ? groups - g : PQ_LANES, f, group);
    v16_store(out, f);
}

static void int_strip_dots(const struct pq_strip *s, const struct pq_panel *p, float out[16])
{
    if (s->group == 32)
        int_strip(s, p, out, 32);
    else
        int_strip(s, p, out, 16);
}

/* ---- panels ---- */

#define INT_TILE(width, group)                                       \
    (s->has_offsets ? tile_product(s, t, p, out, width, group, true) \
                    : tile_product(s, t, p, out, width, group, false))

static void int_tile_dots(const struct pq_strip *s, const struct pq_tile *t,
                          const struct pq_panel *p, float *out)
{
    if (p->width == PQ_PANEL)
        s->group == 32 ? INT_TILE(PQ_PANEL, 32) : INT_TILE(PQ_PANEL, 16);
    else if (p->width == 4)
        s->group == 32 ? INT_TILE(4, 32) : INT_TILE(4, 16);
    else
        s->group == 32 ? INT_TILE(1, 32) : INT_TILE(1, 16);
}

#define PQ_ROWS_INT                                                             \
    .widen = int_widen, .turn = int_turn_strip, .round_panel = int_round_panel, \
    .strip_dots = int_strip_dots, .tile_dots = int_tile_dots

#endif
