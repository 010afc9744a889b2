/*
 * Recipes for ONNX Runtime: element types, and integers in blocks for MatMulNBits. Among 4-bit
 * weights head and embedding keep 8 bits, among 8-bit ones the embedding keeps 16, unless the
 * recipe is pure: they are the most sensitive matrices, and the runtime's own builder leaves the
 * embedding in single precision. One matrix that is both stays in 8 bits, in small blocks: floats
 * would make a slow head.
 * The mixes are those of the builder (matmul_mixed_precision) and of Olive (k_quant_down), as
 * tabulated in docs. SPDX-License-Identifier: MIT
 */
#include "container/onnx.h"

#include <string.h>

#define INT4(g)                                                                        \
    {"int4g" #g, "4-bit, block " #g "; head and embedding 8-bit", "int4g" #g, -1},     \
    {                                                                                  \
        "uint4g" #g, "4-bit with zero points, block " #g "; head and embedding 8-bit", \
            "uint4g" #g, -1                                                            \
    }
#define INT8(g)                                                                        \
    {"int8g" #g, "8-bit, block " #g "; embedding half precision", "int8g" #g, -1},     \
    {                                                                                  \
        "uint8g" #g, "8-bit with zero points, block " #g "; embedding half precision", \
            "uint8g" #g, -1                                                            \
    }
#define PURE(s)                                   \
    {                                             \
        "pure-" #s, "every matrix in " #s, #s, -1 \
    }

const struct pq_recipe pq_onnx_recipes[] = {
    {"f32", "single precision", "f32", -1},
    {"f16", "half precision", "f16", -1},
    {"bf16", "bfloat16", "bf16", -1},
    INT8(16),
    INT8(32),
    INT8(64),
    INT8(128),
    INT8(256),
    INT4(16),
    INT4(32),
    INT4(64),
    INT4(128),
    INT4(256),
    PURE(int8g32),
    PURE(uint8g32),
    PURE(int4g32),
    PURE(uint4g32),
    PURE(int4g128),
    PURE(uint4g128),
    {"int4_mixed", "4-bit; head, embedding and half of qkv and down projection 8-bit", "int4g32",
     -1},
    {"uint4_mixed", "the same with zero points", "uint4g32", -1},
    {"int4_down", "4-bit; head, embedding and every down projection 8-bit", "int4g32", -1},
    {"uint4_down", "the same with zero points", "uint4g32", -1},
    {NULL, NULL, NULL, -1},
};

/* What lifted matrices take. At 8 bits a block of 128 loses nothing that 4-bit neighbours would
 * let through, and its kernel is as fast as that of 4 bits in blocks of 32 (measured: one row in
 * 1.1 of its time, 128 rows in 0.6; 8 bits in blocks of 32 in 1.5 and 0.9). */
#define HIGH "int8g128"
#define FINE "int8g16"

static bool is_sensitive(enum pq_role r)
{
    return r == PQ_ROLE_ATTN_QKV || r == PQ_ROLE_ATTN_V || r == PQ_ROLE_FFN_DOWN;
}

static bool ends_with(const char *s, const char *tail)
{
    size_t n = strlen(s), k = strlen(tail);
    return n >= k && !strcmp(s + n - k, tail);
}

static bool lifted(const struct pq_recipe *r, const struct pq_network *net,
                   const struct pq_tensor *t)
{
    if (t->role == PQ_ROLE_EMBED || t->role == PQ_ROLE_HEAD)
        return true;
    if (ends_with(r->name, "_down"))
        return t->role == PQ_ROLE_FFN_DOWN;
    return ends_with(r->name, "_mixed") && is_sensitive(t->role) &&
           pq_container_more_bits(t->layer, net->hp.n_layers);
}

const struct pq_scheme *pq_onnx_place(const struct pq_recipe *r, const struct pq_network *net,
                                      size_t i, bool have_imatrix)
{
    const struct pq_scheme *base = pq_scheme_find(r->base);
    const struct pq_tensor *t = &net->tensor[i];
    (void)have_imatrix;
    if (!pq_role_is_matrix(t->role)) /* the provider's type replaces it */
        return base->family == PQ_FAM_FLOAT ? base : pq_scheme_find("f32");
    if (base->family == PQ_FAM_FLOAT || !strncmp(r->name, "pure-", 5))
        return base;
    if (base->bits == 4)
        return lifted(r, net, t) ? pq_scheme_find(HIGH) : base;
    if (t->role == PQ_ROLE_EMBED)
        return pq_scheme_find(net->hp.tied ? FINE : "f16");
    return base;
}

bool pq_onnx_holds(const struct pq_scheme *s)
{
    if (s->encoder == PQ_ENC_NONE || s->signed_codes || s->byte_zeros)
        return false;
    return s->family == PQ_FAM_FLOAT || (s->family == PQ_FAM_INT && s->group >= 16);
}

/* Rows that blocks do not tile take smaller blocks, and floats when there are none so small. */
const struct pq_scheme *pq_onnx_fit(const struct pq_scheme *s, const struct pq_recipe *r,
                                    const struct pq_network *net, size_t i)
{
    const uint64_t cols = net->tensor[i].cols;
    (void)r;
    for (uint32_t g = s->group; s->family == PQ_FAM_INT && cols % g && g > 16; g /= 2)
        s = pq_scheme_with_group(s, g / 2);
    return cols % s->block ? pq_scheme_find("f32") : s;
}
