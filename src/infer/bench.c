/* Timing. Tokens are arbitrary: the work does not depend on them. SPDX-License-Identifier: MIT */
#include "infer/bench.h"

#include "base/num.h"
#include "base/sys.h"
#include "infer/state.h"

#include <stdatomic.h>

/* ---- reading the weights and nothing else ---- */

enum { PIECE = 1 << 18 };

struct reading {
    const uint8_t **piece;
    atomic_ullong sum; /* so that the reading has a purpose */
};

static void read_piece(void *ctx, uint64_t item, int worker)
{
    struct reading *r = (struct reading *)ctx;
    const uint8_t *p = r->piece[item];
    uint64_t sum[8] = {0}, v[8];
    (void)worker;
    for (size_t i = 0; i < PIECE; i += sizeof v) {
        memcpy(v, p + i, sizeof v);
        for (int k = 0; k < 8; k++)
            sum[k] ^= v[k];
    }
    atomic_fetch_add(&r->sum,
                     sum[0] ^ sum[1] ^ sum[2] ^ sum[3] ^ sum[4] ^ sum[5] ^ sum[6] ^ sum[7]);
}

/* Whole pieces of the parts of every layer's tensors; counts them when r->piece is NULL. */
static uint64_t list_pieces(const struct pq_network *net, const uint8_t **piece)
{
    uint64_t n = 0;
    for (size_t i = 0; i < net->n_tensors; i++) {
        const struct pq_tensor *t = &net->tensor[i];
        for (int k = 0; t->layer >= 0 && k < t->n_slices; k++) {
            const struct pq_slice *s = &t->slice[k];
            for (int p = 0; p < PQ_MAX_PARTS && s->view.part[p]; p++) {
                uint64_t row = pq_scheme_part_bytes(s->view.scheme, s->view.cols, p);
                for (uint64_t at = 0; at + PIECE <= s->rows * row; at += PIECE, n++)
                    if (piece)
                        piece[n] = s->view.part[p] + s->row0 * row + at;
            }
        }
    }
    return n;
}

static double bandwidth(const struct pq_session *s, const uint8_t **piece, uint64_t n)
{
    struct reading r = {.piece = piece};
    double t0 = pq_now();
    pq_pool_each(s->engine.pool, n, read_piece, &r);
    double t = pq_now() - t0;
    return t > 0 ? (double)n * PIECE / t : 0;
}

/* ---- multiplying and nothing else ---- */

struct multiplying {
    const struct pq_compute *compute;
    atomic_ullong macs;
    atomic_uint sink;
};

static void multiply_piece(void *ctx, uint64_t item, int worker)
{
    enum { ROUNDS = 20000 };
    struct multiplying *m = (struct multiplying *)ctx;
    uint32_t sink = (uint32_t)item + 1;
    (void)worker;
    atomic_fetch_add(&m->macs, m->compute->peak_macs(ROUNDS, &sink));
    atomic_fetch_xor(&m->sink, sink);
}

/* For about 20 ms. */
static double products(const struct pq_session *s)
{
    struct multiplying m = {.compute = s->engine.compute};
    const uint64_t pieces = 4 * (uint64_t)pq_pool_threads(s->engine.pool);
    double t0 = pq_now(), t;
    do {
        pq_pool_each(s->engine.pool, pieces, multiply_piece, &m);
        t = pq_now() - t0;
    } while (t < 0.02);
    return (double)atomic_load(&m.macs) / t;
}

/* ---- the session ---- */

static uint64_t matrix_weights(const struct pq_session *s)
{
    uint64_t n = 0;
    for (size_t i = 0; i < s->model->net.n_tensors; i++) {
        const struct pq_tensor *t = &s->model->net.tensor[i];
        if (t->layer >= 0 && pq_role_is_matrix(t->role))
            n += t->rows * t->cols;
    }
    return n;
}

static int read_tokens(struct pq_session *s, uint32_t n, uint32_t at_once, double *per_second,
                       struct pq_err *e)
{
    uint32_t id[256];
    double t0 = pq_now();
    for (uint32_t at = 0; at < n;) {
        uint32_t k = n - at < at_once ? n - at : at_once;
        for (uint32_t i = 0; i < k; i++)
            id[i] = (at + i) * 7919u % s->hp->vocab;
        int rc = pq_session_read(s, id, k, NULL, e);
        if (rc < 0)
            return rc;
        at += k;
    }
    *per_second = n / (pq_now() - t0);
    return PQ_OK;
}

static int read_and_generate(struct pq_session *s, uint32_t prompt, uint32_t generate,
                             struct pq_bench_sample *out, struct pq_err *e)
{
    pq_session_keep(s, 0);
    int rc = prompt ? read_tokens(s, prompt, 256, &out->prompt, e) : PQ_OK;
    if (rc >= 0 && generate)
        rc = read_tokens(s, generate, 1, &out->generate, e);
    return rc;
}

static int check(const struct pq_session *s, const struct pq_bench *b, struct pq_err *e)
{
    if (b->n_prompts < 1 || b->n_prompts > PQ_BENCH_PROMPTS)
        return pq_fail(e, PQ_EINVAL, "%d prompts, expected 1 to %d", b->n_prompts,
                       PQ_BENCH_PROMPTS);
    for (int i = 0; i < b->n_prompts; i++) {
        const uint64_t n = (uint64_t)b->prompt[i] + b->generate;
        if (n > s->context || n == 0)
            return pq_fail(e, PQ_EINVAL, "%s: %u + %u tokens, expected 1 to %u (the context)",
                           s->model->path, b->prompt[i], b->generate, s->context);
    }
    if (b->repeats < 1 || b->repeats > PQ_BENCH_REPEATS)
        return pq_fail(e, PQ_EINVAL, "%d repeats, expected 1 to %d", b->repeats, PQ_BENCH_REPEATS);
    return PQ_OK;
}

static uint64_t cache_bytes(const struct pq_session *s, uint64_t tokens)
{
    return 2 * pq_cache_token_bytes(&s->cache) * s->hp->n_layers * tokens;
}

struct timing {
    struct pq_session *s;
    const struct pq_bench *b;
    const uint8_t **piece;
    uint64_t n_pieces;
};

static int one_sample(const struct timing *t, int prompt, struct pq_bench_sample *out,
                      struct pq_err *e)
{
    const double macs = products(t->s), bytes = bandwidth(t->s, t->piece, t->n_pieces);
    int rc = read_and_generate(t->s, t->b->prompt[prompt], t->b->generate, out, e);
    if (rc < 0)
        return rc;
    out->bandwidth = (bytes + bandwidth(t->s, t->piece, t->n_pieces)) / 2;
    out->macs = (macs + products(t->s)) / 2;
    return t->b->on_sample && t->b->on_sample(t->b->ctx) ? pq_fail(e, PQ_ECANCELLED, "interrupted")
                                                         : PQ_OK;
}

static int all_samples(const struct timing *t, struct pq_bench_result *r, struct pq_err *e)
{
    for (r->n = 0; r->n < t->b->repeats; r->n++)
        for (int i = 0; i < t->b->n_prompts; i++) {
            int rc = one_sample(t, i, &r->sample[i][r->n], e);
            if (rc < 0)
                return rc;
        }
    return PQ_OK;
}

int pq_bench_run(struct pq_session *s, const struct pq_bench *b, struct pq_bench_result *r,
                 struct pq_err *e)
{
    struct timing t = {s, b, NULL, list_pieces(&s->model->net, NULL)};
    struct pq_bench_sample warm;
    int rc = check(s, b, e);
    if (rc < 0)
        return rc;
    t.piece = (const uint8_t **)pq_calloc((size_t)t.n_pieces, sizeof *t.piece);
    if (!t.piece)
        return pq_fail(e, PQ_ENOMEM, "out of memory for a list of %llu pieces",
                       (unsigned long long)t.n_pieces);
    list_pieces(&s->model->net, t.piece);
    *r = (struct pq_bench_result){.token_macs = matrix_weights(s)};
    for (int i = 0; i < b->n_prompts; i++)
        r->token_bytes[i] =
            pq_session_token_bytes(s) + cache_bytes(s, b->prompt[i] + b->generate / 2);
    const uint32_t most = s->context - 1 < 16 ? s->context - 1 : 16;
    PQ_TRY(read_and_generate(s, most, 1, &warm, e));
    PQ_TRY(all_samples(&t, r, e));
out:
    pq_free(t.piece);
    return rc;
}
