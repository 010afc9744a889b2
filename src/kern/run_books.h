/*
 * Template: stored rows of code books spread out: values are looked up, and 128 is their zero.
 * Layouts: the `gguf` package (gguf/quants.py), and as mx.quantize writes them.
 * SPDX-License-Identifier: MIT
 */
#ifndef PQ_KERN_RUN_BOOKS_H
#define PQ_KERN_RUN_BOOKS_H

#include "kern/books.h"
#include "kern/run_codes.h"

static const int8_t codes_iq4[16] = PQ_IQ4_VALUES, codes_e2m1[16] = PQ_E2M1_DOUBLED;

LANE_INLINE codes_16 codes_look_up(const int8_t table[16], codes_16 at)
{
#if PQ_LANE_WIDTH >= 8
    const codes_16 v =
        (codes_16)_mm_shuffle_epi8(_mm_loadu_si128((const void *)table), (__m128i)at);
#elif PQ_LANE_WIDTH == 4
    const codes_16 v = (codes_16)vqtbl1q_u8((uint8x16_t)vld1q_s8(table), (uint8x16_t)at);
#else
    codes_16 v;
    for (int i = 0; i < 16; i++)
        v[i] = (uint8_t)table[at[i]];
#endif
    return v ^ 0x80;
}

/* 16 bytes as codes_nibbles has them, looked up. */
LANE_INLINE void codes_book(const int8_t table[16], const uint8_t *p, uint8_t *q)
{
    const codes_16 v = codes_load(p);
    codes_put(q, codes_look_up(table, v & 15));
    codes_put(q + 16, codes_look_up(table, v >> 4));
}

static void codes_iq4_nl(const struct pq_codes_in *in, uint8_t *q, float *scale, float *offset)
{
    const uint8_t *b = in->part[0];
    (void)offset;
    for (uint64_t i = 0; i < in->cols / 32; i++, b += 18) {
        scale[i] = dense_half(b);
        codes_book(codes_iq4, b + 2, q + 32 * i);
    }
}

/* A power of two, halved because values are doubled. */
LANE_INLINE float codes_half_power(uint8_t e)
{
    return pq_bits_f32(e < 2 ? 0x00200000u << e : (uint32_t)(e - 1) << 23);
}

static void codes_mxfp4_gguf(const struct pq_codes_in *in, uint8_t *q, float *scale, float *offset)
{
    const uint8_t *b = in->part[0];
    (void)offset;
    for (uint64_t i = 0; i < in->cols / 32; i++, b += 17) {
        scale[i] = codes_half_power(b[0]);
        codes_book(codes_e2m1, b + 1, q + 32 * i);
    }
}

/* Six bits of each scale: low nibbles, and two upper bits of all in a word. */
static void codes_iq4_xs(const struct pq_codes_in *in, uint8_t *q, float *scale, float *offset)
{
    const uint8_t *b = in->part[0];
    (void)offset;
    for (uint64_t i = 0; i < in->cols / 256; i++, b += 136) {
        const float d = dense_half(b);
        const unsigned high = pq_le16(b + 2);
        for (unsigned k = 0; k < 8; k++) {
            const unsigned s = (b[4 + k / 2] >> k % 2 * 4 & 15u) | (high >> 2 * k & 3) << 4;
            scale[8 * i + k] = d * (float)((int)s - 32);
            codes_book(codes_iq4, b + 8 + 16 * k, q + 256 * i + 32 * k);
        }
    }
}

LANE_INLINE void codes_float_pairs(const struct pq_codes_in *in, uint8_t *q)
{
    for (uint64_t i = 0; i < in->cols / 2; i += 16) {
        const codes_16 v = codes_load(in->part[0] + i);
        const codes_16 even = codes_look_up(codes_e2m1, v & 15);
        const codes_16 odd = codes_look_up(codes_e2m1, v >> 4);
        codes_zip(even, odd, q + 2 * i);
    }
}

static void codes_mxfp4(const struct pq_codes_in *in, uint8_t *q, float *scale, float *offset)
{
    (void)offset;
    for (uint64_t i = 0; i < in->cols / 32; i++)
        scale[i] = pq_e8m0_to_f32(in->part[1][i]) * 0.5f;
    codes_float_pairs(in, q);
}

static void codes_nvfp4(const struct pq_codes_in *in, uint8_t *q, float *scale, float *offset)
{
    (void)offset;
    for (uint64_t i = 0; i < in->cols / 16; i++)
        scale[i] = pq_e4m3_to_f32(in->part[1][i]) * 0.5f;
    codes_float_pairs(in, q);
}

#define PQ_ROWS_BOOKS                                                         \
    [PQ_CODES_IQ4_NL] = codes_iq4_nl, [PQ_CODES_IQ4_XS] = codes_iq4_xs,       \
    [PQ_CODES_MXFP4_GGUF] = codes_mxfp4_gguf, [PQ_CODES_MXFP4] = codes_mxfp4, \
    [PQ_CODES_NVFP4] = codes_nvfp4

#endif
