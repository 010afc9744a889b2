/* ONNX documents out of plain structs, see onnx_wire.h. SPDX-License-Identifier: MIT */
#include "base/num.h"
#include "wire/onnx_wire.h"

#include <onnx.pb-c.h>

#include <inttypes.h>

/* TensorProto.DataType of the types that have one. */
static const int32_t types[PQ_DTYPES] = {
    [PQ_F32] = 1,  [PQ_U8] = 2,   [PQ_I8] = 3,    [PQ_U16] = 4,      [PQ_I16] = 5,
    [PQ_I32] = 6,  [PQ_I64] = 7,  [PQ_BOOL] = 9,  [PQ_F16] = 10,     [PQ_F64] = 11,
    [PQ_U32] = 12, [PQ_U64] = 13, [PQ_BF16] = 16, [PQ_F8_E4M3] = 17, [PQ_F8_E5M2] = 19,
};

int32_t pq_onnx_type_of(enum pq_dtype t)
{
    return t < PQ_DTYPES ? types[t] : 0;
}

enum pq_dtype pq_onnx_dtype_of(int32_t type)
{
    for (int t = 0; type && t < PQ_DTYPES; t++)
        if (types[t] == type)
            return (enum pq_dtype)t;
    return PQ_DTYPES;
}

/* Messages under construction, in an arena; the first failed request sticks. */
struct put {
    struct pq_arena a;
    bool failed;
};

/* protobuf-c wants mutable pointers and does not write through them when it packs. */
static char *text(const char *s)
{
    union {
        const char *c;
        char *m;
    } u = {s};
    return u.m;
}

static void *make(struct put *p, size_t n, size_t size)
{
    void *x = pq_arena_alloc(&p->a, n, size);
    p->failed |= !x;
    return x;
}

/* A list of n pointers to n fresh messages; NULL without memory. */
#define LIST(p, n, type, list)                                     \
    type *item = (type *)make(p, (n) ? (n) : 1, sizeof(type));     \
    type **list = (type **)make(p, (n) ? (n) : 1, sizeof(type *)); \
    for (size_t k_ = 0; item && list && k_ < (n); k_++)            \
        list[k_] = &item[k_];                                      \
    if (!item || !list)                                            \
    return

static void put_entry(PqOnnxPb__Entry *out, const char *key, const char *value)
{
    pq_onnx_pb__entry__init(out);
    out->key = text(key);
    out->value = text(value);
}

static void put_external(struct put *p, PqOnnxPb__Tensor *out, const struct pq_onnx_tensor *t)
{
    LIST(p, 3, PqOnnxPb__Entry, list);
    char *offset = pq_arena_printf(&p->a, "%" PRIu64, t->offset);
    char *length = pq_arena_printf(&p->a, "%" PRIu64, t->bytes);
    p->failed |= !offset || !length;
    put_entry(list[0], "location", t->location);
    put_entry(list[1], "offset", offset);
    put_entry(list[2], "length", length);
    out->n_external_data = 3;
    out->external_data = list;
    out->has_data_location = 1;
    out->data_location = 1; /* EXTERNAL */
}

static void put_tensor(struct put *p, PqOnnxPb__Tensor *out, const struct pq_onnx_tensor *t)
{
    pq_onnx_pb__tensor__init(out);
    int64_t *dims = (int64_t *)make(p, PQ_ONNX_MAX_DIMS, sizeof *dims);
    for (int i = 0; dims && i < t->n_dims; i++)
        dims[i] = (int64_t)t->dim[i];
    out->n_dims = (size_t)t->n_dims;
    out->dims = dims;
    out->has_data_type = 1;
    out->data_type = pq_onnx_type_of(t->dtype);
    out->name = text(t->name);
    if (t->location) {
        put_external(p, out, t);
        return;
    }
    uint8_t *copy = (uint8_t *)make(p, t->bytes ? t->bytes : 1, 1);
    if (copy && t->bytes)
        memcpy(copy, t->data, (size_t)t->bytes);
    out->has_raw_data = 1;
    out->raw_data = (ProtobufCBinaryData){(size_t)t->bytes, copy};
}

static void put_attr(struct put *p, PqOnnxPb__Attribute *out, const struct pq_onnx_attr *a)
{
    pq_onnx_pb__attribute__init(out);
    out->name = text(a->name);
    out->has_type = 1;
    out->type = (int32_t)a->kind;
    out->has_f = a->kind == PQ_ONNX_FLOAT;
    out->f = a->f;
    out->has_i = a->kind == PQ_ONNX_INT;
    out->i = a->i;
    if (a->kind == PQ_ONNX_INTS) {
        out->ints = (int64_t *)make(p, a->n ? a->n : 1, sizeof *out->ints);
        out->n_ints = a->n;
        if (out->ints && a->n)
            memcpy(out->ints, a->ints, a->n * sizeof *a->ints);
    }
}

static char **names(struct put *p, const char *const *s, size_t n)
{
    char **list = (char **)make(p, n ? n : 1, sizeof *list);
    for (size_t i = 0; list && i < n; i++)
        list[i] = text(s[i]);
    return list;
}

static void put_attrs(struct put *p, PqOnnxPb__Node *out, const struct pq_onnx_node *n)
{
    LIST(p, n->n_attr, PqOnnxPb__Attribute, list);
    for (size_t i = 0; i < n->n_attr; i++)
        put_attr(p, list[i], &n->attr[i]);
    out->n_attribute = n->n_attr;
    out->attribute = list;
}

static void put_node(struct put *p, PqOnnxPb__Node *out, const struct pq_onnx_node *n)
{
    pq_onnx_pb__node__init(out);
    out->n_input = n->n_in;
    out->input = names(p, n->in, n->n_in);
    out->n_output = n->n_out;
    out->output = names(p, n->out, n->n_out);
    out->name = text(n->name);
    out->op_type = text(n->op);
    out->domain = *n->domain ? text(n->domain) : NULL;
    put_attrs(p, out, n);
}

static void put_shape(struct put *p, PqOnnxPb__Shape *out, const struct pq_onnx_value *v)
{
    pq_onnx_pb__shape__init(out);
    LIST(p, (size_t)v->n_dims, PqOnnxPb__Dimension, list);
    for (int i = 0; i < v->n_dims; i++) {
        pq_onnx_pb__dimension__init(list[i]);
        list[i]->has_dim_value = !v->dim[i].name;
        list[i]->dim_value = v->dim[i].size;
        list[i]->dim_param = v->dim[i].name ? text(v->dim[i].name) : NULL;
    }
    out->n_dim = (size_t)v->n_dims;
    out->dim = list;
}

static void put_value(struct put *p, PqOnnxPb__ValueInfo *out, const struct pq_onnx_value *v)
{
    PqOnnxPb__Type *type = (PqOnnxPb__Type *)make(p, 1, sizeof *type);
    PqOnnxPb__TensorType *tensor = (PqOnnxPb__TensorType *)make(p, 1, sizeof *tensor);
    PqOnnxPb__Shape *shape = (PqOnnxPb__Shape *)make(p, 1, sizeof *shape);
    pq_onnx_pb__value_info__init(out);
    if (!type || !tensor || !shape)
        return;
    pq_onnx_pb__type__init(type);
    pq_onnx_pb__tensor_type__init(tensor);
    put_shape(p, shape, v);
    tensor->has_elem_type = 1;
    tensor->elem_type = pq_onnx_type_of(v->dtype);
    tensor->shape = shape;
    type->tensor_type = tensor;
    out->name = text(v->name);
    out->type = type;
}

static void put_values(struct put *p, const struct pq_onnx_value *v, size_t n, size_t *n_out,
                       PqOnnxPb__ValueInfo ***out)
{
    LIST(p, n, PqOnnxPb__ValueInfo, list);
    for (size_t i = 0; i < n; i++)
        put_value(p, list[i], &v[i]);
    *n_out = n;
    *out = list;
}

static void put_nodes(struct put *p, PqOnnxPb__Graph *out, const struct pq_onnx_graph *g)
{
    LIST(p, g->n_nodes, PqOnnxPb__Node, list);
    for (size_t i = 0; i < g->n_nodes; i++)
        put_node(p, list[i], &g->node[i]);
    out->n_node = g->n_nodes;
    out->node = list;
}

static void put_tensors(struct put *p, PqOnnxPb__Graph *out, const struct pq_onnx_graph *g)
{
    LIST(p, g->n_tensors, PqOnnxPb__Tensor, list);
    for (size_t i = 0; i < g->n_tensors; i++)
        put_tensor(p, list[i], &g->tensor[i]);
    out->n_initializer = g->n_tensors;
    out->initializer = list;
}

static void put_graph(struct put *p, PqOnnxPb__Graph *out, const struct pq_onnx_graph *g)
{
    pq_onnx_pb__graph__init(out);
    out->name = text(g->name);
    put_nodes(p, out, g);
    put_tensors(p, out, g);
    put_values(p, g->in, g->n_in, &out->n_input, &out->input);
    put_values(p, g->out, g->n_out, &out->n_output, &out->output);
}

static void put_opsets(struct put *p, PqOnnxPb__Model *out, const struct pq_onnx *m)
{
    LIST(p, 2, PqOnnxPb__OperatorSet, list);
    const char *const domain[2] = {"", "com.microsoft"};
    const int64_t version[2] = {m->opset, m->ms_opset};
    for (int i = 0; i < 2; i++) {
        pq_onnx_pb__operator_set__init(list[i]);
        list[i]->domain = text(domain[i]);
        list[i]->has_version = 1;
        list[i]->version = version[i];
    }
    out->n_opset_import = m->ms_opset ? 2 : 1;
    out->opset_import = list;
}

static void put_meta(struct put *p, PqOnnxPb__Model *out, const struct pq_onnx *m)
{
    LIST(p, m->n_meta, PqOnnxPb__Entry, list);
    for (size_t i = 0; i < m->n_meta; i++)
        put_entry(list[i], m->meta[i].key, m->meta[i].value);
    out->n_metadata_props = m->n_meta;
    out->metadata_props = list;
}

int pq_onnx_put(struct pq_buf *b, const struct pq_onnx *m, struct pq_err *e)
{
    struct put p = {0};
    PqOnnxPb__Graph graph;
    PqOnnxPb__Model model;
    pq_onnx_pb__model__init(&model);
    model.has_ir_version = 1;
    model.ir_version = m->ir_version;
    model.producer_name = text(m->producer);
    model.producer_version = text(m->producer_version);
    model.graph = &graph;
    put_graph(&p, &graph, &m->graph);
    put_opsets(&p, &model, m);
    put_meta(&p, &model, m);
    b->failed |= p.failed;
    if (!b->failed) {
        size_t at = b->len, n = pq_onnx_pb__model__get_packed_size(&model);
        pq_buf_zero(b, n);
        if (!b->failed)
            pq_onnx_pb__model__pack(&model, b->data + at);
    }
    pq_arena_free(&p.a);
    return pq_buf_check(b, e);
}
