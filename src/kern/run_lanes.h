/* Template: sixteen stored floats of any dense type as lanes. SPDX-License-Identifier: MIT */
#ifndef PQ_KERN_RUN_LANES_H
#define PQ_KERN_RUN_LANES_H

#include "kern/compute.h"
#include "kern/lanes_move.h"

LANE_INLINE uint64_t dense_size(enum pq_dense type)
{
    return type == PQ_DENSE_F32 ? 4 : 2;
}

/* Elements i to i + 15 of a row. */
LANE_INLINE pq_v16 dense_load(const uint8_t *row, uint64_t i, enum pq_dense type)
{
    const uint8_t *p = row + i * dense_size(type);
    pq_v16 v;
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
    memcpy(&v, p, sizeof v);
    return v;
}

/* The last n < 16 elements of a row, zeros after them. */
LANE_INLINE pq_v16 dense_tail(const uint8_t *row, uint64_t i, uint64_t n, enum pq_dense type)
{
    uint8_t buf[4 * PQ_LANES] = {0};
    memcpy(buf, row + i * dense_size(type), n * dense_size(type));
    return dense_load(buf, 0, type);
}

#endif
