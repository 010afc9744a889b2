/* Open addressing, at most half full. SPDX-License-Identifier: MIT */
#include "tok/strmap.h"
#include "base/hash.h"

#include <assert.h>
#include <string.h>

int pq_strmap_init(struct pq_strmap *m, struct pq_arena *a, size_t n)
{
    size_t size = 16;
    while (size < 2 * n)
        size *= 2;
    m->slot = (struct pq_strmap_slot *)pq_arena_alloc(a, size, sizeof *m->slot);
    m->mask = size - 1;
    return m->slot ? PQ_OK : PQ_ENOMEM;
}

static struct pq_strmap_slot *find(const struct pq_strmap *m, const char *key, size_t len)
{
    size_t i = (size_t)pq_hash(key, len, 0) & m->mask;
    while (m->slot[i].key && (m->slot[i].len != len || memcmp(m->slot[i].key, key, len)))
        i = (i + 1) & m->mask;
    return &m->slot[i];
}

uint32_t pq_strmap_add(struct pq_strmap *m, const char *key, size_t len, uint32_t value)
{
    assert(len <= UINT32_MAX);
    struct pq_strmap_slot *s = find(m, key, len);
    if (s->key)
        return s->value;
    *s = (struct pq_strmap_slot){key, (uint32_t)len, value};
    return PQ_STRMAP_NONE;
}

uint32_t pq_strmap_get(const struct pq_strmap *m, const char *key, size_t len)
{
    const struct pq_strmap_slot *s = find(m, key, len);
    return s->key ? s->value : PQ_STRMAP_NONE;
}
