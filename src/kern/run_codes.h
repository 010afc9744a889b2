/*
 * Template: stored rows spread out into a byte per code and a float per scale. Layouts of GGUF
 * blocks: the `gguf` package (gguf/quants.py). SPDX-License-Identifier: MIT
 */
#ifndef PQ_KERN_RUN_CODES_H
#define PQ_KERN_RUN_CODES_H

#include "kern/run_lanes.h"

/* Sixteen bytes at once, which every instruction set has: the compiler cannot know that what is
 * read and what is written lie apart. */
typedef uint8_t codes_16 __attribute__((vector_size(16)));

LANE_INLINE codes_16 codes_load(const uint8_t *p)
{
    codes_16 v;
    memcpy(&v, p, sizeof v);
    return v;
}

LANE_INLINE void codes_put(uint8_t *q, codes_16 v)
{
    memcpy(q, &v, sizeof v);
}

/* 16 bytes: elements 0 to 15 in the low nibbles, those from `apart` on in the high ones. */
LANE_INLINE void codes_nibbles(const uint8_t *p, uint8_t *q, int apart)
{
    codes_16 v = codes_load(p);
    codes_put(q, v & 15);
    codes_put(q + apart, v >> 4);
}

/* The fifth bits of 32 codes, a little-endian word. */
LANE_INLINE void codes_fifth(const uint8_t *p, uint8_t *q)
{
    uint32_t high = pq_le32(p);
    for (int j = 0; j < 32; j++)
        q[j] = (uint8_t)(q[j] | (high >> j & 1) << 4);
}

/* ---- blocks of 32 ---- */

static void codes_q4_0(const struct pq_codes_in *in, uint8_t *q, float *scale, float *offset)
{
    const uint8_t *b = in->part[0];
    (void)offset;
    for (uint64_t i = 0; i < in->cols / 32; i++, b += 18) {
        scale[i] = dense_half(b);
        codes_nibbles(b + 2, q + 32 * i, 16);
    }
}

static void codes_q4_1(const struct pq_codes_in *in, uint8_t *q, float *scale, float *offset)
{
    const uint8_t *b = in->part[0];
    for (uint64_t i = 0; i < in->cols / 32; i++, b += 20) {
        scale[i] = dense_half(b);
        offset[i] = dense_half(b + 2);
        codes_nibbles(b + 4, q + 32 * i, 16);
    }
}

static void codes_q5_0(const struct pq_codes_in *in, uint8_t *q, float *scale, float *offset)
{
    const uint8_t *b = in->part[0];
    (void)offset;
    for (uint64_t i = 0; i < in->cols / 32; i++, b += 22) {
        scale[i] = dense_half(b);
        codes_nibbles(b + 6, q + 32 * i, 16);
        codes_fifth(b + 2, q + 32 * i);
    }
}

static void codes_q5_1(const struct pq_codes_in *in, uint8_t *q, float *scale, float *offset)
{
    const uint8_t *b = in->part[0];
    for (uint64_t i = 0; i < in->cols / 32; i++, b += 24) {
        scale[i] = dense_half(b);
        offset[i] = dense_half(b + 2);
        codes_nibbles(b + 8, q + 32 * i, 16);
        codes_fifth(b + 4, q + 32 * i);
    }
}

static void codes_q8_0(const struct pq_codes_in *in, uint8_t *q, float *scale, float *offset)
{
    const uint8_t *b = in->part[0];
    (void)offset;
    for (uint64_t i = 0; i < in->cols / 32; i++, b += 34) {
        scale[i] = dense_half(b);
        for (uint64_t j = 0; j < 32; j += 16)
            codes_put(q + 32 * i + j, codes_load(b + 2 + j) ^ 0x80);
    }
}

/* ---- super-blocks of 256 ---- */

/* Two-bit codes: 32 bytes hold 128, those of a column and every 32nd after it in a byte. */
LANE_INLINE void codes_two_bits(const uint8_t *p, uint8_t *q)
{
    for (int l = 0; l < 64; l += 16) {
        codes_16 v = codes_load(p + l);
        for (uint8_t *c = q + l / 32 * 128 + l % 32, *end = c + 128; c < end; c += 32, v >>= 2)
            codes_put(c, v & 3);
    }
}

static void codes_q2_k(const struct pq_codes_in *in, uint8_t *q, float *scale, float *offset)
{
    const uint8_t *b = in->part[0];
    for (uint64_t i = 0; i < in->cols / 256; i++, b += 84) {
        const float d = dense_half(b + 80), dmin = dense_half(b + 82);
        for (uint64_t k = 0; k < 16; k++) {
            scale[16 * i + k] = d * (float)(b[k] & 15);
            offset[16 * i + k] = 0.0f - dmin * (float)(b[k] >> 4);
        }
        codes_two_bits(b + 16, q + 256 * i);
    }
}

/* Third bits: bit k of byte l for element l of the k-th 32. Six-bit scales: low nibbles in 8 bytes,
 * then the upper bits, four to a byte. */
static void codes_q3_k(const struct pq_codes_in *in, uint8_t *q, float *scale, float *offset)
{
    const uint8_t *b = in->part[0];
    (void)offset;
    for (uint64_t i = 0; i < in->cols / 256; i++, b += 110) {
        const float d = dense_half(b + 108);
        for (int k = 0; k < 16; k++) {
            const int low = b[96 + k % 8] >> k / 8 * 4 & 15, high = b[104 + k % 4] >> k / 4 * 2 & 3;
            scale[16 * i + (uint64_t)k] = d * (float)((low | high << 4) - 32);
        }
        codes_two_bits(b + 32, q + 256 * i);
        for (int l = 0; l < 32; l += 16) {
            codes_16 high = codes_load(b + l);
            for (uint8_t *c = q + 256 * i + l, *end = c + 256; c < end; c += 32, high >>= 1)
                codes_put(c, codes_load(c) | (high & 1) << 2);
        }
    }
}

/* Eight six-bit scales and offsets in 12 bytes, a byte each: the first four of each have a byte of
 * their own, whose two upper bits are lent to the last four. */
struct codes_k_bytes {
    uint64_t scale, offset; /* little-endian */
};

LANE_INLINE struct codes_k_bytes codes_k_unpack(const uint8_t *p)
{
    const uint32_t six = 0x3f3f3f3f, four = 0x0f0f0f0f, two = 0x03030303;
    const uint32_t s = pq_le32(p), o = pq_le32(p + 4), low = pq_le32(p + 8);
    const uint32_t s_last = (low & four) | (s >> 6 & two) << 4;
    const uint32_t o_last = (low >> 4 & four) | (o >> 6 & two) << 4;
    return (struct codes_k_bytes){(s & six) | (uint64_t)s_last << 32,
                                  (o & six) | (uint64_t)o_last << 32};
}

LANE_INLINE void codes_k_scales(const uint8_t *b, float *scale, float *offset)
{
    const float d = dense_half(b), dmin = dense_half(b + 2);
    const struct codes_k_bytes k = codes_k_unpack(b + 4);
    for (int i = 0; i < 8; i++) {
        scale[i] = d * (float)(k.scale >> 8 * i & 255);
        offset[i] = 0.0f - dmin * (float)(k.offset >> 8 * i & 255);
    }
}

/* 32 bytes hold two sub-blocks, low nibbles first. */
LANE_INLINE void codes_k_nibbles(const uint8_t *p, uint8_t *q)
{
    for (int k = 0; k < 4; k++)
        for (int l = 0; l < 32; l += 16)
            codes_nibbles(p + 32 * k + l, q + 64 * k + l, 32);
}

static void codes_q4_k(const struct pq_codes_in *in, uint8_t *q, float *scale, float *offset)
{
    const uint8_t *b = in->part[0];
    for (uint64_t i = 0; i < in->cols / 256; i++, b += 144) {
        codes_k_scales(b, scale + 8 * i, offset + 8 * i);
        codes_k_nibbles(b + 16, q + 256 * i);
    }
}

static void codes_q5_k(const struct pq_codes_in *in, uint8_t *q, float *scale, float *offset)
{
    const uint8_t *b = in->part[0];
    for (uint64_t i = 0; i < in->cols / 256; i++, b += 176) {
        codes_k_scales(b, scale + 8 * i, offset + 8 * i);
        codes_k_nibbles(b + 48, q + 256 * i);
        for (int l = 0; l < 32; l += 16) {
            codes_16 high = codes_load(b + 16 + l);
            for (uint8_t *c = q + 256 * i + l, *end = c + 256; c < end; c += 32, high >>= 1)
                codes_put(c, codes_load(c) | (high & 1) << 4);
        }
    }
}

/* Low nibbles: 64 bytes for each half of 128; the two upper bits: 32 bytes for each half. */
static void codes_q6_k(const struct pq_codes_in *in, uint8_t *q, float *scale, float *offset)
{
    const uint8_t *b = in->part[0];
    (void)offset;
    for (uint64_t i = 0; i < in->cols / 256; i++, b += 210) {
        const float d = dense_half(b + 208);
        for (int k = 0; k < 16; k++)
            scale[16 * i + (uint64_t)k] = d * (float)(int8_t)b[192 + k];
        for (int h = 0; h < 2; h++)
            for (int l = 0; l < 32; l += 16) {
                const codes_16 high = codes_load(b + 128 + 32 * h + l);
                const codes_16 low = codes_load(b + 64 * h + l),
                               next = codes_load(b + 64 * h + 32 + l);
                uint8_t *c = q + 256 * i + 128 * h + l;
                codes_put(c, (low & 15) | (high & 3) << 4);
                codes_put(c + 32, (next & 15) | (high >> 2 & 3) << 4);
                codes_put(c + 64, low >> 4 | (high >> 4 & 3) << 4);
                codes_put(c + 96, next >> 4 | high >> 6 << 4);
            }
    }
}

/* ---- scales apart ---- */

LANE_INLINE float codes_aux(const uint8_t *p, uint64_t i, enum pq_dtype aux)
{
    if (aux == PQ_F16)
        return dense_half(p + 2 * i);
    return aux == PQ_F32 ? pq_bits_f32(pq_le32(p + 4 * i)) : pq_bf16_to_f32(pq_le16(p + 2 * i));
}

LANE_INLINE int codes_zero(const struct pq_codes_in *in, uint64_t i)
{
    const uint8_t *z = in->part[2];
    return in->zeros == PQ_ZERO_BYTES ? z[i] : z[i / 2] >> 4 * (i % 2) & 15;
}

/* One for each group, repeated where the stored one is for more. */
static void codes_scales(const struct pq_codes_in *in, float *scale, float *offset)
{
    const uint64_t times = in->per_scale < 32 ? 1 : in->per_scale / 32;
    const uint64_t n = in->cols / in->per_scale;
    uint64_t i = 0;
    for (; times == 1 && in->aux == PQ_F16 && i + PQ_LANES <= n; i += PQ_LANES)
        v16_store(scale + i, dense_load(in->part[1], i, PQ_DENSE_F16));
    for (; i < n; i++)
        for (uint64_t k = 0; k < times; k++)
            scale[i * times + k] = codes_aux(in->part[1], i, in->aux);
    if (in->zeros == PQ_ZERO_NONE)
        return;
    for (i = 0; i < n; i++) {
        float o = in->zeros == PQ_ZERO_OFFSETS ? codes_aux(in->part[2], i, in->aux)
                  : in->keep_zeros             ? (float)codes_zero(in, i)
                                               : 0.0f - scale[i * times] * (float)codes_zero(in, i);
        for (uint64_t k = 0; k < times; k++)
            offset[i * times + k] = o;
    }
}

LANE_INLINE void codes_zip(codes_16 even, codes_16 odd, uint8_t *q)
{
    codes_put(q, __builtin_shufflevector(even, odd, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22,
                                         7, 23));
    codes_put(q + 16, __builtin_shufflevector(even, odd, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13,
                                              29, 14, 30, 15, 31));
}

static void codes_pairs(const struct pq_codes_in *in, uint8_t *q, float *scale, float *offset)
{
    const uint8_t *p = in->part[0], flip = in->flip ? 0x88 : 0;
    codes_scales(in, scale, offset);
    for (uint64_t i = 0; i < in->cols / 2; i += 16) {
        codes_16 v = codes_load(p + i) ^ flip, even = v & 15, odd = v >> 4;
        codes_zip(even, odd, q + 2 * i);
    }
}

static void codes_bytes(const struct pq_codes_in *in, uint8_t *q, float *scale, float *offset)
{
    const uint8_t *p = in->part[0], flip = in->flip ? 0x80 : 0;
    codes_scales(in, scale, offset);
    for (uint64_t i = 0; i < in->cols; i += 16)
        codes_put(q + i, codes_load(p + i) ^ flip);
}

/* Eight codes of b bits, the lowest first, to a byte each: halves move apart three times. */
LANE_INLINE uint64_t codes_eight(uint64_t v, int b)
{
    const uint64_t one = (1u << b) - 1, two = (1u << 2 * b) - 1, four = (1ull << 4 * b) - 1;
    v = (v & four) | (v >> 4 * b & four) << 32;
    v = (v & two * 0x0000000100000001u) | (v & (two << 2 * b) * 0x0000000100000001u)
                                              << (16 - 2 * b);
    return (v & one * 0x0001000100010001u) | (v & (one << b) * 0x0001000100010001u) << (8 - b);
}

LANE_INLINE void codes_put_eight(uint8_t *q, uint64_t v)
{
    pq_put_le32(q, (uint32_t)v);
    pq_put_le32(q + 4, (uint32_t)(v >> 32));
}

LANE_INLINE void codes_stream(const uint8_t *p, uint64_t cols, uint8_t *q, int b)
{
    const uint64_t bytes = cols / 8 * (uint64_t)b;
    uint64_t at = 0;
    for (; at + 8 <= bytes; at += (uint64_t)b, q += 8)
        codes_put_eight(q, codes_eight(pq_le64(p + at), b));
    for (; at < bytes; at += (uint64_t)b, q += 8) {
        uint8_t last[8] = {0};
        memcpy(last, p + at, (size_t)b);
        codes_put_eight(q, codes_eight(pq_le64(last), b));
    }
}

static void codes_bits(const struct pq_codes_in *in, uint8_t *q, float *scale, float *offset)
{
    codes_scales(in, scale, offset);
    if (in->bits == 2)
        codes_stream(in->part[0], in->cols, q, 2);
    else if (in->bits == 3)
        codes_stream(in->part[0], in->cols, q, 3);
    else if (in->bits == 5)
        codes_stream(in->part[0], in->cols, q, 5);
    else
        codes_stream(in->part[0], in->cols, q, in->bits);
}

#define PQ_ROWS_CODES                                                                             \
    [PQ_CODES_Q4_0] = codes_q4_0, [PQ_CODES_Q4_1] = codes_q4_1, [PQ_CODES_Q5_0] = codes_q5_0,     \
    [PQ_CODES_Q5_1] = codes_q5_1, [PQ_CODES_Q8_0] = codes_q8_0, [PQ_CODES_Q2_K] = codes_q2_k,     \
    [PQ_CODES_Q3_K] = codes_q3_k, [PQ_CODES_Q4_K] = codes_q4_k, [PQ_CODES_Q5_K] = codes_q5_k,     \
    [PQ_CODES_Q6_K] = codes_q6_k, [PQ_CODES_PAIRS] = codes_pairs, [PQ_CODES_BYTES] = codes_bytes, \
    [PQ_CODES_BITS] = codes_bits

#endif
