/*
 * Decoders of GGUF's code-book types, which published files contain and phiq only reads. Layouts:
 * the `gguf` package (gguf/quants.py), which the tests compare with. SPDX-License-Identifier: MIT
 */
#include "base/num.h"
#include "quant/ggml.h"
#include "quant/ggml_grids.h"

static float half(const uint8_t *p)
{
    return pq_f16_to_f32(pq_le16(p));
}

/* Seven stored signs; the eighth makes the number of minus signs even. */
static unsigned eight_signs(unsigned seven)
{
    unsigned p = seven ^ seven >> 4;
    p ^= p >> 2;
    p ^= p >> 1;
    return seven | (p & 1) << 7;
}

static float with_sign(float x, unsigned signs, int bit)
{
    return signs >> bit & 1 ? -x : x;
}

/* Eight elements of IQ2: two bits each choose among three magnitudes. */
static void put_iq2(float db, uint16_t entry, unsigned signs, float *x)
{
    static const float value[4] = {8, 25, 43, 0};
    for (int e = 0; e < 8; e++)
        x[e] = with_sign(db * value[entry >> 2 * e & 3], signs, e);
}

void pq_ggml_decode_iq2_xxs(const uint8_t *b, float *x)
{
    float d = half(b);
    for (int k = 0; k < 8; k++) {
        const uint8_t *q = b + 2 + 8 * k;
        uint32_t s = pq_le32(q + 4);
        float db = d * (0.5f + (float)(s >> 28)) * 0.25f;
        for (int i = 0; i < 4; i++)
            put_iq2(db, iq2_xxs_grid[q[i]], eight_signs(s >> 7 * i & 127), x + 32 * k + 8 * i);
    }
}

/* 4-bit scale of the k-th 16 elements. */
static float iq2_scale(float d, const uint8_t *scales, int k)
{
    return d * (0.5f + (float)(scales[k / 2] >> k % 2 * 4 & 15)) * 0.25f;
}

void pq_ggml_decode_iq2_xs(const uint8_t *b, float *x)
{
    float d = half(b);
    for (int k = 0; k < 32; k++) {
        unsigned q = pq_le16(b + 2 + 2 * k);
        put_iq2(iq2_scale(d, b + 66, k / 2), iq2_xs_grid[q & 511], eight_signs(q >> 9), x + 8 * k);
    }
}

void pq_ggml_decode_iq2_s(const uint8_t *b, float *x)
{
    float d = half(b);
    const uint8_t *signs = b + 34, *qh = b + 66;
    for (int k = 0; k < 32; k++) {
        int i = b[2 + k] | (qh[k / 4] >> k % 4 * 2 & 3) << 8;
        put_iq2(iq2_scale(d, b + 74, k / 2), iq2_s_grid[i], signs[k], x + 8 * k);
    }
}

void pq_ggml_decode_iq3_xxs(const uint8_t *b, float *x)
{
    static const float value[8] = {4, 12, 20, 28, 36, 44, 52, 62};
    float d = half(b);
    for (int k = 0; k < 64; k++) { /* four elements each */
        uint32_t s = pq_le32(b + 66 + k / 8 * 4);
        float db = d * (0.5f + (float)(s >> 28)) * 0.5f;
        unsigned signs = eight_signs(s >> k % 8 / 2 * 7 & 127);
        for (int e = 0; e < 4; e++)
            x[4 * k + e] =
                with_sign(db * value[iq3_xxs_grid[b[2 + k]] >> 4 * e & 7], signs, k % 2 * 4 + e);
    }
}

void pq_ggml_decode_iq3_s(const uint8_t *b, float *x)
{
    float d = half(b);
    const uint8_t *qh = b + 66, *signs = b + 74, *scales = b + 106;
    for (int k = 0; k < 64; k++) {
        int i = b[2 + k] | (qh[k / 8] >> k % 8 & 1) << 8;
        float db = d * (float)(1 + 2 * (scales[k / 16] >> k / 8 % 2 * 4 & 15));
        for (int e = 0; e < 4; e++) /* odd values 1..15 */
            x[4 * k + e] = with_sign(db * (float)(2 * (iq3_s_grid[i] >> 4 * e & 7) + 1),
                                     signs[k / 2], k % 2 * 4 + e);
    }
}

/* Eight elements of IQ1: -1, 0 or 1, all moved by an eighth up or down. */
static void put_iq1(float dl, uint16_t entry, bool down, float *x)
{
    float delta = down ? -0.125f : 0.125f;
    for (int e = 0; e < 8; e++)
        x[e] = dl * ((float)((entry >> 2 * e & 3) - 1) + delta);
}

void pq_ggml_decode_iq1_s(const uint8_t *b, float *x)
{
    float d = half(b);
    for (int k = 0; k < 32; k++) {
        unsigned qh = pq_le16(b + 34 + k / 4 * 2);
        float dl = d * (float)(2 * (qh >> 12 & 7) + 1);
        unsigned i = b[2 + k] | (qh >> k % 4 * 3 & 7) << 8;
        put_iq1(dl, iq1_s_grid[i], qh >> 15, x + 8 * k);
    }
}

/* The half is spread over the upper nibbles of the four words of scales. */
void pq_ggml_decode_iq1_m(const uint8_t *b, float *x)
{
    const uint8_t *qh = b + 32, *scales = b + 48;
    unsigned bits = 0;
    for (int i = 0; i < 4; i++)
        bits |= (unsigned)(pq_le16(scales + 2 * i) >> 12) << 4 * i;
    float d = pq_f16_to_f32((uint16_t)bits);
    for (int k = 0; k < 32; k++) {
        int s = pq_le16(scales + k / 8 * 2) >> k / 2 % 4 * 3 & 7;
        unsigned h = qh[k / 2] >> k % 2 * 4;
        put_iq1(d * (float)(2 * s + 1), iq1_s_grid[b[k] | (h & 7) << 8], h & 8, x + 8 * k);
    }
}
