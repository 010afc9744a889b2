/*
 * Template: neutral integers, w = scale * (code - zero point), per group or per row.
 *
 * Symmetric groups use the search of GGUF's Q4_0 and Q8_0, so that the same weights give the same
 * numbers in every container. With zero points a candidate is a zero point near the one of the
 * whole range and a scale; least squares then places the scale for the codes that it yields. Zero
 * is a point of every grid. Groups go by sixteen, one in each lane; see enc_int_row.h for rows.
 * SPDX-License-Identifier: MIT
 */
#ifndef PQ_KERN_ENC_INT_H
#define PQ_KERN_ENC_INT_H

#include "kern/enc_int_row.h"

/* The range of each run, zero included. */
static inline void int_range(const float *x, struct many_at a, pq_v16 *lo, pq_v16 *hi)
{
    pq_v16 zero = v16_set(0.0f), low[PQ_LANES], high[PQ_LANES];
    for (int r = 0; r < PQ_LANES; r++) {
        low[r] = high[r] = zero;
        for (int j = 0; r < a.rows && j < a.n; j += PQ_LANES) {
            pq_v16 v = v16_load(x + r * a.n + j);
            low[r] = v16_min(v, low[r]);
            high[r] = v16_max(v, high[r]);
        }
    }
    v16_transpose(low);
    v16_transpose(high);
    *lo = *hi = zero;
    for (int j = 0; j < PQ_LANES; j++) {
        *lo = v16_min(*lo, low[j]);
        *hi = v16_max(*hi, high[j]);
    }
}

/* The weight of largest magnitude of each run, the first of equals, as in Q4_0. */
static inline pq_v16 int_extremes(const float *x, struct many_at a, pq_v16 lo, pq_v16 hi)
{
    float low[PQ_LANES], high[PQ_LANES];
    v16_store(low, lo);
    v16_store(high, hi);
    for (int r = 0; r < a.rows; r++)
        high[r] = int_extreme(x + r * a.n, (uint64_t)a.n, low[r], high[r]);
    return v16_load(high);
}

/* Round to nearest: the rules of Q4_0 and Q8_0, and for asymmetric codes the whole range. */
static inline struct int_fits int_nearest(const struct pq_encode_in *in, struct many_at a)
{
    pq_v16 lo, hi;
    int_range(in->x + a.at, a, &lo, &hi);
    pq_v16 ext = hi;
    if (in->symmetric)
        ext = int_extremes(in->x + a.at, a, lo, hi);
    return int_nearest_fits(in, lo, hi, ext);
}

/* Symmetric groups take the very search of Q4_0's and Q8_0's blocks. */
static inline struct int_fits int_symmetric(const struct pq_encode_in *in, const struct many *m)
{
    float half = (float)(1 << (in->bits - 1));
    const struct fit_grid g = {int_lowest(in, half), half - 1.0f, false};
    const float *places = in->bits == 8 ? q8_0_places : q4_0_places;
    pq_v16 s = v16_mul(many_scales(g, m, m->n, places, PLACES), m->unit);
    return int_fits_of(v16_stored(s, in->aux), v16_set(half));
}

/* ---- zero points ---- */

/* Chosen one after another for normal, heavy-tailed and trained weights, with importance and
 * without: those that together leave the least error. */
static const struct int_try int_tries_4[] = {
    {0, 0.98f}, {0, 1.03f}, {0, 0.92f}, {1, 0.92f}, {0, 0.95f}, {0, 0.86f}, {1, 0.86f}, {0, 1.0f},
};
static const struct int_try int_tries_8[] = {
    {0, 1.0025f}, {0, 1.01f},  {0, 1.02f},  {0, 0.9975f}, {0, 1.015f}, {0, 1.005f},
    {0, 1.0f},    {1, 0.995f}, {0, 0.995f}, {1, 0.992f},  {2, 0.988f}, {2, 1.005f},
};
/* Long groups clip more. */
static const struct int_try int_tries_long[] = {
    {0, 0.92f}, {1, 0.89f}, {0, 0.98f}, {0, 0.86f}, {0, 0.95f}, {1, 0.8f},  {0, 0.89f}, {2, 0.83f},
    {1, 0.92f}, {0, 0.8f},  {0, 1.03f}, {1, 0.86f}, {2, 0.89f}, {0, 0.83f}, {1, 0.95f}, {2, 0.76f},
};

/* Which of them, and how many. */
static inline const struct int_try *int_tries(const struct pq_encode_in *in, int *count)
{
    *count = in->group <= 64 ? 8 : in->bits == 8 || in->group <= 128 ? 12 : 16;
    return in->bits == 8 ? int_tries_8 : in->group <= 64 ? int_tries_4 : int_tries_long;
}

/* Codes less zero point, q, for the scale and zero point of a candidate, which has 1 / inv for a
 * scale: q lies in lo..hi, both with PQ_MAGIC added. */
struct int_lane_try {
    pq_v16 inv, zero, lo, hi;
    struct many_sums sums;
};

LANE_INLINE struct int_lane_try int_lane_try(struct int_zeros z, struct int_try t, pq_v16 per)
{
    pq_v16 none = v16_set(0.0f), zero = int_zero_near(z, t.away);
    pq_v16 lo = v16_sub(v16_set(PQ_MAGIC), zero), inv = v16_mul(per, v16_set(1.0f / t.stretch));
    return (struct int_lane_try){inv, zero, lo, v16_add(lo, v16_set(z.top)), {none, none, none}};
}

LANE_INLINE void int_lane_step(struct int_lane_try *t, pq_v16 x, pq_v16 w)
{
    pq_v16 q = v16_snap(v16_fma(x, t->inv, v16_set(PQ_MAGIC)), t->lo, t->hi), wq = v16_mul(w, q);
    t->sums.qq = v16_fma(wq, q, t->sums.qq);
    t->sums.qx = v16_fma(wq, x, t->sums.qx);
}

/* Keeps what explains more. */
LANE_INLINE void int_lane_keep(const struct int_lane_try *t, struct int_lane_try *best)
{
    pq_v16 a = v16_mul(v16_mul(best->sums.qx, best->sums.qx), t->sums.qq);
    pq_v16 b = v16_mul(v16_mul(t->sums.qx, t->sums.qx), best->sums.qq);
    best->zero = v16_if_less(a, b, t->zero, best->zero);
    many_keep(&t->sums, &best->sums);
}

FIT_INLINE struct int_fits int_asymmetric(const struct pq_encode_in *in, const struct many *m)
{
    pq_v16 none = v16_set(0.0f), lo = v16_min(m->lo, none), hi = v16_max(m->hi, none);
    float top = int_top(in);
    pq_v16 per = fit_inverses(v16_mul(v16_sub(hi, lo), v16_set(1.0f / top)));
    struct int_zeros z = int_zeros_of(v16_mul(v16_sub(none, lo), per), top);
    int count;
    const struct int_try *tries = int_tries(in, &count);
    struct int_lane_try best = {none, z.near, none, none, {none, v16_set(1e-30f), none}};
    for (int c = 0; c < count; c += 2) {
        struct int_lane_try a = int_lane_try(z, tries[c], per);
        struct int_lane_try b = int_lane_try(z, tries[c + 1], per);
        for (int j = 0; j < m->n; j++) {
            int_lane_step(&a, m->x[j], m->w[j]);
            int_lane_step(&b, m->x[j], m->w[j]);
        }
        int_lane_keep(&a, &best);
        int_lane_keep(&b, &best);
    }
    pq_v16 s = v16_mul(v16_div(best.sums.qx, best.sums.qq), m->unit);
    return int_fits_of(v16_stored(s, in->aux), best.zero);
}

/* ---- groups ---- */

static inline struct int_fits int_search(const struct pq_encode_in *in, struct many_at a)
{
    struct many m;
    many_read(in, a, false, &m);
    many_weigh(in, a, &m);
    return in->symmetric ? int_symmetric(in, &m) : int_asymmetric(in, &m);
}

/* Fits and encodes `rows` groups from the i-th on, whose weights are finite. */
static void int_groups(const struct pq_encode_in *in, uint64_t i, int rows, void *const part[])
{
    const struct many_at a = {i * in->group, (int)in->group, rows, 1};
    struct int_fits f = in->search ? int_search(in, a) : int_nearest(in, a);
    float inv[PQ_LANES], zero[PQ_LANES];
    v16_store(inv, f.inv);
    v16_store(zero, f.zero);
    uint8_t *codes = (uint8_t *)part[0] + a.at / 8 * (uint64_t)in->bits;
    for (int r = 0; r < rows; r++, codes += a.n / 8 * in->bits)
        int_codes(in, in->x + a.at + (uint64_t)(r * a.n), a.n,
                  (struct int_fit){0.0f, inv[r], zero[r]}, codes);
    int_put_scales(part[1], i, rows, f.s, in->aux);
    for (int r = 0; !in->symmetric && r < rows; r++)
        int_put_zero((uint8_t *)part[2], i + (uint64_t)r, in->bits, (int)zero[r]);
}

/* The same for any weights; i is even. */
static void int_groups_made_finite(const struct pq_encode_in *in, uint64_t i, int rows,
                                   void *const part[])
{
    float x[PQ_LANES * GROUP_MAX];
    struct pq_encode_in own = *in;
    const uint64_t at = i * in->group;
    const size_t bits = (size_t)in->bits;
    void *const here[] = {(uint8_t *)part[0] + at / 8 * bits,
                          (uint8_t *)part[1] + i * pq_dtype_size(in->aux),
                          in->symmetric ? NULL : (uint8_t *)part[2] + i * bits / 8};
    group_load(x, in->x + at, rows * (int)in->group);
    own.x = x;
    own.importance = in->importance ? in->importance + at : NULL;
    int_groups(&own, 0, rows, here);
}

static void enc_int(const struct pq_encode_in *in, void *const part[])
{
    const uint64_t groups = in->cols / in->group;
    const bool clean = group_clean(in->x, in->cols);
    for (uint64_t i = 0; in->group > GROUP_MAX && i < groups; i++)
        int_row(in, i, clean, part);
    for (uint64_t i = 0; in->group <= GROUP_MAX && i < groups; i += PQ_LANES) {
        const int rows = groups - i < PQ_LANES ? (int)(groups - i) : PQ_LANES;
        if (clean)
            int_groups(in, i, rows, part);
        else
            int_groups_made_finite(in, i, rows, part);
    }
}

#define PQ_ROWS_INT [PQ_ENC_INT] = enc_int

#endif
