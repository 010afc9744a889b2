/* Decides a scheme for every tensor of a network. SPDX-License-Identifier: MIT */
#include "container/common.h"

#include <string.h>

/* A scheme that the user named, with the words that name it. */
struct wish {
    const char *scheme;
    const char *from; /* "rule '*.down_proj.*'", "the embedding's scheme" */
};

static const struct pq_rule *matching_rule(const struct pq_request *r, const struct pq_tensor *t)
{
    for (size_t i = 0; i < r->n_rules; i++)
        if (pq_container_glob(r->rule[i].pattern, t->name))
            return &r->rule[i];
    return NULL;
}

/* With a tied head the embedding is the head as well: the head's wish counts when it stands alone.
 */
static struct wish wish_for(const struct pq_request *r, const struct pq_network *net,
                            const struct pq_tensor *t)
{
    const struct pq_rule *rule = matching_rule(r, t);
    if (rule)
        return (struct wish){rule->scheme, rule->pattern};
    if (t->role == PQ_ROLE_EMBED && r->embed_scheme)
        return (struct wish){r->embed_scheme, "the embedding"};
    if (t->role == PQ_ROLE_HEAD || (t->role == PQ_ROLE_EMBED && net->hp.tied))
        return (struct wish){r->head_scheme, "the output head"};
    return (struct wish){0};
}

bool pq_container_is_named(const struct pq_request *r, const struct pq_network *net,
                           const struct pq_tensor *t)
{
    return wish_for(r, net, t).scheme != NULL;
}

static const struct pq_scheme *named(const struct pq_container *c, const struct wish *w,
                                     const struct pq_tensor *t, struct pq_err *e)
{
    const struct pq_scheme *s = pq_scheme_find(w->scheme);
    if (!s)
        pq_fail(e, PQ_EINVAL, "%s: unknown scheme '%s'", w->from, w->scheme);
    else if (!c->holds(s))
        pq_fail(e, PQ_EINVAL, "%s: %s cannot hold scheme '%s'", w->from, c->name, s->name);
    else if (s->block && t->cols % s->block)
        pq_fail(e, PQ_EINVAL,
                "%s: scheme '%s' needs rows of a multiple of %u weights; %s has rows of %llu",
                w->from, s->name, s->block, t->name, (unsigned long long)t->cols);
    else
        return s;
    return NULL;
}

static int choose_one(const struct pq_container *c, const struct pq_model *m,
                      const struct pq_request *r, size_t i, const struct pq_scheme **out,
                      struct pq_err *e)
{
    const struct pq_tensor *t = &m->net.tensor[i];
    struct wish w = {0};
    if (pq_role_is_matrix(t->role))
        w = wish_for(r, &m->net, t);
    const struct pq_scheme *s =
        w.scheme ? named(c, &w, t, e) : c->place(r->recipe, &m->net, i, r->importance != NULL);
    if (!s)
        return w.scheme ? PQ_EINVAL
                        : pq_fail(e, PQ_EINVAL, "recipe '%s' has no scheme for %s in %s",
                                  r->recipe->name, t->name, c->name);
    *out = c->fit(s, r->recipe, &m->net, i);
    return *out ? PQ_OK
                : pq_fail(e, PQ_EUNSUPPORTED, "%s: %s has no form of '%s' for rows of %llu weights",
                          t->name, c->name, s->name, (unsigned long long)t->cols);
}

/* A rule that matches nothing is a typing error, and silence would hide it. */
static int check_rules(const struct pq_model *m, const struct pq_request *r, struct pq_err *e)
{
    for (size_t k = 0; k < r->n_rules; k++) {
        bool hit = false;
        for (size_t i = 0; i < m->net.n_tensors && !hit; i++)
            hit = pq_role_is_matrix(m->net.tensor[i].role) &&
                  pq_container_glob(r->rule[k].pattern, m->net.tensor[i].name);
        if (!hit)
            return pq_fail(e, PQ_EINVAL,
                           "rule '%s=%s' matches no matrix of this network (names are like %s)",
                           r->rule[k].pattern, r->rule[k].scheme,
                           m->net.n_tensors ? m->net.tensor[0].name : "none");
    }
    return PQ_OK;
}

int pq_choose(const struct pq_container *c, const struct pq_model *m, const struct pq_request *r,
              const struct pq_scheme **choice, struct pq_err *e)
{
    if (!r->recipe)
        return pq_fail(e, PQ_EINVAL, "%s: no recipe was chosen", c->name);
    int rc = check_rules(m, r, e);
    for (size_t i = 0; rc >= 0 && i < m->net.n_tensors; i++)
        rc = choose_one(c, m, r, i, &choice[i], e);
    const bool mixed = r->ratio > 0 && r->ratio < 1;
    return rc >= 0 && mixed ? pq_container_ratio(c, m, r, choice, e) : rc;
}
