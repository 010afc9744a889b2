/*
 * Template: two runs of weights fitted at once, the sixteen lanes being eight candidates for each.
 * For short groups that halves the work at a price of half a percent of error.
 * SPDX-License-Identifier: MIT
 */
#ifndef PQ_KERN_ENC_TWO_H
#define PQ_KERN_ENC_TWO_H

#include "kern/enc_fit.h"

/* Two runs of up to 32 weights, element by element: x[2 j + h] is element j of run h. */
struct two_run {
    float x[64], w[64];
};

static inline void two_load(const float *x0, const float *x1, int n, float *out)
{
    for (int j = 0; j < n; j++) {
        out[2 * j] = x0[j];
        out[2 * j + 1] = x1[j];
    }
}

/* A candidate per pair of lanes. */
#define TWO_EIGHT(a, b, c, d, e, f, g, h)              \
    {                                                  \
        a, a, b, b, c, c, d, d, e, e, f, f, g, g, h, h \
    }

FIT_INLINE pq_v16 two_score(struct fit_grid g, const struct two_run *t, int n, pq_v16 inv,
                            pq_v16 *scale)
{
    pq_v16 qq = v16_set(0.0f), qx = qq;
    for (int j = 0; j < n; j++) {
        pq_v16 x = v16_two(t->x + 2 * j), q = fit_snap(g, v16_mul(x, inv));
        pq_v16 wq = v16_mul(v16_two(t->w + 2 * j), q);
        qq = v16_add(qq, v16_mul(wq, q));
        qx = v16_add(qx, v16_mul(wq, x));
    }
    *scale = v16_div(qx, v16_max(qq, v16_set(1e-30f)));
    return v16_mul(qx, *scale);
}

FIT_INLINE pq_v16 two_error(struct fit_grid g, const struct two_run *t, int n, pq_v16 scale)
{
    pq_v16 err = v16_set(0.0f), inv = fit_inverses(scale);
    for (int j = 0; j < n; j++) {
        pq_v16 x = v16_two(t->x + 2 * j), q = fit_snap(g, v16_mul(x, inv));
        pq_v16 e = v16_sub(v16_mul(q, scale), x);
        err = v16_add(err, v16_mul(v16_mul(e, e), v16_two(t->w + 2 * j)));
    }
    return err;
}

/* fit_scale for two runs; `sets` times eight candidates. */
FIT_INLINE void two_scales(struct fit_grid g, const struct two_run *t, int n, const float *places,
                           int sets, float out[2])
{
    pq_v16 zero = v16_set(0.0f), up = zero, down = zero, most = zero;
    for (int j = 0; j < 2 * n; j += PQ_LANES) {
        up = v16_max(v16_load(t->x + j), up);
        down = v16_max(v16_sub(zero, v16_load(t->x + j)), down);
    }
    up = v16_two_max(up);
    down = v16_two_max(down);
    pq_v16 inv = fit_inverses(v16_if_less(down, up, up, v16_sub(zero, down)));
    out[0] = out[1] = 0.0f;
    for (int k = 0; k < sets; k++) {
        float two[PQ_LANES], s[PQ_LANES], e[PQ_LANES];
        for (int i = 0; i < PQ_LANES; i++)
            two[i] = places[8 * k + i / 2];
        pq_v16 scale, score = two_score(g, t, n, v16_mul(v16_load(two), inv), &scale);
        int at[2];
        v16_two_argmax(score, at);
        v16_store(s, scale);
        v16_store(e, score);
        float m[2];
        memcpy(m, &most, sizeof m);
        for (int h = 0; h < 2; h++)
            if (e[at[h]] > m[h]) {
                out[h] = s[at[h]];
                m[h] = e[at[h]];
            }
        most = v16_two(m);
    }
}

/* ---- scale and offset: x ~ s q + m ---- */

/* Lines of the sub-blocks of a super-block, and what goes with them. */
struct two_lines {
    float s[16], m[16];
    float mean[16];             /* weighted mean of the codes: how much m must fall when s grows */
    float w[16], x[16], qq[16]; /* weighted sums of 1, x and code^2 */
};

/* Sums and range of two runs, in the lanes of each; x is moved to start at base. */
struct two_span {
    pq_v16 w, x, base, range;
};

FIT_INLINE struct two_span two_span(bool below, struct two_run *t, int n)
{
    pq_v16 zero = v16_set(0.0f), top = v16_load(t->x), low = v16_sub(zero, top);
    pq_v16 w = v16_load(t->w), x = zero;
    for (int j = PQ_LANES; j < 2 * n; j += PQ_LANES) {
        top = v16_max(top, v16_load(t->x + j));
        low = v16_max(low, v16_sub(zero, v16_load(t->x + j)));
        w = v16_add(w, v16_load(t->w + j));
    }
    top = v16_two_max(top);
    pq_v16 base = v16_sub(zero, v16_two_max(low));
    if (below)
        base = v16_min(base, zero);
    for (int j = 0; j < 2 * n; j += PQ_LANES) {
        pq_v16 y = v16_sub(v16_load(t->x + j), base);
        v16_store(t->x + j, y);
        x = v16_add(x, v16_mul(v16_load(t->w + j), y));
    }
    return (struct two_span){v16_two_sum(w), v16_two_sum(x), base, v16_sub(top, base)};
}

FIT_INLINE pq_v16 two_try_lines(float hi, const struct two_run *t, int n, const struct two_span *sp,
                                pq_v16 inv, pq_v16 shift, pq_v16 most, struct fit_lines *l)
{
    const struct fit_grid g = {0.0f, hi, false};
    pq_v16 q = v16_set(0.0f), qq = q, qx = q;
    for (int j = 0; j < n; j++) {
        pq_v16 x = v16_two(t->x + 2 * j), c = fit_snap(g, v16_add(v16_mul(x, inv), shift));
        pq_v16 wc = v16_mul(v16_two(t->w + 2 * j), c);
        q = v16_add(q, wc);
        qq = v16_add(qq, v16_mul(wc, c));
        qx = v16_add(qx, v16_mul(wc, x));
    }
    return fit_solve(sp->w, sp->x, q, qq, qx, most, l);
}

static inline void two_keep(const struct fit_lines *l, const struct two_span *sp, pq_v16 score,
                            float least[2], int i, struct two_lines *out)
{
    float e[16], s[16], m[16], mean[16], qq[16];
    int at[2];
    v16_two_argmax(score, at);
    v16_store(e, score);
    v16_store(s, l->s);
    v16_store(m, v16_add(l->m, sp->base));
    v16_store(mean, l->mean);
    v16_store(qq, l->qq);
    for (int h = 0; h < 2; h++)
        if (e[at[h]] > least[h]) {
            least[h] = e[at[h]];
            out->s[i + h] = s[at[h]];
            out->m[i + h] = m[at[h]];
            out->mean[i + h] = mean[at[h]];
            out->qq[i + h] = qq[at[h]];
        }
}

/* The best lines for codes 0..hi of two runs, into places i and i + 1 of out; with `below`, m <= 0.
 * Uses up t. */
FIT_INLINE void two_best_lines(float hi, bool below, struct two_run *t, int n,
                               const struct fit_places *p, int sets, int i, struct two_lines *out)
{
    struct two_span sp = two_span(below, t, n);
    pq_v16 zero = v16_set(0.0f), per = fit_inverses(sp.range);
    pq_v16 most = below ? v16_sub(zero, sp.base) : v16_set(1e30f);
    float least[2] = {-1.0f, -1.0f}, w[16], x[16];
    for (int k = 0; k < sets; k++) {
        float steps[16], shift[16];
        for (int c = 0; c < 16; c++) {
            steps[c] = p->steps[8 * k + c / 2];
            shift[c] = p->shift[8 * k + c / 2];
        }
        struct fit_lines l;
        pq_v16 score =
            two_try_lines(hi, t, n, &sp, v16_mul(v16_load(steps), per), v16_load(shift), most, &l);
        two_keep(&l, &sp, score, least, i, out);
    }
    v16_store(w, sp.w);
    v16_store(x, v16_add(sp.x, v16_mul(sp.w, sp.base)));
    memcpy(out->w + i, w, 2 * sizeof *w);
    memcpy(out->x + i, x, 2 * sizeof *x);
}

/* The weighted squared error of each line as it is. */
FIT_INLINE pq_v16 two_line_error(float hi, const struct two_run *t, int n, pq_v16 s, pq_v16 m)
{
    const struct fit_grid g = {0.0f, hi, false};
    pq_v16 err = v16_set(0.0f), inv = fit_inverses(s);
    for (int j = 0; j < n; j++) {
        pq_v16 x = v16_sub(v16_two(t->x + 2 * j), m), q = fit_snap(g, v16_mul(x, inv));
        pq_v16 e = v16_sub(v16_mul(q, s), x);
        err = v16_add(err, v16_mul(v16_mul(e, e), v16_two(t->w + 2 * j)));
    }
    return err;
}

#endif
