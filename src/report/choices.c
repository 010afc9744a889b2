/* What a report measures: every precision's usual recipe and notable ones of every container, what
 * the user named, or outputs that are there already. SPDX-License-Identifier: MIT */
#include "base/num.h"
#include "report/report.h"

#include <string.h>

const struct pq_notable pq_notables[] = {
    {"gguf", "q2_k"},         {"gguf", "q3_k_m"},       {"gguf", "iq4_xs"},
    {"gguf", "q4_0"},         {"gguf", "q4_k_s"},       {"gguf", "q5_k_m"},
    {"gguf", "q6_k"},         {"mlx", "affine3g64"},    {"mlx", "mixed_3_6"},
    {"mlx", "mxfp4"},         {"mlx", "affine4g32"},    {"mlx", "mixed_4_6"},
    {"mlx", "affine6g64"},    {"onnx", "int4g128"},     {"onnx", "uint4g32"},
    {"onnx", "int4_down"},    {"openvino", "int4g128"}, {"openvino", "nf4g64"},
    {"openvino", "uint4g32"}, {"openvino", "mxfp4"},    {NULL, NULL},
};

struct list {
    struct pq_choice *choice;
    size_t n, cap;
    struct pq_arena *arena;
};

static int no_memory(struct pq_err *e)
{
    return pq_fail(e, PQ_ENOMEM, "out of memory for the list of outputs");
}

/* What is there already is not added again. */
static int add(struct list *l, const struct pq_container *c, const struct pq_recipe *recipe,
               const char *precision)
{
    for (size_t i = 0; i < l->n; i++)
        if (l->choice[i].container == c && l->choice[i].recipe == recipe)
            return PQ_OK;
    if (l->n == l->cap) {
        const size_t cap = l->cap ? 2 * l->cap : 32;
        struct pq_choice *p = (struct pq_choice *)pq_arena_alloc(l->arena, cap, sizeof *p);
        if (!p)
            return PQ_ENOMEM;
        if (l->n)
            memcpy(p, l->choice, l->n * sizeof *p);
        l->choice = p;
        l->cap = cap;
    }
    l->choice[l->n++] = (struct pq_choice){c, recipe, precision, NULL, 0};
    return PQ_OK;
}

/* The precision whose usual recipe this is. */
static const char *precision_of(const struct pq_container *c, const struct pq_recipe *r)
{
    for (int p = 0; p < PQ_PRECISIONS; p++)
        if (c->usual[p] && !strcmp(c->usual[p], r->name))
            return pq_precision_name((enum pq_precision)p);
    return NULL;
}

static int add_named(struct list *l, const struct pq_container *c, const char *recipe)
{
    const struct pq_recipe *r = pq_recipe_find(c, recipe);
    return r ? add(l, c, r, precision_of(c, r)) : PQ_OK;
}

static int add_usual(struct list *l, const struct pq_container *c)
{
    int rc = PQ_OK;
    for (int p = 0; rc >= 0 && p < PQ_PRECISIONS; p++)
        if (c->usual[p])
            rc = add_named(l, c, c->usual[p]);
    for (const struct pq_notable *k = pq_notables; rc >= 0 && k->container; k++)
        if (!strcmp(k->container, c->name))
            rc = add_named(l, c, k->recipe);
    return rc;
}

/* ---- what the user named ---- */

/* A word of a list: all between commas. */
static const char *next_word(const char **at, struct pq_arena *a)
{
    const size_t n = strcspn(*at, ",");
    const char *word = pq_arena_strndup(a, *at, n);
    *at += n + ((*at)[n] == ',');
    return word;
}

static bool wanted(const struct pq_report_options *s, const struct pq_container *c)
{
    const size_t n = strlen(c->name);
    for (const char *p = s->targets; p && *p;) {
        const size_t k = strcspn(p, ",");
        if (k == n && !strncmp(p, c->name, n))
            return true;
        p += k + (p[k] == ',');
    }
    return !s->targets;
}

static int check_targets(const struct pq_report_options *s, struct pq_arena *a, struct pq_err *e)
{
    for (const char *at = s->targets; at && *at;) {
        const char *word = next_word(&at, a);
        if (!word)
            return no_memory(e);
        if (!pq_container_find(word))
            return pq_fail(e, PQ_EINVAL,
                           "unknown target \"%s\": expected gguf, mlx, onnx or openvino", word);
    }
    return PQ_OK;
}

static const char *usual_of(const struct pq_container *c, const char *precision)
{
    for (int p = 0; p < PQ_PRECISIONS; p++)
        if (!strcmp(precision, pq_precision_name((enum pq_precision)p)))
            return c->usual[p];
    return NULL;
}

/* "int4", "q4_k_m" or "gguf:q4_k_m", in every container that has it. */
static int add_word(struct list *l, const struct pq_report_options *s, const char *word,
                    struct pq_err *e)
{
    const char *colon = strchr(word, ':'), *name = colon ? colon + 1 : word;
    bool known = false;
    for (size_t i = 0; pq_containers[i]; i++) {
        const struct pq_container *c = pq_containers[i];
        if (!c->plan || (colon && (strlen(c->name) != (size_t)(colon - word) ||
                                   strncmp(c->name, word, strlen(c->name)) != 0)))
            continue;
        const char *recipe = usual_of(c, name) ? usual_of(c, name) : name;
        known = known || pq_recipe_find(c, recipe);
        if (wanted(s, c) && add_named(l, c, recipe) < 0)
            return no_memory(e);
    }
    if (!known)
        return pq_fail(e, PQ_EINVAL,
                       "\"%s\" is no precision (fp32, fp16, bf16, int8, int4) and no scheme: see "
                       "phiq schemes",
                       word);
    return PQ_OK;
}

static int given(struct list *l, const struct pq_report_options *s, struct pq_err *e)
{
    l->choice = (struct pq_choice *)pq_arena_alloc(l->arena, s->n_outputs, sizeof *l->choice);
    if (!l->choice)
        return no_memory(e);
    for (size_t i = 0; i < s->n_outputs; i++)
        l->choice[l->n++] = (struct pq_choice){.path = s->output[i]};
    return PQ_OK;
}

static int asked_for(struct list *l, const struct pq_report_options *s, struct pq_err *e)
{
    int rc = check_targets(s, l->arena, e);
    for (const char *at = s->precisions; rc >= 0 && at && *at;) {
        const char *word = next_word(&at, l->arena);
        rc = word ? add_word(l, s, word, e) : no_memory(e);
    }
    for (size_t i = 0; rc >= 0 && !s->precisions && pq_containers[i]; i++)
        if (pq_containers[i]->plan && wanted(s, pq_containers[i]) &&
            add_usual(l, pq_containers[i]) < 0)
            rc = no_memory(e);
    return rc;
}

int pq_choices_list(struct pq_choice **list, size_t *n, struct pq_arena *a,
                    const struct pq_report_options *s, struct pq_err *e)
{
    struct list l = {.arena = a};
    int rc = s->n_outputs ? given(&l, s, e) : asked_for(&l, s, e);
    if (rc >= 0 && !l.n)
        rc = pq_fail(e, PQ_EINVAL, "nothing to measure: %s holds none of \"%s\"",
                     s->targets ? s->targets : "no container", s->precisions ? s->precisions : "");
    *list = l.choice;
    *n = l.n;
    return rc;
}
