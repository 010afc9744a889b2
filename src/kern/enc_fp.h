/*
 * Template: the microscaling formats as MLX stores them. mxfp4, nvfp4: E2M1 codes, two in a byte,
 * low nibble first; mxfp8: E4M3 bytes. Scales: E8M0 for groups of 32, E4M3 for groups of 16.
 * Formats: OCP Microscaling Formats 1.0; rounding: as mx.quantize 0.32 does on the CPU.
 * SPDX-License-Identifier: MIT
 */
#ifndef PQ_KERN_ENC_FP_H
#define PQ_KERN_ENC_FP_H

#include "kern/enc_fit.h"
#include "kern/group.h"

enum { MX_GROUP = 32, NV_GROUP = 16, E4M3_MAX = 126, E8M0_MAX = 254 };

/* Nearest E2M1 code of a >= 0 (0 0.5 1 1.5 2 3 4 6 as 0..7) and its value. Ties go to the smaller
 * code, as MLX's argmin does. */
LANE_INLINE pq_v16 e2m1_code(pq_v16 a, pq_v16 *value)
{
    pq_v16 one = v16_set(1.0f), two = v16_set(2.0f), four = v16_set(4.0f), half = v16_set(0.5f);
    a = v16_mul(v16_min(a, v16_set(6.0f)), v16_set(0x1.fffffep-1f)); /* one step down */
    pq_v16 inv = v16_if_less(a, two, two, v16_if_less(a, four, one, half));
    pq_v16 step = v16_if_less(a, two, half, v16_if_less(a, four, one, two));
    pq_v16 base = v16_if_less(a, two, v16_set(0.0f), v16_if_less(a, four, two, four));
    pq_v16 k = v16_round(v16_mul(a, inv));
    *value = v16_mul(k, step);
    return v16_add(k, base);
}

/* Nearest E4M3 code, ties to even, saturating: pq_f32_to_e4m3 without branches, for finite x. */
static inline uint8_t e4m3_code(float x)
{
    uint32_t u = pq_f32_bits(x), a = u & 0x7fffffffu;
    uint32_t normal = (a + 0x7ffffu + (a >> 20 & 1) - (120u << 23)) >> 20;
    float tiny = pq_bits_f32(a < 0x3c800000u ? a : 0x3c800000u);
    uint32_t subnormal = pq_f32_bits(tiny * 0x1p9f + 0x1p23f) & 0xfu;
    uint32_t m = a < 0x3c800000u ? subnormal : a >= 0x43e00000u ? 0x7eu : normal;
    return (uint8_t)((u >> 24 & 0x80u) | m);
}

/* The inverse, for codes that are not NaN. */
static inline float e4m3_value(uint8_t v)
{
    uint32_t em = v & 0x7fu, sign = (uint32_t)(v & 0x80u) << 24;
    uint32_t normal = (em << 20) + (120u << 23), subnormal = pq_f32_bits((float)em * 0x1p-9f);
    return pq_bits_f32(sign | (em < 8 ? subnormal : normal));
}

/* The smallest power of two that is not below x, as E8M0; one for zero, as MLX does. */
static inline int e8m0_ceil(float x)
{
    uint32_t u = pq_f32_bits(x);
    int e = (int)(u >> 23) + ((u & 0x7fffffu) != 0);
    return x == 0.0f ? 127 : e > E8M0_MAX ? E8M0_MAX : e;
}

/* Weighted squared error of a run with a scale, both in the run's units. */
FIT_INLINE float fp4_error(const struct fit_run *run, int n, float scale)
{
    pq_v16 inv = v16_set(fit_inverse(scale)), s = v16_set(scale), err = v16_set(0.0f), value;
    for (int j = 0; j < n; j += PQ_LANES) {
        pq_v16 x = v16_abs(v16_load(run->x + j));
        e2m1_code(v16_mul(x, inv), &value);
        pq_v16 e = v16_sub(x, v16_mul(value, s));
        err = v16_add(err, v16_mul(v16_mul(e, e), v16_load(run->w + j)));
    }
    return v16_sum(err);
}

FIT_INLINE float fp8_error(const struct fit_run *run, int n, float scale)
{
    float inv = fit_inverse(scale), d[MX_GROUP];
    pq_v16 err = v16_set(0.0f);
    for (int j = 0; j < n; j++)
        d[j] = run->x[j] - scale * e4m3_value(e4m3_code(run->x[j] * inv));
    for (int j = 0; j < n; j += PQ_LANES) {
        pq_v16 e = v16_load(d + j);
        err = v16_add(err, v16_mul(v16_mul(e, e), v16_load(run->w + j)));
    }
    return v16_sum(err);
}

/* A scale of zero has no codes but zero. */
FIT_INLINE void fp4_codes(const float *x, int n, float scale, uint8_t *out)
{
    pq_v16 s = v16_set(scale > 0.0f ? scale : INFINITY), zero = v16_set(0.0f), value;
    uint8_t q[MX_GROUP];
    for (int j = 0; j < n; j += PQ_LANES) {
        pq_v16 t = v16_div(v16_load(x + j), s), code = e2m1_code(v16_abs(t), &value);
        /* 8 is the sign; MLX never writes -0 */
        pq_v16 sign = v16_if_less(t, zero, v16_if_less(zero, code, v16_set(8.0f), zero), zero);
        v16_bytes(v16_add(code, sign), q + j);
    }
    pack_codes(q, n, 4, out);
}

FIT_INLINE void fp8_codes(const float *x, int n, float scale, uint8_t *out)
{
    for (int j = 0; j < n; j++)
        out[j] = e4m3_code(x[j] / scale);
}

/* MX: powers of two around the one that just holds the largest weight. Smaller ones cut the
 * largest off and resolve the others better; E4M3 codes gain nothing from larger ones. */
FIT_INLINE int mx_search(const struct fit_run *run, int n, int first, bool four)
{
    int best = first, lowest = four ? first - 2 : first - 1, highest = four ? first + 1 : first;
    float least = INFINITY;
    for (int c = highest; c >= lowest; c--) {
        if (c < 0 || c > E8M0_MAX)
            continue;
        float s = pq_e8m0_to_f32((uint8_t)c) / run->unit;
        float e = four ? fp4_error(run, n, s) : fp8_error(run, n, s);
        if (e < least) {
            least = e;
            best = c;
        }
    }
    return best;
}

FIT_INLINE void enc_mx(const struct pq_encode_in *in, void *const part[], bool four)
{
    uint8_t *codes = part[0], *scales = part[1];
    float x[MX_GROUP];
    struct fit_run run;
    const int n = MX_GROUP;
    for (uint64_t i = 0; i < in->cols / in->group; i++) {
        struct pq_encode_in one = group_of(in, i, x);
        int c = e8m0_ceil(fit_absmax(x, n) / (four ? 6.0f : 448.0f));
        if (in->search && fit_load(&one, 0, n, &run))
            c = mx_search(&run, n, c, four);
        scales[i] = (uint8_t)c;
        if (four)
            fp4_codes(x, n, pq_e8m0_to_f32(scales[i]), codes + i * in->group / 2);
        else
            fp8_codes(x, n, pq_e8m0_to_f32(scales[i]), codes + i * in->group);
    }
}

static void enc_mxfp4(const struct pq_encode_in *in, void *const part[])
{
    enc_mx(in, part, true);
}

static void enc_mxfp8(const struct pq_encode_in *in, void *const part[])
{
    enc_mx(in, part, false);
}

/* NVFP4: sixteen neighbouring E4M3 scales at once, from ones that cut the largest weight down by a
 * third to ones that give it the code 3. */
FIT_INLINE int nv_search(const struct fit_run *run, int n, int first)
{
    int lowest = first - 5 < 0 ? 0 : first - 5;
    lowest = lowest + 15 > E4M3_MAX ? E4M3_MAX - 15 : lowest;
    float s[PQ_LANES];
    for (int i = 0; i < PQ_LANES; i++)
        s[i] = e4m3_value((uint8_t)(lowest + i)) / run->unit;
    pq_v16 vs = v16_min(v16_load(s), v16_set(0x1p60f)), inv = fit_inverses(vs);
    pq_v16 gain = v16_set(0.0f), value;
    for (int j = 0; j < n; j++) {
        pq_v16 x = v16_set(fabsf(run->x[j]));
        e2m1_code(v16_mul(x, inv), &value);
        pq_v16 e = v16_sub(x, v16_mul(value, vs));
        gain = v16_sub(gain, v16_mul(v16_mul(e, e), v16_set(run->w[j])));
    }
    return lowest + v16_argmax(gain);
}

static void enc_nvfp4(const struct pq_encode_in *in, void *const part[])
{
    uint8_t *codes = part[0], *scales = part[1];
    float x[NV_GROUP];
    struct fit_run run;
    const int n = NV_GROUP;
    for (uint64_t i = 0; i < in->cols / in->group; i++) {
        struct pq_encode_in one = group_of(in, i, x);
        int c = e4m3_code(fit_absmax(x, n) / 6.0f);
        if (in->search && fit_load(&one, 0, n, &run))
            c = nv_search(&run, n, c);
        scales[i] = (uint8_t)c;
        fp4_codes(x, n, e4m3_value(scales[i]), codes + i * in->group / 2);
    }
}

#define PQ_ROWS_FP \
    [PQ_ENC_MXFP4] = enc_mxfp4, [PQ_ENC_MXFP8] = enc_mxfp8, [PQ_ENC_NVFP4] = enc_nvfp4

#endif
