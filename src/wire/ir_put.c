/* OpenVINO IR documents out of plain structs, see ir.h. SPDX-License-Identifier: MIT */
#include "base/num.h"
#include "wire/ir.h"

#include <inttypes.h>
#include <string.h>

static const struct type_row {
    const char *name, *port;
    int bits;
    enum pq_dtype dtype;
} types[PQ_IR_TYPES] = {
    [PQ_IR_NONE] = {"", "", 0, PQ_DTYPES},
    [PQ_IR_F32] = {"f32", "FP32", 32, PQ_F32},
    [PQ_IR_F16] = {"f16", "FP16", 16, PQ_F16},
    [PQ_IR_BF16] = {"bf16", "BF16", 16, PQ_BF16},
    [PQ_IR_F64] = {"f64", "FP64", 64, PQ_F64},
    [PQ_IR_I64] = {"i64", "I64", 64, PQ_I64},
    [PQ_IR_I32] = {"i32", "I32", 32, PQ_I32},
    [PQ_IR_I16] = {"i16", "I16", 16, PQ_I16},
    [PQ_IR_I8] = {"i8", "I8", 8, PQ_I8},
    [PQ_IR_I4] = {"i4", "I4", 4, PQ_DTYPES},
    [PQ_IR_U64] = {"u64", "U64", 64, PQ_U64},
    [PQ_IR_U32] = {"u32", "U32", 32, PQ_U32},
    [PQ_IR_U16] = {"u16", "U16", 16, PQ_U16},
    [PQ_IR_U8] = {"u8", "U8", 8, PQ_U8},
    [PQ_IR_U4] = {"u4", "U4", 4, PQ_DTYPES},
    [PQ_IR_BOOL] = {"boolean", "BOOL", 8, PQ_BOOL},
    [PQ_IR_NF4] = {"nf4", "NF4", 4, PQ_DTYPES},
    [PQ_IR_F4E2M1] = {"f4e2m1", "F4E2M1", 4, PQ_DTYPES},
    [PQ_IR_F8E4M3] = {"f8e4m3", "F8E4M3", 8, PQ_F8_E4M3},
    [PQ_IR_F8E5M2] = {"f8e5m2", "F8E5M2", 8, PQ_F8_E5M2},
    [PQ_IR_F8E8M0] = {"f8e8m0", "F8E8M0", 8, PQ_F8_E8M0},
    [PQ_IR_STRING] = {"string", "STRING", 0, PQ_DTYPES},
    [PQ_IR_DYNAMIC] = {"dynamic", "dynamic", 0, PQ_DTYPES},
};

const char *pq_ir_type_name(enum pq_ir_type t)
{
    return types[t].name;
}

enum pq_ir_type pq_ir_type_find(const char *name)
{
    for (int t = PQ_IR_NONE + 1; t < PQ_IR_TYPES; t++)
        if (!strcmp(types[t].name, name) || !strcmp(types[t].port, name))
            return (enum pq_ir_type)t;
    return PQ_IR_NONE;
}

int pq_ir_type_bits(enum pq_ir_type t)
{
    return types[t].bits;
}

enum pq_dtype pq_ir_dtype_of(enum pq_ir_type t)
{
    return types[t].dtype;
}

enum pq_ir_type pq_ir_type_of(enum pq_dtype d)
{
    for (int t = PQ_IR_NONE + 1; d < PQ_DTYPES && t < PQ_IR_TYPES; t++)
        if (types[t].dtype == d)
            return (enum pq_ir_type)t;
    return PQ_IR_NONE;
}

/* ---- XML ---- */

/* Readers turn a plain line break inside an attribute into a space: it is written by number. */
static void put_text(struct pq_buf *b, const char *s)
{
    static const char *const word[128] = {
        ['&'] = "&amp;", ['<'] = "&lt;",   ['>'] = "&gt;",   ['"'] = "&quot;",
        ['\t'] = "&#9;", ['\n'] = "&#10;", ['\r'] = "&#13;",
    };
    while (*s) {
        size_t n = 0;
        while (s[n] && !((unsigned char)s[n] < 128 && word[(unsigned char)s[n]]))
            n++;
        pq_buf_put(b, s, n);
        s += n;
        if (*s)
            pq_buf_puts(b, word[(unsigned char)*s++]);
    }
}

static void put_attr(struct pq_buf *b, const char *key, const char *value)
{
    pq_buf_printf(b, " %s=\"", key);
    put_text(b, value);
    pq_buf_puts(b, "\"");
}

static void put_dims(struct pq_buf *b, const struct pq_ir_value *v)
{
    for (int i = 0; i < v->n_dims; i++)
        pq_buf_printf(b, "\t\t\t\t\t<dim>%" PRId64 "</dim>\n", v->dim[i]);
}

static void put_port(struct pq_buf *b, size_t id, const struct pq_ir_value *v, bool output)
{
    pq_buf_printf(b, "\t\t\t\t<port id=\"%zu\" precision=\"%s\"", id, types[v->type].port);
    if (output && v->names)
        put_attr(b, "names", v->names);
    pq_buf_puts(b, v->n_dims > 0 ? ">\n" : "/>\n");
    put_dims(b, v);
    if (v->n_dims > 0)
        pq_buf_puts(b, "\t\t\t\t</port>\n");
}

static void put_ports(struct pq_buf *b, const struct pq_ir *m, const struct pq_ir_layer *l)
{
    if (l->n_in)
        pq_buf_puts(b, "\t\t\t<input>\n");
    for (size_t i = 0; i < l->n_in; i++)
        put_port(b, i, &m->layer[l->in[i].layer - 1].out[l->in[i].port], false);
    if (l->n_in)
        pq_buf_puts(b, "\t\t\t</input>\n");
    if (l->n_out)
        pq_buf_puts(b, "\t\t\t<output>\n");
    for (size_t i = 0; i < l->n_out; i++)
        put_port(b, l->n_in + i, &l->out[i], true);
    if (l->n_out)
        pq_buf_puts(b, "\t\t\t</output>\n");
}

static void put_layer(struct pq_buf *b, const struct pq_ir *m, size_t id)
{
    const struct pq_ir_layer *l = &m->layer[id];
    pq_buf_printf(b, "\t\t<layer id=\"%zu\"", id);
    put_attr(b, "name", l->name);
    pq_buf_printf(b, " type=\"%s\" version=\"%s\">\n", l->type, l->version);
    if (l->n_attr) {
        pq_buf_puts(b, "\t\t\t<data");
        for (size_t i = 0; i < l->n_attr; i++)
            put_attr(b, l->attr[i].key, l->attr[i].value);
        pq_buf_puts(b, "/>\n");
    }
    if (l->decompression)
        pq_buf_puts(b,
                    "\t\t\t<rt_info>\n\t\t\t\t<attribute name=\"decompression\" version=\"0\"/>\n"
                    "\t\t\t</rt_info>\n");
    put_ports(b, m, l);
    pq_buf_puts(b, "\t\t</layer>\n");
}

static void put_edges(struct pq_buf *b, const struct pq_ir *m)
{
    pq_buf_puts(b, "\t<edges>\n");
    for (size_t i = 0; i < m->n_layers; i++)
        for (size_t k = 0; k < m->layer[i].n_in; k++) {
            const struct pq_ir_ref r = m->layer[i].in[k];
            pq_buf_printf(b,
                          "\t\t<edge from-layer=\"%" PRIu32 "\" from-port=\"%zu\" to-layer=\"%zu\" "
                          "to-port=\"%zu\"/>\n",
                          r.layer - 1, m->layer[r.layer - 1].n_in + r.port, i, k);
        }
    pq_buf_puts(b, "\t</edges>\n");
}

/* ---- remarks ---- */

#define MAX_DEPTH 6

/* Splits a path; returns the number of its words, at most MAX_DEPTH. */
static int split(const char *path, const char *word[MAX_DEPTH], size_t len[MAX_DEPTH])
{
    int n = 0;
    while (n < MAX_DEPTH) {
        word[n] = path;
        len[n] = strcspn(path, "/");
        path += len[n++];
        if (!*path++)
            break;
    }
    return n;
}

static void indent(struct pq_buf *b, int depth)
{
    for (int i = 0; i < depth + 2; i++)
        pq_buf_puts(b, "\t");
}

/* Elements are opened and closed where the paths of neighbours part. */
static void put_info(struct pq_buf *b, const struct pq_ir *m)
{
    const char *open[MAX_DEPTH], *word[MAX_DEPTH];
    size_t open_len[MAX_DEPTH], len[MAX_DEPTH];
    int depth = 0;
    pq_buf_puts(b, "\t<rt_info>\n");
    for (size_t i = 0; i <= m->n_info; i++) {
        const int n = i < m->n_info ? split(m->info[i].key, word, len) : 1;
        int same = 0;
        while (i < m->n_info && same < depth && same < n - 1 && open_len[same] == len[same] &&
               !memcmp(open[same], word[same], len[same]))
            same++;
        while (depth > same) {
            indent(b, --depth);
            pq_buf_printf(b, "</%.*s>\n", (int)open_len[depth], open[depth]);
        }
        if (i == m->n_info)
            break;
        for (; depth < n - 1; depth++) {
            open[depth] = word[depth];
            open_len[depth] = len[depth];
            indent(b, depth);
            pq_buf_printf(b, "<%.*s>\n", (int)len[depth], word[depth]);
        }
        indent(b, depth);
        pq_buf_printf(b, "<%.*s", (int)len[depth], word[depth]);
        put_attr(b, "value", m->info[i].value);
        pq_buf_puts(b, "/>\n");
    }
    pq_buf_puts(b, "\t</rt_info>\n");
}

/* ---- the whole ---- */

/* XML has no way to write the other control characters. */
static int check_text(const char *s, const char *where, struct pq_err *e)
{
    for (; *s; s++)
        if ((unsigned char)*s < 32 && *s != '\t' && *s != '\n' && *s != '\r')
            return pq_fail(e, PQ_EUNSUPPORTED, "%s: byte %u cannot be written in XML", where,
                           (unsigned)(unsigned char)*s);
    return PQ_OK;
}

static int check(const struct pq_ir *m, struct pq_err *e)
{
    int rc = PQ_OK;
    for (size_t i = 0; rc >= 0 && i < m->n_layers; i++)
        for (size_t k = 0; rc >= 0 && k < m->layer[i].n_attr; k++)
            rc = check_text(m->layer[i].attr[k].value, m->layer[i].name, e);
    for (size_t i = 0; rc >= 0 && i < m->n_info; i++)
        rc = check_text(m->info[i].value, m->info[i].key, e);
    return rc;
}

int pq_ir_put(struct pq_buf *b, const struct pq_ir *m, struct pq_err *e)
{
    int rc = check(m, e);
    if (rc < 0)
        return rc;
    pq_buf_puts(b, "<?xml version=\"1.0\"?>\n<net");
    put_attr(b, "name", m->name);
    pq_buf_puts(b, " version=\"11\">\n\t<layers>\n");
    for (size_t i = 0; i < m->n_layers; i++)
        put_layer(b, m, i);
    pq_buf_puts(b, "\t</layers>\n");
    put_edges(b, m);
    put_info(b, m);
    pq_buf_puts(b, "</net>\n");
    return pq_buf_check(b, e);
}
