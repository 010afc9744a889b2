/*
 * Template: what happens to activations between matrices: norms, the exponential, gates.
 * SPDX-License-Identifier: MIT
 */
#ifndef PQ_KERN_RUN_POINT_H
#define PQ_KERN_RUN_POINT_H

#include "kern/run_lanes.h"

#include <math.h>

/* 2^k from k with PQ_MAGIC added, -127 < k < 128: its lowest bits are those of k. */
LANE_INLINE pq_reg reg_power_of_two(pq_reg k)
{
#if defined PQ_LANES_PLAIN
    uint32_t i;
    memcpy(&i, &k, sizeof i);
    i = (i << 23) + 0x3f800000u;
    memcpy(&k, &i, sizeof k);
    return k;
#else
    pq_ireg i = (pq_ireg)k;
    i = (i << 23) + 0x3f800000;
    return (pq_reg)i;
#endif
}

/* e^x = 2^k e^r with |r| <= ln(2) / 2, e^r by its series to the seventh power: within 2 units in
 * the last place; 0 far below, and never infinite. ln(2) in two parts after Cody and Waite. */
LANE_INLINE pq_v16 v16_exp(pq_v16 x)
{
    static const float series[] = {1.0f / 5040, 1.0f / 720, 1.0f / 120, 1.0f / 24,
                                   1.0f / 6,    0.5f,       1.0f,       1.0f};
    const pq_v16 low = v16_set(-87.0f), zero = v16_set(0.0f);
    pq_v16 c = v16_clamp(x, low, v16_set(88.0f));
    pq_v16 k = v16_fma(c, v16_set(0x1.715476p0f), v16_set(PQ_MAGIC)), power = k;
    for (int i = 0; i < PQ_REGS; i++)
        power.r[i] = reg_power_of_two(k.r[i]);
    k = v16_sub(k, v16_set(PQ_MAGIC));
    pq_v16 r = v16_fma(k, v16_set(-0x1.62e4p-1f), c);
    r = v16_fma(k, v16_set(-0x1.7f7d1cp-20f), r);
    pq_v16 sum = v16_set(series[0]);
    for (int i = 1; i < (int)(sizeof series / sizeof *series); i++)
        sum = v16_fma(sum, r, v16_set(series[i]));
    return v16_if_less(x, low, zero, v16_mul(sum, power));
}

/* x / (1 + e^-z) */
LANE_INLINE pq_v16 v16_gate(pq_v16 x, pq_v16 z)
{
    pq_v16 one = v16_set(1.0f);
    return v16_div(x, v16_add(one, v16_exp(v16_sub(v16_set(0.0f), z))));
}

/* x sigmoid(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3): the same as 0.5 x (1 + tanh(u)). */
LANE_INLINE pq_v16 v16_gelu(pq_v16 x)
{
    pq_v16 cube = v16_mul(v16_mul(x, x), x);
    pq_v16 u = v16_fma(cube, v16_set(0.044715f), x);
    return v16_gate(x, v16_mul(u, v16_set(1.5957691216f)));
}

/* Runs `step` over whole lanes of x and then over the rest in a buffer filled up with `pad`. */
#define POINT_LOOP(x, n, pad, step)                               \
    do {                                                          \
        uint64_t whole_ = (n) / PQ_LANES * PQ_LANES, i;           \
        for (i = 0; i < whole_; i += PQ_LANES) {                  \
            float *at = (x) + i;                                  \
            step;                                                 \
        }                                                         \
        if (whole_ < (n)) {                                       \
            float at[PQ_LANES];                                   \
            for (int j_ = 0; j_ < PQ_LANES; j_++)                 \
                at[j_] = pad;                                     \
            memcpy(at, (x) + whole_, ((n)-whole_) * sizeof *(x)); \
            step;                                                 \
            memcpy((x) + whole_, at, ((n)-whole_) * sizeof *(x)); \
        }                                                         \
    } while (0)

static float point_largest(const float *x, uint64_t n)
{
    float best = x[0];
    uint64_t i = 0;
    if (n >= PQ_LANES) {
        pq_v16 m = v16_load(x);
        for (i = PQ_LANES; i + PQ_LANES <= n; i += PQ_LANES)
            m = v16_max(m, v16_load(x + i));
        best = v16_hmax(m);
    }
    for (; i < n; i++)
        best = x[i] > best ? x[i] : best;
    return best;
}

static float point_exp_sum(float *x, uint64_t n, float below)
{
    pq_v16 sum = v16_set(0.0f), b = v16_set(below);
    POINT_LOOP(x, n, -INFINITY, {
        pq_v16 v = v16_exp(v16_sub(v16_load(at), b));
        sum = v16_add(sum, v);
        v16_store(at, v);
    });
    return v16_sum(sum);
}

static void point_gelu(float *x, uint64_t n)
{
    POINT_LOOP(x, n, 0.0f, v16_store(at, v16_gelu(v16_load(at))));
}

static void point_silu_mul(float *gate, const float *up, uint64_t n)
{
    uint64_t i = 0;
    for (; i + PQ_LANES <= n; i += PQ_LANES) {
        pq_v16 g = v16_load(gate + i);
        v16_store(gate + i, v16_mul(v16_gate(g, g), v16_load(up + i)));
    }
    float rest[2][PQ_LANES] = {{0}};
    memcpy(rest[0], gate + i, (n - i) * sizeof *gate);
    memcpy(rest[1], up + i, (n - i) * sizeof *up);
    pq_v16 g = v16_load(rest[0]);
    v16_store(rest[0], v16_mul(v16_gate(g, g), v16_load(rest[1])));
    memcpy(gate + i, rest[0], (n - i) * sizeof *gate);
}

/* Sixteen sums in double precision, folded in order: residuals have outliers. */
static double point_sum(const float *x, uint64_t n, double mean, bool squares)
{
    double lane[PQ_LANES] = {0}, sum = 0;
    for (uint64_t i = 0; i < n; i++) {
        double v = (double)x[i] - mean;
        lane[i % PQ_LANES] += squares ? v * v : v;
    }
    for (int i = 0; i < PQ_LANES; i++)
        sum += lane[i];
    return sum;
}

static void point_norm_rms(const float *x, uint64_t n, double eps, const float *weight, float *y)
{
    float scale = (float)(1.0 / sqrt(point_sum(x, n, 0, true) / (double)n + eps));
    for (uint64_t i = 0; i < n; i++)
        y[i] = x[i] * scale * weight[i];
}

static void point_norm_layer(const float *x, uint64_t n, double eps, const float *weight,
                             const float *bias, float *y)
{
    double mean = point_sum(x, n, 0, false) / (double)n;
    double var = point_sum(x, n, mean, true) / (double)n;
    float scale = (float)(1.0 / sqrt(var + eps));
    for (uint64_t i = 0; i < n; i++)
        y[i] = (float)((double)x[i] - mean) * scale * weight[i] + bias[i];
}

#define PQ_ROWS_POINT                                                                     \
    .norm_rms = point_norm_rms, .norm_layer = point_norm_layer, .largest = point_largest, \
    .exp_sum = point_exp_sum, .silu_mul = point_silu_mul, .gelu = point_gelu

#endif
