/* Keys and values of what was read. SPDX-License-Identifier: MIT */
#include "infer/state.h"

#include "base/num.h"

static uint64_t token_bytes(const struct pq_cache *c)
{
    return (uint64_t)c->row * (c->type == PQ_KV_F16 ? 2 : 4);
}

int pq_cache_new(struct pq_session *s, enum pq_kv type, struct pq_err *e)
{
    struct pq_cache *c = &s->cache;
    c->type = type;
    c->head_step = (uint32_t)pq_round_up(s->hp->head_dim, 16);
    c->row = c->head_step * s->hp->n_kv_heads;
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
    enum { STEP = 256 };
    struct pq_cache *c = &s->cache;
    if (tokens <= c->cap)
        return PQ_OK;
    uint64_t cap = pq_round_up(tokens + tokens / 2, STEP), most = pq_round_up(s->context, STEP);
    cap = cap < most ? cap : most;
    for (uint32_t i = 0; i < s->hp->n_layers; i++) {
        int rc = grow(&c->k[i], cap, token_bytes(c), e);
        if (rc >= 0)
            rc = grow(&c->v[i], cap, token_bytes(c), e);
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
