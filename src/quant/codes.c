/*
 * Where the codes of a row lie, as data: a solver that has chosen codes for a grid puts them into
 * an encoded row without knowing its scheme. Layouts are those that the decoders of this room read.
 * SPDX-License-Identifier: MIT
 */
#include "quant/codes.h"

#include "base/num.h"
#include "kern/nf4.h"
#include "quant/ggml.h"
#include "quant/stored.h"
#include "quant/table.h"

#include <assert.h>
#include <string.h>

/* `bits` bits of each code of a block: element i of every `span` lies in byte i % stride of the
 * span's span * bits / 8, behind those of the elements i - stride, i - 2 stride... */
struct field {
    uint16_t base, bits, span, stride;
};

/* Low bits first. */
struct layout {
    uint16_t bytes, elems;
    struct field field[2];
};

static const struct layout nibbles = {1, 2, {{0, 4, 2, 1}}}, bytes = {1, 1, {{0, 8, 1, 1}}};

static const struct layout ggml[] = {
    [2] = {18, 32, {{2, 4, 32, 16}}},                        /* q4_0 */
    [3] = {20, 32, {{4, 4, 32, 16}}},                        /* q4_1 */
    [6] = {22, 32, {{6, 4, 32, 16}, {2, 1, 8, 1}}},          /* q5_0 */
    [7] = {24, 32, {{8, 4, 32, 16}, {4, 1, 8, 1}}},          /* q5_1 */
    [8] = {34, 32, {{2, 8, 32, 32}}},                        /* q8_0 */
    [10] = {84, 256, {{16, 2, 128, 32}}},                    /* q2_k */
    [11] = {110, 256, {{32, 2, 128, 32}, {0, 1, 256, 32}}},  /* q3_k */
    [12] = {144, 256, {{16, 4, 64, 32}}},                    /* q4_k */
    [13] = {176, 256, {{48, 4, 64, 32}, {16, 1, 256, 32}}},  /* q5_k */
    [14] = {210, 256, {{0, 4, 128, 64}, {128, 2, 128, 32}}}, /* q6_k */
    [20] = {18, 32, {{2, 4, 32, 16}}},                       /* iq4_nl */
    [23] = {136, 256, {{8, 4, 32, 16}}}                      /* iq4_xs */
};

static const struct layout *layout_of(const struct pq_scheme *s)
{
    if (s->family == PQ_FAM_INT || s->family == PQ_FAM_FP || s->family == PQ_FAM_NF4)
        return s->bits == 4 ? &nibbles : s->bits == 8 ? &bytes : NULL;
    const bool known = s->family == PQ_FAM_GGML && s->ggml_type < PQ_LEN(ggml);
    return known && ggml[s->ggml_type].bytes ? &ggml[s->ggml_type] : NULL;
}

bool pq_codes_known(const struct pq_scheme *s)
{
    const bool bytes_of_floats = s->family == PQ_FAM_FP && s->bits == 8;
    return (s->family == PQ_FAM_AFFINE || layout_of(s) != NULL) && !bytes_of_floats;
}

struct pq_levels pq_codes_levels(const struct pq_scheme *s)
{
    struct pq_levels l = {.last = (1u << s->bits) - 1};
    const bool iq4 = s->encoder == PQ_ENC_IQ4_NL || s->encoder == PQ_ENC_IQ4_XS;
    const float *table = s->family == PQ_FAM_FP    ? pq_e2m1_values
                         : s->family == PQ_FAM_NF4 ? pq_nf4
                                                   : NULL;
    l.even = !iq4 && !table;
    l.first = s->encoder == PQ_ENC_Q8_0; /* llama.cpp's own never has -128 */
    for (int c = 0; c < 16 && !l.even; c++)
        l.value[c] = iq4 ? (float)pq_ggml_iq4_values[c] : table[c];
    return l;
}

static void put_bits(uint8_t *b, const struct field *f, uint64_t i, unsigned value)
{
    const unsigned mask = (1u << f->bits) - 1,
                   shift = (unsigned)(i % f->span / f->stride) * f->bits;
    uint8_t *at = b + f->base + i / f->span * (f->span * f->bits / 8u) + i % f->stride;
    *at = (uint8_t)((*at & ~(mask << shift)) | (value & mask) << shift);
}

static void put_blocks(const struct layout *l, const uint8_t *code, uint64_t cols, unsigned flip,
                       uint8_t *b)
{
    for (uint64_t at = 0; at < cols; at += l->elems, b += l->bytes)
        for (uint64_t i = 0; i < l->elems; i++) {
            const unsigned c = code[at + i] ^ flip;
            put_bits(b, &l->field[0], i, c);
            if (l->field[1].bits)
                put_bits(b, &l->field[1], i, c >> l->field[0].bits);
        }
}

/* MLX's stream: eight codes fill `bits` bytes. */
static void put_stream(const uint8_t *code, uint64_t cols, int bits, uint8_t *b)
{
    for (uint64_t at = 0; at < cols; at += 8, b += bits) {
        uint64_t v = 0;
        for (int i = 0; i < 8; i++)
            v |= (uint64_t)code[at + (uint64_t)i] << i * bits;
        for (int i = 0; i < bits; i++)
            b[i] = (uint8_t)(v >> 8 * i);
    }
}

/* What turns codes into the two's complement that is stored. */
static unsigned flip_of(const struct pq_scheme *s)
{
    return s->signed_codes || s->encoder == PQ_ENC_Q8_0 ? 1u << (s->bits - 1) : 0;
}

void pq_codes_put(const struct pq_scheme *s, const uint8_t *code, uint64_t cols, void *const part[])
{
    assert(pq_codes_known(s));
    if (s->family == PQ_FAM_AFFINE)
        put_stream(code, cols, s->bits, (uint8_t *)part[0]);
    else
        put_blocks(layout_of(s), code, cols, flip_of(s), (uint8_t *)part[0]);
}

void pq_codes_grid(const struct pq_scheme *s, uint64_t cols, void *const part[],
                   const struct pq_grid *g)
{
    const void *const *in = (const void *const *)part;
    const struct pq_levels l = pq_codes_levels(s);
    const unsigned last = (1u << s->bits) - 1;
    memset(g->code, 0, cols);
    pq_codes_put(s, g->code, cols, part);
    s->decode(s, in, cols, g->low);
    memset(g->code, (int)last, cols);
    pq_codes_put(s, g->code, cols, part);
    s->decode(s, in, cols, g->step);
    for (uint64_t j = 0; j < cols; j++) {
        g->step[j] = (g->step[j] - (l.even ? g->low[j] : 0)) / pq_level(&l, last);
        g->low[j] = l.even ? g->low[j] : 0;
    }
}

/* ---- scales ---- */

/* Where a block of GGUF has its 16-bit floats; 0, 0: one that is both. */
static const struct {
    uint8_t scale, offset;
    bool has_offset;
} ggml_scales[] = {
    [2] = {0},
    [3] = {0, 2, true},
    [6] = {0},
    [7] = {0, 2, true},
    [8] = {0},
    [10] = {80, 82, true},
    [11] = {108, 0, false},
    [12] = {0, 2, true},
    [13] = {0, 2, true},
    [14] = {208, 0, false},
    [20] = {0},
    [23] = {0},
};

static struct pq_scales ggml_block_scales(const struct pq_scheme *s)
{
    const uint64_t size = pq_scheme_part_bytes(s, s->block, 0);
    const bool both = ggml_scales[s->ggml_type].has_offset;
    return (struct pq_scales){
        .n = both ? 2 : 1,
        .span = s->block,
        .kind = {{both ? PQ_SCALES_STEP : PQ_SCALES_ALL, 0, ggml_scales[s->ggml_type].scale, size},
                 {PQ_SCALES_LOW, 0, ggml_scales[s->ggml_type].offset, size}},
        .type = PQ_F16,
        .rounded = PQ_F16};
}

struct pq_scales pq_codes_scales(const struct pq_scheme *s, uint64_t cols)
{
    assert(pq_codes_known(s));
    if (s->family == PQ_FAM_GGML)
        return ggml_block_scales(s);
    if (s->family == PQ_FAM_FP)
        return (struct pq_scales){.n = 0, .span = cols};
    const uint64_t size = pq_dtype_size(s->aux);
    const bool affine = s->family == PQ_FAM_AFFINE;
    return (struct pq_scales){.n = affine ? 2 : 1,
                              .span = s->group ? s->group : cols,
                              .kind = {{affine ? PQ_SCALES_STEP : PQ_SCALES_ALL, 1, 0, size},
                                       {PQ_SCALES_LOW, 2, 0, size}},
                              .type = s->aux,
                              .rounded =
                                  s->family == PQ_FAM_INT && s->aux == PQ_F32 ? PQ_F16 : s->aux};
}

static uint8_t *scale_at(const struct pq_scales *s, int kind, uint64_t i, void *const part[])
{
    return (uint8_t *)part[s->kind[kind].part] + s->kind[kind].base + i * s->kind[kind].stride;
}

float pq_scales_get(const struct pq_scales *s, int kind, uint64_t i, void *const part[])
{
    return stored_value(scale_at(s, kind, i, part), 0, s->type);
}

void pq_scales_put(const struct pq_scales *s, int kind, uint64_t i, float v, void *const part[])
{
    uint8_t *at = scale_at(s, kind, i, part);
    if (s->type == PQ_F32)
        pq_put_le32(at, pq_f32_bits(v));
    else
        pq_put_le16(at, s->type == PQ_F16 ? pq_f32_to_f16(v) : pq_f32_to_bf16(v));
}

float pq_scales_round(const struct pq_scales *s, float v)
{
    return s->rounded == PQ_F16    ? pq_f16_to_f32(pq_f32_to_f16(v))
           : s->rounded == PQ_BF16 ? pq_bf16_to_f32(pq_f32_to_bf16(v))
                                   : v;
}
