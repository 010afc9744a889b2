/*
 * Attention over the cache: online softmax over blocks of keys at fixed positions, so that a
 * token's result does not depend on how many were computed with it. Queries of the heads that share
 * a key head go together. SPDX-License-Identifier: MIT
 */
#include "infer/state.h"

#include "base/num.h"

#include <math.h>
#include <string.h>

/* ---- rotation and the cache ---- */

/* The first half of the rotated dimensions with the second (as in transformers, not pair by pair).
 */
static void rotate(float *x, const float *turn, uint32_t half)
{
    for (uint32_t i = 0; i < half; i++) {
        float a = x[i], b = x[half + i], c = turn[i], s = turn[half + i];
        x[i] = a * c - b * s;
        x[half + i] = b * c + a * s;
    }
}

struct append {
    const struct pq_session *s;
    int layer;
    uint64_t first;
};

/* A head's key or value, filled up with zeros in a worker's memory. */
static void keep(const struct append *a, uint8_t *to, const float *x, int worker)
{
    const struct pq_session *s = a->s;
    const uint64_t d = s->hp->head_dim, step = s->cache.head_step;
    float *whole = s->attention + (uint64_t)worker * pq_attention_floats(s);
    memcpy(whole, x, d * sizeof *x);
    for (uint64_t i = d; i < step; i++)
        whole[i] = 0.0f;
    s->engine.compute->keep[s->cache.type](whole, step, to);
}

static void append_token(void *ctx, uint64_t t, int worker)
{
    const struct append *a = (const struct append *)ctx;
    const struct pq_session *s = a->s;
    const struct pq_hparams *hp = s->hp;
    const uint32_t d = hp->head_dim, half = hp->rot_dims / 2;
    const float *turn = s->turn + t * hp->rot_dims;
    float *q = s->qkv + t * (hp->n_heads + 2 * hp->n_kv_heads) * d, *k = q + hp->n_heads * d;
    for (uint32_t h = 0; h < hp->n_heads + hp->n_kv_heads; h++)
        rotate(q + h * d, turn, half);
    for (uint32_t h = 0; h < hp->n_kv_heads; h++) {
        const uint64_t at = pq_cache_at(&s->cache, a->first + t, h);
        keep(a, s->cache.k[a->layer] + at, k + h * d, worker);
        keep(a, s->cache.v[a->layer] + at, k + (hp->n_kv_heads + h) * d, worker);
    }
}

void pq_attention_append(const struct pq_session *s, int layer, uint64_t first, uint64_t n)
{
    struct append a = {s, layer, first};
    pq_pool_each(s->engine.pool, n, append_token, &a);
}

/* ---- attention ---- */

struct attention {
    const struct pq_session *s;
    int layer;
    uint64_t first, n;
};

/* A worker's memory: a row for each pair of a query's token and a head of the group. */
struct rows {
    uint64_t n, group, step;
    float *q, *acc;   /* [n][step] */
    float *p;         /* [n][PQ_KEY_BLOCK] */
    float *max, *sum; /* [n] */
};

static uint64_t most_rows(const struct pq_session *s)
{
    return PQ_QUERY_BLOCK * (s->hp->n_heads / s->hp->n_kv_heads);
}

uint64_t pq_attention_floats(const struct pq_session *s)
{
    return most_rows(s) * (2 * s->cache.head_step + PQ_KEY_BLOCK + 2);
}

static struct rows rows_of(const struct pq_session *s, int worker)
{
    uint64_t n = most_rows(s), step = s->cache.head_step;
    float *m = s->attention + (uint64_t)worker * pq_attention_floats(s);
    return (struct rows){.group = s->hp->n_heads / s->hp->n_kv_heads,
                         .step = step,
                         .q = m,
                         .acc = m + n * step,
                         .p = m + 2 * n * step,
                         .max = m + n * (2 * step + PQ_KEY_BLOCK),
                         .sum = m + n * (2 * step + PQ_KEY_BLOCK + 1)};
}

/* Queries of `tokens` tokens from the t0-th on, scaled, for one key head. */
static void gather(const struct pq_session *s, struct rows *r, uint64_t t0, uint64_t tokens,
                   uint64_t head)
{
    const struct pq_hparams *hp = s->hp;
    const uint32_t d = hp->head_dim;
    const float scale = (float)(1.0 / sqrt(d));
    r->n = tokens * r->group;
    for (uint64_t i = 0; i < r->n; i++) {
        const float *q = s->qkv + (t0 + i / r->group) * (hp->n_heads + 2 * hp->n_kv_heads) * d +
                         (head * r->group + i % r->group) * d;
        for (uint64_t j = 0; j < r->step; j++) {
            r->q[i * r->step + j] = j < d ? q[j] * scale : 0.0f;
            r->acc[i * r->step + j] = 0.0f;
        }
        r->max[i] = -INFINITY;
        r->sum[i] = 0.0f;
    }
}

/* Scores of row i for keys k0 to k0 + n - 1 become weights; those outside lo..hi-1 are not seen. */
static void soften(const struct pq_compute *c, struct rows *r, uint64_t i, uint64_t n, uint64_t lo,
                   uint64_t hi)
{
    float *p = r->p + i * PQ_KEY_BLOCK;
    for (uint64_t k = 0; k < n; k++)
        if (k < lo || k >= hi)
            p[k] = 0.0f;
    if (lo >= hi)
        return;
    float most = c->largest(p + lo, hi - lo), before = r->max[i];
    if (most > before) {
        r->max[i] = most;
        c->exp_sum(&before, 1, most);
        r->sum[i] *= before;
        for (uint64_t j = 0; j < r->step; j++)
            r->acc[i * r->step + j] *= before;
    }
    r->sum[i] += c->exp_sum(p + lo, hi - lo, r->max[i]);
}

static void key_block(const struct attention *a, struct rows *r, uint64_t head, uint64_t pos,
                      uint64_t k0)
{
    const struct pq_session *s = a->s;
    const struct pq_cache *c = &s->cache;
    const uint64_t last = pos + r->n / r->group, window = s->hp->sliding_window;
    const uint64_t n = last - k0 < PQ_KEY_BLOCK ? last - k0 : PQ_KEY_BLOCK;
    const uint64_t at = pq_cache_at(c, k0, head);
    const struct pq_dots d = {
        c->k[a->layer] + at, c->head_bytes, n, r->step, r->q, r->step, r->n, r->p, PQ_KEY_BLOCK};
    s->engine.compute->dots[c->type](&d);
    for (uint64_t i = 0; i < r->n; i++) {
        uint64_t seen = pos + i / r->group + 1; /* keys 0 to seen - 1 are not in the future */
        uint64_t from = window && seen > window ? seen - window : 0;
        soften(s->engine.compute, r, i, n, from > k0 ? from - k0 : 0,
               seen <= k0      ? 0
               : seen - k0 < n ? seen - k0
                               : n);
    }
    const struct pq_mix m = {c->v[a->layer] + at, c->head_bytes, n,      r->step, r->p,
                             PQ_KEY_BLOCK,        r->n,          r->acc, r->step};
    s->engine.compute->mix[c->type](&m);
}

static void attend(void *ctx, uint64_t item, int worker)
{
    const struct attention *a = (const struct attention *)ctx;
    const struct pq_session *s = a->s;
    const struct pq_hparams *hp = s->hp;
    const uint64_t head = item % hp->n_kv_heads, t0 = item / hp->n_kv_heads * PQ_QUERY_BLOCK;
    const uint64_t tokens = a->n - t0 < PQ_QUERY_BLOCK ? a->n - t0 : PQ_QUERY_BLOCK;
    const uint64_t pos = a->first + t0, window = hp->sliding_window;
    struct rows r = rows_of(s, worker);
    gather(s, &r, t0, tokens, head);
    uint64_t k0 = window && pos + 1 > window ? pos + 1 - window : 0;
    for (k0 -= k0 % PQ_KEY_BLOCK; k0 < pos + tokens; k0 += PQ_KEY_BLOCK)
        key_block(a, &r, head, pos, k0);
    for (uint64_t i = 0; i < r.n; i++) {
        float *out = s->att + ((t0 + i / r.group) * hp->n_heads + head * r.group + i % r.group) *
                                  hp->head_dim;
        for (uint32_t j = 0; j < hp->head_dim; j++)
            out[j] = r.acc[i * r.step + j] / r.sum[i];
    }
}

void pq_attention_run(const struct pq_session *s, int layer, uint64_t first, uint64_t n)
{
    struct attention a = {s, layer, first, n};
    pq_pool_each(s->engine.pool, pq_ceil_div(n, PQ_QUERY_BLOCK) * s->hp->n_kv_heads, attend, &a);
}
