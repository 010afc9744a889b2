/*
 * Template: MLX affine groups, w = scale * q + bias, bits 2..8, scales and biases in the model's
 * own type. Layout and rounding rule: mlx/backend/cpu/quantized.cpp (ml-explore/mlx).
 *
 * The search has two rounds of sixteen candidates, one per lane. Round one trims both ends of the
 * range and lets least squares place the grid for the codes that each trim gives. Round two
 * stores: it tries the numbers around the best (scale, bias) that the stored type can hold, each
 * with codes chosen against it, and MLX's own pair, so that no group comes out worse than MLX's.
 * SPDX-License-Identifier: MIT
 */
#ifndef PQ_KERN_ENC_AFFINE_H
#define PQ_KERN_ENC_AFFINE_H

#include "kern/enc_fit.h"
#include "kern/group.h"

/* value = s * q + b */
struct affine_fit {
    float s, b;
};

/* MLX's rule: the end of larger magnitude is exact, and so is zero; see mlx quantize(). */
LANE_INLINE struct affine_fit affine_minmax(float lo, float hi, float top)
{
    bool low_end = fabsf(lo) > fabsf(hi);
    float s = (hi - lo) / top, edge = low_end ? lo : hi;
    s = s > 1e-7f ? s : 1e-7f;
    s = low_end ? s : -s;
    float q = rintf(edge / s);
    return q != 0.0f ? (struct affine_fit){edge / q, edge} : (struct affine_fit){s, 0.0f};
}

LANE_INLINE void affine_codes(const float *x, int n, struct affine_fit f, float top, uint8_t *q)
{
    pq_v16 s = v16_set(f.s != 0.0f ? f.s : 1.0f), b = v16_set(f.b), zero = v16_set(0.0f);
    for (int j = 0; j < n; j += PQ_LANES) {
        pq_v16 t = v16_div(v16_sub(v16_load(x + j), b), s);
        v16_bytes(v16_round(v16_clamp(t, zero, v16_set(top))), q + j);
    }
}

/* A constant group: what the bias cannot hold goes into the scale, and every code is 1. */
static inline struct affine_fit affine_constant(float value, enum pq_dtype aux)
{
    float b = aux_round(value, aux);
    return (struct affine_fit){aux_round(value - b, aux), b};
}

/* Round one's candidates: how far each end of the range moves inwards, in steps of the grid
 * (negative: outwards). Measured optima for normal, heavy-tailed and trained weights. */
static inline struct fit_places affine_trims(int bits)
{
    static const float trims[][4] = {{0, 0.18f, 0.36f, 0.54f},
                                     {0, 0.28f, 0.56f, 0.84f},
                                     {0, 0.3f, 0.6f, 0.9f},
                                     {-0.25f, 0.25f, 0.75f, 1.25f}};
    const float *trim = trims[bits < 5 ? bits - 2 : 3], top = (float)((1 << bits) - 1);
    struct fit_places p;
    for (int i = 0; i < PQ_LANES; i++) {
        float low = trim[i / 4] / top, high = trim[i % 4] / top;
        p.steps[i] = top / (1.0f - low - high);
        p.shift[i] = -low * p.steps[i];
    }
    return p;
}

/* Round two's candidates: a few of bfloat16's steps around the line, as the stored type holds
 * them, and MLX's pair in the last lane; in units of the run. The grid starts from its end of
 * smaller magnitude, where the bias is more precise. */
LANE_INLINE void affine_stored(struct fit_line l, float top, float unit, enum pq_dtype aux,
                               struct affine_fit minmax, pq_v16 *s, pq_v16 *b)
{
    static const float lane[PQ_LANES] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    const float o = 1.0f, m = 1.0f - 0x1p-8f, p = 1.0f + 0x1p-8f, pp = 1.0f + 0x1p-7f;
    const float step_s[PQ_LANES] = {o, o, o, o, m, m, m, m, p, p, p, p, pp, pp, pp, pp};
    const float step_b[PQ_LANES] = {o, m, p, pp, o, m, p, pp, o, m, p, pp, o, m, p, pp};
    pq_v16 up = v16_set(unit), down = v16_set(1.0f / unit);
    float centre = l.m + l.s * l.mean;
    if (fabsf(l.m + l.s * top) < fabsf(l.m)) {
        l.s = -l.s;
        l.mean = top - l.mean;
    }
    pq_v16 vs = v16_mul(v16_set(l.s), v16_load(step_s));
    vs = v16_mul(v16_stored(v16_mul(vs, up), aux), down);
    pq_v16 vb = v16_sub(v16_set(centre), v16_mul(vs, v16_set(l.mean)));
    vb = v16_mul(vb, v16_load(step_b));
    vb = v16_mul(v16_stored(v16_mul(vb, up), aux), down);
    pq_v16 id = v16_load(lane), last = v16_set(PQ_LANES - 1);
    *s = v16_if_less(id, last, vs, v16_mul(v16_set(minmax.s), down));
    *b = v16_if_less(id, last, vb, v16_mul(v16_set(minmax.b), down));
}

/* The best of round two. */
FIT_INLINE struct affine_fit affine_search(const struct pq_encode_in *in,
                                           const struct fit_places *trims, struct affine_fit minmax)
{
    float top = (float)((1 << in->bits) - 1);
    int n = (int)in->group;
    struct fit_run run;
    pq_v16 s, b;
    if (!fit_load(in, 0, n, &run))
        return minmax;
    struct fit_line l = fit_line(top, false, run.x, run.w, n, trims);
    affine_stored(l, top, run.unit, in->aux, minmax, &s, &b);
    pq_v16 err = fit_line_error(top, run.x, run.w, n, s, b);
    int best = v16_argmax(v16_sub(v16_set(0.0f), err));
    return (struct affine_fit){v16_lane(s, best) * run.unit, v16_lane(b, best) * run.unit};
}

static void enc_affine(const struct pq_encode_in *in, void *const part[])
{
    uint8_t *codes = part[0], *scales = part[1], *biases = part[2], q[GROUP_MAX];
    float x[GROUP_MAX], lo, hi, top = (float)((1 << in->bits) - 1);
    struct fit_places trims = affine_trims(in->bits);
    int n = (int)in->group;
    for (uint64_t i = 0; i < in->cols / in->group; i++) {
        struct pq_encode_in one = group_of(in, i, x);
        group_range(x, n, &lo, &hi);
        struct affine_fit f = affine_minmax(lo, hi, top);
        struct affine_fit stored = {aux_round(f.s, in->aux), aux_round(f.b, in->aux)};
        if (in->search)
            f = stored =
                lo < hi ? affine_search(&one, &trims, stored) : affine_constant(lo, in->aux);
        affine_codes(x, n, f, top, q);
        pack_codes(q, n, in->bits, codes + i * in->group * (uint64_t)in->bits / 8);
        aux_put(scales, i, stored.s, in->aux);
        aux_put(biases, i, stored.b, in->aux);
    }
}

#define PQ_ROWS_AFFINE [PQ_ENC_AFFINE] = enc_affine

#endif
