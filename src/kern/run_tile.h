/*
 * Template: a tile of sixteen rows times a panel of tokens. Activations are broadcast four at a
 * time from memory, so nothing is shuffled and a lane is a row. SPDX-License-Identifier: MIT
 */
#ifndef PQ_KERN_RUN_TILE_H
#define PQ_KERN_RUN_TILE_H

#include "kern/run_arm.h"
#include "kern/run_lanes.h"

#if PQ_LANE_WIDTH >= 8
LANE_INLINE int32_t tile_four(const int8_t *a)
{
    int32_t v;
    memcpy(&v, a, sizeof v);
    return v;
}
#endif

#if defined __AVX512VNNI__ && !defined PQ_LANES_PLAIN

/* Products of a group: acc[i] += codes times the i-th token's activations. */
LANE_INLINE void tile_group(const uint8_t *q, const int8_t *a, __m512i *acc, int width, int group)
{
    for (int k = 0; k < group / 4; k++) {
        __m512i w = _mm512_loadu_si512(q + 64 * k);
        for (int i = 0; i < width; i++)
            acc[i] = _mm512_dpbusd_epi32(acc[i], w,
                                         _mm512_set1_epi32(tile_four(a + 4 * (k * width + i))));
    }
}

LANE_INLINE void tile_product(const struct pq_strip *s, const struct pq_tile *t,
                              const struct pq_panel *p, float *out, int width, int group,
                              bool offsets)
{
    __m512 f[PQ_PANEL];
    const uint64_t groups = s->cols / (uint64_t)group, w = (uint64_t)width;
    for (int i = 0; i < width; i++)
        f[i] = _mm512_setzero_ps();
    for (uint64_t g = 0; g < groups; g++) {
        __m512i acc[PQ_PANEL];
        const float *a = p->scale + g * (uint64_t)group / PQ_ACT_BLOCK * w;
        for (int i = 0; i < width; i++)
            acc[i] = _mm512_set1_epi32(p->start[g * w + (uint64_t)i]);
        tile_group(t->q + g * (uint64_t)group * 16, p->q + g * (uint64_t)group * w, acc, width,
                   group);
        __m512 scale = _mm512_loadu_ps(t->scale + 16 * g);
        for (int i = 0; i < width; i++)
            f[i] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(acc[i]),
                                   _mm512_mul_ps(scale, _mm512_set1_ps(a[i])), f[i]);
        if (offsets) {
            __m512 offset = _mm512_loadu_ps(t->offset + 16 * g);
            for (int i = 0; i < width; i++)
                f[i] = _mm512_fmadd_ps(offset, _mm512_set1_ps(p->shift[g * w + (uint64_t)i]), f[i]);
        }
    }
    for (int i = 0; i < width; i++)
        _mm512_storeu_ps(out + 16 * i, f[i]);
}

#elif PQ_LANE_WIDTH == 8

enum { TILE_TOKENS = 4 }; /* at once, of the panel's */

/* Eight rows and up to four tokens. Sums of nibbles' products fit 16 bits over a whole group. */
LANE_INLINE void tile_group(const uint8_t *q, const int8_t *a, __m256i *acc, int n, int width,
                            int group, int bits)
{
    const __m256i one = _mm256_set1_epi16(1), sign = _mm256_set1_epi8((char)0x80);
    __m256i part[TILE_TOKENS];
    for (int i = 0; i < n; i++)
        part[i] = _mm256_setzero_si256();
    for (int k = 0; k < group / 4; k++) {
        __m256i w = _mm256_loadu_si256((const void *)(q + 64 * k)), s = _mm256_xor_si256(w, sign);
        for (int i = 0; i < n; i++) {
            __m256i x = _mm256_set1_epi32(tile_four(a + 4 * (k * width + i)));
            if (bits <= 4)
                part[i] = _mm256_add_epi16(part[i], _mm256_maddubs_epi16(w, x));
            else if (bits < 8)
                acc[i] =
                    _mm256_add_epi32(acc[i], _mm256_madd_epi16(_mm256_maddubs_epi16(w, x), one));
            else
                acc[i] = _mm256_add_epi32(
                    acc[i],
                    _mm256_madd_epi16(
                        _mm256_maddubs_epi16(_mm256_abs_epi8(s), _mm256_sign_epi8(x, s)), one));
        }
    }
    for (int i = 0; bits <= 4 && i < n; i++)
        acc[i] = _mm256_add_epi32(acc[i], _mm256_madd_epi16(part[i], one));
}

/* Rows r0 to r0 + 7, tokens t0 to t0 + n - 1 of a panel of `width`. */
LANE_INLINE void tile_part(const struct pq_strip *s, const struct pq_tile *t,
                           const struct pq_panel *p, float *out, uint64_t r0, uint64_t t0, int n,
                           int width, int group, int bits)
{
    __m256 f[TILE_TOKENS];
    const uint64_t groups = s->cols / (uint64_t)group, w = (uint64_t)width;
    for (int i = 0; i < n; i++)
        f[i] = _mm256_setzero_ps();
    for (uint64_t g = 0; g < groups; g++) {
        __m256i acc[TILE_TOKENS];
        const float *a = p->scale + g * (uint64_t)group / PQ_ACT_BLOCK * w + t0;
        for (int i = 0; i < n; i++) {
            uint64_t at = g * w + t0 + (uint64_t)i;
            acc[i] = _mm256_set1_epi32(p->start[at] + (bits == 8 ? 128 * p->sum[at] : 0));
        }
        tile_group(t->q + g * (uint64_t)group * 16 + 4 * r0,
                   p->q + g * (uint64_t)group * w + 4 * t0, acc, n, width, group, bits);
        __m256 scale = _mm256_loadu_ps(t->scale + 16 * g + r0);
        for (int i = 0; i < n; i++)
            f[i] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(acc[i]),
                                   _mm256_mul_ps(scale, _mm256_set1_ps(a[i])), f[i]);
        for (int i = 0; s->has_offsets && i < n; i++)
            f[i] = _mm256_fmadd_ps(_mm256_loadu_ps(t->offset + 16 * g + r0),
                                   _mm256_set1_ps(p->shift[g * w + t0 + (uint64_t)i]), f[i]);
    }
    for (int i = 0; i < n; i++)
        _mm256_storeu_ps(out + 16 * (t0 + (uint64_t)i) + r0, f[i]);
}

LANE_INLINE void tile_product(const struct pq_strip *s, const struct pq_tile *t,
                              const struct pq_panel *p, float *out, int width, int group,
                              bool offsets)
{
    const int n = width < TILE_TOKENS ? width : TILE_TOKENS;
    (void)offsets;
    for (uint64_t r = 0; r < 16; r += 8)
        for (uint64_t i = 0; i < (uint64_t)width; i += TILE_TOKENS) {
            if (s->bits <= 4)
                tile_part(s, t, p, out, r, i, n, width, group, 4);
            else if (s->bits < 8)
                tile_part(s, t, p, out, r, i, n, width, group, 7);
            else
                tile_part(s, t, p, out, r, i, n, width, group, 8);
        }
}

#elif PQ_LANE_WIDTH == 4

LANE_INLINE void tile_product(const struct pq_strip *s, const struct pq_tile *t,
                              const struct pq_panel *p, float *out, int width, int group,
                              bool offsets)
{
    (void)offsets;
    arm_tile(s, t, p, out, width, group);
}

#else

LANE_INLINE void tile_product(const struct pq_strip *s, const struct pq_tile *t,
                              const struct pq_panel *p, float *out, int width, int group,
                              bool offsets)
{
    const uint64_t groups = s->cols / (uint64_t)group, w = (uint64_t)width;
    for (uint64_t i = 0; i < w; i++) {
        pq_v16 f = v16_set(0.0f);
        for (uint64_t g = 0; g < groups; g++) {
            float dot[PQ_LANES];
            for (uint64_t r = 0; r < PQ_LANES; r++) {
                int32_t sum = p->start[g * w + i];
                for (uint64_t k = g * (uint64_t)group; k < (g + 1) * (uint64_t)group; k++)
                    sum += t->q[(k / 4 * 16 + r) * 4 + k % 4] * p->q[(k / 4 * w + i) * 4 + k % 4];
                dot[r] = (float)sum;
            }
            float a = p->scale[g * (uint64_t)group / PQ_ACT_BLOCK * w + i];
            f = v16_fma(v16_load(dot), v16_mul(v16_load(t->scale + 16 * g), v16_set(a)), f);
            if (offsets)
                f = v16_fma(v16_load(t->offset + 16 * g), v16_set(p->shift[g * w + i]), f);
        }
        v16_store(out + 16 * i, f);
    }
}

#endif
#endif
