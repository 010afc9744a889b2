/* The words in which OpenVINO graphs are written, see ov.h. SPDX-License-Identifier: MIT */
#include "container/ov.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* A constant that is stored: bytes [at, at + size) of g->consts. */
struct pq_ov_const {
    size_t at, size;
};

/* Constants begin at multiples of this, so that mapped ones are aligned for every type. */
#define CONST_ALIGN 8u

void pq_ov_free(struct pq_ov *g)
{
    pq_free(g->ir.layer);
    pq_free(g->ir.info);
    pq_free(g->known);
    pq_buf_free(&g->consts);
    *g = (struct pq_ov){.a = g->a};
}

/* Room for one more in a list that doubles; NULL (and g->failed) without memory. */
static void *grow(struct pq_ov *g, void *list, size_t n, size_t *max, size_t size)
{
    if (n < *max)
        return list;
    size_t more = *max ? 2 * *max : 64;
    void *p = pq_realloc(list, more, size);
    g->failed |= !p;
    if (p)
        *max = more;
    return p;
}

const char *pq_ov_name(struct pq_ov *g, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char *s = pq_arena_vprintf(g->a, fmt, ap);
    va_end(ap);
    g->failed |= !s;
    return s ? s : "";
}

/* ---- layers ---- */

static void *copy_of(struct pq_ov *g, const void *list, size_t n, size_t size)
{
    void *p = pq_arena_alloc(g->a, n ? n : 1, size);
    g->failed |= !p;
    if (p && n)
        memcpy(p, list, n * size);
    return p;
}

pq_ov_ref pq_ov_add(struct pq_ov *g, const struct pq_ov_op *op)
{
    struct pq_ir_layer l = {.name = op->name,
                            .type = op->type,
                            .version = op->version,
                            .decompression = op->decompression};
    while (l.n_in < PQ_LEN(op->in) && op->in[l.n_in].layer)
        l.n_in++;
    while (l.n_attr < PQ_LEN(op->attr) && op->attr[l.n_attr].key)
        l.n_attr++;
    while (l.n_out < PQ_LEN(op->out) && op->out[l.n_out].type)
        l.n_out++;
    l.in = (const pq_ov_ref *)copy_of(g, op->in, l.n_in, sizeof *l.in);
    l.attr = (const struct pq_ir_attr *)copy_of(g, op->attr, l.n_attr, sizeof *l.attr);
    l.out = (const struct pq_ir_value *)copy_of(g, op->out, l.n_out, sizeof *l.out);
    void *list = grow(g, g->ir.layer, g->ir.n_layers, &g->max_layers, sizeof l);
    if (g->failed)
        return (pq_ov_ref){1, 0};
    g->ir.layer = (struct pq_ir_layer *)list;
    g->ir.layer[g->ir.n_layers++] = l;
    return (pq_ov_ref){(uint32_t)g->ir.n_layers, 0};
}

pq_ov_ref pq_ov_out(pq_ov_ref r, uint32_t port)
{
    return (pq_ov_ref){r.layer, port};
}

const struct pq_ir_value *pq_ov_value(const struct pq_ov *g, pq_ov_ref r)
{
    static const struct pq_ir_value none = {.type = PQ_IR_DYNAMIC};
    return g->failed ? &none : &g->ir.layer[r.layer - 1].out[r.port];
}

void pq_ov_info(struct pq_ov *g, const char *key, const char *value)
{
    struct pq_ir_attr *list =
        (struct pq_ir_attr *)pq_realloc(g->ir.info, g->ir.n_info + 1, sizeof *list);
    g->failed |= !list;
    if (!list)
        return;
    g->ir.info = list;
    list[g->ir.n_info++] = (struct pq_ir_attr){key, value};
}

/* ---- constants ---- */

static const char *shape_text(struct pq_ov *g, const struct pq_ir_value *v)
{
    char text[PQ_IR_MAX_DIMS * 24] = "";
    size_t n = 0;
    for (int i = 0; i < v->n_dims; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%" PRId64, i ? ", " : "", v->dim[i]);
    return pq_ov_name(g, "%s", text);
}

pq_ov_ref pq_ov_const_at(struct pq_ov *g, const char *name, struct pq_ir_value v, uint64_t offset,
                         uint64_t bytes)
{
    return pq_ov_add(g, &(struct pq_ov_op){.type = "Const",
                                           .version = "opset1",
                                           .name = name,
                                           .attr = {{"element_type", pq_ir_type_name(v.type)},
                                                    {"shape", shape_text(g, &v)},
                                                    {"offset", pq_ov_name(g, "%" PRIu64, offset)},
                                                    {"size", pq_ov_name(g, "%" PRIu64, bytes)}},
                                           .out = {v}});
}

static void store(struct pq_ov *g, const void *data, size_t bytes)
{
    struct pq_ov_const *list =
        (struct pq_ov_const *)grow(g, g->known, g->n_known, &g->max_known, sizeof *list);
    if (!list)
        return;
    g->known = list;
    pq_buf_zero(&g->consts, pq_round_up(g->consts.len, CONST_ALIGN) - g->consts.len);
    list[g->n_known++] = (struct pq_ov_const){g->consts.len, bytes};
    pq_buf_put(&g->consts, data, bytes);
    g->failed |= g->consts.failed;
}

pq_ov_ref pq_ov_const(struct pq_ov *g, const char *name, struct pq_ir_value v, const void *data,
                      size_t bytes)
{
    size_t i = 0;
    if (g->failed)
        return (pq_ov_ref){1, 0};
    while (i < g->n_known && (g->known[i].size != bytes ||
                              (bytes && memcmp(g->consts.data + g->known[i].at, data, bytes) != 0)))
        i++;
    if (i == g->n_known)
        store(g, data, bytes);
    return pq_ov_const_at(g, name, v, g->consts_at + (g->failed ? 0 : g->known[i].at), bytes);
}

pq_ov_ref pq_ov_i64s(struct pq_ov *g, const char *name, size_t n, const int64_t *v)
{
    struct pq_ir_value value = {.type = PQ_IR_I64, .n_dims = n ? 1 : 0, .dim = {(int64_t)n}};
    uint8_t bytes[8 * 8];
    const size_t k = n ? n : 1;
    for (size_t i = 0; i < k; i++) {
        pq_put_le32(bytes + 8 * i, (uint32_t)v[i]);
        pq_put_le32(bytes + 8 * i + 4, (uint32_t)((uint64_t)v[i] >> 32));
    }
    return pq_ov_const(g, name, value, bytes, 8 * k);
}

pq_ov_ref pq_ov_i64(struct pq_ov *g, const char *name, int64_t v)
{
    return pq_ov_i64s(g, name, 0, &v);
}

pq_ov_ref pq_ov_i32(struct pq_ov *g, const char *name, int32_t v)
{
    uint8_t bytes[4];
    pq_put_le32(bytes, (uint32_t)v);
    return pq_ov_const(g, name, (struct pq_ir_value){.type = PQ_IR_I32}, bytes, sizeof bytes);
}

pq_ov_ref pq_ov_f32(struct pq_ov *g, const char *name, float v)
{
    uint8_t bytes[4];
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    pq_put_le32(bytes, bits);
    return pq_ov_const(g, name, (struct pq_ir_value){.type = PQ_IR_F32}, bytes, sizeof bytes);
}
