/*
 * Template: sums of code times activation over sixteen groups that follow one another, as floats
 * (they are whole numbers below 2^24). SPDX-License-Identifier: MIT
 */
#ifndef PQ_KERN_RUN_GROUP_H
#define PQ_KERN_RUN_GROUP_H

#include "kern/run_arm.h"
#include "kern/run_lanes.h"

#if defined __AVX512VNNI__ && !defined PQ_LANES_PLAIN

LANE_INLINE __m512i group_pair(__m512i a, __m512i b)
{
    return _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
}

/* In every quarter the sums of the quarters of a, b, c and d. */
LANE_INLINE __m512i group_four(const __m512i v[4])
{
    __m512i ab = group_pair(v[0], v[1]), cd = group_pair(v[2], v[3]);
    return _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
}

/* From sums of fours, 16 groups in v[0] to v[group / 4 - 1], to a float per group. */
LANE_INLINE __m512 group_finish(const __m512i *v, int group, const int32_t *start)
{
    const __m512i halves = _mm512_set_epi32(15, 11, 14, 10, 13, 9, 12, 8, 7, 3, 6, 2, 5, 1, 4, 0);
    const __m512i quarters = _mm512_set_epi32(15, 11, 7, 3, 14, 10, 6, 2, 13, 9, 5, 1, 12, 8, 4, 0);
    __m512i all = group_four(v);
    if (group == 32) { /* a quarter is half a group: even ones of low, odd ones, those of high */
        __m512i high = group_four(v + 4);
        all = _mm512_add_epi32(_mm512_shuffle_i32x4(all, high, 0x88),
                               _mm512_shuffle_i32x4(all, high, 0xdd));
        all = _mm512_permutexvar_epi32(halves, all);
    } else {
        all = _mm512_permutexvar_epi32(quarters, all);
    }
    return _mm512_cvtepi32_ps(_mm512_add_epi32(all, _mm512_loadu_si512(start)));
}

LANE_INLINE void group_sums(const uint8_t *q, const int8_t *a, int group, int bits,
                            const int32_t *start, const int32_t *sum, float *out)
{
    __m512i v[8];
    (void)bits;
    (void)sum;
    for (int i = 0; i < group / 4; i++)
        v[i] = _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_loadu_si512(q + 64 * i),
                                   _mm512_loadu_si512(a + 64 * i));
    _mm512_storeu_ps(out, group_finish(v, group, start));
}

#elif PQ_LANE_WIDTH == 8

/* Products of 32 codes and activations, four to a lane. Codes of 8 bits are taken as signed, and
 * their sign is given to the activations: pairs of products stay below 2^15. */
LANE_INLINE __m256i group_dot(__m256i q, __m256i a, int bits)
{
    const __m256i one = _mm256_set1_epi16(1);
    if (bits < 8)
        return _mm256_madd_epi16(_mm256_maddubs_epi16(q, a), one);
    __m256i s = _mm256_xor_si256(q, _mm256_set1_epi8((char)0x80));
    return _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_abs_epi8(s), _mm256_sign_epi8(a, s)), one);
}

LANE_INLINE void group_sums(const uint8_t *q, const int8_t *a, int group, int bits,
                            const int32_t *start, const int32_t *sum, float *out)
{
    const int n = group / 2; /* blocks of 32 that sixteen groups are */
    for (int i = 0; i < n; i += 4) {
        __m256i v[4];
        for (int k = 0; k < 4; k++)
            v[k] = group_dot(_mm256_loadu_si256((const void *)(q + 32 * (i + k))),
                             _mm256_loadu_si256((const void *)(a + 32 * (i + k))), bits);
        __m256i h = _mm256_hadd_epi32(_mm256_hadd_epi32(v[0], v[1]), _mm256_hadd_epi32(v[2], v[3]));
        __m128i low = _mm256_castsi256_si128(h), high = _mm256_extracti128_si256(h, 1);
        if (group == 32) {
            _mm_storeu_si128((void *)(out + i), _mm_add_epi32(low, high));
        } else {
            _mm_storeu_si128((void *)(out + 2 * i), _mm_unpacklo_epi32(low, high));
            _mm_storeu_si128((void *)(out + 2 * i + 4), _mm_unpackhi_epi32(low, high));
        }
    }
    for (int i = 0; i < PQ_LANES; i += 8) {
        __m256i v = _mm256_loadu_si256((const void *)(out + i));
        v = _mm256_add_epi32(v, _mm256_loadu_si256((const void *)(start + i)));
        if (bits == 8)
            v = _mm256_add_epi32(v,
                                 _mm256_slli_epi32(_mm256_loadu_si256((const void *)(sum + i)), 7));
        _mm256_storeu_ps(out + i, _mm256_cvtepi32_ps(v));
    }
}

#elif PQ_LANE_WIDTH == 4

#define group_sums arm_group_sums

#else

LANE_INLINE void group_sums(const uint8_t *q, const int8_t *a, int group, int bits,
                            const int32_t *start, const int32_t *sum, float *out)
{
    (void)bits;
    (void)sum;
    for (int g = 0; g < PQ_LANES; g++) {
        int32_t dot = start[g];
        for (int k = 0; k < group; k++)
            dot += q[g * group + k] * a[g * group + k];
        out[g] = (float)dot;
    }
}

#endif
#endif
