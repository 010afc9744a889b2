/*
 * Template: one token's products straight from the stored rows, for the layouts that people decode
 * with most: codes are never written to memory. Sums are those of strip_dots, bit for bit.
 * SPDX-License-Identifier: MIT
 */
#ifndef PQ_KERN_RUN_STREAM_H
#define PQ_KERN_RUN_STREAM_H

#include "kern/run_codes.h"
#include "kern/run_group.h"

#if defined __AVX512VNNI__ && !defined PQ_LANES_PLAIN

#include "kern/run_rows.h"

/* ---- 64 codes from column `at` on ---- */

LANE_INLINE __m512i stream_q8_0(const uint8_t *row, uint64_t at)
{
    const uint8_t *b = row + at / 32 * 34 + 2;
    __m512i v = _mm512_castsi256_si512(_mm256_loadu_si256((const void *)b));
    v = _mm512_inserti64x4(v, _mm256_loadu_si256((const void *)(b + 34)), 1);
    return _mm512_xor_si512(v, _mm512_set1_epi8((char)0x80));
}

LANE_INLINE __m512i stream_bytes(const uint8_t *row, uint64_t at)
{
    return _mm512_loadu_si512(row + at);
}

/* ---- scales (and offsets) of `n` <= 16 groups from the g-th on ---- */

/* Stored halves of a row, turned round on the way: h[group][row]. */
LANE_INLINE void stream_every(const uint8_t *row, uint64_t g, uint64_t n, uint64_t bytes,
                              uint16_t *h)
{
    for (uint64_t i = 0; i < n; i++)
        h[(g + i) * PQ_STRIP_ROWS] = pq_le16(row + (g + i) * bytes);
}

LANE_INLINE __mmask16 stream_mask(uint64_t n)
{
    return (__mmask16)(n >= 16 ? 0xffff : (1u << n) - 1);
}

LANE_INLINE __m512 stream_repeat(__m512 v, uint64_t times)
{
    const __m512i lane = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    const int shift = times < 16 ? __builtin_ctz((unsigned)times) : 4;
    return times == 1 ? v : _mm512_permutexvar_ps(_mm512_srli_epi32(lane, (unsigned)shift), v);
}

/* Every stored value for `times` groups; times is a power of two, or all groups'. */
LANE_INLINE __m512 stream_aux(const uint8_t *p, uint64_t g, uint64_t n, uint64_t times,
                              enum pq_dtype aux)
{
    const uint64_t first = g / times, stored = times < 16 ? (n + times - 1) / times : 1;
    __m512 v;
    if (aux == PQ_F32) {
        v = _mm512_maskz_loadu_ps(stream_mask(stored), p + 4 * first);
    } else {
        __m256i h = _mm256_maskz_loadu_epi16(stream_mask(stored), p + 2 * first);
        v = aux == PQ_F16 ? _mm512_cvtph_ps(h)
                          : _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
    }
    return stream_repeat(v, times);
}

/* The same of zero points. */
LANE_INLINE __m512 stream_zeros(const uint8_t *p, uint64_t g, uint64_t n, uint64_t times)
{
    const uint64_t stored = times < 16 ? (n + times - 1) / times : 1;
    const __m128i v = _mm_maskz_loadu_epi8(stream_mask(stored), p + g / times);
    return stream_repeat(_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(v)), times);
}

enum stream_scales { STREAM_BLOCKS, STREAM_APART };

struct stream {
    enum stream_scales scales;
    int group;
    bool offsets;
    uint64_t bytes; /* of a block */
    uint64_t span;  /* bytes of sixteen groups' codes */
    __m512i (*codes)(const uint8_t *row, uint64_t at);
};

/* A strip's memory while it is streamed. Halves lie where single scales would. */
struct stream_memory {
    uint64_t groups;       /* of a row, a multiple of 16 */
    float *dot;            /* [16][groups] */
    float *scale, *offset; /* [16][groups], or as halves [groups][16] */
};

LANE_INLINE void stream_scale(const struct stream *how, const struct pq_codes_in *in, uint64_t g,
                              uint64_t n, const struct stream_memory *m, uint64_t r)
{
    const uint8_t *row = in->part[0];
    float *scale = m->scale + r * m->groups + g, *offset = m->offset + r * m->groups + g;
    if (how->scales == STREAM_BLOCKS) {
        stream_every(row, g, n, how->bytes, (uint16_t *)(void *)m->scale + r);
        if (how->offsets)
            stream_every(row + 2, g, n, how->bytes, (uint16_t *)(void *)m->offset + r);
    } else {
        const uint64_t times = in->per_scale / 32;
        const __m512 v = stream_aux(in->part[1], g, n, times, in->aux);
        _mm512_storeu_ps(scale, v);
        if (how->offsets && in->zeros == PQ_ZERO_OFFSETS)
            _mm512_storeu_ps(offset, stream_aux(in->part[2], g, n, times, in->aux));
        else if (how->offsets)
            _mm512_storeu_ps(
                offset, _mm512_sub_ps(_mm512_setzero_ps(),
                                      _mm512_mul_ps(v, stream_zeros(in->part[2], g, n, times))));
    }
}

/* Sixteen groups from the g-th on as [group][row]. */
LANE_INLINE void stream_turn(const struct stream *how, const float *from, uint64_t groups,
                             uint64_t g, bool stored, pq_v16 v[PQ_LANES])
{
    if (stored && how->scales == STREAM_BLOCKS) {
        const uint16_t *h = (const uint16_t *)(const void *)from + g * PQ_STRIP_ROWS;
        for (uint64_t k = 0; k < PQ_LANES; k++)
            v[k] = v16_from_f16(h + k * PQ_STRIP_ROWS);
        return;
    }
    for (uint64_t r = 0; r < PQ_STRIP_ROWS; r++)
        v[r] = v16_load(from + r * groups + g);
    v16_transpose(v);
}

/* ---- sixteen rows ---- */

/* Sums of sixteen groups of a row, of those the first n. Rows end with their last group. */
LANE_INLINE __m512 stream_sums(const struct stream *how, const struct pq_codes_in *in,
                               const int8_t *acts, const int32_t *start, uint64_t g, uint64_t n)
{
    __m512i v[8];
    const uint64_t at = g * (uint64_t)how->group, columns = n * (uint64_t)how->group;
    const __m512i turn = _mm512_set1_epi8((char)(in->flip ? 0x80 : 0));
    for (int i = 0; i < how->group / 4; i++) {
        const uint64_t from = 64 * (uint64_t)i;
        v[i] = _mm512_setzero_si512();
        if (from < columns)
            v[i] = _mm512_dpbusd_epi32(v[i],
                                       _mm512_xor_si512(how->codes(in->part[0], at + from), turn),
                                       _mm512_loadu_si512(acts + at + from));
    }
    return group_finish(v, how->group, start + g);
}

/* The hardware fetches ahead within a page only, and waits at the next: a few rows ahead, into the
 * second level, is where asking for it pays (a third more on Zen 4; near ones cost). */
LANE_INLINE void stream_ahead(const struct stream *how, const uint8_t *row, uint64_t g)
{
    enum { AHEAD = 8192 };
    const uint8_t *p = row + g / PQ_LANES * how->span + AHEAD;
    for (uint64_t i = 0; i < how->span; i += 64)
        _mm_prefetch((const char *)p + i, _MM_HINT_T1);
}

/* Rows one after the other, as they lie in memory. */
LANE_INLINE void stream_rows(const struct stream *how, const struct pq_codes_in in[PQ_STRIP_ROWS],
                             const struct pq_strip *s, const struct pq_panel *p,
                             const struct stream_memory *m)
{
    const uint64_t groups = s->cols / (uint64_t)how->group;
    for (uint64_t r = 0; r < PQ_STRIP_ROWS; r++)
        for (uint64_t g = 0; g < groups; g += PQ_LANES) {
            const uint64_t n = groups - g < PQ_LANES ? groups - g : PQ_LANES;
            _mm512_storeu_ps(m->dot + r * m->groups + g,
                             stream_sums(how, &in[r], p->q, p->start, g, n));
            stream_scale(how, &in[r], g, n, m, r);
            stream_ahead(how, in[r].part[0], g);
        }
}

LANE_INLINE pq_v16 stream_add(const struct stream *how, const struct pq_strip *s,
                              const struct pq_panel *p, const struct stream_memory *m)
{
    const uint64_t groups = s->cols / (uint64_t)how->group;
    pq_v16 sum = v16_set(0.0f), dot[PQ_LANES], scale[PQ_LANES], offset[PQ_LANES];
    for (uint64_t g = 0; g < groups; g += PQ_LANES) {
        stream_turn(how, m->dot, m->groups, g, false, dot);
        stream_turn(how, m->scale, m->groups, g, true, scale);
        if (how->offsets)
            stream_turn(how, m->offset, m->groups, g, true, offset);
        for (uint64_t k = 0; k < PQ_LANES && g + k < groups; k++) {
            float a = p->scale[(g + k) * (uint64_t)how->group / PQ_ACT_BLOCK];
            sum = v16_fma(dot[k], v16_mul(scale[k], v16_set(a)), sum);
            if (how->offsets)
                sum = v16_fma(offset[k], v16_set(p->shift[g + k]), sum);
        }
    }
    return sum;
}

LANE_INLINE void stream_strip(const struct stream *how, const struct pq_codes_in *in,
                              const struct pq_strip *s, const struct pq_panel *p, float *out)
{
    const struct stream_memory m = {.groups = s->step / (uint64_t)how->group,
                                    .dot = (float *)(void *)s->q,
                                    .scale = s->scale,
                                    .offset = s->offset};
    stream_rows(how, in, s, p, &m);
    v16_store(out, stream_add(how, s, p, &m));
}

/* Columns must be whole 64s, and stored scales must lie as stream_aux has it. */
static bool stream_fits(const struct pq_codes_in *in)
{
    const uint64_t times = in->per_scale / 32;
    const bool even = (times & (times - 1)) == 0, one = in->per_scale == in->cols && times >= 16;
    return in->cols % 64 == 0 && in->per_scale % 32 == 0 && (even || one);
}

#define STREAM(name, ...)                                                    \
    static bool name(const struct pq_codes_in *in, const struct pq_strip *s, \
                     const struct pq_panel *p, float *out)                   \
    {                                                                        \
        const struct stream how = {__VA_ARGS__};                             \
        if (!stream_fits(in))                                                \
            return false;                                                    \
        stream_strip(&how, in, s, p, out);                                   \
        return true;                                                         \
    }
STREAM(stream_dots_q8_0, STREAM_BLOCKS, 32, false, 34, 544, stream_q8_0)
STREAM(stream_dots_bytes, STREAM_APART, 32, false, 0, 512, stream_bytes)
STREAM(stream_dots_bytes_offset, STREAM_APART, 32, true, 0, 512, stream_bytes)
#undef STREAM

#define NIBBLES(name, ...)                                                   \
    static bool name(const struct pq_codes_in *in, const struct pq_strip *s, \
                     const struct pq_panel *p, float *out)                   \
    {                                                                        \
        const struct nibbles how = {__VA_ARGS__};                            \
        if (!stream_fits(in))                                                \
            return false;                                                    \
        nibbles_strip(&how, in, s, p, out);                                  \
        return true;                                                         \
    }
NIBBLES(stream_dots_q4_0, NIBBLES_BLOCKS, false, false, 18, 2, 18, 4)
NIBBLES(stream_dots_q4_1, NIBBLES_BLOCKS, true, false, 20, 4, 20, 4)
NIBBLES(stream_dots_q4_k, NIBBLES_K, true, false, 144, 16, 18, 8)
NIBBLES(stream_dots_q5_k, NIBBLES_K, true, true, 176, 48, 22, 8)
NIBBLES(stream_dots_pairs, NIBBLES_PAIRS, false, false, 0, 0, 16, 16)
NIBBLES(stream_dots_pairs_offset, NIBBLES_PAIRS, true, false, 0, 0, 16, 16)
#undef NIBBLES

static bool (*const streams[PQ_CODES_TYPES][2])(const struct pq_codes_in *in,
                                                const struct pq_strip *s, const struct pq_panel *p,
                                                float *out) = {
    [PQ_CODES_Q4_0] = {stream_dots_q4_0},
    [PQ_CODES_Q4_1] = {NULL, stream_dots_q4_1},
    [PQ_CODES_Q8_0] = {stream_dots_q8_0},
    [PQ_CODES_Q4_K] = {NULL, stream_dots_q4_k},
    [PQ_CODES_Q5_K] = {NULL, stream_dots_q5_k},
    [PQ_CODES_Q6_K] = {stream_dots_q6_k},
    [PQ_CODES_PAIRS] = {stream_dots_pairs, stream_dots_pairs_offset},
    [PQ_CODES_BYTES] = {stream_dots_bytes, stream_dots_bytes_offset},
};

static bool stream_dots(enum pq_codes type, const struct pq_codes_in *in, const struct pq_strip *s,
                        const struct pq_panel *p, float *out)
{
    return streams[type][s->has_offsets] && streams[type][s->has_offsets](in, s, p, out);
}

#else

static bool stream_dots(enum pq_codes type, const struct pq_codes_in *in, const struct pq_strip *s,
                        const struct pq_panel *p, float *out)
{
    (void)type, (void)in, (void)s, (void)p, (void)out;
    return false;
}

#endif

#define PQ_ROWS_STREAM .stream_dots = stream_dots

#endif
