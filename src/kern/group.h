/*
 * Template: what encoders with separate scales share: finite copies of a group, scales
 * in the stored type, and the packing of codes. Lanes are elements. SPDX-License-Identifier: MIT
 */
#ifndef PQ_KERN_GROUP_H
#define PQ_KERN_GROUP_H

#include "base/num.h"
#include "kern/kern.h"
#include "kern/lanes_move.h"

#include <math.h>

enum { GROUP_MAX = 256 };

/* Sources may hold infinities and NaN; codes are chosen for finite numbers whose differences are
 * finite too. NaN counts as zero. */
#define GROUP_FINITE 0x1p120f
#define GROUP_PAST 0x1p8f /* that times it is infinite */

LANE_INLINE pq_v16 v16_finite(pq_v16 x)
{
    pq_v16 zero = v16_set(0.0f);
    pq_v16 below = v16_max(v16_min(x, zero), v16_set(-GROUP_FINITE));
    return v16_add(below, v16_min(v16_max(x, zero), v16_set(GROUP_FINITE)));
}

LANE_INLINE void group_load(float *dst, const float *src, int n)
{
    for (int j = 0; j < n; j += PQ_LANES)
        v16_store(dst + j, v16_finite(v16_load(src + j)));
}

/* Would v16_finite leave all n as they are? Only infinity and NaN times zero are not zero, and
 * what is too large to stay becomes infinity. */
static inline bool group_clean(const float *x, uint64_t n)
{
    pq_v16 zero = v16_set(0.0f), up = v16_set(GROUP_PAST), a = zero, b = zero;
    uint64_t j = 0;
    for (; n - j >= 2 * PQ_LANES; j += 2 * PQ_LANES) {
        a = v16_fma(v16_mul(v16_load(x + j), up), zero, a);
        b = v16_fma(v16_mul(v16_load(x + j + PQ_LANES), up), zero, b);
    }
    if (j < n)
        a = v16_fma(v16_mul(v16_load(x + j), up), zero, a);
    return v16_sum(v16_add(a, b)) == 0.0f;
}

/* The i-th group as a row of its own, its weights finite and in x. */
static inline struct pq_encode_in group_of(const struct pq_encode_in *in, uint64_t i, float *x)
{
    struct pq_encode_in one = *in;
    uint64_t at = i * in->group;
    group_load(x, in->x + at, (int)in->group);
    one.x = x;
    one.importance = in->importance ? in->importance + at : NULL;
    one.cols = in->group;
    return one;
}

/* The nearest number that the type of the scales can hold; halves saturate. */
static inline float aux_round(float v, enum pq_dtype aux)
{
    if (aux == PQ_BF16)
        return pq_bf16_to_f32(pq_f32_to_bf16(v));
    if (aux == PQ_F16) {
        v = v > 65504.0f ? 65504.0f : v < -65504.0f ? -65504.0f : v;
        return pq_f16_to_f32(pq_f32_to_f16(v));
    }
    return v;
}

/* aux_round of finite lanes. */
LANE_INLINE pq_v16 v16_stored(pq_v16 v, enum pq_dtype aux)
{
    float f[PQ_LANES];
    uint32_t u[PQ_LANES];
    if (aux != PQ_BF16)
        return aux == PQ_F16 ? v16_half(v) : v;
    v16_store(f, v);
    memcpy(u, f, sizeof u);
    for (int i = 0; i < PQ_LANES; i++)
        u[i] = (u[i] + 0x7fffu + (u[i] >> 16 & 1)) & 0xffff0000u;
    memcpy(f, u, sizeof f);
    return v16_load(f);
}

/* Stores v, which aux_round has produced. */
static inline void aux_put(uint8_t *p, uint64_t i, float v, enum pq_dtype aux)
{
    if (aux == PQ_F32)
        pq_put_le32(p + 4 * i, pq_f32_bits(v));
    else
        pq_put_le16(p + 2 * i, aux == PQ_F16 ? pq_f32_to_f16(v) : pq_f32_to_bf16(v));
}

/* Eight codes meet in pairs, then fours, then all: the result is `bits` whole bytes. */
static inline void pack_stream(const uint8_t *q, int n, int bits, uint8_t *out)
{
    const uint64_t m8 = 0x00ff00ff00ff00ffu, m16 = 0x0000ffff0000ffffu;
    for (int j = 0; j < n; j += 8) {
        uint64_t v = pq_le64(q + j);
        v = (v & m8) | (v >> 8 & m8) << bits;
        v = (v & m16) | (v >> 16 & m16) << 2 * bits;
        v = (v & 0xffffffffu) | v >> 32 << 4 * bits;
        for (int i = 0; i < bits; i++)
            *out++ = (uint8_t)(v >> 8 * i);
    }
}

/* Packs n codes (a multiple of 16) as one stream of bits-wide numbers, lowest bits first. */
LANE_INLINE void pack_codes(const uint8_t *q, int n, int bits, uint8_t *out)
{
    if (bits == 4)
        bytes_nibbles(q, n, out);
    else if (bits == 8)
        memcpy(out, q, (size_t)n);
    else
        pack_stream(q, n, bits, out);
}

#endif
