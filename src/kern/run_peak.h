/*
 * Template: multiplications of 8-bit integers and nothing else, from registers to registers: how
 * many a core can do, as a yardstick for the products. SPDX-License-Identifier: MIT
 */
#ifndef PQ_KERN_RUN_PEAK_H
#define PQ_KERN_RUN_PEAK_H

#include "kern/run_lanes.h"

enum { PEAK_CHAINS = 12 }; /* more than an instruction's latency, fewer than there are registers */

#if defined __AVX512VNNI__ && !defined PQ_LANES_PLAIN

static uint64_t peak_macs(uint64_t rounds, uint32_t *sink)
{
    __m512i acc[PEAK_CHAINS], all = _mm512_setzero_si512();
    const __m512i w = _mm512_set1_epi32((int)*sink);
    for (int i = 0; i < PEAK_CHAINS; i++)
        acc[i] = _mm512_set1_epi32(i);
    for (uint64_t r = 0; r < rounds; r++)
        for (int i = 0; i < PEAK_CHAINS; i++)
            acc[i] = _mm512_dpbusd_epi32(acc[i], w, w);
    for (int i = 0; i < PEAK_CHAINS; i++)
        all = _mm512_xor_si512(all, acc[i]);
    *sink += (uint32_t)_mm512_reduce_add_epi32(all);
    return rounds * PEAK_CHAINS * 64;
}

#elif PQ_LANE_WIDTH == 8

/* Products of bytes are added up in 16 bits, as those with 4-bit weights are. The operand changes,
 * or the product would be computed once. */
static uint64_t peak_macs(uint64_t rounds, uint32_t *sink)
{
    __m256i acc[PEAK_CHAINS], all = _mm256_setzero_si256();
    __m256i w = _mm256_set1_epi32((int)*sink);
    for (int i = 0; i < PEAK_CHAINS; i++)
        acc[i] = _mm256_set1_epi32(i);
    for (uint64_t r = 0; r < rounds; r++)
        for (int i = 0; i < PEAK_CHAINS; i++)
            acc[i] = _mm256_add_epi16(w, _mm256_maddubs_epi16(acc[i], w));
    for (int i = 0; i < PEAK_CHAINS; i++)
        all = _mm256_xor_si256(all, acc[i]);
    *sink += (uint32_t)_mm256_extract_epi32(all, 0);
    return rounds * PEAK_CHAINS * 32;
}

#else

/* Whatever the compiler makes of it. */
static uint64_t peak_macs(uint64_t rounds, uint32_t *sink)
{
    enum { N = 16 * PEAK_CHAINS };
    int32_t acc[N];
    int16_t x[N];
    for (int i = 0; i < N; i++) {
        acc[i] = i;
        x[i] = (int16_t)(((int)(*sink & 127) + i) % 251 - 125);
    }
    for (uint64_t r = 0; r < rounds; r++) {
        const int16_t w = (int16_t)(r % 251);
        for (int i = 0; i < N; i++)
            acc[i] ^= x[i] * w;
    }
    for (int i = 0; i < N; i++)
        *sink += (uint32_t)acc[i];
    return rounds * N;
}

#endif

#define PQ_ROWS_PEAK .peak_macs = peak_macs

#endif
