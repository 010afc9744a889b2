/* Template: weighted sums of stored rows, as attention adds up values.
 * SPDX-License-Identifier: MIT */
#ifndef PQ_KERN_RUN_MIX_H
#define PQ_KERN_RUN_MIX_H

#include "kern/run_lanes.h"

enum { MIX_TOKENS = 4 };

LANE_INLINE void mix_tile(const struct pq_mix *m, uint64_t t0, uint64_t dim, int tokens,
                          enum pq_dense type)
{
    pq_v16 acc[MIX_TOKENS];
    const uint8_t *v = (const uint8_t *)m->v;
    const float *p = m->p + t0 * m->p_step;
    float *out = m->out + t0 * m->out_step + dim;
    for (int t = 0; t < tokens; t++)
        acc[t] = v16_load(out + (uint64_t)t * m->out_step);
    for (uint64_t i = 0; i < m->rows; i++) {
        pq_v16 row = dense_load(v + i * m->v_step, dim, type);
        for (int t = 0; t < tokens; t++)
            acc[t] = v16_fma(row, v16_set(p[(uint64_t)t * m->p_step + i]), acc[t]);
    }
    for (int t = 0; t < tokens; t++)
        v16_store(out + (uint64_t)t * m->out_step, acc[t]);
}

LANE_INLINE void mix_of(const struct pq_mix *m, enum pq_dense type)
{
    for (uint64_t dim = 0; dim < m->dims; dim += PQ_LANES) {
        uint64_t t = 0;
        for (; t + MIX_TOKENS <= m->n; t += MIX_TOKENS)
            mix_tile(m, t, dim, MIX_TOKENS, type);
        for (; t < m->n; t++)
            mix_tile(m, t, dim, 1, type);
    }
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

#define PQ_ROWS_MIX [PQ_DENSE_F32] = mix_f32, [PQ_DENSE_F16] = mix_f16, [PQ_DENSE_BF16] = mix_bf16

#endif
