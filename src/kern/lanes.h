/*
 * Sixteen float lanes, written once and compiled once per level: one AVX-512 register, two of AVX2,
 * four of NEON, or sixteen scalars (PQ_LANES_PLAIN, the reference). Lane arithmetic is IEEE single
 * without contraction and sums have a fixed tree, so every level gives the same bits.
 * SPDX-License-Identifier: MIT
 */
#ifndef PQ_KERN_LANES_H
#define PQ_KERN_LANES_H

#include <stdint.h>
#include <string.h>

#if !defined PQ_LANES_PLAIN && (defined __AVX512F__ || defined __AVX2__)
#include <immintrin.h>
#endif

enum { PQ_LANES = 16 };

/* A level is one large unit: left to itself the compiler stops inlining single instructions. In the
 * plain level an operation is a loop, and inlining them all would only make it slow to compile. */
#if defined PQ_LANES_PLAIN
#define LANE_INLINE static inline
#else
#define LANE_INLINE static inline __attribute__((always_inline))
#endif

/* A register of the level and what has no operator in C. */
#if defined PQ_LANES_PLAIN
#define PQ_LANE_WIDTH 1
typedef float pq_reg;

LANE_INLINE pq_reg reg_set(float x)
{
    return x;
}

LANE_INLINE pq_reg reg_if_less(pq_reg a, pq_reg b, pq_reg x, pq_reg y)
{
    return a < b ? x : y;
}

LANE_INLINE pq_reg reg_sqrt(pq_reg a)
{
    return __builtin_sqrtf(a);
}

#elif defined __AVX512F__
#define PQ_LANE_WIDTH 16
typedef __m512 pq_reg;

LANE_INLINE pq_reg reg_set(float x)
{
    return _mm512_set1_ps(x);
}

LANE_INLINE pq_reg reg_if_less(pq_reg a, pq_reg b, pq_reg x, pq_reg y)
{
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), y, x);
}

LANE_INLINE pq_reg reg_sqrt(pq_reg a)
{
    return _mm512_sqrt_ps(a);
}

#elif defined __AVX2__
#define PQ_LANE_WIDTH 8
typedef __m256 pq_reg;

LANE_INLINE pq_reg reg_set(float x)
{
    return _mm256_set1_ps(x);
}

LANE_INLINE pq_reg reg_if_less(pq_reg a, pq_reg b, pq_reg x, pq_reg y)
{
    return _mm256_blendv_ps(y, x, _mm256_cmp_ps(a, b, _CMP_LT_OQ));
}

LANE_INLINE pq_reg reg_sqrt(pq_reg a)
{
    return _mm256_sqrt_ps(a);
}

#else
#define PQ_LANE_WIDTH 4
typedef float pq_reg __attribute__((vector_size(16)));

LANE_INLINE pq_reg reg_set(float x)
{
    return (pq_reg){x, x, x, x};
}

LANE_INLINE pq_reg reg_if_less(pq_reg a, pq_reg b, pq_reg x, pq_reg y)
{
    typedef int32_t ints __attribute__((vector_size(16)));
    ints m = a < b;
    return (pq_reg)(((ints)x & m) | ((ints)y & ~m));
}

LANE_INLINE pq_reg reg_sqrt(pq_reg a)
{
    for (int i = 0; i < 4; i++)
        a[i] = __builtin_sqrtf(a[i]);
    return a;
}
#endif

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

LANE_INLINE pq_v16 v16_load(const float *p)
{
    pq_v16 v;
    memcpy(&v, p, sizeof v);
    return v;
}

LANE_INLINE void v16_store(float *p, pq_v16 a)
{
    memcpy(p, &a, sizeof a);
}

/* a < b ? x : y, lane by lane */
LANE_INLINE pq_v16 v16_if_less(pq_v16 a, pq_v16 b, pq_v16 x, pq_v16 y)
{
    pq_v16 v;
    for (int i = 0; i < PQ_REGS; i++)
        v.r[i] = reg_if_less(a.r[i], b.r[i], x.r[i], y.r[i]);
    return v;
}

LANE_INLINE pq_v16 v16_sqrt(pq_v16 a)
{
    for (int i = 0; i < PQ_REGS; i++)
        a.r[i] = reg_sqrt(a.r[i]);
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

/* ---- two by eight: even lanes belong to one thing, odd lanes to another ---- */

/* p[0] in every even lane, p[1] in every odd one. */
static inline pq_v16 v16_two(const float *p)
{
    pq_v16 v;
    double d;
    memcpy(&d, p, sizeof d);
#if PQ_LANE_WIDTH == 16
    v.r[0] = _mm512_castpd_ps(_mm512_set1_pd(d));
#elif PQ_LANE_WIDTH == 8
    v.r[0] = v.r[1] = _mm256_castpd_ps(_mm256_set1_pd(d));
#else
    for (int i = 0; i < PQ_LANES / 2; i++)
        memcpy((char *)&v + 8 * i, &d, sizeof d);
#endif
    return v;
}

/* Lane i gets lane i ^ n, for n = 8, 4 or 2. */
static inline pq_v16 v16_swap(pq_v16 a, int n)
{
#if PQ_LANE_WIDTH == 16
    if (n == 8)
        return (pq_v16){{_mm512_shuffle_f32x4(a.r[0], a.r[0], 0x4e)}};
    if (n == 4)
        return (pq_v16){{_mm512_shuffle_f32x4(a.r[0], a.r[0], 0xb1)}};
    return (pq_v16){{_mm512_permute_ps(a.r[0], 0x4e)}};
#elif PQ_LANE_WIDTH == 8
    if (n == 8)
        return (pq_v16){{a.r[1], a.r[0]}};
    for (int i = 0; i < 2; i++)
        a.r[i] =
            n == 4 ? _mm256_permute2f128_ps(a.r[i], a.r[i], 1) : _mm256_permute_ps(a.r[i], 0x4e);
    return a;
#else
    float f[PQ_LANES], g[PQ_LANES];
    v16_store(f, a);
    for (int i = 0; i < PQ_LANES; i++)
        g[i] = f[i ^ n];
    return v16_load(g);
#endif
}

/* Every lane gets the sum (the maximum) over the lanes of its kind. */
static inline pq_v16 v16_two_sum(pq_v16 a)
{
    for (int n = 8; n > 1; n /= 2)
        a = v16_add(a, v16_swap(a, n));
    return a;
}

static inline pq_v16 v16_two_max(pq_v16 a)
{
    for (int n = 8; n > 1; n /= 2)
        a = v16_max(a, v16_swap(a, n));
    return a;
}

/* For each kind, the first lane that holds its largest value. */
static inline void v16_two_argmax(pq_v16 a, int at[2])
{
#if PQ_LANE_WIDTH == 16
    uint32_t top = _mm512_cmp_ps_mask(a.r[0], v16_two_max(a).r[0], _CMP_EQ_OQ);
    at[0] = __builtin_ctz((top & 0x5555u) | 0x10000u) & 15;
    at[1] = __builtin_ctz((top & 0xaaaau) | 0x20000u) & 15;
#else
    float f[PQ_LANES];
    v16_store(f, a);
    at[0] = 0;
    at[1] = 1;
    for (int i = 2; i < PQ_LANES; i++)
        if (f[i] > f[at[i & 1]])
            at[i & 1] = i;
#endif
}

/* Lanes hold integers that fit int32; out gets their lowest bytes. */
LANE_INLINE void v16_bytes(pq_v16 a, uint8_t *out)
{
#if PQ_LANE_WIDTH == 16
    _mm_storeu_si128((void *)out, _mm512_cvtepi32_epi8(_mm512_cvttps_epi32(a.r[0])));
#elif PQ_LANE_WIDTH == 8
    __m256i low = _mm256_set1_epi32(255);
    __m256i p = _mm256_packus_epi32(_mm256_and_si256(_mm256_cvttps_epi32(a.r[0]), low),
                                    _mm256_and_si256(_mm256_cvttps_epi32(a.r[1]), low));
    p = _mm256_permute4x64_epi64(p, 0xd8);
    _mm_storeu_si128((void *)out,
                     _mm_packus_epi16(_mm256_castsi256_si128(p), _mm256_extracti128_si256(p, 1)));
#else
    float f[PQ_LANES];
    v16_store(f, a);
    for (int i = 0; i < PQ_LANES; i++)
        out[i] = (uint8_t)(int32_t)f[i];
#endif
}

/* table[i] for lanes that hold integers 0..15. */
LANE_INLINE pq_v16 v16_lookup(pq_v16 table, pq_v16 i)
{
#if PQ_LANE_WIDTH == 16
    return (pq_v16){{_mm512_permutexvar_ps(_mm512_cvttps_epi32(i.r[0]), table.r[0])}};
#elif PQ_LANE_WIDTH == 8
    pq_v16 v;
    for (int k = 0; k < 2; k++) {
        __m256i n = _mm256_cvttps_epi32(i.r[k]);
        __m256 low = _mm256_permutevar8x32_ps(table.r[0], n);
        __m256 high = _mm256_permutevar8x32_ps(table.r[1], n);
        v.r[k] = _mm256_blendv_ps(low, high, _mm256_castsi256_ps(_mm256_slli_epi32(n, 28)));
    }
    return v;
#else
    float t[PQ_LANES], f[PQ_LANES];
    v16_store(t, table);
    v16_store(f, i);
    for (int k = 0; k < PQ_LANES; k++)
        f[k] = t[(int)f[k] & 15];
    return v16_load(f);
#endif
}

#endif
