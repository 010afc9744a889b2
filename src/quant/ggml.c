/* The rows of the table for GGUF's block types. SPDX-License-Identifier: MIT */
#include "quant/ggml.h"
#include "base/num.h"
#include "quant/table.h"

#include <assert.h>

/* Indexed by GGUF type id. */
static const struct {
    pq_ggml_decode_fn *decode;
    uint16_t bytes, elems;
} blocks[] = {
#define PQ_X(name, type, bytes, elems) [type] = {pq_ggml_decode_##name, bytes, elems},
    PQ_GGML_BLOCKS(PQ_X)
#undef PQ_X
};

static int parts(const struct pq_scheme *s, uint64_t cols, struct pq_part out[PQ_MAX_PARTS])
{
    assert(s->ggml_type < PQ_LEN(blocks) && blocks[s->ggml_type].elems == s->block);
    out[0] = (struct pq_part){"weight", PQ_U8, cols / s->block * blocks[s->ggml_type].bytes};
    return 1;
}

static void decode(const struct pq_scheme *s, const void *const part[], uint64_t cols, float *x)
{
    const uint8_t *b = part[0];
    for (uint64_t i = 0; i < cols; i += s->block, b += blocks[s->ggml_type].bytes)
        blocks[s->ggml_type].decode(b, x + i);
}

/* name, about, GGUF type id, code bits, weights per scale, per block, symmetric, encoder, bound */
#define ROW(n, text, type, width, per_scale, per_block, sym, enc, bound)                           \
    {                                                                                              \
        .name = n, .about = text, .family = PQ_FAM_GGML, .bits = width, .group = per_scale,        \
        .block = per_block, .aux = PQ_DTYPES, .symmetric = sym, .ggml_type = type, .encoder = enc, \
        .dtype = PQ_DTYPES, .rms_bound = bound, .parts = parts, .decode = decode                   \
    }

/* Bounds: a little above what search reaches on normally distributed weights. */
const struct pq_scheme pq_schemes_ggml[] = {
    ROW("q4_0", "4-bit, scale per 32", 2, 4, 32, 32, true, PQ_ENC_Q4_0, 0.090),
    ROW("q4_1", "4-bit, scale and offset per 32", 3, 4, 32, 32, false, PQ_ENC_Q4_1, 0.085),
    ROW("q5_0", "5-bit, scale per 32", 6, 5, 32, 32, true, PQ_ENC_Q5_0, 0.045),
    ROW("q5_1", "5-bit, scale and offset per 32", 7, 5, 32, 32, false, PQ_ENC_Q5_1, 0.043),
    ROW("q8_0", "8-bit, scale per 32", 8, 8, 32, 32, true, PQ_ENC_Q8_0, 0.006),
    ROW("q2_k", "2-bit, 4-bit scale and offset per 16", 10, 2, 16, 256, false, PQ_ENC_Q2_K, 0.32),
    ROW("q3_k", "3-bit, 6-bit scale per 16", 11, 3, 16, 256, true, PQ_ENC_Q3_K, 0.18),
    ROW("q4_k", "4-bit, 6-bit scale and offset per 32", 12, 4, 32, 256, false, PQ_ENC_Q4_K, 0.085),
    ROW("q5_k", "5-bit, 6-bit scale and offset per 32", 13, 5, 32, 256, false, PQ_ENC_Q5_K, 0.043),
    ROW("q6_k", "6-bit, 8-bit scale per 16", 14, 6, 16, 256, true, PQ_ENC_Q6_K, 0.021),
    ROW("iq4_nl", "4-bit non-linear, scale per 32", 20, 4, 32, 32, true, PQ_ENC_IQ4_NL, 0.082),
    ROW("iq4_xs", "4-bit non-linear, 6-bit scale per 32", 23, 4, 32, 256, true, PQ_ENC_IQ4_XS,
        0.083),
    ROW("iq2_xxs", "code book, 2.06 bits (read only)", 16, 2, 32, 256, true, PQ_ENC_NONE, 1.0),
    ROW("iq2_xs", "code book, 2.31 bits (read only)", 17, 2, 16, 256, true, PQ_ENC_NONE, 1.0),
    ROW("iq3_xxs", "code book, 3.06 bits (read only)", 18, 3, 32, 256, true, PQ_ENC_NONE, 1.0),
    ROW("iq1_s", "code book, 1.56 bits (read only)", 19, 2, 32, 256, true, PQ_ENC_NONE, 1.0),
    ROW("iq3_s", "code book, 3.44 bits (read only)", 21, 3, 32, 256, true, PQ_ENC_NONE, 1.0),
    ROW("iq2_s", "code book, 2.56 bits (read only)", 22, 2, 16, 256, true, PQ_ENC_NONE, 1.0),
    ROW("iq1_m", "code book, 1.75 bits (read only)", 29, 2, 16, 256, true, PQ_ENC_NONE, 1.0),
    ROW("tq1_0", "ternary, 1.69 bits (read only)", 34, 2, 256, 256, true, PQ_ENC_NONE, 1.0),
    ROW("tq2_0", "ternary, 2.06 bits (read only)", 35, 2, 256, 256, true, PQ_ENC_NONE, 1.0),
    ROW("mxfp4-gguf", "4-bit float, shared exponent per 32 (read only)", 39, 4, 32, 32, true,
        PQ_ENC_NONE, 1.0),
    {0},
};
