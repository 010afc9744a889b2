/*
 * Weights in the graph. Quantized matrices are MatMulNBits and GatherBlockQuantized with the codes
 * as they are; float ones are multiplied as they lie in the checkpoint, [N, K].
 * Source of operators and layouts: docs/ContribOperators.md of onnxruntime.
 * SPDX-License-Identifier: MIT
 */
#include "container/onnx.h"

#include <string.h>

const struct pq_item *pq_onnx_item(const struct pq_onnx_build *b, enum pq_role role, int layer)
{
    const struct pq_network *net = &b->m->net;
    for (size_t i = 0; i < net->n_tensors; i++)
        if (net->tensor[i].role == role && net->tensor[i].layer == layer)
            return &b->item[i];
    return NULL;
}

/* A row range of one part of an item as an initializer. */
struct part {
    const struct pq_item *item;
    int index;
    uint64_t row0, rows;
    const char *name;
};

static struct pq_onnx_tensor *initializer(struct pq_onnx_build *b, const struct part *p)
{
    struct pq_part layout[PQ_MAX_PARTS];
    const struct pq_item *it = p->item;
    struct pq_onnx_tensor *t = pq_onnx_new_tensor(b);
    if (!t)
        return NULL;
    it->scheme->parts(it->scheme, it->tensor->cols, layout);
    uint64_t row = pq_scheme_part_bytes(it->scheme, it->tensor->cols, p->index);
    *t = (struct pq_onnx_tensor){.name = p->name,
                                 .dtype = layout[p->index].dtype,
                                 .n_dims = 2,
                                 .dim = {p->rows, layout[p->index].cols},
                                 .bytes = p->rows * row,
                                 .location = PQ_ONNX_DATA,
                                 .offset = it->at[p->index] + p->row0 * row};
    return t;
}

const char *pq_onnx_vector(struct pq_onnx_build *b, const struct pq_item *it)
{
    if (!it)
        return NULL;
    struct part p = {it, 0, 0, 1, it->tensor->name};
    struct pq_onnx_tensor *t = initializer(b, &p);
    if (!t)
        return "";
    t->n_dims = 1;
    t->dim[0] = it->tensor->cols;
    return t->name;
}

static const char *widened(struct pq_onnx_build *b, const struct pq_item *it, const char *x,
                           const char *node)
{
    if (it->scheme->dtype == b->floats)
        return x;
    return pq_onnx_add(b,
                       &(struct pq_onnx_op){.type = "Cast",
                                            .name = pq_onnx_name(b, "%s/Cast", node),
                                            .in = {x},
                                            .attr = {PQ_ONNX_I("to", pq_onnx_type_of(b->floats))}});
}

/* The names of a quantized matrix's arrays; the third is NULL when the scheme has no zero points.
 */
static void add_parts(struct pq_onnx_build *b, const struct pq_onnx_linear *l,
                      const char *name[PQ_MAX_PARTS])
{
    struct pq_part layout[PQ_MAX_PARTS];
    const struct pq_item *it = l->weight;
    int n = it->scheme->parts(it->scheme, it->tensor->cols, layout);
    for (int i = 0; i < PQ_MAX_PARTS; i++)
        name[i] = NULL;
    for (int i = 0; i < n; i++) {
        name[i] = pq_onnx_name(b, "%s.%s", l->module, layout[i].suffix);
        struct part p = {it, i, l->row0, l->rows, name[i]};
        (void)initializer(b, &p);
    }
}

/* Blocks in a dimension of their own, as MatMulNBits wants the codes. */
static void shape_blocks(struct pq_onnx_build *b, const struct pq_item *it, const char *codes)
{
    struct pq_onnx_graph *g = &b->onnx.graph;
    for (size_t i = g->n_tensors; i-- > 0;)
        if (!strcmp(g->tensor[i].name, codes)) {
            g->tensor[i].n_dims = 3;
            g->tensor[i].dim[1] = it->tensor->cols / it->scheme->group;
            g->tensor[i].dim[2] = it->scheme->group * (uint64_t)it->scheme->bits / 8;
            return;
        }
}

/* A tied head reads the embedding's bytes; only the shape of the codes is its own. */
static void head_parts(struct pq_onnx_build *b, const struct pq_onnx_linear *l,
                       const char *name[PQ_MAX_PARTS])
{
    name[0] = pq_onnx_name(b, "lm_head.weight");
    name[1] = pq_onnx_name(b, "%s.scales", l->module);
    name[2] = l->weight->n_parts > 2 ? pq_onnx_name(b, "%s.zeros", l->module) : NULL;
    struct part p = {l->weight, 0, 0, l->rows, name[0]};
    (void)initializer(b, &p);
}

static const char *quantized(struct pq_onnx_build *b, const struct pq_onnx_linear *l, const char *x)
{
    const struct pq_item *it = l->weight;
    const struct pq_scheme *s = it->scheme;
    const char *name[PQ_MAX_PARTS];
    if (it->tensor->role == PQ_ROLE_EMBED)
        head_parts(b, l, name);
    else
        add_parts(b, l, name);
    shape_blocks(b, it, name[0]);
    struct pq_onnx_op op = {.domain = PQ_ONNX_MS,
                            .type = "MatMulNBits",
                            .name = pq_onnx_name(b, "%s/MatMulNBits", l->node),
                            .in = {x, name[0], name[1], name[2]},
                            .attr = {PQ_ONNX_I("K", it->tensor->cols), PQ_ONNX_I("N", l->rows),
                                     PQ_ONNX_I("bits", s->bits), PQ_ONNX_I("block_size", s->group),
                                     PQ_ONNX_I("accuracy_level", b->provider->accuracy)}};
    if (!b->provider->accuracy)
        op.attr[4].name = NULL;
    return pq_onnx_add(b, &op);
}

/* The weights keep the checkpoint's order; a provider without FusedMatMul turns them while it
 * loads. */
static const char *floating(struct pq_onnx_build *b, const struct pq_onnx_linear *l, const char *x)
{
    const struct pq_item *it = l->weight;
    const char *w = it->tensor->name;
    if (it->tensor->role != PQ_ROLE_EMBED) {
        w = pq_onnx_name(b, "%s.weight", l->module);
        struct part p = {it, 0, l->row0, l->rows, w};
        (void)initializer(b, &p);
    }
    w = widened(b, it, w, l->node);
    const char *name = pq_onnx_name(b, "%s/MatMul", l->node);
    if (b->provider->multiplies_by_rows)
        return pq_onnx_add(b, &(struct pq_onnx_op){.domain = PQ_ONNX_MS,
                                                   .type = "FusedMatMul",
                                                   .name = name,
                                                   .in = {x, w},
                                                   .attr = {PQ_ONNX_I("transB", 1)}});
    static const int64_t turn[2] = {1, 0};
    w = pq_onnx_add(b, &(struct pq_onnx_op){
                           .type = "Transpose",
                           .name = pq_onnx_name(b, "%s/Transpose", l->node),
                           .in = {w},
                           .attr = {{.name = "perm", .kind = PQ_ONNX_INTS, .ints = turn, .n = 2}}});
    return pq_onnx_add(b, &(struct pq_onnx_op){.type = "MatMul", .name = name, .in = {x, w}});
}

const char *pq_onnx_linear(struct pq_onnx_build *b, const struct pq_onnx_linear *in, const char *x)
{
    struct pq_onnx_linear l = *in;
    if (!l.rows)
        l.rows = l.weight->tensor->rows;
    const char *y =
        l.weight->scheme->family == PQ_FAM_INT ? quantized(b, &l, x) : floating(b, &l, x);
    if (!l.bias)
        return y;
    return pq_onnx_add(b, &(struct pq_onnx_op){.type = "Add",
                                               .name = pq_onnx_name(b, "%s/Add", l.node),
                                               .in = {y, pq_onnx_vector(b, l.bias)}});
}

static const char *gather_blocks(struct pq_onnx_build *b, const struct pq_item *it, const char *ids)
{
    const char *name[PQ_MAX_PARTS];
    const struct pq_onnx_linear l = {
        .weight = it, .module = "model.embed_tokens", .rows = it->tensor->rows};
    add_parts(b, &l, name);
    struct pq_onnx_op op = {.domain = PQ_ONNX_MS,
                            .type = "GatherBlockQuantized",
                            .name = "/model/embed_tokens/GatherBlockQuantized",
                            .in = {name[0], ids, name[1], name[2]},
                            .attr = {PQ_ONNX_I("bits", it->scheme->bits),
                                     PQ_ONNX_I("block_size", it->scheme->group),
                                     PQ_ONNX_I("gather_axis", 0), PQ_ONNX_I("quantize_axis", 1)}};
    return pq_onnx_add(b, &op);
}

const char *pq_onnx_embed(struct pq_onnx_build *b, const char *ids)
{
    const struct pq_item *it = pq_onnx_item(b, PQ_ROLE_EMBED, -1);
    if (it->scheme->family == PQ_FAM_INT)
        return gather_blocks(b, it, ids);
    struct part p = {it, 0, 0, it->tensor->rows, it->tensor->name};
    (void)initializer(b, &p);
    const char *x = pq_onnx_add(b, &(struct pq_onnx_op){.type = "Gather",
                                                        .name = "/model/embed_tokens/Gather",
                                                        .in = {it->tensor->name, ids}});
    return widened(b, it, x, "/model/embed_tokens");
}
