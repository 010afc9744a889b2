/*
 * config.json of an MLX folder: the source's own, in the keys that mlx-lm's Phi models read
 * (mlx_lm/models/phi3.py, phi.py, rope_utils.py), with the quantization block of mlx_lm/utils.py.
 * SPDX-License-Identifier: MIT
 */
#include "container/common.h"

#include <math.h>
#include <string.h>

/* Written anew, or meant for code that is not in the folder. */
static const char *const dropped[] = {"quantization", "quantization_config", "rope_parameters",
                                      "dtype", "auto_map"};

static json_t *module_words(const struct pq_scheme *s)
{
    return json_pack("{s:I, s:I, s:s}", "group_size", (json_int_t)s->group, "bits",
                     (json_int_t)s->bits, "mode", pq_mlx_mode(s));
}

static bool same_layout(const struct pq_scheme *a, const struct pq_scheme *b)
{
    return a->group == b->group && a->bits == b->bits && !strcmp(pq_mlx_mode(a), pq_mlx_mode(b));
}

/* The width that stands at the top: the recipe's where it is used, else the first one used. */
static const struct pq_scheme *main_scheme(const struct pq_network *net, const struct pq_request *r,
                                           const struct pq_scheme *const *choice)
{
    const struct pq_scheme *base = pq_scheme_find(r->recipe->base), *first = NULL;
    for (size_t i = 0; i < net->n_tensors; i++)
        if (choice[i]->family != PQ_FAM_FLOAT && !first)
            first = choice[i];
    return first && base && base->family != PQ_FAM_FLOAT ? base : first;
}

/* Module paths are tensor names without ".weight"; only widths that differ need an entry. */
static json_t *quantization(const struct pq_network *net, const struct pq_request *r,
                            const struct pq_scheme *const *choice)
{
    const struct pq_scheme *top = main_scheme(net, r, choice);
    json_t *q = top ? module_words(top) : NULL;
    for (size_t i = 0; q && i < net->n_tensors; i++) {
        const char *name = net->tensor[i].name;
        if (choice[i]->family == PQ_FAM_FLOAT || same_layout(choice[i], top))
            continue;
        size_t n = strlen(name) - strlen(".weight");
        json_object_setn_new(q, name, n, module_words(choice[i]));
    }
    return q;
}

static void add_missing(json_t *to, const json_t *from)
{
    const char *key;
    json_t *v;
    void *it = json_object_iter((json_t *)(uintptr_t)from);
    for (; it; it = json_object_iter_next((json_t *)(uintptr_t)from, it)) {
        key = json_object_iter_key(it);
        v = json_object_iter_value(it);
        if (!json_object_get(to, key))
            json_object_set(to, key, v);
    }
}

/* phi3.py asks for `type`, one of "su" and "longrope", and always takes the long factors. */
static void settle_rope(json_t *config, const json_t *classic, const struct pq_request *r)
{
    json_t *rope = json_object_get(config, "rope_scaling");
    const char *type = json_string_value(json_object_get(rope, "type"));
    if (!type || (strcmp(type, "su") && strcmp(type, "longrope"))) {
        json_object_set_new(config, "rope_scaling",
                            json_deep_copy(json_object_get(classic, "rope_scaling")));
        rope = json_object_get(config, "rope_scaling");
    }
    if (r->context == PQ_CONTEXT_SHORT)
        json_object_set_new(rope, "long_factor",
                            json_deep_copy(json_object_get(rope, "short_factor")));
}

json_t *pq_mlx_config(const struct pq_model *m, const struct pq_request *r,
                      const struct pq_scheme *const *choice)
{
    json_t *out = m->config ? json_deep_copy(m->config) : json_object();
    json_t *classic = pq_network_config(&m->net);
    if (!out || !classic)
        goto out;
    for (size_t i = 0; i < PQ_LEN(dropped); i++)
        json_object_del(out, dropped[i]);
    add_missing(out, classic);
    if (m->net.hp.rope == PQ_ROPE_LONGROPE)
        settle_rope(out, classic, r);
    const char *type = pq_mlx_dtype_name(pq_mlx_floats(r->recipe, &m->net.hp));
    json_object_set_new(out, "torch_dtype", json_string(type));
    json_object_set_new(out, "_name_or_path", json_string(r->model_name ? r->model_name : m->name));
    if (r->mix)
        json_object_set_new(out, "phiq_mix", json_string(r->mix));
    json_t *q = quantization(&m->net, r, choice);
    if (q) {
        json_object_set(out, "quantization", q);
        json_object_set_new(out, "quantization_config", q);
    }
out:
    json_decref(classic);
    return out;
}

/* SuScaledRoPE scales by its own formula, the same for short and long factors. */
static bool formula_holds(const struct pq_hparams *hp)
{
    double max = hp->max_position, original = hp->original_max_position;
    double own = max > original ? sqrt(1 + log(max / original) / log(original)) : 1;
    return fabs(own - hp->attn_factor) <= 1e-6 * own;
}

int pq_mlx_check_rope(struct pq_plan *p, const struct pq_model *m, const struct pq_request *r,
                      struct pq_err *e)
{
    const struct pq_hparams *hp = &m->net.hp;
    if (hp->rope != PQ_ROPE_LONGROPE)
        return PQ_OK;
    if (!formula_holds(hp))
        return pq_fail(e, PQ_EUNSUPPORTED,
                       "%s: attention factor %g; mlx-lm computes another one from the context "
                       "lengths and cannot be told",
                       m->path, hp->attn_factor);
    const bool is_short = r->context == PQ_CONTEXT_SHORT;
    pq_container_note(
        p, pq_arena_printf(&p->arena,
                           "LongRoPE: mlx-lm always takes the long factors; this folder has the "
                           "%s ones there and is right for prompts of %s %u tokens%s",
                           is_short ? "short" : "long", is_short ? "up to" : "more than",
                           hp->original_max_position,
                           is_short ? "" : " (--context short writes the other kind)"));
    return PQ_OK;
}
