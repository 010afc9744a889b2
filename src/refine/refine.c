/* Learning from a text: windows in a random but fixed order, a step of Adam for each batch.
 * SPDX-License-Identifier: MIT */
#include "refine/refine.h"

#include "base/sys.h"
#include "eval/eval.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { USUAL_STEPS = 200, USUAL_BATCH = 4, USUAL_WINDOW = 512, KEPT_APART = 16 };
static const double usual_rate = 0.002, vector_share = 0.02, scale_share = 0.02;

struct run {
    const struct pq_refine_options *set;
    struct pq_model *m, *source;
    struct pq_student *s;
    struct pq_teacher teacher;
    struct pq_windows text;
    uint64_t learn, apart; /* windows to learn from; behind them those to judge by */
    uint64_t *order;       /* [learn] */
    uint64_t next, random;
    uint32_t batch, steps;
    uint32_t *id; /* [batch][size] */
    double before, after, lately, began;
};

static int no_memory(const struct run *r, struct pq_err *e)
{
    return pq_fail(e, PQ_ENOMEM, "%s: out of memory while refining", r->set->model);
}

/* ---- windows ---- */

/* SplitMix64 (Steele, Lea, Flood 2014): the same numbers everywhere. */
static uint64_t random_below(struct run *r, uint64_t n)
{
    uint64_t z = (r->random += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (z ^ (z >> 31)) % n;
}

static void shuffle(struct run *r)
{
    for (uint64_t i = r->learn - 1; i > 0; i--) {
        const uint64_t k = random_below(r, i + 1), t = r->order[i];
        r->order[i] = r->order[k];
        r->order[k] = t;
    }
    r->next = 0;
}

static void take(struct run *r, uint32_t at, uint64_t window)
{
    memcpy(r->id + at * r->text.size, r->text.ids.id + window * r->text.size,
           r->text.size * sizeof *r->id);
}

static void next_batch(struct run *r)
{
    for (uint32_t i = 0; i < r->batch; i++) {
        if (r->next == r->learn)
            shuffle(r);
        take(r, i, r->order[r->next++]);
    }
}

/* ---- learning ---- */

static int judge(struct run *r, double *kld, struct pq_err *e)
{
    int rc = PQ_OK;
    double sum = 0;
    for (uint64_t w = 0; w < r->apart; w += r->batch) {
        const uint32_t n = r->apart - w < r->batch ? (uint32_t)(r->apart - w) : r->batch;
        double loss;
        for (uint32_t i = 0; i < n; i++)
            take(r, i, r->learn + w + i);
        pq_student_forward(r->s, r->id, n);
        PQ_TRY(pq_teacher_loss(&r->teacher, r->s, r->id, n, false, &loss, e));
        sum += loss * n;
    }
    *kld = sum / (double)r->apart;
out:
    return rc;
}

static int progress(const struct run *r, uint32_t step, struct pq_err *e)
{
    char so_far[96];
    snprintf(so_far, sizeof so_far, "KL divergence %.6f before, %.6f while learning", r->before,
             r->lately);
    const struct pq_progress p = {"refine", so_far, step, r->steps, pq_now() - r->began};
    return r->set->progress && r->set->progress(r->set->progress_ctx, &p)
               ? pq_fail(e, PQ_ECANCELLED, "stopped on request")
               : PQ_OK;
}

/* Rises over the first steps, then falls to nothing along half a cosine. */
static double rate_at(const struct run *r, uint32_t step)
{
    const double warm = 0.05 * r->steps + 1, t = (double)step / r->steps;
    const double most = r->set->rate > 0 ? r->set->rate : usual_rate;
    return most * fmin(1, (step + 1) / warm) * 0.5 * (1 + cos(3.14159265358979 * t));
}

static int learn(struct run *r, struct pq_err *e)
{
    int rc = PQ_OK;
    for (uint32_t step = 0; step < r->steps; step++) {
        double loss;
        const double rate = rate_at(r, step);
        const struct pq_adam a = {rate, rate * vector_share, rate * scale_share, step + 1};
        next_batch(r);
        pq_student_forward(r->s, r->id, r->batch);
        PQ_TRY(pq_teacher_loss(&r->teacher, r->s, r->id, r->batch, true, &loss, e));
        if (!isfinite(loss))
            PQ_TRY(pq_fail(e, PQ_EFORMAT, "%s: predictions are not finite in step %u",
                           r->set->model, step + 1));
        pq_student_backward(r->s, r->id, r->batch);
        for (size_t i = 0; i < r->m->net.n_tensors; i++)
            pq_param_step(&r->s->param[i], r->s, &a);
        r->lately = step ? 0.9 * r->lately + 0.1 * loss : loss;
        PQ_TRY(progress(r, step + 1, e));
    }
out:
    return rc;
}

/* ---- the whole ---- */

static int read_text(struct run *r, struct pq_err *e)
{
    int rc = PQ_OK;
    struct pq_tokenizer *t = NULL;
    const int wanted = r->set->window ? r->set->window : USUAL_WINDOW;
    const int limit = (int)r->m->net.hp.max_position;
    if (!r->m->has_vocab)
        return pq_fail(e, PQ_EINVAL, "%s: the model has no tokenizer", r->set->model);
    PQ_TRY(
        pq_windows_size(&r->text.size, r->set->window || wanted < limit ? wanted : limit, r->m, e));
    PQ_TRY(pq_tokenizer_new(&t, &r->m->vocab, e));
    PQ_TRY(pq_windows_read(&r->text, t, r->m, r->set->text, r->set->max_windows, e));
    r->apart = r->text.n / KEPT_APART ? r->text.n / KEPT_APART : 1;
    r->learn = r->text.n - r->apart;
    if (!r->learn)
        PQ_TRY(pq_fail(e, PQ_EINVAL, "%s: one window of %u tokens: too little to learn from",
                       r->set->text, r->text.size));
out:
    pq_tokenizer_free(t);
    return rc;
}

static int prepare(struct run *r, struct pq_err *e)
{
    int rc = PQ_OK;
    const struct pq_refine_options *o = r->set;
    PQ_TRY(pq_patch_check(o->out, o->force, e));
    PQ_TRY(pq_model_load(&r->m, o->model, e));
    PQ_TRY(pq_model_load(&r->source, o->reference, e));
    if (r->source->net.hp.vocab != r->m->net.hp.vocab)
        PQ_TRY(pq_fail(e, PQ_EINVAL, "%s has a vocabulary of %u, %s one of %u", o->reference,
                       r->source->net.hp.vocab, o->model, r->m->net.hp.vocab));
    PQ_TRY(read_text(r, e));
    r->steps = o->steps ? (uint32_t)o->steps : USUAL_STEPS;
    r->batch = o->batch ? (uint32_t)o->batch : USUAL_BATCH;
    r->order = (uint64_t *)pq_calloc((size_t)r->learn, sizeof *r->order);
    r->id = (uint32_t *)pq_calloc(r->batch, r->text.size * sizeof *r->id);
    if (!r->order || !r->id)
        PQ_TRY(no_memory(r, e));
    for (uint64_t i = 0; i < r->learn; i++)
        r->order[i] = i;
    shuffle(r);
    const struct pq_student_setup setup = {r->text.size, r->batch, o->threads, o->cpu_level};
    PQ_TRY(pq_student_new(&r->s, r->m, r->source, &setup, e));
    PQ_TRY(pq_teacher_new(&r->teacher, r->source, r->s, &setup, e));
out:
    return rc;
}

static int refine(struct run *r, struct pq_err *e)
{
    int rc = PQ_OK;
    PQ_TRY(prepare(r, e));
    PQ_TRY(judge(r, &r->before, e));
    PQ_TRY(learn(r, e));
    PQ_TRY(judge(r, &r->after, e));
    if (!(r->after < r->before))
        PQ_TRY(pq_fail(e, PQ_EINVAL,
                       "%s: no better on the text kept apart: KL divergence %.6f before, %.6f "
                       "after; nothing is written",
                       r->set->model, r->before, r->after));
    PQ_TRY(pq_patch_write(r->s, r->set->out, r->set->force, e));
out:
    return rc;
}

static int report(const struct run *r, json_t **out, struct pq_err *e)
{
    size_t matrices = 0, vectors = 0;
    for (size_t i = 0; i < r->m->net.n_tensors; i++) {
        matrices += r->s->param[i].code != NULL;
        vectors += !r->s->param[i].code && r->s->param[i].grad;
    }
    *out = json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:I}",
                     "model", r->set->model, "reference", r->set->reference, "text", r->set->text,
                     "path", r->set->out, "matrices", (json_int_t)matrices, "vectors",
                     (json_int_t)vectors, "window", (json_int_t)r->text.size, "windows",
                     (json_int_t)r->learn, "windows_apart", (json_int_t)r->apart, "steps",
                     (json_int_t)r->steps, "batch", (json_int_t)r->batch, "kld_before", r->before,
                     "kld_after", r->after, "seconds", pq_now() - r->began, "peak_rss_bytes",
                     (json_int_t)pq_peak_rss());
    return *out ? PQ_OK : no_memory(r, e);
}

int pq_refine_model(json_t **out, const struct pq_refine_options *o, struct pq_err *e)
{
    struct run r = {.set = o, .began = pq_now()};
    *out = NULL;
    int rc = refine(&r, e);
    if (rc >= 0)
        rc = report(&r, out, e);
    pq_teacher_free(&r.teacher);
    pq_student_free(r.s);
    pq_model_free(r.source);
    pq_model_free(r.m);
    pq_windows_free(&r.text);
    pq_free(r.order);
    pq_free(r.id);
    return rc;
}
