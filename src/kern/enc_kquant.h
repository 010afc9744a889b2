/*
 * Template: GGUF's super-blocks of 256 weights, whose sub-blocks have small integer scales (and
 * offsets) times one or two halves. Layouts: the `gguf` package (gguf/quants.py). The search is our
 * own: fit every sub-block freely, choose the super-scale that its scales round well to, try the
 * neighbouring integers against what will be stored, refit the super-scale to the codes found, and
 * try again. SPDX-License-Identifier: MIT
 */
#ifndef PQ_KERN_ENC_KQUANT_H
#define PQ_KERN_ENC_KQUANT_H

#include "kern/enc_ggml.h"

enum { SUPER = 256, SUBS = 16 };

/* ---- scale and offset per sub-block: Q2_K, Q4_K, Q5_K ---- */

struct kline_kind {
    int n;     /* weights in a sub-block */
    float hi;  /* largest code */
    float top; /* largest integer scale and offset */
    int sets;  /* eights of places to try */
};

/* A candidate for the stored block. */
struct kline {
    struct fit_half d, dmin;
    float s[SUBS], m[SUBS]; /* integers 0..top, as floats */
    float err;
};

/* The unit u for which v / u are closest to integers 0..top, by weighted squares. */
static inline float best_unit(const float *v, const float *w, int n, float top)
{
    float vmax = 0.0f, best = 0.0f, least = 0.0f;
    for (int i = 0; i < n; i++)
        vmax = vmax > v[i] ? vmax : v[i];
    if (!(vmax > 0.0f))
        return 0.0f;
    for (int round = 0; round < 2; round++) {
        static const float lanes[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
        pq_v16 back =
            v16_mul(v16_add(v16_load(lanes), v16_set(16.0f * (float)round)), v16_set(top / 128.0f));
        pq_v16 inv = v16_div(v16_sub(v16_set(top + 0.25f), back), v16_set(vmax));
        pq_v16 qq = v16_set(0.0f), qv = qq, hi = v16_set(top), zero = qq;
        for (int i = 0; i < n; i++) {
            pq_v16 vi = v16_set(v[i]), wi = v16_set(w[i]);
            pq_v16 q = v16_round(v16_clamp(v16_mul(vi, inv), zero, hi));
            qq = v16_add(qq, v16_mul(wi, v16_mul(q, q)));
            qv = v16_add(qv, v16_mul(wi, v16_mul(q, vi)));
        }
        pq_v16 u = v16_div(qv, v16_max(qq, v16_set(1e-30f))), score = v16_mul(u, qv);
        int i = v16_argmax(score);
        if (v16_lane(score, i) > least) {
            least = v16_lane(score, i);
            best = v16_lane(u, i);
        }
    }
    return best;
}

static inline float nearest_int(float v, float lo, float hi)
{
    v = v > lo ? v : lo;
    v = v < hi ? v : hi;
    return v + PQ_MAGIC - PQ_MAGIC;
}

/* A super-block and its sub-blocks by two. */
struct kquant_run {
    struct fit_run run;
    struct two_run two[SUBS / 2];
};

static inline bool kquant_load(const struct pq_encode_in *in, uint64_t at, int n,
                               struct kquant_run *r)
{
    if (!fit_load(in, at, SUPER, &r->run))
        return false;
    for (int i = 0; in->search && i < SUPER / n; i += 2) {
        const float *x = r->run.x + n * i, *w = r->run.w + n * i;
        two_load(x, x + n, n, r->two[i / 2].x);
        two_load(w, w + n, n, r->two[i / 2].w);
    }
    return true;
}

/* The best of the integer scales and offsets around two free lines, against the stored halves. */
FIT_INLINE void kline_try(struct kline_kind k, const struct two_run *t, const struct two_lines *l,
                          int i, struct kline *b)
{
    static const float ds[16] = TWO_EIGHT(0, 0, 0, -1, -1, 1, 1, 1);
    static const float dm[16] = TWO_EIGHT(0, -1, 1, 0, 1, 0, -1, 1);
    pq_v16 zero = v16_set(0.0f), top = v16_set(k.top), free_s = v16_two(l->s + i);
    pq_v16 d = v16_set(b->d.value), inv = v16_set(fit_inverse(b->d.value));
    pq_v16 dmin = v16_set(b->dmin.value), inv_min = v16_set(fit_inverse(b->dmin.value));
    pq_v16 s = v16_round(v16_clamp(v16_mul(free_s, inv), zero, top));
    s = v16_clamp(v16_add(s, v16_load(ds)), zero, top);
    pq_v16 more = v16_sub(v16_mul(s, d), free_s); /* than the free scale */
    pq_v16 m = v16_sub(v16_mul(more, v16_two(l->mean + i)), v16_two(l->m + i));
    m = v16_round(v16_clamp(v16_mul(m, inv_min), zero, top));
    m = v16_clamp(v16_add(m, v16_load(dm)), zero, top);
    pq_v16 off = v16_sub(zero, v16_mul(m, dmin));
    pq_v16 err = v16_sub(zero, two_line_error(k.hi, t, k.n, v16_mul(s, d), off));
    float sf[16], mf[16], ef[16];
    int at[2];
    v16_two_argmax(err, at);
    v16_store(sf, s);
    v16_store(mf, m);
    v16_store(ef, err);
    for (int h = 0; h < 2; h++) {
        b->s[i + h] = sf[at[h]];
        b->m[i + h] = mf[at[h]];
        b->err -= ef[at[h]];
    }
}

/* Weighted sums of codes, their squares and their products with x, for two sub-blocks. */
struct code_sums {
    float q[2], qq[2], qx[2];
};

FIT_INLINE void sum_codes(struct fit_grid g, const struct two_run *t, int n, pq_v16 s, pq_v16 m,
                          struct code_sums *out)
{
    pq_v16 inv = fit_inverses(s), q = v16_set(0.0f), qq = q, qx = q;
    for (int j = 0; j < 2 * n; j += PQ_LANES) {
        pq_v16 x = v16_load(t->x + j), c = fit_snap(g, v16_mul(v16_sub(x, m), inv));
        pq_v16 wc = v16_mul(v16_load(t->w + j), c);
        q = v16_add(q, wc);
        qq = v16_add(qq, v16_mul(wc, c));
        qx = v16_add(qx, v16_mul(wc, x));
    }
    float a[16], b[16], c[16];
    v16_store(a, v16_two_sum(q));
    v16_store(b, v16_two_sum(qq));
    v16_store(c, v16_two_sum(qx));
    memcpy(out->q, a, sizeof out->q);
    memcpy(out->qq, b, sizeof out->qq);
    memcpy(out->qx, c, sizeof out->qx);
}

/* Sums of the normal equations of x ~ d (s q) - dmin m. */
struct kline_sums {
    float ss, sm, mm, sx, mx;
};

static inline void kline_add(const struct code_sums *c, int h, float s, float m,
                             struct two_lines *l, int i, struct kline_sums *sum)
{
    float w = l->w[i], x = l->x[i], q = c->q[h], qq = c->qq[h], qx = c->qx[h];
    sum->ss += s * s * qq;
    sum->sm += s * m * q;
    sum->mm += m * m * w;
    sum->sx += s * qx;
    sum->mx += m * x;
    l->mean[i] = q / w;
    float det = w * qq - q * q;
    if (det > 1e-6f * w * qq) { /* the free line of these codes */
        l->s[i] = (w * qx - x * q) / det;
        l->m[i] = (x - l->s[i] * q) / w;
    }
}

/* Least squares of d and dmin for the codes of b; also the free line of each sub-block. */
FIT_INLINE bool kline_refit(struct kline_kind k, const struct kquant_run *r, const struct kline *b,
                            struct two_lines *l, float out[2])
{
    const struct fit_grid g = {0.0f, k.hi, false};
    struct kline_sums sum = {0};
    for (int i = 0; i < SUPER / k.n; i += 2) {
        struct code_sums c;
        pq_v16 s = v16_mul(v16_two(b->s + i), v16_set(b->d.value));
        pq_v16 m = v16_mul(v16_two(b->m + i), v16_set(-b->dmin.value));
        sum_codes(g, &r->two[i / 2], k.n, s, m, &c);
        for (int h = 0; h < 2; h++)
            kline_add(&c, h, b->s[i + h], b->m[i + h], l, i + h, &sum);
    }
    float det = sum.ss * sum.mm - sum.sm * sum.sm;
    bool both = det > 1e-6f * sum.ss * sum.mm;
    out[0] =
        both ? (sum.sx * sum.mm - sum.mx * sum.sm) / det : sum.sx / (sum.ss > 0.0f ? sum.ss : 1.0f);
    out[1] = both ? (sum.sx * sum.sm - sum.mx * sum.ss) / det : 0.0f;
    return out[0] > 0.0f && out[1] >= 0.0f;
}

FIT_INLINE void kline_all(struct kline_kind k, const struct kquant_run *r,
                          const struct two_lines *l, const float d[2], struct kline *b)
{
    b->d = fit_half(d[0], &r->run);
    b->dmin = fit_half(d[1], &r->run);
    b->err = 0.0f;
    for (int i = 0; i < SUPER / k.n; i += 2)
        kline_try(k, &r->two[i / 2], l, i, b);
}

FIT_INLINE void kline_search(struct kline_kind k, const struct fit_places *p,
                             const struct kquant_run *r, struct kline *best)
{
    struct two_lines l = {0};
    float m[SUBS], d[2];
    int subs = SUPER / k.n;
    for (int i = 0; i < subs; i += 2) {
        struct two_run t = r->two[i / 2];
        two_best_lines(k.hi, true, &t, k.n, p, k.sets, i, &l);
        m[i] = -l.m[i];
        m[i + 1] = -l.m[i + 1];
    }
    d[0] = best_unit(l.s, l.qq, subs, k.top);
    d[1] = best_unit(m, l.w, subs, k.top);
    kline_all(k, r, &l, d, best);
    if (kline_refit(k, r, best, &l, d)) {
        struct kline b;
        kline_all(k, r, &l, d, &b);
        if (b.err < best->err)
            *best = b;
    }
}

/* Smallest to largest of each sub-block, rounded to what can be stored. */
FIT_INLINE void kline_rtn(struct kline_kind k, const struct fit_run *run, struct kline *b)
{
    float s[SUBS], m[SUBS], smax = 0.0f, mmax = 0.0f;
    for (int i = 0; i < SUPER / k.n; i++) {
        float min = 0.0f, max = 0.0f;
        for (int j = k.n * i; j < k.n * (i + 1); j++) {
            min = min < run->x[j] ? min : run->x[j];
            max = max > run->x[j] ? max : run->x[j];
        }
        s[i] = (max - min) / k.hi;
        m[i] = -min;
        smax = smax > s[i] ? smax : s[i];
        mmax = mmax > m[i] ? mmax : m[i];
    }
    b->d = fit_half(smax / k.top, run);
    b->dmin = fit_half(mmax / k.top, run);
    for (int i = 0; i < SUPER / k.n; i++) {
        b->s[i] = nearest_int(s[i] * fit_inverse(b->d.value), 0.0f, k.top);
        b->m[i] = nearest_int(m[i] * fit_inverse(b->dmin.value), 0.0f, k.top);
    }
}

/* d and dmin, integer scales and offsets, and codes of one super-block. */
struct kline_out {
    uint16_t d, dmin;
    uint8_t s[SUBS], m[SUBS], code[SUPER];
};

FIT_INLINE void kline_block(struct kline_kind k, const struct fit_places *p,
                            const struct pq_encode_in *in, uint64_t at, struct kline_out *out)
{
    const struct fit_grid g = {0.0f, k.hi, false};
    struct kquant_run r;
    struct kline b = {0};
    memset(out, 0, sizeof *out);
    if (!kquant_load(in, at, k.n, &r))
        return;
    if (in->search)
        kline_search(k, p, &r, &b);
    else
        kline_rtn(k, &r.run, &b);
    out->d = b.d.bits;
    out->dmin = b.dmin.bits;
    for (int i = 0; i < SUPER / k.n; i++) {
        out->s[i] = (uint8_t)b.s[i];
        out->m[i] = (uint8_t)b.m[i];
        near_codes(g, r.run.x + k.n * i, k.n, b.s[i] * b.d.value, -(b.m[i] * b.dmin.value),
                   out->code + k.n * i);
    }
}

/* Two-bit codes: 32 bytes hold 128, code 32 s + l in bits 2s of byte l. */
static inline void put_pairs(const uint8_t *code, uint8_t *qs)
{
    for (int h = 0; h < 2; h++)
        for (int l = 0; l < 32; l++) {
            const uint8_t *c = code + 128 * h + l;
            qs[32 * h + l] =
                (uint8_t)((c[0] & 3) | (c[32] & 3) << 2 | (c[64] & 3) << 4 | (c[96] & 3) << 6);
        }
}

static void enc_q2_k(const struct pq_encode_in *in, void *const part[])
{
    static const struct fit_places p = {{2.45f, 3.2f, 3.35f, 3.5f, 3.65f, 3.8f, 3.8f, 4.1f, 2.6f,
                                         2.9f, 3.35f, 3.65f, 3.95f, 4.1f, 4.7f, 5.0f},
                                        {-0.2f, -0.1f, -0.0f, -0.4f, -0.6f, -0.9f, -0.0f, -0.5f,
                                         -0.0f, 0.3f, -0.3f, 0.1f, -1.0f, -0.9f, -0.7f, -0.3f}};
    const struct kline_kind k = {16, 3.0f, 15.0f, 1};
    uint8_t *out = part[0];
    for (uint64_t i = 0; i < in->cols; i += SUPER, out += 84) {
        struct kline_out o;
        kline_block(k, &p, in, i, &o);
        for (int j = 0; j < 16; j++)
            out[j] = (uint8_t)(o.s[j] | o.m[j] << 4);
        put_pairs(o.code, out + 16);
        pq_put_le16(out + 80, o.d);
        pq_put_le16(out + 82, o.dmin);
    }
}

/* Eight six-bit scales and offsets in 12 bytes: the first four of each have a byte of their own,
 * whose two upper bits are lent to the last four. */
static inline void put_scales_45(const struct kline_out *o, uint8_t *p)
{
    for (int j = 0; j < 4; j++) {
        p[j] = (uint8_t)(o->s[j] | (o->s[j + 4] >> 4) << 6);
        p[j + 4] = (uint8_t)(o->m[j] | (o->m[j + 4] >> 4) << 6);
        p[j + 8] = (uint8_t)((o->s[j + 4] & 15) | (o->m[j + 4] & 15) << 4);
    }
}

/* 32 bytes hold two sub-blocks, low nibbles first. */
static inline void put_halves(const uint8_t *code, uint8_t *qs)
{
    for (int c = 0; c < 4; c++)
        put_nibble_pairs(code + 64 * c, 32, qs + 32 * c);
}

static void enc_q4_k(const struct pq_encode_in *in, void *const part[])
{
    static const struct fit_places p = {{13.2f, 14.0f, 14.2f, 15.2f, 15.2f, 15.2f, 15.4f, 15.6f,
                                         13.8f, 14.4f, 14.8f, 15.0f, 15.0f, 15.6f, 15.8f, 16.0f},
                                        {-0.1f, -0.1f, 0.05f, -0.25f, -0.1f, 0.05f, -0.55f, 0.05f,
                                         -0.1f, -0.25f, 0.2f, -0.25f, -0.1f, -0.7f, -0.4f, -0.25f}};
    const struct kline_kind k = {32, 15.0f, 63.0f, 1};
    uint8_t *out = part[0];
    for (uint64_t i = 0; i < in->cols; i += SUPER, out += 144) {
        struct kline_out o;
        kline_block(k, &p, in, i, &o);
        pq_put_le16(out, o.d);
        pq_put_le16(out + 2, o.dmin);
        put_scales_45(&o, out + 4);
        put_halves(o.code, out + 16);
    }
}

static void enc_q5_k(const struct pq_encode_in *in, void *const part[])
{
    static const struct fit_places p = {{28.0f, 29.2f, 30.0f, 30.0f, 30.8f, 31.2f, 31.2f, 31.6f,
                                         27.2f, 28.0f, 29.2f, 29.2f, 30.0f, 30.0f, 30.8f, 31.2f},
                                        {0.05f, -0.1f, -0.1f, 0.05f, -0.1f, -0.1f, 0.05f, -0.55f,
                                         -0.1f, -0.1f, -0.25f, 0.05f, -0.25f, 0.2f, 0.05f, 0.2f}};
    const struct kline_kind k = {32, 31.0f, 63.0f, 1};
    uint8_t *out = part[0];
    for (uint64_t i = 0; i < in->cols; i += SUPER, out += 176) {
        struct kline_out o;
        kline_block(k, &p, in, i, &o);
        pq_put_le16(out, o.d);
        pq_put_le16(out + 2, o.dmin);
        put_scales_45(&o, out + 4);
        memset(out + 16, 0, 32);
        for (int c = 0; c < 8; c++)
            for (int l = 0; l < 32; l++)
                out[16 + l] |= (uint8_t)((o.code[32 * c + l] >> 4) << c);
        put_halves(o.code, out + 48);
    }
}

/* ---- scale only per sub-block: Q3_K, Q6_K, IQ4_XS ---- */

struct kscale_kind {
    int n;             /* weights in a sub-block */
    struct fit_grid g; /* codes */
    float lo, hi;      /* integer scales */
    int sets;          /* eights of places to try */
};

struct kscale {
    struct fit_half d;
    float s[SUBS]; /* integers lo..hi */
    float err;
};

/* The unit u for which v / u are closest to integers lo..hi. */
static inline float best_signed_unit(const struct kscale_kind *k, const float *v, const float *w)
{
    int n = SUPER / k->n;
    float vext = 0.0f;
    for (int i = 0; i < n; i++) {
        float a = vext < 0.0f ? -vext : vext;
        vext = v[i] > a || -v[i] > a ? v[i] : vext;
    }
    if (vext == 0.0f)
        return 0.0f;
    static const float back[16] = {0, 1, 2, 3, 4, 5, 6, 7, 1, 2, 3, 4, 5, 6, 7, 8};
    pq_v16 lo = v16_set(k->lo), hi = v16_set(k->hi), zero = v16_set(0.0f);
    pq_v16 b = v16_load(back), pos = v16_sub(v16_set(k->hi + 1.0f), b);
    pq_v16 neg = v16_add(lo, b);
    float place[16], other[16];
    v16_store(place, neg);
    v16_store(other, pos);
    memcpy(place + 8, other + 8, sizeof place / 2);
    pq_v16 inv = v16_div(v16_load(place), v16_set(vext)), qq = zero, qv = zero;
    for (int i = 0; i < n; i++) {
        pq_v16 vi = v16_set(v[i]), wi = v16_set(w[i]);
        pq_v16 q = v16_round(v16_clamp(v16_mul(vi, inv), lo, hi));
        qq = v16_add(qq, v16_mul(wi, v16_mul(q, q)));
        qv = v16_add(qv, v16_mul(wi, v16_mul(q, vi)));
    }
    pq_v16 u = v16_div(qv, v16_max(qq, v16_set(1e-30f)));
    return v16_lane(u, v16_argmax(v16_mul(u, qv)));
}

/* The best integer scales around free ones, `stride` apart, against the stored half. */
FIT_INLINE void kscale_try(struct kscale_kind k, const struct two_run *t, const float *scales,
                           float stride, int i, struct kscale *b)
{
    static const float steps[16] = TWO_EIGHT(0, -1, 1, -2, 2, -3, 3, -4);
    pq_v16 d = v16_set(b->d.value), inv = v16_set(fit_inverse(b->d.value));
    pq_v16 lo = v16_set(k.lo), hi = v16_set(k.hi);
    pq_v16 s = v16_round(v16_clamp(v16_mul(v16_two(scales + i), inv), lo, hi));
    s = v16_clamp(v16_add(s, v16_mul(v16_load(steps), v16_set(stride))), lo, hi);
    pq_v16 err = v16_sub(v16_set(0.0f), two_error(k.g, t, k.n, v16_mul(s, d)));
    float sf[16], ef[16];
    int at[2];
    v16_two_argmax(err, at);
    v16_store(sf, s);
    v16_store(ef, err);
    for (int h = 0; h < 2; h++) {
        b->s[i + h] = sf[at[h]];
        b->err -= ef[at[h]];
    }
}

FIT_INLINE void kscale_all(struct kscale_kind k, const struct kquant_run *r, const float *scales,
                           float stride, float d, struct kscale *b)
{
    b->d = fit_half(d, &r->run);
    b->err = 0.0f;
    for (int i = 0; i < SUPER / k.n; i += 2)
        kscale_try(k, &r->two[i / 2], scales, stride, i, b);
}

/* Least squares of d for the codes of b; also the free scale of each sub-block. */
FIT_INLINE float kscale_refit(struct kscale_kind k, const struct kquant_run *r,
                              const struct kscale *b, float *scales)
{
    float ss = 0.0f, sx = 0.0f;
    for (int i = 0; i < SUPER / k.n; i += 2) {
        struct code_sums c;
        pq_v16 s = v16_mul(v16_two(b->s + i), v16_set(b->d.value));
        sum_codes(k.g, &r->two[i / 2], k.n, s, v16_set(0.0f), &c);
        for (int h = 0; h < 2; h++) {
            ss += b->s[i + h] * b->s[i + h] * c.qq[h];
            sx += b->s[i + h] * c.qx[h];
            if (c.qq[h] > 0.0f && b->s[i + h] != 0.0f)
                scales[i + h] = c.qx[h] / c.qq[h];
        }
    }
    return ss > 0.0f ? sx / ss : 0.0f;
}

FIT_INLINE void kscale_search(struct kscale_kind k, const float *places, const struct kquant_run *r,
                              struct kscale *best)
{
    float scales[SUBS], w[SUBS];
    for (int i = 0; i < SUPER / k.n; i += 2) {
        two_scales(k.g, &r->two[i / 2], k.n, places, k.sets, scales + i);
        w[i] = w[i + 1] = 1.0f;
    }
    kscale_all(k, r, scales, 2.0f, best_signed_unit(&k, scales, w), best);
    float d = kscale_refit(k, r, best, scales);
    struct kscale b;
    if (d != 0.0f) {
        kscale_all(k, r, scales, 1.0f, d, &b);
        if (b.err < best->err)
            *best = b;
    }
}

/* The extreme of each sub-block on the grid's lowest point. */
FIT_INLINE void kscale_rtn(struct kscale_kind k, const struct fit_run *run, struct kscale *b)
{
    float scales[SUBS], ext = 0.0f;
    for (int i = 0; i < SUPER / k.n; i++) {
        scales[i] = fit_extreme(run->x + k.n * i, k.n) / (k.g.iq4 ? -127.0f : k.g.lo);
        if ((scales[i] < 0 ? -scales[i] : scales[i]) > (ext < 0 ? -ext : ext))
            ext = scales[i];
    }
    b->d = fit_half(ext / k.lo, run);
    for (int i = 0; i < SUPER / k.n; i++)
        b->s[i] = nearest_int(scales[i] * fit_inverse(b->d.value), k.lo, k.hi);
}

struct kscale_out {
    uint16_t d;
    int8_t s[SUBS];
    uint8_t code[SUPER]; /* from the grid's lowest point */
};

FIT_INLINE void kscale_block(struct kscale_kind k, const float places[16],
                             const struct pq_encode_in *in, uint64_t at, struct kscale_out *out)
{
    struct kquant_run r;
    struct kscale b = {0};
    memset(out, 0, sizeof *out);
    if (!kquant_load(in, at, k.n, &r)) {
        memset(out->code, k.g.iq4 ? 8 : (int)-k.g.lo, SUPER);
        return;
    }
    if (in->search)
        kscale_search(k, places, &r, &b);
    else
        kscale_rtn(k, &r.run, &b);
    out->d = b.d.bits;
    for (int i = 0; i < SUPER / k.n; i++) {
        out->s[i] = (int8_t)b.s[i];
        near_codes(k.g, r.run.x + k.n * i, k.n, b.s[i] * b.d.value, 0.0f, out->code + k.n * i);
    }
}

static void enc_q3_k(const struct pq_encode_in *in, void *const part[])
{
    static const float places[16] = {-4.45f, -4.2f,  -4.0f,  -3.75f, -3.4f, -2.3f, 2.92f,  3.19f,
                                     -4.35f, -4.15f, -3.95f, -3.65f, -3.3f, -2.9f, -2.05f, 2.63f};
    const struct kscale_kind k = {16, {-4.0f, 3.0f, false}, -32.0f, 31.0f, 1};
    uint8_t *out = part[0];
    for (uint64_t i = 0; i < in->cols; i += SUPER, out += 110) {
        struct kscale_out o;
        kscale_block(k, places, in, i, &o);
        memset(out, 0, 32);
        for (int j = 0; j < SUPER; j++)
            out[j % 32] |= (uint8_t)((o.code[j] >> 2) << j / 32);
        put_pairs(o.code, out + 32);
        memset(out + 96, 0, 12);
        for (int j = 0; j < SUBS; j++) {
            int s = o.s[j] + 32;
            out[96 + j % 8] |= (uint8_t)((s & 15) << j / 8 * 4);
            out[104 + j % 4] |= (uint8_t)((s >> 4) << j / 4 * 2);
        }
        pq_put_le16(out + 108, o.d);
    }
}

static void enc_q6_k(const struct pq_encode_in *in, void *const part[])
{
    static const float places[16] = {-32.4f, -32.0f, -30.0f, -28.0f, -26.0f, 27.12f,
                                     29.06f, 31.0f,  -31.6f, -31.2f, -29.2f, -28.8f,
                                     -24.0f, 22.1f,  22.86f, 25.19f};
    const struct kscale_kind k = {16, {-32.0f, 31.0f, false}, -128.0f, 127.0f, 1};
    uint8_t *out = part[0];
    for (uint64_t i = 0; i < in->cols; i += SUPER, out += 210) {
        struct kscale_out o;
        kscale_block(k, places, in, i, &o);
        for (int h = 0; h < 2; h++) {
            const uint8_t *c = o.code + 128 * h;
            for (int l = 0; l < 64; l++)
                out[64 * h + l] = (uint8_t)((c[l] & 15) | c[l + 64] << 4);
            for (int l = 0; l < 32; l++)
                out[128 + 32 * h + l] = (uint8_t)(c[l] >> 4 | c[l + 32] >> 4 << 2 |
                                                  c[l + 64] >> 4 << 4 | c[l + 96] >> 4 << 6);
        }
        memcpy(out + 192, o.s, 16);
        pq_put_le16(out + 208, o.d);
    }
}

static void enc_iq4_xs(const struct pq_encode_in *in, void *const part[])
{
    const struct kscale_kind k = {32, {0.0f, 0.0f, true}, -32.0f, 31.0f, 1};
    uint8_t *out = part[0];
    for (uint64_t i = 0; i < in->cols; i += SUPER, out += 136) {
        struct kscale_out o;
        kscale_block(k, iq4_places, in, i, &o);
        uint32_t high = 0;
        memset(out + 4, 0, 4);
        for (int j = 0; j < 8; j++) {
            uint32_t s = (uint32_t)(o.s[j] + 32);
            out[4 + j / 2] |= (uint8_t)((s & 15) << j % 2 * 4);
            high |= (s >> 4) << 2 * j;
            put_nibbles(o.code + 32 * j, out + 8 + 16 * j);
        }
        pq_put_le16(out, o.d);
        pq_put_le16(out + 2, (uint16_t)high);
    }
}

#define PQ_ROWS_KQUANT                                                            \
    [PQ_ENC_Q2_K] = enc_q2_k, [PQ_ENC_Q3_K] = enc_q3_k, [PQ_ENC_Q4_K] = enc_q4_k, \
    [PQ_ENC_Q5_K] = enc_q5_k, [PQ_ENC_Q6_K] = enc_q6_k, [PQ_ENC_IQ4_XS] = enc_iq4_xs

#endif
