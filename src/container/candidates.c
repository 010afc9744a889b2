/* Schemes among which a mix may choose. SPDX-License-Identifier: MIT */
#include "container/common.h"

/* The same grid as an earlier row of the table, with another type of scales: the container's fit
 * settles that. */
static bool is_variant(const struct pq_scheme *s)
{
    const struct pq_scheme *first;
    for (int i = 0; (first = pq_scheme_at(i)) != s; i++)
        if (first->family == s->family && first->aux != s->aux && s->aux < PQ_DTYPES &&
            pq_scheme_with_aux(first, s->aux) == s)
            return true;
    return false;
}

/* Elements of 16 bits: the source's own, halves where it has others. */
static enum pq_dtype half_of(const struct pq_tensor *t)
{
    return t->slice[0].view.scheme->dtype == PQ_BF16 ? PQ_BF16 : PQ_F16;
}

/* Integers in groups and k-quants. 4- and 8-bit floats and code books of 4 bits are for runtimes
 * that have kernels for them: they have to be asked for by name. */
static bool is_wanted(const struct pq_scheme *s, const struct pq_tensor *t)
{
    if (s->family == PQ_FAM_FLOAT)
        return s->dtype == half_of(t);
    return s->family == PQ_FAM_GGML || s->family == PQ_FAM_AFFINE || s->family == PQ_FAM_INT;
}

static bool is_listed(const struct pq_scheme *const *list, size_t n, const struct pq_scheme *s)
{
    for (size_t i = 0; i < n; i++)
        if (list[i] == s)
            return true;
    return false;
}

size_t pq_candidates(const struct pq_container *c, const struct pq_network *net, size_t tensor,
                     const struct pq_scheme *out[PQ_MAX_CANDIDATES])
{
    const struct pq_recipe *usual = pq_recipe_find(c, c->usual[PQ_INT4]);
    const struct pq_tensor *t = &net->tensor[tensor];
    const struct pq_scheme *s;
    size_t n = 0;
    for (int i = 0; (s = pq_scheme_at(i)); i++) {
        if (!c->holds(s) || !is_wanted(s, t) || is_variant(s) || t->cols % s->block)
            continue;
        const struct pq_scheme *form = c->fit(s, usual, net, tensor);
        if (form && form->family == s->family && !is_listed(out, n, form) && n < PQ_MAX_CANDIDATES)
            out[n++] = form;
    }
    return n;
}
