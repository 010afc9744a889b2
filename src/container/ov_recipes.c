/*
 * Recipes for OpenVINO: element types, integers with a scale for each group or row. Embedding and
 * head keep 8 bits unless the recipe is pure, as NNCF places them by default (backup mode
 * int8_asym). SPDX-License-Identifier: MIT
 */
#include "container/ov.h"

#define BACKUP "uint8c"

#define INT4(suffix, per)                                                                          \
    {"uint4" suffix, "4-bit with zero points, " per "; head and embedding 8-bit", "uint4" suffix,  \
     -1},                                                                                          \
    {                                                                                              \
        "int4" suffix, "4-bit, " per "; head and embedding 8-bit (NPU: g128 or c)", "int4" suffix, \
            -1                                                                                     \
    }
#define PURE(s)                                   \
    {                                             \
        "pure-" #s, "every matrix in " #s, #s, -1 \
    }

const struct pq_recipe pq_ov_recipes[] = {
    {"f32", "single precision", "f32", -1},
    {"f16", "half precision", "f16", -1},
    {"bf16", "bfloat16", "bf16", -1},
    {"uint8c", "8-bit with zero points, per row", "uint8c", -1},
    {"int8c", "8-bit, per row", "int8c", -1},
    INT4("g32", "groups of 32"),
    INT4("g64", "groups of 64"),
    INT4("g128", "groups of 128"),
    INT4("c", "per row"),
    PURE(int4g32),
    PURE(uint4g32),
    PURE(uint4g64),
    PURE(int4g128),
    PURE(uint4g128),
    {"mxfp4", "4-bit floats in groups of 32 with a power of two; head and embedding 8-bit", "mxfp4",
     -1},
    {"nf4g64", "4-bit normal floats in groups of 64; head and embedding 8-bit", "nf4g64", -1},
    {"nf4g128", "4-bit normal floats in groups of 128; head and embedding 8-bit", "nf4g128", -1},
    {NULL, NULL, NULL, -1},
};

const struct pq_scheme *pq_ov_place(const struct pq_recipe *r, const struct pq_network *net,
                                    size_t i, bool have_imatrix)
{
    const struct pq_scheme *base = pq_scheme_find(r->base);
    const enum pq_role role = net->tensor[i].role;
    (void)have_imatrix;
    if (!pq_role_is_matrix(role))
        return pq_scheme_find("f32");
    const bool edge = role == PQ_ROLE_EMBED || role == PQ_ROLE_HEAD;
    return base->bits == 4 && edge && strncmp(r->name, "pure-", 5) != 0 ? pq_scheme_find(BACKUP)
                                                                        : base;
}

bool pq_ov_holds(const struct pq_scheme *s)
{
    if (s->encoder == PQ_ENC_NONE)
        return false;
    if (s->family == PQ_FAM_FLOAT)
        return s->dtype == PQ_F32 || s->dtype == PQ_F16 || s->dtype == PQ_BF16;
    return s->family == PQ_FAM_NF4 || (s->family == PQ_FAM_INT && s->aux == PQ_F16) ||
           (s->family == PQ_FAM_FP && !strcmp(s->name, "mxfp4"));
}

/* Zero points of 4 bits lie without gaps between rows, so a row must have an even number. */
static const struct pq_scheme *packed(const struct pq_scheme *s, uint64_t cols)
{
    const uint64_t groups = s->group ? cols / s->group : 1;
    return pq_scheme_packed(s, s->symmetric, s->bits == 4 && !s->symmetric && groups % 2);
}

/* Rows that groups do not tile take smaller groups, and 8 bits per row when there are none so
 * small. */
const struct pq_scheme *pq_ov_fit(const struct pq_scheme *s, const struct pq_recipe *r,
                                  const struct pq_network *net, size_t i)
{
    const uint64_t cols = net->tensor[i].cols;
    (void)r;
    if (s->family == PQ_FAM_FLOAT)
        return s;
    if ((s->family == PQ_FAM_FP || s->family == PQ_FAM_NF4) && cols % s->block == 0)
        return s;
    while (s && s->family == PQ_FAM_INT && s->group && cols % s->group)
        s = s->group > 16 ? pq_scheme_with_group(s, s->group / 2) : NULL;
    if (!s || s->family != PQ_FAM_INT)
        s = pq_scheme_find(BACKUP);
    return cols % s->block ? pq_scheme_find("f16") : packed(s, cols);
}
