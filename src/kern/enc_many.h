/*
 * Template: sixteen runs of weights fitted at once, one in each lane: a candidate is tried on all
 * of them together, and nothing is summed, compared or picked across lanes. Super-blocks spread
 * over `span` lanes, which share their unit. SPDX-License-Identifier: MIT
 */
#ifndef PQ_KERN_ENC_MANY_H
#define PQ_KERN_ENC_MANY_H

#include "kern/enc_fit.h"
#include "kern/group.h"

/* x[j], w[j]: element j of each run, and how much an error there matters; both in units of a power
 * of two per lane, so that the largest is near one. */
struct many {
    pq_v16 x[FIT_MAX], w[FIT_MAX];
    pq_v16 unit, down; /* what 1.0 in x stands for, and its inverse */
    pq_v16 lo, hi;     /* the range of x */
    pq_v16 sw, sx;     /* sums of w and w x */
    int n;
};

/* Where the runs are: `rows` (1 to 16) of n weights, one after another. */
struct many_at {
    uint64_t at;
    int n, rows, span;
};

/* Lanes without a run get zeros. */
static inline void many_rows(const float *src, int n, int rows, pq_v16 t[PQ_LANES])
{
    for (int r = 0; r < PQ_LANES; r++)
        t[r] = r < rows ? v16_load(src + r * n) : v16_set(0.0f);
    v16_transpose(t);
}

/* The runs as they are, made finite where they may not be, and their range. */
LANE_INLINE void many_read(const struct pq_encode_in *in, struct many_at a, bool finite,
                           struct many *m)
{
    pq_v16 lo = v16_set(INFINITY), hi = v16_set(-INFINITY);
    for (int c = 0; c < a.n; c += PQ_LANES) {
        pq_v16 *x = m->x + c;
        many_rows(in->x + a.at + c, a.n, a.rows, x);
        for (int j = 0; finite && j < PQ_LANES; j++)
            x[j] = v16_finite(x[j]);
        for (int j = 0; j < PQ_LANES; j++) {
            lo = v16_min(lo, x[j]);
            hi = v16_max(hi, x[j]);
        }
    }
    m->lo = lo;
    m->hi = hi;
    m->n = a.n;
}

/* Importance, of which zero still counts a little: see fit_weights. */
static inline void many_importance(const float *h, struct many_at a, pq_v16 *w)
{
    pq_v16 zero = v16_set(0.0f), one = v16_set(1.0f), most = zero;
    for (int c = 0; c < a.n; c += PQ_LANES)
        many_rows(h + c, a.n, a.rows, w + c);
    for (int j = 0; j < a.n; j++)
        most = v16_max(w[j], most);
    most = v16_span_max(most, a.span);
    pq_v16 down = v16_div(one, v16_power(most)), least = v16_set(0x1p-20f), top = v16_set(2.0f);
    for (int j = 0; j < a.n; j++)
        w[j] = v16_if_less(zero, most, v16_clamp(v16_mul(w[j], down), least, top), one);
}

/* From the runs as they are to units of their own; returns the mean of x^2. */
static inline pq_v16 many_scale(struct many_at a, struct many *m)
{
    pq_v16 sum = v16_set(0.0f), lo = v16_set(-4.0f), hi = v16_set(4.0f);
    pq_v16 top = v16_max(v16_abs(m->lo), v16_abs(m->hi));
    m->unit = v16_power(v16_span_max(top, a.span));
    m->down = v16_div(v16_set(1.0f), m->unit);
    m->lo = v16_clamp(v16_mul(m->lo, m->down), lo, hi);
    m->hi = v16_clamp(v16_mul(m->hi, m->down), lo, hi);
    for (int j = 0; j < a.n; j++) {
        m->x[j] = v16_clamp(v16_mul(m->x[j], m->down), lo, hi);
        sum = v16_fma(m->x[j], m->x[j], sum);
    }
    return v16_mul(v16_span_sum(sum, a.span), v16_set(1.0f / (float)(a.n * a.span)));
}

/* Prepares a search in the runs that were read. */
static inline void many_weigh(const struct pq_encode_in *in, struct many_at a, struct many *m)
{
    pq_v16 mean = many_scale(a, m), sw = v16_set(0.0f), sx = sw, one = v16_set(1.0f);
    /* never zero, for the sake of runs of zeros */
    pq_v16 sigma2 = v16_max(v16_add(mean, mean), v16_set(0x1p-60f));
    if (in->importance)
        many_importance(in->importance + a.at, a, m->w);
    for (int j = 0; j < a.n; j++) {
        m->w[j] = fit_weight(m->x[j], in->importance ? m->w[j] : one, sigma2);
        sw = v16_add(sw, m->w[j]);
        sx = v16_fma(m->w[j], m->x[j], sx);
    }
    m->sw = sw;
    m->sx = sx;
}

/* The value of largest magnitude of each run. */
LANE_INLINE pq_v16 many_extreme(const struct many *m)
{
    return v16_if_less(v16_sub(v16_set(0.0f), m->lo), m->hi, m->hi, m->lo);
}

/* The point of the grid next to x inv. */
FIT_INLINE pq_v16 many_snap(struct fit_grid g, pq_v16 x, pq_v16 inv)
{
    pq_v16 magic = v16_set(PQ_MAGIC);
    if (g.iq4)
        return fit_snap(g, v16_mul(x, inv));
    return v16_snap(v16_fma(x, inv, magic), v16_set(g.lo + PQ_MAGIC), v16_set(g.hi + PQ_MAGIC));
}

/* Weighted sums of q, q^2 and q x over the codes q that a candidate yields. */
struct many_sums {
    pq_v16 q, qq, qx;
};

/* The sums for x ~ s q - m. */
FIT_INLINE struct many_sums many_codes_sums(struct fit_grid g, const struct many *r, int n,
                                            pq_v16 s, pq_v16 m)
{
    pq_v16 zero = v16_set(0.0f), inv = fit_inverses(s);
    struct many_sums c = {zero, zero, zero};
    for (int j = 0; j < n; j++) {
        pq_v16 q = many_snap(g, v16_add(r->x[j], m), inv), wq = v16_mul(r->w[j], q);
        c.q = v16_add(c.q, wq);
        c.qq = v16_fma(wq, q, c.qq);
        c.qx = v16_fma(wq, r->x[j], c.qx);
    }
    return c;
}

/* ---- one scale. Candidates go by two, whose sums need not wait for each other ---- */

FIT_INLINE void many_scale_step(struct fit_grid g, pq_v16 x, pq_v16 w, pq_v16 inv,
                                struct many_sums *s)
{
    pq_v16 q = many_snap(g, x, inv), wq = v16_mul(w, q);
    s->qq = v16_fma(wq, q, s->qq);
    s->qx = v16_fma(wq, x, s->qx);
}

/* Keeps in `best` the sums that explain more, which is qx^2 / qq. */
LANE_INLINE void many_keep(const struct many_sums *s, struct many_sums *best)
{
    pq_v16 a = v16_mul(v16_mul(best->qx, best->qx), s->qq);
    pq_v16 b = v16_mul(v16_mul(s->qx, s->qx), best->qq);
    best->qq = v16_if_less(a, b, s->qq, best->qq);
    best->qx = v16_if_less(a, b, s->qx, best->qx);
}

/* The least-squares scale of the best codes; `places`: where on the grid each of an even count of
 * candidates puts the extreme value. */
FIT_INLINE pq_v16 many_scales(struct fit_grid g, const struct many *m, int n, const float *places,
                              int count)
{
    pq_v16 zero = v16_set(0.0f), per = fit_inverses(many_extreme(m));
    struct many_sums best = {zero, v16_set(1e-30f), zero};
    for (int c = 0; c < count; c += 2) {
        struct many_sums a = {zero, zero, zero}, b = a;
        pq_v16 inv_a = v16_mul(per, v16_set(places[c]));
        pq_v16 inv_b = v16_mul(per, v16_set(places[c + 1]));
        for (int j = 0; j < n; j++) {
            many_scale_step(g, m->x[j], m->w[j], inv_a, &a);
            many_scale_step(g, m->x[j], m->w[j], inv_b, &b);
        }
        many_keep(&a, &best);
        many_keep(&b, &best);
    }
    return v16_div(best.qx, best.qq);
}

/* The weighted squared errors of two scales as they are. */
FIT_INLINE void many_scale_errors(struct fit_grid g, const struct many *m, int n,
                                  const pq_v16 scale[2], pq_v16 err[2])
{
    pq_v16 zero = v16_set(0.0f), a = zero, b = zero;
    pq_v16 inv_a = fit_inverses(scale[0]), inv_b = fit_inverses(scale[1]);
    pq_v16 neg_a = v16_sub(zero, scale[0]), neg_b = v16_sub(zero, scale[1]);
    for (int j = 0; j < n; j++) {
        pq_v16 e = v16_fma(many_snap(g, m->x[j], inv_a), neg_a, m->x[j]);
        a = v16_fma(v16_mul(e, e), m->w[j], a);
        e = v16_fma(many_snap(g, m->x[j], inv_b), neg_b, m->x[j]);
        b = v16_fma(v16_mul(e, e), m->w[j], b);
    }
    err[0] = a;
    err[1] = b;
}

/* ---- scale and offset: x ~ s q + m ---- */

struct many_lines {
    pq_v16 s, m;
    pq_v16 mean;  /* weighted mean of the codes: how much m must fall when s grows */
    pq_v16 w, x;  /* weighted sums of 1 and x */
    pq_v16 qq;    /* and of code^2 */
    pq_v16 score; /* how much of the sum of squares is explained */
};

FIT_INLINE void many_line_step(float hi, pq_v16 x, pq_v16 w, pq_v16 inv, pq_v16 shift,
                               struct many_sums *s)
{
    pq_v16 t = v16_add(v16_fma(x, inv, shift), v16_set(PQ_MAGIC));
    pq_v16 q = v16_snap(t, v16_set(PQ_MAGIC), v16_set(hi + PQ_MAGIC)), wq = v16_mul(w, q);
    s->q = v16_add(s->q, wq);
    s->qq = v16_fma(wq, q, s->qq);
    s->qx = v16_fma(wq, x, s->qx);
}

/* What the lines of a run have in common: x starts from base, and offsets are at most `most`. */
struct many_frame {
    pq_v16 w, per_w, x, base, most, range;
    bool below;
};

FIT_INLINE struct many_frame many_frame(const struct many *m, bool below)
{
    pq_v16 zero = v16_set(0.0f), base = below ? v16_min(m->lo, zero) : m->lo;
    pq_v16 x = v16_sub(m->sx, v16_mul(m->sw, base)), per_w = v16_div(v16_set(1.0f), m->sw);
    return (struct many_frame){m->sw, per_w, x, base, v16_sub(zero, base), v16_sub(m->hi, base),
                               below};
}

/* Least squares for the sums of a candidate, kept in `l` if it explains more. */
FIT_INLINE void many_solve(const struct many_frame *f, const struct many_sums *c,
                           struct many_lines *l)
{
    pq_v16 zero = v16_set(0.0f), tiny = v16_set(1e-30f), w_qq = v16_mul(f->w, c->qq);
    pq_v16 det = v16_sub(w_qq, v16_mul(c->q, c->q));
    pq_v16 num = v16_sub(v16_mul(f->w, c->qx), v16_mul(f->x, c->q));
    pq_v16 s = v16_div(num, v16_max(det, tiny));
    s = v16_if_less(v16_mul(v16_set(1e-6f), w_qq), det, s, zero); /* one code only */
    pq_v16 m = v16_mul(v16_sub(f->x, v16_mul(s, c->q)), f->per_w);
    if (f->below) {
        pq_v16 held = v16_div(v16_sub(c->qx, v16_mul(f->most, c->q)), v16_max(c->qq, tiny));
        s = v16_if_less(f->most, m, held, s);
        m = v16_min(m, f->most);
    }
    /* 2 s qx + 2 m X - s^2 qq - 2 s m q - m^2 W */
    pq_v16 a = v16_sub(v16_add(c->qx, c->qx), v16_mul(s, c->qq));
    a = v16_sub(a, v16_mul(v16_add(m, m), c->q));
    pq_v16 score = v16_sub(v16_add(f->x, f->x), v16_mul(m, f->w));
    score = v16_fma(s, a, v16_mul(m, score));
    l->s = v16_if_less(l->score, score, s, l->s);
    l->m = v16_if_less(l->score, score, m, l->m);
    l->mean = v16_if_less(l->score, score, c->q, l->mean);
    l->qq = v16_if_less(l->score, score, c->qq, l->qq);
    l->score = v16_max(l->score, score);
}

/* The best lines for codes 0..hi out of an even count of candidates; with `below`, m <= 0. */
FIT_INLINE void many_best_lines(float hi, bool below, const struct many *m, int n,
                                const struct fit_places *p, int count, struct many_lines *l)
{
    pq_v16 zero = v16_set(0.0f);
    const struct many_frame f = many_frame(m, below);
    pq_v16 per = fit_inverses(f.range);
    *l = (struct many_lines){.s = zero, .m = zero, .mean = zero, .qq = zero};
    l->score = v16_set(-1.0f);
    for (int c = 0; c < count; c += 2) {
        struct many_sums a = {zero, zero, zero}, b = a;
        pq_v16 inv_a = v16_mul(per, v16_set(p->steps[c])), at_a = v16_set(p->shift[c]);
        pq_v16 inv_b = v16_mul(per, v16_set(p->steps[c + 1])), at_b = v16_set(p->shift[c + 1]);
        for (int j = 0; j < n; j++) {
            pq_v16 x = v16_sub(m->x[j], f.base);
            many_line_step(hi, x, m->w[j], inv_a, at_a, &a);
            many_line_step(hi, x, m->w[j], inv_b, at_b, &b);
        }
        many_solve(&f, &a, l);
        many_solve(&f, &b, l);
    }
    l->m = v16_add(l->m, f.base);
    l->mean = v16_mul(l->mean, f.per_w);
    l->w = m->sw;
    l->x = m->sx;
}

/* The weighted squared errors of two lines as they are. */
FIT_INLINE void many_line_errors(float hi, const struct many *m, int n, const pq_v16 s[2],
                                 const pq_v16 off[2], pq_v16 err[2])
{
    const struct fit_grid g = {0.0f, hi, false};
    pq_v16 zero = v16_set(0.0f), a = zero, b = zero;
    pq_v16 neg_a = v16_sub(zero, fit_inverses(s[0])), neg_b = v16_sub(zero, fit_inverses(s[1]));
    for (int j = 0; j < n; j++) {
        pq_v16 z = v16_sub(off[0], m->x[j]), e = v16_fma(many_snap(g, z, neg_a), s[0], z);
        a = v16_fma(v16_mul(e, e), m->w[j], a);
        z = v16_sub(off[1], m->x[j]);
        e = v16_fma(many_snap(g, z, neg_b), s[1], z);
        b = v16_fma(v16_mul(e, e), m->w[j], b);
    }
    err[0] = a;
    err[1] = b;
}

#endif
