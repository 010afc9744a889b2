/* What schemes cost, for a run that chooses among them, or for a file. SPDX-License-Identifier: MIT
 */
#include "eval/sensitivity.h"
#include "base/sys.h"
#include "convert/convert.h"

static int measure(json_t **out, const struct pq_run *r, struct pq_sensitivity_setup *s,
                   struct pq_err *e)
{
    const struct pq_container *container[16];
    for (size_t i = 0; i < r->n_targets && i < sizeof container / sizeof *container; i++)
        container[s->n_containers++] = r->target[i].container;
    s->m = r->model;
    s->container = container;
    s->solver = r->solver;
    s->imatrix = &r->imatrix;
    s->imatrix_name = r->target[0].request.imatrix_name;
    s->threads = r->threads;
    s->cpu_level = r->opt->cpu_level;
    s->progress = r->opt->progress;
    s->progress_ctx = r->opt->progress_ctx;
    return pq_sensitivity_measure(out, s, e);
}

int pq_run_sensitivity(struct pq_run *r, struct pq_err *e)
{
    const struct pq_quantize_options *o = r->opt;
    struct pq_sensitivity_setup s = {.text = o->calibration};
    if (o->sensitivity)
        return pq_sensitivity_read(&r->sensitivity, o->sensitivity, &r->model->net, e);
    return measure(&r->sensitivity, r, &s, e);
}

/* ---- phiq sensitivity ---- */

static int write_file(const json_t *doc, const char *path, struct pq_err *e)
{
    struct pq_buf b = {0};
    struct pq_whole w = {0};
    int rc = PQ_OK;
    PQ_TRY(pq_json_print(&b, doc, e));
    PQ_TRY(pq_whole_create(&w, path, b.len, e));
    PQ_TRY(pq_out_put(&w.out, b.data, b.len, 0, e));
    PQ_TRY(pq_whole_finish(&w, e));
out:
    pq_whole_abandon(&w);
    pq_buf_free(&b);
    return rc;
}

/* A run that plans and measures, and writes nothing else. */
static int measured(json_t **out, struct pq_run *r, const struct pq_sensitivity_options *o,
                    struct pq_err *e)
{
    int rc = PQ_OK;
    const struct pq_quantize_options q = {.struct_size = sizeof q,
                                          .input = o->model,
                                          .out_dir = ".",
                                          .targets = o->targets,
                                          .solver = o->solver,
                                          .imatrix = o->imatrix,
                                          .threads = o->threads,
                                          .cpu_level = o->cpu_level,
                                          .progress = o->progress,
                                          .progress_ctx = o->progress_ctx};
    struct pq_sensitivity_setup s = {.text = o->text,
                                     .window = (uint32_t)o->window,
                                     .windows = o->max_windows,
                                     .every = o->every != 0};
    PQ_TRY(pq_run_open(r, &q, true, e));
    PQ_TRY(measure(out, r, &s, e));
    PQ_TRY(write_file(*out, o->out, e));
out:
    r->opt = NULL;
    return rc;
}

int pq_sensitivity_model(json_t **out, const struct pq_sensitivity_options *o, struct pq_err *e)
{
    struct pq_run r = {0};
    const double began = pq_now();
    *out = NULL;
    if (!o->model || !o->text || !o->out)
        return pq_fail(e, PQ_EINVAL, "a model, a text and a file to write are needed");
    int rc = measured(out, &r, o, e);
    if (rc >= 0) {
        json_object_set_new(*out, "path", json_string(o->out));
        json_object_set_new(*out, "seconds", json_real(pq_now() - began));
        json_object_set_new(*out, "peak_rss_bytes", json_integer((json_int_t)pq_peak_rss()));
    } else {
        json_decref(*out);
        *out = NULL;
    }
    pq_run_close(&r);
    return rc;
}
