/*
 * Template: integers whose group is a row of thousands of weights. Lanes are elements, and a row
 * is taken in pieces, as it does not fit on the stack. Where the ends of the grid go is weighed
 * for each end on its own: what lies beyond it is clipped, and everything else is off by a step
 * over the square root of 12. A few candidates around the best pair of ends are then tried.
 * SPDX-License-Identifier: MIT
 */
#ifndef PQ_KERN_ENC_INT_ROW_H
#define PQ_KERN_ENC_INT_ROW_H

#include "kern/enc_int_fit.h"

/* Searches see weights in units of a power of two, so that the largest is near one. */
struct int_row {
    const struct pq_encode_in *in;
    const float *x, *h; /* h: importance or NULL */
    uint64_t n;
    bool clean;   /* all weights are finite */
    float lo, hi; /* the range, zero included, as stored */
    float unit, down, h_down, sigma2;
};

struct int_piece {
    int n;
    float x[GROUP_MAX], w[GROUP_MAX];
};

static inline void int_row_range(struct int_row *r)
{
    pq_v16 lo = v16_set(0.0f), hi = lo, h = lo;
    for (uint64_t j = 0; j < r->n; j += PQ_LANES) {
        pq_v16 v = v16_load(r->x + j);
        lo = v16_min(v, lo);
        hi = v16_max(v, hi);
        if (r->h)
            h = v16_max(v16_load(r->h + j), h);
    }
    float low = v16_hmax(v16_sub(v16_set(0.0f), lo)), high = v16_hmax(hi), top = v16_hmax(h);
    r->lo = 0.0f - (low < GROUP_FINITE ? low : GROUP_FINITE);
    r->hi = high < GROUP_FINITE ? high : GROUP_FINITE;
    r->unit = fit_power(r->hi > -r->lo ? r->hi : -r->lo);
    r->down = 1.0f / r->unit;
    r->h_down = top > 0.0f ? 1.0f / fit_power(top) : 0.0f;
}

LANE_INLINE pq_v16 int_row_load(const struct int_row *r, uint64_t at, bool clean)
{
    pq_v16 x = v16_load(r->x + at);
    return v16_mul(clean ? x : v16_finite(x), v16_set(r->down));
}

/* Twice the mean square, which the weights of errors need. */
static inline float int_row_sigma2(const struct int_row *r)
{
    pq_v16 sum = v16_set(0.0f);
    for (uint64_t j = 0; j < r->n; j += PQ_LANES) {
        pq_v16 x = int_row_load(r, j, r->clean);
        sum = v16_fma(x, x, sum);
    }
    return 2.0f * v16_sum(sum) / (float)r->n;
}

FIT_INLINE void int_row_fill(const struct int_row *r, uint64_t at, bool clean, bool weighted,
                             struct int_piece *p)
{
    pq_v16 sigma2 = v16_set(r->sigma2), h = v16_set(1.0f);
    for (int j = 0; j < p->n; j += PQ_LANES) {
        pq_v16 x = int_row_load(r, at + (uint64_t)j, clean);
        if (weighted) {
            h = v16_mul(v16_load(r->h + at + (uint64_t)j), v16_set(r->h_down));
            h = v16_clamp(h, v16_set(0x1p-20f), v16_set(2.0f));
        }
        v16_store(p->x + j, x);
        v16_store(p->w + j, fit_weight(x, h, sigma2));
    }
}

static inline void int_row_piece(const struct int_row *r, uint64_t at, struct int_piece *p)
{
    p->n = (int)(r->n - at < GROUP_MAX ? r->n - at : GROUP_MAX);
    if (r->clean && !(r->h_down > 0.0f))
        int_row_fill(r, at, true, false, p);
    else
        int_row_fill(r, at, false, r->h_down > 0.0f, p);
}

/* ---- where the ends go ---- */

enum { INT_ENDS = 8 };

/* Places for both ends, and what each of them clips. */
struct int_ends {
    int count;
    float lo[INT_ENDS], hi[INT_ENDS];
    float below[INT_ENDS], above[INT_ENDS], weight;
};

/* What is kept of an end. */
static const float int_kept[2][INT_ENDS] = {
    {1.0f, 0.88f, 0.77f, 0.67f, 0.58f, 0.5f, 0.42f, 0.34f},
    {1.0f, 0.96f, 0.9f, 0.8f, 0.65f},
};

static inline void int_row_ends(const struct int_row *r, struct int_ends *e)
{
    const float *kept = int_kept[r->in->bits == 8];
    e->count = r->in->bits == 8 ? 5 : INT_ENDS;
    float lo = r->lo * r->down, hi = r->hi * r->down;
    if (r->in->symmetric) { /* as far on both sides, but for the code that one side lacks */
        float ratio = r->in->bits == 8 ? 1.0f : 7.0f / 8.0f, top = hi > -lo ? hi : -lo;
        bool up = int_extreme(r->x, r->n, r->lo, r->hi) > 0.0f;
        lo = up ? -top * ratio : -top;
        hi = up ? top : top * ratio;
    }
    for (int i = 0; i < e->count; i++) {
        e->lo[i] = lo * kept[i];
        e->hi[i] = hi * kept[i];
    }
}

/* What each pair of ends clips; the next pair lies within. */
struct int_clipped {
    pq_v16 lo[INT_ENDS], hi[INT_ENDS], below[INT_ENDS], above[INT_ENDS];
    int count;
};

/* Sixteen weights that the innermost ends clip: few of them reach the outer ones. */
static inline void int_clip(struct int_clipped *c, pq_v16 x, pq_v16 w)
{
    pq_v16 zero = v16_set(0.0f);
    for (int i = c->count; i-- > 0 && v16_any_outside(x, c->lo[i], c->hi[i]);) {
        pq_v16 l = v16_max(v16_sub(c->lo[i], x), zero), h = v16_max(v16_sub(x, c->hi[i]), zero);
        c->below[i] = v16_fma(v16_mul(w, l), l, c->below[i]);
        c->above[i] = v16_fma(v16_mul(w, h), h, c->above[i]);
    }
}

static inline void int_row_clip(const struct int_row *r, struct int_ends *e)
{
    struct int_clipped c = {.count = e->count};
    pq_v16 weight = v16_set(0.0f), lo = v16_set(e->lo[e->count - 1]);
    pq_v16 hi = v16_set(e->hi[e->count - 1]);
    for (int i = 0; i < e->count; i++) {
        c.lo[i] = v16_set(e->lo[i]);
        c.hi[i] = v16_set(e->hi[i]);
        c.below[i] = c.above[i] = v16_set(0.0f);
    }
    for (uint64_t at = 0; at < r->n; at += GROUP_MAX) {
        struct int_piece p;
        int_row_piece(r, at, &p);
        for (int j = 0; j < p.n; j += PQ_LANES) {
            pq_v16 x = v16_load(p.x + j), w = v16_load(p.w + j);
            weight = v16_add(weight, w);
            if (v16_any_outside(x, lo, hi))
                int_clip(&c, x, w);
        }
    }
    for (int i = 0; i < e->count; i++) {
        e->below[i] = v16_sum(c.below[i]);
        e->above[i] = v16_sum(c.above[i]);
    }
    e->weight = v16_sum(weight);
}

/* The pair of ends that leaves least; the step between its codes and where zero is. */
static inline float int_row_step(const struct int_row *r, const struct int_ends *e, float *at)
{
    float top = r->in->symmetric && r->in->bits == 8 ? 254.0f : int_top(r->in);
    float least = INFINITY, step = 0.0f;
    for (int i = 0; i < e->count; i++)
        for (int j = 0; j < e->count; j++) {
            float s = (e->hi[j] - e->lo[i]) / top;
            float err = e->below[i] + e->above[j] + e->weight * s * s * (1.0f / 12.0f);
            if (err < least && (i == j || !r->in->symmetric)) {
                least = err;
                step = s;
                *at = 0.0f - e->lo[i] / s;
            }
        }
    return step;
}

/* ---- candidates around it ---- */

enum { INT_ROW_TRIES = 8 };

static const struct int_try int_row_tries_8[INT_ROW_TRIES] = {
    {0, 1.0f},  {0, 1.005f}, {0, 0.995f}, {0, 1.01f},
    {0, 0.99f}, {0, 1.015f}, {0, 1.02f},  {0, 1.025f},
};
static const struct int_try int_row_tries_sym[INT_ROW_TRIES] = {
    {0, 1.0f}, {0, 1.04f}, {0, 0.96f}, {0, 1.08f}, {0, 0.92f}, {0, 1.12f}, {0, 0.88f}, {0, 0.84f},
};
static const struct int_try int_row_tries_4[INT_ROW_TRIES] = {
    {0, 1.0f}, {0, 1.05f}, {0, 0.95f}, {0, 0.9f}, {1, 1.0f}, {1, 1.05f}, {1, 0.95f}, {1, 0.9f},
};

struct int_row_try {
    float inv, zero, qq, qx;
};

/* Candidates' sums while they grow; lo and hi have PQ_MAGIC added. */
struct int_row_sums {
    pq_v16 inv[INT_ROW_TRIES], lo[INT_ROW_TRIES], hi[INT_ROW_TRIES];
    pq_v16 qq[INT_ROW_TRIES], qx[INT_ROW_TRIES];
};

LANE_INLINE pq_v16 int_row_snap(const struct int_row_sums *s, int i, pq_v16 x)
{
    return v16_snap(v16_fma(x, s->inv[i], v16_set(PQ_MAGIC)), s->lo[i], s->hi[i]);
}

/* Candidates i and i + 1, whose sums need not wait for each other, on a piece. */
static inline void int_row_sum_piece(struct int_row_sums *s, int i, const struct int_piece *p)
{
    pq_v16 qq_a = s->qq[i], qx_a = s->qx[i], qq_b = s->qq[i + 1], qx_b = s->qx[i + 1];
    for (int j = 0; j < p->n; j += PQ_LANES) {
        pq_v16 x = v16_load(p->x + j), w = v16_load(p->w + j);
        pq_v16 q = int_row_snap(s, i, x), wq = v16_mul(w, q);
        qq_a = v16_fma(wq, q, qq_a);
        qx_a = v16_fma(wq, x, qx_a);
        q = int_row_snap(s, i + 1, x);
        wq = v16_mul(w, q);
        qq_b = v16_fma(wq, q, qq_b);
        qx_b = v16_fma(wq, x, qx_b);
    }
    s->qq[i] = qq_a;
    s->qx[i] = qx_a;
    s->qq[i + 1] = qq_b;
    s->qx[i + 1] = qx_b;
}

static inline void int_row_sums(const struct int_row *r, struct int_row_try t[INT_ROW_TRIES])
{
    struct int_row_sums s;
    for (int i = 0; i < INT_ROW_TRIES; i++) {
        s.inv[i] = v16_set(t[i].inv);
        s.lo[i] = v16_set(PQ_MAGIC + int_lowest(r->in, t[i].zero));
        s.hi[i] = v16_set(PQ_MAGIC + int_top(r->in) - t[i].zero);
        s.qq[i] = s.qx[i] = v16_set(0.0f);
    }
    for (uint64_t at = 0; at < r->n; at += GROUP_MAX) {
        struct int_piece p;
        int_row_piece(r, at, &p);
        for (int i = 0; i < INT_ROW_TRIES; i += 2)
            int_row_sum_piece(&s, i, &p);
    }
    for (int i = 0; i < INT_ROW_TRIES; i++) {
        t[i].qq = v16_sum(s.qq[i]);
        t[i].qx = v16_sum(s.qx[i]);
    }
}

/* The candidate whose codes explain most, with the scale that least squares gives them. */
static inline float int_row_best(const struct int_row *r, float step, float at, float *zero)
{
    struct int_row_try t[INT_ROW_TRIES];
    struct int_zeros z = int_zeros_of(v16_set(at), int_top(r->in));
    const struct int_try *tries = r->in->bits == 8   ? int_row_tries_8
                                  : r->in->symmetric ? int_row_tries_sym
                                                     : int_row_tries_4;
    int best = 0;
    for (int i = 0; i < INT_ROW_TRIES; i++) {
        struct int_try c = tries[i];
        t[i].inv = 1.0f / (step * c.stretch);
        t[i].zero = r->in->symmetric ? (float)(1 << (r->in->bits - 1))
                                     : v16_lane(int_zero_near(z, c.away), 0);
    }
    int_row_sums(r, t);
    for (int i = 1; i < INT_ROW_TRIES; i++)
        if (t[i].qx * t[i].qx * t[best].qq > t[best].qx * t[best].qx * t[i].qq)
            best = i;
    *zero = t[best].zero;
    return t[best].qx / t[best].qq;
}

static struct int_fit int_row_fit(const struct pq_encode_in *in, uint64_t i, bool clean)
{
    struct int_row r = {.in = in, .x = in->x + i * in->group, .n = in->group, .clean = clean};
    struct int_ends e;
    float at = 0.0f, zero;
    r.h = in->search && in->importance ? in->importance + i * in->group : NULL;
    int_row_range(&r);
    if (!in->search || !(r.lo < r.hi)) {
        float ext = int_extreme(r.x, r.n, r.lo, r.hi);
        return int_fit_of(int_nearest_fits(in, v16_set(r.lo), v16_set(r.hi), v16_set(ext)));
    }
    r.sigma2 = int_row_sigma2(&r);
    int_row_ends(&r, &e);
    int_row_clip(&r, &e);
    float step = int_row_step(&r, &e, &at);
    if (in->symmetric && int_extreme(r.x, r.n, r.lo, r.hi) > 0.0f) /* on the code -8 */
        step = -step;
    float s = int_row_best(&r, step, at, &zero);
    return int_fit_of(int_fits_of(v16_stored(v16_set(s * r.unit), in->aux), v16_set(zero)));
}

/* Fits and encodes group i, which is longer than what a line of codes takes. */
static void int_row(const struct pq_encode_in *in, uint64_t i, bool clean, void *const part[])
{
    const struct int_fit f = int_row_fit(in, i, clean);
    uint8_t *codes = (uint8_t *)part[0];
    for (uint64_t j = i * in->group, end = j + in->group; j < end; j += GROUP_MAX) {
        float finite[GROUP_MAX];
        const int n = (int)(end - j < GROUP_MAX ? end - j : GROUP_MAX);
        if (!clean)
            group_load(finite, in->x + j, n);
        int_codes(in, clean ? in->x + j : finite, n, f, codes + j / 8 * (uint64_t)in->bits);
    }
    aux_put((uint8_t *)part[1], i, f.s, in->aux);
    if (!in->symmetric)
        int_put_zero((uint8_t *)part[2], i, in->bits, (int)f.zero);
}

#endif
