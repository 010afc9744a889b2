/*
 * Reads a text window by window with a model and, beside it, with a reference, and scores what they
 * predict. Source of the protocol: tools/perplexity of llama.cpp. SPDX-License-Identifier: MIT
 */
#include "eval/eval.h"
#include "base/hash.h"
#include "base/num.h"
#include "base/pool.h"
#include "base/sys.h"

#include <inttypes.h>
#include <stdio.h>

/* Positions whose logits are in memory at once: with 200 k tokens 51 MB. */
#define BATCH 64

/* A model that predicts. */
struct side {
    struct pq_model *m;
    struct pq_session *s;
    float *logits; /* [BATCH, vocab] */
};

struct run {
    const struct pq_eval_options *set;
    const struct pq_eval_watch *watch; /* NULL: nobody looks on */
    struct side model, ref;
    struct pq_logits_file saved;
    struct pq_logits_out save;
    struct pq_pool *pool;
    struct pq_windows text;
    uint32_t first; /* the first position of a window whose prediction counts */
    struct pq_tally tally;
    double began;
};

static int no_memory(struct pq_err *e)
{
    return pq_fail(e, PQ_ENOMEM, "out of memory while evaluating");
}

/* ---- models ---- */

static int open_side(struct run *r, struct side *d, const char *path, struct pq_err *e)
{
    int rc = pq_model_load(&d->m, path, e);
    if (rc < 0)
        return rc;
    rc = pq_windows_size(&r->text.size, r->set->window, d->m, e);
    if (rc < 0)
        return rc;
    /* All that a window holds stays in single precision: the file is measured, not the cache. */
    const struct pq_session_setup setup = {.context = r->text.size,
                                           .threads = r->set->threads,
                                           .kv = PQ_KV_F32,
                                           .cpu = r->set->cpu_level};
    d->logits = (float *)pq_calloc((size_t)BATCH * d->m->net.hp.vocab, sizeof *d->logits);
    return d->logits ? pq_session_new(&d->s, d->m, &setup, e) : no_memory(e);
}

static void close_side(struct side *d)
{
    pq_session_free(d->s);
    pq_model_free(d->m);
    pq_free(d->logits);
}

static int check_vocab(const struct run *r, const char *path, uint32_t vocab, struct pq_err *e)
{
    const uint32_t wanted = r->model.m->net.hp.vocab;
    return vocab == wanted ? PQ_OK
                           : pq_fail(e, PQ_EINVAL, "%s has a vocabulary of %u, %s one of %u", path,
                                     vocab, r->set->model, wanted);
}

static int open_reference(struct run *r, struct pq_err *e)
{
    const char *path = r->set->reference;
    if (!path)
        return PQ_OK;
    r->tally.with_reference = true;
    if (!pq_logits_is(path)) {
        int rc = open_side(r, &r->ref, path, e);
        return rc < 0 ? rc : check_vocab(r, path, r->ref.m->net.hp.vocab, e);
    }
    int rc = pq_logits_open(&r->saved, path, e);
    return rc < 0 ? rc : check_vocab(r, path, r->saved.head.vocab, e);
}

/* ---- text ---- */

static int cut(struct run *r, const struct pq_tokenizer *t, struct pq_err *e)
{
    int rc = pq_windows_read(&r->text, t, r->model.m, r->set->text, r->set->max_windows, e);
    if (rc < 0)
        return rc;
    r->first = r->set->whole ? 0 : r->text.size / 2;
    r->tally.per_window = r->text.size - 1 - r->first;
    r->tally.score =
        (struct pq_score *)pq_calloc(r->text.n * r->tally.per_window, sizeof *r->tally.score);
    return r->tally.score ? PQ_OK : no_memory(e);
}

/* Bytes and words of what is predicted. */
static int count_text(struct run *r, const struct pq_tokenizer *t, struct pq_err *e)
{
    int rc = PQ_OK;
    for (uint64_t w = 0; rc >= 0 && w < r->text.n; w++) {
        struct pq_buf text = {0};
        bool inside = false;
        rc = pq_tokenizer_decode(t, r->text.ids.id + w * r->text.size + r->first + 1,
                                 r->tally.per_window, 0, &text, e);
        r->tally.bytes += text.len;
        for (size_t i = 0; i < text.len; i++) {
            const bool space = text.data[i] == ' ' || (text.data[i] >= 9 && text.data[i] <= 13);
            r->tally.words += !space && !inside;
            inside = !space;
        }
        pq_buf_free(&text);
    }
    return rc;
}

static int prepare_text(struct run *r, struct pq_err *e)
{
    int rc = PQ_OK;
    struct pq_tokenizer *t = NULL;
    if (!r->model.m->has_vocab)
        return pq_fail(e, PQ_EINVAL, "%s: the model has no tokenizer", r->set->model);
    PQ_TRY(pq_tokenizer_new(&t, &r->model.m->vocab, e));
    PQ_TRY(cut(r, t, e));
    PQ_TRY(count_text(r, t, e));
out:
    pq_tokenizer_free(t);
    return rc;
}

static struct pq_logits_head head_of(const struct run *r)
{
    return (struct pq_logits_head){
        .vocab = r->model.m->net.hp.vocab,
        .window = r->text.size,
        .per_window = (uint32_t)r->tally.per_window,
        .windows = r->text.n,
        .text_hash = pq_hash(r->text.ids.id, r->text.n * r->text.size * sizeof *r->text.ids.id,
                             r->text.size)};
}

static int check_saved(const struct run *r, struct pq_err *e)
{
    const struct pq_logits_head *s = &r->saved.head, h = head_of(r);
    if (!r->saved.map.data)
        return PQ_OK;
    if (s->window == h.window && s->per_window == h.per_window && s->windows == h.windows &&
        s->text_hash == h.text_hash)
        return PQ_OK;
    return pq_fail(e, PQ_EINVAL,
                   "%s was made from another text or with other windows: %" PRIu64 " of %u tokens "
                   "with %u scored, here %" PRIu64 " of %u with %u",
                   r->set->reference, s->windows, s->window, s->per_window, h.windows, h.window,
                   h.per_window);
}

/* ---- windows ---- */

/* Positions [from, from + n) of a window, whose logits lie in the sides. */
struct batch {
    struct run *r;
    uint64_t window;
    uint32_t from;
    const uint32_t *id; /* of the window */
};

static void score_one(void *ctx, uint64_t item, int worker)
{
    const struct batch *b = (const struct batch *)ctx;
    struct run *r = b->r;
    const uint32_t vocab = r->model.m->net.hp.vocab, at = b->from + (uint32_t)item;
    const size_t row = (size_t)item * vocab;
    const uint64_t position = b->window * r->tally.per_window + at - r->first;
    const float *ref = r->ref.logits ? r->ref.logits + row : NULL;
    (void)worker;
    if (r->saved.map.data) {
        /* The reference's own buffer is free then: it was never opened. */
        float *own = r->ref.logits + row;
        pq_logits_row(&r->saved, position, own);
        ref = own;
    }
    r->tally.score[position] = pq_score_position(r->model.logits + row, ref, vocab, b->id[at + 1]);
    if (r->watch) {
        const struct pq_scored seen = {position, r->model.logits + row, ref, vocab,
                                       r->tally.score[position].kld};
        r->watch->on_score(r->watch->ctx, &seen);
    }
}

static int save_batch(struct run *r, const struct batch *b, uint32_t n, struct pq_err *e)
{
    int rc = PQ_OK;
    const uint32_t vocab = r->model.m->net.hp.vocab;
    float *logits = r->ref.s ? r->ref.logits : r->model.logits;
    for (uint32_t i = 0; rc >= 0 && i < n; i++) {
        float *row = logits + (size_t)i * vocab;
        pq_log_softmax(row, vocab, row);
        rc = pq_logits_put(&r->save, b->window * r->tally.per_window + b->from + i - r->first, row,
                           e);
    }
    return rc;
}

static int read_both(struct run *r, const uint32_t *id, uint32_t n, bool want, struct pq_err *e)
{
    int rc = pq_session_read(r->model.s, id, n, want ? r->model.logits : NULL, e);
    return rc < 0 || !r->ref.s ? rc
                               : pq_session_read(r->ref.s, id, n, want ? r->ref.logits : NULL, e);
}

static int progress(const struct run *r, uint64_t windows_done, struct pq_err *e)
{
    char so_far[96];
    const size_t n = windows_done * r->tally.per_window;
    if (!r->set->progress)
        return PQ_OK;
    int k = snprintf(so_far, sizeof so_far, "perplexity %.4f", pq_tally_perplexity(&r->tally, n));
    if (r->tally.with_reference && k > 0)
        snprintf(so_far + k, sizeof so_far - (size_t)k, ", KL divergence %.6f",
                 pq_tally_kld(&r->tally, n));
    const struct pq_progress p = {"evaluate", so_far, windows_done, r->text.n, pq_now() - r->began};
    return r->set->progress(r->set->progress_ctx, &p)
               ? pq_fail(e, PQ_ECANCELLED, "stopped on request")
               : PQ_OK;
}

static int one_window(struct run *r, uint64_t w, struct pq_err *e)
{
    int rc = PQ_OK;
    const uint32_t *id = r->text.ids.id + w * r->text.size, last = r->text.size - 1;
    pq_session_keep(r->model.s, 0);
    if (r->ref.s)
        pq_session_keep(r->ref.s, 0);
    if (r->first)
        PQ_TRY(read_both(r, id, r->first, false, e));
    for (uint32_t at = r->first; at < last; at += BATCH) {
        const uint32_t n = last - at < BATCH ? last - at : BATCH;
        struct batch b = {r, w, at, id};
        PQ_TRY(read_both(r, id + at, n, true, e));
        pq_pool_each(r->pool, n, score_one, &b);
        if (r->save.file.part)
            PQ_TRY(save_batch(r, &b, n, e));
    }
    r->tally.n = (w + 1) * r->tally.per_window;
    PQ_TRY(progress(r, w + 1, e));
out:
    return rc;
}

/* ---- the whole ---- */

static int evaluate(struct run *r, struct pq_err *e)
{
    int rc = PQ_OK;
    const struct pq_eval_options *s = r->set;
    PQ_TRY(open_side(r, &r->model, s->model, e));
    PQ_TRY(open_reference(r, e));
    PQ_TRY(prepare_text(r, e));
    PQ_TRY(check_saved(r, e));
    if (r->saved.map.data) {
        r->ref.logits =
            (float *)pq_calloc((size_t)BATCH * r->model.m->net.hp.vocab, sizeof *r->ref.logits);
        if (!r->ref.logits)
            PQ_TRY(no_memory(e));
    }
    if (s->save_logits) {
        const struct pq_logits_head head = head_of(r);
        PQ_TRY(pq_logits_create(&r->save, s->save_logits, &head, e));
    }
    PQ_TRY(pq_pool_new(&r->pool, s->threads, e));
    for (uint64_t w = 0; w < r->text.n; w++)
        PQ_TRY(one_window(r, w, e));
    if (r->save.file.part)
        PQ_TRY(pq_whole_finish(&r->save.file, e));
out:
    return rc;
}

static int report(const struct run *r, json_t **out, struct pq_err *e)
{
    const struct pq_eval_options *s = r->set;
    json_t *j = pq_tally_report(&r->tally);
    if (!j)
        return no_memory(e);
    json_object_set_new(j, "model", json_string(s->model));
    json_object_set_new(j, "model_bytes", json_integer((json_int_t)r->model.m->ckpt->file_bytes));
    json_object_set_new(j, "reference", s->reference ? json_string(s->reference) : json_null());
    json_object_set_new(j, "text", json_string(s->text));
    json_object_set_new(j, "text_tokens", json_integer((json_int_t)r->text.ids.n));
    json_object_set_new(j, "window", json_integer(r->text.size));
    json_object_set_new(j, "scored", json_string(s->whole ? "whole" : "second half"));
    json_object_set_new(j, "seconds", json_real(pq_now() - r->began));
    *out = j;
    return PQ_OK;
}

int pq_eval_watched(json_t **out, const struct pq_eval_options *s,
                    const struct pq_eval_watch *watch, struct pq_err *e)
{
    struct run r = {.set = s, .watch = watch, .began = pq_now()};
    *out = NULL;
    int rc = evaluate(&r, e);
    if (rc >= 0)
        rc = report(&r, out, e);
    pq_whole_abandon(&r.save.file);
    pq_logits_close(&r.saved);
    close_side(&r.model);
    close_side(&r.ref);
    pq_pool_free(r.pool);
    pq_windows_free(&r.text);
    pq_free(r.tally.score);
    return rc;
}

int pq_eval_model(json_t **out, const struct pq_eval_options *s, struct pq_err *e)
{
    return pq_eval_watched(out, s, NULL, e);
}
