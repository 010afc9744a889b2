/* A checkpoint under other names, see common.h. SPDX-License-Identifier: MIT */
#include "container/common.h"

#include <stdlib.h>
#include <string.h>

int pq_shadow_init(struct pq_shadow *s, const struct pq_model *m, size_t capacity,
                   struct pq_arena *a, struct pq_err *e)
{
    *s = (struct pq_shadow){.capacity = capacity};
    s->ckpt.path = m->ckpt->path;
    s->ckpt.kind = m->ckpt->kind;
    s->ckpt.tensor = (struct pq_stored *)pq_arena_alloc(a, capacity, sizeof *s->ckpt.tensor);
    return s->ckpt.tensor ? PQ_OK : pq_fail(e, PQ_ENOMEM, "%s: out of memory", m->path);
}

struct pq_stored *pq_shadow_add(struct pq_shadow *s)
{
    return s->ckpt.n_tensors < s->capacity ? &s->ckpt.tensor[s->ckpt.n_tensors++] : NULL;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct pq_stored *)a)->name, ((const struct pq_stored *)b)->name);
}

int pq_shadow_sort(struct pq_shadow *s, struct pq_err *e)
{
    struct pq_stored *t = s->ckpt.tensor;
    const size_t n = s->ckpt.n_tensors;
    qsort(t, n, sizeof *t, by_name);
    for (size_t i = 1; i < n; i++)
        if (!strcmp(t[i - 1].name, t[i].name))
            return pq_fail(e, PQ_EFORMAT, "%s: two arrays stand for %s", t[i].file, t[i].name);
    return PQ_OK;
}
