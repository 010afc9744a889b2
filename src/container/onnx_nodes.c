/* The words in which graphs are written, see onnx.h. SPDX-License-Identifier: MIT */
#include "container/onnx.h"

#include <stdarg.h>
#include <string.h>

static void *take(struct pq_onnx_build *b, size_t n, size_t size)
{
    void *p = pq_arena_alloc(b->a, n ? n : 1, size);
    b->failed |= !p;
    return p;
}

const char *pq_onnx_name(struct pq_onnx_build *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char *s = pq_arena_vprintf(b->a, fmt, ap);
    va_end(ap);
    b->failed |= !s;
    return s ? s : "";
}

/* A layer has some 20 nodes and no more than four arrays for each of its tensors. */
bool pq_onnx_begin(struct pq_onnx_build *b)
{
    struct pq_onnx_graph *g = &b->onnx.graph;
    const size_t layers = b->m->net.hp.n_layers;
    b->max_nodes = 40 * layers + 64;
    b->max_tensors = 4 * b->m->net.n_tensors + 8 * layers + 64;
    g->node = (struct pq_onnx_node *)take(b, b->max_nodes, sizeof *g->node);
    g->tensor = (struct pq_onnx_tensor *)take(b, b->max_tensors, sizeof *g->tensor);
    g->in = (struct pq_onnx_value *)take(b, 2 * layers + 4, sizeof *g->in);
    g->out = (struct pq_onnx_value *)take(b, 2 * layers + 4, sizeof *g->out);
    return !b->failed;
}

static size_t count(const char *const *list, size_t most)
{
    size_t n = 0;
    while (n < most && list[n])
        n++;
    return n;
}

static const char *const *keep(struct pq_onnx_build *b, const char *const *list, size_t n)
{
    const char **copy = (const char **)take(b, n, sizeof *copy);
    for (size_t i = 0; copy && i < n; i++)
        copy[i] = list[i];
    return copy;
}

const char *pq_onnx_add(struct pq_onnx_build *b, const struct pq_onnx_op *op)
{
    struct pq_onnx_graph *g = &b->onnx.graph;
    struct pq_onnx_node n = {
        .op = op->type, .domain = op->domain ? op->domain : "", .name = op->name};
    const char *own[1] = {op->out[0] ? op->out[0] : pq_onnx_name(b, "%s/output_0", op->name)};
    n.n_in = count(op->in, PQ_LEN(op->in));
    n.n_out = op->out[0] ? count(op->out, PQ_LEN(op->out)) : 1;
    n.in = keep(b, op->in, n.n_in);
    n.out = keep(b, op->out[0] ? op->out : own, n.n_out);
    while (n.n_attr < PQ_LEN(op->attr) && op->attr[n.n_attr].name)
        n.n_attr++;
    struct pq_onnx_attr *attr = (struct pq_onnx_attr *)take(b, n.n_attr, sizeof *attr);
    b->failed |= g->n_nodes == b->max_nodes;
    if (b->failed)
        return "";
    memcpy(attr, op->attr, n.n_attr * sizeof *attr);
    n.attr = attr;
    g->node[g->n_nodes++] = n;
    return n.out[0];
}

struct pq_onnx_tensor *pq_onnx_new_tensor(struct pq_onnx_build *b)
{
    struct pq_onnx_graph *g = &b->onnx.graph;
    b->failed |= g->n_tensors == b->max_tensors;
    return b->failed ? NULL : &g->tensor[g->n_tensors++];
}

const char *pq_onnx_const(struct pq_onnx_build *b, const char *name, size_t n, const int64_t *v)
{
    const size_t k = n ? n : 1;
    uint8_t *bytes = (uint8_t *)take(b, k, 8);
    struct pq_onnx_tensor *t = pq_onnx_new_tensor(b);
    if (!bytes || !t)
        return "";
    for (size_t i = 0; i < k; i++) {
        pq_put_le32(bytes + 8 * i, (uint32_t)v[i]);
        pq_put_le32(bytes + 8 * i + 4, (uint32_t)((uint64_t)v[i] >> 32));
    }
    *t = (struct pq_onnx_tensor){.name = pq_onnx_name(b, "/model/constants/%s", name),
                                 .dtype = PQ_I64,
                                 .n_dims = n ? 1 : 0,
                                 .dim = {n},
                                 .bytes = 8 * k,
                                 .data = bytes};
    return t->name;
}

void pq_onnx_value(struct pq_onnx_build *b, bool output, struct pq_onnx_value v)
{
    struct pq_onnx_graph *g = &b->onnx.graph;
    if (b->failed)
        return;
    if (output)
        g->out[g->n_out++] = v;
    else
        g->in[g->n_in++] = v;
}
