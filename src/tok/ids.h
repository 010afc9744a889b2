/* A growing list of token ids. Zero-initialise to start. SPDX-License-Identifier: MIT */
#ifndef PQ_TOK_IDS_H
#define PQ_TOK_IDS_H

#include "base/mem.h"

struct pq_ids {
    uint32_t *id;
    size_t n, cap;
};

static inline bool pq_ids_room(struct pq_ids *l, size_t more)
{
    if (more <= l->cap - l->n)
        return true;
    size_t cap = l->cap < 64 ? 64 : l->cap;
    while (cap - l->n < more && cap < SIZE_MAX / 2)
        cap *= 2;
    uint32_t *grown = cap - l->n < more ? NULL : (uint32_t *)pq_realloc(l->id, cap, sizeof *l->id);
    if (!grown)
        return false;
    l->id = grown;
    l->cap = cap;
    return true;
}

static inline bool pq_ids_put(struct pq_ids *l, uint32_t id)
{
    if (l->n == l->cap && !pq_ids_room(l, 1))
        return false;
    l->id[l->n++] = id;
    return true;
}

static inline void pq_ids_free(struct pq_ids *l)
{
    pq_free(l->id);
    *l = (struct pq_ids){0};
}

#endif
