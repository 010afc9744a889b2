/*
 * Small numbers: checked sizes, little-endian loads, half and 8-bit floats.
 * Header only, so that hot loops inline it. SPDX-License-Identifier: MIT
 */
#ifndef PQ_BASE_NUM_H
#define PQ_BASE_NUM_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define PQ_LEN(a) (sizeof(a) / sizeof((a)[0]))

static inline bool pq_mul_u64(uint64_t a, uint64_t b, uint64_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

static inline bool pq_add_u64(uint64_t a, uint64_t b, uint64_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}

static inline uint64_t pq_round_up(uint64_t x, uint64_t align)
{
    return (x + align - 1) / align * align;
}

static inline uint64_t pq_ceil_div(uint64_t a, uint64_t b)
{
    return a / b + (a % b != 0);
}

/* Little-endian loads from any address; byte order of the machine does not matter. */
static inline uint16_t pq_le16(const void *p)
{
    const uint8_t *b = (const uint8_t *)p;
    return (uint16_t)(b[0] | b[1] << 8);
}

static inline uint32_t pq_le32(const void *p)
{
    const uint8_t *b = (const uint8_t *)p;
    return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

static inline uint64_t pq_le64(const void *p)
{
    return (uint64_t)pq_le32(p) | (uint64_t)pq_le32((const uint8_t *)p + 4) << 32;
}

static inline void pq_put_le16(void *p, uint16_t v)
{
    uint8_t *b = (uint8_t *)p;
    b[0] = (uint8_t)v;
    b[1] = (uint8_t)(v >> 8);
}

static inline void pq_put_le32(void *p, uint32_t v)
{
    pq_put_le16(p, (uint16_t)v);
    pq_put_le16((uint8_t *)p + 2, (uint16_t)(v >> 16));
}

static inline uint32_t pq_f32_bits(float x)
{
    uint32_t u;
    memcpy(&u, &x, 4);
    return u;
}

static inline float pq_bits_f32(uint32_t u)
{
    float x;
    memcpy(&x, &u, 4);
    return x;
}

/* bfloat16: the upper half of an IEEE single. Rounds to nearest even; NaN stays NaN. */
static inline float pq_bf16_to_f32(uint16_t h)
{
    return pq_bits_f32((uint32_t)h << 16);
}

static inline uint16_t pq_f32_to_bf16(float x)
{
    uint32_t u = pq_f32_bits(x);
    if ((u & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)(u >> 16 | 0x40);
    return (uint16_t)((u + 0x7fffu + (u >> 16 & 1)) >> 16);
}

/* IEEE 754 binary16, round to nearest even, subnormals kept, overflow to infinity.
 * Integer arithmetic only where rounding matters, so every machine gives the same bits. */
static inline float pq_f16_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, em = h & 0x7fffu;
    if (em >= 0x7c00u) /* infinity, NaN */
        return pq_bits_f32(sign | 0x7f800000u | (em & 0x3ffu) << 13);
    if (em >= 0x0400u) /* normal: rebias the exponent from 15 to 127 */
        return pq_bits_f32(sign | ((em << 13) + 0x38000000u));
    float x = (float)em * 0x1p-24f; /* subnormal: exact */
    return sign ? -x : x;
}

static inline uint16_t pq_f32_to_f16(float x)
{
    uint32_t u = pq_f32_bits(x), a = u & 0x7fffffffu;
    uint16_t sign = (uint16_t)(u >> 16 & 0x8000u);
    if (a > 0x7f800000u)
        return (uint16_t)(sign | 0x7e00u);
    if (a >= 0x477ff000u) /* 65520 and above round to infinity */
        return (uint16_t)(sign | 0x7c00u);
    if (a >= 0x38800000u) { /* normal half */
        uint32_t r = a + 0xfffu + (a >> 13 & 1);
        return (uint16_t)(sign | (r - 0x38000000u) >> 13);
    }
    if (a < 0x33000000u) /* below half of the smallest subnormal */
        return sign;
    uint32_t shift = 126 - (a >> 23), m = (a & 0x7fffffu) | 0x800000u; /* 14..24 */
    uint32_t q = m >> shift, rest = m & ((1u << shift) - 1), half = 1u << (shift - 1);
    q += rest > half || (rest == half && (q & 1));
    return (uint16_t)(sign | q);
}

/* OCP 8-bit floats. E4M3 is the "fn" kind: no infinity, 0x7f and 0xff are NaN, largest 448. */
static inline float pq_e4m3_to_f32(uint8_t v)
{
    uint32_t sign = (uint32_t)(v & 0x80u) << 24, em = v & 0x7fu;
    if (em == 0x7fu)
        return pq_bits_f32(sign | 0x7fc00000u);
    if (em >= 8)
        return pq_bits_f32(sign | ((em << 20) + (120u << 23)));
    float x = (float)em * 0x1p-9f;
    return sign ? -x : x;
}

static inline float pq_e5m2_to_f32(uint8_t v)
{
    return pq_f16_to_f32((uint16_t)(v << 8)); /* the upper byte of a binary16 */
}

/* Nearest E4M3, ties to even, saturating at 448; NaN stays NaN. */
static inline uint8_t pq_f32_to_e4m3(float x)
{
    uint32_t u = pq_f32_bits(x), a = u & 0x7fffffffu;
    uint8_t sign = (uint8_t)(u >> 24 & 0x80u);
    if (a > 0x7f800000u)
        return (uint8_t)(sign | 0x7fu);
    if (a >= 0x43e00000u) /* 448 */
        return (uint8_t)(sign | 0x7eu);
    if (a >= 0x3c800000u) { /* normal: 2^-6 and above */
        uint32_t r = a + 0x7ffffu + (a >> 20 & 1);
        uint32_t q = (r - (120u << 23)) >> 20;
        return (uint8_t)(sign | (q > 0x7eu ? 0x7eu : q));
    }
    uint32_t m = pq_f32_bits(pq_bits_f32(a) * 0x1p9f + 0x1p23f) & 0xfu; /* rounds to even */
    return (uint8_t)(sign | m);
}

/* E8M0, the scale of the OCP microscaling formats: 2^(v - 127); 255 is NaN. */
static inline float pq_e8m0_to_f32(uint8_t v)
{
    if (v == 255)
        return pq_bits_f32(0x7fc00000u);
    return v ? pq_bits_f32((uint32_t)v << 23) : pq_bits_f32(0x00400000u);
}

#endif
