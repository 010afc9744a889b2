/*
 * Template: GGUF's super-blocks whose sub-blocks have small integer scales, times one half: Q3_K,
 * Q6_K, IQ4_XS. Layouts: the `gguf` package (gguf/quants.py). The search is that of enc_kline.h,
 * less the offsets. SPDX-License-Identifier: MIT
 */
#ifndef PQ_KERN_ENC_KSCALE_H
#define PQ_KERN_ENC_KSCALE_H

#include "kern/enc_kquant.h"

/* Steps of the integer scale from the one next to the free scale, in the two tries of a search. */
struct kscale_steps {
    int count[2];
    float s[2][8];
};

/* Few and coarse codes need more of them, most of all where some columns hardly count. */
static const struct kscale_steps kscale_far = {
    {8, 8}, {{0, -2, 2, -4, 4, -6, 6, -8}, {0, -1, 1, -2, 2, -3, 3, -4}}};
static const struct kscale_steps kscale_near = {{2, 4}, {{0, -3}, {0, 1, -1, 2}}};

struct kscale_kind {
    int n;             /* weights in a sub-block */
    int places;        /* candidates for a free scale */
    struct fit_grid g; /* codes */
    float lo, hi;      /* integer scales */
    const struct kscale_steps *steps;
};

/* Candidates for stored blocks: lanes are sub-blocks, those of a super-block have the same half. */
struct kscale {
    pq_v16 d, s; /* s: integers lo..hi */
    pq_v16 err;  /* of the super-block */
};

/* The value of largest magnitude, the first of equals. */
static inline float first_extreme_of(const float *v, int n)
{
    float ext = 0.0f;
    for (int i = 0; i < n; i++) {
        float a = ext < 0.0f ? -ext : ext;
        ext = v[i] > a || -v[i] > a ? v[i] : ext;
    }
    return ext;
}

/* The unit u for which v / u are closest to integers lo..hi; vext: the extreme of v. */
static inline float best_signed_unit(const struct kscale_kind *k, const float *v, float vext)
{
    static const float back[16] = {0, 1, 2, 3, 4, 5, 6, 7, 1, 2, 3, 4, 5, 6, 7, 8};
    pq_v16 lo = v16_set(k->lo), hi = v16_set(k->hi), zero = v16_set(0.0f);
    pq_v16 b = v16_load(back), pos = v16_sub(v16_set(k->hi + 1.0f), b);
    pq_v16 neg = v16_add(lo, b);
    float place[16], other[16];
    v16_store(place, neg);
    v16_store(other, pos);
    memcpy(place + 8, other + 8, sizeof place / 2);
    pq_v16 inv = v16_div(v16_load(place), v16_set(vext)), qq = zero, qv = zero;
    for (int i = 0; i < SUPER / k->n; i++) {
        pq_v16 vi = v16_set(v[i]);
        pq_v16 q = v16_round(v16_clamp(v16_mul(vi, inv), lo, hi));
        qq = v16_add(qq, v16_mul(q, q));
        qv = v16_add(qv, v16_mul(q, vi));
    }
    pq_v16 u = v16_div(qv, v16_max(qq, v16_set(1e-30f)));
    return v16_lane(u, v16_argmax(v16_mul(u, qv)));
}

/* In all lanes of each super-block, the unit of its sub-blocks' scales. */
static inline pq_v16 kscale_units(const struct kscale_kind *k, bool search, pq_v16 v)
{
    int subs = SUPER / k->n;
    float f[PQ_LANES];
    v16_store(f, v);
    for (int i = 0; i < PQ_LANES; i += subs) {
        float ext = first_extreme_of(f + i, subs);
        float u = ext == 0.0f ? 0.0f : search ? best_signed_unit(k, f + i, ext) : ext / k->lo;
        for (int j = i; j < i + subs; j++)
            f[j] = u;
    }
    return v16_load(f);
}

/* The best integer scales around free ones, for the half of b. */
FIT_INLINE void kscale_try(struct kscale_kind k, int turn, const struct many *r, pq_v16 scales,
                           struct kscale *b)
{
    pq_v16 lo = v16_set(k.lo), hi = v16_set(k.hi);
    pq_v16 mid = v16_round(v16_clamp(v16_mul(scales, fit_inverses(b->d)), lo, hi));
    b->err = v16_set(1e30f);
    b->s = v16_set(0.0f);
    for (int c = 0; c < k.steps->count[turn]; c += 2) {
        pq_v16 s[2], scale[2], err[2];
        for (int i = 0; i < 2; i++) {
            s[i] = v16_clamp(v16_add(mid, v16_set(k.steps->s[turn][c + i])), lo, hi);
            scale[i] = v16_mul(s[i], b->d);
        }
        many_scale_errors(k.g, r, k.n, scale, err);
        for (int i = 0; i < 2; i++) {
            b->s = v16_if_less(err[i], b->err, s[i], b->s);
            b->err = v16_min(err[i], b->err);
        }
    }
    b->err = v16_span_sum(b->err, SUPER / k.n);
}

/* Least squares of d for the codes of b; also the free scale of each sub-block. */
FIT_INLINE struct kscale kscale_refit(struct kscale_kind k, const struct many *r,
                                      const struct kscale *b, pq_v16 *scales)
{
    pq_v16 zero = v16_set(0.0f), tiny = v16_set(1e-30f), size = v16_mul(b->s, b->s);
    struct many_sums c = many_codes_sums(k.g, r, k.n, v16_mul(b->s, b->d), zero);
    pq_v16 ss = v16_span_sum(v16_mul(size, c.qq), SUPER / k.n);
    pq_v16 sx = v16_span_sum(v16_mul(b->s, c.qx), SUPER / k.n);
    *scales = v16_if_less(zero, v16_mul(size, c.qq), v16_div(c.qx, v16_max(c.qq, tiny)), *scales);
    pq_v16 d = v16_if_less(zero, ss, v16_div(sx, v16_max(ss, tiny)), b->d);
    return (struct kscale){.d = many_half(r, d)};
}

FIT_INLINE struct kscale kscale_search(struct kscale_kind k, const float *places,
                                       const struct many *r)
{
    pq_v16 scales = many_scales(k.g, r, k.n, places, k.places);
    struct kscale b, best;
    best.d = many_half(r, kscale_units(&k, true, scales));
    kscale_try(k, 0, r, scales, &best);
    b = kscale_refit(k, r, &best, &scales);
    kscale_try(k, 1, r, scales, &b);
    best.d = v16_if_less(b.err, best.err, b.d, best.d);
    best.s = v16_if_less(b.err, best.err, b.s, best.s);
    return best;
}

/* The extreme of each sub-block on the grid's lowest point. */
FIT_INLINE struct kscale kscale_rtn(struct kscale_kind k, const struct many *r)
{
    pq_v16 s = v16_div(many_extreme(r), v16_set(k.g.iq4 ? -127.0f : k.g.lo));
    struct kscale b;
    b.d = many_half(r, kscale_units(&k, false, s));
    s = v16_mul(s, fit_inverses(b.d));
    b.s = v16_round(v16_clamp(s, v16_set(k.lo), v16_set(k.hi)));
    return b;
}

struct kscale_out {
    uint16_t d;
    int8_t s[SUBS];
    uint8_t code[SUPER]; /* from the grid's lowest point */
};

/* Encodes the super-block at `at`, and the next one where two fit the lanes; returns how many. */
FIT_INLINE int kscale_blocks(struct kscale_kind k, const float *places,
                             const struct pq_encode_in *in, uint64_t at, struct kscale_out out[2])
{
    struct many r;
    uint16_t d[PQ_LANES];
    uint8_t s[PQ_LANES];
    float scale[PQ_LANES];
    int subs = SUPER / k.n, supers = kquant_load(in, at, k.n, &r);
    struct kscale b = in->search ? kscale_search(k, places, &r) : kscale_rtn(k, &r);
    v16_to_f16(v16_mul(b.d, r.unit), d);
    v16_bytes(b.s, s);
    v16_store(scale, v16_mul(v16_mul(b.s, b.d), r.unit));
    for (int i = 0; i < subs * supers; i++)
        near_codes(k.g, in->x + at + k.n * i, k.n, scale[i], 0.0f,
                   out[i / subs].code + i % subs * k.n);
    for (int h = 0; h < supers; h++) {
        out[h].d = d[subs * h];
        memcpy(out[h].s, s + subs * h, (size_t)subs);
    }
    return supers;
}

static void put_q3_k(const struct kscale_out *o, uint8_t *out)
{
    memset(out, 0, 32);
    for (int j = 0; j < SUPER; j++)
        out[j % 32] |= (uint8_t)((o->code[j] >> 2) << j / 32);
    put_pairs(o->code, out + 32);
    memset(out + 96, 0, 12);
    for (int j = 0; j < SUBS; j++) {
        int s = o->s[j] + 32;
        out[96 + j % 8] |= (uint8_t)((s & 15) << j / 8 * 4);
        out[104 + j % 4] |= (uint8_t)((s >> 4) << j / 4 * 2);
    }
    pq_put_le16(out + 108, o->d);
}

static void enc_q3_k(const struct pq_encode_in *in, void *const part[])
{
    static const float places[PLACES] = {-4.45f, -4.2f, -4.0f, -3.75f, -3.4f, -2.3f, 2.92f, 3.19f};
    const struct kscale_kind k = {16, PLACES, {-4.0f, 3.0f, false}, -32.0f, 31.0f, &kscale_far};
    uint8_t *out = part[0];
    for (uint64_t i = 0; i < in->cols; i += SUPER, out += 110) {
        struct kscale_out o[2] = {0};
        kscale_blocks(k, places, in, i, o);
        put_q3_k(o, out);
    }
}

/* Of each half: the low nibbles of 128 codes, then their two upper bits. */
static void put_q6_k(const struct kscale_out *o, uint8_t *out)
{
    for (int h = 0; h < 2; h++) {
        const uint8_t *c = o->code + 128 * h;
        uint8_t *low = out + 64 * h, *high = out + 128 + 32 * h;
        put_nibble_pairs(c, 64, low);
        for (int l = 0; l < 32; l += 8) {
            const uint64_t two = 0x0303030303030303u;
            uint64_t v = 0, q;
            for (int i = 0; i < 4; i++) {
                memcpy(&q, c + 32 * i + l, 8);
                v |= (q >> 4 & two) << 2 * i;
            }
            memcpy(high + l, &v, 8);
        }
    }
    memcpy(out + 192, o->s, 16);
    pq_put_le16(out + 208, o->d);
}

static void enc_q6_k(const struct pq_encode_in *in, void *const part[])
{
    static const float places[] = {-32.4f, -32.0f, -30.0f, -28.0f, -26.0f,
                                   27.12f, 29.06f, 31.0f,  -24.0f, 25.19f};
    const struct kscale_kind k = {16, 10, {-32.0f, 31.0f, false}, -128.0f, 127.0f, &kscale_near};
    uint8_t *out = part[0];
    for (uint64_t i = 0; i < in->cols; i += SUPER, out += 210) {
        struct kscale_out o[2] = {0};
        kscale_blocks(k, places, in, i, o);
        put_q6_k(o, out);
    }
}

static void put_iq4_xs(const struct kscale_out *o, uint8_t *out)
{
    uint32_t high = 0;
    memset(out + 4, 0, 4);
    for (int j = 0; j < 8; j++) {
        uint32_t s = (uint32_t)(o->s[j] + 32);
        out[4 + j / 2] |= (uint8_t)((s & 15) << j % 2 * 4);
        high |= (s >> 4) << 2 * j;
        put_nibbles(o->code + 32 * j, out + 8 + 16 * j);
    }
    pq_put_le16(out, o->d);
    pq_put_le16(out + 2, (uint16_t)high);
}

static void enc_iq4_xs(const struct pq_encode_in *in, void *const part[])
{
    const struct kscale_kind k = {32, PLACES, {0.0f, 0.0f, true}, -32.0f, 31.0f, &kscale_far};
    uint8_t *out = part[0];
    for (uint64_t i = 0; i < in->cols;) {
        struct kscale_out o[2] = {0};
        int supers = kscale_blocks(k, iq4_places, in, i, o);
        for (int h = 0; h < supers; h++, i += SUPER, out += 136)
            put_iq4_xs(o + h, out);
    }
}

#define PQ_ROWS_KSCALE \
    [PQ_ENC_Q3_K] = enc_q3_k, [PQ_ENC_Q6_K] = enc_q6_k, [PQ_ENC_IQ4_XS] = enc_iq4_xs

#endif
