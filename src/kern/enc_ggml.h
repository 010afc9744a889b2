/*
 * Template: GGUF's blocks of 32 weights. Layouts and the round-to-nearest rules: the `gguf`
 * package (gguf/quants.py), whose bytes RTN gives. Searches are our own.
 * SPDX-License-Identifier: MIT
 */
#ifndef PQ_KERN_ENC_GGML_H
#define PQ_KERN_ENC_GGML_H

#include "kern/enc_many.h"

/* Code j in the low nibble of byte j, code j + n in the high one; eight bytes at a time. */
static inline void put_nibble_pairs(const uint8_t *code, int n, uint8_t *qs)
{
    for (int j = 0; j < n; j += 8) {
        uint64_t a, b;
        memcpy(&a, code + j, 8);
        memcpy(&b, code + j + n, 8);
        a = (a & 0x0f0f0f0f0f0f0f0fu) | (b & 0x0f0f0f0f0f0f0f0fu) << 4;
        memcpy(qs + j, &a, 8);
    }
}

static inline void put_nibbles(const uint8_t *code, uint8_t *qs)
{
    put_nibble_pairs(code, 16, qs);
}

/* The fifth bits as one little-endian word: a multiplication gathers eight. */
static inline void put_fifths(const uint8_t *code, uint8_t *qh)
{
    for (int i = 0; i < 4; i++)
        qh[i] =
            (uint8_t)((pq_le64(code + 8 * i) >> 4 & 0x0101010101010101u) * 0x0102040810204080u >>
                      56);
}

static inline void put_codes(int bits, const uint8_t *code, uint8_t *out)
{
    if (bits == 5) {
        put_fifths(code, out);
        out += 4;
    }
    if (bits == 8)
        memcpy(out, code, 32);
    else
        put_nibbles(code, out);
}

/* floor(x * inv + shift), within 0..hi */
static inline void floor_codes(const float *x, int n, float off, float inv, float shift, float hi,
                               uint8_t *code)
{
    for (int j = 0; j < n; j += PQ_LANES) {
        pq_v16 t = v16_mul(v16_sub(v16_load(x + j), v16_set(off)), v16_set(inv));
        t = v16_add(t, v16_set(shift));
        v16_bytes(v16_clamp(t, v16_set(0.0f), v16_set(hi)), code + j);
    }
}

/* code = round((x - off) inv) + zero, within lo..hi, which fit a byte, signed or not */
struct code_line {
    float off, inv, zero, lo, hi;
};

LANE_INLINE void line_codes(const struct code_line *l, const float *x, int n, uint8_t *code)
{
    pq_v16 inv = v16_set(l->inv), from = v16_set(PQ_MAGIC + l->zero), off = v16_set(l->off);
    pq_v16 lo = v16_set(PQ_MAGIC + l->lo), hi = v16_set(PQ_MAGIC + l->hi);
    for (int j = 0; j < n; j += PQ_LANES) {
        pq_v16 t = v16_fma(v16_sub(v16_load(x + j), off), inv, from);
        v16_magic_bytes(v16_clamp(t, lo, hi), code + j);
    }
}

/* Nearest, against a stored scale: round((x - m) / s), within lo..hi; stores code - lo. */
FIT_INLINE void near_codes(struct fit_grid g, const float *x, int n, float s, float m,
                           uint8_t *code)
{
    float inv = fit_inverse(s);
    for (int j = 0; g.iq4 && j < n; j += PQ_LANES) {
        pq_v16 t = v16_mul(v16_sub(v16_load(x + j), v16_set(m)), v16_set(inv));
        v16_bytes(fit_iq4_index(t), code + j);
    }
    if (!g.iq4)
        line_codes(&(struct code_line){m, inv, 0.0f - g.lo, 0.0f, g.hi - g.lo}, x, n, code);
}

/* ---- symmetric: Q4_0, Q5_0 ---- */

/* The value of largest magnitude, the first of equals. */
static inline float first_extreme(const float *x, int n)
{
    float top = fit_absmax(x, n);
    for (int j = 0; j < n; j++)
        if (x[j] == top || x[j] == -top)
            return x[j];
    return 0.0f;
}

static inline uint16_t rtn_symmetric(const float *x, float hi, uint8_t code[32])
{
    float half = (hi + 1.0f) / 2.0f, d = first_extreme(x, 32) / -half;
    floor_codes(x, 32, 0.0f, fit_inverse(d), half + 0.5f, hi, code);
    return fit_f16(d);
}

/* round(x * inv) + zero, within -127..127; halves go away from zero, as C's roundf has them. */
static inline void away_codes(const float *x, int n, float inv, float zero, uint8_t *code)
{
    pq_v16 one = v16_set(1.0f), none = v16_set(0.0f), half = v16_set(0.5f), top = v16_set(127.0f);
    for (int j = 0; j < n; j += PQ_LANES) {
        pq_v16 y = v16_mul(v16_load(x + j), v16_set(inv)), a = v16_min(v16_abs(y), top);
        pq_v16 r = v16_round(a);
        r = v16_if_less(a, r, v16_sub(r, one), r); /* floor */
        r = v16_if_less(v16_sub(a, r), half, r, v16_add(r, one));
        r = v16_if_less(y, none, v16_sub(none, r), r);
        v16_bytes(v16_add(r, v16_set(zero)), code + j);
    }
}

static inline uint16_t rtn_q8(const float *x, uint8_t code[32])
{
    float d = fit_absmax(x, 32) / 127.0f;
    away_codes(x, 32, fit_inverse(d), 0.0f, code);
    return fit_f16(d);
}

enum { PLACES = 8 };

/* A type whose blocks are one scale and 32 codes. */
struct block_kind {
    int bits;
    struct fit_grid g;
    const float *places; /* where the extreme may be put: PLACES of them */
};

static const struct fit_grid iq4_grid = {0.0f, 0.0f, true};

static inline uint16_t rtn_iq4(const float *x, uint8_t code[32])
{
    uint16_t bits = fit_f16(fit_extreme(x, 32) / -127.0f);
    near_codes(iq4_grid, x, 32, pq_f16_to_f32(bits), 0.0f, code);
    return bits;
}

FIT_INLINE uint16_t rtn_block(struct block_kind k, const float *x, uint8_t code[32])
{
    if (k.g.iq4)
        return rtn_iq4(x, code);
    return k.bits == 8 ? rtn_q8(x, code) : rtn_symmetric(x, k.g.hi - k.g.lo, code);
}

/* Where the next blocks of a row are: sixteen, or what is left. */
static inline struct many_at next_blocks(const struct pq_encode_in *in, uint64_t at)
{
    uint64_t left = (in->cols - at) / 32;
    return (struct many_at){at, 32, left < PQ_LANES ? (int)left : PQ_LANES, 1};
}

FIT_INLINE void search_blocks(struct block_kind k, const struct pq_encode_in *in, struct many_at a,
                              uint8_t *out)
{
    struct many m;
    uint16_t d[PQ_LANES];
    float s[PQ_LANES];
    many_read(in, a, false, &m);
    many_weigh(in, a, &m);
    pq_v16 scale = v16_half(v16_mul(many_scales(k.g, &m, 32, k.places, PLACES), m.unit));
    v16_to_f16(scale, d);
    v16_store(s, scale);
    for (int r = 0; r < a.rows; r++, out += 2 + 4 * k.bits) {
        uint8_t code[32];
        if (k.bits == 8) /* signed bytes */
            line_codes(&(struct code_line){0.0f, fit_inverse(s[r]), 0.0f, k.g.lo, k.g.hi},
                       in->x + a.at + 32 * r, 32, code);
        else
            near_codes(k.g, in->x + a.at + 32 * r, 32, s[r], 0.0f, code);
        pq_put_le16(out, d[r]);
        put_codes(k.bits, code, out + 2);
    }
}

FIT_INLINE void enc_blocks(struct block_kind k, const struct pq_encode_in *in, uint8_t *out)
{
    uint8_t code[32];
    if (!in->search)
        for (uint64_t i = 0; i < in->cols; i += 32, out += 2 + 4 * k.bits) {
            pq_put_le16(out, rtn_block(k, in->x + i, code));
            put_codes(k.bits, code, out + 2);
        }
    for (uint64_t i = 0; in->search && i < in->cols;) {
        struct many_at a = next_blocks(in, i);
        search_blocks(k, in, a, out);
        out += a.rows * (2 + 4 * k.bits);
        i += 32 * (uint64_t)a.rows;
    }
}

/* Places were chosen by exchange: those that together leave the least error on trained weights.
 * Eight come within a percent of a hundred. */
static const float q4_0_places[PLACES] = {-8.9f, -8.6f, -8.3f, -8.0f, -7.7f, 6.12f, 6.91f, 7.26f};

static void enc_q4_0(const struct pq_encode_in *in, void *const part[])
{
    enc_blocks((struct block_kind){4, {-8.0f, 7.0f, false}, q4_0_places}, in, part[0]);
}

static void enc_q5_0(const struct pq_encode_in *in, void *const part[])
{
    static const float places[PLACES] = {-17.0f, -16.4f, -16.0f, -15.8f,
                                         -15.2f, 13.12f, 14.06f, 14.81f};
    enc_blocks((struct block_kind){5, {-16.0f, 15.0f, false}, places}, in, part[0]);
}

/* -128 is legal but some runtimes negate codes in a byte. */
static const float q8_0_places[PLACES] = {127.0f, 126.1f, 124.9f, 124.0f,
                                          123.1f, 121.9f, 121.0f, 120.1f};

static void enc_q8_0(const struct pq_encode_in *in, void *const part[])
{
    enc_blocks((struct block_kind){8, {-127.0f, 127.0f, false}, q8_0_places}, in, part[0]);
}

static const float iq4_places[PLACES] = {-136.0f, -128.0f, -122.0f, -110.0f,
                                         -104.0f, 108.0f,  114.0f,  122.0f};

static void enc_iq4_nl(const struct pq_encode_in *in, void *const part[])
{
    enc_blocks((struct block_kind){4, iq4_grid, iq4_places}, in, part[0]);
}

/* ---- scale and offset: Q4_1, Q5_1 ---- */

static inline void range_of(const float *x, float *min, float *max)
{
    pq_v16 a = v16_load(x), b = v16_load(x + 16), zero = v16_set(0.0f);
    *max = v16_hmax(v16_max(a, b));
    *min = 0.0f - v16_hmax(v16_sub(zero, v16_min(a, b)));
}

static inline void rtn_affine(const float *x, float hi, uint16_t dm[2], uint8_t code[32])
{
    float min, max;
    range_of(x, &min, &max);
    float d = (max - min) / hi;
    floor_codes(x, 32, min, fit_inverse(d), 0.5f, hi, code);
    dm[0] = fit_f16(d);
    dm[1] = fit_f16(min);
}

/* The least-squares offsets for scales as stored and the codes that the lines yield. */
FIT_INLINE pq_v16 fit_offsets(float hi, const struct many *r, pq_v16 s, const struct many_lines *l)
{
    const struct fit_grid g = {0.0f, hi, false};
    struct many_sums c = many_codes_sums(g, r, 32, s, v16_sub(v16_set(0.0f), l->m));
    return v16_div(v16_sub(l->x, v16_mul(s, c.q)), l->w);
}

FIT_INLINE void search_lines(const struct pq_encode_in *in, struct many_at a, int bits,
                             const struct fit_places *p, uint8_t *out)
{
    const struct fit_grid g = {0.0f, (float)((1 << bits) - 1), false};
    struct many r;
    struct many_lines l;
    uint16_t d[PQ_LANES], m[PQ_LANES];
    float scale[PQ_LANES], off[PQ_LANES];
    many_read(in, a, false, &r);
    many_weigh(in, a, &r);
    many_best_lines(g.hi, false, &r, 32, p, 16, &l);
    pq_v16 s = v16_half(v16_mul(l.s, r.unit));
    pq_v16 o = fit_offsets(g.hi, &r, v16_mul(s, r.down), &l);
    o = v16_half(v16_mul(o, r.unit));
    v16_to_f16(s, d);
    v16_to_f16(o, m);
    v16_store(scale, s);
    v16_store(off, o);
    for (int i = 0; i < a.rows; i++, out += 4 + 4 * bits) {
        uint8_t code[32];
        near_codes(g, in->x + a.at + 32 * i, 32, scale[i], off[i], code);
        pq_put_le16(out, d[i]);
        pq_put_le16(out + 2, m[i]);
        put_codes(bits, code, out + 4);
    }
}

FIT_INLINE void enc_lines(const struct pq_encode_in *in, uint8_t *out, int bits,
                          const struct fit_places *p)
{
    uint16_t dm[2];
    uint8_t code[32];
    if (!in->search)
        for (uint64_t i = 0; i < in->cols; i += 32, out += 4 + 4 * bits) {
            rtn_affine(in->x + i, (float)((1 << bits) - 1), dm, code);
            pq_put_le16(out, dm[0]);
            pq_put_le16(out + 2, dm[1]);
            put_codes(bits, code, out + 4);
        }
    for (uint64_t i = 0; in->search && i < in->cols;) {
        struct many_at a = next_blocks(in, i);
        search_lines(in, a, bits, p, out);
        out += a.rows * (4 + 4 * bits);
        i += 32 * (uint64_t)a.rows;
    }
}

static void enc_q4_1(const struct pq_encode_in *in, void *const part[])
{
    static const struct fit_places p = {{13.2f, 14.0f, 14.2f, 14.8f, 15.2f, 15.2f, 15.4f, 15.4f,
                                         13.2f, 14.2f, 14.8f, 15.2f, 15.8f, 15.8f, 15.8f, 15.8f},
                                        {-0.1f, -0.1f, 0.05f, 0.2f, -0.25f, -0.1f, -0.55f, 0.05f,
                                         0.05f, -0.25f, 0.05f, 0.2f, -0.85f, -0.55f, -0.25f,
                                         0.05f}};
    enc_lines(in, part[0], 4, &p);
}

static void enc_q5_1(const struct pq_encode_in *in, void *const part[])
{
    static const struct fit_places p = {{28.0f, 29.2f, 30.0f, 30.0f, 30.8f, 31.2f, 31.2f, 31.6f,
                                         27.2f, 28.0f, 28.8f, 29.2f, 30.0f, 30.0f, 30.8f, 31.2f},
                                        {0.05f, -0.1f, -0.1f, 0.05f, -0.1f, -0.1f, 0.05f, -0.55f,
                                         -0.1f, -0.1f, -0.1f, 0.05f, -0.25f, 0.2f, 0.05f, 0.2f}};
    enc_lines(in, part[0], 5, &p);
}

#define PQ_ROWS_GGML                                                              \
    [PQ_ENC_Q4_0] = enc_q4_0, [PQ_ENC_Q4_1] = enc_q4_1, [PQ_ENC_Q5_0] = enc_q5_0, \
    [PQ_ENC_Q5_1] = enc_q5_1, [PQ_ENC_Q8_0] = enc_q8_0, [PQ_ENC_IQ4_NL] = enc_iq4_nl

#endif
