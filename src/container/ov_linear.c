/*
 * Weights in OpenVINO graphs: codes, zero points and scales as constants, and the operators that
 * plugins recognise and fold into their compressed matrix product. The chain is the one that NNCF
 * writes: convert to half, subtract, multiply, reshape, convert to single.
 * SPDX-License-Identifier: MIT
 */
#include "container/ov.h"

#include <string.h>

const struct pq_item *pq_ov_item(const struct pq_ov_build *b, enum pq_role role, int layer)
{
    const struct pq_network *net = &b->m->net;
    for (size_t i = 0; i < net->n_tensors; i++)
        if (net->tensor[i].role == role && net->tensor[i].layer == layer)
            return &b->item[i];
    return NULL;
}

/* Part i of an item. */
static pq_ov_ref constant(struct pq_ov_build *b, const struct pq_item *it, int i, const char *name,
                          struct pq_ir_value v)
{
    return pq_ov_const_at(&b->g, name, v, it->at[i], it->bytes[i]);
}

/* [rows, groups, group], or [rows, cols] where a scale serves the whole row. */
static struct pq_ir_value grouped(const struct pq_item *it, enum pq_ir_type type, bool per_group)
{
    const struct pq_tensor *t = it->tensor;
    const int64_t rows = (int64_t)t->rows, cols = (int64_t)t->cols, group = it->scheme->group;
    if (!group)
        return (struct pq_ir_value){.type = type, .n_dims = 2, .dim = {rows, per_group ? 1 : cols}};
    return (struct pq_ir_value){
        .type = type, .n_dims = 3, .dim = {rows, cols / group, per_group ? 1 : group}};
}

/* Element types of a scheme's codes, zero points and scales. */
static void types_of(const struct pq_scheme *s, enum pq_ir_type *codes, enum pq_ir_type *zeros,
                     enum pq_ir_type *scales)
{
    if (s->family == PQ_FAM_FP) {
        *codes = PQ_IR_F4E2M1;
        *scales = PQ_IR_F8E8M0;
        return;
    }
    *scales = PQ_IR_F16;
    if (s->family == PQ_FAM_NF4) {
        *codes = PQ_IR_NF4;
        return;
    }
    *codes = s->bits == 4      ? s->signed_codes ? PQ_IR_I4 : PQ_IR_U4
             : s->signed_codes ? PQ_IR_I8
                               : PQ_IR_U8;
    *zeros = s->byte_zeros ? PQ_IR_U8 : *codes;
}

static pq_ov_ref scales_of(struct pq_ov_build *b, const struct pq_item *it, const char *name,
                           enum pq_ir_type type)
{
    struct pq_ov *g = &b->g;
    pq_ov_ref s = constant(b, it, 1, pq_ov_name(g, "%s/scale", name), grouped(it, type, true));
    return type == PQ_IR_F16
               ? s
               : pq_ov_convert(g, pq_ov_name(g, "%s/scale/convert", name), s, PQ_IR_F16);
}

static pq_ov_ref without_zeros(struct pq_ov_build *b, const struct pq_item *it, const char *name,
                               enum pq_ir_type type, pq_ov_ref w)
{
    struct pq_ov *g = &b->g;
    pq_ov_ref z = constant(b, it, 2, pq_ov_name(g, "%s/zero_point", name), grouped(it, type, true));
    z = pq_ov_convert(g, pq_ov_name(g, "%s/zero_point/convert", name), z, PQ_IR_F16);
    return pq_ov_binary(g, "Subtract", pq_ov_name(g, "%s/zero_point/subtract", name), w, z);
}

static pq_ov_ref compressed(struct pq_ov_build *b, const struct pq_item *it, const char *name)
{
    struct pq_ov *g = &b->g;
    const struct pq_tensor *t = it->tensor;
    enum pq_ir_type codes, zeros = PQ_IR_NONE, scales;
    types_of(it->scheme, &codes, &zeros, &scales);
    pq_ov_ref w = constant(b, it, 0, name, grouped(it, codes, false));
    w = pq_ov_convert(g, pq_ov_name(g, "%s/convert", name), w, PQ_IR_F16);
    if (it->n_parts > 2)
        w = without_zeros(b, it, name, zeros, w);
    w = pq_ov_binary(g, "Multiply", pq_ov_name(g, "%s/fq_weights_1", name), w,
                     scales_of(b, it, name, scales));
    if (it->scheme->group)
        w = pq_ov_reshape(g, pq_ov_name(g, "%s/reshape", name), w, 2,
                          (int64_t[]){(int64_t)t->rows, (int64_t)t->cols}, false);
    return pq_ov_decompress(g, pq_ov_name(g, "%s/decompressed", name), w);
}

pq_ov_ref pq_ov_weight(struct pq_ov_build *b, const struct pq_item *it, const char *name)
{
    const struct pq_tensor *t = it->tensor;
    if (it->scheme->family != PQ_FAM_FLOAT)
        return compressed(b, it, name);
    const struct pq_ir_value v = {.type = pq_ir_type_of(it->scheme->dtype),
                                  .n_dims = 2,
                                  .dim = {(int64_t)t->rows, (int64_t)t->cols}};
    pq_ov_ref w = constant(b, it, 0, name, v);
    return v.type == PQ_IR_F32
               ? w
               : pq_ov_decompress(&b->g, pq_ov_name(&b->g, "%s/decompressed", name), w);
}

pq_ov_ref pq_ov_vector(struct pq_ov_build *b, const struct pq_item *it)
{
    const struct pq_ir_value v = {.type = pq_ir_type_of(it->scheme->dtype),
                                  .n_dims = 3,
                                  .dim = {1, 1, (int64_t)it->tensor->cols}};
    return constant(b, it, 0, it->tensor->name, v);
}

const char *pq_ov_module(struct pq_ov_build *b, const struct pq_item *it)
{
    const char *name = it->tensor->name;
    return pq_ov_name(&b->g, "%.*s", (int)(strlen(name) - strlen(".weight")), name);
}

pq_ov_ref pq_ov_linear(struct pq_ov_build *b, const struct pq_item *w, const struct pq_item *bias,
                       pq_ov_ref x)
{
    struct pq_ov *g = &b->g;
    /* A tied head has operators of its own around the same bytes: plugins fold weights into a
     * product only where nothing else reads them. */
    const bool tied = w->tensor->role == PQ_ROLE_EMBED;
    const char *module = tied ? "lm_head" : pq_ov_module(b, w);
    pq_ov_ref weight = pq_ov_weight(b, w, pq_ov_name(g, "%s.weight", module));
    pq_ov_ref y = pq_ov_matmul(g, pq_ov_name(g, "%s/MatMul", module), x, weight, true);
    if (!bias)
        return y;
    return pq_ov_binary(g, "Add", pq_ov_name(g, "%s/Add", module), y, pq_ov_vector(b, bias));
}

pq_ov_ref pq_ov_embed(struct pq_ov_build *b, pq_ov_ref ids)
{
    struct pq_ov *g = &b->g;
    const struct pq_item *it = pq_ov_item(b, PQ_ROLE_EMBED, -1);
    pq_ov_ref w = pq_ov_weight(b, it, it->tensor->name);
    ids = pq_ov_convert(g, "model.embed_tokens/ids", ids, PQ_IR_I32);
    return pq_ov_gather(g, "model.embed_tokens/Gather", w, ids);
}
