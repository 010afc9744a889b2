/* Turns the words of the options into targets: which containers, which recipe and rules for each.
 * SPDX-License-Identifier: MIT */
#include "base/num.h"
#include "convert/convert.h"

#include <stdio.h>

static int no_memory(struct pq_err *e)
{
    return pq_fail(e, PQ_ENOMEM, "out of memory while planning");
}

/* Names of all writers: "gguf, mlx". */
static const char *writers(struct pq_arena *a)
{
    struct pq_buf b = {0};
    for (size_t i = 0; pq_containers[i]; i++)
        if (pq_containers[i]->plan)
            pq_buf_printf(&b, "%s%s", b.len ? ", " : "", pq_containers[i]->name);
    char *s = pq_arena_strndup(a, (const char *)b.data, b.len);
    pq_buf_free(&b);
    return s ? s : "";
}

static const char *recipe_names(struct pq_arena *a, const struct pq_container *c)
{
    struct pq_buf b = {0};
    for (const struct pq_recipe *r = c->recipes; r->name; r++)
        pq_buf_printf(&b, "%s%s", b.len ? ", " : "", r->name);
    char *s = pq_arena_strndup(a, (const char *)b.data, b.len);
    pq_buf_free(&b);
    return s ? s : "";
}

/* The next comma-separated word of *list, without blanks around it; NULL at the end. */
static char *next_word(struct pq_arena *a, const char **list)
{
    const char *s = *list;
    while (*s == ',' || *s == ' ')
        s++;
    if (!*s)
        return NULL;
    size_t n = strcspn(s, ",");
    *list = s + n;
    while (n && s[n - 1] == ' ')
        n--;
    return pq_arena_strndup(a, s, n);
}

/* "TARGET:rest" for this container -> rest; for another container -> NULL; without a known target
 * in front -> the whole word. */
static const char *for_target(const struct pq_container *c, const char *word)
{
    const char *colon = strchr(word, ':');
    if (!colon)
        return word;
    for (size_t i = 0; pq_containers[i]; i++) {
        const char *name = pq_containers[i]->name;
        if (strlen(name) == (size_t)(colon - word) && !strncmp(name, word, strlen(name)))
            return pq_containers[i] == c ? colon + 1 : NULL;
    }
    return word;
}

static int precision_of(enum pq_precision *p, const char *name, struct pq_err *e)
{
    for (int i = 0; i < PQ_PRECISIONS; i++)
        if (!strcmp(name, pq_precision_name((enum pq_precision)i))) {
            *p = (enum pq_precision)i;
            return PQ_OK;
        }
    return pq_fail(e, PQ_EINVAL,
                   "unknown precision \"%s\": expected int4, int8, fp16, bf16 or fp32", name);
}

/* The recipe like `usual` but with other groups, or with or without zero points; NULL if none. */
static const struct pq_recipe *adjusted(const struct pq_container *c, const char *usual,
                                        const struct pq_quantize_options *o)
{
    const struct pq_recipe *r = usual ? pq_recipe_find(c, usual) : NULL;
    const struct pq_scheme *like = r ? pq_scheme_find(r->base) : NULL;
    if (!like || (!o->group_size && !o->symmetry))
        return r;
    const bool symmetric = o->symmetry ? o->symmetry > 0 : like->symmetric;
    const uint32_t group = o->group_size > 0 ? (uint32_t)o->group_size
                           : o->group_size   ? 0
                                             : like->group;
    for (r = c->recipes; r->name; r++) {
        const struct pq_scheme *s = pq_scheme_find(r->base);
        if (s->family != PQ_FAM_FLOAT && s->bits == like->bits && s->group == group &&
            s->symmetric == symmetric)
            return r;
    }
    return NULL;
}

static int no_recipe(struct pq_run *r, const struct pq_container *c, const char *name,
                     struct pq_err *e)
{
    const struct pq_quantize_options *o = r->opt;
    const char *p = o->precision ? o->precision : "int4";
    if (name || (!o->group_size && !o->symmetry))
        return pq_fail(e, PQ_EINVAL, "%s has no scheme \"%s\": it has %s", c->name, name ? name : p,
                       recipe_names(&r->arena, c));
    return pq_fail(e, PQ_EINVAL, "%s has no %s scheme with this group size%s: it has %s", c->name,
                   p,
                   o->symmetry > 0   ? " and without zero points"
                   : o->symmetry < 0 ? " and with zero points"
                                     : "",
                   recipe_names(&r->arena, c));
}

static int pick_recipe(struct pq_run *r, struct pq_target *t, struct pq_err *e)
{
    const struct pq_quantize_options *o = r->opt;
    const char *list = o->scheme ? o->scheme : "", *word, *mine, *name = NULL;
    while ((word = next_word(&r->arena, &list)))
        if ((mine = for_target(t->container, word)) && !name)
            name = mine;
    enum pq_precision p = PQ_INT4;
    int rc = name ? PQ_OK : precision_of(&p, o->precision ? o->precision : "int4", e);
    if (rc < 0)
        return rc;
    t->request.recipe = name ? pq_recipe_find(t->container, name)
                             : adjusted(t->container, t->container->usual[p], o);
    return t->request.recipe ? PQ_OK : no_recipe(r, t->container, name, e);
}

/* Splits "PATTERN=SCHEME" at the last '='. */
static int parse_rule(struct pq_run *r, const char *text, struct pq_rule *rule, struct pq_err *e)
{
    const char *eq = strrchr(text, '=');
    if (!eq || eq == text || !eq[1])
        return pq_fail(e, PQ_EINVAL, "tensor rule \"%s\": expected PATTERN=SCHEME", text);
    rule->pattern = pq_arena_strndup(&r->arena, text, (size_t)(eq - text));
    rule->scheme = pq_arena_strdup(&r->arena, eq + 1);
    if (!rule->pattern || !rule->scheme)
        return no_memory(e);
    if (!pq_scheme_find(rule->scheme))
        return pq_fail(e, PQ_EINVAL, "tensor rule \"%s\": unknown scheme \"%s\" (see phiq schemes)",
                       text, rule->scheme);
    return PQ_OK;
}

static int pick_rules(struct pq_run *r, struct pq_target *t, struct pq_err *e)
{
    const struct pq_quantize_options *o = r->opt;
    struct pq_rule *rule =
        (struct pq_rule *)pq_arena_alloc(&r->arena, o->n_rules + 1, sizeof *rule);
    if (!rule)
        return no_memory(e);
    for (size_t i = 0; i < o->n_rules; i++) {
        const char *mine = for_target(t->container, o->rule[i]);
        if (!mine)
            continue;
        int rc = parse_rule(r, mine, &rule[t->request.n_rules], e);
        if (rc < 0)
            return rc;
        t->request.n_rules++;
    }
    t->request.rule = rule;
    return PQ_OK;
}

static int known_scheme(const char *option, const char *name, struct pq_err *e)
{
    return !name || pq_scheme_find(name)
               ? PQ_OK
               : pq_fail(e, PQ_EINVAL, "%s: unknown scheme \"%s\" (see phiq schemes)", option,
                         name);
}

static int fill_request(struct pq_run *r, struct pq_target *t, struct pq_err *e)
{
    int rc = PQ_OK;
    const struct pq_quantize_options *o = r->opt;
    struct pq_request *q = &t->request;
    PQ_TRY(pick_recipe(r, t, e));
    PQ_TRY(pick_rules(r, t, e));
    PQ_TRY(known_scheme("--embed", o->embed, e));
    PQ_TRY(known_scheme("--head", o->head, e));
    q->embed_scheme = o->embed;
    q->head_scheme = o->head;
    q->split_max_bytes = o->split_max_bytes;
    q->model_name = o->name;
    q->provider = o->provider;
    q->ratio = o->ratio;
    q->solver = r->solver;
    q->context = !o->context                    ? PQ_CONTEXT_AUTO
                 : !strcmp(o->context, "short") ? PQ_CONTEXT_SHORT
                                                : PQ_CONTEXT_LONG;
    if (o->context && strcmp(o->context, "short") && strcmp(o->context, "long")) {
        rc = pq_fail(e, PQ_EINVAL, "unknown context \"%s\": expected short or long", o->context);
        goto out;
    }
    if (r->imatrix.importance) {
        q->importance = r->imatrix.importance;
        q->imatrix_name = pq_path_base(o->imatrix ? o->imatrix : o->calibration);
        q->imatrix_entries = r->imatrix.n_entries;
        q->imatrix_chunks = r->imatrix.n_chunks;
        q->imatrix_dataset = r->imatrix.dataset;
    }
out:
    return rc;
}

static int add_target(struct pq_run *r, const char *word, struct pq_err *e)
{
    const struct pq_container *c = pq_container_find(word);
    if (!c)
        return pq_fail(e, PQ_EINVAL, "unknown target \"%s\": phiq writes %s", word,
                       writers(&r->arena));
    for (size_t i = 0; i < r->n_targets; i++)
        if (r->target[i].container == c)
            return pq_fail(e, PQ_EINVAL, "target \"%s\" is named twice", word);
    struct pq_target *t = &r->target[r->n_targets];
    *t = (struct pq_target){.container = c};
    int rc = fill_request(r, t, e);
    if (rc >= 0)
        r->n_targets++;
    return rc;
}

/* A target named in --scheme or --tensor that is not written would be a silent no-op: refuse it. */
static int check_prefixes(struct pq_run *r, const char *text, const char *option, struct pq_err *e)
{
    for (size_t i = 0; pq_containers[i]; i++) {
        const char *name = pq_containers[i]->name;
        size_t n = strlen(name);
        bool wanted = false;
        for (size_t t = 0; t < r->n_targets; t++)
            wanted |= r->target[t].container == pq_containers[i];
        if (!strncmp(text, name, n) && text[n] == ':' && !wanted)
            return pq_fail(e, PQ_EINVAL, "%s names the target %s, which --to does not", option,
                           name);
    }
    return PQ_OK;
}

/* Likewise an option of one container. (--context is right with any model: where there is one set
 * of rope factors, it suits short and long prompts.) */
static int check_provider(const struct pq_run *r, struct pq_err *e)
{
    bool onnx = false;
    for (size_t i = 0; i < r->n_targets; i++)
        onnx |= !strcmp(r->target[i].container->name, "onnx");
    return !r->opt->provider || onnx
               ? PQ_OK
               : pq_fail(e, PQ_EINVAL, "--provider is for ONNX folders, which --to does not name");
}

int pq_run_targets(struct pq_run *r, struct pq_err *e)
{
    int rc = PQ_OK;
    const struct pq_quantize_options *o = r->opt;
    size_t n = 0;
    while (pq_containers[n])
        n++;
    r->target = (struct pq_target *)pq_arena_alloc(&r->arena, n, sizeof *r->target);
    if (!r->target)
        return no_memory(e);
    const char *list = o->targets ? o->targets : "", *word;
    while ((word = next_word(&r->arena, &list)))
        PQ_TRY(add_target(r, word, e));
    if (!r->n_targets) {
        rc = pq_fail(e, PQ_EINVAL, "no target: name one or more of %s with --to",
                     writers(&r->arena));
        goto out;
    }
    list = o->scheme ? o->scheme : "";
    while ((word = next_word(&r->arena, &list)))
        PQ_TRY(check_prefixes(r, word, "--scheme", e));
    for (size_t i = 0; i < o->n_rules; i++)
        PQ_TRY(check_prefixes(r, o->rule[i], "--tensor", e));
    PQ_TRY(check_provider(r, e));
out:
    return rc;
}
