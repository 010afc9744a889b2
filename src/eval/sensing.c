/* A text through the network, whole or from one matrix on. SPDX-License-Identifier: MIT */
#include "eval/sensing.h"

#include <math.h>
#include <string.h>

enum { USUAL_WINDOWS = 4, SAMPLE_INPUTS = 256 };

/* ---- the text ---- */

/* Windows lie evenly over the text: its parts differ. */
static const uint32_t *ids_of(const struct pq_sensing *r, uint64_t w)
{
    return r->text.ids.id + w * r->text.n / r->windows * r->text.size;
}

int pq_sensing_read(struct pq_sensing *r, struct pq_err *e)
{
    int rc = PQ_OK;
    struct pq_tokenizer *t = NULL;
    const struct pq_sensitivity_setup *s = r->set;
    if (!s->m->has_vocab)
        return pq_fail(e, PQ_EINVAL, "%s: the model has no tokenizer", s->m->path);
    PQ_TRY(pq_windows_size(&r->text.size, (int)s->window, s->m, e));
    PQ_TRY(pq_tokenizer_new(&t, &s->m->vocab, e));
    PQ_TRY(pq_windows_read(&r->text, t, s->m, s->text, 0, e));
    r->windows = s->windows ? s->windows : USUAL_WINDOWS;
    if (r->windows > r->text.n)
        r->windows = r->text.n;
    r->tokens = r->windows * r->text.size;
    r->input_step = pq_ceil_div(r->tokens, SAMPLE_INPUTS);
out:
    pq_tokenizer_free(t);
    return rc;
}

/* ---- through the network ---- */

float *pq_sensing_window(const struct pq_sensing *r, float *h, uint64_t w)
{
    return h + w * r->text.size * r->net->hp.hidden;
}

/* Positions [from, from + n) of all tokens, whose logits are in memory. */
struct batch {
    const struct pq_sensing *r;
    uint64_t from;
};

static void keep_one(void *ctx, uint64_t item, int worker)
{
    const struct batch *b = (const struct batch *)ctx;
    const size_t vocab = b->r->net->hp.vocab;
    (void)worker;
    pq_log_softmax(b->r->logits + item * vocab, vocab, b->r->reference + (b->from + item) * vocab);
}

static void score_one(void *ctx, uint64_t item, int worker)
{
    const struct batch *b = (const struct batch *)ctx;
    const size_t vocab = b->r->net->hp.vocab;
    (void)worker;
    b->r->score[b->from + item] =
        pq_score_position(b->r->logits + item * vocab, b->r->reference + (b->from + item) * vocab,
                          vocab, 0)
            .kld;
}

/* Logits of a window from what leaves its last layer, and what is to be done with them. */
static void predict(const struct pq_sensing *r, uint64_t w, const float *h,
                    void (*fn)(void *, uint64_t, int))
{
    const uint32_t size = r->text.size;
    for (uint32_t at = 0; at < size; at += PQ_SENSING_BATCH) {
        const uint32_t n = size - at < PQ_SENSING_BATCH ? size - at : PQ_SENSING_BATCH;
        struct batch b = {r, w * size + at};
        pq_session_predict(r->s, n, h + (uint64_t)at * r->net->hp.hidden, r->logits);
        pq_pool_each(r->trial.pool, n, fn, &b);
    }
}

/* A window from where tensor t comes in to the predictions. */
int pq_sensing_from(const struct pq_sensing *r, const struct pq_tensor *t, uint64_t w,
                    struct pq_err *e)
{
    const struct pq_hparams *hp = &r->net->hp;
    const uint32_t size = r->text.size;
    int rc = PQ_OK;
    if (t->role == PQ_ROLE_EMBED)
        rc = pq_session_embed(r->s, ids_of(r, w), size, r->work, e);
    else
        memcpy(r->work, pq_sensing_window(r, r->h, w), (size_t)size * hp->hidden * sizeof *r->h);
    if (rc < 0)
        return rc;
    const uint32_t first = t->role == PQ_ROLE_EMBED ? 0
                           : t->layer >= 0          ? (uint32_t)t->layer
                                                    : hp->n_layers;
    for (uint32_t l = first; l < hp->n_layers; l++)
        pq_session_layer(r->s, l, size, r->work);
    predict(r, w, r->work, score_one);
    return PQ_OK;
}

/* Leaves the embedded tokens in r->h and the predictions in r->reference. */
int pq_sensing_reference(struct pq_sensing *r, struct pq_err *e)
{
    int rc = PQ_OK;
    const uint32_t size = r->text.size;
    const size_t n = (size_t)size * r->net->hp.hidden;
    for (uint64_t w = 0; w < r->windows; w++) {
        float *h = pq_sensing_window(r, r->h, w);
        PQ_TRY(pq_session_embed(r->s, ids_of(r, w), size, h, e));
        memcpy(r->work, h, n * sizeof *h);
        for (uint32_t l = 0; l < r->net->hp.n_layers; l++)
            pq_session_layer(r->s, l, size, r->work);
        predict(r, w, r->work, keep_one);
    }
    for (uint64_t i = 0; i < r->tokens; i++)
        if (!isfinite(r->reference[i * r->net->hp.vocab]))
            PQ_TRY(pq_fail(e, PQ_EFORMAT, "%s: predictions on %s are not finite", r->set->m->path,
                           r->set->text));
out:
    return rc;
}
