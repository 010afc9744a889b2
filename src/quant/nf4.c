/*
 * NF4 as OpenVINO stores it: codes two in a byte, low nibble first, a half-precision scale for each
 * group. SPDX-License-Identifier: MIT
 */
#include "kern/nf4.h"
#include "quant/stored.h"
#include "quant/table.h"

static int parts(const struct pq_scheme *s, uint64_t cols, struct pq_part out[PQ_MAX_PARTS])
{
    out[0] = (struct pq_part){"weight", PQ_U8, cols / 2};
    out[1] = (struct pq_part){"scales", s->aux, cols / s->group};
    return 2;
}

static void decode(const struct pq_scheme *s, const void *const part[], uint64_t cols, float *x)
{
    const uint8_t *q = part[0];
    for (uint64_t j = 0; j < cols; j++)
        x[j] = stored_value(part[1], j / s->group, s->aux) * pq_nf4[q[j / 2] >> 4 * (j % 2) & 15];
}

#define ROW(g, bound)                                                                              \
    {                                                                                              \
        .name = "nf4g" #g, .about = "4-bit normal floats, a scale per " #g " weights",             \
        .family = PQ_FAM_NF4, .bits = 4, .group = g, .block = g, .aux = PQ_F16, .symmetric = true, \
        .ggml_type = PQ_NO_GGML_TYPE, .encoder = PQ_ENC_NF4, .dtype = PQ_DTYPES,                   \
        .rms_bound = bound, .parts = parts, .decode = decode                                       \
    }

const struct pq_scheme pq_schemes_nf4[] = {
    ROW(32, 0.085),
    ROW(64, 0.09),
    ROW(128, 0.095),
    {0},
};
