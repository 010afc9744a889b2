/* Keys and values of what was read. SPDX-License-Identifier: MIT */
#include "infer/state.h"

#include "base/num.h"

#include <string.h>

static const struct {
    const char *name;
    enum pq_dense stored;
    uint32_t unit, bytes; /* elements that are stored together, and their size */
} kinds[PQ_KV_TYPES] = {
    [PQ_KV_F16] = {"f16", PQ_DENSE_F16, 16, 32},
    [PQ_KV_F32] = {"f32", PQ_DENSE_F32, 16, 64},
    [PQ_KV_INT8] = {"int8", PQ_DENSE_Q8, PQ_Q8_BLOCK, PQ_Q8_BYTES},
};

int pq_kv_find(enum pq_kv *out, const char *name, struct pq_err *e)
{
    for (int i = 0; i < PQ_KV_TYPES; i++)
        if (!strcmp(name, kinds[i].name)) {
            *out = (enum pq_kv)i;
            return PQ_OK;
        }
    return pq_fail(e, PQ_EINVAL, "keys and values as \"%s\": expected f16, f32 or int8", name);
}

uint64_t pq_cache_token_bytes(const struct pq_cache *c)
{
    return c->heads * c->head_bytes;
}

uint64_t pq_cache_at(const struct pq_cache *c, uint64_t token, uint64_t head)
{
    const uint64_t block = token / PQ_KEY_BLOCK, place = token % PQ_KEY_BLOCK;
    return ((block * c->heads + head) * PQ_KEY_BLOCK + place) * c->head_bytes;
}

int pq_cache_new(struct pq_session *s, enum pq_kv type, struct pq_err *e)
{
    struct pq_cache *c = &s->cache;
    const uint64_t units = pq_ceil_div(s->hp->head_dim, kinds[type].unit);
    c->type = kinds[type].stored;
    c->head_step = (uint32_t)units * kinds[type].unit;
    c->head_bytes = units * kinds[type].bytes;
    c->heads = s->hp->n_kv_heads;
    c->k = (uint8_t **)pq_arena_alloc(&s->arena, s->hp->n_layers, sizeof *c->k);
    c->v = (uint8_t **)pq_arena_alloc(&s->arena, s->hp->n_layers, sizeof *c->v);
    return c->k && c->v ? PQ_OK : pq_fail(e, PQ_ENOMEM, "out of memory for keys and values");
}

static int grow(uint8_t **p, uint64_t tokens, uint64_t size, struct pq_err *e)
{
    uint8_t *grown = (uint8_t *)pq_realloc(*p, (size_t)tokens, (size_t)size);
    if (!grown)
        return pq_fail(e, PQ_ENOMEM, "out of memory for keys and values of %llu tokens",
                       (unsigned long long)tokens);
    *p = grown;
    return PQ_OK;
}

int pq_cache_room(struct pq_session *s, uint64_t tokens, struct pq_err *e)
{
    struct pq_cache *c = &s->cache;
    if (tokens <= c->cap)
        return PQ_OK;
    uint64_t cap = pq_round_up(tokens + tokens / 2, PQ_KEY_BLOCK),
             most = pq_round_up(s->context, PQ_KEY_BLOCK);
    cap = cap < most ? cap : most;
    for (uint32_t i = 0; i < s->hp->n_layers; i++) {
        int rc = grow(&c->k[i], cap, pq_cache_token_bytes(c), e);
        if (rc >= 0)
            rc = grow(&c->v[i], cap, pq_cache_token_bytes(c), e);
        if (rc < 0)
            return rc; /* what has grown stays; cap says what all have */
    }
    c->cap = cap;
    return PQ_OK;
}

void pq_cache_free(struct pq_session *s)
{
    for (uint32_t i = 0; s->cache.v && i < s->hp->n_layers; i++) {
        pq_free(s->cache.k[i]);
        pq_free(s->cache.v[i]);
    }
}
