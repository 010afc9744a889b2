/*
 * Template: integer products on AArch64. Products of four neighbours are added into a lane: one
 * instruction where there is the dot product, a few on the baseline; with 8-bit matrix products two
 * rows and two tokens at a time. SPDX-License-Identifier: MIT
 */
#ifndef PQ_KERN_RUN_ARM_H
#define PQ_KERN_RUN_ARM_H

#include "kern/run_lanes.h"

#if PQ_LANE_WIDTH == 4

/* Codes as factors: those of 8 bits are taken less 128, which arm_start makes up for. */
LANE_INLINE int8x16_t arm_codes(const uint8_t *q, int bits)
{
    const uint8x16_t v = vld1q_u8(q);
    return vreinterpretq_s8_u8(bits == 8 ? veorq_u8(v, vdupq_n_u8(0x80)) : v);
}

LANE_INLINE int32x4_t arm_dot(int32x4_t sum, int8x16_t w, int8x16_t a)
{
#if defined __ARM_FEATURE_DOTPROD
    return vdotq_s32(sum, w, a);
#else
    const int16x8_t low = vmull_s8(vget_low_s8(w), vget_low_s8(a)), high = vmull_high_s8(w, a);
    return vaddq_s32(sum, vpaddq_s32(vpaddlq_s16(low), vpaddlq_s16(high)));
#endif
}

/* The four bytes of a token for all lanes. */
LANE_INLINE int8x16_t arm_four(const int8_t *a)
{
    int32_t v;
    memcpy(&v, a, sizeof v);
    return vreinterpretq_s8_s32(vdupq_n_s32(v));
}

/* ---- strips ---- */

LANE_INLINE void arm_group_sums(const uint8_t *q, const int8_t *a, int group, int bits,
                                const int32_t *start, const int32_t *sum, float *out)
{
    for (int g = 0; g < PQ_LANES; g += 4) {
        int32x4_t v[4];
        for (int i = 0; i < 4; i++) {
            const int at = (g + i) * group;
            v[i] = arm_dot(vdupq_n_s32(0), arm_codes(q + at, bits), vld1q_s8(a + at));
            if (group == 32)
                v[i] = arm_dot(v[i], arm_codes(q + at + 16, bits), vld1q_s8(a + at + 16));
        }
        int32x4_t all = vpaddq_s32(vpaddq_s32(v[0], v[1]), vpaddq_s32(v[2], v[3]));
        all = vaddq_s32(all, vld1q_s32(start + g));
        if (bits == 8)
            all = vaddq_s32(all, vshlq_n_s32(vld1q_s32(sum + g), 7));
        vst1q_f32(out + g, vcvtq_f32_s32(all));
    }
}

/* ---- tiles: eight rows and one or four tokens at a time ---- */

enum { ARM_ROWS = 8, ARM_TOKENS = 4 };

/* A group's products: acc[token][half of the rows]. q: the tile from the first row on, a: the panel
 * from the first token on. */
LANE_INLINE void arm_tile_dots(const uint8_t *q, const int8_t *a, int32x4_t acc[ARM_TOKENS][2],
                               int n, int width, int group, int bits)
{
    for (int k = 0; k < group / 4; k++) {
        const int8x16_t low = arm_codes(q + 64 * k, bits), high = arm_codes(q + 64 * k + 16, bits);
        for (int i = 0; i < n; i++) {
            const int8x16_t x = arm_four(a + 4 * (k * width + i));
            acc[i][0] = arm_dot(acc[i][0], low, x);
            acc[i][1] = arm_dot(acc[i][1], high, x);
        }
    }
}

#if defined __ARM_FEATURE_MATMUL_INT8

/* Eight codes of rows 2 i and 2 i + 1 of four, from two times four columns. */
LANE_INLINE uint8x16_t arm_pair(uint32x4_t a, uint32x4_t b, int i)
{
    return vreinterpretq_u8_u32(i ? vzip2q_u32(a, b) : vzip1q_u32(a, b));
}

/* The same for four tokens. A product holds two rows' sums for one token, then for the next. */
LANE_INLINE void arm_tile_products(const uint8_t *q, const int8_t *a, int32x4_t acc[ARM_TOKENS][2],
                                   int width, int group)
{
    int32x4_t sum[2][2][2]; /* [half of the rows][pair of rows][pair of tokens] */
    for (int i = 0; i < 8; i++)
        sum[i / 4][i / 2 % 2][i % 2] = vdupq_n_s32(0);
    for (int k = 0; k < group / 4; k += 2) {
        int8x16_t x[2];
        const uint32x4_t x0 = vreinterpretq_u32_s8(vld1q_s8(a + 4 * k * width));
        const uint32x4_t x1 = vreinterpretq_u32_s8(vld1q_s8(a + 4 * (k + 1) * width));
        for (int t = 0; t < 2; t++)
            x[t] = vreinterpretq_s8_u8(arm_pair(x0, x1, t));
        for (int h = 0; h < 2; h++) {
            const uint32x4_t w0 = vreinterpretq_u32_u8(vld1q_u8(q + 64 * k + 16 * h));
            const uint32x4_t w1 = vreinterpretq_u32_u8(vld1q_u8(q + 64 * (k + 1) + 16 * h));
            for (int r = 0; r < 2; r++)
                for (int t = 0; t < 2; t++)
                    sum[h][r][t] = vusmmlaq_s32(sum[h][r][t], arm_pair(w0, w1, r), x[t]);
        }
    }
    for (int t = 0; t < ARM_TOKENS; t++)
        for (int h = 0; h < 2; h++) {
            const int32x4_t a0 = sum[h][0][t / 2], a1 = sum[h][1][t / 2];
            acc[t][h] = vaddq_s32(acc[t][h], t % 2 ? vuzp2q_s32(a0, a1) : vuzp1q_s32(a0, a1));
        }
}

#endif

/* Rows r0 to r0 + 7, tokens t0 to t0 + n - 1. */
LANE_INLINE void arm_tile_part(const struct pq_strip *s, const struct pq_tile *t,
                               const struct pq_panel *p, float *out, uint64_t r0, uint64_t t0,
                               int n, int width, int group, int bits)
{
    const uint64_t groups = s->cols / (uint64_t)group, w = (uint64_t)width;
    float32x4_t f[ARM_TOKENS][2];
    for (int i = 0; i < n; i++)
        f[i][0] = f[i][1] = vdupq_n_f32(0.0f);
    for (uint64_t g = 0; g < groups; g++) {
        const uint8_t *q = t->q + g * (uint64_t)group * 16 + 4 * r0;
        const int8_t *a = p->q + g * (uint64_t)group * w + 4 * t0;
        const float *unit = p->scale + g * (uint64_t)group / PQ_ACT_BLOCK * w + t0;
        int32x4_t acc[ARM_TOKENS][2];
#if defined __ARM_FEATURE_MATMUL_INT8
        const bool whole = n == ARM_TOKENS;
#else
        const bool whole = false;
#endif
        for (int i = 0; i < n; i++) {
            const uint64_t at = g * w + t0 + (uint64_t)i;
            acc[i][0] = acc[i][1] =
                vdupq_n_s32(p->start[at] + (bits == 8 && !whole ? 128 * p->sum[at] : 0));
        }
#if defined __ARM_FEATURE_MATMUL_INT8
        if (whole)
            arm_tile_products(q, a, acc, width, group);
#endif
        if (!whole)
            arm_tile_dots(q, a, acc, n, width, group, bits);
        for (int h = 0; h < 2; h++) {
            const uint64_t row = 16 * g + r0 + 4 * (uint64_t)h;
            const float32x4_t scale = vld1q_f32(t->scale + row);
            for (int i = 0; i < n; i++)
                f[i][h] = vfmaq_f32(f[i][h], vcvtq_f32_s32(acc[i][h]),
                                    vmulq_f32(scale, vdupq_n_f32(unit[i])));
            for (int i = 0; s->has_offsets && i < n; i++)
                f[i][h] = vfmaq_f32(f[i][h], vld1q_f32(t->offset + row),
                                    vdupq_n_f32(p->shift[g * w + t0 + (uint64_t)i]));
        }
    }
    for (int i = 0; i < n; i++)
        for (int h = 0; h < 2; h++)
            vst1q_f32(out + 16 * (t0 + (uint64_t)i) + r0 + 4 * (uint64_t)h, f[i][h]);
}

LANE_INLINE void arm_tile(const struct pq_strip *s, const struct pq_tile *t,
                          const struct pq_panel *p, float *out, int width, int group)
{
    const int n = width < ARM_TOKENS ? width : ARM_TOKENS;
    for (uint64_t r = 0; r < PQ_STRIP_ROWS; r += ARM_ROWS)
        for (uint64_t i = 0; i < (uint64_t)width; i += ARM_TOKENS) {
            if (s->bits == 8)
                arm_tile_part(s, t, p, out, r, i, n, width, group, 8);
            else
                arm_tile_part(s, t, p, out, r, i, n, width, group, 7);
        }
}

#endif
#endif
