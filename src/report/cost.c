/* What a report will take: which choices are possible, their bytes, the passes over the text.
 * SPDX-License-Identifier: MIT */
#include "report/report.h"

#include <inttypes.h>
#include <stdio.h>

uint64_t pq_logits_room(const struct pq_report_run *r, uint64_t windows)
{
    return windows * (r->windows.size - 1 - r->first) * r->model->net.hp.vocab * 4;
}

/* Bytes that a choice would be written to. */
static int plan_choice(const struct pq_report_run *r, struct pq_choice *c, struct pq_err *e)
{
    struct pq_run run = {0};
    struct pq_quantize_options o = pq_choice_options(r, c);
    o.calibration = r->set->calibration; /* which a dry run only takes into account */
    int rc = pq_run_open(&run, &o, true, e);
    if (rc >= 0)
        c->bytes = pq_plan_bytes(&run.target[0].plan);
    pq_run_close(&run);
    return rc;
}

/* A given output must be of the same network. */
static int check_given(const struct pq_report_run *r, struct pq_choice *c, struct pq_err *e)
{
    struct pq_model *m;
    int rc = pq_model_load(&m, c->path, e);
    if (rc < 0)
        return rc;
    c->container = m->container;
    if (m->net.n_tensors != r->model->net.n_tensors || m->net.hp.vocab != r->model->net.hp.vocab ||
        !m->has_vocab)
        rc = pq_fail(e, PQ_EINVAL,
                     "%s: %zu tensors and a vocabulary of %u%s, %s has %zu and %u: not the same "
                     "network",
                     c->path, m->net.n_tensors, m->net.hp.vocab,
                     m->has_vocab ? "" : " without a tokenizer", r->set->model,
                     r->model->net.n_tensors, r->model->net.hp.vocab);
    pq_model_free(m);
    return rc;
}

/* What cannot be done for this one, and is no reason to stop. */
bool pq_only_this(int rc)
{
    return rc == PQ_EINVAL || rc == PQ_EUNSUPPORTED || rc == PQ_EFORMAT;
}

void pq_leave_out(json_t *list, const struct pq_choice *c, const struct pq_err *e)
{
    json_array_append_new(list, json_pack("{s:s, s:s?, s:s?, s:s}", "target", c->container->name,
                                          "scheme", c->recipe ? c->recipe->name : NULL, "path",
                                          c->path, "why", e->msg));
}

/* Containers may refuse a scheme for this network; those are named in the report. */
int pq_report_plan(struct pq_report_run *r, json_t *left_out, struct pq_err *e)
{
    size_t kept = 0;
    for (size_t i = 0; i < r->n_choices; i++) {
        struct pq_choice *c = &r->choice[i];
        struct pq_err why = {0};
        const int rc = c->path ? check_given(r, c, e) : plan_choice(r, c, &why);
        if (rc < 0 && c->path)
            return rc;
        if (rc < 0 && !pq_only_this(rc))
            return pq_fail(e, rc, "%s", why.msg);
        if (rc < 0)
            pq_leave_out(left_out, c, &why);
        else
            r->choice[kept++] = *c;
    }
    r->n_choices = kept;
    const json_t *why = json_object_get(json_array_get(left_out, 0), "why");
    return kept ? PQ_OK : pq_fail(e, PQ_EINVAL, "nothing to measure: %s", json_string_value(why));
}

json_t *pq_report_cost(const struct pq_report_run *r)
{
    uint64_t written = 0, largest = 0;
    const uint64_t passes = r->n_choices + 1, tokens = r->windows.n * r->windows.size;
    for (size_t i = 0; i < r->n_choices; i++) {
        written += r->choice[i].bytes;
        largest = r->choice[i].bytes > largest ? r->choice[i].bytes : largest;
    }
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:f}", "outputs", (json_int_t)r->n_choices,
                     "written_bytes", (json_int_t)written, "temporary_bytes",
                     (json_int_t)(largest + pq_logits_room(r, r->windows.n)), "passes",
                     (json_int_t)passes, "tokens_per_pass", (json_int_t)tokens, "multiply_adds",
                     (double)pq_network_weights(&r->model->net) * (double)(passes * tokens));
}

static int say(const struct pq_report_run *r, const char *words, struct pq_err *e)
{
    const struct pq_progress p = {"plan", words, 0, 1, 0};
    return r->set->progress && r->set->progress(r->set->progress_ctx, &p)
               ? pq_fail(e, PQ_ECANCELLED, "stopped on request")
               : PQ_OK;
}

int pq_announce(const struct pq_report_run *r, const json_t *plan, struct pq_err *e)
{
    char words[200];
    snprintf(words, sizeof words,
             "%zu outputs, one after the other: %.0f MB written in all, at most %.0f MB of "
             "temporary files at a time; %zu passes over %" PRIu64 " tokens",
             r->n_choices, 1e-6 * json_number_value(json_object_get(plan, "written_bytes")),
             1e-6 * json_number_value(json_object_get(plan, "temporary_bytes")), r->n_choices + 1,
             r->windows.n * r->windows.size);
    return say(r, words, e);
}

/* Quantized models take about as long as the reference did. */
int pq_announce_time(const struct pq_report_run *r, const json_t *reference, struct pq_err *e)
{
    char words[120];
    const double each = json_number_value(json_object_get(reference, "seconds"));
    const double minutes = each * (double)(r->n_choices + 1) / 60;
    if (minutes < 2)
        return PQ_OK;
    snprintf(words, sizeof words, "the original took %.0f s: about %.0f minutes in all", each,
             minutes);
    return say(r, words, e);
}
