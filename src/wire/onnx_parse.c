/*
 * ONNX documents into plain structs, see onnx_wire.h. protobuf-c unpacks into an arena with a
 * budget, because a few bytes of a hostile file can ask for a large message each.
 * SPDX-License-Identifier: MIT
 */
#include "base/num.h"
#include "wire/onnx_wire.h"

#include <onnx.pb-c.h>

#include <inttypes.h>
#include <stdlib.h>

/* Weights are external; constants inside a model (rope caches of the model builder) are large. */
#define SIZE_LIMIT (512u << 20)
#define BUDGET_PER_BYTE 48
#define BUDGET_BASE (1u << 20)

struct reader {
    struct pq_arena *a;
    const char *file;
    uint64_t left; /* of the budget */
    bool over, starved;
    struct pq_err *e;
};

static int no_memory(struct reader *r)
{
    return pq_fail(r->e, PQ_ENOMEM, "%s: out of memory", r->file);
}

static int bad_shape(struct reader *r, const char *name, const char *what)
{
    return pq_fail(r->e, PQ_EFORMAT, "%s: tensor %s: %s", r->file, name, what);
}

static void *budget_alloc(void *ctx, size_t size)
{
    struct reader *r = (struct reader *)ctx;
    if (size > r->left) {
        r->over = true;
        return NULL;
    }
    r->left -= size;
    void *p = pq_arena_alloc(r->a, size ? size : 1, 1);
    r->starved |= !p;
    return p;
}

static void budget_free(void *ctx, void *p)
{
    (void)ctx;
    (void)p; /* with the arena */
}

static const char *or_empty(const char *s)
{
    return s ? s : "";
}

/* ---- tensors ---- */

/* Nothing but a file of the same folder: no way out of it, no other drive. */
static bool plain_name(const char *s)
{
    return *s && strcmp(s, ".") && strcmp(s, "..") && !strpbrk(s, "/\\:");
}

static bool decimal(const char *s, uint64_t *v)
{
    *v = 0;
    if (!*s)
        return false;
    for (; *s; s++)
        if (*s < '0' || *s > '9' || !pq_mul_u64(*v, 10, v) ||
            !pq_add_u64(*v, (uint64_t)(*s - '0'), v))
            return false;
    return true;
}

static int read_external(struct reader *r, const PqOnnxPb__Tensor *in, struct pq_onnx_tensor *t)
{
    uint64_t length = t->bytes;
    for (size_t i = 0; i < in->n_external_data; i++) {
        const char *key = or_empty(in->external_data[i]->key);
        const char *value = or_empty(in->external_data[i]->value);
        if (!strcmp(key, "location"))
            t->location = value;
        bool number = !strcmp(key, "offset") || !strcmp(key, "length");
        if (number && !decimal(value, *key == 'o' ? &t->offset : &length))
            return pq_fail(r->e, PQ_EFORMAT, "%s: tensor %s: external %s \"%.40s\" is no number",
                           r->file, t->name, key, value);
    }
    if (!t->location || !plain_name(t->location))
        return pq_fail(r->e, PQ_EFORMAT,
                       "%s: tensor %s: external data in \"%.80s\", expected a file of the same "
                       "folder",
                       r->file, t->name, or_empty(t->location));
    if (t->dtype != PQ_DTYPES && length != t->bytes)
        return pq_fail(r->e, PQ_EFORMAT,
                       "%s: tensor %s: %" PRIu64 " bytes of external data, its shape needs "
                       "%" PRIu64,
                       r->file, t->name, length, t->bytes);
    return PQ_OK;
}

/* Small integers may stand in fields of their own instead of raw bytes. */
static int read_numbers(struct reader *r, const PqOnnxPb__Tensor *in, struct pq_onnx_tensor *t)
{
    const bool wide = t->dtype == PQ_I64;
    size_t n = wide ? in->n_int64_data : in->n_int32_data;
    uint64_t size = wide ? 8 : 4;
    if ((!wide && t->dtype != PQ_I32) || n * size != t->bytes)
        return bad_shape(r, t->name, "its data is not raw, external, or as long as its shape");
    uint8_t *p = (uint8_t *)pq_arena_alloc(r->a, n ? n : 1, size);
    if (!p)
        return no_memory(r);
    for (size_t i = 0; i < n; i++) {
        uint64_t v = wide ? (uint64_t)in->int64_data[i] : (uint64_t)in->int32_data[i];
        pq_put_le32(p + i * size, (uint32_t)v);
        if (wide)
            pq_put_le32(p + i * size + 4, (uint32_t)(v >> 32));
    }
    t->data = p;
    return PQ_OK;
}

static int read_shape(struct reader *r, const PqOnnxPb__Tensor *in, struct pq_onnx_tensor *t)
{
    if (in->n_dims > PQ_ONNX_MAX_DIMS)
        return bad_shape(r, t->name, "too many dimensions");
    t->n_dims = (int)in->n_dims;
    t->bytes = t->dtype == PQ_DTYPES ? 0 : pq_dtype_size(t->dtype);
    for (int i = 0; i < t->n_dims; i++) {
        if (in->dims[i] < 0 || !pq_mul_u64(t->bytes, (uint64_t)in->dims[i], &t->bytes) ||
            t->bytes > (uint64_t)1 << 56)
            return bad_shape(r, t->name, "its shape is negative or absurdly large");
        t->dim[i] = (uint64_t)in->dims[i];
    }
    return PQ_OK;
}

static int read_tensor(struct reader *r, const PqOnnxPb__Tensor *in, struct pq_onnx_tensor *t)
{
    *t = (struct pq_onnx_tensor){.name = or_empty(in->name),
                                 .dtype = pq_onnx_dtype_of(in->data_type)};
    int rc = read_shape(r, in, t);
    if (rc < 0)
        return rc;
    if (in->has_data_location && in->data_location)
        return read_external(r, in, t);
    if (t->dtype == PQ_DTYPES)
        return PQ_OK;
    if (!in->has_raw_data && t->bytes)
        return read_numbers(r, in, t);
    if (in->raw_data.len != t->bytes)
        return bad_shape(r, t->name, "its data is not as long as its shape and type say");
    t->data = t->bytes ? in->raw_data.data : (const uint8_t *)"";
    return PQ_OK;
}

/* ---- nodes ---- */

static int read_attr(struct reader *r, const PqOnnxPb__Attribute *in, struct pq_onnx_attr *a)
{
    *a = (struct pq_onnx_attr){.name = or_empty(in->name),
                               .kind = (enum pq_onnx_kind)in->type,
                               .f = in->f,
                               .i = in->i,
                               .ints = in->ints,
                               .n = in->n_ints};
    if (in->type == PQ_ONNX_STRING || in->type == PQ_ONNX_GRAPH) {
        const ProtobufCBinaryData *b = in->type == PQ_ONNX_GRAPH ? &in->g : &in->s;
        a->raw = b->data;
        a->n = b->len;
    }
    if (in->type != PQ_ONNX_TENSOR || !in->t)
        return PQ_OK;
    struct pq_onnx_tensor *t = (struct pq_onnx_tensor *)pq_arena_alloc(r->a, 1, sizeof *t);
    a->tensor = t;
    return t ? read_tensor(r, in->t, t) : no_memory(r);
}

static const char **copy_names(struct reader *r, char *const *s, size_t n)
{
    const char **list = (const char **)pq_arena_alloc(r->a, n ? n : 1, sizeof *list);
    for (size_t i = 0; list && i < n; i++)
        list[i] = s[i];
    return list;
}

static int read_node(struct reader *r, const PqOnnxPb__Node *in, struct pq_onnx_node *n)
{
    size_t k = in->n_attribute;
    struct pq_onnx_attr *attr =
        (struct pq_onnx_attr *)pq_arena_alloc(r->a, k ? k : 1, sizeof *attr);
    *n = (struct pq_onnx_node){.op = or_empty(in->op_type),
                               .domain = or_empty(in->domain),
                               .name = or_empty(in->name),
                               .in = copy_names(r, in->input, in->n_input),
                               .out = copy_names(r, in->output, in->n_output),
                               .attr = attr,
                               .n_in = in->n_input,
                               .n_out = in->n_output,
                               .n_attr = k};
    if (!n->in || !n->out || !attr)
        return no_memory(r);
    int rc = PQ_OK;
    for (size_t i = 0; rc >= 0 && i < k; i++)
        rc = read_attr(r, in->attribute[i], &attr[i]);
    return rc;
}

/* ---- graphs ---- */

static void read_value(const PqOnnxPb__ValueInfo *in, struct pq_onnx_value *v)
{
    const PqOnnxPb__TensorType *t = in->type ? in->type->tensor_type : NULL;
    const PqOnnxPb__Shape *s = t ? t->shape : NULL;
    *v = (struct pq_onnx_value){.name = or_empty(in->name),
                                .dtype = t ? pq_onnx_dtype_of(t->elem_type) : PQ_DTYPES};
    for (size_t i = 0; s && i < s->n_dim && i < PQ_ONNX_MAX_DIMS; i++, v->n_dims++) {
        v->dim[i].name = s->dim[i]->has_dim_value ? NULL : or_empty(s->dim[i]->dim_param);
        v->dim[i].size = s->dim[i]->dim_value;
    }
}

static struct pq_onnx_value *read_values(struct reader *r, PqOnnxPb__ValueInfo *const *in, size_t n)
{
    struct pq_onnx_value *v = (struct pq_onnx_value *)pq_arena_alloc(r->a, n ? n : 1, sizeof *v);
    for (size_t i = 0; v && i < n; i++)
        read_value(in[i], &v[i]);
    return v;
}

static int read_graph(struct reader *r, const PqOnnxPb__Graph *in, struct pq_onnx_graph *g)
{
    int rc = PQ_OK;
    const size_t n = in->n_node, k = in->n_initializer;
    *g = (struct pq_onnx_graph){
        .name = or_empty(in->name),
        .node = (struct pq_onnx_node *)pq_arena_alloc(r->a, n ? n : 1, sizeof *g->node),
        .tensor = (struct pq_onnx_tensor *)pq_arena_alloc(r->a, k ? k : 1, sizeof *g->tensor),
        .in = read_values(r, in->input, in->n_input),
        .out = read_values(r, in->output, in->n_output),
        .n_nodes = n,
        .n_tensors = k,
        .n_in = in->n_input,
        .n_out = in->n_output};
    if (!g->node || !g->tensor || !g->in || !g->out)
        return no_memory(r);
    for (size_t i = 0; rc >= 0 && i < n; i++)
        rc = read_node(r, in->node[i], &g->node[i]);
    for (size_t i = 0; rc >= 0 && i < k; i++)
        rc = read_tensor(r, in->initializer[i], &g->tensor[i]);
    return rc;
}

/* ---- names ---- */

/* A name, and the number of nodes before it is there. */
struct def {
    const char *name;
    size_t after;
};

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct def *)a)->name, ((const struct def *)b)->name);
}

static size_t count_defs(const struct pq_onnx_graph *g)
{
    size_t n = g->n_in + g->n_tensors;
    for (size_t i = 0; i < g->n_nodes; i++)
        n += g->node[i].n_out;
    return n;
}

/* Weights may be listed as inputs too (files of IR version 3): those count once. */
static size_t list_defs(const struct pq_onnx_graph *g, struct def *d)
{
    size_t n = 0;
    for (size_t i = 0; i < g->n_tensors; i++)
        d[n++] = (struct def){g->tensor[i].name, 0};
    for (size_t i = 0; i < g->n_in; i++)
        d[n++] = (struct def){g->in[i].name, 0};
    for (size_t i = 0; i < g->n_nodes; i++)
        for (size_t k = 0; k < g->node[i].n_out; k++)
            if (*g->node[i].out[k])
                d[n++] = (struct def){g->node[i].out[k], i + 1};
    qsort(d, n, sizeof *d, by_name);
    return n;
}

static int check_reads(struct reader *r, const struct pq_onnx_graph *g, const struct def *d,
                       size_t n_defs)
{
    for (size_t i = 0; i < g->n_nodes; i++) {
        const struct pq_onnx_node *n = &g->node[i];
        for (size_t k = 0; k < n->n_in; k++) {
            struct def key = {n->in[k], 0};
            const struct def *f = (const struct def *)bsearch(&key, d, n_defs, sizeof *d, by_name);
            if (*n->in[k] && !f)
                return pq_fail(r->e, PQ_EFORMAT, "%s: node %s reads %s, which nothing gives",
                               r->file, n->name, n->in[k]);
            if (*n->in[k] && f->after > i)
                return pq_fail(r->e, PQ_EFORMAT,
                               "%s: node %s reads %s before it is there: nodes out of order, or "
                               "in a circle",
                               r->file, n->name, n->in[k]);
        }
    }
    return PQ_OK;
}

static int check_names(struct reader *r, const struct pq_onnx_graph *g)
{
    size_t n = count_defs(g);
    struct def *d = (struct def *)pq_calloc(n ? n : 1, sizeof *d);
    if (!d)
        return no_memory(r);
    int rc = PQ_OK;
    n = list_defs(g, d);
    for (size_t i = 0; rc >= 0 && i < n; i++)
        if (!*d[i].name)
            rc = pq_fail(r->e, PQ_EFORMAT, "%s: a tensor or an input without a name", r->file);
        else if (i && !strcmp(d[i - 1].name, d[i].name))
            rc = pq_fail(r->e, PQ_EFORMAT, "%s: %s is there twice", r->file, d[i].name);
    if (rc >= 0)
        rc = check_reads(r, g, d, n);
    pq_free(d);
    return rc;
}

/* ---- the document ---- */

static int open_reader(struct reader *r, uint64_t size)
{
    if (size > SIZE_LIMIT)
        return pq_fail(r->e, PQ_EUNSUPPORTED,
                       "%s: %" PRIu64 " bytes: weights inside the model "
                       "file are not read, only beside it",
                       r->file, size);
    r->left = BUDGET_BASE + BUDGET_PER_BYTE * size;
    return PQ_OK;
}

static int not_protobuf(struct reader *r)
{
    if (r->starved)
        return no_memory(r);
    return r->over ? pq_fail(r->e, PQ_EFORMAT,
                             "%s: not a sensible ONNX file: a small file that "
                             "asks for much memory",
                             r->file)
                   : pq_fail(r->e, PQ_EFORMAT, "%s: cut off or not an ONNX file", r->file);
}

static int read_model(struct reader *r, const PqOnnxPb__Model *in, struct pq_onnx *m)
{
    size_t n = in->n_metadata_props;
    *m = (struct pq_onnx){.ir_version = in->ir_version,
                          .producer = or_empty(in->producer_name),
                          .producer_version = or_empty(in->producer_version),
                          .n_meta = n};
    m->meta = (struct pq_onnx_pair *)pq_arena_alloc(r->a, n ? n : 1, sizeof *m->meta);
    if (!m->meta)
        return no_memory(r);
    for (size_t i = 0; i < n; i++)
        m->meta[i] = (struct pq_onnx_pair){or_empty(in->metadata_props[i]->key),
                                           or_empty(in->metadata_props[i]->value)};
    for (size_t i = 0; i < in->n_opset_import; i++) {
        const char *domain = or_empty(in->opset_import[i]->domain);
        if (!*domain)
            m->opset = in->opset_import[i]->version;
        else if (!strcmp(domain, "com.microsoft"))
            m->ms_opset = in->opset_import[i]->version;
    }
    if (!in->graph)
        return pq_fail(r->e, PQ_EFORMAT, "%s: no graph in it", r->file);
    int rc = read_graph(r, in->graph, &m->graph);
    return rc < 0 ? rc : check_names(r, &m->graph);
}

int pq_onnx_parse(struct pq_onnx *m, struct pq_arena *a, const uint8_t *data, uint64_t size,
                  const char *file, struct pq_err *e)
{
    struct reader r = {.a = a, .file = file, .e = e};
    ProtobufCAllocator alloc = {budget_alloc, budget_free, &r};
    *m = (struct pq_onnx){0};
    int rc = open_reader(&r, size);
    if (rc < 0)
        return rc;
    PqOnnxPb__Model *in = pq_onnx_pb__model__unpack(&alloc, (size_t)size, data);
    return in ? read_model(&r, in, m) : not_protobuf(&r);
}

int pq_onnx_subgraph(struct pq_onnx_graph *g, struct pq_arena *a, const struct pq_onnx_attr *attr,
                     const char *file, struct pq_err *e)
{
    struct reader r = {.a = a, .file = file, .e = e};
    ProtobufCAllocator alloc = {budget_alloc, budget_free, &r};
    *g = (struct pq_onnx_graph){0};
    if (attr->kind != PQ_ONNX_GRAPH)
        return pq_fail(e, PQ_EFORMAT, "%s: attribute %s is no graph", file, attr->name);
    int rc = open_reader(&r, attr->n);
    if (rc < 0)
        return rc;
    PqOnnxPb__Graph *in = pq_onnx_pb__graph__unpack(&alloc, attr->n, attr->raw);
    return in ? read_graph(&r, in, g) : not_protobuf(&r);
}

const struct pq_onnx_attr *pq_onnx_attr(const struct pq_onnx_node *n, const char *name)
{
    for (size_t i = 0; i < n->n_attr; i++)
        if (!strcmp(n->attr[i].name, name))
            return &n->attr[i];
    return NULL;
}

int64_t pq_onnx_int(const struct pq_onnx_node *n, const char *name, int64_t otherwise)
{
    const struct pq_onnx_attr *a = pq_onnx_attr(n, name);
    return a && a->kind == PQ_ONNX_INT ? a->i : otherwise;
}

const char *pq_onnx_meta(const struct pq_onnx *m, const char *key)
{
    for (size_t i = 0; i < m->n_meta; i++)
        if (!strcmp(m->meta[i].key, key))
            return m->meta[i].value;
    return NULL;
}
