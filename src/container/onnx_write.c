/*
 * Plans a folder for the ONNX Runtime generate() API: model.onnx, the weights beside it,
 * genai_config.json and the tokenizer files. SPDX-License-Identifier: MIT
 */
#include "container/onnx.h"

#include <string.h>

struct layout {
    struct pq_plan *p;
    const struct pq_model *m;
    const struct pq_request *r;
    struct pq_onnx_build b;
    size_t capacity; /* of p->file */
};

enum { MODEL, DATA }; /* first files */

static int no_memory(struct pq_err *e)
{
    return pq_fail(e, PQ_ENOMEM, "out of memory while planning an ONNX folder");
}

/* ---- what the runtime takes ---- */

/* The rules of GroupQueryAttention's kernels. */
static int check_attention(const struct pq_model *m, struct pq_err *e)
{
    const struct pq_hparams *hp = &m->net.hp;
    if (hp->head_dim % 16 || hp->rot_dims % 16)
        return pq_fail(e, PQ_EUNSUPPORTED,
                       "%s: heads of %u dimensions of which %u rotate: ONNX Runtime takes "
                       "multiples of 16",
                       m->path, hp->head_dim, hp->rot_dims);
    return PQ_OK;
}

static int check_source(struct layout *l, struct pq_err *e)
{
    const struct pq_model *m = l->m;
    if (!m->has_vocab)
        return pq_fail(e, PQ_EINVAL,
                       "%s: no tokenizer was found beside the weights; ONNX Runtime's generate() "
                       "API cannot use a model without one",
                       m->path);
    return check_attention(m, e);
}

static void note_rope(struct layout *l)
{
    const struct pq_hparams *hp = &l->m->net.hp;
    const unsigned n = hp->original_max_position;
    if (hp->rope != PQ_ROPE_LONGROPE)
        return;
    if (l->r->context != PQ_CONTEXT_AUTO) {
        const bool is_short = l->r->context == PQ_CONTEXT_SHORT;
        pq_container_note(l->p, pq_arena_printf(&l->p->arena,
                                                "LongRoPE: the %s factors at every length; right "
                                                "for prompts of %s %u tokens",
                                                is_short ? "short" : "long",
                                                is_short ? "up to" : "more than", n));
    } else if (n != 4096) {
        pq_container_note(l->p, pq_arena_printf(&l->p->arena,
                                                "LongRoPE: right for shorter and longer prompts; "
                                                "an answer that grows past %u tokens keeps the "
                                                "keys of the short factors, because the runtime "
                                                "computes them anew at 4096 only",
                                                n));
    }
}

/* ---- weights ---- */

/* The form in which the provider wants a tensor: the types of floats and of scales. */
static int settle(const struct layout *l, const struct pq_tensor *t, const struct pq_scheme **s,
                  struct pq_err *e)
{
    const struct pq_onnx_provider *p = l->b.provider;
    const bool matrix = pq_role_is_matrix(t->role);
    if ((*s)->family == PQ_FAM_FLOAT) {
        if (!matrix || !p->widens)
            *s = pq_scheme_of_dtype(l->b.floats);
        return PQ_OK;
    }
    if ((*s)->bits == 8 && !p->eight_bits && (t->role != PQ_ROLE_EMBED || l->m->net.hp.tied))
        return pq_fail(e, PQ_EUNSUPPORTED,
                       "%s: the provider %s multiplies 4-bit weights only: take --scheme "
                       "onnx:pure-int4g32, or --head f16",
                       t->name, p->name);
    *s = pq_scheme_with_aux(*s, l->b.floats);
    return *s ? PQ_OK : pq_fail(e, PQ_EUNSUPPORTED, "%s: no such scales in this scheme", t->name);
}

/* Small arrays lie together, before those that start where they can be mapped: no gap between a
 * norm and the matrix after it. */
static uint64_t place_parts(struct pq_plan *p, bool large, uint64_t at)
{
    for (size_t i = 0; i < p->n_items; i++) {
        struct pq_item *it = &p->item[i];
        for (int k = 0; k < it->n_parts; k++) {
            const uint64_t align = pq_onnx_align(it->bytes[k]);
            if (large != (align == PQ_ONNX_MAPPED))
                continue;
            it->at[k] = pq_round_up(at, align);
            at = it->at[k] + it->bytes[k];
        }
    }
    return at;
}

static int add_items(struct layout *l, const struct pq_scheme *const *choice, struct pq_err *e)
{
    const struct pq_network *net = &l->m->net;
    struct pq_plan *p = l->p;
    p->item = (struct pq_item *)pq_arena_alloc(&p->arena, net->n_tensors, sizeof *p->item);
    if (!p->item)
        return no_memory(e);
    for (size_t i = 0; i < net->n_tensors; i++) {
        struct pq_item *it = &p->item[p->n_items++];
        const struct pq_scheme *s = choice[i];
        int rc = settle(l, &net->tensor[i], &s, e);
        if (rc < 0)
            return rc;
        pq_container_measure(it, &net->tensor[i], i, s);
        it->name = net->tensor[i].name;
        it->file = DATA;
    }
    p->file[DATA].size = place_parts(p, true, place_parts(p, false, p->file[DATA].doc.len));
    return PQ_OK;
}

static int place_weights(struct layout *l, const struct pq_scheme *const *choice, struct pq_err *e)
{
    struct pq_plan *p = l->p;
    p->file[MODEL].name = PQ_ONNX_MODEL;
    p->file[DATA].name = PQ_ONNX_DATA;
    p->n_files = 2;
    int rc = pq_onnx_put_rope(&l->b.rope, &p->file[DATA].doc, &l->m->net.hp, l->r, l->b.floats, e);
    return rc < 0 ? rc : add_items(l, choice, e);
}

/* ---- the document ---- */

/* The text of a document, whose reference it takes; NULL without memory. */
static char *text_of(struct pq_arena *a, json_t *j)
{
    struct pq_buf b = {0};
    char *text = NULL;
    if (j && pq_json_print(&b, j, NULL) >= 0)
        text = pq_arena_strndup(a, (const char *)b.data, b.len);
    pq_buf_free(&b);
    json_decref(j);
    return text;
}

/* The hyperparameters in Hugging Face's words, and how the weights came about. */
static json_t *network_config(const struct pq_network *net)
{
    json_t *j = pq_network_config(net);
    if (j && net->hp.rope == PQ_ROPE_LONGROPE) /* the number itself, wherever it came from */
        json_object_set_new(json_object_get(j, "rope_scaling"), "attention_factor",
                            json_real(net->hp.attn_factor));
    return j;
}

static int add_meta(struct layout *l, struct pq_err *e)
{
    struct pq_arena *a = &l->p->arena;
    const struct pq_request *r = l->r;
    const struct pq_pair {
        const char *key, *value;
    } pairs[] = {
        {PQ_ONNX_META_CONFIG, text_of(a, network_config(&l->m->net))},
        {PQ_ONNX_META_GENERATION, text_of(a, l->m->generation ? json_incref(l->m->generation)
                                                              : pq_network_generation(&l->m->net))},
        {"phiq.name", r->model_name ? r->model_name : l->m->name},
        {"phiq.scheme", r->recipe->name},
        {"phiq.solver", pq_solver_name(r->solver)},
        {"phiq.provider", l->b.provider->name},
        {"phiq.imatrix", r->imatrix_name ? r->imatrix_name : "none"},
        {"phiq.mix", r->mix ? r->mix : "none"},
    };
    struct pq_onnx *m = &l->b.onnx;
    m->meta = (struct pq_onnx_pair *)pq_arena_alloc(a, PQ_LEN(pairs), sizeof *m->meta);
    if (!m->meta)
        return no_memory(e);
    for (size_t i = 0; i < PQ_LEN(pairs); i++) {
        if (!pairs[i].value)
            return no_memory(e);
        m->meta[m->n_meta++] = (struct pq_onnx_pair){pairs[i].key, pairs[i].value};
    }
    return PQ_OK;
}

/* Opset 17 (LayerNormalization) with IR version 8: ONNX Runtime 1.13 and later load it. */
static int add_model(struct layout *l, struct pq_err *e)
{
    struct pq_out_file *f = &l->p->file[MODEL];
    struct pq_onnx *m = &l->b.onnx;
    m->ir_version = 8;
    m->opset = 17;
    m->ms_opset = 1;
    m->producer = "phiq";
    m->producer_version = PQ_VERSION_STRING;
    int rc = add_meta(l, e);
    if (rc >= 0)
        rc = pq_onnx_graph(&l->b, e);
    if (rc >= 0)
        rc = pq_onnx_put(&f->doc, m, e);
    f->size = f->doc.len;
    return rc;
}

/* ---- the other files ---- */

/* Classes that all releases of onnxruntime-extensions know; what it does comes from tokenizer.json
 * in any case. transformers 5 writes others. */
static bool known_class(const char *name)
{
    static const char *const known[] = {"CodeGenTokenizer", "GPT2Tokenizer", "LlamaTokenizer",
                                        "PreTrainedTokenizer"};
    for (size_t i = 0; name && i < PQ_LEN(known); i++) {
        size_t n = strlen(known[i]);
        if (!strncmp(name, known[i], n) && (!name[n] || !strcmp(name + n, "Fast")))
            return true;
    }
    return false;
}

/* The file as it is, unless its class would stop an older runtime. */
static int add_tokenizer_config(struct layout *l, const struct pq_side *s, struct pq_err *e)
{
    json_t *j = NULL;
    int rc = pq_json_parse(&j, s->data, s->size, s->name, e);
    if (rc < 0)
        return rc;
    if (!known_class(json_string_value(json_object_get(j, "tokenizer_class")))) {
        const char *plain = l->m->vocab.kind == PQ_VOCAB_SPM ? "LlamaTokenizer" : "GPT2Tokenizer";
        json_object_set_new(j, "tokenizer_class", json_string(plain));
        return pq_container_add_json(l->p, l->capacity, s->name, j, e);
    }
    json_decref(j);
    return pq_container_add_file(l->p, l->capacity, s->name, s->data, s->size, e);
}

/* A vocabulary that came without files is written in the library's own form. */
static int add_missing(struct layout *l, bool has_json, bool has_config, struct pq_err *e)
{
    json_t *j = NULL;
    int rc = has_json ? PQ_OK : pq_vocab_tokenizer_json(&l->m->vocab, &j, e);
    if (rc >= 0 && !has_json)
        rc = pq_container_add_json(l->p, l->capacity, "tokenizer.json", j, e);
    j = NULL;
    if (rc < 0 || has_config)
        return rc;
    rc = pq_vocab_tokenizer_config(&l->m->vocab, &j, e);
    return rc < 0 ? rc : pq_container_add_json(l->p, l->capacity, "tokenizer_config.json", j, e);
}

static int add_tokenizer(struct layout *l, struct pq_err *e)
{
    int rc = PQ_OK;
    bool has_json = false, has_config = false;
    for (size_t i = 0; rc >= 0 && i < l->m->n_sides; i++) {
        const struct pq_side *s = &l->m->side[i];
        if (!strcmp(s->name, "generation_config.json"))
            continue; /* said in genai_config.json and in the metadata */
        const bool config = !strcmp(s->name, "tokenizer_config.json");
        has_json |= !strcmp(s->name, "tokenizer.json");
        has_config |= config;
        rc = config ? add_tokenizer_config(l, s, e)
                    : pq_container_add_file(l->p, l->capacity, s->name, s->data, s->size, e);
    }
    return rc < 0 ? rc : add_missing(l, has_json, has_config, e);
}

int pq_onnx_plan(struct pq_plan *p, const struct pq_model *m, const struct pq_request *r,
                 const struct pq_scheme *const *choice, struct pq_err *e)
{
    int rc = PQ_OK;
    struct layout l = {.p = p, .m = m, .r = r, .capacity = m->n_sides + 6};
    p->container = &pq_container_onnx;
    p->dir = "onnx";
    p->whole_folder = true;
    p->file = (struct pq_out_file *)pq_arena_alloc(&p->arena, l.capacity, sizeof *p->file);
    if (!p->file)
        return no_memory(e);
    l.b = (struct pq_onnx_build){.a = &p->arena, .m = m, .r = r};
    PQ_TRY(pq_onnx_provider_find(&l.b.provider, r->provider, e));
    PQ_TRY(pq_onnx_floats(&l.b.floats, l.b.provider, r->recipe, e));
    PQ_TRY(check_source(&l, e));
    PQ_TRY(place_weights(&l, choice, e));
    l.b.item = p->item;
    PQ_TRY(add_model(&l, e));
    PQ_TRY(pq_container_add_json(l.p, l.capacity, PQ_ONNX_GENAI, pq_onnx_genai(&l.b), e));
    PQ_TRY(add_tokenizer(&l, e));
    note_rope(&l);
out:
    return rc;
}
