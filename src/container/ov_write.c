/*
 * Plans an OpenVINO folder: the model and its weights, the tokenizer and detokenizer graphs, and
 * the small files that openvino.genai and optimum-intel read. SPDX-License-Identifier: MIT
 */
#include "container/ov.h"

#include <string.h>

/* Nothing needs it; mapped weights are then aligned for vector loads and cache lines. */
#define ALIGN 64u

struct layout {
    struct pq_plan *p;
    const struct pq_model *m;
    const struct pq_request *r;
    struct pq_ov_build b;
    size_t capacity; /* of p->file */
};

enum { MODEL, WEIGHTS }; /* first files */

static int no_memory(struct pq_err *e)
{
    return pq_fail(e, PQ_ENOMEM, "out of memory while planning an OpenVINO folder");
}

/* ---- notes ---- */

static void note_rope(struct layout *l)
{
    const struct pq_hparams *hp = &l->m->net.hp;
    const unsigned n = hp->original_max_position;
    if (hp->rope != PQ_ROPE_LONGROPE)
        return;
    if (l->r->context == PQ_CONTEXT_AUTO)
        pq_container_note(l->p, pq_arena_printf(&l->p->arena,
                                                "LongRoPE: right for shorter and longer prompts; "
                                                "an answer that grows past %u tokens keeps the "
                                                "keys of the short factors",
                                                n));
    else
        pq_container_note(
            l->p, pq_arena_printf(&l->p->arena,
                                  "LongRoPE: the %s factors at every length; right for prompts "
                                  "of %s %u tokens",
                                  l->r->context == PQ_CONTEXT_SHORT ? "short" : "long",
                                  l->r->context == PQ_CONTEXT_SHORT ? "up to" : "more than", n));
}

/* ---- weights ---- */

static int place_weights(struct layout *l, const struct pq_scheme *const *choice, struct pq_err *e)
{
    const struct pq_network *net = &l->m->net;
    struct pq_plan *p = l->p;
    uint64_t at = 0;
    /* One more for the constants of the graph. */
    p->item = (struct pq_item *)pq_arena_alloc(&p->arena, net->n_tensors + 1, sizeof *p->item);
    if (!p->item)
        return no_memory(e);
    for (size_t i = 0; i < net->n_tensors; i++) {
        struct pq_item *it = &p->item[p->n_items++];
        pq_container_measure(it, &net->tensor[i], i, choice[i]);
        it->name = net->tensor[i].name;
        it->file = WEIGHTS;
        for (int k = 0; k < it->n_parts; k++) {
            it->at[k] = at;
            at = pq_round_up(at + it->bytes[k], ALIGN);
        }
    }
    l->b.g.consts_at = at;
    return PQ_OK;
}

/* The graph's own constants, behind the weights. */
static int place_consts(struct layout *l, struct pq_err *e)
{
    struct pq_plan *p = l->p;
    const struct pq_buf *c = &l->b.g.consts;
    char *copy = pq_arena_strndup(&p->arena, (const char *)c->data, c->len);
    if (!copy)
        return no_memory(e);
    p->item[p->n_items++] = (struct pq_item){.name = "constants of the graph",
                                             .file = WEIGHTS,
                                             .n_parts = 1,
                                             .at = {l->b.g.consts_at},
                                             .bytes = {c->len},
                                             .literal = copy};
    p->file[WEIGHTS].size = l->b.g.consts_at + c->len;
    return PQ_OK;
}

/* ---- what tools read in the document ---- */

/* NNCF's words for the scheme of most weights; NULL for element types. */
static const char *mode_of(const struct pq_scheme *s)
{
    if (s->family == PQ_FAM_FP)
        return "mxfp4";
    if (s->family == PQ_FAM_NF4)
        return "nf4";
    if (s->family != PQ_FAM_INT)
        return NULL;
    if (s->bits == 4)
        return s->symmetric ? "int4_sym" : "int4_asym";
    return s->symmetric ? "int8_sym" : "int8_asym";
}

static double ratio_of(const struct pq_request *r)
{
    return r->ratio > 0 ? r->ratio : 1;
}

static void add_compression(struct layout *l, const struct pq_scheme *base)
{
    struct pq_ov *g = &l->b.g;
    const bool pure = !strncmp(l->r->recipe->name, "pure-", 5) || base->bits == 8;
    pq_ov_info(g, "nncf/weight_compression/all_layers", pure ? "True" : "False");
    pq_ov_info(g, "nncf/weight_compression/awq", "False");
    pq_ov_info(g, "nncf/weight_compression/backup_mode", "int8_asym");
    pq_ov_info(g, "nncf/weight_compression/gptq", "False");
    pq_ov_info(g, "nncf/weight_compression/group_size",
               base->group ? pq_ov_name(g, "%u", base->group) : "-1");
    pq_ov_info(g, "nncf/weight_compression/mode", mode_of(base));
    pq_ov_info(g, "nncf/weight_compression/ratio", pq_ov_name(g, "%g", ratio_of(l->r)));
    pq_ov_info(g, "nncf/weight_compression/scale_estimation", "False");
}

static void add_info(struct layout *l)
{
    struct pq_ov *g = &l->b.g;
    const struct pq_request *r = l->r;
    const struct pq_scheme *base = pq_scheme_find(r->recipe->base);
    pq_ov_info(g, "conversion_parameters/framework", "phiq");
    pq_ov_info(g, "conversion_parameters/is_python_object", "False");
    if (mode_of(base))
        add_compression(l, base);
    pq_ov_info(g, "phiq/imatrix", r->imatrix_name ? r->imatrix_name : "none");
    pq_ov_info(g, "phiq/mix", r->mix ? r->mix : "none");
    pq_ov_info(g, "phiq/name", r->model_name ? r->model_name : l->m->name);
    pq_ov_info(g, "phiq/scheme", r->recipe->name);
    pq_ov_info(g, "phiq/solver", pq_solver_name(r->solver));
    pq_ov_info(g, "phiq/version", PQ_VERSION_STRING);
    /* Keeps activations of half-precision plugins in range, as optimum-intel's exports do. */
    pq_ov_info(g, "runtime_options/ACTIVATIONS_SCALE_FACTOR", "8.0");
    if (!mode_of(base)) /* what is exact in its weights wants a cache that is nearly so */
        pq_ov_info(g, "runtime_options/KV_CACHE_PRECISION", "f16");
}

static int add_model(struct layout *l, struct pq_err *e)
{
    struct pq_ov *g = &l->b.g;
    struct pq_out_file *f = &l->p->file[MODEL];
    pq_ov_graph(&l->b);
    add_info(l);
    if (g->failed)
        return no_memory(e);
    int rc = pq_ir_put(&f->doc, &g->ir, e);
    f->size = f->doc.len;
    return rc < 0 ? rc : place_consts(l, e);
}

/* ---- the other files ---- */

/* Quantization as optimum-intel's OVConfig keeps it. */
static json_t *optimum_config(const struct layout *l)
{
    const struct pq_scheme *base = pq_scheme_find(l->r->recipe->base);
    json_t *j = json_object();
    json_object_set_new(
        j, "dtype",
        json_string(mode_of(base) ? base->bits == 4 ? "int4" : "int8" : l->r->recipe->name));
    if (mode_of(base))
        json_object_set_new(j, "quantization_config",
                            json_pack("{s:i, s:b, s:i, s:f, s:s}", "bits", base->bits, "sym",
                                      (int)base->symmetric, "group_size",
                                      base->group ? (int)base->group : -1, "ratio", ratio_of(l->r),
                                      "quant_method", "default"));
    return j;
}

/* The source's own, without code that is not in the folder and without its quantization. */
static json_t *config_of(const struct pq_model *m)
{
    static const char *const dropped[] = {"auto_map", "quantization", "quantization_config"};
    json_t *j = json_deep_copy(m->config);
    for (size_t i = 0; j && i < PQ_LEN(dropped); i++)
        json_object_del(j, dropped[i]);
    return j;
}

int pq_ov_plan(struct pq_plan *p, const struct pq_model *m, const struct pq_request *r,
               const struct pq_scheme *const *choice, struct pq_err *e)
{
    int rc = PQ_OK;
    struct layout l = {.p = p, .m = m, .r = r, .capacity = m->n_sides + 11};
    l.b = (struct pq_ov_build){.m = m, .r = r, .g = {.a = &p->arena}};
    p->container = &pq_container_ov;
    p->dir = "openvino";
    p->whole_folder = true;
    p->file = (struct pq_out_file *)pq_arena_alloc(&p->arena, l.capacity, sizeof *p->file);
    if (!p->file)
        PQ_TRY(no_memory(e));
    p->file[MODEL].name = PQ_OV_MODEL ".xml";
    p->file[WEIGHTS].name = PQ_OV_MODEL ".bin";
    p->n_files = 2;
    if (!m->has_vocab)
        PQ_TRY(pq_fail(e, PQ_EINVAL,
                       "%s: no tokenizer was found beside the weights; OpenVINO GenAI cannot use "
                       "a model without one",
                       m->path));
    PQ_TRY(place_weights(&l, choice, e));
    l.b.item = p->item;
    PQ_TRY(add_model(&l, e));
    PQ_TRY(pq_container_add_json(p, l.capacity, "config.json", config_of(m), e));
    PQ_TRY(pq_container_add_json(p, l.capacity, "openvino_config.json", optimum_config(&l), e));
    PQ_TRY(pq_ov_add_tokenizer(p, l.capacity, m, e));
    PQ_TRY(pq_container_add_sides(p, l.capacity, m, e));
    note_rope(&l);
out:
    pq_ov_free(&l.b.g);
    return rc;
}
