/*
 * Source "onnx": folders that phiq wrote. The network is in the metadata, weights are bound by the
 * nodes that multiply by them. SPDX-License-Identifier: MIT
 */
#include "container/onnx.h"

#include <string.h>

/* A quantized matrix: the arrays that a node reads, of which the binder sees the first. */
struct blocks {
    const struct pq_stored *part[PQ_MAX_PARTS];
    const struct pq_scheme *scheme;
    uint64_t rows, cols;
    const char *name;
};

struct reader {
    struct pq_model *m;
    struct pq_arena *a;
    const struct pq_onnx *onnx;
    struct pq_shadow shadow;
    struct blocks *quantized;
    size_t n_quantized;
    struct pq_err *e;
};

static bool has_file(const char *dir, const char *name)
{
    struct pq_arena a = {0};
    const char *path = pq_path_join(&a, dir, name);
    bool found = path && pq_path_kind(path) == PQ_PATH_FILE;
    pq_arena_free(&a);
    return found;
}

static bool onnx_probe(const char *path)
{
    return pq_path_kind(path) == PQ_PATH_DIR && has_file(path, PQ_ONNX_GENAI) &&
           has_file(path, PQ_ONNX_MODEL);
}

static int bad_node(const struct reader *r, const struct pq_onnx_node *n, const char *what)
{
    return pq_fail(r->e, PQ_EFORMAT, "%s: node %s (%s): %s", PQ_ONNX_MODEL, n->name, n->op, what);
}

/* ---- one weight ---- */

static const struct pq_scheme *int_scheme(uint64_t bits, uint64_t group, bool symmetric,
                                          enum pq_dtype aux)
{
    const struct pq_scheme *s;
    for (int i = 0; (s = pq_scheme_at(i)); i++)
        if (s->family == PQ_FAM_INT && (uint64_t)s->bits == bits && s->group == group &&
            s->symmetric == symmetric && s->aux == aux)
            return s;
    return NULL;
}

/* Rows and bytes of a part, however its rows are cut into dimensions. */
static bool has_rows(const struct pq_stored *s, const struct pq_part *part, uint64_t rows)
{
    uint64_t need;
    return s->scheme->dtype == part->dtype &&
           pq_mul_u64(rows, part->cols * pq_dtype_size(part->dtype), &need) && s->bytes == need;
}

/* An operand: input `i` of a node among the stored arrays; *out stays NULL when it is left out. */
static int operand(struct reader *r, const struct pq_onnx_node *n, size_t i,
                   const struct pq_stored **out)
{
    *out = NULL;
    if (i >= n->n_in || !*n->in[i])
        return PQ_OK;
    *out = pq_ckpt_find(r->m->ckpt, n->in[i]);
    return *out ? PQ_OK : bad_node(r, n, "its weights are computed, not stored");
}

static int find_blocks(struct reader *r, const struct pq_onnx_node *n, const size_t input[3],
                       struct blocks *b)
{
    int rc = PQ_OK;
    for (int i = 0; i < PQ_MAX_PARTS; i++)
        PQ_TRY(operand(r, n, input[i], &b->part[i]));
    if (!b->part[0] || !b->part[1])
        return bad_node(r, n, "codes or scales are missing");
    int64_t bits = pq_onnx_int(n, "bits", 4), block = pq_onnx_int(n, "block_size", 0);
    b->scheme = bits < 0 || block < 0 ? NULL
                                      : int_scheme((uint64_t)bits, (uint64_t)block, !b->part[2],
                                                   b->part[1]->scheme->dtype);
    if (!b->scheme)
        return pq_fail(r->e, PQ_EUNSUPPORTED,
                       "%s: node %s: %lld bits in blocks of %lld with %s scales are not read",
                       PQ_ONNX_MODEL, n->name, (long long)bits, (long long)block,
                       b->part[1]->scheme->name);
out:
    return rc;
}

/* Checks shapes and enters the arrays as one matrix under `name`. */
static int add_blocks(struct reader *r, const struct pq_onnx_node *n, const struct blocks *b,
                      const char *name)
{
    struct pq_part layout[PQ_MAX_PARTS];
    if (b->cols % b->scheme->group || b->cols > UINT32_MAX || !b->rows)
        return bad_node(r, n, "rows that the blocks do not tile are not read");
    int parts = b->scheme->parts(b->scheme, b->cols, layout);
    for (int i = 0; i < parts; i++)
        if (!has_rows(b->part[i], &layout[i], b->rows))
            return pq_fail(r->e, PQ_EFORMAT,
                           "%s: node %s: %s does not have the shape that its attributes give",
                           PQ_ONNX_MODEL, n->name, b->part[i]->name);
    struct pq_stored *t = pq_shadow_add(&r->shadow);
    *t = *b->part[0];
    t->name = name;
    t->scheme = b->scheme;
    t->n_dims = 2;
    t->dim[0] = b->rows;
    t->dim[1] = b->cols;
    r->quantized[r->n_quantized] = *b;
    r->quantized[r->n_quantized++].name = name;
    return PQ_OK;
}

static int add_matmul(struct reader *r, const struct pq_onnx_node *n)
{
    static const size_t inputs[] = {1, 2, 3};
    struct blocks b = {.rows = (uint64_t)pq_onnx_int(n, "N", 0),
                       .cols = (uint64_t)pq_onnx_int(n, "K", 0)};
    if (n->n_in > 4)
        return bad_node(r, n, "more inputs than codes, scales and zero points");
    int rc = find_blocks(r, n, inputs, &b);
    return rc < 0 ? rc : add_blocks(r, n, &b, b.part[0]->name);
}

static int add_gather(struct reader *r, const struct pq_onnx_node *n)
{
    static const size_t inputs[] = {0, 2, 3};
    struct blocks b = {.rows = 0};
    int rc = find_blocks(r, n, inputs, &b);
    if (rc < 0)
        return rc;
    if (b.part[0]->n_dims != 2 || pq_onnx_int(n, "quantize_axis", 1) != 1)
        return bad_node(r, n, "only blocks along the rows of a matrix are read");
    b.rows = b.part[0]->dim[0];
    b.cols = b.part[0]->dim[1] * 8 / (uint64_t)b.scheme->bits;
    return add_blocks(r, n, &b, b.part[0]->name);
}

/* ---- the graph ---- */

/* What graphs of Phi networks are made of. */
static const char *const known[] = {
    "Add",
    "Cast",
    "Constant",
    "FastGelu",
    "FusedMatMul",
    "Gather",
    "GatherBlockQuantized",
    "Gelu",
    "Greater",
    "GroupQueryAttention",
    "Identity",
    "If",
    "LayerNormalization",
    "Less",
    "MatMul",
    "MatMulNBits",
    "Mul",
    "Not",
    "QuickGelu",
    "ReduceMax",
    "ReduceSum",
    "Reshape",
    "RotaryEmbedding",
    "Shape",
    "Sigmoid",
    "SimplifiedLayerNormalization",
    "SkipLayerNormalization",
    "SkipSimplifiedLayerNormalization",
    "Slice",
    "Split",
    "Sub",
    "Transpose",
};

static int add_node(struct reader *r, const struct pq_onnx_node *n)
{
    for (size_t i = 0; i < PQ_LEN(known); i++) {
        if (strcmp(known[i], n->op))
            continue;
        if (!strcmp(n->op, "MatMulNBits"))
            return add_matmul(r, n);
        return strcmp(n->op, "GatherBlockQuantized") ? PQ_OK : add_gather(r, n);
    }
    return pq_fail(r->e, PQ_EUNSUPPORTED, "%s: node %s: operator %s is not one of a Phi network",
                   PQ_ONNX_MODEL, n->name, n->op);
}

static bool ends_with(const char *s, const char *tail)
{
    size_t n = strlen(s), k = strlen(tail);
    return n > k && !strcmp(s + n - k, tail);
}

/* Floats are bound by their names, which are the checkpoint's. */
static bool is_float_weight(const struct pq_stored *s)
{
    return (ends_with(s->name, ".weight") || ends_with(s->name, ".bias")) &&
           (s->scheme->dtype == PQ_F32 || s->scheme->dtype == PQ_F16 ||
            s->scheme->dtype == PQ_BF16);
}

/* The parts beyond the first, as the node of this matrix names them. */
static void attach_parts(const struct reader *r, struct pq_slice *slice)
{
    const struct blocks *b = r->quantized;
    if (slice->view.scheme->family != PQ_FAM_INT)
        return;
    while (strcmp(b->name, slice->stored))
        b++;
    for (int i = 1; i < PQ_MAX_PARTS && b->part[i]; i++)
        slice->view.part[i] = b->part[i]->data;
}

static int bind(struct reader *r)
{
    int rc = PQ_OK;
    const struct pq_ckpt *c = r->m->ckpt;
    const struct pq_onnx_graph *g = &r->onnx->graph;
    struct pq_network *net = &r->m->net;
    PQ_TRY(pq_shadow_init(&r->shadow, r->m, c->n_tensors + g->n_nodes, r->a, r->e));
    r->quantized = (struct blocks *)pq_arena_alloc(r->a, g->n_nodes + 1, sizeof *r->quantized);
    if (!r->quantized)
        PQ_TRY(pq_fail(r->e, PQ_ENOMEM, "%s: out of memory", r->m->path));
    for (size_t i = 0; i < g->n_nodes; i++)
        PQ_TRY(add_node(r, &g->node[i]));
    for (size_t i = 0; i < c->n_tensors; i++)
        if (is_float_weight(&c->tensor[i]))
            *pq_shadow_add(&r->shadow) = c->tensor[i];
    PQ_TRY(pq_shadow_sort(&r->shadow, r->e));
    PQ_TRY(pq_network_bind(net, r->a, &r->shadow.ckpt, r->m->config, r->m->generation, r->e));
    for (size_t i = 0; i < net->n_tensors; i++)
        for (int k = 0; k < net->tensor[i].n_slices; k++)
            attach_parts(r, &net->tensor[i].slice[k]);
out:
    return rc;
}

static int metadata(struct reader *r, const char *key, json_t **out)
{
    const char *text = pq_onnx_meta(r->onnx, key);
    if (!text)
        return pq_fail(r->e, PQ_EUNSUPPORTED,
                       "%s: no %s in its metadata: only folders that phiq wrote are read",
                       PQ_ONNX_MODEL, key);
    return pq_json_parse(out, text, strlen(text), key, r->e);
}

static int onnx_read(struct pq_model *m, struct pq_err *e)
{
    int rc = PQ_OK;
    struct reader r = {.m = m, .a = &m->arena, .e = e};
    PQ_TRY(pq_ckpt_open(&m->ckpt, m->path, e));
    r.onnx = m->ckpt->onnx;
    if (!r.onnx)
        PQ_TRY(pq_fail(e, PQ_EFORMAT, "%s: %s lies beside weights of another kind", m->path,
                       PQ_ONNX_MODEL));
    PQ_TRY(metadata(&r, PQ_ONNX_META_CONFIG, &m->config));
    PQ_TRY(metadata(&r, PQ_ONNX_META_GENERATION, &m->generation));
    const char *name = pq_onnx_meta(r.onnx, "phiq.name");
    m->name = name && *name ? name : pq_container_model_name(&m->arena, m->path, m->config);
    if (!m->name)
        PQ_TRY(pq_fail(e, PQ_ENOMEM, "%s: out of memory", m->path));
    PQ_TRY(bind(&r));
    PQ_TRY(pq_container_read_vocab(m, m->path, e));
    PQ_TRY(pq_container_read_sides(m, m->path, e));
out:
    return rc;
}

const struct pq_container pq_container_onnx = {
    .name = "onnx",
    .about = "a folder for the ONNX Runtime generate() API",
    .probe = onnx_probe,
    .read = onnx_read,
    .holds = pq_onnx_holds,
    .recipes = pq_onnx_recipes,
    .usual = {[PQ_FP32] = "f32",
              [PQ_FP16] = "f16",
              [PQ_PBF16] = "bf16",
              [PQ_INT8] = "int8g32",
              [PQ_INT4] = "int4g32"},
    .place = pq_onnx_place,
    .fit = pq_onnx_fit,
    .plan = pq_onnx_plan,
};
