/*
 * Template: neutral integers, w = scale * (code - zero point), per group or per row.
 *
 * Symmetric groups use the search of GGUF's Q4_0 and Q8_0, so that the same weights give the same
 * numbers in every container. Everything else searches here: sixteen trims of the range, then the
 * stored scales and zero points around the best. A row does not fit on the stack: it is taken in
 * pieces, and lanes add up what the pieces say. SPDX-License-Identifier: MIT
 */
#ifndef PQ_KERN_ENC_INT_H
#define PQ_KERN_ENC_INT_H

#include "kern/enc_fit.h"
#include "kern/enc_ggml.h"
#include "kern/group.h"

/* One group or row. Values are in units of `unit`, importance in units of 1 / down. */
struct int_span {
    const struct pq_encode_in *in;
    uint64_t at, n;
    float unit, down, sigma2;
    float lo, hi; /* the range, zero included, as stored */
    bool one;     /* fits one piece, which run holds */
    struct fit_run run;
};

struct int_fit {
    float s; /* as stored */
    int zero;
};

static inline int int_piece_size(const struct int_span *sp, uint64_t at)
{
    return (int)(sp->n - at < GROUP_MAX ? sp->n - at : GROUP_MAX);
}

static inline void int_measure(struct int_span *sp)
{
    const float *x = sp->in->x + sp->at;
    pq_v16 lo = v16_set(0.0f), hi = lo, h = lo;
    for (uint64_t j = 0; j < sp->n; j += PQ_LANES) {
        pq_v16 v = v16_finite(v16_load(x + j));
        lo = v16_min(lo, v);
        hi = v16_max(hi, v);
        if (sp->in->search && sp->in->importance)
            h = v16_max(v16_load(sp->in->importance + sp->at + j), h);
    }
    sp->lo = 0.0f - v16_hmax(v16_sub(v16_set(0.0f), lo));
    sp->hi = v16_hmax(hi);
    sp->unit = fit_power(sp->hi > -sp->lo ? sp->hi : -sp->lo);
    float top = v16_hmax(h);
    sp->down = top > 0.0f ? 1.0f / fit_power(top) : 0.0f;
}

LANE_INLINE void int_weights(struct int_span *sp, uint64_t at, int n)
{
    pq_v16 sigma2 = v16_set(sp->sigma2), least = v16_set(0x1p-20f), h = v16_set(1.0f);
    for (int j = 0; j < n; j += PQ_LANES) {
        if (sp->down > 0.0f) {
            h = v16_load(sp->in->importance + sp->at + at + (uint64_t)j);
            h = v16_clamp(v16_mul(h, v16_set(sp->down)), least, v16_set(2.0f));
        }
        v16_store(sp->run.w + j, fit_weight(v16_load(sp->run.x + j), h, sigma2));
    }
}

/* Loads the piece at `at` into run; returns its size. */
LANE_INLINE int int_piece(struct int_span *sp, uint64_t at)
{
    int n = int_piece_size(sp, at);
    if (sp->one)
        return n;
    pq_v16 down = v16_set(1.0f / sp->unit);
    for (int j = 0; j < n; j += PQ_LANES) {
        pq_v16 x = v16_finite(v16_load(sp->in->x + sp->at + at + (uint64_t)j));
        v16_store(sp->run.x + j, v16_mul(x, down));
    }
    int_weights(sp, at, n);
    return n;
}

/* Prepares the search; false when all weights are zero. Rows: the mean square first, as weights
 * need it. */
static inline bool int_open(struct int_span *sp, uint64_t group)
{
    float x[GROUP_MAX];
    sp->sigma2 = 0.0f;
    sp->one = sp->n <= GROUP_MAX;
    if (sp->one) {
        struct pq_encode_in one = group_of(sp->in, group, x);
        return fit_load(&one, 0, (int)sp->n, &sp->run);
    }
    pq_v16 sum = v16_set(0.0f);
    for (uint64_t at = 0; at < sp->n; at += GROUP_MAX) {
        int n = int_piece(sp, at);
        for (int j = 0; j < n; j += PQ_LANES) {
            pq_v16 v = v16_load(sp->run.x + j);
            sum = v16_add(sum, v16_mul(v, v));
        }
    }
    sp->sigma2 = 2.0f * v16_sum(sum) / (float)sp->n;
    return sp->lo < sp->hi;
}

/* Codes less zero point, for each lane's scale and zero point, lie in lo..hi. */
struct int_lanes {
    pq_v16 s, lo, hi;
};

/* The lane whose codes explain most, with the scale that least squares gives them. */
FIT_INLINE int int_best_trim(struct int_span *sp, const struct int_lanes *l, float *scale)
{
    pq_v16 qq = v16_set(0.0f), qx = qq, inv = fit_inverses(l->s);
    for (uint64_t at = 0; at < sp->n; at += GROUP_MAX) {
        int n = int_piece(sp, at);
        for (int j = 0; j < n; j++) {
            pq_v16 x = v16_set(sp->run.x[j]),
                   q = v16_round(v16_clamp(v16_mul(x, inv), l->lo, l->hi));
            pq_v16 wq = v16_mul(v16_set(sp->run.w[j]), q);
            qq = v16_add(qq, v16_mul(wq, q));
            qx = v16_add(qx, v16_mul(wq, x));
        }
    }
    pq_v16 s = v16_div(qx, v16_max(qq, v16_set(1e-30f)));
    int best = v16_argmax(v16_mul(qx, s));
    *scale = v16_lane(s, best);
    return best;
}

/* The lane whose decoded values are nearest. */
FIT_INLINE int int_best_stored(struct int_span *sp, const struct int_lanes *l)
{
    pq_v16 gain = v16_set(0.0f), inv = fit_inverses(l->s);
    for (uint64_t at = 0; at < sp->n; at += GROUP_MAX) {
        int n = int_piece(sp, at);
        for (int j = 0; j < n; j++) {
            pq_v16 x = v16_set(sp->run.x[j]),
                   q = v16_round(v16_clamp(v16_mul(x, inv), l->lo, l->hi));
            pq_v16 e = v16_sub(x, v16_mul(q, l->s));
            gain = v16_sub(gain, v16_mul(v16_mul(e, e), v16_set(sp->run.w[j])));
        }
    }
    return v16_argmax(gain);
}

/* ---- candidates ---- */

static inline float int_top(const struct pq_encode_in *in)
{
    return (float)((1 << in->bits) - 1);
}

/* Symmetric 8-bit codes keep to -127..127: some runtimes negate them in a byte. */
static inline float int_lowest(const struct pq_encode_in *in, float zero)
{
    return in->symmetric && in->bits == 8 ? -127.0f : 0.0f - zero;
}

static inline struct int_lanes int_lanes_of(const struct pq_encode_in *in, const float *s,
                                            const float *zero)
{
    float lo[PQ_LANES], hi[PQ_LANES];
    for (int i = 0; i < PQ_LANES; i++) {
        lo[i] = int_lowest(in, zero[i]);
        hi[i] = int_top(in) - zero[i];
    }
    return (struct int_lanes){v16_load(s), v16_load(lo), v16_load(hi)};
}

static inline float int_zero_of(float lo, float s, float top)
{
    float zero = rintf(s > 0.0f ? -lo / s : 0.0f);
    return zero < 0.0f ? 0.0f : zero > top ? top : zero;
}

/* The largest weight with its sign; the first of equals, as in Q4_0. */
static inline float int_extreme(const struct int_span *sp)
{
    if (sp->hi != -sp->lo)
        return sp->hi > -sp->lo ? sp->hi : sp->lo;
    const float *x = sp->in->x + sp->at;
    for (uint64_t j = 0; j < sp->n; j++)
        if (x[j] >= sp->hi || x[j] <= sp->lo)
            return x[j] >= sp->hi ? sp->hi : sp->lo;
    return sp->hi;
}

/* By how much a trim shortens an end of the range: the longer the run, the rarer its extremes. */
static inline float int_trim_step(const struct int_span *sp)
{
    if (!sp->one)
        return sp->in->bits == 8 ? 0.1f : 0.2f;
    return sp->in->bits == 8 ? 0.004f : sp->n > 128 ? 0.09f : sp->n > 64 ? 0.06f : 0.04f;
}

/* Asymmetric: both ends move inwards, each by four steps; `outside`: from how far outside. */
static inline void int_trims(const struct int_span *sp, float lo, float hi, float step,
                             float outside, float *s, float *zero)
{
    float top = int_top(sp->in);
    for (int i = 0; i < PQ_LANES; i++) {
        float low = lo * (1.0f + outside - step * (float)(i / 4));
        float high = hi * (1.0f + outside - step * (float)(i % 4));
        s[i] = (high - low) / top;
        zero[i] = int_zero_of(low, s[i], top);
    }
}

/* Symmetric rows: the extreme value lies on the outermost code or ever further outside. */
static inline void int_shrinks(const struct int_span *sp, float *s, float *zero)
{
    float half = (float)(1 << (sp->in->bits - 1)), ratio = sp->in->bits == 8 ? 1.025f : 1.06f;
    float ext = int_extreme(sp) / sp->unit;
    float place = sp->in->bits == 8 ? 127.0f : -half;
    for (int i = 0; i < PQ_LANES; i++, place *= ratio) {
        s[i] = ext / place;
        zero[i] = half;
    }
}

/* What is stored: scales a few of bfloat16's steps apart, with the zero point and its neighbours;
 * the last lane is the untrimmed range. */
static inline void int_around(const struct int_span *sp, float scale, float at, float *s,
                              float *zero)
{
    static const float nudge[5] = {0.0f, -0x1p-8f, 0x1p-8f, -0x1p-7f, 0x1p-7f};
    float top = int_top(sp->in), down = 1.0f / sp->unit;
    for (int i = 0; i < PQ_LANES - 1; i++) {
        float z = sp->in->symmetric ? at : at + (float)(i / 5 == 2 ? -1 : i / 5);
        s[i] = aux_round(scale * (1.0f + nudge[i % 5]) * sp->unit, sp->in->aux) * down;
        zero[i] = z < 0.0f ? 0.0f : z > top ? top : z;
    }
    float plain = aux_round((sp->hi - sp->lo) / top, sp->in->aux);
    s[PQ_LANES - 1] = sp->in->symmetric ? s[0] : plain * down;
    zero[PQ_LANES - 1] = sp->in->symmetric ? at : int_zero_of(sp->lo, plain, top);
}

/* ---- solvers: the scale as stored, in real units, and the zero point ---- */

/* Asymmetric trims; for rows a second, finer round around the best of the first. */
FIT_INLINE float int_trim(struct int_span *sp, float *scale)
{
    float s[PQ_LANES], zero[PQ_LANES], step = int_trim_step(sp), top = int_top(sp->in);
    int_trims(sp, sp->lo / sp->unit, sp->hi / sp->unit, step, 0.0f, s, zero);
    struct int_lanes l = int_lanes_of(sp->in, s, zero);
    int i = int_best_trim(sp, &l, scale);
    if (!sp->one) {
        float lo = -s[i] * zero[i];
        int_trims(sp, lo, lo + s[i] * top, 0.3f * step, 0.45f * step, s, zero);
        l = int_lanes_of(sp->in, s, zero);
        i = int_best_trim(sp, &l, scale);
    }
    return zero[i];
}

FIT_INLINE float int_shrink(struct int_span *sp, float *scale)
{
    float s[PQ_LANES], zero[PQ_LANES];
    int_shrinks(sp, s, zero);
    struct int_lanes l = int_lanes_of(sp->in, s, zero);
    return zero[int_best_trim(sp, &l, scale)];
}

FIT_INLINE struct int_fit int_search(struct int_span *sp)
{
    float s[PQ_LANES], zero[PQ_LANES], scale;
    float z = sp->in->symmetric ? int_shrink(sp, &scale) : int_trim(sp, &scale);
    int_around(sp, scale, z, s, zero);
    struct int_lanes l = int_lanes_of(sp->in, s, zero);
    int i = int_best_stored(sp, &l);
    return (struct int_fit){aux_round(s[i] * sp->unit, sp->in->aux), (int)zero[i]};
}

/* Codes of a search, chosen against the stored scale. */
FIT_INLINE void int_codes(struct int_span *sp, struct int_fit f, uint8_t *out)
{
    const struct fit_grid g = {int_lowest(sp->in, (float)f.zero), int_top(sp->in) - (float)f.zero,
                               false};
    uint8_t q[GROUP_MAX], skip = (uint8_t)((float)f.zero + g.lo);
    for (uint64_t at = 0; at < sp->n; at += GROUP_MAX) {
        int n = int_piece(sp, at);
        near_codes(g, sp->run.x, n, f.s / sp->unit, 0.0f, q);
        for (int j = 0; skip && j < n; j++)
            q[j] = (uint8_t)(q[j] + skip);
        pack_codes(q, n, sp->in->bits, out + at * (uint64_t)sp->in->bits / 8);
    }
}

/* All weights are zero. */
static inline struct int_fit int_nothing(const struct int_span *sp, uint8_t *out)
{
    int zero = sp->in->symmetric ? 1 << (sp->in->bits - 1) : 0;
    memset(out, sp->in->bits == 8 ? zero : zero * 0x11, sp->n * (uint64_t)sp->in->bits / 8);
    return (struct int_fit){0.0f, zero};
}

/* Round to nearest: the rules of Q4_0 and Q8_0, and for asymmetric codes the whole range. */
FIT_INLINE struct int_fit int_nearest(const struct int_span *sp, uint8_t *out)
{
    const struct pq_encode_in *in = sp->in;
    float top = int_top(in), half = (top + 1.0f) / 2.0f, x[GROUP_MAX];
    float ext = int_extreme(sp), range = sp->hi - sp->lo;
    float d = !in->symmetric ? range / top : in->bits == 8 ? fabsf(ext) / 127.0f : ext / -half;
    struct int_fit f = {aux_round(d, in->aux), (int)half};
    if (!in->symmetric)
        f.zero = (int)int_zero_of(sp->lo, f.s, top);
    const struct fit_grid g = {0.0f - (float)f.zero, top - (float)f.zero, false};
    uint8_t q[GROUP_MAX];
    for (uint64_t at = 0; at < sp->n; at += GROUP_MAX) {
        int n = int_piece_size(sp, at);
        group_load(x, in->x + sp->at + at, n);
        if (!in->symmetric)
            near_codes(g, x, n, f.s, 0.0f, q);
        else if (in->bits == 8)
            away_codes(x, n, fit_inverse(d), 128, q);
        else
            floor_codes(x, n, 0.0f, fit_inverse(d), half + 0.5f, top, q);
        pack_codes(q, n, in->bits, out + at * (uint64_t)in->bits / 8);
    }
    return f;
}

static struct int_fit int_one(struct int_span *sp, uint64_t group, uint8_t *out)
{
    int_measure(sp);
    if (!sp->in->search)
        return int_nearest(sp, out);
    if (!int_open(sp, group))
        return int_nothing(sp, out);
    struct int_fit f = int_search(sp);
    int_codes(sp, f, out);
    return f;
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

/* Symmetric groups i to i + rows take the very search of Q4_0's and Q8_0's blocks. */
static void int_symmetric(const struct pq_encode_in *in, uint64_t i, int rows, void *const part[])
{
    int half = 1 << (in->bits - 1), n = (int)in->group;
    const struct fit_grid g = {int_lowest(in, (float)half), (float)half - 1.0f, false};
    const float *places = in->bits == 8 ? q8_0_places : q4_0_places;
    struct many r;
    float s[PQ_LANES], x[GROUP_MAX];
    uint8_t q[GROUP_MAX], *codes = part[0], skip = (uint8_t)((float)half + g.lo);
    const struct many_at a = {i * in->group, n, rows, 1};
    many_read(in, a, true, &r);
    many_weigh(in, a, &r);
    v16_store(s, v16_stored(v16_mul(many_scales(g, &r, n, places, PLACES), r.unit), in->aux));
    for (int k = 0; k < rows; k++, i++) {
        group_load(x, in->x + i * in->group, n);
        near_codes(g, x, n, s[k], 0.0f, q);
        for (int j = 0; skip && j < n; j++)
            q[j] = (uint8_t)(q[j] + skip);
        pack_codes(q, n, in->bits, codes + i * in->group / 8 * (uint64_t)in->bits);
        aux_put(part[1], i, s[k], in->aux);
    }
}

static void enc_int(const struct pq_encode_in *in, void *const part[])
{
    uint8_t *codes = part[0], *scales = part[1], *zeros = part[2];
    uint64_t groups = in->cols / in->group;
    bool many = in->search && in->symmetric && in->group <= GROUP_MAX;
    struct int_span sp = {.in = in, .n = in->group};
    for (uint64_t i = 0; many && i < groups; i += PQ_LANES)
        int_symmetric(in, i, groups - i < PQ_LANES ? (int)(groups - i) : PQ_LANES, part);
    for (uint64_t i = 0; !many && i < groups; i++) {
        sp.at = i * in->group;
        struct int_fit f = int_one(&sp, i, codes + sp.at / 8 * (uint64_t)in->bits);
        aux_put(scales, i, f.s, in->aux);
        if (!in->symmetric)
            int_put_zero(zeros, i, in->bits, f.zero);
    }
}

#define PQ_ROWS_INT [PQ_ENC_INT] = enc_int

#endif
