/*
 * Template: GGUF's super-blocks whose sub-blocks have small integer scales and offsets, times two
 * halves: Q2_K, Q4_K, Q5_K. Layouts: the `gguf` package (gguf/quants.py). The search is our own:
 * fit every sub-block freely, choose the super-scales that its scales and offsets round well to,
 * try the neighbouring integers against what will be stored, refit the super-scales to the codes
 * found, and try again. SPDX-License-Identifier: MIT
 */
#ifndef PQ_KERN_ENC_KLINE_H
#define PQ_KERN_ENC_KLINE_H

#include "kern/enc_kquant.h"

struct kline_kind {
    int n;     /* weights in a sub-block */
    int lines; /* candidates for a free line */
    float hi;  /* largest code */
    float top; /* largest integer scale and offset */
};

/* Candidates for stored blocks: lanes are sub-blocks, those of a super-block have the same halves.
 */
struct kline {
    pq_v16 d, dmin, s, m; /* s, m: integers 0..top */
    pq_v16 err;           /* of the super-block */
};

/* The unit u for which v / u are closest to integers 0..top, by weighted squares. Sixteen are
 * tried, one per lane. */
static inline float best_unit(const float *v, const float *w, int n, float top)
{
    static const float lanes[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    float vmax = 0.0f;
    for (int i = 0; i < n; i++)
        vmax = vmax > v[i] ? vmax : v[i];
    if (!(vmax > 0.0f))
        return 0.0f;
    pq_v16 back = v16_mul(v16_load(lanes), v16_set(top / 112.0f));
    pq_v16 inv = v16_div(v16_sub(v16_set(top + 0.25f), back), v16_set(vmax));
    pq_v16 qq = v16_set(0.0f), qv = qq, magic = v16_set(PQ_MAGIC), hi = v16_set(top + PQ_MAGIC);
    for (int i = 0; i < n; i++) {
        pq_v16 vi = v16_set(v[i]), q = v16_snap(v16_fma(vi, inv, magic), magic, hi);
        pq_v16 wq = v16_mul(v16_set(w[i]), q);
        qq = v16_fma(wq, q, qq);
        qv = v16_fma(wq, vi, qv);
    }
    pq_v16 u = v16_div(qv, v16_max(qq, v16_set(1e-30f)));
    return v16_lane(u, v16_argmax(v16_mul(u, qv)));
}

/* best_unit for the sub-blocks of each super-block, in all of their lanes. */
static inline pq_v16 best_units(pq_v16 v, pq_v16 w, int subs, float top)
{
    float vf[PQ_LANES], wf[PQ_LANES];
    v16_store(vf, v);
    v16_store(wf, w);
    for (int i = 0; i < PQ_LANES; i += subs) {
        float u = best_unit(vf + i, wf + i, subs, top);
        for (int j = i; j < i + subs; j++)
            vf[j] = u;
    }
    return v16_load(vf);
}

/* The integer scale `ds` away from the one next to the free line's, and the offset `dm` away from
 * the one that then fits best. */
FIT_INLINE void kline_near(float top, const struct many_lines *l, const struct kline *b, float ds,
                           float dm, pq_v16 *s, pq_v16 *m)
{
    pq_v16 zero = v16_set(0.0f), most = v16_set(top);
    pq_v16 inv = fit_inverses(b->d), inv_min = fit_inverses(b->dmin);
    *s = v16_round(v16_clamp(v16_mul(l->s, inv), zero, most));
    *s = v16_clamp(v16_add(*s, v16_set(ds)), zero, most);
    pq_v16 more = v16_sub(v16_mul(*s, b->d), l->s); /* than the free scale */
    *m = v16_sub(v16_mul(more, l->mean), l->m);
    *m = v16_round(v16_clamp(v16_mul(*m, inv_min), zero, most));
    *m = v16_clamp(v16_add(*m, v16_set(dm)), zero, most);
}

/* Steps of the integers scale and offset. The second try has better lines to start from, and more
 * chance to keep what it finds. */
struct kline_steps {
    int count;
    float s[6], m[6];
};

static const struct kline_steps kline_first = {4, {0, -1, 1, 0}, {0, 0, 0, 1}};
static const struct kline_steps kline_second = {6, {0, 0, 0, -1, 1, -1}, {0, -1, 1, 0, 0, 1}};

/* The best of the integer scales and offsets around the free lines, for the halves of b. */
FIT_INLINE void kline_try(struct kline_kind k, const struct kline_steps *steps,
                          const struct many *r, const struct many_lines *l, struct kline *b)
{
    pq_v16 zero = v16_set(0.0f);
    b->err = v16_set(1e30f);
    b->s = b->m = zero;
    for (int c = 0; c < steps->count; c += 2) {
        pq_v16 s[2], m[2], scale[2], off[2], err[2];
        for (int i = 0; i < 2; i++) {
            kline_near(k.top, l, b, steps->s[c + i], steps->m[c + i], &s[i], &m[i]);
            scale[i] = v16_mul(s[i], b->d);
            off[i] = v16_sub(zero, v16_mul(m[i], b->dmin));
        }
        many_line_errors(k.hi, r, k.n, scale, off, err);
        for (int i = 0; i < 2; i++) {
            b->s = v16_if_less(err[i], b->err, s[i], b->s);
            b->m = v16_if_less(err[i], b->err, m[i], b->m);
            b->err = v16_min(err[i], b->err);
        }
    }
    b->err = v16_span_sum(b->err, SUPER / k.n);
}

/* Least squares of d and dmin for the codes of b, where those are positive; also the free line of
 * each sub-block. */
FIT_INLINE struct kline kline_refit(struct kline_kind k, const struct many *r,
                                    const struct kline *b, struct many_lines *l)
{
    const struct fit_grid g = {0.0f, k.hi, false};
    int subs = SUPER / k.n;
    struct many_sums c = many_codes_sums(g, r, k.n, v16_mul(b->s, b->d), v16_mul(b->m, b->dmin));
    pq_v16 zero = v16_set(0.0f), one = v16_set(1.0f), few = v16_set(1e-6f);
    pq_v16 ss = v16_span_sum(v16_mul(v16_mul(b->s, b->s), c.qq), subs);
    pq_v16 sm = v16_span_sum(v16_mul(v16_mul(b->s, b->m), c.q), subs);
    pq_v16 mm = v16_span_sum(v16_mul(v16_mul(b->m, b->m), l->w), subs);
    pq_v16 sx = v16_span_sum(v16_mul(b->s, c.qx), subs);
    pq_v16 mx = v16_span_sum(v16_mul(b->m, l->x), subs);
    /* normal equations of x ~ d (s q) - dmin m */
    pq_v16 limit = v16_mul(few, v16_mul(ss, mm)), det = v16_sub(v16_mul(ss, mm), v16_mul(sm, sm));
    pq_v16 d = v16_div(v16_sub(v16_mul(sx, mm), v16_mul(mx, sm)), det);
    pq_v16 dmin = v16_div(v16_sub(v16_mul(sx, sm), v16_mul(mx, ss)), det);
    pq_v16 alone = v16_div(sx, v16_if_less(zero, ss, ss, one));
    d = v16_if_less(limit, det, d, alone);
    dmin = v16_if_less(limit, det, dmin, zero);
    /* the free lines of these codes */
    l->mean = v16_div(c.q, l->w);
    pq_v16 w_qq = v16_mul(l->w, c.qq), own = v16_sub(w_qq, v16_mul(c.q, c.q));
    limit = v16_mul(few, w_qq);
    pq_v16 s = v16_div(v16_sub(v16_mul(l->w, c.qx), v16_mul(l->x, c.q)), own);
    pq_v16 m = v16_div(v16_sub(l->x, v16_mul(s, c.q)), l->w);
    l->s = v16_if_less(limit, own, s, l->s);
    l->m = v16_if_less(limit, own, m, l->m);
    pq_v16 d_ok = v16_if_less(dmin, zero, b->d, d),
           dmin_ok = v16_if_less(dmin, zero, b->dmin, dmin);
    d_ok = v16_if_less(zero, d, d_ok, b->d);
    dmin_ok = v16_if_less(zero, d, dmin_ok, b->dmin);
    return (struct kline){.d = many_half(r, d_ok), .dmin = many_half(r, dmin_ok)};
}

LANE_SHARED struct kline kline_search(struct kline_kind k, const struct fit_places *p,
                                      const struct many *r)
{
    struct many_lines l;
    int subs = SUPER / k.n;
    many_best_lines(k.hi, true, r, k.n, p, k.lines, &l);
    struct kline b, best;
    best.d = many_half(r, best_units(l.s, l.qq, subs, k.top));
    best.dmin = many_half(r, best_units(v16_sub(v16_set(0.0f), l.m), l.w, subs, k.top));
    kline_try(k, &kline_first, r, &l, &best);
    b = kline_refit(k, r, &best, &l);
    kline_try(k, &kline_second, r, &l, &b);
    best.d = v16_if_less(b.err, best.err, b.d, best.d);
    best.dmin = v16_if_less(b.err, best.err, b.dmin, best.dmin);
    best.s = v16_if_less(b.err, best.err, b.s, best.s);
    best.m = v16_if_less(b.err, best.err, b.m, best.m);
    return best;
}

/* Smallest to largest of each sub-block, rounded to what can be stored. */
FIT_INLINE struct kline kline_rtn(struct kline_kind k, const struct many *r)
{
    pq_v16 zero = v16_set(0.0f), top = v16_set(k.top);
    pq_v16 lo = v16_min(r->lo, zero), hi = v16_max(r->hi, zero);
    int subs = SUPER / k.n;
    pq_v16 s = v16_div(v16_sub(hi, lo), v16_set(k.hi)), m = v16_sub(zero, lo);
    struct kline b;
    b.d = many_half(r, v16_div(v16_span_max(s, subs), top));
    b.dmin = many_half(r, v16_div(v16_span_max(m, subs), top));
    b.s = v16_round(v16_clamp(v16_mul(s, fit_inverses(b.d)), zero, top));
    b.m = v16_round(v16_clamp(v16_mul(m, fit_inverses(b.dmin)), zero, top));
    return b;
}

/* d and dmin, integer scales and offsets, and codes of one super-block. */
struct kline_out {
    uint16_t d, dmin;
    uint8_t s[SUBS], m[SUBS], code[SUPER];
};

/* Encodes the super-block at `at`, and the next one where two fit the lanes; returns how many. */
FIT_INLINE int kline_blocks(struct kline_kind k, const struct fit_places *p,
                            const struct pq_encode_in *in, uint64_t at, struct kline_out out[2])
{
    const struct fit_grid g = {0.0f, k.hi, false};
    struct many r;
    uint16_t d[PQ_LANES], dmin[PQ_LANES];
    uint8_t s[PQ_LANES], m[PQ_LANES];
    float scale[PQ_LANES], off[PQ_LANES];
    int subs = SUPER / k.n, supers = kquant_load(in, at, k.n, &r);
    struct kline b = in->search ? kline_search(k, p, &r) : kline_rtn(k, &r);
    v16_to_f16(v16_mul(b.d, r.unit), d);
    v16_to_f16(v16_mul(b.dmin, r.unit), dmin);
    v16_bytes(b.s, s);
    v16_bytes(b.m, m);
    v16_store(scale, v16_mul(v16_mul(b.s, b.d), r.unit));
    v16_store(off, v16_mul(v16_mul(b.m, b.dmin), r.unit));
    for (int i = 0; i < subs * supers; i++)
        near_codes(g, in->x + at + k.n * i, k.n, scale[i], -off[i],
                   out[i / subs].code + i % subs * k.n);
    for (int h = 0; h < supers; h++) {
        out[h].d = d[subs * h];
        out[h].dmin = dmin[subs * h];
        memcpy(out[h].s, s + subs * h, (size_t)subs);
        memcpy(out[h].m, m + subs * h, (size_t)subs);
    }
    return supers;
}

static void put_q2_k(const struct kline_out *o, uint8_t *out)
{
    for (int j = 0; j < 16; j++)
        out[j] = (uint8_t)(o->s[j] | o->m[j] << 4);
    put_pairs(o->code, out + 16);
    pq_put_le16(out + 80, o->d);
    pq_put_le16(out + 82, o->dmin);
}

static void enc_q2_k(const struct pq_encode_in *in, void *const part[])
{
    static const struct fit_places p = {
        {2.45f, 3.2f, 3.35f, 3.5f, 3.65f, 3.8f, 3.8f, 4.1f, 2.9f, 3.35f},
        {-0.2f, -0.1f, -0.0f, -0.4f, -0.6f, -0.9f, -0.0f, -0.5f, 0.3f, -0.3f}};
    const struct kline_kind k = {16, 10, 3.0f, 15.0f};
    uint8_t *out = part[0];
    for (uint64_t i = 0; i < in->cols; i += SUPER, out += 84) {
        struct kline_out o[2] = {0};
        kline_blocks(k, &p, in, i, o);
        put_q2_k(o, out);
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

static void put_q4_k(const struct kline_out *o, uint8_t *out)
{
    pq_put_le16(out, o->d);
    pq_put_le16(out + 2, o->dmin);
    put_scales_45(o, out + 4);
    put_halves(o->code, out + 16);
}

static void enc_q4_k(const struct pq_encode_in *in, void *const part[])
{
    static const struct fit_places p = {
        {13.2f, 14.0f, 14.2f, 15.2f, 15.2f, 15.2f, 15.4f, 15.6f, 14.4f, 14.8f},
        {-0.1f, -0.1f, 0.05f, -0.25f, -0.1f, 0.05f, -0.55f, 0.05f, -0.25f, 0.2f}};
    const struct kline_kind k = {32, 10, 15.0f, 63.0f};
    uint8_t *out = part[0];
    for (uint64_t i = 0; i < in->cols;) {
        struct kline_out o[2] = {0};
        int supers = kline_blocks(k, &p, in, i, o);
        for (int h = 0; h < supers; h++, i += SUPER, out += 144)
            put_q4_k(o + h, out);
    }
}

static void put_q5_k(const struct kline_out *o, uint8_t *out)
{
    pq_put_le16(out, o->d);
    pq_put_le16(out + 2, o->dmin);
    put_scales_45(o, out + 4);
    memset(out + 16, 0, 32);
    for (int c = 0; c < 8; c++)
        for (int l = 0; l < 32; l++)
            out[16 + l] |= (uint8_t)((o->code[32 * c + l] >> 4) << c);
    put_halves(o->code, out + 48);
}

static void enc_q5_k(const struct pq_encode_in *in, void *const part[])
{
    static const struct fit_places p = {
        {28.0f, 29.2f, 30.0f, 30.0f, 30.8f, 31.2f, 31.2f, 31.6f, 28.0f, 29.2f, 30.8f, 31.2f},
        {0.05f, -0.1f, -0.1f, 0.05f, -0.1f, -0.1f, 0.05f, -0.55f, -0.1f, -0.25f, 0.05f, 0.2f}};
    const struct kline_kind k = {32, 12, 31.0f, 63.0f};
    uint8_t *out = part[0];
    for (uint64_t i = 0; i < in->cols;) {
        struct kline_out o[2] = {0};
        int supers = kline_blocks(k, &p, in, i, o);
        for (int h = 0; h < supers; h++, i += SUPER, out += 176)
            put_q5_k(o + h, out);
    }
}

#define PQ_ROWS_KLINE [PQ_ENC_Q2_K] = enc_q2_k, [PQ_ENC_Q4_K] = enc_q4_k, [PQ_ENC_Q5_K] = enc_q5_k

#endif
