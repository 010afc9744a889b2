/*
 * Template: one token's products with sixteen stored rows at once (AVX-512), strip by strip, on
 * run_nibbles.h. SPDX-License-Identifier: MIT
 */
#ifndef PQ_KERN_RUN_ROWS_H
#define PQ_KERN_RUN_ROWS_H

#include "kern/run_nibbles.h"

#if defined __AVX512VNNI__ && !defined PQ_LANES_PLAIN

/* ---- codes of at most five bits, in steps of four groups ---- */

/* The next strip follows this one in the file: while a part of this one is worked on, the same part
 * of that one is asked for. */
LANE_INLINE void nibbles_ahead(const uint8_t *p, uint64_t bytes)
{
    for (uint64_t i = 0; i < bytes; i += 64)
        _mm_prefetch((const char *)p + i, _MM_HINT_T1);
}

/* Stored values `first` to first + n - 1 of all rows; n is at most 8, or 16 in single precision. */
LANE_INLINE void nibbles_aux(const struct pq_codes_in *in, int part, uint64_t first, uint64_t n,
                             pq_v16 v[PQ_LANES])
{
    if (in[0].aux != PQ_F32) {
        nibbles_halves(in, part, first, n, (__m512 *)v);
        return;
    }
    for (int r = 0; r < PQ_STRIP_ROWS; r++)
        v[r].r[0] = _mm512_maskz_loadu_ps((__mmask16)nibbles_mask(n), in[r].part[part] + 4 * first);
    v16_transpose(v);
}

/* Four bytes of each row, of which the first n are there. */
LANE_INLINE __m512i nibbles_words_at(const struct pq_codes_in *in, int part, uint64_t at,
                                     uint64_t n)
{
    const __mmask16 there = (__mmask16)(nibbles_mask(n) & 15);
    __m128i v[4];
    for (int i = 0; i < 4; i++) {
        __m128i w[4];
        for (int k = 0; k < 4; k++)
            w[k] = _mm_maskz_loadu_epi8(there, in[4 * i + k].part[part] + at);
        v[i] = _mm_unpacklo_epi64(_mm_unpacklo_epi32(w[0], w[1]), _mm_unpacklo_epi32(w[2], w[3]));
    }
    return _mm512_inserti64x4(
        _mm512_castsi256_si512(_mm256_inserti128_si256(_mm256_castsi128_si256(v[0]), v[1], 1)),
        _mm256_inserti128_si256(_mm256_castsi128_si256(v[2]), v[3], 1), 1);
}

/* Offsets from stored zero points, as codes_scales has them; `first` is a multiple of 8. */
LANE_INLINE void nibbles_zeros(const struct pq_codes_in *in, uint64_t first, uint64_t n,
                               const pq_v16 *scale, pq_v16 *offset)
{
    const uint64_t bits = in[0].zeros == PQ_ZERO_BYTES ? 8 : 4;
    const __m512i mask = _mm512_set1_epi32((1 << bits) - 1);
    __m512i word = _mm512_setzero_si512();
    for (uint64_t k = 0; k < n; k++) {
        if (k * bits % 32 == 0)
            word = nibbles_words_at(in, 2, (first + k) * bits / 8, ((n - k) * bits + 7) / 8);
        const __m512i zero = _mm512_and_si512(word, mask);
        offset[k].r[0] = _mm512_sub_ps(_mm512_setzero_ps(),
                                       _mm512_mul_ps(scale[k].r[0], _mm512_cvtepi32_ps(zero)));
        word = _mm512_srl_epi32(word, _mm_cvtsi64_si128((long long)bits));
    }
}

/* Of `chunk` groups, [group >> shift][row]. */
struct nibbles_scales {
    uint64_t chunk;
    unsigned shift;
    pq_v16 scale[PQ_LANES], offset[PQ_LANES];
};

LANE_INLINE void nibbles_begin(const struct nibbles *how, const struct pq_codes_in *in,
                               struct nibbles_scales *s)
{
    const uint64_t times = in[0].per_scale / 32;
    s->chunk = how->chunk;
    s->shift = 0;
    if (how->layout == NIBBLES_PAIRS) {
        s->chunk = (in[0].aux == PQ_F32 ? 16 : 8) * times;
        s->shift = in[0].per_scale == in[0].cols ? 63 : (unsigned)__builtin_ctzll(times);
    }
}

LANE_INLINE void nibbles_fill(const struct nibbles *how, const struct pq_codes_in *in, uint64_t g,
                              uint64_t n, struct nibbles_scales *s)
{
    if (how->layout == NIBBLES_K)
        nibbles_k_scales(how, in, g, (__m512 *)s->scale, (__m512 *)s->offset);
    if (how->layout != NIBBLES_PAIRS)
        return;
    const uint64_t times = in[0].per_scale / 32, first = g / times,
                   stored = (n + times - 1) / times;
    nibbles_aux(in, 1, first, stored, s->scale);
    if (how->offsets && in[0].zeros == PQ_ZERO_OFFSETS)
        nibbles_aux(in, 2, first, stored, s->offset);
    else if (how->offsets)
        nibbles_zeros(in, first, stored, s->scale, s->offset);
}

/* Adds n <= 4 groups, the k-th of the chunk first. */
LANE_INLINE pq_v16 nibbles_step(const struct nibbles *how, const struct pq_codes_in *in,
                                const struct pq_panel *p, uint64_t g, uint64_t k, uint64_t n,
                                struct nibbles_scales *s, pq_v16 f)
{
    __m512i sum[4], heads[4], turned[4];
    nibbles_sums(how, in, p, g + k, n, sum, heads);
    if (how->layout == NIBBLES_BLOCKS) {
        nibbles_turn_halves(heads, turned);
        nibbles_widen(turned[0], turned[1], (__m512 *)s->scale);
        nibbles_widen(turned[2], turned[3], (__m512 *)s->offset);
    }
    for (uint64_t i = 0; i < n; i++) {
        const uint64_t at = g + k + i, j = how->layout == NIBBLES_BLOCKS ? i : (k + i) >> s->shift;
        const __m512i all = _mm512_add_epi32(sum[i], _mm512_set1_epi32(p->start[at]));
        const pq_v16 dot = {{_mm512_cvtepi32_ps(all)}};
        f = v16_fma(dot, v16_mul(s->scale[j], v16_set(p->scale[at])), f);
        if (how->offsets)
            f = v16_fma(s->offset[j], v16_set(p->shift[at]), f);
    }
    return f;
}

LANE_INLINE void nibbles_strip(const struct nibbles *how, const struct pq_codes_in *in,
                               const struct pq_strip *s, const struct pq_panel *p, float *out)
{
    const uint64_t groups = s->cols / 32, row_bytes = groups * how->group;
    const uint8_t *next = in[PQ_STRIP_ROWS - 1].part[0] + row_bytes;
    struct nibbles_scales sc;
    pq_v16 f = v16_set(0.0f);
    nibbles_begin(how, in, &sc);
    for (uint64_t g = 0; g < groups; g += sc.chunk) {
        const uint64_t n = groups - g < sc.chunk ? groups - g : sc.chunk;
        uint64_t k = 0;
        nibbles_fill(how, in, g, n, &sc);
        for (; k + NIBBLES_STEP <= n; k += NIBBLES_STEP) {
            f = nibbles_step(how, in, p, g, k, NIBBLES_STEP, &sc, f);
            nibbles_ahead(next + (g + k) * PQ_STRIP_ROWS * how->group,
                          NIBBLES_STEP * PQ_STRIP_ROWS * how->group);
        }
        if (k < n)
            f = nibbles_step(how, in, p, g, k, n - k, &sc, f);
    }
    v16_store(out, f);
}

/* ---- codes of six bits in groups of 16 ---- */

/* 64 codes of a row's super-block from column `at` on: low nibbles for 128 columns lie in 64 bytes,
 * the upper bits of four times 32 codes in 32. */
LANE_INLINE __m512i six_codes(const uint8_t *b, uint64_t at)
{
    const uint8_t *high = b + 128 + at / 128 * 32;
    const __m512i to_low = _mm512_inserti64x4(_mm512_set1_epi16(4), _mm256_set1_epi16(2), 1);
    const __m512i to_high = _mm512_inserti64x4(_mm512_setzero_si512(), _mm256_set1_epi16(2), 1);
    __m512i low = _mm512_loadu_si512(b + at / 128 * 64);
    __m512i two = _mm512_broadcast_i64x4(_mm256_loadu_si256((const void *)high));
    if (at % 128) {
        low = _mm512_srli_epi16(low, 4);
        two = _mm512_srlv_epi16(two, to_high);
    } else {
        two = _mm512_sllv_epi16(two, to_low);
    }
    return _mm512_or_si512(_mm512_and_si512(low, _mm512_set1_epi8(15)),
                           _mm512_and_si512(two, _mm512_set1_epi8(0x30)));
}

/* Pairs of sums of two rows each, to one of four rows: too large for 16 bits. */
LANE_INLINE __m512i six_join(__m512i a, __m512i b)
{
    const __m512 x = _mm512_castsi512_ps(a), y = _mm512_castsi512_ps(b);
    return _mm512_add_epi32(_mm512_castps_si512(_mm512_shuffle_ps(x, y, 0x88)),
                            _mm512_castps_si512(_mm512_shuffle_ps(x, y, 0xdd)));
}

/* Sums of four groups from column `at` of the super-blocks at `from` on. */
LANE_INLINE void six_sums(const struct pq_codes_in *in, uint64_t from, uint64_t at, const int8_t *q,
                          __m512i out[4])
{
    const __m512i act = _mm512_loadu_si512(q), zero = _mm512_setzero_si512();
    __m512i four[4];
    for (int r = 0; r < PQ_STRIP_ROWS; r += 4) {
        __m512i sum[4];
        for (int i = 0; i < 4; i++)
            sum[i] = _mm512_dpbusd_epi32(zero, six_codes(in[r + i].part[0] + from, at), act);
        four[r / 4] = six_join(nibbles_join(sum[0], sum[1]), nibbles_join(sum[2], sum[3]));
    }
    nibbles_quarters(four, out);
}

/* Of a super-block of each row: sixteen signed bytes, and a half after them. */
LANE_INLINE void six_scales(const struct pq_codes_in *in, uint64_t from, __m512 scale[PQ_LANES])
{
    const __m512i last = _mm512_broadcast_i64x4(
        _mm256_setr_epi16(7, 15, 23, 31, 39, 47, 55, 63, 7, 15, 23, 31, 39, 47, 55, 63));
    uint8_t byte[PQ_LANES][PQ_STRIP_ROWS];
    __m512i v[4], units[4];
    for (int i = 0; i < 4; i++) {
        const uint8_t *row[4];
        for (int k = 0; k < 4; k++)
            row[k] = in[4 * i + k].part[0] + from + 192;
        v[i] = nibbles_load_rows(row[0], row[1], row[2], row[3]);
        units[i] = nibbles_load_rows(row[0] + 2, row[1] + 2, row[2] + 2, row[3] + 2);
    }
    nibbles_turn_bytes(v, byte);
    const __m512i low = _mm512_permutex2var_epi16(units[0], last, units[1]);
    const __m512i high = _mm512_permutex2var_epi16(units[2], last, units[3]);
    const __m512 d =
        _mm512_cvtph_ps(_mm512_castsi512_si256(_mm512_mask_blend_epi16(0xff00, low, high)));
    for (int k = 0; k < PQ_LANES; k++) {
        const __m512i s = _mm512_cvtepi8_epi32(_mm_loadu_si128((const void *)byte[k]));
        scale[k] = _mm512_mul_ps(d, _mm512_cvtepi32_ps(s));
    }
}

static bool stream_dots_q6_k(const struct pq_codes_in *in, const struct pq_strip *s,
                             const struct pq_panel *p, float *out)
{
    enum { BYTES = 210 };
    const uint64_t blocks = s->cols / 256;
    const uint8_t *next = in[PQ_STRIP_ROWS - 1].part[0] + blocks * BYTES;
    pq_v16 f = v16_set(0.0f), scale[PQ_LANES];
    for (uint64_t b = 0; b < blocks; b++) {
        six_scales(in, b * BYTES, (__m512 *)scale);
        for (uint64_t at = 0; at < 256; at += 64) {
            __m512i sum[4];
            six_sums(in, b * BYTES, at, p->q + b * 256 + at, sum);
            for (uint64_t i = 0; i < 4; i++) {
                const uint64_t g = b * 16 + at / 16 + i;
                const __m512i all = _mm512_add_epi32(sum[i], _mm512_set1_epi32(p->start[g]));
                const pq_v16 dot = {{_mm512_cvtepi32_ps(all)}};
                f = v16_fma(dot, v16_mul(scale[at / 16 + i], v16_set(p->scale[g / 2])), f);
            }
        }
        nibbles_ahead(next + b * PQ_STRIP_ROWS * BYTES, PQ_STRIP_ROWS * BYTES);
    }
    v16_store(out, f);
    return true;
}

#endif
#endif
