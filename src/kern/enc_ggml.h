/*
 * Template: GGUF's blocks of 32 weights. Layouts and the round-to-nearest rules: the `gguf`
 * package (gguf/quants.py), whose bytes RTN gives. Searches are our own.
 * SPDX-License-Identifier: MIT
 */
#ifndef PQ_KERN_ENC_GGML_H
#define PQ_KERN_ENC_GGML_H

#include "kern/enc_two.h"

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

/* Nearest, against a stored scale: round((x - m) / s), within lo..hi; stores code - lo. */
FIT_INLINE void near_codes(struct fit_grid g, const float *x, int n, float s, float m,
                           uint8_t *code)
{
    pq_v16 inv = v16_set(fit_inverse(s)), lo = v16_set(g.lo);
    for (int j = 0; j < n; j += PQ_LANES) {
        pq_v16 t = v16_mul(v16_sub(v16_load(x + j), v16_set(m)), inv);
        t = g.iq4 ? fit_iq4_index(t) : v16_sub(fit_snap(g, t), lo);
        v16_bytes(t, code + j);
    }
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

/* A type whose blocks are one scale and 32 codes. */
struct block_kind {
    int bits;
    struct fit_grid g;
    const float *places; /* where the extreme may be put, best spread first */
    int sets;            /* eights of them that are tried */
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

/* Loads n = 1 or 2 blocks; the second stands in for itself where there is one only. */
static inline void load_blocks(const struct pq_encode_in *in, uint64_t at, int n,
                               struct fit_run run[2], struct two_run *t)
{
    fit_load(in, at, 32, &run[0]);
    if (n > 1)
        fit_load(in, at + 32, 32, &run[1]);
    two_load(run[0].x, run[n - 1].x, 32, t->x);
    two_load(run[0].w, run[n - 1].w, 32, t->w);
}

FIT_INLINE void search_blocks(struct block_kind k, const struct pq_encode_in *in, uint64_t at,
                              int n, uint16_t d[2], uint8_t code[64])
{
    struct fit_run run[2];
    struct two_run t;
    float s[2];
    load_blocks(in, at, n, run, &t);
    two_scales(k.g, &t, 32, k.places, k.sets, s);
    for (int h = 0; h < n; h++) {
        struct fit_half f = fit_half(s[h], &run[h]);
        near_codes(k.g, run[h].x, 32, f.value, 0.0f, code + 32 * h);
        d[h] = f.bits;
    }
    for (int j = 0; k.bits == 8 && j < 32 * n; j++) /* signed bytes */
        code[j] = (uint8_t)(code[j] + (int)k.g.lo);
}

FIT_INLINE void enc_blocks(struct block_kind k, const struct pq_encode_in *in, uint8_t *out)
{
    for (uint64_t i = 0; i < in->cols; i += 64) {
        int n = in->cols - i > 32 ? 2 : 1;
        uint8_t code[64];
        uint16_t d[2];
        if (in->search)
            search_blocks(k, in, i, n, d, code);
        for (int h = 0; h < n; h++, out += 2 + 4 * k.bits) {
            if (!in->search)
                d[h] = rtn_block(k, in->x + i + 32 * h, code + 32 * h);
            pq_put_le16(out, d[h]);
            put_codes(k.bits, code + 32 * h, out + 2);
        }
    }
}

/* Places were chosen by exchange: those that together leave the least error on trained weights.
 * Eight come within a percent of a hundred; the second eight of these two tables repeat the first,
 * so that searches with sixteen lanes for one group find the same. */
static const float q4_0_places[16] = {-8.9f, -8.6f, -8.3f, -8.0f, -7.7f, 6.12f, 6.91f, 7.26f,
                                      -8.9f, -8.6f, -8.3f, -8.0f, -7.7f, 6.12f, 6.91f, 7.26f};

static void enc_q4_0(const struct pq_encode_in *in, void *const part[])
{
    enc_blocks((struct block_kind){4, {-8.0f, 7.0f, false}, q4_0_places, 1}, in, part[0]);
}

static void enc_q5_0(const struct pq_encode_in *in, void *const part[])
{
    static const float places[16] = {-17.0f, -16.4f, -16.0f, -15.8f, -15.2f, 13.12f,
                                     14.06f, 14.81f, -17.8f, -16.6f, -16.2f, -15.6f,
                                     -15.0f, -14.8f, -14.0f, -12.0f};
    enc_blocks((struct block_kind){5, {-16.0f, 15.0f, false}, places, 1}, in, part[0]);
}

/* -128 is legal but some runtimes negate codes in a byte. */
static const float q8_0_places[16] = {127.0f, 126.1f, 124.9f, 124.0f, 123.1f, 121.9f,
                                      121.0f, 120.1f, 127.0f, 126.1f, 124.9f, 124.0f,
                                      123.1f, 121.9f, 121.0f, 120.1f};

static void enc_q8_0(const struct pq_encode_in *in, void *const part[])
{
    enc_blocks((struct block_kind){8, {-127.0f, 127.0f, false}, q8_0_places, 1}, in, part[0]);
}

static const float iq4_places[16] = {-136.0f, -128.0f, -122.0f, -110.0f, -104.0f, 108.0f,
                                     114.0f,  122.0f,  -146.0f, -132.0f, -126.0f, -118.0f,
                                     -86.0f,  90.0f,   116.0f,  132.0f};

static void enc_iq4_nl(const struct pq_encode_in *in, void *const part[])
{
    enc_blocks((struct block_kind){4, iq4_grid, iq4_places, 1}, in, part[0]);
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

/* The least-squares offset for a scale as stored and the codes that a line yields. */
FIT_INLINE float fit_offset(float hi, const struct fit_run *run, float s, float m)
{
    const struct fit_grid g = {0.0f, hi, false};
    pq_v16 inv = v16_set(fit_inverse(s)), sw = v16_set(0.0f), se = sw;
    for (int j = 0; j < 32; j += PQ_LANES) {
        pq_v16 x = v16_load(run->x + j), w = v16_load(run->w + j);
        pq_v16 q = fit_snap(g, v16_mul(v16_sub(x, v16_set(m)), inv));
        sw = v16_add(sw, w);
        se = v16_add(se, v16_mul(w, v16_sub(x, v16_mul(q, v16_set(s)))));
    }
    float w = v16_sum(sw); /* zero for a block of zeros */
    return w > 0.0f ? v16_sum(se) / w : 0.0f;
}

FIT_INLINE void search_lines(const struct pq_encode_in *in, uint64_t at, int n, float hi,
                             const struct fit_places *p, uint16_t dm[4], uint8_t code[64])
{
    const struct fit_grid g = {0.0f, hi, false};
    struct fit_run run[2];
    struct two_run t;
    struct two_lines l = {0};
    load_blocks(in, at, n, run, &t);
    two_best_lines(hi, false, &t, 32, p, 2, 0, &l);
    for (int h = 0; h < n; h++) {
        struct fit_half d = fit_half(l.s[h], &run[h]);
        struct fit_half m = fit_half(fit_offset(hi, &run[h], d.value, l.m[h]), &run[h]);
        near_codes(g, run[h].x, 32, d.value, m.value, code + 32 * h);
        dm[2 * h] = d.bits;
        dm[2 * h + 1] = m.bits;
    }
}

FIT_INLINE void enc_lines(const struct pq_encode_in *in, uint8_t *out, int bits,
                          const struct fit_places *p)
{
    float hi = (float)((1 << bits) - 1);
    for (uint64_t i = 0; i < in->cols; i += 64) {
        int n = in->cols - i > 32 ? 2 : 1;
        uint16_t dm[4];
        uint8_t code[64];
        if (in->search)
            search_lines(in, i, n, hi, p, dm, code);
        for (int h = 0; h < n; h++, out += 4 + 4 * bits) {
            if (!in->search)
                rtn_affine(in->x + i + 32 * h, hi, dm + 2 * h, code + 32 * h);
            pq_put_le16(out, dm[2 * h]);
            pq_put_le16(out + 2, dm[2 * h + 1]);
            put_codes(bits, code + 32 * h, out + 4);
        }
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
