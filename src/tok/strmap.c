/* Open addressing, at most half full. SPDX-License-Identifier: MIT */
#include "tok/strmap.h"
#include "base/num.h"

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

/* The last 1 to 8 bytes, some of them twice. */
static uint64_t tail(const char *s, size_t n)
{
    if (n >= 4)
        return (uint64_t)pq_le32(s) << 32 | pq_le32(s + n - 4);
    return n ? (uint64_t)(uint8_t)s[0] << 16 | (uint64_t)(uint8_t)s[n / 2] << 8 | (uint8_t)s[n - 1]
             : 0;
}

/* Keys are short: a few steps of multiply and fold are faster than a checksum. */
static size_t hash(const char *s, size_t n)
{
    const uint64_t factor = 0x9e3779b97f4a7c15u;
    uint64_t h = n * factor;
    for (; n > 8; s += 8, n -= 8) {
        h = (h ^ pq_le64(s)) * factor;
        h ^= h >> 32;
    }
    h = (h ^ tail(s, n)) * factor;
    return (size_t)(h ^ h >> 32);
}

static struct pq_strmap_slot *find(const struct pq_strmap *m, const char *key, size_t len)
{
    size_t i = hash(key, len) & m->mask;
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
