/* Sensitivity by trial: a matrix at a time in the layer where the pass stands.
 * SPDX-License-Identifier: MIT */
#include "base/sys.h"
#include "eval/sensing.h"

#include <math.h>

enum { SAMPLE_ROWS = 256 }; /* of a matrix, for the error of its products */

/* Where one candidate goes through the network: 4-bit schemes with what their scales take. */
#define ANCHOR_BITS 4.5

static int no_memory(const struct pq_sensing *r, struct pq_err *e)
{
    return pq_fail(e, PQ_ENOMEM, "%s: out of memory while measuring sensitivity", r->set->m->path);
}

static int progress(const struct pq_sensing *r, const char *tensor, struct pq_err *e)
{
    const struct pq_progress p = {"sensitivity", tensor, r->done, r->matrices, pq_now() - r->began};
    return r->set->progress && r->set->progress(r->set->progress_ctx, &p)
               ? pq_fail(e, PQ_ECANCELLED, "stopped on request")
               : PQ_OK;
}

/* Mean divergence with t in a scheme. */
static int try_scheme(const struct pq_sensing *r, const struct pq_tensor *t, struct pq_sensed *c,
                      struct pq_err *e)
{
    struct pq_trial trial;
    int rc = pq_trial_make(&trial, &r->trial, t, c->scheme, e);
    double sum = 0;
    if (rc >= 0) {
        pq_session_substitute(r->s, t, &trial.tensor);
        for (uint64_t w = 0; rc >= 0 && w < r->windows; w++)
            rc = pq_sensing_from(r, t, w, e);
        pq_session_substitute(r->s, t, t);
    }
    pq_trial_free(&trial);
    for (uint64_t i = 0; i < r->tokens; i++)
        sum += r->score[i];
    c->kld = fmax(sum / (double)r->tokens, 0);
    c->measured = true;
    if (rc >= 0 && !isfinite(c->kld))
        rc = pq_fail(e, PQ_EFORMAT, "%s: with %s in %s, predictions on %s are not finite",
                     r->set->m->path, t->name, c->scheme->name, r->set->text);
    return rc;
}

/* ---- one matrix ---- */

static bool is_listed(const struct pq_subject *s, const struct pq_scheme *scheme)
{
    for (size_t i = 0; i < s->n; i++)
        if (!strcmp(s->list[i].scheme->name, scheme->name))
            return true;
    return false;
}

static void list_candidates(const struct pq_sensing *r, size_t tensor, struct pq_subject *s)
{
    const struct pq_scheme *found[PQ_MAX_CANDIDATES];
    for (size_t c = 0; c < r->set->n_containers; c++) {
        const size_t n = pq_candidates(r->set->container[c], r->net, tensor, found);
        for (size_t i = 0; i < n && s->n < PQ_LEN(s->list); i++)
            if (!is_listed(s, found[i]))
                s->list[s->n++] = (struct pq_sensed){.scheme = found[i]};
    }
}

static struct pq_sensed *anchor_of(struct pq_subject *s, uint64_t cols)
{
    struct pq_sensed *best = NULL;
    double nearest = INFINITY;
    for (size_t i = 0; i < s->n; i++) {
        const double d = fabs(pq_scheme_bpw(s->list[i].scheme, cols) - ANCHOR_BITS);
        if (s->list[i].error > 0 && d < nearest) {
            nearest = d;
            best = &s->list[i];
        }
    }
    return best;
}

/* A scheme without error costs nothing. */
static int measure(const struct pq_sensing *r, const struct pq_tensor *t, struct pq_subject *s,
                   struct pq_err *e)
{
    int rc = PQ_OK;
    struct pq_sensed *anchor = anchor_of(s, t->cols);
    if (anchor)
        PQ_TRY(try_scheme(r, t, anchor, e));
    for (size_t i = 0; i < s->n; i++) {
        struct pq_sensed *c = &s->list[i];
        if (c == anchor || c->error <= 0)
            continue;
        if (r->set->every)
            PQ_TRY(try_scheme(r, t, c, e));
        else
            c->kld = anchor->kld * (c->error / anchor->error);
    }
out:
    return rc;
}

static int add_row(struct pq_sensing *r, const struct pq_tensor *t, const struct pq_subject *s,
                   struct pq_err *e)
{
    json_t *schemes = json_object();
    for (size_t i = 0; i < s->n; i++)
        json_object_set_new(schemes, s->list[i].scheme->name,
                            json_pack("{s:f, s:f, s:b}", "error", s->list[i].error, "kld",
                                      s->list[i].kld, "measured", s->list[i].measured));
    json_t *row = json_pack("{s:s, s:I, s:I, s:o}", "tensor", t->name, "rows", (json_int_t)t->rows,
                            "cols", (json_int_t)t->cols, "schemes", schemes);
    return json_array_append_new(r->rows, row) < 0 ? no_memory(r, e) : PQ_OK;
}

/* What goes with the products of this matrix. */
static int settle_encoder(struct pq_sensing *r, size_t tensor, struct pq_err *e)
{
    const struct pq_imatrix *im = r->set->imatrix;
    struct pq_row_encoder *c = &r->trial.encoder;
    pq_feedback_free(&r->feedback);
    c->importance = im && im->importance ? im->importance[tensor] : NULL;
    c->feedback = NULL;
    if (c->solver != PQ_SOLVER_GPTQ || !im || !im->products || !im->products[tensor].lower)
        return PQ_OK;
    c->feedback = &r->feedback;
    return pq_feedback_make(&r->feedback, &im->products[tensor], PQ_USUAL_SWEEPS, r->trial.pool,
                            r->net->tensor[tensor].name, e);
}

static int subject_done(struct pq_sensing *r, size_t tensor, struct pq_err *e)
{
    int rc = PQ_OK;
    struct pq_subject *s = &r->subject[tensor];
    const struct pq_tensor *t = &r->net->tensor[tensor];
    list_candidates(r, tensor, s);
    PQ_TRY(progress(r, t->name, e));
    PQ_TRY(settle_encoder(r, tensor, e));
    for (size_t i = 0; i < s->n; i++)
        PQ_TRY(pq_sample_error(&s->list[i].error, &s->sample, &r->trial, s->list[i].scheme, e));
    PQ_TRY(measure(r, t, s, e));
    PQ_TRY(add_row(r, t, s, e));
    r->done++;
out:
    pq_sample_free(&s->sample);
    pq_tensor_let_go(t, 0, t->rows);
    return rc;
}

/* ---- layer by layer ---- */

/* Keeps some of the inputs of matrices in the layer at hand. */
static void on_inputs(void *ctx, const struct pq_inputs *in)
{
    struct pq_sensing *r = (struct pq_sensing *)ctx;
    const uint64_t cols = in->weight->cols;
    if (r->layer != in->weight->layer)
        return;
    struct pq_sample *s = &r->subject[in->weight - r->net->tensor].sample;
    if (!s->x) {
        s->x = (float *)pq_calloc((size_t)r->tokens / r->input_step + r->windows + 1,
                                  (size_t)cols * sizeof *s->x);
        r->no_memory |= !s->x;
    }
    for (uint64_t i = 0; i < in->n && s->x; i++)
        if (s->seen++ % r->input_step == 0)
            memcpy(s->x + s->n_x++ * cols, in->x + i * in->step, (size_t)cols * sizeof *s->x);
}

static int begin_subjects(const struct pq_sensing *r, int layer, struct pq_err *e)
{
    int rc = PQ_OK;
    for (size_t i = 0; i < r->net->n_tensors; i++) {
        const struct pq_tensor *t = &r->net->tensor[i];
        if (t->layer == layer && pq_role_is_matrix(t->role))
            PQ_TRY(pq_sample_rows(&r->subject[i].sample, t, SAMPLE_ROWS, r->trial.encoder.kern, e));
    }
out:
    return rc;
}

static int end_subjects(struct pq_sensing *r, int layer, struct pq_err *e)
{
    int rc = r->no_memory ? no_memory(r, e) : PQ_OK;
    for (size_t i = 0; rc >= 0 && i < r->net->n_tensors; i++) {
        const struct pq_tensor *t = &r->net->tensor[i];
        if (t->layer == layer && pq_role_is_matrix(t->role))
            rc = subject_done(r, i, e);
    }
    return rc;
}

static int one_layer(struct pq_sensing *r, uint32_t layer, struct pq_err *e)
{
    int rc = PQ_OK;
    const size_t bytes = (size_t)(r->tokens * r->net->hp.hidden) * sizeof *r->h;
    PQ_TRY(begin_subjects(r, (int)layer, e));
    memcpy(r->next, r->h, bytes);
    r->layer = (int)layer;
    for (uint64_t w = 0; w < r->windows; w++)
        pq_session_layer(r->s, layer, r->text.size, pq_sensing_window(r, r->next, w));
    r->layer = PQ_NO_LAYER;
    PQ_TRY(end_subjects(r, (int)layer, e)); /* they start from r->h */
    memcpy(r->h, r->next, bytes);
out:
    return rc;
}

/* Embedding and head, when all layers are done. */
static int outside_layers(struct pq_sensing *r, struct pq_err *e)
{
    int rc = begin_subjects(r, -1, e);
    r->layer = -1;
    for (uint64_t w = 0; rc >= 0 && w < r->windows; w++)
        pq_session_outputs(r->s, r->text.size, pq_sensing_window(r, r->h, w));
    r->layer = PQ_NO_LAYER;
    return rc < 0 ? rc : end_subjects(r, -1, e);
}

/* ---- the whole ---- */

static int memory(struct pq_sensing *r, struct pq_err *e)
{
    const struct pq_network *net = r->net;
    const size_t tokens = (size_t)r->tokens, hidden = net->hp.hidden, vocab = net->hp.vocab;
    r->h = (float *)pq_calloc(tokens, hidden * sizeof *r->h);
    r->next = (float *)pq_calloc(tokens, hidden * sizeof *r->next);
    r->work = (float *)pq_calloc(r->text.size, hidden * sizeof *r->work);
    r->reference = (float *)pq_calloc(tokens, vocab * sizeof *r->reference);
    r->logits = (float *)pq_calloc(PQ_SENSING_BATCH, vocab * sizeof *r->logits);
    r->score = (double *)pq_calloc(tokens, sizeof *r->score);
    r->subject = (struct pq_subject *)pq_calloc(net->n_tensors, sizeof *r->subject);
    r->rows = json_array();
    const bool ok = r->h && r->next && r->work && r->reference && r->logits && r->score;
    return ok && r->subject && r->rows ? PQ_OK : no_memory(r, e);
}

static int begin(struct pq_sensing *r, struct pq_err *e)
{
    int rc = PQ_OK;
    const struct pq_sensitivity_setup *s = r->set;
    PQ_TRY(pq_sensing_read(r, e));
    PQ_TRY(memory(r, e));
    const struct pq_session_setup setup = {.context = r->text.size,
                                           .threads = s->threads,
                                           .kv = PQ_KV_F32,
                                           .cpu = s->cpu_level,
                                           .on_inputs = on_inputs,
                                           .ctx = r};
    PQ_TRY(pq_session_new(&r->s, s->m, &setup, e));
    PQ_TRY(pq_pool_new(&r->trial.pool, s->threads, e));
    r->trial.compute = pq_compute_best(s->cpu_level);
    r->trial.encoder =
        (struct pq_row_encoder){.kern = pq_kern_best(s->cpu_level), .solver = s->solver};
    for (size_t i = 0; i < r->net->n_tensors; i++)
        r->matrices += pq_role_is_matrix(r->net->tensor[i].role);
out:
    return rc;
}

static int measure_all(struct pq_sensing *r, struct pq_err *e)
{
    int rc = PQ_OK;
    PQ_TRY(begin(r, e));
    PQ_TRY(pq_sensing_reference(r, e));
    for (uint32_t l = 0; l < r->net->hp.n_layers; l++)
        PQ_TRY(one_layer(r, l, e));
    PQ_TRY(outside_layers(r, e));
    PQ_TRY(progress(r, "", e));
out:
    return rc;
}

static int report(const struct pq_sensing *r, json_t **out, struct pq_err *e)
{
    const struct pq_sensitivity_setup *s = r->set;
    json_t *targets = json_array();
    for (size_t i = 0; i < s->n_containers; i++)
        json_array_append_new(targets, json_string(s->container[i]->name));
    *out = json_pack("{s:s, s:s, s:s, s:o, s:s, s:I, s:I, s:I, s:s, s:s?, s:b, s:O}", "phiq",
                     pq_version(), "kind", "sensitivity", "model", s->m->name, "targets", targets,
                     "text", pq_path_base(s->text), "window", (json_int_t)r->text.size, "windows",
                     (json_int_t)r->windows, "tokens", (json_int_t)r->tokens, "solver",
                     pq_solver_name(s->solver), "imatrix", s->imatrix_name, "every", (int)s->every,
                     "tensors", r->rows);
    return *out ? PQ_OK : no_memory(r, e);
}

static void release(struct pq_sensing *r)
{
    for (size_t i = 0; r->subject && i < r->net->n_tensors; i++)
        pq_sample_free(&r->subject[i].sample);
    pq_feedback_free(&r->feedback);
    pq_session_free(r->s);
    pq_pool_free(r->trial.pool);
    pq_windows_free(&r->text);
    pq_free(r->h);
    pq_free(r->next);
    pq_free(r->work);
    pq_free(r->reference);
    pq_free(r->logits);
    pq_free(r->score);
    pq_free(r->subject);
    json_decref(r->rows);
}

int pq_sensitivity_measure(json_t **out, const struct pq_sensitivity_setup *s, struct pq_err *e)
{
    struct pq_sensing r = {.set = s, .net = &s->m->net, .layer = PQ_NO_LAYER, .began = pq_now()};
    *out = NULL;
    int rc = measure_all(&r, e);
    if (rc >= 0)
        rc = report(&r, out, e);
    release(&r);
    return rc;
}
