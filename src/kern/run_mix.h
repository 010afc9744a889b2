/* Template: weighted sums of stored rows, as attention adds up values, and how rows are kept.
 * SPDX-License-Identifier: MIT */
#ifndef PQ_KERN_RUN_MIX_H
#define PQ_KERN_RUN_MIX_H

#include "kern/run_lanes.h"

/* What the registers hold: accumulators for some tokens and dimensions. With one token, so many
 * dimensions that a row is read from end to end. */
#if PQ_LANE_WIDTH == 16
enum { MIX_TOKENS = 4, MIX_DIMS = 4, MIX_DIMS_ONE = 8 };
#elif PQ_LANE_WIDTH == 8
enum { MIX_TOKENS = 4, MIX_DIMS = 1, MIX_DIMS_ONE = 4 };
#else
enum { MIX_TOKENS = 4, MIX_DIMS = 1, MIX_DIMS_ONE = 4 };
#endif

LANE_INLINE void mix_tile(const struct pq_mix *m, uint64_t t0, uint64_t dim, int tokens, int dims,
                          enum pq_dense type)
{
    pq_v16 acc[MIX_TOKENS][MIX_DIMS_ONE], row[MIX_DIMS_ONE];
    const uint8_t *v = (const uint8_t *)m->v;
    const float *p = m->p + t0 * m->p_step;
    float *out = m->out + t0 * m->out_step + dim;
    for (int t = 0; t < tokens; t++)
        for (int k = 0; k < dims; k++)
            acc[t][k] = v16_load(out + (uint64_t)t * m->out_step + k * PQ_LANES);
    for (uint64_t i = 0; i < m->rows; i++) {
        for (int k = 0; k < dims; k++)
            row[k] = dense_load(v + i * m->v_step, dim + (uint64_t)(k * PQ_LANES), type);
        for (int t = 0; t < tokens; t++) {
            const pq_v16 weight = v16_set(p[(uint64_t)t * m->p_step + i]);
            for (int k = 0; k < dims; k++)
                acc[t][k] = v16_fma(row[k], weight, acc[t][k]);
        }
    }
    for (int t = 0; t < tokens; t++)
        for (int k = 0; k < dims; k++)
            v16_store(out + (uint64_t)t * m->out_step + k * PQ_LANES, acc[t][k]);
}

/* All dimensions of some tokens: as many at once as there are registers for, then half as many. */
LANE_INLINE void mix_tokens(const struct pq_mix *m, uint64_t t0, int tokens, int most,
                            enum pq_dense type)
{
    uint64_t dim = 0;
    for (int dims = most; dims > 0; dims /= 2)
        for (; dim + (uint64_t)(dims * PQ_LANES) <= m->dims; dim += (uint64_t)(dims * PQ_LANES))
            mix_tile(m, t0, dim, tokens, dims, type);
}

LANE_INLINE void mix_of(const struct pq_mix *m, enum pq_dense type)
{
    uint64_t t = 0;
    for (; t + MIX_TOKENS <= m->n; t += MIX_TOKENS)
        mix_tokens(m, t, MIX_TOKENS, MIX_DIMS, type);
    for (; t < m->n; t++)
        mix_tokens(m, t, 1, MIX_DIMS_ONE, type);
}

static void mix_f32(const struct pq_mix *m)
{
    mix_of(m, PQ_DENSE_F32);
}

static void mix_f16(const struct pq_mix *m)
{
    mix_of(m, PQ_DENSE_F16);
}

static void mix_bf16(const struct pq_mix *m)
{
    mix_of(m, PQ_DENSE_BF16);
}

static void mix_q8(const struct pq_mix *m)
{
    mix_of(m, PQ_DENSE_Q8);
}

#define PQ_ROWS_MIX                                                                 \
    [PQ_DENSE_F32] = mix_f32, [PQ_DENSE_F16] = mix_f16, [PQ_DENSE_BF16] = mix_bf16, \
    [PQ_DENSE_Q8] = mix_q8

/* ---- what is kept for later ---- */

static void keep_f32(const float *x, uint64_t n, uint8_t *to)
{
    memcpy(to, x, n * sizeof *x);
}

static void keep_f16(const float *x, uint64_t n, uint8_t *to)
{
    for (uint64_t i = 0; i < n; i += PQ_LANES) {
        uint16_t h[PQ_LANES];
        v16_to_f16(v16_load(x + i), h);
        memcpy(to + 2 * i, h, sizeof h);
    }
}

/* Codes are chosen against the stored scale. */
LANE_INLINE void keep_block(const float *x, uint8_t *to)
{
    const pq_v16 a = v16_load(x), b = v16_load(x + PQ_LANES);
    const float most = v16_hmax(v16_max(v16_abs(a), v16_abs(b)));
    const float bounded = most < 65504.0f * 127.0f ? most : 0.0f; /* nor a number that is none */
    const uint16_t h = pq_f32_to_f16(bounded / 127.0f);
    const float scale = pq_f16_to_f32(h);
    const pq_v16 per_unit = v16_set(scale > 0.0f ? 1.0f / scale : 0.0f);
    const pq_v16 low = v16_set(-127.0f), high = v16_set(127.0f);
    pq_put_le16(to, h);
    v16_bytes(v16_clamp(v16_round(v16_mul(a, per_unit)), low, high), to + 2);
    v16_bytes(v16_clamp(v16_round(v16_mul(b, per_unit)), low, high), to + 2 + PQ_LANES);
}

static void keep_q8(const float *x, uint64_t n, uint8_t *to)
{
    for (uint64_t i = 0; i < n; i += PQ_Q8_BLOCK, to += PQ_Q8_BYTES)
        keep_block(x + i, to);
}

#define PQ_ROWS_KEEP [PQ_DENSE_F32] = keep_f32, [PQ_DENSE_F16] = keep_f16, [PQ_DENSE_Q8] = keep_q8

#endif
