/*
 * Sixteen float lanes, written once and compiled once per level: one AVX-512 register, two of AVX2,
 * four of NEON, or sixteen scalars (PQ_LANES_PLAIN, the reference). Lane arithmetic is IEEE single
 * with contraction only where v16_fma says so, and sums have a fixed tree: every level gives the
 * same bits.
 * SPDX-License-Identifier: MIT
 */
#ifndef PQ_KERN_LANES_H
#define PQ_KERN_LANES_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#if defined __AVX2__ && !defined PQ_LANES_PLAIN
#include <immintrin.h>
#elif defined __aarch64__ && !defined PQ_LANES_PLAIN
#include <arm_neon.h>
#else
#include <math.h>
#if !defined PQ_LANES_PLAIN
#define PQ_LANES_PLAIN
#endif
#endif

enum { PQ_LANES = 16 };

/* A level is one large unit: left to itself the compiler stops inlining single instructions. In the
 * plain level an operation is a loop, and inlining them all would only make it slow to compile. */
#if defined PQ_LANES_PLAIN
#define LANE_INLINE static inline
#else
#define LANE_INLINE static inline __attribute__((always_inline))
#endif

/* What types share as it is, compiled once: the rest of a level is specialized for each of them. */
#define LANE_SHARED static __attribute__((noinline))

/* A register of the level and what has no operator in C. reg_fma: a b + c, rounded once.
 * reg_rsqrt_guess: a first guess of 1 / sqrt(a); reg_exponent: a without sign and mantissa. */
#if defined PQ_LANES_PLAIN
#define PQ_LANE_WIDTH 1
typedef float pq_reg;

LANE_INLINE pq_reg reg_set(float x)
{
    return x;
}

LANE_INLINE pq_reg reg_load(const float *p)
{
    return *p;
}

LANE_INLINE void reg_store(float *p, pq_reg a)
{
    *p = a;
}

LANE_INLINE pq_reg reg_if_less(pq_reg a, pq_reg b, pq_reg x, pq_reg y)
{
    return a < b ? x : y;
}

/* Doubles hold the product; their sum, rounded again to a float, is right unless it lies half-way
 * between two floats. A call of fmaf each time is several times as slow. */
LANE_INLINE pq_reg reg_fma(pq_reg a, pq_reg b, pq_reg c)
{
    double sum = (double)a * (double)b + (double)c;
    uint64_t bits;
    memcpy(&bits, &sum, sizeof bits);
    bool halfway = (bits & 0x1fffffff) == 0x10000000, small = (bits >> 52 & 0x7ff) < 1023 - 126;
    return halfway || (small && sum != 0.0) ? fmaf(a, b, c) : (float)sum;
}

#define PQ_REG_BITS(name, expr)       \
    LANE_INLINE pq_reg name(pq_reg a) \
    {                                 \
        int32_t i;                    \
        memcpy(&i, &a, sizeof i);     \
        i = (expr);                   \
        memcpy(&a, &i, sizeof a);     \
        return a;                     \
    }

#elif defined __AVX512F__
#define PQ_LANE_WIDTH 16
typedef __m512 pq_reg;

LANE_INLINE pq_reg reg_set(float x)
{
    return _mm512_set1_ps(x);
}

LANE_INLINE pq_reg reg_load(const float *p)
{
    return _mm512_loadu_ps(p);
}

LANE_INLINE void reg_store(float *p, pq_reg a)
{
    _mm512_storeu_ps(p, a);
}

LANE_INLINE pq_reg reg_if_less(pq_reg a, pq_reg b, pq_reg x, pq_reg y)
{
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), y, x);
}

LANE_INLINE pq_reg reg_fma(pq_reg a, pq_reg b, pq_reg c)
{
    return _mm512_fmadd_ps(a, b, c);
}

#elif defined __AVX2__
#define PQ_LANE_WIDTH 8
typedef __m256 pq_reg;

LANE_INLINE pq_reg reg_set(float x)
{
    return _mm256_set1_ps(x);
}

LANE_INLINE pq_reg reg_load(const float *p)
{
    return _mm256_loadu_ps(p);
}

LANE_INLINE void reg_store(float *p, pq_reg a)
{
    _mm256_storeu_ps(p, a);
}

LANE_INLINE pq_reg reg_if_less(pq_reg a, pq_reg b, pq_reg x, pq_reg y)
{
    return _mm256_blendv_ps(y, x, _mm256_cmp_ps(a, b, _CMP_LT_OQ));
}

LANE_INLINE pq_reg reg_fma(pq_reg a, pq_reg b, pq_reg c)
{
    return _mm256_fmadd_ps(a, b, c);
}

#else
#define PQ_LANE_WIDTH 4
typedef float32x4_t pq_reg;

LANE_INLINE pq_reg reg_set(float x)
{
    return vdupq_n_f32(x);
}

LANE_INLINE pq_reg reg_load(const float *p)
{
    return vld1q_f32(p);
}

LANE_INLINE void reg_store(float *p, pq_reg a)
{
    vst1q_f32(p, a);
}

LANE_INLINE pq_reg reg_if_less(pq_reg a, pq_reg b, pq_reg x, pq_reg y)
{
    return vbslq_f32(vcltq_f32(a, b), x, y);
}

LANE_INLINE pq_reg reg_fma(pq_reg a, pq_reg b, pq_reg c)
{
    return vfmaq_f32(c, a, b);
}
#endif

#if !defined PQ_REG_BITS
typedef int32_t pq_ireg __attribute__((vector_size(4 * PQ_LANE_WIDTH)));
#define PQ_REG_BITS(name, expr)       \
    LANE_INLINE pq_reg name(pq_reg a) \
    {                                 \
        pq_ireg i = (pq_ireg)a;       \
        i = (expr);                   \
        return (pq_reg)i;             \
    }
#endif
PQ_REG_BITS(reg_exponent, i & 0x7f800000)
PQ_REG_BITS(reg_rsqrt_guess, 0x5f3759df - (i >> 1))
#undef PQ_REG_BITS

/* The second operand where they are equal or one is not a number, as x86 has it. */
#if PQ_LANE_WIDTH == 16
#define reg_min(a, b) _mm512_min_ps(a, b)
#define reg_max(a, b) _mm512_max_ps(a, b)
#elif PQ_LANE_WIDTH == 8
#define reg_min(a, b) _mm256_min_ps(a, b)
#define reg_max(a, b) _mm256_max_ps(a, b)
#else
#define reg_min(a, b) reg_if_less(a, b, a, b)
#define reg_max(a, b) reg_if_less(b, a, a, b)
#endif

/* min(max(a, lo), hi) where lo and hi are above zero and a is a number: then floats are in the
 * order of their bits, and whole numbers have ports of their own. */
LANE_INLINE pq_reg reg_clamp_above_zero(pq_reg a, pq_reg lo, pq_reg hi)
{
#if PQ_LANE_WIDTH == 16
    __m512i i = _mm512_max_epi32(_mm512_castps_si512(a), _mm512_castps_si512(lo));
    return _mm512_castsi512_ps(_mm512_min_epi32(i, _mm512_castps_si512(hi)));
#elif PQ_LANE_WIDTH == 8
    __m256i i = _mm256_max_epi32(_mm256_castps_si256(a), _mm256_castps_si256(lo));
    return _mm256_castsi256_ps(_mm256_min_epi32(i, _mm256_castps_si256(hi)));
#else
    a = reg_max(a, lo);
    return reg_min(a, hi);
#endif
}

enum { PQ_REGS = PQ_LANES / PQ_LANE_WIDTH };

typedef struct {
    pq_reg r[PQ_REGS];
} pq_v16;

#define PQ_LANE_OP(name, expr)                  \
    LANE_INLINE pq_v16 name(pq_v16 a, pq_v16 b) \
    {                                           \
        pq_v16 v;                               \
        for (int i = 0; i < PQ_REGS; i++)       \
            v.r[i] = (expr);                    \
        return v;                               \
    }
PQ_LANE_OP(v16_add, a.r[i] + b.r[i])
PQ_LANE_OP(v16_sub, a.r[i] - b.r[i])
PQ_LANE_OP(v16_mul, a.r[i] * b.r[i])
PQ_LANE_OP(v16_div, a.r[i] / b.r[i])
PQ_LANE_OP(v16_min, reg_min(a.r[i], b.r[i]))
PQ_LANE_OP(v16_max, reg_max(a.r[i], b.r[i]))
#undef PQ_LANE_OP

LANE_INLINE pq_v16 v16_set(float x)
{
    pq_v16 v;
    for (int i = 0; i < PQ_REGS; i++)
        v.r[i] = reg_set(x);
    return v;
}

/* Register by register: compilers copy a whole pq_v16 in smaller pieces, for whose stores a load of
 * a register has to wait. */
LANE_INLINE pq_v16 v16_load(const float *p)
{
    pq_v16 v;
    for (int i = 0; i < PQ_REGS; i++)
        v.r[i] = reg_load(p + i * PQ_LANE_WIDTH);
    return v;
}

LANE_INLINE void v16_store(float *p, pq_v16 a)
{
    for (int i = 0; i < PQ_REGS; i++)
        reg_store(p + i * PQ_LANE_WIDTH, a.r[i]);
}

/* a < b ? x : y, lane by lane */
LANE_INLINE pq_v16 v16_if_less(pq_v16 a, pq_v16 b, pq_v16 x, pq_v16 y)
{
    pq_v16 v;
    for (int i = 0; i < PQ_REGS; i++)
        v.r[i] = reg_if_less(a.r[i], b.r[i], x.r[i], y.r[i]);
    return v;
}

/* Does any lane of x lie below lo or above hi? */
LANE_INLINE bool v16_any_outside(pq_v16 x, pq_v16 lo, pq_v16 hi)
{
#if PQ_LANE_WIDTH == 16
    return _mm512_cmp_ps_mask(x.r[0], lo.r[0], _CMP_LT_OQ) |
           _mm512_cmp_ps_mask(hi.r[0], x.r[0], _CMP_LT_OQ);
#else
    pq_v16 one = v16_set(1.0f), zero = v16_set(0.0f);
    pq_v16 out = v16_max(v16_if_less(x, lo, one, zero), v16_if_less(hi, x, one, zero));
    bool any = false;
    float f[PQ_LANES];
    v16_store(f, out);
    for (int i = 0; i < PQ_LANES; i++)
        any |= f[i] > 0.0f;
    return any;
#endif
}

/* a b + c, rounded once */
LANE_INLINE pq_v16 v16_fma(pq_v16 a, pq_v16 b, pq_v16 c)
{
    for (int i = 0; i < PQ_REGS; i++)
        a.r[i] = reg_fma(a.r[i], b.r[i], c.r[i]);
    return a;
}

LANE_INLINE pq_v16 v16_abs(pq_v16 a)
{
    return v16_max(a, v16_sub(v16_set(0.0f), a));
}

/* Added to |a| < 2^22 it leaves no room for a fraction: rounds to nearest, ties to even. */
#define PQ_MAGIC 12582912.0f /* 1.5 * 2^23 */

LANE_INLINE pq_v16 v16_round(pq_v16 a)
{
    pq_v16 magic = v16_set(PQ_MAGIC);
    return v16_sub(v16_add(a, magic), magic);
}

/* The whole number in lo..hi next to t; all three have PQ_MAGIC added, and t is a number. */
LANE_INLINE pq_v16 v16_snap(pq_v16 t, pq_v16 lo, pq_v16 hi)
{
    for (int i = 0; i < PQ_REGS; i++)
        t.r[i] = reg_clamp_above_zero(t.r[i], lo.r[i], hi.r[i]);
    return v16_sub(t, v16_set(PQ_MAGIC));
}

/* Square root of a > 0 within 0.2 %, by a guess and one step of Newton's: ten times as fast. */
LANE_INLINE pq_v16 v16_rough_sqrt(pq_v16 a)
{
    pq_v16 guess = a;
    for (int i = 0; i < PQ_REGS; i++)
        guess.r[i] = reg_rsqrt_guess(a.r[i]);
    pq_v16 root = v16_mul(a, guess);
    return v16_mul(root, v16_fma(v16_mul(root, guess), v16_set(-0.5f), v16_set(1.5f)));
}

/* The power of two at or below |a|, from 2^-126 up to 2^126. */
LANE_INLINE pq_v16 v16_power(pq_v16 a)
{
    for (int i = 0; i < PQ_REGS; i++)
        a.r[i] = reg_exponent(a.r[i]);
    return v16_min(v16_max(a, v16_set(0x1p-126f)), v16_set(0x1p126f));
}

/* min(max(a, lo), hi); lo where a is not a number, so what follows stays in range. */
LANE_INLINE pq_v16 v16_clamp(pq_v16 a, pq_v16 lo, pq_v16 hi)
{
    return v16_min(v16_max(a, lo), hi);
}

/* ((0+8)+(4+12)) + ... : halves are added onto halves, always in this order. */
LANE_INLINE float v16_sum(pq_v16 a)
{
#if PQ_LANE_WIDTH >= 8
#if PQ_LANE_WIDTH == 16
    __m256 h = _mm512_castps512_ps256(a.r[0]) + _mm512_extractf32x8_ps(a.r[0], 1);
#else
    __m256 h = a.r[0] + a.r[1];
#endif
    __m128 q = _mm256_castps256_ps128(h) + _mm256_extractf128_ps(h, 1);
    q = q + _mm_movehl_ps(q, q);
    return _mm_cvtss_f32(_mm_add_ss(q, _mm_movehdup_ps(q)));
#else
    float f[PQ_LANES];
    v16_store(f, a);
    for (int n = PQ_LANES / 2; n; n /= 2)
        for (int i = 0; i < n; i++)
            f[i] += f[i + n];
    return f[0];
#endif
}

LANE_INLINE float v16_hmax(pq_v16 a)
{
#if PQ_LANE_WIDTH == 16
    return _mm512_reduce_max_ps(a.r[0]);
#else
    float f[PQ_LANES];
    v16_store(f, a);
    for (int n = PQ_LANES / 2; n; n /= 2)
        for (int i = 0; i < n; i++)
            f[i] = f[i] > f[i + n] ? f[i] : f[i + n];
    return f[0];
#endif
}

/* The first lane that holds the largest value; 0 when none does (not a number). */
LANE_INLINE int v16_argmax(pq_v16 a)
{
#if PQ_LANE_WIDTH == 16
    __m512 m = _mm512_set1_ps(_mm512_reduce_max_ps(a.r[0]));
    return __builtin_ctz(_mm512_cmp_ps_mask(a.r[0], m, _CMP_EQ_OQ) | 0x10000u) & 15;
#else
    float f[PQ_LANES];
    v16_store(f, a);
    int best = 0;
    for (int i = 1; i < PQ_LANES; i++)
        if (f[i] > f[best])
            best = i;
    return best;
#endif
}

/* One lane's value. */
LANE_INLINE float v16_lane(pq_v16 a, int i)
{
    float f[PQ_LANES];
    v16_store(f, a);
    return f[i];
}

#endif
