/* Template: conversions between float types. SPDX-License-Identifier: MIT */
#ifndef PQ_KERN_ENC_FLOAT_H
#define PQ_KERN_ENC_FLOAT_H

#include "base/num.h"
#include "kern/kern.h"
#include "kern/lanes_move.h"

static void enc_f32(const struct pq_encode_in *in, void *const part[])
{
    uint8_t *out = part[0];
    for (uint64_t i = 0; i < in->cols; i++)
        pq_put_le32(out + 4 * i, pq_f32_bits(in->x[i]));
}

static void enc_f16(const struct pq_encode_in *in, void *const part[])
{
    uint8_t *out = part[0];
    for (uint64_t i = 0; i < in->cols; i++)
        pq_put_le16(out + 2 * i, pq_f32_to_f16(in->x[i]));
}

static void enc_bf16(const struct pq_encode_in *in, void *const part[])
{
    uint8_t *out = part[0];
    for (uint64_t i = 0; i < in->cols; i++)
        pq_put_le16(out + 2 * i, pq_f32_to_bf16(in->x[i]));
}

/* The source is usually a mapped file: any address is fine. */
static void widen_bf16(const uint16_t *h, uint64_t n, float *x)
{
    const uint8_t *p = (const uint8_t *)h;
    uint64_t i = 0;
    for (; n - i >= PQ_LANES; i += PQ_LANES)
        v16_store(x + i, v16_widen_bf16(p + 2 * i));
    for (; i < n; i++)
        x[i] = pq_bf16_to_f32(pq_le16(p + 2 * i));
}

static void widen_f16(const uint16_t *h, uint64_t n, float *x)
{
    const uint8_t *p = (const uint8_t *)h;
    for (uint64_t i = 0; i < n; i++)
        x[i] = pq_f16_to_f32(pq_le16(p + 2 * i));
}

/* No infinity, no NaN: only those times zero are not zero. */
static bool all_finite(const float *x, uint64_t n)
{
    pq_v16 zero = v16_set(0.0f), a = zero, b = zero;
    uint64_t i = 0;
    for (; n - i >= 2 * PQ_LANES; i += 2 * PQ_LANES) {
        a = v16_fma(v16_load(x + i), zero, a);
        b = v16_fma(v16_load(x + i + PQ_LANES), zero, b);
    }
    float sum = v16_sum(v16_add(a, b));
    for (; i < n; i++)
        sum += x[i] * 0.0f;
    return sum == 0.0f;
}

#define PQ_ROWS_FLOAT [PQ_ENC_F32] = enc_f32, [PQ_ENC_F16] = enc_f16, [PQ_ENC_BF16] = enc_bf16

#endif
