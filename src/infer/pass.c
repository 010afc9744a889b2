/* One forward pass over a batch of tokens. The residual, norms and softmax are in single precision.
 * Rules per architecture: modeling_phi3 and modeling_phi of transformers.
 * SPDX-License-Identifier: MIT */
#include "infer/state.h"

#include <string.h>

/* Work on the rows of a batch, one token at a time. */
struct rows {
    const struct pq_session *s;
    const struct pq_norm_weights *norm;
    const float *from;
    uint64_t first;
};

static void embed_row(void *ctx, uint64_t t, int worker)
{
    const struct rows *r = (const struct rows *)ctx;
    const struct pq_session *s = r->s;
    (void)worker;
    pq_tensor_row(s->embed, s->engine.kern, s->ids.id[r->first + t], s->h + t * s->hp->hidden);
}

static void norm_row(void *ctx, uint64_t t, int worker)
{
    const struct rows *r = (const struct rows *)ctx;
    const struct pq_session *s = r->s;
    const struct pq_hparams *hp = s->hp;
    const float *x = r->from + t * hp->hidden;
    float *y = s->x + t * hp->hidden;
    (void)worker;
    if (hp->norm == PQ_NORM_RMS)
        s->engine.compute->norm_rms(x, hp->hidden, hp->norm_eps, r->norm->weight, y);
    else
        s->engine.compute->norm_layer(x, hp->hidden, hp->norm_eps, r->norm->weight, r->norm->bias,
                                      y);
}

static void activate_row(void *ctx, uint64_t t, int worker)
{
    const struct rows *r = (const struct rows *)ctx;
    const struct pq_session *s = r->s;
    float *up = s->up + t * s->up_step;
    (void)worker;
    if (s->hp->act == PQ_ACT_SILU)
        s->engine.compute->silu_mul(up, up + s->hp->ff, s->hp->ff);
    else
        s->engine.compute->gelu(up, s->hp->ff);
}

static void normalize(const struct pq_session *s, const struct pq_norm_weights *norm,
                      const float *from, uint64_t n)
{
    struct rows r = {.s = s, .norm = norm, .from = from};
    pq_pool_each(s->engine.pool, n, norm_row, &r);
}

/* Shows what goes into a product to whoever looks. */
static void show(const struct pq_session *s, const struct pq_product *p)
{
    const struct pq_inputs in = {p->linear->w, p->x, p->x_step, p->n, s->engine.pool};
    if (s->on_inputs)
        s->on_inputs(s->inputs_ctx, &in);
}

static void multiply(const struct pq_session *s, const struct pq_product *p)
{
    show(s, p);
    pq_product_run(p);
}

static void attention(struct pq_session *s, int layer, uint64_t first, uint64_t n)
{
    const struct pq_layer *l = &s->layer[layer];
    const struct pq_hparams *hp = s->hp;
    const uint64_t wide = (uint64_t)hp->n_heads * hp->head_dim;
    struct pq_product p = {&s->engine, NULL, s->x, hp->hidden, n, s->qkv, 0, false};
    p.out_step = wide + 2ull * hp->n_kv_heads * hp->head_dim;
    for (int i = 0; i < l->n_qkv; i++) {
        p.linear = &l->qkv[i];
        multiply(s, &p);
        p.out += p.linear->w->rows;
    }
    pq_attention_append(s, layer, first, n);
    pq_attention_run(s, layer, first, n);
    p = (struct pq_product){&s->engine, &l->out, s->att, wide, n, s->h, hp->hidden, true};
    multiply(s, &p);
}

static void feed_forward(struct pq_session *s, int layer, uint64_t n)
{
    const struct pq_layer *l = &s->layer[layer];
    const struct pq_hparams *hp = s->hp;
    struct pq_product p = {&s->engine, &l->up, s->x, hp->hidden, n, s->up, s->up_step, false};
    multiply(s, &p);
    struct rows r = {.s = s};
    pq_pool_each(s->engine.pool, n, activate_row, &r);
    p = (struct pq_product){&s->engine, &l->down, s->up, s->up_step, n, s->h, hp->hidden, true};
    multiply(s, &p);
}

static void run_layer(struct pq_session *s, int i, uint64_t first, uint64_t n)
{
    const struct pq_layer *l = &s->layer[i];
    normalize(s, &l->norm, s->h, n);
    attention(s, i, first, n);
    if (!s->hp->parallel) /* else both branches see the same norm */
        normalize(s, &l->ffn_norm, s->h, n);
    feed_forward(s, i, n);
}

void pq_pass(struct pq_session *s, uint64_t first, uint64_t n, uint64_t n_logits, float *logits)
{
    const struct pq_hparams *hp = s->hp;
    struct rows r = {.s = s, .first = first};
    pq_pool_each(s->engine.pool, n, embed_row, &r);
    pq_rope_turns(s, first, n);
    for (int i = 0; i < (int)hp->n_layers; i++)
        run_layer(s, i, first, n);
    if (!n_logits)
        return;
    normalize(s, &s->final_norm, s->h + (n - n_logits) * hp->hidden, n_logits);
    struct pq_product p = {&s->engine, &s->head, s->x,      hp->hidden,
                           n_logits,   logits,   hp->vocab, false};
    multiply(s, &p);
}

/* ---- a layer at a time ---- */

/* Tokens of a text that fit a batch, from `at` on. */
static uint64_t batch_of(const struct pq_session *s, uint64_t at, uint64_t n)
{
    return n - at < s->batch ? n - at : s->batch;
}

void pq_pass_embed(struct pq_session *s, uint64_t n, float *h)
{
    for (uint64_t at = 0, k; at < n; at += k) {
        struct rows r = {.s = s, .first = at};
        k = batch_of(s, at, n);
        pq_pool_each(s->engine.pool, k, embed_row, &r);
        memcpy(h + at * s->hp->hidden, s->h, k * s->hp->hidden * sizeof *h);
    }
}

void pq_session_layer(struct pq_session *s, uint32_t layer, size_t n, float *h)
{
    for (uint64_t at = 0, k; at < n; at += k) {
        float *part = h + at * s->hp->hidden;
        k = batch_of(s, at, n);
        const size_t bytes = (size_t)(k * s->hp->hidden) * sizeof *h;
        memcpy(s->h, part, bytes);
        pq_rope_turns(s, at, k);
        run_layer(s, (int)layer, at, k);
        memcpy(part, s->h, bytes);
    }
}

void pq_session_outputs(struct pq_session *s, size_t n, const float *h)
{
    for (uint64_t at = 0, k; at < n; at += k) {
        k = batch_of(s, at, n);
        normalize(s, &s->final_norm, h + at * s->hp->hidden, k);
        const struct pq_product p = {
            .linear = &s->head, .x = s->x, .x_step = s->hp->hidden, .n = k};
        show(s, &p);
    }
}

void pq_session_predict(struct pq_session *s, size_t n, const float *h, float *out)
{
    for (uint64_t at = 0, k; at < n; at += k) {
        k = batch_of(s, at, n);
        normalize(s, &s->final_norm, h + at * s->hp->hidden, k);
        const struct pq_product p = {&s->engine,    &s->head, s->x,
                                     s->hp->hidden, k,        out + at * s->hp->vocab,
                                     s->hp->vocab,  false};
        pq_product_run(&p);
    }
}
