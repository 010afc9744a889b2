/* A run as a JSON document: the plan before writing, the result after. Fields: docs/json.md.
 * SPDX-License-Identifier: MIT */
#include "base/sys.h"
#include "convert/convert.h"

#include <math.h>

static double item_bytes(const struct pq_item *it)
{
    double sum = 0;
    for (int i = 0; i < it->n_parts; i++)
        sum += (double)it->bytes[i];
    return sum;
}

static json_t *item_row(const struct pq_run *r, const struct pq_target *t, size_t i)
{
    const struct pq_item *it = &t->plan.item[i];
    if (!it->tensor)
        return json_pack("{s:s, s:s, s:f}", "name", it->name, "scheme", "literal", "bytes",
                         item_bytes(it));
    double weights = (double)it->tensor->rows * (double)it->tensor->cols;
    json_t *row =
        json_pack("{s:s, s:s, s:s, s:s, s:i, s:I, s:I, s:I, s:f}", "name", it->name, "tensor",
                  it->tensor->name, "role", pq_role_name(it->tensor->role), "scheme",
                  it->scheme->name, "layer", it->tensor->layer, "rows",
                  (json_int_t)it->tensor->rows, "cols", (json_int_t)it->tensor->cols, "bytes",
                  (json_int_t)item_bytes(it), "bits_per_weight", item_bytes(it) * 8 / weights);
    if (row && it->scheme->family != PQ_FAM_FLOAT)
        json_object_set_new(row, "solver", json_string(pq_solver_name(pq_run_solver_of(r, it))));
    if (row && r->written) {
        struct pq_row_error s = pq_item_error(t, i, &r->units);
        json_object_set_new(row, "rel_rms_error", json_real(s.ref > 0 ? sqrt(s.err / s.ref) : 0.0));
    }
    return row;
}

static void count(json_t *counts, const char *name)
{
    const json_int_t n = json_integer_value(json_object_get(counts, name));
    json_object_set_new(counts, name, json_integer(n + 1));
}

/* Weights, bytes and error over the matrices: what a scheme is about. */
static void summarise(const struct pq_run *r, const struct pq_target *t, json_t *out)
{
    double weights = 0, bytes = 0, err = 0, ref = 0;
    json_t *schemes = json_object(), *solvers = json_object();
    for (size_t i = 0; i < t->plan.n_items; i++) {
        const struct pq_item *it = &t->plan.item[i];
        if (!it->tensor)
            continue;
        weights += (double)it->tensor->rows * (double)it->tensor->cols;
        bytes += item_bytes(it);
        count(schemes, it->scheme->name);
        if (it->scheme->family != PQ_FAM_FLOAT)
            count(solvers, pq_solver_name(pq_run_solver_of(r, it)));
        if (r->written && pq_role_is_matrix(it->tensor->role)) {
            struct pq_row_error s = pq_item_error(t, i, &r->units);
            err += s.err;
            ref += s.ref;
        }
    }
    json_object_set_new(out, "weights", json_integer((json_int_t)weights));
    json_object_set_new(out, "bits_per_weight", json_real(weights > 0 ? bytes * 8 / weights : 0));
    json_object_set_new(out, "schemes", schemes);
    json_object_set_new(out, "solvers", solvers);
    if (r->written)
        json_object_set_new(out, "rel_rms_error", json_real(ref > 0 ? sqrt(err / ref) : 0.0));
}

static json_t *mix_end(const struct pq_mix_end *d)
{
    return json_pack("{s:I, s:f, s:f}", "bytes", (json_int_t)d->bytes, "bits_per_weight", d->bits,
                     "expected_kld", d->kld);
}

/* What a choice for a target came to, and between what it had to lie. */
static json_t *mix_words(const struct pq_target *t)
{
    json_t *schemes = json_object();
    for (size_t i = 0; i < t->plan.n_items; i++) {
        const struct pq_item *it = &t->plan.item[i];
        if (it->tensor && pq_role_is_matrix(it->tensor->role))
            count(schemes, it->scheme->name);
    }
    return json_pack("{s:f, s:o, s:o, s:o}", "expected_kld", t->mix.kld, "matrices", schemes,
                     "least", mix_end(&t->mix.end[0]), "most", mix_end(&t->mix.end[1]));
}

static json_t *target_row(const struct pq_run *r, const struct pq_target *t, bool with_tensors)
{
    json_t *out = json_pack("{s:s, s:s, s:I}", "target", t->container->name, "scheme",
                            t->request.recipe->name, "bytes", (json_int_t)pq_plan_bytes(&t->plan));
    json_t *files = json_array(), *notes = json_array();
    if (t->path)
        json_object_set_new(out, "path", json_string(t->path));
    for (size_t i = 0; i < t->plan.n_files; i++)
        json_array_append_new(files, json_pack("{s:s, s:I}", "name", t->plan.file[i].name, "bytes",
                                               (json_int_t)t->plan.file[i].size));
    for (int i = 0; i < t->plan.n_notes; i++)
        json_array_append_new(notes, json_string(t->plan.note[i]));
    json_object_set_new(out, "files", files);
    json_object_set_new(out, "notes", notes);
    summarise(r, t, out);
    if (t->mix.chosen)
        json_object_set_new(out, "mix", mix_words(t));
    if (with_tensors) {
        json_t *rows = json_array();
        for (size_t i = 0; i < t->plan.n_items; i++)
            json_array_append_new(rows, item_row(r, t, i));
        json_object_set_new(out, "tensors", rows);
    }
    return out;
}

json_t *pq_run_report(const struct pq_run *r, bool with_tensors)
{
    json_t *targets = json_array();
    for (size_t i = 0; i < r->n_targets; i++)
        json_array_append_new(targets, target_row(r, &r->target[i], with_tensors));
    return json_pack(
        "{s:s, s:s, s:s, s:s, s:I, s:s, s:s, s:i, s:b, s:{s:f, s:f, s:f, s:f}, s:I, s:o, s:O*}",
        "phiq", pq_version(), "model", r->model->name, "architecture", r->model->net.arch->name,
        "source", r->model->container->name, "source_bytes", (json_int_t)r->model->ckpt->file_bytes,
        "solver", pq_solver_name(r->solver), "cpu_level", r->kern->level, "threads", r->threads,
        "written", r->written, "seconds", "measure", r->seconds_measure, "plan", r->seconds_plan,
        "write", r->seconds_write, "verify", r->seconds_verify, "peak_rss_bytes",
        (json_int_t)pq_peak_rss(), "targets", targets, "calibration", r->calibration);
}
