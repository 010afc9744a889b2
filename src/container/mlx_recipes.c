/*
 * MLX's recipes: element types, the grids of mx.quantize over every matrix, and mixes of two widths
 * placed as mlx-lm's mixed predicates do (mlx_lm/convert.py), with two changes: a tied embedding is
 * the head too and gets the high width, and models without a "down_proj" are mixed as well.
 * SPDX-License-Identifier: MIT
 */
#include "container/common.h"

#include <string.h>

#define AFFINE(bits)                                                                     \
    {"affine" #bits "g32", #bits "-bit affine, group 32", "affine" #bits "g32", -1},     \
        {"affine" #bits "g64", #bits "-bit affine, group 64", "affine" #bits "g64", -1}, \
    {                                                                                    \
        "affine" #bits "g128", #bits "-bit affine, group 128", "affine" #bits "g128", -1 \
    }

const struct pq_recipe pq_mlx_recipes[] = {
    {"f32", "single precision", "f32", -1},
    {"f16", "half precision", "f16", -1},
    {"bf16", "bfloat16", "bf16", -1},
    AFFINE(2),
    AFFINE(3),
    AFFINE(4),
    AFFINE(5),
    AFFINE(6),
    AFFINE(8),
    {"mxfp4", "4-bit float, shared power of two per 32", "mxfp4", -1},
    {"mxfp8", "8-bit float, shared power of two per 32", "mxfp8", -1},
    {"nvfp4", "4-bit float, 8-bit float scale per 16", "nvfp4", -1},
    {"mixed_2_6", "2-bit; head and half of attention and down projection 6-bit", "affine2g64", -1},
    {"mixed_3_4", "3-bit; head and half of attention and down projection 4-bit", "affine3g64", -1},
    {"mixed_3_6", "3-bit; head and half of attention and down projection 6-bit", "affine3g64", -1},
    {"mixed_4_6", "4-bit; head and half of attention and down projection 6-bit", "affine4g64", -1},
    {NULL, NULL, NULL, -1},
};

static const struct {
    const char *recipe, *high;
} mixes[] = {
    {"mixed_2_6", "affine6g64"},
    {"mixed_3_4", "affine4g64"},
    {"mixed_3_6", "affine6g64"},
    {"mixed_4_6", "affine6g64"},
};

static bool is_head(const struct pq_network *net, const struct pq_tensor *t)
{
    return t->role == PQ_ROLE_HEAD || (t->role == PQ_ROLE_EMBED && net->hp.tied);
}

static bool is_sensitive(enum pq_role r)
{
    return r == PQ_ROLE_ATTN_QKV || r == PQ_ROLE_ATTN_V || r == PQ_ROLE_FFN_DOWN;
}

const struct pq_scheme *pq_mlx_place(const struct pq_recipe *r, const struct pq_network *net,
                                     size_t i, bool have_imatrix)
{
    const struct pq_tensor *t = &net->tensor[i];
    (void)have_imatrix;
    if (!pq_role_is_matrix(t->role))
        return pq_scheme_of_dtype(pq_mlx_floats(r, &net->hp));
    for (size_t k = 0; k < PQ_LEN(mixes); k++)
        if (!strcmp(mixes[k].recipe, r->name) &&
            (is_head(net, t) ||
             (is_sensitive(t->role) && pq_container_more_bits(t->layer, net->hp.n_layers))))
            return pq_scheme_find(mixes[k].high);
    return pq_scheme_find(r->base);
}

/* Everything that is not quantized, and scales, are in one element type: the recipe's own, or that
 * of the checkpoint. */
enum pq_dtype pq_mlx_floats(const struct pq_recipe *r, const struct pq_hparams *hp)
{
    const struct pq_scheme *base = pq_scheme_find(r->base);
    if (base && base->family == PQ_FAM_FLOAT)
        return base->dtype;
    enum pq_dtype t = pq_mlx_dtype(hp->dtype ? hp->dtype : "bfloat16");
    return t == PQ_DTYPES ? PQ_BF16 : t;
}

/* mlx-lm leaves a matrix whose rows are no multiple of the group as it is. */
const struct pq_scheme *pq_mlx_fit(const struct pq_scheme *s, const struct pq_recipe *r,
                                   const struct pq_network *net, size_t i)
{
    enum pq_dtype floats = pq_mlx_floats(r, &net->hp);
    if (net->tensor[i].cols % s->block)
        return pq_scheme_of_dtype(floats);
    return s->family == PQ_FAM_AFFINE ? pq_scheme_with_aux(s, floats) : s;
}

static const struct {
    const char *name;
    enum pq_dtype type;
} dtypes[] = {{"bfloat16", PQ_BF16}, {"float16", PQ_F16}, {"float32", PQ_F32}};

enum pq_dtype pq_mlx_dtype(const char *torch_dtype)
{
    for (size_t i = 0; i < PQ_LEN(dtypes); i++)
        if (!strcmp(dtypes[i].name, torch_dtype))
            return dtypes[i].type;
    return PQ_DTYPES;
}

const char *pq_mlx_dtype_name(enum pq_dtype t)
{
    for (size_t i = 0; i < PQ_LEN(dtypes); i++)
        if (dtypes[i].type == t)
            return dtypes[i].name;
    return NULL;
}

/* The modes with one layout each; source: mlx nn/layers/quantized.py. */
static const struct {
    const char *mode;
    uint64_t bits, group;
} fp_modes[] = {{"mxfp4", 4, 32}, {"mxfp8", 8, 32}, {"nvfp4", 4, 16}};

const char *pq_mlx_mode(const struct pq_scheme *s)
{
    return s->family == PQ_FAM_AFFINE ? "affine" : s->name;
}

const struct pq_scheme *pq_mlx_scheme(const char *mode, uint64_t bits, uint64_t group,
                                      enum pq_dtype aux)
{
    const struct pq_scheme *s = NULL;
    for (size_t i = 0; i < PQ_LEN(fp_modes); i++)
        if (!strcmp(mode, fp_modes[i].mode) && bits == fp_modes[i].bits &&
            group == fp_modes[i].group)
            return pq_scheme_find(mode);
    for (int i = 0; !strcmp(mode, "affine") && (s = pq_scheme_at(i)); i++)
        if (s->family == PQ_FAM_AFFINE && (uint64_t)s->bits == bits && s->group == group)
            return pq_scheme_with_aux(s, aux);
    return NULL;
}
