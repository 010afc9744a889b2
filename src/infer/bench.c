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

static int one_repeat(struct pq_session *s, const struct pq_bench *b, struct pq_bench_sample *out,
                      struct pq_err *e)
{
    pq_session_keep(s, 0);
    int rc = b->prompt ? read_tokens(s, b->prompt, 256, &out->prompt, e) : PQ_OK;
    if (rc >= 0 && b->generate)
        rc = read_tokens(s, b->generate, 1, &out->generate, e);
    return rc;
}

static int check(const struct pq_session *s, const struct pq_bench *b, struct pq_err *e)
{
    if ((uint64_t)b->prompt + b->generate > s->context || b->prompt + b->generate == 0)
        return pq_fail(e, PQ_EINVAL, "%s: %u + %u tokens, expected 1 to %u (the context)",
                       s->model->path, b->prompt, b->generate, s->context);
    if (b->repeats < 1 || b->repeats > PQ_BENCH_REPEATS)
        return pq_fail(e, PQ_EINVAL, "%d repeats, expected 1 to %d", b->repeats, PQ_BENCH_REPEATS);
    return PQ_OK;
}

static uint64_t cache_bytes(const struct pq_session *s, const struct pq_bench *b)
{
    uint64_t row = 2 * pq_cache_token_bytes(&s->cache) * s->hp->n_layers;
    return row * (b->prompt + b->generate / 2);
}

int pq_bench_run(struct pq_session *s, const struct pq_bench *b, struct pq_bench_result *r,
                 struct pq_err *e)
{
    int rc = check(s, b, e);
    if (rc < 0)
        return rc;
    const struct pq_bench warm = {.prompt = b->prompt ? 16 : 0, .generate = b->generate ? 1 : 0};
    uint64_t n = list_pieces(&s->model->net, NULL);
    const uint8_t **piece = (const uint8_t **)pq_calloc((size_t)n, sizeof *piece);
    if (!piece)
        return pq_fail(e, PQ_ENOMEM, "out of memory for a list of %llu pieces",
                       (unsigned long long)n);
    list_pieces(&s->model->net, piece);
    *r = (struct pq_bench_result){.token_bytes = pq_session_token_bytes(s) + cache_bytes(s, b),
                                  .token_macs = matrix_weights(s)};
    PQ_TRY(one_repeat(s, &warm, &r->sample[0], e));
    for (r->n = 0; r->n < b->repeats; r->n++) {
        struct pq_bench_sample *out = &r->sample[r->n];
        double before = bandwidth(s, piece, n);
        PQ_TRY(one_repeat(s, b, out, e));
        out->bandwidth = (before + bandwidth(s, piece, n)) / 2;
        if (b->on_repeat && b->on_repeat(b->ctx, r->n + 1)) {
            rc = pq_fail(e, PQ_ECANCELLED, "interrupted");
            goto out;
        }
    }
out:
    pq_free(piece);
    return rc;
}
