/* Scales and offsets as they are stored. SPDX-License-Identifier: MIT */
#ifndef PQ_QUANT_STORED_H
#define PQ_QUANT_STORED_H

#include "base/dtype.h"
#include "base/num.h"

static inline float stored_value(const uint8_t *p, uint64_t i, enum pq_dtype aux)
{
    if (aux == PQ_F32)
        return pq_bits_f32(pq_le32(p + 4 * i));
    uint16_t h = pq_le16(p + 2 * i);
    return aux == PQ_F16 ? pq_f16_to_f32(h) : pq_bf16_to_f32(h);
}

#endif
