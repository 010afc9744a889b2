/*
 * Source "onnx": folders that phiq or onnxruntime-genai's model builder wrote. Ours say in the
 * metadata what the graph does not, the builder's in genai_config.json (onnx_builder.c).
 * SPDX-License-Identifier: MIT
 */
#include "container/onnx_reader.h"

#include <string.h>

static bool onnx_probe(const char *path)
{
    return pq_path_kind(path) == PQ_PATH_DIR && pq_container_has_file(path, PQ_ONNX_GENAI) &&
           pq_container_has_file(path, PQ_ONNX_MODEL);
}

/* What the binder knows nothing of. */
static void settle(const struct pq_onnx_reader *r, struct pq_slice *slice)
{
    const struct pq_onnx_entry *t = r->entry;
    while (strcmp(t->name, slice->stored))
        t++;
    for (int i = 1; i < PQ_MAX_PARTS; i++)
        slice->view.part[i] = t->data[i];
    slice->view.turned = t->turned;
}

static int bind(struct pq_onnx_reader *r)
{
    int rc = PQ_OK;
    const struct pq_onnx_graph *g = &r->onnx->graph;
    struct pq_network *net = &r->m->net;
    const size_t most = r->m->ckpt->n_tensors + 3 * g->n_nodes + 1;
    PQ_TRY(pq_shadow_init(&r->shadow, r->m, most, r->a, r->e));
    r->entry = (struct pq_onnx_entry *)pq_arena_alloc(r->a, most, sizeof *r->entry);
    if (!r->entry)
        PQ_TRY(pq_fail(r->e, PQ_ENOMEM, "%s: out of memory", r->m->path));
    for (size_t i = 0; i < g->n_nodes; i++)
        PQ_TRY(pq_onnx_add_node(r, &g->node[i]));
    if (!r->foreign)
        PQ_TRY(pq_onnx_add_own_floats(r));
    PQ_TRY(pq_shadow_sort(&r->shadow, r->e));
    PQ_TRY(pq_network_bind(net, r->a, &r->shadow.ckpt, r->m->config, r->m->generation, r->e));
    for (size_t i = 0; i < net->n_tensors; i++)
        for (int k = 0; k < net->tensor[i].n_slices; k++)
            settle(r, &net->tensor[i].slice[k]);
out:
    return rc;
}

/* ---- the folder ---- */

static int metadata(struct pq_onnx_reader *r, const char *key, json_t **out)
{
    const char *text = pq_onnx_meta(r->onnx, key);
    return text ? pq_json_parse(out, text, strlen(text), key, r->e) : PQ_OK;
}

static int read_config(struct pq_onnx_reader *r)
{
    struct pq_model *m = r->m;
    int rc = PQ_OK;
    PQ_TRY(metadata(r, PQ_ONNX_META_CONFIG, &m->config));
    PQ_TRY(metadata(r, PQ_ONNX_META_GENERATION, &m->generation));
    r->foreign = !m->config;
    if (r->foreign)
        PQ_TRY(pq_onnx_builder_config(m, &r->look, r->e));
    const char *name = pq_onnx_meta(r->onnx, "phiq.name");
    m->name = name && *name ? name : pq_container_model_name(&m->arena, m->path, m->config);
    if (!m->name)
        rc = pq_fail(r->e, PQ_ENOMEM, "%s: out of memory", m->path);
out:
    return rc;
}

static int onnx_read(struct pq_model *m, struct pq_err *e)
{
    int rc = PQ_OK;
    struct pq_onnx_reader r = {.m = m, .a = &m->arena, .e = e};
    PQ_TRY(pq_ckpt_open(&m->ckpt, m->path, e));
    r.onnx = m->ckpt->onnx;
    if (!r.onnx)
        PQ_TRY(pq_fail(e, PQ_EFORMAT, "%s: %s lies beside weights of another kind", m->path,
                       PQ_ONNX_MODEL));
    PQ_TRY(read_config(&r));
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
