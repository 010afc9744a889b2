/*
 * Decoders of GGUF's legacy and k-quant blocks. Layouts: the `gguf` package (gguf/quants.py), which
 * the tests compare with; all fields little-endian, d, dmin and m are IEEE halves.
 * SPDX-License-Identifier: MIT
 */
#include "base/num.h"
#include "kern/books.h"
#include "quant/ggml.h"

const int8_t pq_ggml_iq4_values[16] = PQ_IQ4_VALUES;

static float half(const uint8_t *p)
{
    return pq_f16_to_f32(pq_le16(p));
}

/* 16 bytes hold 32 codes: element j in the low nibble of byte j, element j + 16 in the high one. */
static int nibble(const uint8_t *qs, int j)
{
    return qs[j % 16] >> j / 16 * 4 & 15;
}

void pq_ggml_decode_q4_0(const uint8_t *b, float *x)
{
    float d = half(b);
    for (int j = 0; j < 32; j++)
        x[j] = d * (float)(nibble(b + 2, j) - 8);
}

void pq_ggml_decode_q4_1(const uint8_t *b, float *x)
{
    float d = half(b), m = half(b + 2);
    for (int j = 0; j < 32; j++)
        x[j] = d * (float)nibble(b + 4, j) + m;
}

/* The fifth bits of 32 codes form one little-endian word. */
static int five_bits(const uint8_t *qh, const uint8_t *qs, int j)
{
    return nibble(qs, j) | (int)(pq_le32(qh) >> j & 1) << 4;
}

void pq_ggml_decode_q5_0(const uint8_t *b, float *x)
{
    float d = half(b);
    for (int j = 0; j < 32; j++)
        x[j] = d * (float)(five_bits(b + 2, b + 6, j) - 16);
}

void pq_ggml_decode_q5_1(const uint8_t *b, float *x)
{
    float d = half(b), m = half(b + 2);
    for (int j = 0; j < 32; j++)
        x[j] = d * (float)five_bits(b + 4, b + 8, j) + m;
}

void pq_ggml_decode_q8_0(const uint8_t *b, float *x)
{
    float d = half(b);
    for (int j = 0; j < 32; j++)
        x[j] = d * (float)(int8_t)b[2 + j];
}

/* Two-bit codes: 32 bytes hold 128 elements, element 32 s + l in bits 2s of byte l. */
static int two_bits(const uint8_t *qs, int i)
{
    return qs[i / 128 * 32 + i % 32] >> i % 128 / 32 * 2 & 3;
}

void pq_ggml_decode_q2_k(const uint8_t *b, float *x)
{
    float d = half(b + 80), dmin = half(b + 82);
    for (int i = 0; i < 256; i++) {
        float dl = d * (float)(b[i / 16] & 15), ml = dmin * (float)(b[i / 16] >> 4);
        x[i] = dl * (float)two_bits(b + 16, i) - ml;
    }
}

/* 16 six-bit scales in 12 bytes: low nibbles first, then the upper bits, four to a byte. */
static int q3_scale(const uint8_t *p, int k)
{
    return ((p[k % 8] >> k / 8 * 4 & 15) | (p[8 + k % 4] >> k / 4 * 2 & 3) << 4) - 32;
}

void pq_ggml_decode_q3_k(const uint8_t *b, float *x)
{
    float d = half(b + 108);
    for (int i = 0; i < 256; i++) {
        int high = b[i % 32] >> i / 32 & 1; /* a clear bit subtracts 4 */
        int q = two_bits(b + 32, i) - (high ? 0 : 4);
        x[i] = d * (float)q3_scale(b + 96, i / 16) * (float)q;
    }
}

/* Eight six-bit scales and offsets in 12 bytes: the first four of each have a byte of their own,
 * whose two upper bits are lent to the last four. */
static void q4_scale(const uint8_t *p, int k, int *sc, int *mn)
{
    if (k < 4) {
        *sc = p[k] & 63;
        *mn = p[k + 4] & 63;
    } else {
        *sc = (p[k + 4] & 15) | (p[k - 4] >> 6) << 4;
        *mn = p[k + 4] >> 4 | (p[k] >> 6) << 4;
    }
}

/* Four-bit codes of a super-block: 32 bytes hold two sub-blocks, low nibbles first; qh, if any,
 * lends bit k of byte l to element l of sub-block k. */
static void decode_45_k(const uint8_t *b, const uint8_t *qs, const uint8_t *qh, float *x)
{
    float d = half(b), dmin = half(b + 2);
    for (int k = 0; k < 8; k++) {
        int sc, mn;
        q4_scale(b + 4, k, &sc, &mn);
        float dl = d * (float)sc, ml = dmin * (float)mn;
        for (int l = 0; l < 32; l++) {
            int q = qs[k / 2 * 32 + l] >> k % 2 * 4 & 15;
            if (qh)
                q |= (qh[l] >> k & 1) << 4;
            x[32 * k + l] = dl * (float)q - ml;
        }
    }
}

void pq_ggml_decode_q4_k(const uint8_t *b, float *x)
{
    decode_45_k(b, b + 16, NULL, x);
}

void pq_ggml_decode_q5_k(const uint8_t *b, float *x)
{
    decode_45_k(b, b + 48, b + 16, x);
}

void pq_ggml_decode_q6_k(const uint8_t *b, float *x)
{
    float d = half(b + 208);
    for (int i = 0; i < 256; i++) {
        int h = i / 128, r = i % 128; /* r: 32-element quarter and place in it */
        int low = b[64 * h + r % 64] >> r / 64 * 4 & 15;
        int high = b[128 + 32 * h + r % 32] >> r / 32 * 2 & 3;
        float dl = d * (float)(int8_t)b[192 + i / 16];
        x[i] = dl * (float)((low | high << 4) - 32);
    }
}

void pq_ggml_decode_iq4_nl(const uint8_t *b, float *x)
{
    float d = half(b);
    for (int j = 0; j < 32; j++)
        x[j] = d * (float)pq_ggml_iq4_values[nibble(b + 2, j)];
}

void pq_ggml_decode_iq4_xs(const uint8_t *b, float *x)
{
    float d = half(b);
    for (int k = 0; k < 8; k++) {
        int low = b[4 + k / 2] >> k % 2 * 4 & 15, high = pq_le16(b + 2) >> 2 * k & 3;
        float dl = d * (float)((low | high << 4) - 32);
        for (int j = 0; j < 32; j++)
            x[32 * k + j] = dl * (float)pq_ggml_iq4_values[nibble(b + 8 + 16 * k, j)];
    }
}

/* Five (or four) base-3 digits per byte as a fraction of 256: multiply, keep the carry. */
static float trit(uint8_t byte, int n)
{
    static const uint8_t power[5] = {1, 3, 9, 27, 81};
    return (float)(((uint8_t)(byte * power[n]) * 3 >> 8) - 1);
}

void pq_ggml_decode_tq1_0(const uint8_t *b, float *x)
{
    float d = half(b + 52);
    for (int i = 0; i < 160; i++)
        x[i] = d * trit(b[i % 32], i / 32);
    for (int i = 0; i < 80; i++)
        x[160 + i] = d * trit(b[32 + i % 16], i / 16);
    for (int i = 0; i < 16; i++)
        x[240 + i] = d * trit(b[48 + i % 4], i / 4);
}

void pq_ggml_decode_tq2_0(const uint8_t *b, float *x)
{
    float d = half(b + 64);
    for (int i = 0; i < 256; i++)
        x[i] = d * (float)(two_bits(b, i) - 1);
}

/* E2M1 values are kept doubled and the shared exponent halved, so that all are integers. */
void pq_ggml_decode_mxfp4(const uint8_t *b, float *x)
{
    static const int8_t values[16] = PQ_E2M1_DOUBLED;
    uint32_t e = b[0];
    float d = pq_bits_f32(e < 2 ? 0x00200000u << e : (e - 1) << 23);
    for (int j = 0; j < 32; j++)
        x[j] = d * (float)values[nibble(b + 1, j)];
}
