/*
 * Template: GGUF's blocks of 32 weights. Layouts and the round-to-nearest rules: the `gguf`
 * package (gguf/quants.py), whose bytes RTN gives. Searches are our own.
 * SPDX-License-Identifier: MIT
 */
#ifndef PQ_KERN_ENC_GGML_H
#define PQ_KERN_ENC_GGML_H

#include "kern/enc_fit.h"

/* Code j in the low nibble of byte j, code j + 16 in the high one. */
static inline void put_nibbles(const uint8_t *code, uint8_t *qs)
{
    for (int j = 0; j < 16; j++)
        qs[j] = (uint8_t)((code[j] & 15) | code[j + 16] << 4);
}

/* The fifth bits as one little-endian word. */
static inline void put_fifths(const uint8_t *code, uint8_t *qh)
{
    for (int i = 0; i < 4; i++) {
        uint32_t b = 0;
        for (int j = 0; j < 8; j++)
            b |= (uint32_t)(code[8 * i + j] >> 4 & 1) << j;
        qh[i] = (uint8_t)b;
    }
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

static inline uint16_t rtn_symmetric(const float *x, float hi, uint8_t code[32])
{
    float half = (hi + 1.0f) / 2.0f, d = fit_extreme(x, 32) / -half;
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

FIT_INLINE uint16_t search_symmetric(const struct pq_encode_in *in, uint64_t at, struct fit_grid g,
                                     const float places[16], uint8_t code[32])
{
    struct fit_run run;
    if (!fit_load(in, at, 32, &run)) {
        memset(code, g.iq4 ? 8 : (int)-g.lo, 32);
        return 0;
    }
    struct fit_half d = fit_half(fit_scale(g, run.x, run.w, 32, places), &run);
    near_codes(g, run.x, 32, d.value, 0.0f, code);
    return d.bits;
}

FIT_INLINE void enc_symmetric(const struct pq_encode_in *in, uint8_t *out, int bits,
                              const float places[16])
{
    float half = (float)(1 << (bits - 1));
    const struct fit_grid g = {-half, half - 1.0f, false};
    for (uint64_t i = 0; i < in->cols; i += 32, out += 2 + 4 * bits) {
        uint8_t code[32];
        uint16_t d = in->search ? search_symmetric(in, i, g, places, code)
                                : rtn_symmetric(in->x + i, 2.0f * half - 1.0f, code);
        pq_put_le16(out, d);
        put_codes(bits, code, out + 2);
    }
}

static const float q4_0_places[16] = {-8.9f, -8.6f, -8.4f, -8.2f, -8.0f, -7.8f, -7.6f, -7.2f,
                                      -6.9f, -5.9f, 5.16f, 6.21f, 6.65f, 7.09f, 7.35f, 7.79f};

static void enc_q4_0(const struct pq_encode_in *in, void *const part[])
{
    enc_symmetric(in, part[0], 4, q4_0_places);
}

static void enc_q5_0(const struct pq_encode_in *in, void *const part[])
{
    static const float places[16] = {-17.8f, -17.0f, -16.6f, -16.4f, -16.2f, -16.0f,
                                     -15.8f, -15.6f, -15.2f, -15.0f, -14.8f, -14.0f,
                                     -12.0f, 13.13f, 13.69f, 14.25f};
    enc_symmetric(in, part[0], 5, places);
}

/* -128 is legal but some runtimes negate codes in a byte. */
static const float q8_0_places[16] = {127.0f, 126.1f, 125.8f, 124.9f, 124.0f, 123.1f,
                                      121.9f, 121.0f, 120.1f, 118.9f, 118.0f, 117.1f,
                                      115.9f, 115.0f, 114.1f, 112.9f};

static void enc_q8_0(const struct pq_encode_in *in, void *const part[])
{
    const struct fit_grid g = {-127.0f, 127.0f, false};
    uint8_t *out = part[0];
    for (uint64_t i = 0; i < in->cols; i += 32, out += 34) {
        uint8_t code[32];
        uint16_t d =
            in->search ? search_symmetric(in, i, g, q8_0_places, code) : rtn_q8(in->x + i, code);
        for (int j = 0; in->search && j < 32; j++)
            code[j] = (uint8_t)(code[j] - 127);
        pq_put_le16(out, d);
        put_codes(8, code, out + 2);
    }
}

static const float iq4_places[16] = {-146.0f, -138.0f, -132.0f, -128.0f, -126.0f, -122.0f,
                                     -118.0f, -110.0f, -104.0f, -86.0f,  90.0f,   108.0f,
                                     112.0f,  116.0f,  122.0f,  132.0f};

static const struct fit_grid iq4_grid = {0.0f, 0.0f, true};

static inline uint16_t rtn_iq4(const float *x, uint8_t code[32])
{
    float d = fit_extreme(x, 32) / -127.0f;
    uint16_t bits = fit_f16(d);
    near_codes(iq4_grid, x, 32, pq_f16_to_f32(bits), 0.0f, code);
    return bits;
}

static void enc_iq4_nl(const struct pq_encode_in *in, void *const part[])
{
    uint8_t *out = part[0];
    for (uint64_t i = 0; i < in->cols; i += 32, out += 18) {
        uint8_t code[32];
        uint16_t d = in->search ? search_symmetric(in, i, iq4_grid, iq4_places, code)
                                : rtn_iq4(in->x + i, code);
        pq_put_le16(out, d);
        put_codes(4, code, out + 2);
    }
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
    return v16_sum(se) / v16_sum(sw);
}

FIT_INLINE void search_affine(const struct pq_encode_in *in, uint64_t at, float hi,
                              const struct fit_places *p, uint16_t dm[2], uint8_t code[32])
{
    struct fit_run run;
    memset(code, 0, 32);
    dm[0] = dm[1] = 0;
    if (!fit_load(in, at, 32, &run))
        return;
    struct fit_line l = fit_line(hi, false, run.x, run.w, 32, p);
    struct fit_half d = fit_half(l.s, &run);
    struct fit_half m = fit_half(fit_offset(hi, &run, d.value, l.m), &run);
    const struct fit_grid g = {0.0f, hi, false};
    near_codes(g, run.x, 32, d.value, m.value, code);
    dm[0] = d.bits;
    dm[1] = m.bits;
}

FIT_INLINE void enc_offset(const struct pq_encode_in *in, uint8_t *out, int bits,
                           const struct fit_places *p)
{
    float hi = (float)((1 << bits) - 1);
    for (uint64_t i = 0; i < in->cols; i += 32, out += 4 + 4 * bits) {
        uint16_t dm[2];
        uint8_t code[32];
        if (in->search)
            search_affine(in, i, hi, p, dm, code);
        else
            rtn_affine(in->x + i, hi, dm, code);
        pq_put_le16(out, dm[0]);
        pq_put_le16(out + 2, dm[1]);
        put_codes(bits, code, out + 4);
    }
}

static void enc_q4_1(const struct pq_encode_in *in, void *const part[])
{
    static const struct fit_places p = {{13.2f, 13.2f, 14.2f, 14.2f, 14.2f, 14.8f, 14.8f, 15.2f,
                                         15.2f, 15.2f, 15.2f, 15.2f, 15.8f, 15.8f, 15.8f, 15.8f},
                                        {-0.1f, 0.05f, -0.25f, -0.1f, 0.05f, 0.05f, 0.2f, -0.4f,
                                         -0.25f, -0.1f, 0.05f, 0.2f, -0.85f, -0.55f, -0.25f,
                                         0.05f}};
    enc_offset(in, part[0], 4, &p);
}

static void enc_q5_1(const struct pq_encode_in *in, void *const part[])
{
    static const struct fit_places p = {{27.2f, 28.0f, 28.0f, 28.8f, 29.2f, 29.2f, 30.0f, 30.0f,
                                         30.0f, 30.0f, 30.8f, 30.8f, 31.2f, 31.2f, 31.2f, 31.6f},
                                        {-0.1f, -0.1f, 0.05f, -0.1f, -0.1f, 0.05f, -0.25f, -0.1f,
                                         0.05f, 0.2f, -0.1f, 0.05f, -0.1f, 0.05f, 0.2f, -0.55f}};
    enc_offset(in, part[0], 5, &p);
}

#define PQ_ROWS_GGML                                                              \
    [PQ_ENC_Q4_0] = enc_q4_0, [PQ_ENC_Q4_1] = enc_q4_1, [PQ_ENC_Q5_0] = enc_q5_0, \
    [PQ_ENC_Q5_1] = enc_q5_1, [PQ_ENC_Q8_0] = enc_q8_0, [PQ_ENC_IQ4_NL] = enc_iq4_nl

#endif
