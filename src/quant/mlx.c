/*
 * The schemes of MLX: affine groups of every width, and the microscaling floats. Layout as
 * mx.quantize writes it (mlx/ops.cpp, mlx/backend/cpu/quantized.cpp): a row is one stream of codes,
 * lowest bits first, seen as little-endian uint32. SPDX-License-Identifier: MIT
 */
#include "quant/stored.h"
#include "quant/table.h"

static int affine_parts(const struct pq_scheme *s, uint64_t cols, struct pq_part out[PQ_MAX_PARTS])
{
    out[0] = (struct pq_part){"weight", PQ_U32, cols / 8 * (uint64_t)s->bits / 4};
    out[1] = (struct pq_part){"scales", s->aux, cols / s->group};
    out[2] = (struct pq_part){"biases", s->aux, cols / s->group};
    return 3;
}

/* Eight codes fill `bits` bytes. */
static uint64_t eight_codes(const uint8_t *p, int bits)
{
    uint64_t v = 0;
    for (int i = 0; i < bits; i++)
        v |= (uint64_t)p[i] << 8 * i;
    return v;
}

/*
 * Product, then sum, each rounded to single precision. mx.dequantize rounds each to the type of the
 * scales instead, and MLX's matrix kernels keep them in single precision, as here. (With 16-bit
 * scales the product is exact, so a fused multiply-add gives the same.)
 */
static void affine_decode(const struct pq_scheme *s, const void *const part[], uint64_t cols,
                          float *x)
{
    const uint8_t *q = part[0];
    uint32_t mask = (1u << s->bits) - 1;
    for (uint64_t j = 0; j < cols; j += 8, q += s->bits) {
        float scale = stored_value(part[1], j / s->group, s->aux);
        float bias = stored_value(part[2], j / s->group, s->aux);
        uint64_t v = eight_codes(q, s->bits);
        for (int i = 0; i < 8; i++) {
            float product = scale * (float)(v >> i * s->bits & mask);
            x[j + (uint64_t)i] = product + bias;
        }
    }
}

static int fp_parts(const struct pq_scheme *s, uint64_t cols, struct pq_part out[PQ_MAX_PARTS])
{
    out[0] = (struct pq_part){"weight", PQ_U32, cols / 8 * (uint64_t)s->bits / 4};
    out[1] = (struct pq_part){"scales", PQ_U8, cols / s->group};
    return 2;
}

const float pq_e2m1_values[16] = {0.0f,  0.5f,  1.0f,  1.5f,  2.0f,  3.0f,  4.0f,  6.0f,
                                  -0.0f, -0.5f, -1.0f, -1.5f, -2.0f, -3.0f, -4.0f, -6.0f};

/* A scale byte of 255 is NaN in E8M0; MLX reads it as infinity. Nobody writes it. */
static float fp_scale(const struct pq_scheme *s, const uint8_t *scales, uint64_t j)
{
    uint8_t v = scales[j / s->group];
    return s->encoder == PQ_ENC_NVFP4 ? pq_e4m3_to_f32(v) : pq_e8m0_to_f32(v);
}

static void fp4_decode(const struct pq_scheme *s, const void *const part[], uint64_t cols, float *x)
{
    const uint8_t *q = part[0];
    for (uint64_t j = 0; j < cols; j += 2, q++) {
        float scale = fp_scale(s, part[1], j);
        x[j] = scale * pq_e2m1_values[*q & 15];
        x[j + 1] = scale * pq_e2m1_values[*q >> 4];
    }
}

static void fp8_decode(const struct pq_scheme *s, const void *const part[], uint64_t cols, float *x)
{
    const uint8_t *q = part[0];
    for (uint64_t j = 0; j < cols; j++)
        x[j] = fp_scale(s, part[1], j) * pq_e4m3_to_f32(q[j]);
}

/* One row of the table for each width, group and type of scales; `bound` is for groups of 128. */
#define ROW(b, g, suffix, type, bound)                                              \
    {                                                                               \
        .name = "affine" #b "g" #g suffix,                                          \
        .about = "MLX: " #b "-bit codes, a scale and a bias per " #g " weights",    \
        .family = PQ_FAM_AFFINE, .bits = b, .group = g, .block = g, .aux = type,    \
        .ggml_type = PQ_NO_GGML_TYPE, .encoder = PQ_ENC_AFFINE, .dtype = PQ_DTYPES, \
        .rms_bound = bound, .parts = affine_parts, .decode = affine_decode          \
    }
#define TYPES(b, g, bound)                                           \
    ROW(b, g, "", PQ_BF16, bound), ROW(b, g, "_f16", PQ_F16, bound), \
        ROW(b, g, "_f32", PQ_F32, bound)
#define GROUPS(b, g32, g64, g128) TYPES(b, 32, g32), TYPES(b, 64, g64), TYPES(b, 128, g128)

#define FP(n, text, b, g, enc, bound, decoder)                                             \
    {                                                                                      \
        .name = n, .about = text, .family = PQ_FAM_FP, .bits = b, .group = g, .block = g,  \
        .aux = PQ_DTYPES, .symmetric = true, .ggml_type = PQ_NO_GGML_TYPE, .encoder = enc, \
        .dtype = PQ_DTYPES, .rms_bound = bound, .parts = fp_parts, .decode = decoder       \
    }

const struct pq_scheme pq_schemes_mlx[] = {
    GROUPS(2, 0.31, 0.33, 0.37),
    GROUPS(3, 0.15, 0.17, 0.19),
    GROUPS(4, 0.072, 0.083, 0.094),
    GROUPS(5, 0.037, 0.043, 0.049),
    GROUPS(6, 0.019, 0.022, 0.025),
    GROUPS(8, 0.0050, 0.0055, 0.0062),
    FP("mxfp4", "MLX: 4-bit floats, a power of two per 32 weights", 4, 32, PQ_ENC_MXFP4, 0.12,
       fp4_decode),
    FP("mxfp8", "MLX: 8-bit floats (E4M3), a power of two per 32 weights", 8, 32, PQ_ENC_MXFP8,
       0.028, fp8_decode),
    FP("nvfp4", "MLX: 4-bit floats, an 8-bit float per 16 weights", 4, 16, PQ_ENC_NVFP4, 0.10,
       fp4_decode),
    {0},
};
