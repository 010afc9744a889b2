/*
 * Source "openvino": folders that phiq or optimum-intel wrote. What a constant is to the network
 * follows from the operator that reads it, whose name begins with the path of its module:
 * "__module.model.layers.0.mlp.down_proj/aten::linear/MatMul" in exports, "<module>/MatMul" in
 * ours. SPDX-License-Identifier: MIT
 */
#include "container/ov_reader.h"

static const char MODEL[] = PQ_OV_MODEL ".xml";

/* A repository may hold the same model twice; that of the checkpoint is the more exact. */
static bool ov_probe(const char *path)
{
    return pq_path_kind(path) == PQ_PATH_DIR && pq_container_has_file(path, MODEL) &&
           !pq_container_has_file(path, "model.safetensors") &&
           !pq_container_has_file(path, "model.safetensors.index.json");
}

/* ---- entries ---- */

/* The path that an operator's name begins with; NULL when it has none, or computes positions. */
static const char *module_of(const struct pq_ov_reader *r, const struct pq_ir_layer *l)
{
    static const char prefix[] = "__module.";
    const char *name = l->name, *end = strchr(name, '/');
    if (!end)
        return NULL;
    if (!strncmp(name, prefix, sizeof prefix - 1))
        name += sizeof prefix - 1;
    const char *module = pq_arena_printf(r->a, "%.*s", (int)(end - name), name);
    return module && strstr(module, "rotary_emb") ? NULL : module;
}

static int add_entry(struct pq_ov_reader *r, const struct pq_ir_layer *l, struct pq_ov_entry *t,
                     const char *kind)
{
    const char *module = module_of(r, l);
    const struct pq_view *v = &t->view;
    if (!module)
        return PQ_OK;
    struct pq_stored *s = pq_shadow_add(&r->shadow);
    t->name = pq_arena_printf(r->a, "%s.%s", module, kind);
    if (!s || !t->name)
        return pq_fail(r->e, PQ_ENOMEM, "%s: out of memory", r->m->path);
    r->entry[r->n_entries++] = *t;
    *s = (struct pq_stored){.name = t->name,
                            .file = r->ir->file,
                            .n_dims = t->n_dims,
                            .dim = {t->n_dims == 1 ? v->cols : v->rows, v->cols},
                            .scheme = v->scheme,
                            .data = v->part[0],
                            .bytes = v->rows * pq_scheme_row_bytes(v->scheme, v->cols)};
    return PQ_OK;
}

static int bad_layer(const struct pq_ov_reader *r, const struct pq_ir_layer *l, const char *what)
{
    return pq_fail(r->e, PQ_EUNSUPPORTED, "%s: layer %s (%s): %s", r->ir->path, l->name, l->type,
                   what);
}

static bool says(const struct pq_ir_layer *l, const char *key, const char *value)
{
    const char *v = pq_ir_attr(l, key);
    return v && !strcmp(v, value);
}

/* ---- AWQ ---- */

/* NNCF's AWQ divides columns of weights and multiplies what they meet by the same factors, in an
 * operator of this name that comes right before the product or one Multiply earlier (the gate). */
static bool is_awq(const struct pq_ir_layer *l)
{
    return !strcmp(l->type, "Multiply") && l->n_in == 2 && pq_container_glob("*/awq_mul", l->name);
}

static const struct pq_ir_layer *awq_before(const struct pq_ov_reader *r, struct pq_ir_ref from)
{
    const struct pq_ir_layer *l = pq_ov_layer(r, from);
    if (is_awq(l))
        return l;
    for (size_t i = 0; l->n_in == 2 && !strcmp(l->type, "Multiply") && i < 2; i++)
        if (is_awq(pq_ov_layer(r, l->in[i])))
            return pq_ov_layer(r, l->in[i]);
    return NULL;
}

/* The factors become part of the weights, which then are what they were. */
static int undo_awq(struct pq_ov_reader *r, const struct pq_ir_layer *l, struct pq_ov_entry *t)
{
    struct pq_ov_entry f = {0};
    const struct pq_ir_layer *awq = awq_before(r, l->in[0]);
    if (!awq)
        return PQ_OK;
    if ((!pq_ov_row(r, awq->in[0], &f) && !pq_ov_row(r, awq->in[1], &f)) ||
        f.view.cols != t->view.cols)
        return bad_layer(r, awq, "its factors are not one for each column of the weights");
    float *factor = (float *)pq_arena_alloc(r->a, (size_t)f.view.cols, sizeof *factor);
    if (!factor)
        return pq_fail(r->e, PQ_ENOMEM, "%s: out of memory", r->m->path);
    pq_view_row(&f.view, NULL, 0, factor);
    t->view.factor = factor;
    r->undone[awq - r->ir->graph.layer] = true;
    return PQ_OK;
}

static int check_awq(const struct pq_ov_reader *r)
{
    const struct pq_ir *g = &r->ir->graph;
    for (size_t i = 0; i < g->n_layers; i++)
        if (is_awq(&g->layer[i]) && !r->undone[i])
            return bad_layer(r, &g->layer[i], "no weights follow that its factors belong to");
    return PQ_OK;
}

/* ---- operators that read weights ---- */

/* x W^T. A matrix that is not turned lies column by column. */
static int add_matmul(struct pq_ov_reader *r, const struct pq_ir_layer *l)
{
    struct pq_ov_entry t = {0};
    if (l->n_in != 2 || !module_of(r, l))
        return PQ_OK;
    int rc = pq_ov_matrix(r, l->in[1], &t);
    if (rc <= 0)
        return rc;
    if (says(l, "transpose_a", "true"))
        return bad_layer(r, l, "a product with its input turned is not read");
    if (!says(l, "transpose_b", "true")) {
        const uint64_t rows = t.view.rows;
        if (t.view.scheme->family != PQ_FAM_FLOAT)
            return bad_layer(r, l, "compressed weights must have a row for each output");
        t.view.rows = t.view.turned = t.view.cols;
        t.view.cols = rows;
    }
    rc = undo_awq(r, l, &t);
    return rc < 0 ? rc : add_entry(r, l, &t, "weight");
}

/* Rows of an embedding; other gathers take from what is computed, or from small tables. */
static int add_gather(struct pq_ov_reader *r, const struct pq_ir_layer *l)
{
    struct pq_ov_entry t = {0};
    const char *module = module_of(r, l);
    if (l->n_in < 2 || !module || !pq_container_glob("*embed*", module))
        return PQ_OK;
    int rc = pq_ov_matrix(r, l->in[0], &t);
    return rc <= 0 ? rc : add_entry(r, l, &t, "weight");
}

static int add_vector(struct pq_ov_reader *r, const struct pq_ir_layer *l, const char *kind)
{
    struct pq_ov_entry t = {0};
    if (l->n_in != 2 || (!pq_ov_row(r, l->in[0], &t) && !pq_ov_row(r, l->in[1], &t)))
        return PQ_OK;
    return add_entry(r, l, &t, kind);
}

static int add_factor(struct pq_ov_reader *r, const struct pq_ir_layer *l)
{
    return is_awq(l) ? PQ_OK : add_vector(r, l, "weight");
}

static int add_bias(struct pq_ov_reader *r, const struct pq_ir_layer *l)
{
    return add_vector(r, l, "bias");
}

static int add_layer(struct pq_ov_reader *r, const struct pq_ir_layer *l)
{
    static const struct {
        const char *type;
        int (*add)(struct pq_ov_reader *r, const struct pq_ir_layer *l);
    } readers[] = {{"MatMul", add_matmul},
                   {"Gather", add_gather},
                   {"Multiply", add_factor},
                   {"Add", add_bias}};
    for (size_t i = 0; i < PQ_LEN(readers); i++)
        if (!strcmp(readers[i].type, l->type))
            return readers[i].add(r, l);
    return PQ_OK;
}

/* ---- the network ---- */

static const struct pq_ov_entry *find_entry(const struct pq_ov_reader *r, const char *name)
{
    for (size_t i = 0; i < r->n_entries; i++)
        if (!strcmp(r->entry[i].name, name))
            return &r->entry[i];
    return NULL;
}

static bool same_matrix(const struct pq_view *a, const struct pq_view *b)
{
    bool same = a->scheme == b->scheme && a->rows == b->rows && a->cols == b->cols &&
                a->turned == b->turned && !a->factor && !b->factor;
    for (int i = 0; same && i < PQ_MAX_PARTS && a->part[i]; i++)
        same = a->part[i] == b->part[i] ||
               !memcmp(a->part[i], b->part[i],
                       (size_t)(a->rows * pq_scheme_part_bytes(a->scheme, a->cols, i)));
    return same;
}

/* Exports may compress embedding and head of a tied network each its own way: it is read as one
 * that is not tied. */
static void untie(const struct pq_ov_reader *r)
{
    const struct pq_ov_entry *embed = find_entry(r, "model.embed_tokens.weight");
    const struct pq_ov_entry *head = find_entry(r, "lm_head.weight");
    if (json_is_true(json_object_get(r->m->config, "tie_word_embeddings")) && embed && head &&
        !same_matrix(&embed->view, &head->view))
        json_object_set_new(r->m->config, "tie_word_embeddings", json_false());
}

static int bind(struct pq_ov_reader *r)
{
    int rc = PQ_OK;
    const struct pq_ir *g = &r->ir->graph;
    struct pq_network *net = &r->m->net;
    PQ_TRY(pq_shadow_init(&r->shadow, r->m, g->n_layers + 1, r->a, r->e));
    r->entry = (struct pq_ov_entry *)pq_arena_alloc(r->a, g->n_layers + 1, sizeof *r->entry);
    r->undone = (bool *)pq_arena_alloc(r->a, g->n_layers + 1, sizeof *r->undone);
    if (!r->entry || !r->undone)
        PQ_TRY(pq_fail(r->e, PQ_ENOMEM, "%s: out of memory", r->m->path));
    for (size_t i = 0; i < g->n_layers; i++)
        PQ_TRY(add_layer(r, &g->layer[i]));
    PQ_TRY(check_awq(r));
    PQ_TRY(pq_shadow_sort(&r->shadow, r->e));
    untie(r);
    PQ_TRY(pq_network_bind(net, r->a, &r->shadow.ckpt, r->m->config, r->m->generation, r->e));
    for (size_t i = 0; i < net->n_tensors; i++)
        for (int k = 0; k < net->tensor[i].n_slices; k++) {
            struct pq_slice *s = &net->tensor[i].slice[k];
            s->view = find_entry(r, s->stored)->view;
        }
    PQ_TRY(pq_ov_check_rope(r));
out:
    return rc;
}

/* ---- the folder ---- */

static int ov_read(struct pq_model *m, struct pq_err *e)
{
    int rc = PQ_OK;
    struct pq_ov_reader r = {.m = m, .a = &m->arena, .e = e};
    PQ_TRY(pq_container_read_configs(m, e));
    json_object_del(m->config, "quantization_config");
    PQ_TRY(pq_ckpt_open(&m->ckpt, m->path, e));
    r.ir = m->ckpt->ir;
    if (!r.ir)
        PQ_TRY(
            pq_fail(e, PQ_EFORMAT, "%s: %s lies beside weights of another kind", m->path, MODEL));
    const char *name = pq_ir_info(&r.ir->graph, "phiq/name");
    m->name = name && *name ? name : pq_container_model_name(&m->arena, m->path, m->config);
    if (!m->name)
        PQ_TRY(pq_fail(e, PQ_ENOMEM, "%s: out of memory", m->path));
    PQ_TRY(bind(&r));
    PQ_TRY(pq_container_read_vocab(m, m->path, e));
    PQ_TRY(pq_container_read_sides(m, m->path, e));
out:
    return rc;
}

const struct pq_container pq_container_ov = {
    .name = "openvino",
    .about = "a folder for OpenVINO (IR and tokenizer)",
    .probe = ov_probe,
    .read = ov_read,
    .holds = pq_ov_holds,
    .recipes = pq_ov_recipes,
    .usual = {[PQ_FP32] = "f32",
              [PQ_FP16] = "f16",
              [PQ_PBF16] = "bf16",
              [PQ_INT8] = "uint8c",
              [PQ_INT4] = "uint4g64"},
    .place = pq_ov_place,
    .fit = pq_ov_fit,
    .plan = pq_ov_plan,
};
