/* A hash table from strings to token ids. Keys are borrowed. SPDX-License-Identifier: MIT */
#ifndef PQ_TOK_STRMAP_H
#define PQ_TOK_STRMAP_H

#include "base/mem.h"

#define PQ_STRMAP_NONE UINT32_MAX

struct pq_strmap {
    struct pq_strmap_slot {
        const char *key;
        uint32_t len, value;
    } * slot;
    size_t mask;
};

/* Room for n keys; there is no growing. PQ_ENOMEM when memory is out. */
int pq_strmap_init(struct pq_strmap *m, struct pq_arena *a, size_t n);
/* Returns the value that the key already has, or PQ_STRMAP_NONE after adding it. */
uint32_t pq_strmap_add(struct pq_strmap *m, const char *key, size_t len, uint32_t value);
uint32_t pq_strmap_get(const struct pq_strmap *m, const char *key, size_t len);

#endif
