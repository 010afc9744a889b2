/*
 * Rotary positions, in single precision where transformers computes so: the inverse frequencies,
 * the angles and their cosines. LongRoPE: the long factors for every position when the context is
 * longer than the original one, else the short ones; cos and sin times the attention factor always.
 * Source: modeling_rope_utils and modeling_phi3 of transformers. SPDX-License-Identifier: MIT
 */
#include "infer/state.h"

#include <math.h>

bool pq_rope_is_long(const struct pq_hparams *hp, uint64_t length)
{
    return hp->rope == PQ_ROPE_LONGROPE && length > hp->original_max_position;
}

void pq_rope_begin(struct pq_session *s, bool long_factors)
{
    const struct pq_hparams *hp = s->hp;
    const float *factor = hp->rope != PQ_ROPE_LONGROPE ? NULL
                          : long_factors               ? hp->long_factor
                                                       : hp->short_factor;
    for (uint32_t i = 0; i < hp->rot_dims / 2; i++) {
        float power = (float)(2 * i) / (float)hp->rot_dims;
        float base = (float)pow(hp->rope_theta, (double)power);
        s->inv_freq[i] = 1.0f / (factor ? factor[i] * base : base);
    }
    s->long_rope = long_factors;
}

void pq_rope_turns(const struct pq_session *s, uint64_t first, uint64_t n)
{
    const uint32_t half = s->hp->rot_dims / 2;
    const float factor = (float)s->hp->attn_factor;
    for (uint64_t t = 0; t < n; t++)
        for (uint32_t i = 0; i < half; i++) {
            float angle = (float)(first + t) * s->inv_freq[i], *turn = s->turn + t * 2 * half;
            turn[i] = (float)cos((double)angle) * factor;
            turn[half + i] = (float)sin((double)angle) * factor;
        }
}
