/* One row of a report: a choice is written, evaluated, compared, sampled and removed.
 * SPDX-License-Identifier: MIT */
#include "base/sys.h"
#include "eval/calibrate.h"
#include "report/report.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- progress: windows over all evaluations, and one more for writing each choice ---- */

static int step(void *ctx, const struct pq_progress *p)
{
    struct pq_report_run *r = (struct pq_report_run *)ctx;
    const struct pq_choice *c = r->at ? &r->choice[r->at - 1] : NULL;
    const bool evaluating = !strcmp(p->stage, "evaluate");
    const uint64_t each = r->windows.n + 1;
    char words[160];
    if (!c && evaluating)
        snprintf(words, sizeof words, "reference: %s", p->tensor);
    else if (!c)
        snprintf(words, sizeof words, "%s: %" PRIu64 "/%" PRIu64, p->stage, p->done, p->total);
    else
        snprintf(words, sizeof words, "%zu/%zu %s: %s", r->at, r->n_choices,
                 c->path ? pq_path_base(c->path) : c->recipe->name,
                 evaluating ? p->tensor : p->stage);
    const struct pq_progress all = {"report", words, r->at * each + (evaluating ? 1 + p->done : 0),
                                    (r->n_choices + 1) * each, pq_now() - r->began};
    return r->set->progress(r->set->progress_ctx, &all);
}

/* ---- writing ---- */

struct pq_quantize_options pq_choice_options(const struct pq_report_run *r,
                                             const struct pq_choice *c)
{
    struct pq_quantize_options o;
    pq_quantize_options_default(&o);
    o.input = r->set->model;
    o.out_dir = r->made;
    o.targets = c->container->name;
    o.scheme = c->recipe->name;
    o.solver = r->set->solver;
    o.imatrix = r->stats ? r->stats : r->set->imatrix;
    o.threads = r->set->threads;
    o.cpu_level = r->set->cpu_level;
    return o;
}

/* Matrices by the solver that chose their codes. */
static void note_solvers(json_t *row, const struct pq_run *run)
{
    json_t *done = pq_run_report(run, false);
    const json_t *target = json_array_get(json_object_get(done, "targets"), 0);
    json_object_set(row, "solvers", json_object_get(target, "solvers"));
    json_decref(done);
}

static int write_choice(const char **path, struct pq_report_run *r, const struct pq_choice *c,
                        json_t *row, struct pq_err *e)
{
    int rc = PQ_OK;
    const double t0 = pq_now();
    struct pq_run run = {0};
    struct pq_quantize_options o = pq_choice_options(r, c);
    o.progress = r->set->progress ? step : NULL;
    o.progress_ctx = r;
    PQ_TRY(pq_run_open(&run, &o, false, e));
    PQ_TRY(pq_run_write(&run, e));
    *path = pq_arena_strdup(&r->arena, run.target[0].path);
    json_object_set_new(row, "seconds", json_real(pq_now() - t0));
    note_solvers(row, &run);
    if (!*path)
        rc = pq_fail(e, PQ_ENOMEM, "out of memory for the report");
out:
    pq_run_close(&run);
    return rc;
}

/* ---- evaluating ---- */

static struct pq_eval_options eval_options(struct pq_report_run *r, const char *model)
{
    struct pq_eval_options o;
    pq_eval_options_default(&o);
    o.model = model;
    o.text = r->text;
    o.window = (int)r->windows.size;
    o.max_windows = r->windows.n;
    o.threads = r->set->threads;
    o.cpu_level = r->set->cpu_level;
    o.progress = r->set->progress ? step : NULL;
    o.progress_ctx = r;
    return o;
}

int pq_measure_reference(json_t **doc, struct pq_report_run *r, struct pq_err *e)
{
    struct pq_eval_options o = eval_options(r, r->set->model);
    o.save_logits = r->logits;
    return pq_eval_model(doc, &o, e);
}

int pq_measure_inputs(struct pq_report_run *r, struct pq_err *e)
{
    json_t *doc;
    struct pq_calibrate_options o;
    pq_calibrate_options_default(&o);
    o.model = r->set->model;
    o.text = r->set->calibration;
    o.out = pq_path_join(&r->arena, r->temp, "inputs.gguf");
    o.products = !r->set->solver || !strcmp(r->set->solver, pq_solver_name(PQ_SOLVER_GPTQ));
    o.max_windows = pq_calibration_windows(&r->model->net);
    o.threads = r->set->threads;
    o.cpu_level = r->set->cpu_level;
    o.progress = r->set->progress ? step : NULL;
    o.progress_ctx = r;
    int rc = o.out ? pq_calibrate_model(&doc, &o, e)
                   : pq_fail(e, PQ_ENOMEM, "out of memory for the report");
    if (rc < 0)
        return rc;
    json_decref(doc);
    r->stats = o.out;
    return PQ_OK;
}

static void note_tokens(const struct pq_report_run *r)
{
    for (size_t i = 0; i < r->log->n; i++)
        for (size_t k = 0; k < PQ_TOKENS_TOP; k++) {
            r->seen[r->log->model[i].id[k]] = true;
            r->seen[r->log->reference[i].id[k]] = true;
        }
}

static int evaluate(json_t *row, struct pq_report_run *r, const char *path, struct pq_err *e)
{
    static const char *const kept[] = {"kl_divergence", "perplexity", "top1_agreement", "flips",
                                       "log_perplexity_ratio"};
    const struct pq_eval_watch watch = {pq_tokens_watch, r->log};
    struct pq_eval_options o = eval_options(r, path);
    json_t *doc;
    o.reference = r->logits;
    int rc = pq_eval_watched(&doc, &o, &watch, e);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        json_object_set(row, kept[i], json_object_get(doc, kept[i]));
    json_object_set_new(row, "tokens", pq_tokens_of(r->log));
    note_tokens(r);
    json_decref(doc);
    return PQ_OK;
}

/* ---- weights ---- */

/* Rows of a list by their name. */
static json_t *by_name(const json_t *list)
{
    json_t *found = json_object(), *row;
    size_t i;
    json_array_foreach(list, i, row)
    {
        json_object_set(found, json_string_value(json_object_get(row, "name")), row);
    }
    return found;
}

/* Columns in the order of the source's tensors. */
static json_t *tensor_columns(const struct pq_network *net, const json_t *info,
                              const json_t *compared)
{
    json_t *scheme = json_array(), *bytes = json_array(), *error = json_array();
    json_t *about = by_name(json_object_get(info, "tensors"));
    json_t *apart = by_name(json_object_get(compared, "tensors"));
    for (size_t i = 0; i < net->n_tensors; i++) {
        const json_t *a = json_object_get(about, net->tensor[i].name);
        const json_t *b = json_object_get(apart, net->tensor[i].name);
        json_array_append(scheme, json_object_get(a, "scheme"));
        json_array_append(bytes, json_object_get(a, "bytes"));
        json_array_append(error, json_object_get(b, "rel_rms_error"));
    }
    json_decref(about);
    json_decref(apart);
    return json_pack("{s:o, s:o, s:o}", "scheme", scheme, "bytes", bytes, "rel_rms_error", error);
}

static int weigh(json_t *row, const struct pq_report_run *r, const char *path, struct pq_err *e)
{
    static const char *const kept[] = {"file_bytes", "bits_per_weight", "schemes"};
    int rc = PQ_OK;
    json_t *info = NULL, *compared = NULL;
    PQ_TRY(pq_inspect_info(&info, path, true, e));
    PQ_TRY(pq_inspect_compare(&compared, r->set->model, path, r->set->threads, e));
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        json_object_set(row, kept[i], json_object_get(info, kept[i]));
    json_object_set(row, "rel_rms_error", json_object_get(compared, "rel_rms_error"));
    json_object_set_new(row, "tensors", tensor_columns(&r->model->net, info, compared));
out:
    json_decref(info);
    json_decref(compared);
    return rc;
}

static int sample(json_t *row, const struct pq_report_run *r, const char *path, struct pq_err *e)
{
    struct pq_model *m;
    json_t *j;
    int rc = pq_model_load(&m, path, e);
    if (rc < 0)
        return rc;
    rc = pq_sample_of(&j, &r->sample, &m->net, e);
    if (rc >= 0)
        json_object_set_new(row, "numbers", j);
    pq_model_free(m);
    return rc;
}

/* ---- the row ---- */

static json_t *identity(const struct pq_choice *c)
{
    json_t *row = json_pack("{s:s, s:s?, s:s?}", "target", c->container->name, "scheme",
                            c->recipe ? c->recipe->name : NULL, "precision", c->precision);
    if (c->path)
        json_object_set_new(row, "path", json_string(c->path));
    return row;
}

int pq_measure(json_t **row, struct pq_report_run *r, struct pq_choice *c, struct pq_err *e)
{
    int rc = PQ_OK;
    const char *path = c->path;
    json_t *j = identity(c);
    *row = NULL;
    if (!j)
        PQ_TRY(pq_fail(e, PQ_ENOMEM, "out of memory for the report"));
    if (!path)
        PQ_TRY(write_choice(&path, r, c, j, e));
    PQ_TRY(evaluate(j, r, path, e));
    PQ_TRY(weigh(j, r, path, e));
    PQ_TRY(sample(j, r, path, e));
    json_object_set_new(j, "commands", pq_commands_of(r, c, path));
    *row = j;
    j = NULL;
out:
    json_decref(j);
    if (!c->path) {
        struct pq_err ignored = {0};
        const int removed = pq_tree_remove(r->made, rc < 0 ? &ignored : e);
        if (rc >= 0 && removed < 0) {
            json_decref(*row);
            *row = NULL;
            rc = removed;
        }
    }
    return rc;
}

/* ---- the best of all ---- */

static double bytes_of(const json_t *row)
{
    return json_number_value(json_object_get(row, "file_bytes"));
}

static double loss_of(const json_t *row)
{
    const json_t *kld = json_object_get(row, "kl_divergence");
    return fmax(json_number_value(json_object_get(kld, "mean")), PQ_KLD_FLOOR);
}

static bool beaten(const json_t *rows, const json_t *row)
{
    size_t i;
    json_t *other;
    const double bytes = bytes_of(row), loss = loss_of(row);
    json_array_foreach(rows, i, other)
    {
        const double b = bytes_of(other), l = loss_of(other);
        if (b <= bytes && l <= loss && (b < bytes || l < loss))
            return true;
    }
    return false;
}

void pq_rows_pareto(json_t *rows)
{
    size_t i;
    json_t *row;
    json_array_foreach(rows, i, row)
    {
        json_object_set_new(row, "pareto", json_boolean(!beaten(rows, row)));
    }
}
