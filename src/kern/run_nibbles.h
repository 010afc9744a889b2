/*
 * Template: one token's products with sixteen stored rows of codes of at most five bits (AVX-512).
 * All rows take a step of four groups together. Sums of a few products fit 16 bits: rows are put
 * side by side by packing, and neighbours are added by a multiplication with ones, so that lanes
 * become rows on the way. Sums are those of strip_dots, bit for bit. SPDX-License-Identifier: MIT
 */
#ifndef PQ_KERN_RUN_NIBBLES_H
#define PQ_KERN_RUN_NIBBLES_H

#include "kern/run_codes.h"

#if defined __AVX512VNNI__ && !defined PQ_LANES_PLAIN

enum { NIBBLES_STEP = 4 }; /* groups */

enum nibbles_layout {
    NIBBLES_BLOCKS, /* a group's halves in one nibble each; scales at the head of each block */
    NIBBLES_PAIRS,  /* neighbours in a byte; scales apart */
    NIBBLES_K       /* two groups in 32 bytes; super-blocks of 256 */
};

struct nibbles {
    enum nibbles_layout layout;
    bool offsets, five; /* five: codes of five bits */
    uint64_t block;     /* bytes, of super-blocks too */
    uint64_t head;      /* of them before the nibbles */
    uint64_t group;     /* bytes of a group among the codes, on average */
    uint64_t chunk;     /* groups whose scales are unpacked together */
};

/* As many ones as there are bytes, at most 64. */
LANE_INLINE __mmask64 nibbles_mask(uint64_t bytes)
{
    return bytes >= 64 ? ~0ull : (1ull << bytes) - 1;
}

/* ---- codes ---- */

/* Activations that low and high nibbles of four groups are multiplied with. */
LANE_INLINE void nibbles_acts(const struct nibbles *how, const int8_t *q, __m512i act[2])
{
    const __m512i apart =
        _mm512_broadcast_i32x4(_mm_set_epi8(15, 13, 11, 9, 7, 5, 3, 1, 14, 12, 10, 8, 6, 4, 2, 0));
    const __m512i evens = _mm512_set_epi64(14, 12, 10, 8, 6, 4, 2, 0);
    __m512i a = _mm512_loadu_si512(q), b = _mm512_loadu_si512(q + 64);
    if (how->layout == NIBBLES_BLOCKS) {
        act[0] = _mm512_shuffle_i64x2(a, b, 0x88);
        act[1] = _mm512_shuffle_i64x2(a, b, 0xdd);
    } else if (how->layout == NIBBLES_K) {
        act[0] = _mm512_shuffle_i64x2(a, b, 0x44);
        act[1] = _mm512_shuffle_i64x2(a, b, 0xee);
    } else {
        a = _mm512_shuffle_epi8(a, apart);
        b = _mm512_shuffle_epi8(b, apart);
        act[0] = _mm512_permutex2var_epi64(a, evens, b);
        act[1] = _mm512_permutex2var_epi64(a, _mm512_add_epi64(evens, _mm512_set1_epi64(1)), b);
    }
}

/* First words of four blocks' nibbles, or the words of their heads, a quarter for each block. */
LANE_INLINE __m512i nibbles_words(const struct nibbles *how)
{
    const short w = (short)(how->block / 2), h = (short)(how->head / 2);
    const __m256i low =
        _mm256_inserti128_si256(_mm256_set1_epi16(h), _mm_set1_epi16((short)(h + w)), 1);
    const __m256i high = _mm256_inserti128_si256(_mm256_set1_epi16((short)(h + 2 * w)),
                                                 _mm_set1_epi16((short)(h + 3 * w)), 1);
    const __m512i in_order = _mm512_broadcast_i32x4(_mm_set_epi16(7, 6, 5, 4, 3, 2, 1, 0));
    return _mm512_add_epi16(in_order, _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1));
}

/* Scales of four blocks, then what follows them. */
LANE_INLINE __m512i nibbles_heads(const struct nibbles *how)
{
    const short w = (short)(how->block / 2), x = (short)(2 * w), y = (short)(3 * w);
    return _mm512_broadcast_i32x4(
        _mm_set_epi16((short)(y + 1), (short)(x + 1), (short)(w + 1), 1, y, x, w, 0));
}

/* 16 bytes of each of four blocks, of which the first n are there. Their heads, which lie in the
 * first 64 bytes, go to the row's quarter of *heads. */
LANE_INLINE __m512i nibbles_of_blocks(const struct nibbles *how, const uint8_t *b, uint64_t n,
                                      int row, __m512i *heads)
{
    const uint64_t bytes = n * how->block;
    const __m512i a = _mm512_maskz_loadu_epi8(nibbles_mask(bytes), b);
    const __m128i z =
        _mm_maskz_loadu_epi8((__mmask16)nibbles_mask(bytes > 64 ? bytes - 64 : 0), b + 64);
    *heads = _mm512_mask_permutexvar_epi16(*heads, 0xffu << 8 * row, nibbles_heads(how), a);
    return _mm512_permutex2var_epi16(a, nibbles_words(how), _mm512_castsi128_si512(z));
}

/* 64 bytes that hold the codes of four groups from the g-th on. */
LANE_INLINE __m512i nibbles_codes(const struct nibbles *how, const struct pq_codes_in *in,
                                  uint64_t g, uint64_t n, int row, __m512i *heads)
{
    const uint8_t *p = in->part[0];
    if (how->layout == NIBBLES_BLOCKS)
        return nibbles_of_blocks(how, p + g * how->block, n, row, heads);
    if (how->layout == NIBBLES_K)
        return _mm512_loadu_si512(p + g / 8 * how->block + how->head + g % 8 * 16);
    return _mm512_maskz_loadu_epi8(nibbles_mask(16 * n), p + 16 * g);
}

/* Fifth bits of sub-blocks s (lower half) and s + 2: bit s of each of 32 bytes. */
LANE_INLINE __m512i nibbles_fifth(__m512i v, __m512i high, uint64_t s)
{
    const __m512i bits =
        _mm512_inserti64x4(_mm512_set1_epi8((char)(1 << s)), _mm256_set1_epi8((char)(4 << s)), 1);
    return _mm512_mask_add_epi8(v, _mm512_test_epi8_mask(high, bits), v, _mm512_set1_epi8(16));
}

/* Sums of fours of a row: in layouts but K's all in sum[0], a quarter for each group; in K's the
 * quarters of sum[0] are twice the first and twice the third group, those of sum[1] the others. */
LANE_INLINE void nibbles_row(const struct nibbles *how, const struct pq_codes_in *in, uint64_t g,
                             __m512i v, const __m512i act[2], __m512i sum[2])
{
    const __m512i four = _mm512_set1_epi8(15), zero = _mm512_setzero_si512();
    __m512i low = _mm512_and_si512(v, four);
    __m512i high = _mm512_and_si512(_mm512_srli_epi16(v, 4), four);
    if (how->five) {
        const uint8_t *bits = in->part[0] + g / 8 * how->block + 16;
        const __m512i fifth = _mm512_broadcast_i64x4(_mm256_loadu_si256((const void *)bits));
        low = nibbles_fifth(low, fifth, g % 8);
        high = nibbles_fifth(high, fifth, g % 8 + 1);
    }
    sum[0] = _mm512_dpbusd_epi32(zero, low, act[0]);
    if (how->layout == NIBBLES_K)
        sum[1] = _mm512_dpbusd_epi32(zero, high, act[1]);
    else
        sum[0] = _mm512_dpbusd_epi32(sum[0], high, act[1]);
}

/* Neighbours' sums, a's before b's in each quarter. */
LANE_INLINE __m512i nibbles_join(__m512i a, __m512i b)
{
    return _mm512_madd_epi16(_mm512_packs_epi32(a, b), _mm512_set1_epi16(1));
}

/* From quarters of four rows in each of v[0..3] to all rows: lanes of the i-th quarter to out[i].
 */
LANE_INLINE void nibbles_quarters(const __m512i v[4], __m512i out[4])
{
    const __m512i a = _mm512_shuffle_i64x2(v[0], v[1], 0x88),
                  b = _mm512_shuffle_i64x2(v[2], v[3], 0x88),
                  c = _mm512_shuffle_i64x2(v[0], v[1], 0xdd),
                  d = _mm512_shuffle_i64x2(v[2], v[3], 0xdd);
    out[0] = _mm512_shuffle_i64x2(a, b, 0x88); /* a: 0 2 of v[0], 0 2 of v[1] */
    out[2] = _mm512_shuffle_i64x2(a, b, 0xdd);
    out[1] = _mm512_shuffle_i64x2(c, d, 0x88);
    out[3] = _mm512_shuffle_i64x2(c, d, 0xdd);
}

/* Sums of four groups, a lane for each row; heads of blocks, [4 rows][8 halves] in each of four. */
LANE_INLINE void nibbles_sums(const struct nibbles *how, const struct pq_codes_in *in,
                              const struct pq_panel *p, uint64_t g, uint64_t n, __m512i out[4],
                              __m512i heads[4])
{
    const __m512i flip = _mm512_set1_epi8((char)(in[0].flip ? 0x88 : 0));
    __m512i act[2], four[2][4];
    nibbles_acts(how, p->q + g * 32, act);
    for (int r = 0; r < PQ_STRIP_ROWS; r += 4) {
        __m512i row[4][2];
        heads[r / 4] = _mm512_setzero_si512();
        for (int i = 0; i < 4; i++) {
            __m512i v = nibbles_codes(how, &in[r + i], g, n, i, &heads[r / 4]);
            if (how->layout == NIBBLES_PAIRS)
                v = _mm512_xor_si512(v, flip);
            nibbles_row(how, &in[r + i], g, v, act, row[i]);
        }
        for (int k = 0; k < (how->layout == NIBBLES_K ? 2 : 1); k++)
            four[k][r / 4] = nibbles_join(nibbles_join(row[0][k], row[1][k]),
                                          nibbles_join(row[2][k], row[3][k]));
    }
    nibbles_quarters(four[0], out);
    if (how->layout == NIBBLES_K) {
        __m512i odd[4];
        nibbles_quarters(four[1], odd);
        out[0] = _mm512_add_epi32(out[0], out[1]);
        out[2] = _mm512_add_epi32(out[2], out[3]);
        out[1] = _mm512_add_epi32(odd[0], odd[1]);
        out[3] = _mm512_add_epi32(odd[2], odd[3]);
    }
}

/* ---- scales and offsets of sixteen rows, [group][row] ---- */

/* [4 rows][8 halves] in each of h[0..3] to [8][16 rows]: two in each of the first n of out. */
LANE_INLINE void nibbles_turn_halves(const __m512i h[4], __m512i out[4])
{
    const __m512i word =
        _mm512_set_epi16(31, 23, 15, 7, 30, 22, 14, 6, 29, 21, 13, 5, 28, 20, 12, 4, 27, 19, 11, 3,
                         26, 18, 10, 2, 25, 17, 9, 1, 24, 16, 8, 0);
    const __m512i front = _mm512_set_epi64(11, 10, 3, 2, 9, 8, 1, 0);
    const __m512i back = _mm512_set_epi64(15, 14, 7, 6, 13, 12, 5, 4);
    __m512i v[4];
    for (int i = 0; i < 4; i++) /* four rows of each in a quadword */
        v[i] = _mm512_permutexvar_epi16(word, h[i]);
    const __m512i a = _mm512_unpacklo_epi64(v[0], v[1]), b = _mm512_unpacklo_epi64(v[2], v[3]);
    const __m512i c = _mm512_unpackhi_epi64(v[0], v[1]), d = _mm512_unpackhi_epi64(v[2], v[3]);
    out[0] = _mm512_permutex2var_epi64(a, front, b); /* 0 and 2 */
    out[1] = _mm512_permutex2var_epi64(c, front, d); /* 1 and 3 */
    out[2] = _mm512_permutex2var_epi64(a, back, b);  /* 4 and 6 */
    out[3] = _mm512_permutex2var_epi64(c, back, d);
}

LANE_INLINE void nibbles_widen(__m512i even, __m512i odd, __m512 out[4])
{
    out[0] = _mm512_cvtph_ps(_mm512_castsi512_si256(even));
    out[1] = _mm512_cvtph_ps(_mm512_castsi512_si256(odd));
    out[2] = _mm512_cvtph_ps(_mm512_extracti64x4_epi64(even, 1));
    out[3] = _mm512_cvtph_ps(_mm512_extracti64x4_epi64(odd, 1));
}

/* Heads of four rows' super-blocks to a byte for each scale and offset: in each quarter four
 * scales, four offsets, and the last four of each (see codes_k_unpack). */
LANE_INLINE __m512i nibbles_k_unpack(__m512i v)
{
    const __m512i shift = _mm512_broadcast_i32x4(_mm_set_epi32(4, 0, 0, 0));
    const __m512i low =
        _mm512_broadcast_i32x4(_mm_set_epi32(0x0f0f0f0f, 0x0f0f0f0f, 0x3f3f3f3f, 0x3f3f3f3f));
    const __m512i lent = _mm512_broadcast_i32x4(_mm_set_epi32(0x30303030, 0x30303030, 0, 0));
    __m512i a = _mm512_srlv_epi32(_mm512_shuffle_epi32(v, (_MM_PERM_ENUM)0xf9), shift);
    __m512i b = _mm512_srli_epi32(_mm512_shuffle_epi32(v, (_MM_PERM_ENUM)0x99), 2);
    return _mm512_or_si512(_mm512_and_si512(a, low), _mm512_and_si512(b, lent));
}

LANE_INLINE __m512 nibbles_bytes(const uint8_t *p, __m512 unit)
{
    const __m512i v = _mm512_cvtepu8_epi32(_mm_loadu_si128((const void *)p));
    return _mm512_mul_ps(_mm512_cvtepi32_ps(v), unit);
}

/* Bytes of all rows, [4 rows][16 bytes] in each of v[0..3], to [16 bytes][16 rows]. */
LANE_INLINE void nibbles_turn_bytes(__m512i v[4], uint8_t to[16][16])
{
    const __m512i words = _mm512_set_epi32(15, 11, 7, 3, 14, 10, 6, 2, 13, 9, 5, 1, 12, 8, 4, 0);
    const __m512i bytes =
        _mm512_broadcast_i32x4(_mm_set_epi8(15, 11, 7, 3, 14, 10, 6, 2, 13, 9, 5, 1, 12, 8, 4, 0));
    for (int i = 0; i < 4; i++)
        v[i] = _mm512_shuffle_epi8(_mm512_permutexvar_epi32(words, v[i]), bytes);
    const __m512i a = _mm512_unpacklo_epi32(v[0], v[1]), b = _mm512_unpacklo_epi32(v[2], v[3]);
    const __m512i c = _mm512_unpackhi_epi32(v[0], v[1]), d = _mm512_unpackhi_epi32(v[2], v[3]);
    const __m512i t[4] = {_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b),
                          _mm512_unpacklo_epi64(c, d), _mm512_unpackhi_epi64(c, d)};
    for (int k = 0; k < 4; k++) { /* quarters are bytes k, 4 + k, 8 + k and 12 + k */
        _mm_storeu_si128((void *)to[k], _mm512_castsi512_si128(t[k]));
        _mm_storeu_si128((void *)to[4 + k], _mm512_extracti32x4_epi32(t[k], 1));
        _mm_storeu_si128((void *)to[8 + k], _mm512_extracti32x4_epi32(t[k], 2));
        _mm_storeu_si128((void *)to[12 + k], _mm512_extracti32x4_epi32(t[k], 3));
    }
}

LANE_INLINE __m512i nibbles_load_rows(const uint8_t *a, const uint8_t *b, const uint8_t *c,
                                      const uint8_t *d)
{
    const __m256i low =
        _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128((const void *)a)),
                                _mm_loadu_si128((const void *)b), 1);
    const __m256i high =
        _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128((const void *)c)),
                                _mm_loadu_si128((const void *)d), 1);
    return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}

/* d and dmin of all rows. */
LANE_INLINE void nibbles_k_units(const __m512i v[4], __m512 *d, __m512 *dmin)
{
    const __m512i first =
        _mm512_set_epi32(28, 24, 20, 16, 12, 8, 4, 0, 28, 24, 20, 16, 12, 8, 4, 0);
    const __m512i low = _mm512_permutex2var_epi32(v[0], first, v[1]);
    const __m512i high = _mm512_permutex2var_epi32(v[2], first, v[3]);
    const __m512i all = _mm512_mask_blend_epi32(0xff00, low, high);
    *d = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(all));
    *dmin = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32(all, 16)));
}

/* Of the eight groups of a super-block of each row. */
LANE_INLINE void nibbles_k_scales(const struct nibbles *how, const struct pq_codes_in *in,
                                  uint64_t g, __m512 scale[8], __m512 offset[8])
{
    const uint64_t at = g / 8 * how->block;
    uint8_t byte[16][16];
    __m512i v[4];
    __m512 d, dmin;
    for (int i = 0; i < 4; i++)
        v[i] = nibbles_load_rows(in[4 * i].part[0] + at, in[4 * i + 1].part[0] + at,
                                 in[4 * i + 2].part[0] + at, in[4 * i + 3].part[0] + at);
    nibbles_k_units(v, &d, &dmin);
    for (int i = 0; i < 4; i++)
        v[i] = nibbles_k_unpack(v[i]);
    nibbles_turn_bytes(v, byte);
    for (int k = 0; k < 8; k++) {
        scale[k] = nibbles_bytes(byte[k / 4 * 8 + k % 4], d);
        offset[k] =
            _mm512_sub_ps(_mm512_setzero_ps(), nibbles_bytes(byte[k / 4 * 8 + 4 + k % 4], dmin));
    }
}

/* Stored halves `first` to first + n - 1 of all rows, n <= 8. */
LANE_INLINE void nibbles_halves(const struct pq_codes_in *in, int part, uint64_t first, uint64_t n,
                                __m512 out[8])
{
    const __mmask8 there = (__mmask8)((1u << n) - 1);
    __m512i h[4], turned[4];
    for (int i = 0; i < 4; i++) {
        __m128i row[4];
        for (int k = 0; k < 4; k++)
            row[k] = _mm_maskz_loadu_epi16(there, in[4 * i + k].part[part] + 2 * first);
        h[i] = _mm512_inserti64x4(
            _mm512_castsi256_si512(
                _mm256_inserti128_si256(_mm256_castsi128_si256(row[0]), row[1], 1)),
            _mm256_inserti128_si256(_mm256_castsi128_si256(row[2]), row[3], 1), 1);
    }
    nibbles_turn_halves(h, turned);
    for (int k = 0; k < 8; k++) {
        const __m512i v = turned[k / 4 * 2 + k % 2];
        const __m256i x = k % 4 < 2 ? _mm512_castsi512_si256(v) : _mm512_extracti64x4_epi64(v, 1);
        out[k] = in[0].aux == PQ_F16
                     ? _mm512_cvtph_ps(x)
                     : _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(x), 16));
    }
}

#endif
#endif
