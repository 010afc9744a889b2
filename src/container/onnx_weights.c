/*
 * The weights of an ONNX graph that is being read: what an array is to the network follows from the
 * node that reads it. SPDX-License-Identifier: MIT
 */
#include "container/onnx_reader.h"

#include <string.h>

static int bad_node(const struct pq_onnx_reader *r, const struct pq_onnx_node *n, const char *what)
{
    return pq_fail(r->e, PQ_EFORMAT, "%s: node %s (%s): %s", PQ_ONNX_MODEL, n->name, n->op, what);
}

/* ---- entries ---- */

static int add_entry(struct pq_onnx_reader *r, const struct pq_onnx_entry *t)
{
    struct pq_stored *s = pq_shadow_add(&r->shadow);
    if (!s || !t->name)
        return pq_fail(r->e, PQ_ENOMEM, "%s: out of memory", r->m->path);
    r->entry[r->n_entries++] = *t;
    *s = (struct pq_stored){.name = t->name,
                            .file = t->file,
                            .n_dims = t->n_dims,
                            .dim = {t->n_dims == 1 ? t->cols : t->rows, t->cols},
                            .scheme = t->scheme,
                            .data = t->data[0],
                            .bytes = t->rows * pq_scheme_row_bytes(t->scheme, t->cols)};
    return PQ_OK;
}

/* Rows [row0, row0 + rows) of t under another name. */
static int add_band(struct pq_onnx_reader *r, const struct pq_onnx_entry *t, const char *name,
                    uint64_t row0, uint64_t rows)
{
    struct pq_onnx_entry band = *t;
    band.name = name;
    band.rows = rows;
    if (t->n_dims == 1) { /* a vector: its elements are the rows */
        band.rows = 1;
        band.cols = rows;
        band.data[0] += row0 * pq_dtype_size(t->scheme->dtype);
        return add_entry(r, &band);
    }
    for (int i = 0; i < PQ_MAX_PARTS && t->data[i]; i++)
        band.data[i] += row0 * (t->turned ? pq_dtype_size(t->scheme->dtype)
                                          : pq_scheme_part_bytes(t->scheme, t->cols, i));
    return add_entry(r, &band);
}

/* The builder packs phi's q, k, v into one. */
static int add_packed(struct pq_onnx_reader *r, const struct pq_onnx_entry *t, const char *module,
                      const char *kind)
{
    const uint64_t rows = t->n_dims == 1 ? t->cols : t->rows;
    const int tail = (int)(strlen(module) - strlen("qkv_proj"));
    if (rows % 3)
        return pq_fail(r->e, PQ_EFORMAT, "%s: %s has %llu rows, expected three equal bands",
                       PQ_ONNX_MODEL, module, (unsigned long long)rows);
    int rc = PQ_OK;
    for (int i = 0; rc >= 0 && i < 3; i++) {
        const char *name = pq_arena_printf(r->a, "%.*s%c_proj.%s", tail, module, "qkv"[i], kind);
        rc = add_band(r, t, name, (uint64_t)i * (rows / 3), rows / 3);
    }
    return rc;
}

/* Under the name that the node gives it, or (ours) its own. */
static int add_named(struct pq_onnx_reader *r, const struct pq_onnx_node *n,
                     struct pq_onnx_entry *t, const char *kind)
{
    if (!r->foreign)
        return add_entry(r, t);
    const char *module = pq_onnx_module(&r->look, r->a, n->name);
    if (!module)
        return bad_node(r, n, "its name is none of the model builder's");
    if (r->look.phi && pq_container_glob("*.qkv_proj", module))
        return add_packed(r, t, module, kind);
    t->name = pq_arena_printf(r->a, "%s.%s", module, kind);
    return add_entry(r, t);
}

/* ---- quantized weights ---- */

static const struct pq_scheme *int_scheme(int64_t bits, int64_t group, bool symmetric,
                                          enum pq_dtype aux)
{
    const struct pq_scheme *s;
    for (int i = 0; (s = pq_scheme_at(i)); i++) /* group 0, a scale per row, is not a block size */
        if (s->family == PQ_FAM_INT && s->bits == bits && s->group && (int64_t)s->group == group &&
            s->symmetric == symmetric && s->aux == aux)
            return s;
    return NULL;
}

/* Input `i` of a node among the stored arrays; NULL when it is left out or computed. */
static const struct pq_stored *operand(const struct pq_onnx_reader *r, const struct pq_onnx_node *n,
                                       size_t i)
{
    return i < n->n_in && *n->in[i] ? pq_ckpt_find(r->m->ckpt, n->in[i]) : NULL;
}

/* Rows and bytes of a part, however its rows are cut into dimensions. */
static bool has_rows(const struct pq_stored *s, const struct pq_part *part, uint64_t rows)
{
    uint64_t need;
    return s->scheme->dtype == part->dtype &&
           pq_mul_u64(rows, part->cols * pq_dtype_size(part->dtype), &need) && s->bytes == need;
}

/* Codes, scales and zero points are inputs first, first + step, ...: checks and enters them. */
static int add_blocks(struct pq_onnx_reader *r, const struct pq_onnx_node *n, const size_t input[3],
                      struct pq_onnx_entry *t)
{
    struct pq_part layout[PQ_MAX_PARTS];
    const struct pq_stored *part[PQ_MAX_PARTS];
    for (int i = 0; i < PQ_MAX_PARTS; i++) {
        part[i] = operand(r, n, input[i]);
        if (!part[i] && (i < 2 || (input[i] < n->n_in && *n->in[input[i]])))
            return bad_node(r, n, "its weights are missing or computed, not stored");
    }
    const int64_t bits = pq_onnx_int(n, "bits", 4), block = pq_onnx_int(n, "block_size", 0);
    t->scheme = int_scheme(bits, block, !part[2], part[1]->scheme->dtype);
    if (!t->scheme)
        return pq_fail(r->e, PQ_EUNSUPPORTED,
                       "%s: node %s: %lld bits in blocks of %lld with %s scales are not read",
                       PQ_ONNX_MODEL, n->name, (long long)bits, (long long)block,
                       part[1]->scheme->name);
    if (!t->cols) /* an embedding says its width only by its codes */
        t->cols = part[0]->dim[1] * 8 / (uint64_t)bits;
    if (!t->cols || t->cols % t->scheme->group || t->cols > UINT32_MAX || !t->rows)
        return bad_node(r, n, "rows that the blocks do not tile are not read");
    const int parts = t->scheme->parts(t->scheme, t->cols, layout);
    for (int i = 0; i < parts; i++) {
        if (!has_rows(part[i], &layout[i], t->rows))
            return pq_fail(r->e, PQ_EFORMAT,
                           "%s: node %s: %s does not have the shape that its attributes give",
                           PQ_ONNX_MODEL, n->name, part[i]->name);
        t->data[i] = part[i]->data;
    }
    t->name = part[0]->name;
    t->file = part[0]->file;
    t->n_dims = 2;
    return add_named(r, n, t, "weight");
}

static int add_matmul_nbits(struct pq_onnx_reader *r, const struct pq_onnx_node *n)
{
    static const size_t inputs[] = {1, 2, 3};
    struct pq_onnx_entry t = {.rows = (uint64_t)pq_onnx_int(n, "N", 0),
                              .cols = (uint64_t)pq_onnx_int(n, "K", 0)};
    if (n->n_in > 4)
        return bad_node(r, n, "more inputs than codes, scales and zero points");
    if (!t.cols)
        return bad_node(r, n, "K is missing");
    return add_blocks(r, n, inputs, &t);
}

/* A tied embedding of the builder's reads the head's codes through a Reshape. */
static int add_gather_blocks(struct pq_onnx_reader *r, const struct pq_onnx_node *n)
{
    static const size_t inputs[] = {0, 2, 3};
    const struct pq_stored *codes = operand(r, n, 0);
    if (r->foreign && r->look.tied)
        return PQ_OK;
    if (!codes)
        return bad_node(r, n, "its codes are computed, or of a type that is not read");
    if (codes->n_dims != 2 || pq_onnx_int(n, "quantize_axis", 1) != 1)
        return bad_node(r, n, "only blocks along the rows of a matrix are read");
    struct pq_onnx_entry t = {.rows = codes->dim[0]};
    return add_blocks(r, n, inputs, &t);
}

/* ---- floats of the builder: by the nodes too ---- */

static bool is_float(const struct pq_stored *s)
{
    return s && (s->scheme->dtype == PQ_F32 || s->scheme->dtype == PQ_F16 ||
                 s->scheme->dtype == PQ_BF16);
}

static int add_float(struct pq_onnx_reader *r, const struct pq_onnx_node *n,
                     const struct pq_stored *s, const char *kind)
{
    if (!is_float(s))
        return PQ_OK;
    struct pq_onnx_entry t = {.name = s->name,
                              .file = s->file,
                              .scheme = s->scheme,
                              .data = {s->data},
                              .n_dims = s->n_dims,
                              .rows = s->n_dims == 2 ? s->dim[0] : 1,
                              .cols = s->n_dims ? s->dim[s->n_dims - 1] : 1};
    if (s->n_dims != 1 && s->n_dims != 2)
        return bad_node(r, n, "its weights are neither a matrix nor a vector");
    return add_named(r, n, &t, kind);
}

static int add_vector(struct pq_onnx_reader *r, const struct pq_onnx_node *n, size_t i,
                      const char *kind)
{
    const struct pq_stored *s = operand(r, n, i);
    return s && s->n_dims == 1 ? add_float(r, n, s, kind) : PQ_OK;
}

/* The builder stores the weights of MatMul as [K, N]. */
static int add_matmul(struct pq_onnx_reader *r, const struct pq_onnx_node *n)
{
    const struct pq_stored *s = operand(r, n, 1);
    if (!is_float(s) || s->n_dims != 2)
        return bad_node(r, n, "its weights are not a stored matrix of floats");
    struct pq_onnx_entry t = {.name = s->name,
                              .file = s->file,
                              .scheme = s->scheme,
                              .data = {s->data},
                              .n_dims = 2,
                              .rows = s->dim[1],
                              .cols = s->dim[0],
                              .turned = s->dim[1]};
    return add_named(r, n, &t, "weight");
}

static int add_norm(struct pq_onnx_reader *r, const struct pq_onnx_node *n)
{
    const size_t first = strncmp(n->op, "Skip", 4) ? 1 : 2;
    int rc = add_vector(r, n, first, "weight");
    return rc < 0 ? rc : add_vector(r, n, first + 1, "bias");
}

static int add_gather(struct pq_onnx_reader *r, const struct pq_onnx_node *n)
{
    return add_float(r, n, operand(r, n, 0), "weight");
}

static int add_bias(struct pq_onnx_reader *r, const struct pq_onnx_node *n)
{
    return add_vector(r, n, 1, "bias");
}

/* ---- the graph ---- */

/* What graphs of Phi networks are made of, and the operands that are weights. Our own floats are
 * bound by their names, which are the checkpoint's. */
static const struct known {
    const char *op;
    int (*ours)(struct pq_onnx_reader *r, const struct pq_onnx_node *n);
    int (*theirs)(struct pq_onnx_reader *r, const struct pq_onnx_node *n);
} known[] = {
    {"Add", NULL, add_bias},
    {"Cast", NULL, NULL},
    {"Constant", NULL, NULL},
    {"FastGelu", NULL, NULL},
    {"FusedMatMul", NULL, NULL},
    {"Gather", NULL, add_gather},
    {"GatherBlockQuantized", add_gather_blocks, add_gather_blocks},
    {"Gelu", NULL, NULL},
    {"Greater", NULL, NULL},
    {"GreaterOrEqual", NULL, NULL},
    {"GroupQueryAttention", NULL, NULL},
    {"Identity", NULL, NULL},
    {"If", NULL, NULL},
    {"LayerNormalization", NULL, add_norm},
    {"Less", NULL, NULL},
    {"MatMul", NULL, add_matmul},
    {"MatMulNBits", add_matmul_nbits, add_matmul_nbits},
    {"Mul", NULL, NULL},
    {"Not", NULL, NULL},
    {"QuickGelu", NULL, NULL},
    {"ReduceMax", NULL, NULL},
    {"ReduceSum", NULL, NULL},
    {"Reshape", NULL, NULL},
    {"RotaryEmbedding", NULL, NULL},
    {"Shape", NULL, NULL},
    {"Sigmoid", NULL, NULL},
    {"SimplifiedLayerNormalization", NULL, add_norm},
    {"SkipLayerNormalization", NULL, add_norm},
    {"SkipSimplifiedLayerNormalization", NULL, add_norm},
    {"Slice", NULL, NULL},
    {"Split", NULL, NULL},
    {"Sub", NULL, NULL},
    {"Transpose", NULL, NULL},
};

int pq_onnx_add_node(struct pq_onnx_reader *r, const struct pq_onnx_node *n)
{
    for (size_t i = 0; i < PQ_LEN(known); i++)
        if (!strcmp(known[i].op, n->op)) {
            int (*add)(struct pq_onnx_reader *, const struct pq_onnx_node *) =
                r->foreign ? known[i].theirs : known[i].ours;
            return add ? add(r, n) : PQ_OK;
        }
    return pq_fail(r->e, PQ_EUNSUPPORTED, "%s: node %s: operator %s is not one of a Phi network",
                   PQ_ONNX_MODEL, n->name, n->op);
}

int pq_onnx_add_own_floats(struct pq_onnx_reader *r)
{
    const struct pq_ckpt *c = r->m->ckpt;
    int rc = PQ_OK;
    for (size_t i = 0; rc >= 0 && i < c->n_tensors; i++) {
        const struct pq_stored *s = &c->tensor[i];
        const bool named =
            pq_container_glob("*.weight", s->name) || pq_container_glob("*.bias", s->name);
        const struct pq_onnx_node nameless = {.name = s->name, .op = "initializer"};
        if (named)
            rc = add_float(r, &nameless, s, "");
    }
    return rc;
}
