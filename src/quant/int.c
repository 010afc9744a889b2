/*
 * Neutral integers, w = scale * (code - zero point): what ONNX's MatMulNBits, OpenVINO's
 * compressed constants and others share. Codes are unsigned, two in a byte with the low nibble
 * first when they have 4 bits, and so are zero points, each row from a byte of its own.
 * Symmetric schemes have no zero points: theirs is half the range. Scales stored in single
 * precision are half-precision numbers all the same (pq_scheme_encode), so that codes and scales
 * are equal in every container; that rounding is far below the grid's own.
 * Two more forms of the same numbers are OpenVINO's: signed codes in two's complement, and zero
 * points of a byte each, for rows whose number of groups is odd.
 * SPDX-License-Identifier: MIT
 */
#include "quant/stored.h"
#include "quant/table.h"

static int parts(const struct pq_scheme *s, uint64_t cols, struct pq_part out[PQ_MAX_PARTS])
{
    uint64_t groups = s->group ? cols / s->group : 1;
    out[0] = (struct pq_part){"weight", PQ_U8, cols / 8 * (uint64_t)s->bits};
    out[1] = (struct pq_part){"scales", s->aux, groups};
    uint64_t zero_bits = s->byte_zeros ? 8 : (uint64_t)s->bits;
    out[2] = (struct pq_part){"zeros", PQ_U8, (groups * zero_bits + 7) / 8};
    return s->symmetric ? 2 : 3;
}

static void decode_group(const struct pq_scheme *s, const uint8_t *q, uint64_t n, float scale,
                         int zero, float *x)
{
    const int flip = s->signed_codes ? s->bits == 8 ? 0x80 : 0x88 : 0;
    if (s->bits == 8) {
        for (uint64_t j = 0; j < n; j++)
            x[j] = scale * (float)((q[j] ^ flip) - zero);
        return;
    }
    for (uint64_t j = 0; j < n; j += 2) {
        const int pair = q[j / 2] ^ flip;
        x[j] = scale * (float)((pair & 15) - zero);
        x[j + 1] = scale * (float)((pair >> 4) - zero);
    }
}

static int zero_point(const struct pq_scheme *s, const uint8_t *zeros, uint64_t i)
{
    if (s->symmetric)
        return 1 << (s->bits - 1);
    return s->bits == 8 || s->byte_zeros ? zeros[i] : zeros[i / 2] >> 4 * (i % 2) & 15;
}

static void decode(const struct pq_scheme *s, const void *const part[], uint64_t cols, float *x)
{
    uint64_t n = s->group ? s->group : cols;
    const uint8_t *q = part[0], *zeros = part[2];
    for (uint64_t i = 0; i * n < cols; i++) {
        float scale = stored_value(part[1], i, s->aux);
        decode_group(s, q + i * n * (uint64_t)s->bits / 8, n, scale, zero_point(s, zeros, i),
                     x + i * n);
    }
}

#define ROW(n, text, b, g, types, sym, bound, ...)                                         \
    {                                                                                      \
        .name = n, .about = text, .family = PQ_FAM_INT, .bits = b, .group = g,             \
        .block = g ? g : 32, .aux = types, .symmetric = sym, .ggml_type = PQ_NO_GGML_TYPE, \
        .encoder = PQ_ENC_INT, .dtype = PQ_DTYPES, .rms_bound = bound, .parts = parts,     \
        .decode = decode, __VA_ARGS__                                                      \
    }
#define TYPES(n, text, b, g, sym, bound)                                      \
    ROW(n, text, b, g, PQ_F16, sym, bound, .signed_codes = false),            \
        ROW(n "_f32", text, b, g, PQ_F32, sym, bound, .signed_codes = false), \
        ROW(n "_bf16", text, b, g, PQ_BF16, sym, bound, .signed_codes = false)
#define SIGNED(n, text, b, g, bound) \
    ROW(n "_signed", text ", two's complement", b, g, PQ_F16, true, bound, .signed_codes = true)
#define SYM(b) #b "-bit integers, one scale per "
#define ASYM(b) #b "-bit integers, a scale and a zero point per "
#define BOTH(b, suffix, g, per, sbound, ubound)                    \
    TYPES("int" #b suffix, SYM(b) per, b, g, true, sbound),        \
        TYPES("uint" #b suffix, ASYM(b) per, b, g, false, ubound), \
        SIGNED("int" #b suffix, SYM(b) per, b, g, sbound)
#define GROUP(b, g, sbound, ubound) BOTH(b, "g" #g, g, #g " weights", sbound, ubound)

#define BYTES(suffix, g, per, bound)                                                             \
    ROW("uint4" suffix "_z8", ASYM(4) per ", bytes for zero points", 4, g, PQ_F16, false, bound, \
        .byte_zeros = true)

const struct pq_scheme pq_schemes_int[] = {
    GROUP(4, 16, 0.080, 0.075),
    GROUP(4, 32, 0.090, 0.085),
    GROUP(4, 64, 0.098, 0.095),
    GROUP(4, 128, 0.10, 0.10),
    GROUP(4, 256, 0.105, 0.105),
    BOTH(4, "c", 0, "row", 0.11, 0.11),
    GROUP(8, 16, 0.0043, 0.0041),
    GROUP(8, 32, 0.0050, 0.0047),
    GROUP(8, 64, 0.0057, 0.0054),
    GROUP(8, 128, 0.0062, 0.0060),
    GROUP(8, 256, 0.0067, 0.0064),
    BOTH(8, "c", 0, "row", 0.0076, 0.0072),
    BYTES("g16", 16, "16 weights", 0.075),
    BYTES("g32", 32, "32 weights", 0.085),
    BYTES("g64", 64, "64 weights", 0.095),
    BYTES("g128", 128, "128 weights", 0.10),
    BYTES("g256", 256, "256 weights", 0.105),
    BYTES("c", 0, "row", 0.11),
    {0},
};
