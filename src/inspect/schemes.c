/* The tables of containers, recipes and schemes as a document. SPDX-License-Identifier: MIT */
#include "inspect/inspect.h"

static json_t *recipes_of(const struct pq_container *c)
{
    json_t *list = json_array();
    for (const struct pq_recipe *r = c->recipes; r->name; r++)
        json_array_append_new(list, json_pack("{s:s, s:s, s:s}", "name", r->name, "about", r->about,
                                              "base", r->base));
    return list;
}

static json_t *target_of(const struct pq_container *c)
{
    json_t *usual = json_object();
    for (int p = 0; p < PQ_PRECISIONS; p++)
        if (c->usual[p])
            json_object_set_new(usual, pq_precision_name((enum pq_precision)p),
                                json_string(c->usual[p]));
    return json_pack("{s:s, s:o, s:o}", "about", c->about, "usual", usual, "recipes",
                     recipes_of(c));
}

static json_t *scheme_row(const struct pq_scheme *s)
{
    json_t *held = json_array();
    for (size_t i = 0; pq_containers[i]; i++)
        if (pq_containers[i]->holds && pq_containers[i]->holds(s))
            json_array_append_new(held, json_string(pq_containers[i]->name));
    /* 7680 weights: a row that every block divides and that gives per-channel scales a length. */
    return json_pack("{s:s, s:f, s:o, s:b, s:s}", "name", s->name, "bits_per_weight",
                     pq_scheme_bpw(s, 7680), "held_by", held, "writable", s->encoder != PQ_ENC_NONE,
                     "about", s->about);
}

int pq_inspect_schemes(json_t **out, struct pq_err *e)
{
    json_t *targets = json_object(), *schemes = json_array();
    const struct pq_scheme *s;
    for (size_t i = 0; pq_containers[i]; i++)
        if (pq_containers[i]->plan)
            json_object_set_new(targets, pq_containers[i]->name, target_of(pq_containers[i]));
    for (int i = 0; (s = pq_scheme_at(i)) != NULL; i++)
        json_array_append_new(schemes, scheme_row(s));
    *out = json_pack("{s:o, s:o}", "targets", targets, "schemes", schemes);
    return *out ? PQ_OK : pq_fail(e, PQ_ENOMEM, "out of memory for the table of schemes");
}
