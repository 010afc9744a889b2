/*
 * Template: NF4, 4-bit codes for the quantiles of a normal distribution between -1 and 1, times a
 * half-precision scale per group. Source of the values: QLoRA (Dettmers et al., 2023), appendix E,
 * as single-precision numbers. SPDX-License-Identifier: MIT
 */
#ifndef PQ_KERN_ENC_NF4_H
#define PQ_KERN_ENC_NF4_H

#include "kern/enc_fit.h"
#include "kern/group.h"
#include "kern/nf4.h"

/* Nearest code of t, and its value; of two equally near the lower. */
LANE_INLINE pq_v16 nf4_code(pq_v16 t, pq_v16 *value)
{
    pq_v16 code = v16_set(0.0f), v = v16_set(pq_nf4[0]);
    for (int k = 1; k < 16; k++) {
        pq_v16 between = v16_set(0.5f * (pq_nf4[k - 1] + pq_nf4[k]));
        code = v16_if_less(between, t, v16_set((float)k), code);
        v = v16_if_less(between, t, v16_set(pq_nf4[k]), v);
    }
    *value = v;
    return code;
}

/* Weighted squared error of a run with a scale, both in the run's units. */
static inline float nf4_error(const struct fit_run *run, int n, float scale)
{
    pq_v16 inv = v16_set(fit_inverse(scale)), s = v16_set(scale), err = v16_set(0.0f), value;
    for (int j = 0; j < n; j += PQ_LANES) {
        pq_v16 x = v16_load(run->x + j);
        nf4_code(v16_mul(x, inv), &value);
        pq_v16 e = v16_sub(x, v16_mul(value, s));
        err = v16_add(err, v16_mul(v16_mul(e, e), v16_load(run->w + j)));
    }
    return v16_sum(err);
}

/* From scales that cut a quarter off the largest weight to ones that leave a little room. */
static inline float nf4_search(const struct fit_run *run, int n, float top, enum pq_dtype aux)
{
    float best = aux_round(top, aux), least = INFINITY;
    for (int i = 0; i < 16; i++) {
        float s = aux_round(top * (1.05f - 0.02f * (float)i), aux);
        float e = nf4_error(run, n, s / run->unit);
        if (e < least) {
            least = e;
            best = s;
        }
    }
    return best;
}

static void enc_nf4(const struct pq_encode_in *in, void *const part[])
{
    uint8_t *codes = part[0], q[GROUP_MAX];
    float x[GROUP_MAX];
    struct fit_run run;
    const int n = (int)in->group;
    for (uint64_t i = 0; i < in->cols / in->group; i++) {
        struct pq_encode_in one = group_of(in, i, x);
        float top = fit_absmax(x, n), s = aux_round(top, in->aux);
        if (in->search && fit_load(&one, 0, n, &run))
            s = nf4_search(&run, n, top, in->aux);
        aux_put(part[1], i, s, in->aux);
        pq_v16 inv = v16_set(fit_inverse(s)), value;
        for (int j = 0; j < n; j += PQ_LANES)
            v16_bytes(nf4_code(v16_mul(v16_load(x + j), inv), &value), q + j);
        bytes_nibbles(q, n, codes + i * in->group / 2);
    }
}

#define PQ_ROWS_NF4 [PQ_ENC_NF4] = enc_nf4

#endif
