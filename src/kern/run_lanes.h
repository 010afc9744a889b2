/* Template: sixteen stored floats of any dense type as lanes. SPDX-License-Identifier: MIT */
#ifndef PQ_KERN_RUN_LANES_H
#define PQ_KERN_RUN_LANES_H

#include "kern/compute.h"
#include "kern/lanes_move.h"

LANE_INLINE float dense_half(const uint8_t *p)
{
#if PQ_LANE_WIDTH >= 8
    return _cvtsh_ss(pq_le16(p));
#else
    return pq_f16_to_f32(pq_le16(p));
#endif
}

LANE_INLINE uint64_t dense_size(enum pq_dense type)
{
    return type == PQ_DENSE_F32 ? 4 : 2;
}

/* A half times a byte: exact. */
LANE_INLINE pq_v16 dense_load_q8(const uint8_t *row, uint64_t i)
{
    const uint8_t *b = row + i / PQ_Q8_BLOCK * PQ_Q8_BYTES;
    return v16_mul(v16_from_signed(b + 2 + i % PQ_Q8_BLOCK), v16_set(dense_half(b)));
}

/* Elements i to i + 15 of a row. */
LANE_INLINE pq_v16 dense_load(const uint8_t *row, uint64_t i, enum pq_dense type)
{
    if (type == PQ_DENSE_Q8)
        return dense_load_q8(row, i);
    const uint8_t *p = row + i * dense_size(type);
    if (type == PQ_DENSE_BF16)
        return v16_widen_bf16(p);
    if (type == PQ_DENSE_F16) {
#if PQ_LANE_WIDTH >= 8
        return v16_from_f16((const void *)p);
#else
        uint16_t h[PQ_LANES];
        memcpy(h, p, sizeof h);
        return v16_from_f16(h);
#endif
    }
#if PQ_LANE_WIDTH >= 8
    return v16_load((const void *)p);
#else
    float f[PQ_LANES];
    memcpy(f, p, sizeof f);
    return v16_load(f);
#endif
}

/* The last n < 16 elements of a row, zeros after them; not of blocks. */
LANE_INLINE pq_v16 dense_tail(const uint8_t *row, uint64_t i, uint64_t n, enum pq_dense type)
{
    uint8_t buf[4 * PQ_LANES] = {0};
    memcpy(buf, row + i * dense_size(type), n * dense_size(type));
    return dense_load(buf, 0, type);
}

#endif
