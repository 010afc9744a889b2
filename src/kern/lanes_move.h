/*
 * Lanes that change places or type: transposition, sums over neighbouring lanes, bytes, half
 * floats, tables. SPDX-License-Identifier: MIT
 */
#ifndef PQ_KERN_LANES_MOVE_H
#define PQ_KERN_LANES_MOVE_H

#include "base/num.h"
#include "kern/lanes.h"

/* a0 b0 a1 b1 ... a7 b7, and the same of the upper halves. */
LANE_INLINE void v16_zip(pq_v16 a, pq_v16 b, pq_v16 *low, pq_v16 *high)
{
#if PQ_LANE_WIDTH == 16
    const __m512i lo = _mm512_set_epi32(23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    const __m512i hi =
        _mm512_set_epi32(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8);
    low->r[0] = _mm512_permutex2var_ps(a.r[0], lo, b.r[0]);
    high->r[0] = _mm512_permutex2var_ps(a.r[0], hi, b.r[0]);
#elif PQ_LANE_WIDTH == 8
    for (int i = 0; i < 2; i++) {
        __m256 even = _mm256_unpacklo_ps(a.r[i], b.r[i]), odd = _mm256_unpackhi_ps(a.r[i], b.r[i]);
        pq_v16 *to = i ? high : low;
        to->r[0] = _mm256_permute2f128_ps(even, odd, 0x20);
        to->r[1] = _mm256_permute2f128_ps(even, odd, 0x31);
    }
#elif PQ_LANE_WIDTH == 4
    for (int i = 0; i < 4; i++) {
        pq_v16 *to = i < 2 ? low : high;
        to->r[2 * (i % 2)] = vzip1q_f32(a.r[i], b.r[i]);
        to->r[2 * (i % 2) + 1] = vzip2q_f32(a.r[i], b.r[i]);
    }
#else
    for (int i = 0; i < PQ_LANES; i++) {
        pq_v16 *to = i < 8 ? low : high;
        to->r[2 * (i % 8)] = a.r[i];
        to->r[2 * (i % 8) + 1] = b.r[i];
    }
#endif
}

/* Lane i of t[j] becomes lane j of t[i]: four rounds of a perfect shuffle. */
static inline void v16_transpose(pq_v16 t[PQ_LANES])
{
    pq_v16 u[PQ_LANES];
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 8; i++)
            v16_zip(t[i], t[i + 8], &u[2 * i], &u[2 * i + 1]);
        for (int i = 0; i < 8; i++)
            v16_zip(u[i], u[i + 8], &t[2 * i], &t[2 * i + 1]);
    }
}

/* Lane i gets lane i ^ n, for n = 8, 4, 2 or 1. */
LANE_INLINE pq_v16 v16_swap(pq_v16 a, int n)
{
#if PQ_LANE_WIDTH == 16
    if (n == 8)
        return (pq_v16){{_mm512_shuffle_f32x4(a.r[0], a.r[0], 0x4e)}};
    if (n == 4)
        return (pq_v16){{_mm512_shuffle_f32x4(a.r[0], a.r[0], 0xb1)}};
    if (n == 2)
        return (pq_v16){{_mm512_permute_ps(a.r[0], 0x4e)}};
    return (pq_v16){{_mm512_permute_ps(a.r[0], 0xb1)}};
#else
    float f[PQ_LANES], g[PQ_LANES];
    v16_store(f, a);
    for (int i = 0; i < PQ_LANES; i++)
        g[i] = f[i ^ n];
    return v16_load(g);
#endif
}

/* Every lane gets the sum (the maximum) over its `span` lanes: 1, 2, 4, 8 or 16 neighbours. */
LANE_INLINE pq_v16 v16_span_sum(pq_v16 a, int span)
{
    for (int n = span / 2; n; n /= 2)
        a = v16_add(a, v16_swap(a, n));
    return a;
}

LANE_INLINE pq_v16 v16_span_max(pq_v16 a, int span)
{
    for (int n = span / 2; n; n /= 2)
        a = v16_max(a, v16_swap(a, n));
    return a;
}

/* Half floats: nearest, ties to even. */
LANE_INLINE void v16_to_f16(pq_v16 a, uint16_t h[PQ_LANES])
{
#if PQ_LANE_WIDTH == 16
    _mm256_storeu_si256((void *)h, _mm512_cvtps_ph(a.r[0], _MM_FROUND_TO_NEAREST_INT));
#elif PQ_LANE_WIDTH == 8
    for (int i = 0; i < 2; i++)
        _mm_storeu_si128((void *)(h + 8 * i), _mm256_cvtps_ph(a.r[i], _MM_FROUND_TO_NEAREST_INT));
#else
    float f[PQ_LANES];
    v16_store(f, a);
    for (int i = 0; i < PQ_LANES; i++)
        h[i] = pq_f32_to_f16(f[i]);
#endif
}

LANE_INLINE pq_v16 v16_from_f16(const uint16_t h[PQ_LANES])
{
#if PQ_LANE_WIDTH == 16
    return (pq_v16){{_mm512_cvtph_ps(_mm256_loadu_si256((const void *)h))}};
#elif PQ_LANE_WIDTH == 8
    return (pq_v16){{_mm256_cvtph_ps(_mm_loadu_si128((const void *)h)),
                     _mm256_cvtph_ps(_mm_loadu_si128((const void *)(h + 8)))}};
#else
    float f[PQ_LANES];
    for (int i = 0; i < PQ_LANES; i++)
        f[i] = pq_f16_to_f32(h[i]);
    return v16_load(f);
#endif
}

/* Rounded to halves; saturates, because an infinite scale would turn zeros into NaN. */
LANE_INLINE pq_v16 v16_half(pq_v16 a)
{
    uint16_t h[PQ_LANES];
    v16_to_f16(v16_clamp(a, v16_set(-65504.0f), v16_set(65504.0f)), h);
    return v16_from_f16(h);
}

/* Lanes hold integers that fit int32; out gets their lowest bytes. */
LANE_INLINE void v16_bytes(pq_v16 a, uint8_t *out)
{
#if PQ_LANE_WIDTH == 16
    _mm_storeu_si128((void *)out, _mm512_cvtepi32_epi8(_mm512_cvttps_epi32(a.r[0])));
#elif PQ_LANE_WIDTH == 8
    __m256i low = _mm256_set1_epi32(255);
    __m256i p = _mm256_packus_epi32(_mm256_and_si256(_mm256_cvttps_epi32(a.r[0]), low),
                                    _mm256_and_si256(_mm256_cvttps_epi32(a.r[1]), low));
    p = _mm256_permute4x64_epi64(p, 0xd8);
    _mm_storeu_si128((void *)out,
                     _mm_packus_epi16(_mm256_castsi256_si128(p), _mm256_extracti128_si256(p, 1)));
#else
    float f[PQ_LANES];
    v16_store(f, a);
    for (int i = 0; i < PQ_LANES; i++)
        out[i] = (uint8_t)(int32_t)f[i];
#endif
}

/* Lanes hold PQ_MAGIC and a whole number n, |n| < 2^22; out gets the lowest bytes of n, which are
 * those of the lanes' bits. */
LANE_INLINE void v16_magic_bytes(pq_v16 a, uint8_t *out)
{
#if PQ_LANE_WIDTH == 16
    _mm_storeu_si128((void *)out, _mm512_cvtepi32_epi8(_mm512_castps_si512(a.r[0])));
#elif PQ_LANE_WIDTH == 8
    __m256i low = _mm256_set1_epi32(255);
    __m256i p = _mm256_packus_epi32(_mm256_and_si256(_mm256_castps_si256(a.r[0]), low),
                                    _mm256_and_si256(_mm256_castps_si256(a.r[1]), low));
    p = _mm256_permute4x64_epi64(p, 0xd8);
    _mm_storeu_si128((void *)out,
                     _mm_packus_epi16(_mm256_castsi256_si128(p), _mm256_extracti128_si256(p, 1)));
#else
    uint32_t u[PQ_LANES];
    memcpy(u, &a, sizeof u);
    for (int i = 0; i < PQ_LANES; i++)
        out[i] = (uint8_t)u[i];
#endif
}

/* Sixteen bytes as numbers. */
LANE_INLINE pq_v16 v16_from_bytes(const uint8_t *p)
{
#if PQ_LANE_WIDTH == 16
    return (pq_v16){{_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const void *)p)))}};
#elif PQ_LANE_WIDTH == 8
    pq_v16 v;
    for (int i = 0; i < 2; i++)
        v.r[i] =
            _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const void *)(p + 8 * i))));
    return v;
#elif PQ_LANE_WIDTH == 4
    pq_v16 v;
    for (int i = 0; i < 2; i++) {
        uint16x8_t h = vmovl_u8(vld1_u8(p + 8 * i));
        v.r[2 * i] = vcvtq_f32_u32(vmovl_u16(vget_low_u16(h)));
        v.r[2 * i + 1] = vcvtq_f32_u32(vmovl_u16(vget_high_u16(h)));
    }
    return v;
#else
    float f[PQ_LANES];
    for (int i = 0; i < PQ_LANES; i++)
        f[i] = p[i];
    return v16_load(f);
#endif
}

/* Sixteen bytes in two's complement as numbers. */
LANE_INLINE pq_v16 v16_from_signed(const uint8_t *p)
{
#if PQ_LANE_WIDTH == 16
    return (pq_v16){{_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const void *)p)))}};
#elif PQ_LANE_WIDTH == 8
    pq_v16 v;
    for (int i = 0; i < 2; i++)
        v.r[i] =
            _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const void *)(p + 8 * i))));
    return v;
#elif PQ_LANE_WIDTH == 4
    pq_v16 v;
    for (int i = 0; i < 2; i++) {
        int16x8_t h = vmovl_s8(vreinterpret_s8_u8(vld1_u8(p + 8 * i)));
        v.r[2 * i] = vcvtq_f32_s32(vmovl_s16(vget_low_s16(h)));
        v.r[2 * i + 1] = vcvtq_f32_s32(vmovl_s16(vget_high_s16(h)));
    }
    return v;
#else
    float f[PQ_LANES];
    for (int i = 0; i < PQ_LANES; i++)
        f[i] = (int8_t)p[i];
    return v16_load(f);
#endif
}

/* The floats whose upper halves lie at h, low byte first. */
LANE_INLINE pq_v16 v16_widen_bf16(const uint8_t *h)
{
#if PQ_LANE_WIDTH == 16
    __m512i u = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)h));
    return (pq_v16){{_mm512_castsi512_ps(_mm512_slli_epi32(u, 16))}};
#elif PQ_LANE_WIDTH == 8
    pq_v16 v;
    for (int i = 0; i < 2; i++) {
        __m256i u = _mm256_cvtepu16_epi32(_mm_loadu_si128((const void *)(h + 16 * i)));
        v.r[i] = _mm256_castsi256_ps(_mm256_slli_epi32(u, 16));
    }
    return v;
#elif PQ_LANE_WIDTH == 4
    pq_v16 v;
    for (int i = 0; i < 4; i++)
        v.r[i] = vreinterpretq_f32_u32(vshll_n_u16(vreinterpret_u16_u8(vld1_u8(h + 8 * i)), 16));
    return v;
#else
    float f[PQ_LANES];
    for (int i = 0; i < PQ_LANES; i++)
        f[i] = pq_bf16_to_f32(pq_le16(h + 2 * i));
    return v16_load(f);
#endif
}

/* Two numbers below 16 in a byte, the first in its low half: n of them, a multiple of 16. */
LANE_INLINE void bytes_nibbles(const uint8_t *q, int n, uint8_t *out)
{
    for (int j = 0; j < n; j += 16, out += 8) {
#if PQ_LANE_WIDTH >= 8
        __m128i v = _mm_loadu_si128((const void *)(q + j));
        v = _mm_maddubs_epi16(v, _mm_set1_epi16(0x1001));
        _mm_storel_epi64((void *)out, _mm_packus_epi16(v, v));
#elif PQ_LANE_WIDTH == 4
        uint8x8x2_t v = vld2_u8(q + j);
        vst1_u8(out, vsli_n_u8(v.val[0], v.val[1], 4));
#else
        for (int i = 0; i < 8; i++)
            out[i] = (uint8_t)(q[j + 2 * i] | q[j + 2 * i + 1] << 4);
#endif
    }
}

/* table[i] for lanes that hold integers 0..15. */
LANE_INLINE pq_v16 v16_lookup(pq_v16 table, pq_v16 i)
{
#if PQ_LANE_WIDTH == 16
    return (pq_v16){{_mm512_permutexvar_ps(_mm512_cvttps_epi32(i.r[0]), table.r[0])}};
#elif PQ_LANE_WIDTH == 8
    pq_v16 v;
    for (int k = 0; k < 2; k++) {
        __m256i n = _mm256_cvttps_epi32(i.r[k]);
        __m256 low = _mm256_permutevar8x32_ps(table.r[0], n);
        __m256 high = _mm256_permutevar8x32_ps(table.r[1], n);
        v.r[k] = _mm256_blendv_ps(low, high, _mm256_castsi256_ps(_mm256_slli_epi32(n, 28)));
    }
    return v;
#else
    float t[PQ_LANES], f[PQ_LANES];
    v16_store(t, table);
    v16_store(f, i);
    for (int k = 0; k < PQ_LANES; k++)
        f[k] = t[(int)f[k] & 15];
    return v16_load(f);
#endif
}

#endif
