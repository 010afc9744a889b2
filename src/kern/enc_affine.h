/*
 * Template: MLX affine groups, w = scale * q + bias, bits 2..8, scales and biases in the model's
 * own type. Layout and rounding rule: mlx/backend/cpu/quantized.cpp (ml-explore/mlx).
 *
 * The search has two rounds of sixteen candidates, for sixteen groups at once. Round one trims both
 * ends of the range and lets least squares place the grid for the codes that each trim gives. Round
 * two stores: it tries the numbers around the best (scale, bias) that the stored type can hold,
 * each with codes chosen against it, and MLX's own pair, so that no group comes out worse than
 * MLX's. SPDX-License-Identifier: MIT
 */
#ifndef PQ_KERN_ENC_AFFINE_H
#define PQ_KERN_ENC_AFFINE_H

#include "kern/enc_many.h"
#include "kern/group.h"

/* value = s * q + b, for sixteen groups */
struct affine_fits {
    pq_v16 s, b;
};

/* Nearest whole number to a of any size, ties to even. */
LANE_INLINE pq_v16 affine_rint(pq_v16 a)
{
    pq_v16 zero = v16_set(0.0f), whole = v16_set(0x1p23f), size = v16_abs(a);
    pq_v16 r = v16_if_less(size, whole, v16_sub(v16_add(size, whole), whole), size);
    return v16_if_less(a, zero, v16_sub(zero, r), r);
}

/* MLX's rule: the end of larger magnitude is exact, and so is zero; see mlx quantize(). */
static inline struct affine_fits affine_minmax(pq_v16 lo, pq_v16 hi, float top)
{
    pq_v16 zero = v16_set(0.0f), low = v16_abs(lo), high = v16_abs(hi);
    pq_v16 s = v16_max(v16_div(v16_sub(hi, lo), v16_set(top)), v16_set(1e-7f));
    pq_v16 edge = v16_if_less(high, low, lo, hi);
    s = v16_if_less(high, low, s, v16_sub(zero, s));
    pq_v16 q = affine_rint(v16_div(edge, s)), some = v16_abs(q);
    return (struct affine_fits){v16_if_less(zero, some, v16_div(edge, q), s),
                                v16_if_less(zero, some, edge, zero)};
}

LANE_INLINE void affine_codes(const float *x, int n, float scale, float bias, float top, uint8_t *q)
{
    pq_v16 s = v16_set(scale != 0.0f ? scale : 1.0f), b = v16_set(bias), zero = v16_set(0.0f);
    for (int j = 0; j < n; j += PQ_LANES) {
        pq_v16 t = v16_div(v16_sub(v16_load(x + j), b), s);
        v16_bytes(v16_round(v16_clamp(t, zero, v16_set(top))), q + j);
    }
}

/* Round one's candidates: how far each end of the range moves inwards, in steps of the grid
 * (negative: outwards). Measured optima for normal, heavy-tailed and trained weights; the most
 * useful pairs first, as found by adding one after another. */
static inline struct fit_places affine_trims(int bits)
{
    static const float trims[][4] = {{0, 0.18f, 0.36f, 0.54f},
                                     {0, 0.28f, 0.56f, 0.84f},
                                     {0, 0.3f, 0.6f, 0.9f},
                                     {-0.25f, 0.25f, 0.75f, 1.25f}};
    const float *trim = trims[bits < 5 ? bits - 2 : 3], top = (float)((1 << bits) - 1);
    static const uint8_t pair[PQ_LANES] = {5, 8, 1, 4, 2, 0, 6, 9, 3, 12, 7, 10, 11, 13, 14, 15};
    struct fit_places p;
    for (int i = 0; i < PQ_LANES; i++) {
        float low = trim[pair[i] / 4] / top, high = trim[pair[i] % 4] / top;
        p.steps[i] = top / (1.0f - low - high);
        p.shift[i] = -low * p.steps[i];
    }
    return p;
}

/* Round two's scales and biases: a few of bfloat16's steps around the line, as the stored type
 * holds them, in units of the run. */
struct affine_around {
    struct many_lines l;
    pq_v16 centre;
    enum pq_dtype aux;
};

static const float affine_steps[4] = {1.0f, 1.0f - 0x1p-8f, 1.0f + 0x1p-8f, 1.0f + 0x1p-7f};

/* The grid starts from its end of smaller magnitude, where the bias is more precise. */
LANE_INLINE struct affine_around affine_around(const struct many_lines *l, float top,
                                               enum pq_dtype aux)
{
    struct affine_around a = {*l, v16_fma(l->s, l->mean, l->m), aux};
    pq_v16 hi = v16_set(top), end = v16_abs(v16_fma(l->s, hi, l->m)), start = v16_abs(l->m);
    a.l.s = v16_if_less(end, start, v16_sub(v16_set(0.0f), l->s), l->s);
    a.l.mean = v16_if_less(end, start, v16_sub(hi, l->mean), l->mean);
    return a;
}

LANE_INLINE struct affine_fits affine_nudged(const struct affine_around *a, const struct many *r,
                                             int i)
{
    pq_v16 s = v16_mul(v16_mul(a->l.s, v16_set(affine_steps[i / 4])), r->unit);
    s = v16_mul(v16_stored(s, a->aux), r->down);
    pq_v16 b = v16_sub(a->centre, v16_mul(s, a->l.mean));
    b = v16_mul(v16_mul(b, v16_set(affine_steps[i % 4])), r->unit);
    return (struct affine_fits){s, v16_mul(v16_stored(b, a->aux), r->down)};
}

/* Four bits in short groups, what most people want, lose a thousandth of their error with half of
 * the candidates. */
static inline int affine_tries(const struct pq_encode_in *in)
{
    bool few = in->bits == 4 && in->group <= 64 && !in->importance;
    return few ? PQ_LANES / 2 : PQ_LANES;
}

/* The best of both rounds; `minmax`: MLX's, which is round two's first. */
FIT_INLINE struct affine_fits affine_search(const struct pq_encode_in *in, const struct many *r,
                                            const struct fit_places *trims,
                                            struct affine_fits minmax)
{
    static const uint8_t pair[PQ_LANES - 1] = {0, 14, 13, 5, 11, 6, 9, 10, 1, 2, 3, 4, 7, 8, 12};
    float top = (float)((1 << in->bits) - 1);
    int tries = affine_tries(in);
    struct many_lines l;
    struct affine_fits best = {v16_mul(minmax.s, r->down), v16_mul(minmax.b, r->down)};
    many_best_lines(top, false, r, r->n, trims, tries, &l);
    struct affine_around around = affine_around(&l, top, in->aux);
    pq_v16 least = v16_set(1e30f), s[2] = {best.s, best.s}, b[2] = {best.b, best.b}, err[2];
    for (int c = 0; c < tries; c += 2) {
        for (int i = c ? 0 : 1; i < 2; i++) {
            struct affine_fits f = affine_nudged(&around, r, pair[c + i - 1]);
            s[i] = f.s;
            b[i] = f.b;
        }
        many_line_errors(top, r, r->n, s, b, err);
        for (int i = 0; i < 2; i++) {
            best.s = v16_if_less(err[i], least, s[i], best.s);
            best.b = v16_if_less(err[i], least, b[i], best.b);
            least = v16_min(err[i], least);
        }
    }
    return (struct affine_fits){v16_mul(best.s, r->unit), v16_mul(best.b, r->unit)};
}

/* Scales and biases of up to sixteen groups: as stored, and as codes are chosen against. */
FIT_INLINE void affine_fit(const struct pq_encode_in *in, struct many_at a,
                           const struct fit_places *trims, struct affine_fits *stored,
                           struct affine_fits *f)
{
    struct many r;
    many_read(in, a, true, &r);
    pq_v16 lo = r.lo, hi = r.hi;
    *f = affine_minmax(lo, hi, (float)((1 << in->bits) - 1));
    *stored = (struct affine_fits){v16_stored(f->s, in->aux), v16_stored(f->b, in->aux)};
    if (!in->search)
        return;
    many_weigh(in, a, &r);
    struct affine_fits best = affine_search(in, &r, trims, *stored);
    /* A constant group: what the bias cannot hold goes into the scale, and every code is 1. */
    pq_v16 b = v16_stored(lo, in->aux), s = v16_stored(v16_sub(lo, b), in->aux);
    *stored = (struct affine_fits){v16_if_less(lo, hi, best.s, s), v16_if_less(lo, hi, best.b, b)};
    *f = *stored;
}

/* What is stored for the groups, as numbers one after another. */
struct affine_out {
    float s[PQ_LANES], b[PQ_LANES];
};

static inline struct affine_out affine_out(struct affine_fits f)
{
    struct affine_out o;
    v16_store(o.s, f.s);
    v16_store(o.b, f.b);
    return o;
}

/* Encodes the groups i to i + rows. */
static void affine_groups(const struct pq_encode_in *in, uint64_t i, int rows, void *const part[])
{
    float x[GROUP_MAX], top = (float)((1 << in->bits) - 1);
    uint8_t q[GROUP_MAX], *codes = part[0];
    struct fit_places trims = affine_trims(in->bits);
    struct affine_fits stored, fits;
    int n = (int)in->group;
    affine_fit(in, (struct many_at){i * in->group, n, rows, 1}, &trims, &stored, &fits);
    struct affine_out o = affine_out(stored), f = affine_out(fits);
    for (int r = 0; r < rows; r++, i++) {
        group_load(x, in->x + i * in->group, n);
        affine_codes(x, n, f.s[r], f.b[r], top, q);
        pack_codes(q, n, in->bits, codes + i * in->group * (uint64_t)in->bits / 8);
        aux_put(part[1], i, o.s[r], in->aux);
        aux_put(part[2], i, o.b[r], in->aux);
    }
}

static void enc_affine(const struct pq_encode_in *in, void *const part[])
{
    uint64_t groups = in->cols / in->group;
    for (uint64_t i = 0; i < groups; i += PQ_LANES)
        affine_groups(in, i, groups - i < PQ_LANES ? (int)(groups - i) : PQ_LANES, part);
}

#define PQ_ROWS_AFFINE [PQ_ENC_AFFINE] = enc_affine

#endif
