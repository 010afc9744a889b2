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

/* ---- 64 codes from column `at` on, or the 32 bytes that hold them: 16 of each group ---- */

LANE_INLINE __m256i stream_16_16(const uint8_t *a, const uint8_t *b)
{
    return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128((const void *)a)),
                                   _mm_loadu_si128((const void *)b), 1);
}

LANE_INLINE __m256i stream_q4_0(const uint8_t *row, uint64_t at)
{
    const uint8_t *b = row + at / 32 * 18 + 2;
    return stream_16_16(b, b + 18);
}

LANE_INLINE __m256i stream_q4_1(const uint8_t *row, uint64_t at)
{
    const uint8_t *b = row + at / 32 * 20 + 4;
    return stream_16_16(b, b + 20);
}

LANE_INLINE __m256i stream_pairs(const uint8_t *row, uint64_t at)
{
    return _mm256_loadu_si256((const void *)(row + at / 2));
}

LANE_INLINE __m512i stream_low(__m512i v)
{
    return _mm512_and_si512(v, _mm512_set1_epi8(15));
}

LANE_INLINE __m512i stream_q8_0(const uint8_t *row, uint64_t at)
{
    const uint8_t *b = row + at / 32 * 34 + 2;
    __m512i v = _mm512_castsi256_si512(_mm256_loadu_si256((const void *)b));
    v = _mm512_inserti64x4(v, _mm256_loadu_si256((const void *)(b + 34)), 1);
    return _mm512_xor_si512(v, _mm512_set1_epi8((char)0x80));
}

LANE_INLINE __m512i stream_q4_k(const uint8_t *row, uint64_t at)
{
    const uint8_t *b = row + at / 256 * 144 + 16 + at % 256 / 2;
    __m256i x = _mm256_loadu_si256((const void *)b); /* a group's codes in the low nibbles */
    __m512i v = _mm512_inserti64x4(_mm512_castsi256_si512(x), _mm256_srli_epi16(x, 4), 1);
    return stream_low(v);
}

/* 64 low nibbles at a time; the upper bits of four times 32 codes in the same 32 bytes. */
LANE_INLINE __m512i stream_q6_k(const uint8_t *row, uint64_t at)
{
    const uint8_t *b = row + at / 256 * 210, *high = b + 128 + at % 256 / 128 * 32;
    __m512i low = _mm512_loadu_si512(b + at % 256 / 128 * 64);
    __m256i h = _mm256_loadu_si256((const void *)high);
    if (at % 128) {
        low = _mm512_srli_epi16(low, 4);
        h = _mm256_srli_epi16(h, 4);
    }
    __m512i two = _mm512_inserti64x4(_mm512_castsi256_si512(h), _mm256_srli_epi16(h, 2), 1);
    two = _mm512_slli_epi16(_mm512_and_si512(two, _mm512_set1_epi8(3)), 4);
    return _mm512_or_si512(stream_low(low), two);
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

/* Every stored value for `times` groups; times is a power of two, or all groups'. */
LANE_INLINE __m512 stream_aux(const uint8_t *p, uint64_t g, uint64_t n, uint64_t times,
                              enum pq_dtype aux)
{
    const uint64_t first = g / times, stored = times < 16 ? (n + times - 1) / times : 1;
    const __m512i lane = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    __m512 v;
    if (aux == PQ_F32) {
        v = _mm512_maskz_loadu_ps(stream_mask(stored), p + 4 * first);
    } else {
        __m256i h = _mm256_maskz_loadu_epi16(stream_mask(stored), p + 2 * first);
        v = aux == PQ_F16 ? _mm512_cvtph_ps(h)
                          : _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
    }
    if (times == 1)
        return v;
    const int shift = times < 16 ? __builtin_ctz((unsigned)times) : 4;
    return _mm512_permutexvar_ps(_mm512_srli_epi32(lane, (unsigned)shift), v);
}

enum stream_scales { STREAM_BLOCKS, STREAM_K4, STREAM_Q6, STREAM_APART };

struct stream {
    enum pq_codes type;
    enum stream_scales scales;
    int group;
    bool offsets;
    uint64_t bytes;                                     /* of a block */
    uint64_t span;                                      /* bytes of sixteen groups' codes */
    __m256i (*packed)(const uint8_t *row, uint64_t at); /* or NULL */
    __m512i (*codes)(const uint8_t *row, uint64_t at);
};

/* A strip's memory while it is streamed. Halves lie where single scales would. */
struct stream_memory {
    uint64_t groups;       /* of a row, a multiple of 16 */
    int8_t *acts;          /* [step] */
    float *dot;            /* [16][groups] */
    float *scale, *offset; /* [16][groups], or as halves [groups][16] */
};

LANE_INLINE __m512 stream_bytes_times(uint64_t low, uint64_t high, float a, float b)
{
    __m512i v = _mm512_cvtepu8_epi32(_mm_set_epi64x((long long)high, (long long)low));
    return _mm512_mul_ps(_mm512_cvtepi32_ps(v),
                         _mm512_mask_blend_ps(0xff00, _mm512_set1_ps(a), _mm512_set1_ps(b)));
}

/* Of one or two super-blocks. */
LANE_INLINE void stream_k_scales(const uint8_t *b, uint64_t n, float *scale, float *offset)
{
    const uint8_t *second = n > 8 ? b + 144 : b;
    const struct codes_k_bytes x = codes_k_unpack(b + 4), y = codes_k_unpack(second + 4);
    __m512 s = stream_bytes_times(x.scale, y.scale, dense_half(b), dense_half(second));
    __m512 o = stream_bytes_times(x.offset, y.offset, dense_half(b + 2), dense_half(second + 2));
    _mm512_storeu_ps(scale, s);
    _mm512_storeu_ps(offset, _mm512_sub_ps(_mm512_setzero_ps(), o));
}

LANE_INLINE void stream_scale(const struct stream *how, const struct pq_codes_in *in, uint64_t g,
                              uint64_t n, const struct stream_memory *m, uint64_t r)
{
    const uint8_t *row = in->part[0];
    float *scale = m->scale + r * m->groups + g, *offset = m->offset + r * m->groups + g;
    if (how->scales == STREAM_BLOCKS) {
        stream_every(row, g, n, how->bytes, (uint16_t *)(void *)m->scale + r);
        if (how->offsets)
            stream_every(row + 2, g, n, how->bytes, (uint16_t *)(void *)m->offset + r);
    } else if (how->scales == STREAM_K4) {
        stream_k_scales(row + g / 8 * 144, n, scale, offset);
    } else if (how->scales == STREAM_Q6) {
        const uint8_t *b = row + g / 16 * 210;
        __m512i sc = _mm512_cvtepi8_epi32(_mm_loadu_si128((const void *)(b + 192)));
        _mm512_storeu_ps(
            scale, _mm512_mul_ps(_mm512_set1_ps(dense_half(b + 208)), _mm512_cvtepi32_ps(sc)));
    } else {
        const uint64_t times = in->per_scale / 32;
        _mm512_storeu_ps(scale, stream_aux(in->part[1], g, n, times, in->aux));
        if (how->offsets)
            _mm512_storeu_ps(offset, stream_aux(in->part[2], g, n, times, in->aux));
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

/* Two groups of nibbles: a quarter of the sums for each, of low and of high nibbles together. */
LANE_INLINE __m256i stream_nibbles(__m256i x, const int8_t *acts)
{
    const __m256i low = _mm256_set1_epi8(15);
    __m256i sum = _mm256_dpbusd_epi32(_mm256_setzero_si256(), _mm256_and_si256(x, low),
                                      _mm256_loadu_si256((const void *)acts));
    return _mm256_dpbusd_epi32(sum, _mm256_and_si256(_mm256_srli_epi16(x, 4), low),
                               _mm256_loadu_si256((const void *)(acts + 32)));
}

LANE_INLINE __m256i stream_pair(__m256i a, __m256i b)
{
    return _mm256_add_epi32(_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
}

/* Even groups' sums in the lower half, odd ones' in the upper. */
LANE_INLINE __m256i stream_four(const __m256i v[4])
{
    __m256i ab = stream_pair(v[0], v[1]), cd = stream_pair(v[2], v[3]);
    return _mm256_add_epi32(_mm256_unpacklo_epi64(ab, cd), _mm256_unpackhi_epi64(ab, cd));
}

LANE_INLINE __m512 stream_packed_sums(const struct stream *how, const struct pq_codes_in *in,
                                      const int8_t *acts, const int32_t *start, uint64_t g,
                                      uint64_t n)
{
    const __m512i order = _mm512_set_epi32(15, 11, 14, 10, 13, 9, 12, 8, 7, 3, 6, 2, 5, 1, 4, 0);
    const __m256i turn = _mm256_set1_epi8((char)(in->flip ? 0x88 : 0));
    __m256i v[8];
    for (uint64_t i = 0; i < 8; i++) {
        const uint64_t at = (g + 2 * i) * PQ_ACT_BLOCK;
        v[i] = _mm256_setzero_si256();
        if (2 * i < n)
            v[i] = stream_nibbles(_mm256_xor_si256(how->packed(in->part[0], at), turn), acts + at);
    }
    __m512i all = _mm512_castsi256_si512(stream_four(v));
    all = _mm512_inserti64x4(all, stream_four(v + 4), 1);
    all = _mm512_permutexvar_epi32(order, all);
    return _mm512_cvtepi32_ps(_mm512_add_epi32(all, _mm512_loadu_si512(start + g)));
}

/* Sums of sixteen groups of a row, of those the first n. Rows end with their last group. */
LANE_INLINE __m512 stream_sums(const struct stream *how, const struct pq_codes_in *in,
                               const int8_t *acts, const int32_t *start, uint64_t g, uint64_t n)
{
    __m512i v[8];
    const uint64_t at = g * (uint64_t)how->group, columns = n * (uint64_t)how->group;
    const __m512i turn = _mm512_set1_epi8((char)(in->flip ? 0x80 : 0));
    if (how->packed)
        return stream_packed_sums(how, in, acts, start, g, n);
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

/* Activations of two groups in the order of packed codes: those of low nibbles first. */
LANE_INLINE void stream_order(const struct stream *how, int8_t *to, const int8_t *q, uint64_t cols)
{
    const __m512i apart =
        _mm512_broadcast_i32x4(_mm_set_epi8(15, 13, 11, 9, 7, 5, 3, 1, 14, 12, 10, 8, 6, 4, 2, 0));
    const __m512i evens_first = _mm512_set_epi64(7, 5, 3, 1, 6, 4, 2, 0);
    for (uint64_t i = 0; i < cols; i += 64) {
        __m512i v = _mm512_loadu_si512(q + i);
        if (how->type == PQ_CODES_PAIRS)
            v = _mm512_permutexvar_epi64(evens_first, _mm512_shuffle_epi8(v, apart));
        else
            v = _mm512_shuffle_i64x2(v, v, 0xd8); /* halves of groups: quarters 0 2 1 3 */
        _mm512_storeu_si512(to + i, v);
    }
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
    const int8_t *acts = how->packed ? m->acts : p->q;
    for (uint64_t r = 0; r < PQ_STRIP_ROWS; r++)
        for (uint64_t g = 0; g < groups; g += PQ_LANES) {
            const uint64_t n = groups - g < PQ_LANES ? groups - g : PQ_LANES;
            _mm512_storeu_ps(m->dot + r * m->groups + g,
                             stream_sums(how, &in[r], acts, p->start, g, n));
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
                                    .acts = (int8_t *)s->q,
                                    .dot = (float *)(void *)(s->q + s->step),
                                    .scale = s->scale,
                                    .offset = s->offset};
    if (how->packed)
        stream_order(how, m.acts, p->q, s->cols);
    stream_rows(how, in, s, p, &m);
    v16_store(out, stream_add(how, s, p, &m));
}

/* Columns must be whole 64s, and stored scales must lie as stream_aux has it. */
static bool stream_fits(const struct pq_codes_in *in)
{
    const uint64_t times = in->per_scale / 32;
    const bool even = (times & (times - 1)) == 0, one = in->per_scale == in->cols && times >= 16;
    return in->cols % 64 == 0 && (even || one) && in->zeros != PQ_ZERO_NIBBLES &&
           in->zeros != PQ_ZERO_BYTES;
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
STREAM(stream_dots_q4_0, PQ_CODES_Q4_0, STREAM_BLOCKS, 32, false, 18, 288, stream_q4_0, NULL)
STREAM(stream_dots_q4_1, PQ_CODES_Q4_1, STREAM_BLOCKS, 32, true, 20, 320, stream_q4_1, NULL)
STREAM(stream_dots_q8_0, PQ_CODES_Q8_0, STREAM_BLOCKS, 32, false, 34, 544, NULL, stream_q8_0)
STREAM(stream_dots_q4_k, PQ_CODES_Q4_K, STREAM_K4, 32, true, 144, 288, NULL, stream_q4_k)
STREAM(stream_dots_q6_k, PQ_CODES_Q6_K, STREAM_Q6, 16, false, 210, 210, NULL, stream_q6_k)
STREAM(stream_dots_pairs, PQ_CODES_PAIRS, STREAM_APART, 32, false, 0, 256, stream_pairs, NULL)
STREAM(stream_dots_pairs_offset, PQ_CODES_PAIRS, STREAM_APART, 32, true, 0, 256, stream_pairs, NULL)
STREAM(stream_dots_bytes, PQ_CODES_BYTES, STREAM_APART, 32, false, 0, 512, NULL, stream_bytes)
STREAM(stream_dots_bytes_offset, PQ_CODES_BYTES, STREAM_APART, 32, true, 0, 512, NULL, stream_bytes)
#undef STREAM

static bool (*const streams[PQ_CODES_TYPES][2])(const struct pq_codes_in *in,
                                                const struct pq_strip *s, const struct pq_panel *p,
                                                float *out) = {
    [PQ_CODES_Q4_0] = {stream_dots_q4_0},
    [PQ_CODES_Q4_1] = {NULL, stream_dots_q4_1},
    [PQ_CODES_Q8_0] = {stream_dots_q8_0},
    [PQ_CODES_Q4_K] = {NULL, stream_dots_q4_k},
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
