/*
 * Template: fitting a grid of few points to a run of weights, by trying sixteen candidates at a
 * time. Lanes are candidates: each lane does what the scalar search would do, so nothing is
 * transposed and every level gives the same bits. SPDX-License-Identifier: MIT
 */
#ifndef PQ_KERN_ENC_FIT_H
#define PQ_KERN_ENC_FIT_H

#include "base/num.h"
#include "kern/kern.h"
#include "kern/lanes.h"

#define FIT_INLINE LANE_INLINE

enum { FIT_MAX = 256 };

/* A run of weights, and how much an error in each matters, both multiplied by a power of two so
 * that the largest is near one: nothing overflows or underflows, and nothing is rounded. */
struct fit_run {
    float x[FIT_MAX], w[FIT_MAX];
    float unit; /* what 1.0 in x stands for */
};

/* A scale as it is stored, and what that means in the units of the run. */
struct fit_half {
    uint16_t bits;
    float value;
};

/* The weight of a squared error in x, where h is the mean squared input of the column (1 when
 * unknown) and sigma2 twice the mean of x^2. Large weights count more because the error of a group
 * tends to be carried by its few large products; the square root keeps that mild. Empirical: see
 * the reference of importance matrices in llama.cpp, whose measure this is. */
static inline pq_v16 fit_weight(pq_v16 x, pq_v16 h, pq_v16 sigma2)
{
    return v16_mul(h, v16_sqrt(v16_add(sigma2, v16_mul(x, x))));
}

/* The power of two at or below a, from 2^-126 up to 2^126. */
static inline float fit_power(float a)
{
    float p = pq_bits_f32(pq_f32_bits(a) & 0x7f800000u);
    p = p > 0x1p-126f ? p : 0x1p-126f;
    return p < 0x1p126f ? p : 0x1p126f;
}

static inline float fit_absmax(const float *x, int n)
{
    pq_v16 m = v16_set(0.0f);
    for (int j = 0; j < n; j += PQ_LANES)
        m = v16_max(v16_abs(v16_load(x + j)), m);
    return v16_hmax(m);
}

/* Importance of zero (an input never seen, an expert never chosen) still counts a little, so that
 * those weights are rounded sensibly and no sum of weights is zero. */
static inline void fit_weights(const float *h, int n, struct fit_run *run)
{
    float hmax = h ? fit_absmax(h, n) : 0.0f;
    pq_v16 down = v16_set(1.0f / fit_power(hmax)), least = v16_set(0x1p-20f), sum = v16_set(0.0f);
    for (int j = 0; j < n; j += PQ_LANES) {
        pq_v16 x = v16_load(run->x + j);
        sum = v16_add(sum, v16_mul(x, x));
    }
    /* Never zero, for the sake of runs of zeros. */
    pq_v16 sigma2 = v16_max(v16_set(2.0f * v16_sum(sum) / (float)n), v16_set(0x1p-60f));
    for (int j = 0; j < n; j += PQ_LANES) {
        pq_v16 hj = v16_set(1.0f);
        if (hmax > 0.0f)
            hj = v16_min(v16_max(v16_mul(v16_load(h + j), down), least), v16_set(2.0f));
        v16_store(run->w + j, fit_weight(v16_load(run->x + j), hj, sigma2));
    }
}

/* Takes n (a multiple of 16) weights; false when all are zero. Infinities become large numbers. */
static inline bool fit_load(const struct pq_encode_in *in, uint64_t at, int n, struct fit_run *run)
{
    float top = fit_absmax(in->x + at, n);
    run->unit = fit_power(top);
    pq_v16 down = v16_set(1.0f / run->unit), lo = v16_set(-4.0f), hi = v16_set(4.0f);
    for (int j = 0; j < n; j += PQ_LANES)
        v16_store(run->x + j, v16_clamp(v16_mul(v16_load(in->x + at + j), down), lo, hi));
    fit_weights(in->importance ? in->importance + at : NULL, n, run);
    return top > 0.0f;
}

/* Rounds to a half; saturates, because an infinite scale would turn zeros into NaN. */
static inline uint16_t fit_f16(float v)
{
    v = v < 65504.0f ? v : 65504.0f;
    v = v > -65504.0f ? v : -65504.0f;
    return pq_f32_to_f16(v);
}

static inline struct fit_half fit_half(float v, const struct fit_run *run)
{
    uint16_t bits = fit_f16(v * run->unit);
    return (struct fit_half){bits, pq_f16_to_f32(bits) * (1.0f / run->unit)};
}

static inline float fit_inverse(float s)
{
    return s != 0.0f ? 1.0f / s : 0.0f;
}

/* 1 / s, and 0 where s is 0. */
static inline pq_v16 fit_inverses(pq_v16 s)
{
    pq_v16 zero = v16_set(0.0f), inv = v16_div(v16_set(1.0f), s);
    return v16_if_less(zero, v16_abs(s), inv, zero);
}

/* The value of largest magnitude, with its sign. */
static inline float fit_extreme(const float *x, int n)
{
    pq_v16 zero = v16_set(0.0f), up = zero, down = zero;
    for (int j = 0; j < n; j += PQ_LANES) {
        up = v16_max(v16_load(x + j), up);
        down = v16_max(v16_sub(zero, v16_load(x + j)), down);
    }
    float a = v16_hmax(up), b = v16_hmax(down);
    return a > b ? a : -b;
}

/* ---- grids ---- */

/* Points of a grid at scale one: the integers lo..hi, or the 16 values of IQ4. */
struct fit_grid {
    float lo, hi;
    bool iq4;
};

#define IQ4_VALUES                                                               \
    {                                                                            \
        -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113 \
    }

/*
 * Index of the nearest IQ4 value. Between -93.5 and 79 the midpoints of neighbours are at least
 * 11.5 apart, so cells of that width contain one at most: look up the cell's midpoint and the
 * index to its left. Two more comparisons settle what lies outside the sixteen cells.
 */
FIT_INLINE pq_v16 fit_iq4_index(pq_v16 y)
{
    static const float mid[16] = {-93.5f, -74.0f, -74.0f, -57.0f, -42.0f, -28.5f, -16.0f, -4.5f,
                                  7.0f,   19.0f,  31.5f,  31.5f,  45.5f,  61.0f,  79.0f,  79.0f};
    static const float left[16] = {1, 2, 2, 3, 4, 5, 6, 7, 8, 9, 10, 10, 11, 12, 13, 13};
    pq_v16 cell = v16_mul(v16_add(y, v16_set(94.0f - 5.75f)), v16_set(1.0f / 11.5f));
    cell = v16_clamp(v16_round(cell), v16_set(0.0f), v16_set(15.0f));
    pq_v16 i = v16_lookup(v16_load(left), cell), next = v16_add(i, v16_set(1.0f));
    i = v16_if_less(y, v16_lookup(v16_load(mid), cell), i, next);
    i = v16_if_less(y, v16_set(-115.5f), v16_set(0.0f), i);
    return v16_if_less(v16_set(101.0f), y, v16_set(15.0f), i);
}

/* The point of the grid next to t. */
FIT_INLINE pq_v16 fit_snap(struct fit_grid g, pq_v16 t)
{
    static const float values[16] = IQ4_VALUES;
    if (g.iq4)
        return v16_lookup(v16_load(values), fit_iq4_index(t));
    return v16_round(v16_clamp(t, v16_set(g.lo), v16_set(g.hi)));
}

/* ---- one scale ---- */

/* For each inverse scale: the least-squares scale of the codes it yields, and how much of the
 * weighted sum of squares that explains. */
FIT_INLINE pq_v16 fit_scale_score(struct fit_grid g, const float *x, const float *w, int n,
                                  pq_v16 inv, pq_v16 *scale)
{
    pq_v16 qq = v16_set(0.0f), qx = qq;
    for (int j = 0; j < n; j++) {
        pq_v16 xj = v16_set(x[j]), q = fit_snap(g, v16_mul(xj, inv));
        pq_v16 wq = v16_mul(v16_set(w[j]), q);
        qq = v16_add(qq, v16_mul(wq, q));
        qx = v16_add(qx, v16_mul(wq, xj));
    }
    *scale = v16_div(qx, v16_max(qq, v16_set(1e-30f)));
    return v16_mul(qx, *scale);
}

/* The weighted squared error of each scale as it is. */
FIT_INLINE pq_v16 fit_scale_error(struct fit_grid g, const float *x, const float *w, int n,
                                  pq_v16 scale)
{
    pq_v16 err = v16_set(0.0f), inv = fit_inverses(scale);
    for (int j = 0; j < n; j++) {
        pq_v16 xj = v16_set(x[j]), q = fit_snap(g, v16_mul(xj, inv));
        pq_v16 e = v16_sub(v16_mul(q, scale), xj);
        err = v16_add(err, v16_mul(v16_mul(e, e), v16_set(w[j])));
    }
    return err;
}

/* `places`: where on the grid each candidate puts the extreme value. */
FIT_INLINE float fit_scale(struct fit_grid g, const float *x, const float *w, int n,
                           const float places[16])
{
    float ext = fit_extreme(x, n);
    if (ext == 0.0f)
        return 0.0f;
    pq_v16 scale, inv = v16_div(v16_load(places), v16_set(ext));
    pq_v16 score = fit_scale_score(g, x, w, n, inv, &scale);
    return v16_lane(scale, v16_argmax(score));
}

/* ---- scale and offset: x ~ s q + m ---- */

struct fit_line {
    float s, m;
    float mean;   /* weighted mean of the codes: how much m must fall when s grows */
    float ww, qq; /* sums of weights, and of weights times squared codes */
};

struct fit_lines {
    pq_v16 s, m, mean, qq;
};

/* Least squares for weighted sums of 1, x, q, q^2, q x; offsets above `most` are held there.
 * Returns how much of the sum of squares that explains. */
FIT_INLINE pq_v16 fit_solve(pq_v16 W, pq_v16 X, pq_v16 q, pq_v16 qq, pq_v16 qx, pq_v16 most,
                            struct fit_lines *l)
{
    pq_v16 tiny = v16_set(1e-30f), zero = v16_set(0.0f);
    pq_v16 det = v16_sub(v16_mul(W, qq), v16_mul(q, q));
    pq_v16 inv = v16_div(v16_set(1.0f), v16_max(det, tiny));
    pq_v16 s = v16_mul(v16_sub(v16_mul(W, qx), v16_mul(X, q)), inv);
    s = v16_if_less(v16_mul(v16_set(1e-6f), v16_mul(W, qq)), det, s, zero); /* one code only */
    pq_v16 m = v16_div(v16_sub(X, v16_mul(s, q)), W);
    pq_v16 held = v16_div(v16_sub(qx, v16_mul(most, q)), v16_max(qq, tiny));
    s = v16_if_less(most, m, held, s);
    m = v16_min(m, most);
    *l = (struct fit_lines){s, m, v16_div(q, W), qq};
    /* 2 s qx + 2 m X - s^2 qq - 2 s m q - m^2 W */
    pq_v16 a = v16_sub(v16_sub(v16_add(qx, qx), v16_mul(s, qq)), v16_mul(v16_add(m, m), q));
    pq_v16 b = v16_sub(v16_add(X, X), v16_mul(m, W));
    return v16_add(v16_mul(s, a), v16_mul(m, b));
}

/* The candidates of a search over lines: steps between the smallest and the largest value, and
 * where above its code 0 the smallest is put. */
struct fit_places {
    float steps[16], shift[16];
};

/* The best line for codes 0..hi; with `below`, m <= 0. */
FIT_INLINE struct fit_line fit_line(float hi, bool below, const float *x, const float *w, int n,
                                    const struct fit_places *p)
{
    pq_v16 vmin = v16_load(x), vmax = vmin, sw = v16_load(w), sx = v16_mul(vmin, sw);
    for (int j = PQ_LANES; j < n; j += PQ_LANES) {
        pq_v16 xj = v16_load(x + j), wj = v16_load(w + j);
        vmin = v16_min(vmin, xj);
        vmax = v16_max(vmax, xj);
        sw = v16_add(sw, wj);
        sx = v16_add(sx, v16_mul(xj, wj));
    }
    float base = 0.0f - v16_hmax(v16_sub(v16_set(0.0f), vmin)), top = v16_hmax(vmax);
    if (below)
        base = base < 0.0f ? base : 0.0f;
    float range = top - base;
    float ww = v16_sum(sw), xx = v16_sum(sx) - ww * base;
    pq_v16 inv = v16_set(0.0f), most = v16_set(below ? -base : 1e30f);
    if (range > 0.0f)
        inv = v16_div(v16_load(p->steps), v16_set(range));
    float y[FIT_MAX];
    for (int j = 0; j < n; j += PQ_LANES)
        v16_store(y + j, v16_sub(v16_load(x + j), v16_set(base)));
    pq_v16 q = v16_set(0.0f), qq = q, qx = q, shift = v16_load(p->shift);
    const struct fit_grid g = {0.0f, hi, false};
    for (int j = 0; j < n; j++) {
        pq_v16 xj = v16_set(y[j]);
        pq_v16 c = fit_snap(g, v16_add(v16_mul(xj, inv), shift)), wc = v16_mul(v16_set(w[j]), c);
        q = v16_add(q, wc);
        qq = v16_add(qq, v16_mul(wc, c));
        qx = v16_add(qx, v16_mul(wc, xj));
    }
    struct fit_lines l;
    int i = v16_argmax(fit_solve(v16_set(ww), v16_set(xx), q, qq, qx, most, &l));
    return (struct fit_line){v16_lane(l.s, i), v16_lane(l.m, i) + base, v16_lane(l.mean, i), ww,
                             v16_lane(l.qq, i)};
}

/* The weighted squared error of each line as it is. */
FIT_INLINE pq_v16 fit_line_error(float hi, const float *x, const float *w, int n, pq_v16 s,
                                 pq_v16 m)
{
    const struct fit_grid g = {0.0f, hi, false};
    pq_v16 err = v16_set(0.0f), inv = fit_inverses(s);
    for (int j = 0; j < n; j++) {
        pq_v16 xj = v16_sub(v16_set(x[j]), m), q = fit_snap(g, v16_mul(xj, inv));
        pq_v16 e = v16_sub(v16_mul(q, s), xj);
        err = v16_add(err, v16_mul(v16_mul(e, e), v16_set(w[j])));
    }
    return err;
}

#endif
