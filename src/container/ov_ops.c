/*
 * OpenVINO operators whose output shape follows from their inputs. The runtime infers shapes
 * itself; what is written here is for people and tools. Source: the operation specifications of
 * OpenVINO's documentation. SPDX-License-Identifier: MIT
 */
#include "container/ov.h"

#include <stdio.h>

/* Operators that came after the first set. */
static const char *version_of(const char *type)
{
    static const char *const later[][2] = {
        {"ShapeOf", "opset3"}, {"Swish", "opset4"},       {"Gather", "opset8"},
        {"Slice", "opset8"},   {"BitwiseAnd", "opset13"}, {"Range", "opset4"},
    };
    for (size_t i = 0; i < PQ_LEN(later); i++)
        if (!strcmp(later[i][0], type))
            return later[i][1];
    return "opset1";
}

static const char *part(struct pq_ov *g, const char *name, const char *what)
{
    return pq_ov_name(g, "%s/%s", name, what);
}

pq_ov_ref pq_ov_unary(struct pq_ov *g, const char *type, const char *name, pq_ov_ref x)
{
    return pq_ov_add(g, &(struct pq_ov_op){.type = type,
                                           .version = version_of(type),
                                           .name = name,
                                           .in = {x},
                                           .out = {*pq_ov_value(g, x)}});
}

static struct pq_ir_value joined(const struct pq_ir_value *x, const struct pq_ir_value *y)
{
    const struct pq_ir_value *more = x->n_dims >= y->n_dims ? x : y, *less = more == x ? y : x;
    struct pq_ir_value v = *more;
    const int shift = more->n_dims - less->n_dims;
    v.names = NULL;
    for (int i = 0; i < less->n_dims; i++) {
        const int64_t a = v.dim[i + shift], b = less->dim[i];
        v.dim[i + shift] = a == 1 || (a < 0 && b > 1) ? b : a;
    }
    return v;
}

pq_ov_ref pq_ov_binary(struct pq_ov *g, const char *type, const char *name, pq_ov_ref x,
                       pq_ov_ref y)
{
    struct pq_ir_value v = joined(pq_ov_value(g, x), pq_ov_value(g, y));
    if (!strcmp(type, "LessEqual") || !strcmp(type, "Greater"))
        v.type = PQ_IR_BOOL;
    struct pq_ov_op op = {.type = type,
                          .version = version_of(type),
                          .name = name,
                          .in = {x, y},
                          .attr = {{"auto_broadcast", "numpy"}},
                          .out = {v}};
    if (!strcmp(type, "Divide"))
        op.attr[1] = (struct pq_ir_attr){"m_pythondiv", "true"};
    return pq_ov_add(g, &op);
}

static pq_ov_ref convert(struct pq_ov *g, const char *name, pq_ov_ref x, enum pq_ir_type to,
                         bool decompression)
{
    struct pq_ir_value v = *pq_ov_value(g, x);
    v.type = to;
    v.names = NULL;
    return pq_ov_add(g, &(struct pq_ov_op){.type = "Convert",
                                           .version = "opset1",
                                           .name = name,
                                           .in = {x},
                                           .attr = {{"destination_type", pq_ir_type_name(to)}},
                                           .out = {v},
                                           .decompression = decompression});
}

pq_ov_ref pq_ov_convert(struct pq_ov *g, const char *name, pq_ov_ref x, enum pq_ir_type to)
{
    return convert(g, name, x, to, false);
}

pq_ov_ref pq_ov_decompress(struct pq_ov *g, const char *name, pq_ov_ref x)
{
    return convert(g, name, x, PQ_IR_F32, true);
}

pq_ov_ref pq_ov_reshape(struct pq_ov *g, const char *name, pq_ov_ref x, int n, const int64_t *dim,
                        bool special_zero)
{
    const struct pq_ir_value *from = pq_ov_value(g, x);
    struct pq_ir_value v = {.type = from->type, .n_dims = n};
    for (int i = 0; i < n; i++)
        v.dim[i] = special_zero && !dim[i] ? from->dim[i] : dim[i];
    pq_ov_ref shape = pq_ov_i64s(g, part(g, name, "shape"), (size_t)n, dim);
    return pq_ov_add(g,
                     &(struct pq_ov_op){.type = "Reshape",
                                        .version = "opset1",
                                        .name = name,
                                        .in = {x, shape},
                                        .attr = {{"special_zero", special_zero ? "true" : "false"}},
                                        .out = {v}});
}

pq_ov_ref pq_ov_transpose(struct pq_ov *g, const char *name, pq_ov_ref x, const int32_t *order)
{
    const struct pq_ir_value *from = pq_ov_value(g, x);
    struct pq_ir_value v = *from, list = {.type = PQ_IR_I32, .n_dims = 1, .dim = {from->n_dims}};
    uint8_t bytes[4 * PQ_IR_MAX_DIMS];
    v.names = NULL;
    for (int i = 0; i < from->n_dims; i++) {
        v.dim[i] = from->dim[order[i]];
        pq_put_le32(bytes + 4 * i, (uint32_t)order[i]);
    }
    pq_ov_ref o = pq_ov_const(g, part(g, name, "order"), list, bytes, 4 * (size_t)from->n_dims);
    return pq_ov_add(
        g, &(struct pq_ov_op){
               .type = "Transpose", .version = "opset1", .name = name, .in = {x, o}, .out = {v}});
}

pq_ov_ref pq_ov_slice(struct pq_ov *g, const char *name, pq_ov_ref x, int axis, int64_t from,
                      int64_t to)
{
    const int64_t one = 1, a = axis;
    struct pq_ir_value v = *pq_ov_value(g, x);
    const int64_t end = v.dim[axis] >= 0 && v.dim[axis] < to ? v.dim[axis] : to;
    v.dim[axis] = end == INT64_MAX ? -1 : end - from;
    v.names = NULL;
    struct pq_ov_op op = {.type = "Slice", .version = "opset8", .name = name, .out = {v}};
    op.in[0] = x;
    op.in[1] = pq_ov_i64s(g, part(g, name, "from"), 1, &from);
    op.in[2] = pq_ov_i64s(g, part(g, name, "to"), 1, &to);
    op.in[3] = pq_ov_i64s(g, part(g, name, "step"), 1, &one);
    op.in[4] = pq_ov_i64s(g, part(g, name, "axis"), 1, &a);
    return pq_ov_add(g, &op);
}

pq_ov_ref pq_ov_broadcast(struct pq_ov *g, const char *name, pq_ov_ref x, int n,
                          const pq_ov_ref *dim, struct pq_ir_value out)
{
    pq_ov_ref target = pq_ov_concat(g, part(g, name, "shape"), 0, (size_t)n, dim);
    const bool scalar = !pq_ov_value(g, x)->n_dims;
    return pq_ov_add(g, &(struct pq_ov_op){.type = "Broadcast",
                                           .version = "opset3",
                                           .name = name,
                                           .in = {x, target},
                                           .attr = {{"mode", scalar ? "numpy" : "bidirectional"}},
                                           .out = {out}});
}

pq_ov_ref pq_ov_concat(struct pq_ov *g, const char *name, int axis, size_t n, const pq_ov_ref *x)
{
    struct pq_ir_value v = *pq_ov_value(g, x[0]);
    const int k = axis < 0 ? v.n_dims + axis : axis;
    struct pq_ov_op op = {.type = "Concat",
                          .version = "opset1",
                          .name = name,
                          .attr = {{"axis", pq_ov_name(g, "%d", axis)}}};
    for (size_t i = 0; i < n; i++) {
        const int64_t more = pq_ov_value(g, x[i])->dim[k];
        op.in[i] = x[i];
        if (i)
            v.dim[k] = v.dim[k] < 0 || more < 0 ? -1 : v.dim[k] + more;
    }
    v.names = NULL;
    op.out[0] = v;
    return pq_ov_add(g, &op);
}

pq_ov_ref pq_ov_unsqueeze(struct pq_ov *g, const char *name, pq_ov_ref x, int axis)
{
    const struct pq_ir_value *from = pq_ov_value(g, x);
    struct pq_ir_value v = {.type = from->type, .n_dims = from->n_dims + 1};
    for (int i = 0; i < v.n_dims; i++)
        v.dim[i] = i == axis ? 1 : from->dim[i - (i > axis)];
    return pq_ov_add(g, &(struct pq_ov_op){.type = "Unsqueeze",
                                           .version = "opset1",
                                           .name = name,
                                           .in = {x, pq_ov_i64(g, part(g, name, "axis"), axis)},
                                           .out = {v}});
}

pq_ov_ref pq_ov_gather(struct pq_ov *g, const char *name, pq_ov_ref x, pq_ov_ref index)
{
    const struct pq_ir_value *from = pq_ov_value(g, x), *at = pq_ov_value(g, index);
    struct pq_ir_value v = {.type = from->type, .n_dims = at->n_dims + from->n_dims - 1};
    for (int i = 0; i < v.n_dims; i++)
        v.dim[i] = i < at->n_dims ? at->dim[i] : from->dim[i - at->n_dims + 1];
    return pq_ov_add(g, &(struct pq_ov_op){.type = "Gather",
                                           .version = "opset8",
                                           .name = name,
                                           .in = {x, index, pq_ov_i64(g, part(g, name, "axis"), 0)},
                                           .attr = {{"batch_dims", "0"}},
                                           .out = {v}});
}

pq_ov_ref pq_ov_shape_of(struct pq_ov *g, const char *name, pq_ov_ref x)
{
    struct pq_ir_value v = {.type = PQ_IR_I64, .n_dims = 1, .dim = {pq_ov_value(g, x)->n_dims}};
    return pq_ov_add(g, &(struct pq_ov_op){.type = "ShapeOf",
                                           .version = "opset3",
                                           .name = name,
                                           .in = {x},
                                           .attr = {{"output_type", "i64"}},
                                           .out = {v}});
}

pq_ov_ref pq_ov_matmul(struct pq_ov *g, const char *name, pq_ov_ref x, pq_ov_ref w, bool turned)
{
    struct pq_ir_value v = *pq_ov_value(g, x);
    const struct pq_ir_value *by = pq_ov_value(g, w);
    v.names = NULL;
    if (v.n_dims && by->n_dims)
        v.dim[v.n_dims - 1] = by->dim[by->n_dims - (turned ? 2 : 1)];
    if (v.n_dims == by->n_dims && v.n_dims && v.dim[0] == 1)
        v.dim[0] = by->dim[0];
    return pq_ov_add(g, &(struct pq_ov_op){.type = "MatMul",
                                           .version = "opset1",
                                           .name = name,
                                           .in = {x, w},
                                           .attr = {{"transpose_a", "false"},
                                                    {"transpose_b", turned ? "true" : "false"}},
                                           .out = {v}});
}
