/*
 * Template: what the integers of groups and of rows share: scales and zero points, candidates for
 * them, and codes. SPDX-License-Identifier: MIT
 */
#ifndef PQ_KERN_ENC_INT_FIT_H
#define PQ_KERN_ENC_INT_FIT_H

#include "kern/enc_ggml.h"
#include "kern/group.h"

/* A scale as stored, what weights are multiplied by to get codes, and the zero point. */
struct int_fit {
    float s, inv, zero;
};

/* Sixteen of them. */
struct int_fits {
    pq_v16 s, inv, zero;
};

LANE_INLINE struct int_fits int_fits_of(pq_v16 stored, pq_v16 zero)
{
    return (struct int_fits){stored, fit_inverses(stored), zero};
}

static inline struct int_fit int_fit_of(struct int_fits f)
{
    return (struct int_fit){v16_lane(f.s, 0), v16_lane(f.inv, 0), v16_lane(f.zero, 0)};
}

static inline float int_top(const struct pq_encode_in *in)
{
    return (float)((1 << in->bits) - 1);
}

/* Symmetric 8-bit codes keep to -127..127: some runtimes negate them in a byte. */
static inline float int_lowest(const struct pq_encode_in *in, float zero)
{
    return in->symmetric && in->bits == 8 ? -127.0f : 0.0f - zero;
}

/* The weight of largest magnitude with its sign, the first of equals, as in Q4_0. */
static inline float int_extreme(const float *x, uint64_t n, float lo, float hi)
{
    if (hi != -lo)
        return hi > -lo ? hi : lo;
    for (uint64_t j = 0; hi > 0.0f && j < n; j++)
        if (x[j] >= hi || x[j] <= lo)
            return x[j] >= hi ? hi : lo;
    return hi;
}

/* ---- zero points ---- */

/* The zero point of a range, and on which side of it the second nearest lies. */
struct int_zeros {
    pq_v16 near, side;
    float top;
};

/* at: where zero lies between the codes 0 and top */
LANE_INLINE struct int_zeros int_zeros_of(pq_v16 at, float top)
{
    pq_v16 near = v16_round(v16_clamp(at, v16_set(0.0f), v16_set(top)));
    return (struct int_zeros){near, v16_if_less(at, near, v16_set(-1.0f), v16_set(1.0f)), top};
}

/* The nearest zero point (away = 0), the second nearest, the third. */
LANE_INLINE pq_v16 int_zero_near(struct int_zeros z, int away)
{
    static const float steps[3] = {0.0f, 1.0f, -1.0f};
    return v16_clamp(v16_fma(z.side, v16_set(steps[away]), z.near), v16_set(0.0f), v16_set(z.top));
}

/* A candidate: which zero point, and by how much the scale of the whole range is stretched. */
struct int_try {
    int away;
    float stretch;
};

/* ---- round to nearest ---- */

static inline struct int_fits int_nearest_fits(const struct pq_encode_in *in, pq_v16 lo, pq_v16 hi,
                                               pq_v16 ext)
{
    float top = int_top(in), half = (top + 1.0f) / 2.0f;
    pq_v16 none = v16_set(0.0f), d = v16_div(ext, v16_set(-half));
    if (!in->symmetric) {
        pq_v16 s = v16_stored(v16_div(v16_sub(hi, lo), v16_set(top)), in->aux);
        pq_v16 at = v16_if_less(none, s, v16_div(v16_sub(none, lo), s), none);
        return int_fits_of(s, int_zeros_of(at, top).near);
    }
    if (in->bits == 8)
        d = v16_div(v16_abs(ext), v16_set(127.0f));
    pq_v16 inv = v16_if_less(none, v16_abs(d), v16_div(v16_set(1.0f), d), none);
    return (struct int_fits){v16_stored(d, in->aux), inv, v16_set(half)};
}

/* ---- codes ---- */

/* round(x * inv) + zero within the codes from lowest to top, packed; bits is a constant. */
FIT_INLINE void int_line(const float *x, int n, const struct code_line *l, int bits, uint8_t *out)
{
    pq_v16 inv = v16_set(l->inv), from = v16_set(PQ_MAGIC + l->zero);
    pq_v16 lo = v16_set(PQ_MAGIC + l->lo), hi = v16_set(PQ_MAGIC + l->hi);
    for (int j = 0; j < n; j += PQ_LANES) {
        uint8_t q[PQ_LANES];
        pq_v16 t = v16_fma(v16_load(x + j), inv, from);
        v16_magic_bytes(v16_clamp(t, lo, hi), bits == 8 ? out + j : q);
        if (bits == 4)
            bytes_nibbles(q, PQ_LANES, out + j / 2);
    }
}

/* Nearest and symmetric: against the scale before it is stored, as GGUF. */
static inline void int_nearest_codes(const struct pq_encode_in *in, const float *x, int n,
                                     struct int_fit f, uint8_t *out)
{
    uint8_t q[GROUP_MAX];
    if (in->bits == 8)
        away_codes(x, n, f.inv, f.zero, q);
    else
        floor_codes(x, n, 0.0f, f.inv, f.zero + 0.5f, int_top(in), q);
    pack_codes(q, n, in->bits, out);
}

/* Codes of n weights, GROUP_MAX at most. */
FIT_INLINE void int_codes(const struct pq_encode_in *in, const float *x, int n, struct int_fit f,
                          uint8_t *out)
{
    const float lowest = f.zero + int_lowest(in, f.zero);
    const struct code_line l = {0.0f, f.inv, f.zero, lowest, int_top(in)};
    if (!in->search && in->symmetric)
        int_nearest_codes(in, x, n, f, out);
    else if (in->bits == 8)
        int_line(x, n, &l, 8, out);
    else
        int_line(x, n, &l, 4, out);
}

/* Scales of `count` groups from the i-th on, as stored. */
static inline void int_put_scales(void *part, uint64_t i, int count, pq_v16 s, enum pq_dtype aux)
{
    float v[PQ_LANES];
    uint16_t h[PQ_LANES];
    uint8_t *p = (uint8_t *)part + i * pq_dtype_size(aux);
    v16_store(v, s);
    v16_to_f16(s, h);
    for (int r = 0; r < count; r++)
        if (aux == PQ_F16)
            pq_put_le16(p + 2 * r, h[r]);
        else
            aux_put(p, (uint64_t)r, v[r], aux);
}

/* Zero points are packed like codes, each row from a byte of its own. */
static inline void int_put_zero(uint8_t *zeros, uint64_t i, int bits, int zero)
{
    if (bits == 8)
        zeros[i] = (uint8_t)zero;
    else if (i % 2)
        zeros[i / 2] |= (uint8_t)(zero << 4);
    else
        zeros[i / 2] = (uint8_t)zero;
}

#endif
