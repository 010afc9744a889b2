/*
 * Template: what searches share: a run of weights in units of its own, how much errors in it
 * matter, grids of few points and the nearest of those. SPDX-License-Identifier: MIT
 */
#ifndef PQ_KERN_ENC_FIT_H
#define PQ_KERN_ENC_FIT_H

#include "base/num.h"
#include "kern/kern.h"
#include "kern/lanes_move.h"

#define FIT_INLINE LANE_INLINE

enum { FIT_MAX = 256 };

/* A run of weights, and how much an error in each matters, both multiplied by a power of two so
 * that the largest is near one: nothing overflows or underflows, and nothing is rounded. */
struct fit_run {
    float x[FIT_MAX], w[FIT_MAX];
    float unit; /* what 1.0 in x stands for */
};

/* The weight of a squared error in x, where h is the mean squared input of the column (1 when
 * unknown) and sigma2 twice the mean of x^2. Large weights count more because the error of a group
 * tends to be carried by its few large products; the square root keeps that mild. Empirical: see
 * the reference of importance matrices in llama.cpp, whose measure this is. */
static inline pq_v16 fit_weight(pq_v16 x, pq_v16 h, pq_v16 sigma2)
{
    return v16_mul(h, v16_rough_sqrt(v16_fma(x, x, sigma2)));
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

static inline float fit_inverse(float s)
{
    return s != 0.0f ? 1.0f / s : 0.0f;
}

/* 1 / s, and 0 where s is 0; finite, so that no product with it is NaN. */
static inline pq_v16 fit_inverses(pq_v16 s)
{
    pq_v16 zero = v16_set(0.0f), most = v16_set(1e30f), inv = v16_div(v16_set(1.0f), s);
    return v16_if_less(zero, v16_abs(s), v16_clamp(inv, v16_sub(zero, most), most), zero);
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

/* ---- scale and offset: x ~ s q + m ---- */

/* The candidates of a search over lines: steps between the smallest and the largest value, and
 * where above its code 0 the smallest is put. */
struct fit_places {
    float steps[16], shift[16];
};

#endif
