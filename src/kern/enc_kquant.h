/*
 * Template: what GGUF's super-blocks of 256 weights share. SPDX-License-Identifier: MIT
 */
#ifndef PQ_KERN_ENC_KQUANT_H
#define PQ_KERN_ENC_KQUANT_H

#include "kern/enc_ggml.h"

enum { SUPER = 256, SUBS = 16 };

/* Sub-blocks of n weights fill the lanes: one super-block, or two as far as the row goes. Returns
 * how many. */
static inline int kquant_load(const struct pq_encode_in *in, uint64_t at, int n, struct many *r)
{
    int subs = SUPER / n, supers = in->cols - at > SUPER ? PQ_LANES / subs : 1;
    const struct many_at a = {at, n, subs * supers, subs};
    many_read(in, a, false, r);
    if (in->search)
        many_weigh(in, a, r);
    else
        many_scale(a, r);
    return supers;
}

/* v as a half holds it, in units of the run. */
LANE_INLINE pq_v16 many_half(const struct many *r, pq_v16 v)
{
    return v16_mul(v16_half(v16_mul(v, r->unit)), r->down);
}

/* Two-bit codes: 32 bytes hold 128, code 32 s + l in bits 2s of byte l. */
static inline void put_pairs(const uint8_t *code, uint8_t *qs)
{
    for (int h = 0; h < 2; h++)
        for (int l = 0; l < 32; l++) {
            const uint8_t *c = code + 128 * h + l;
            qs[32 * h + l] =
                (uint8_t)((c[0] & 3) | (c[32] & 3) << 2 | (c[64] & 3) << 4 | (c[96] & 3) << 6);
        }
}

#endif
