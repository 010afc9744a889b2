/* Sessions: memory, what was read, and the switch of LongRoPE. SPDX-License-Identifier: MIT */
#include "infer/state.h"

#include "base/num.h"

enum { USUAL_BATCH = 256 };

static uint64_t widest(const struct pq_network *net)
{
    uint64_t most = 0;
    for (size_t i = 0; i < net->n_tensors; i++)
        most = net->tensor[i].cols > most ? net->tensor[i].cols : most;
    return most;
}

/* Memory for n x m things; a failure sticks in *failed. */
static void *room(struct pq_session *s, uint64_t n, uint64_t m, size_t size, bool *failed)
{
    uint64_t all;
    void *p = NULL;
    if (pq_mul_u64(n, m, &all) && all <= SIZE_MAX)
        p = pq_arena_alloc(&s->arena, (size_t)all, size);
    *failed |= !p;
    return p;
}

static float *floats(struct pq_session *s, uint64_t n, uint64_t m, bool *failed)
{
    return (float *)room(s, n, m, sizeof(float), failed);
}

/* Rows of codes, for groups of 16 columns and more. */
static void strip_memory(struct pq_session *s, uint64_t threads, bool *failed)
{
    struct pq_engine *g = &s->engine;
    const uint64_t step = pq_round_up(g->max_cols, PQ_STRIP_STEP), groups = step / 16;
    g->strip = (struct pq_strip *)room(s, threads, 1, sizeof *g->strip, failed);
    for (uint64_t i = 0; i < threads && !*failed; i++) {
        g->strip[i].q = (uint8_t *)room(s, PQ_STRIP_ROWS, step, 1, failed);
        g->strip[i].scale = floats(s, PQ_STRIP_ROWS, groups, failed);
        g->strip[i].offset = floats(s, PQ_STRIP_ROWS, groups, failed);
    }
}

/* The same turned round, and rounded activations. */
static void integer_memory(struct pq_session *s, uint64_t threads, bool *failed)
{
    struct pq_engine *g = &s->engine;
    const uint64_t step = pq_round_up(g->max_cols, PQ_STRIP_STEP), groups = step / 16;
    g->tile = (struct pq_tile *)room(s, threads, 1, sizeof *g->tile, failed);
    for (uint64_t i = 0; i < threads && !*failed; i++) {
        g->tile[i].q = (uint8_t *)room(s, PQ_STRIP_ROWS, step, 1, failed);
        g->tile[i].scale = floats(s, PQ_STRIP_ROWS, groups, failed);
        g->tile[i].offset = floats(s, PQ_STRIP_ROWS, groups, failed);
    }
    g->acts.q = (int8_t *)room(s, s->batch, step, 1, failed);
    g->acts.scale = floats(s, s->batch, step / PQ_ACT_BLOCK, failed);
    g->acts.start = (int32_t *)room(s, s->batch, groups, sizeof *g->acts.start, failed);
    g->acts.sum = (int32_t *)room(s, s->batch, groups, sizeof *g->acts.sum, failed);
    g->acts.shift = floats(s, s->batch, groups, failed);
}

static int memory(struct pq_session *s, struct pq_err *e)
{
    const struct pq_hparams *hp = s->hp;
    const uint64_t wide = (uint64_t)hp->n_heads * hp->head_dim, b = s->batch;
    const uint64_t threads = (uint64_t)pq_pool_threads(s->engine.pool);
    bool failed = false;
    s->up_step = hp->ff * (hp->act == PQ_ACT_SILU ? 2ull : 1ull);
    s->inv_freq = floats(s, hp->rot_dims / 2, 1, &failed);
    s->turn = floats(s, b, hp->rot_dims, &failed);
    s->h = floats(s, b, hp->hidden, &failed);
    s->x = floats(s, b, hp->hidden, &failed);
    s->qkv = floats(s, b, wide + 2ull * hp->n_kv_heads * hp->head_dim, &failed);
    s->att = floats(s, b, wide, &failed);
    s->up = floats(s, b, s->up_step, &failed);
    s->logits = floats(s, hp->vocab, 1, &failed);
    s->attention = floats(s, threads, pq_attention_floats(s), &failed);
    s->engine.max_cols = widest(&s->model->net);
    s->engine.scratch = floats(s, threads * PQ_STRIP_ROWS, s->engine.max_cols, &failed);
    strip_memory(s, threads, &failed);
    if (s->engine.fast)
        integer_memory(s, threads, &failed);
    return failed ? pq_fail(e, PQ_ENOMEM, "%s: out of memory for %llu tokens at once",
                            s->model->path, (unsigned long long)b)
                  : PQ_OK;
}

static int configure(struct pq_session *s, const struct pq_session_setup *setup, struct pq_err *e)
{
    const uint32_t limit = s->hp->max_position;
    s->context = setup->context ? setup->context : limit;
    s->batch = setup->batch ? setup->batch : USUAL_BATCH;
    if (s->context > limit)
        return pq_fail(e, PQ_EINVAL, "%s: a context of %u tokens, the model was made for %u",
                       s->model->path, s->context, limit);
    s->batch = s->batch < s->context ? s->batch : s->context;
    s->engine.fast = setup->fast;
    s->on_inputs = setup->on_inputs;
    s->inputs_ctx = setup->ctx;
    s->engine.kern = pq_kern_best(NULL);
    s->engine.compute = pq_compute_best(setup->cpu);
    if (!s->engine.compute)
        return pq_fail(e, PQ_EINVAL, "unknown instruction set \"%s\"", setup->cpu);
    return PQ_OK;
}

int pq_session_new(struct pq_session **out, const struct pq_model *m,
                   const struct pq_session_setup *setup, struct pq_err *e)
{
    int rc = PQ_OK;
    *out = NULL;
    struct pq_session *s = (struct pq_session *)pq_calloc(1, sizeof *s);
    if (!s)
        return pq_fail(e, PQ_ENOMEM, "%s: out of memory", m->path);
    s->model = m;
    s->hp = &m->net.hp;
    PQ_TRY(configure(s, setup, e));
    PQ_TRY(pq_pool_new(&s->engine.pool, setup->threads, e));
    PQ_TRY(pq_cache_new(s, setup->kv, e));
    PQ_TRY(memory(s, e));
    PQ_TRY(pq_session_bind(s, e));
    pq_rope_begin(s, false);
    *out = s;
    s = NULL;
out:
    pq_session_free(s);
    return rc;
}

void pq_session_free(struct pq_session *s)
{
    if (!s)
        return;
    pq_pool_free(s->engine.pool);
    pq_cache_free(s);
    pq_ids_free(&s->ids);
    pq_arena_free(&s->arena);
    pq_free(s);
}

const struct pq_hparams *pq_session_hparams(const struct pq_session *s)
{
    return s->hp;
}

uint32_t pq_session_context(const struct pq_session *s)
{
    return s->context;
}

size_t pq_session_length(const struct pq_session *s)
{
    return s->ids.n;
}

const uint32_t *pq_session_ids(const struct pq_session *s)
{
    return s->ids.id;
}

const float *pq_session_logits(const struct pq_session *s)
{
    return s->logits;
}

void pq_session_keep(struct pq_session *s, size_t n)
{
    s->ids.n = n < s->ids.n ? n : s->ids.n;
}

static int check(const struct pq_session *s, const uint32_t *id, size_t n, struct pq_err *e)
{
    if (!n)
        return pq_fail(e, PQ_EINVAL, "%s: no tokens to read", s->model->path);
    if (n > s->context - s->ids.n)
        return pq_fail(e, PQ_EINVAL, "%s: %zu tokens after %zu do not fit the context of %u tokens",
                       s->model->path, n, s->ids.n, s->context);
    for (size_t i = 0; i < n; i++)
        if (id[i] >= s->hp->vocab)
            return pq_fail(e, PQ_EINVAL, "%s: token %u of a vocabulary of %u", s->model->path,
                           id[i], s->hp->vocab);
    return PQ_OK;
}

/* Passes over ids from `at` on; logits from token `from` on go to `all`, the last one's to s. */
static void passes(struct pq_session *s, uint64_t at, uint64_t from, float *all)
{
    const uint64_t end = s->ids.n, vocab = s->hp->vocab;
    while (at < end) {
        uint64_t n = end - at < s->batch ? end - at : s->batch, past = at + n;
        if (all && past > from) {
            uint64_t first = from > at ? from : at;
            pq_pass(s, at, n, past - first, all + (first - from) * vocab);
        } else {
            pq_pass(s, at, n, past == end ? 1 : 0, s->logits);
        }
        at = past;
    }
    if (all)
        memcpy(s->logits, all + (end - 1 - from) * vocab, (size_t)vocab * sizeof *all);
}

/* Puts n more tokens, checked, behind those read. */
static int append(struct pq_session *s, const uint32_t *id, size_t n, struct pq_err *e)
{
    int rc = check(s, id, n, e);
    if (rc >= 0)
        rc = pq_cache_room(s, s->ids.n + n, e);
    if (rc < 0)
        return rc;
    if (!pq_ids_room(&s->ids, n))
        return pq_fail(e, PQ_ENOMEM, "%s: out of memory for %zu tokens", s->model->path, n);
    memcpy(s->ids.id + s->ids.n, id, n * sizeof *id);
    s->ids.n += n;
    return PQ_OK;
}

int pq_session_read(struct pq_session *s, const uint32_t *id, size_t n, float *all,
                    struct pq_err *e)
{
    const size_t before = s->ids.n;
    int rc = append(s, id, n, e);
    if (rc < 0)
        return rc;
    size_t at = before;
    if (pq_rope_is_long(s->hp, before + n) != s->long_rope) {
        pq_rope_begin(s, !s->long_rope);
        at = 0; /* what is kept was computed with the other factors */
    }
    passes(s, at, before, all);
    return PQ_OK;
}

int pq_session_embed(struct pq_session *s, const uint32_t *id, size_t n, float *h, struct pq_err *e)
{
    s->ids.n = 0;
    int rc = append(s, id, n, e);
    if (rc < 0)
        return rc;
    if (pq_rope_is_long(s->hp, n) != s->long_rope)
        pq_rope_begin(s, !s->long_rope);
    pq_pass_embed(s, n, h);
    s->ids.n = 0; /* their keys and values are not in the cache */
    return PQ_OK;
}

uint64_t pq_session_token_bytes(const struct pq_session *s)
{
    const struct pq_network *net = &s->model->net;
    uint64_t sum = 0;
    for (size_t i = 0; i < net->n_tensors; i++)
        if (&net->tensor[i] != s->embed || s->head.w == s->embed)
            sum += pq_tensor_bytes(&net->tensor[i]);
    return sum;
}
