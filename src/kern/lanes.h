/*
 * Sixteen float lanes, written once and compiled once per level: the compiler maps them onto one
 * AVX-512, two AVX2 or four NEON/SSE registers. Lane arithmetic is IEEE single without contraction
 * and sums have a fixed tree, so every level gives the same bits as the plain C loops that
 * PQ_LANES_PLAIN selects (the reference). SPDX-License-Identifier: MIT
 */
#ifndef PQ_KERN_LANES_H
#define PQ_KERN_LANES_H

#include <stdint.h>
#include <string.h>

enum { PQ_LANES = 16 };

#ifdef PQ_LANES_PLAIN

typedef struct {
    float f[PQ_LANES];
} pq_v16;

#define PQ_LANE_OP(name, expr)                                                                     \
    static inline pq_v16 name(pq_v16 a, pq_v16 b)                                                  \
    {                                                                                              \
        pq_v16 r;                                                                                  \
        for (int i = 0; i < PQ_LANES; i++)                                                         \
            r.f[i] = (expr);                                                                       \
        return r;                                                                                  \
    }
PQ_LANE_OP(v16_add, a.f[i] + b.f[i])
PQ_LANE_OP(v16_sub, a.f[i] - b.f[i])
PQ_LANE_OP(v16_mul, a.f[i] * b.f[i])
PQ_LANE_OP(v16_div, a.f[i] / b.f[i])
PQ_LANE_OP(v16_min, a.f[i] < b.f[i] ? a.f[i] : b.f[i])
PQ_LANE_OP(v16_max, a.f[i] > b.f[i] ? a.f[i] : b.f[i])
#undef PQ_LANE_OP

static inline pq_v16 v16_set(float x)
{
    pq_v16 r;
    for (int i = 0; i < PQ_LANES; i++)
        r.f[i] = x;
    return r;
}

/* a < b ? x : y, lane by lane */
static inline pq_v16 v16_if_less(pq_v16 a, pq_v16 b, pq_v16 x, pq_v16 y)
{
    pq_v16 r;
    for (int i = 0; i < PQ_LANES; i++)
        r.f[i] = a.f[i] < b.f[i] ? x.f[i] : y.f[i];
    return r;
}

#else

typedef float pq_v16 __attribute__((vector_size(64)));
typedef int32_t pq_i16 __attribute__((vector_size(64)));

static inline pq_v16 v16_add(pq_v16 a, pq_v16 b)
{
    return a + b;
}

static inline pq_v16 v16_sub(pq_v16 a, pq_v16 b)
{
    return a - b;
}

static inline pq_v16 v16_mul(pq_v16 a, pq_v16 b)
{
    return a * b;
}

static inline pq_v16 v16_div(pq_v16 a, pq_v16 b)
{
    return a / b;
}

static inline pq_v16 v16_set(float x)
{
    return (pq_v16){x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x};
}

static inline pq_v16 v16_if_less(pq_v16 a, pq_v16 b, pq_v16 x, pq_v16 y)
{
    pq_i16 m = a < b;
    return (pq_v16)(((pq_i16)x & m) | ((pq_i16)y & ~m));
}

static inline pq_v16 v16_min(pq_v16 a, pq_v16 b)
{
    return v16_if_less(a, b, a, b);
}

static inline pq_v16 v16_max(pq_v16 a, pq_v16 b)
{
    return v16_if_less(b, a, a, b);
}

#endif

static inline pq_v16 v16_load(const float *p)
{
    pq_v16 r;
    memcpy(&r, p, sizeof r);
    return r;
}

static inline void v16_store(float *p, pq_v16 a)
{
    memcpy(p, &a, sizeof a);
}

/* Nearest integer, ties to even, for |a| < 2^22. */
static inline pq_v16 v16_round(pq_v16 a)
{
    pq_v16 magic = v16_set(12582912.0f); /* 1.5 * 2^23 */
    return v16_sub(v16_add(a, magic), magic);
}

/* ((0+8)+(4+12)) + ... : halves are added onto halves, always in this order. */
static inline float v16_sum(pq_v16 a)
{
    float f[PQ_LANES];
    v16_store(f, a);
    for (int n = PQ_LANES / 2; n; n /= 2)
        for (int i = 0; i < n; i++)
            f[i] += f[i + n];
    return f[0];
}

#endif
