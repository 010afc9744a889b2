/* Element types as schemes: what checkpoints store and what "no quantization" writes.
 * SPDX-License-Identifier: MIT */
#include "base/num.h"
#include "quant/table.h"

static int parts(const struct pq_scheme *s, uint64_t cols, struct pq_part out[PQ_MAX_PARTS])
{
    out[0] = (struct pq_part){"weight", s->dtype, cols};
    return 1;
}

/* Values that single precision cannot hold are rounded to the nearest that it can. */
#define DECODER(name, bytes, value)                                                               \
    static void decode_##name(const struct pq_scheme *s, const void *const part[], uint64_t cols, \
                              float *x)                                                           \
    {                                                                                             \
        const uint8_t *p = part[0];                                                               \
        (void)s;                                                                                  \
        for (uint64_t i = 0; i < cols; i++, p += (bytes))                                         \
            x[i] = (value);                                                                       \
    }

static float f64_to_f32(uint64_t u)
{
    double d;
    memcpy(&d, &u, 8);
    return (float)d;
}

DECODER(f32, 4, pq_bits_f32(pq_le32(p)))
DECODER(f16, 2, pq_f16_to_f32(pq_le16(p)))
DECODER(bf16, 2, pq_bf16_to_f32(pq_le16(p)))
DECODER(f64, 8, f64_to_f32(pq_le64(p)))
DECODER(f8_e4m3, 1, pq_e4m3_to_f32(*p))
DECODER(f8_e5m2, 1, pq_e5m2_to_f32(*p))
DECODER(f8_e8m0, 1, pq_e8m0_to_f32(*p))
DECODER(i8, 1, (float)(int8_t)*p)
DECODER(u8, 1, (float)*p)
DECODER(i16, 2, (float)(int16_t)pq_le16(p))
DECODER(u16, 2, (float)pq_le16(p))
DECODER(i32, 4, (float)(int32_t)pq_le32(p))
DECODER(u32, 4, (float)pq_le32(p))
DECODER(i64, 8, (float)(int64_t)pq_le64(p))
DECODER(u64, 8, (float)pq_le64(p))
DECODER(bool, 1, *p ? 1.0f : 0.0f)

/* name, about, bits, GGUF type, encoder, dtype, error bound (half a unit in the last place) */
#define ROW(n, text, width, ggml, enc, type, bound)                                               \
    {                                                                                             \
        .name = #n, .about = text, .family = PQ_FAM_FLOAT, .bits = width, .group = 1, .block = 1, \
        .aux = PQ_DTYPES, .symmetric = true, .ggml_type = ggml, .encoder = enc, .dtype = type,    \
        .rms_bound = bound, .parts = parts, .decode = decode_##n                                  \
    }

#define NO PQ_NO_GGML_TYPE
const struct pq_scheme pq_schemes_float[] = {
    ROW(f32, "IEEE single precision", 32, 0, PQ_ENC_F32, PQ_F32, 0.0),
    ROW(f16, "IEEE half precision", 16, 1, PQ_ENC_F16, PQ_F16, 0x1p-11),
    ROW(bf16, "bfloat16, the type of most checkpoints", 16, 30, PQ_ENC_BF16, PQ_BF16, 0x1p-8),
    ROW(f64, "IEEE double precision (read only)", 64, 28, PQ_ENC_NONE, PQ_F64, 0.0),
    ROW(f8_e4m3, "8-bit float, 3 mantissa bits (read only)", 8, NO, PQ_ENC_NONE, PQ_F8_E4M3, 0.0),
    ROW(f8_e5m2, "8-bit float, 2 mantissa bits (read only)", 8, NO, PQ_ENC_NONE, PQ_F8_E5M2, 0.0),
    ROW(f8_e8m0, "8-bit power of two (read only)", 8, NO, PQ_ENC_NONE, PQ_F8_E8M0, 0.0),
    ROW(i8, "integers (read only)", 8, 24, PQ_ENC_NONE, PQ_I8, 0.0),
    ROW(u8, "integers (read only)", 8, NO, PQ_ENC_NONE, PQ_U8, 0.0),
    ROW(i16, "integers (read only)", 16, 25, PQ_ENC_NONE, PQ_I16, 0.0),
    ROW(u16, "integers (read only)", 16, NO, PQ_ENC_NONE, PQ_U16, 0.0),
    ROW(i32, "integers (read only)", 32, 26, PQ_ENC_NONE, PQ_I32, 0.0),
    ROW(u32, "integers (read only)", 32, NO, PQ_ENC_NONE, PQ_U32, 0.0),
    ROW(i64, "integers (read only)", 64, 27, PQ_ENC_NONE, PQ_I64, 0.0),
    ROW(u64, "integers (read only)", 64, NO, PQ_ENC_NONE, PQ_U64, 0.0),
    ROW(bool, "truth values (read only)", 8, NO, PQ_ENC_NONE, PQ_BOOL, 0.0),
    {0},
};
