/* The public calls: thin wrappers that turn documents into strings. SPDX-License-Identifier: MIT */
#include "phiq.h"

#include "convert/convert.h"
#include "eval/calibrate.h"
#include "inspect/inspect.h"
#include "refine/refine.h"
#include "report/report.h"

#include <stdlib.h>
#include <string.h>

const char *pq_version(void)
{
    return PQ_VERSION_STRING;
}

const char *pq_status_name(int status)
{
    static const char *const names[] = {
        "ok",
        "out of memory",
        "input/output error",
        "malformed input",
        "not supported",
        "invalid request",
        "cancelled",
        "output exists",
        "verification failed",
    };
    int i = -status;
    return i >= 0 && i < (int)(sizeof names / sizeof names[0]) ? names[i] : "unknown status";
}

/* Takes the reference to doc. */
static int to_string(json_t *doc, char **out, struct pq_err *e)
{
    *out = doc ? json_dumps(doc, JSON_INDENT(2)) : NULL;
    json_decref(doc);
    return *out ? PQ_OK : pq_fail(e, PQ_ENOMEM, "out of memory for the report");
}

/* Were the options set by this library's default call? */
static int check_size(size_t found, size_t expected, const char *call, struct pq_err *e)
{
    return found == expected ? PQ_OK
                             : pq_fail(e, PQ_EINVAL,
                                       "options of %zu bytes, expected %zu: set them with "
                                       "pq_%s_options_default",
                                       found, expected, call);
}

void pq_string_free(char *s)
{
    free(s); /* json_dumps uses malloc */
}

void pq_quantize_options_default(struct pq_quantize_options *o)
{
    *o = (struct pq_quantize_options){.struct_size = sizeof *o};
}

int pq_quantize(const struct pq_quantize_options *o, int dry_run, char **report, struct pq_err *e)
{
    struct pq_run r = {0};
    *report = NULL;
    int rc = check_size(o->struct_size, sizeof *o, "quantize", e);
    if (rc >= 0)
        rc = pq_run_open(&r, o, dry_run != 0, e);
    if (rc >= 0 && !dry_run)
        rc = pq_run_write(&r, e);
    if (rc >= 0)
        rc = to_string(pq_run_report(&r, true), report, e);
    pq_run_close(&r);
    return rc;
}

int pq_info(const char *path, int with_tensors, char **json, struct pq_err *e)
{
    json_t *doc;
    int rc = pq_inspect_info(&doc, path, with_tensors != 0, e);
    *json = NULL;
    return rc < 0 ? rc : to_string(doc, json, e);
}

int pq_plan_device(const char *path, const char *device, uint64_t ram, uint64_t context,
                   char **json, struct pq_err *e)
{
    json_t *doc;
    int rc = pq_inspect_plan(&doc, path, device, ram, context, e);
    *json = NULL;
    return rc < 0 ? rc : to_string(doc, json, e);
}

int pq_compare(const char *a, const char *b, int threads, char **json, struct pq_err *e)
{
    json_t *doc;
    int rc = pq_inspect_compare(&doc, a, b, threads, e);
    *json = NULL;
    return rc < 0 ? rc : to_string(doc, json, e);
}

void pq_eval_options_default(struct pq_eval_options *o)
{
    *o = (struct pq_eval_options){.struct_size = sizeof *o};
}

int pq_eval(const struct pq_eval_options *o, char **json, struct pq_err *e)
{
    json_t *doc;
    *json = NULL;
    int rc = check_size(o->struct_size, sizeof *o, "eval", e);
    if (rc >= 0)
        rc = pq_eval_model(&doc, o, e);
    return rc < 0 ? rc : to_string(doc, json, e);
}

void pq_calibrate_options_default(struct pq_calibrate_options *o)
{
    *o = (struct pq_calibrate_options){.struct_size = sizeof *o};
}

int pq_calibrate(const struct pq_calibrate_options *o, char **json, struct pq_err *e)
{
    json_t *doc;
    *json = NULL;
    int rc = check_size(o->struct_size, sizeof *o, "calibrate", e);
    if (rc >= 0)
        rc = pq_calibrate_model(&doc, o, e);
    return rc < 0 ? rc : to_string(doc, json, e);
}

void pq_report_options_default(struct pq_report_options *o)
{
    *o = (struct pq_report_options){.struct_size = sizeof *o};
}

int pq_report(const struct pq_report_options *o, int dry_run, char **json, struct pq_err *e)
{
    json_t *doc;
    *json = NULL;
    int rc = check_size(o->struct_size, sizeof *o, "report", e);
    if (rc >= 0)
        rc = pq_report_make(&doc, o, dry_run != 0, e);
    return rc < 0 ? rc : to_string(doc, json, e);
}

void pq_sensitivity_options_default(struct pq_sensitivity_options *o)
{
    *o = (struct pq_sensitivity_options){.struct_size = sizeof *o};
}

int pq_sensitivity(const struct pq_sensitivity_options *o, char **json, struct pq_err *e)
{
    json_t *doc;
    *json = NULL;
    int rc = check_size(o->struct_size, sizeof *o, "sensitivity", e);
    if (rc >= 0)
        rc = pq_sensitivity_model(&doc, o, e);
    return rc < 0 ? rc : to_string(doc, json, e);
}

int pq_tokenize(const char *path, const char *text, int chat, const char *template_name,
                char **json, struct pq_err *e)
{
    const struct pq_text what = {text, strlen(text), chat != 0, template_name};
    json_t *doc;
    int rc = pq_inspect_tokenize(&doc, path, &what, e);
    *json = NULL;
    return rc < 0 ? rc : to_string(doc, json, e);
}

int pq_model_open(struct pq_model **out, const char *path, struct pq_err *e)
{
    return pq_model_load(out, path, e);
}

void pq_model_close(struct pq_model *m)
{
    pq_model_free(m);
}

size_t pq_model_n_tensors(const struct pq_model *m)
{
    return m->net.n_tensors;
}

int pq_model_tensor(const struct pq_model *m, size_t i, struct pq_tensor_info *info)
{
    if (i >= m->net.n_tensors)
        return PQ_EINVAL;
    const struct pq_tensor *t = &m->net.tensor[i];
    *info = (struct pq_tensor_info){
        t->name, pq_role_name(t->role), t->slice[0].view.scheme->name, t->layer, t->rows, t->cols};
    return PQ_OK;
}

int pq_model_rows(const struct pq_model *m, size_t i, uint64_t row0, uint64_t n, float *out,
                  struct pq_err *e)
{
    if (i >= m->net.n_tensors)
        return pq_fail(e, PQ_EINVAL, "tensor %zu of %zu", i, m->net.n_tensors);
    const struct pq_tensor *t = &m->net.tensor[i];
    if (row0 > t->rows || n > t->rows - row0)
        return pq_fail(e, PQ_EINVAL, "tensor %s: rows %llu + %llu of %llu", t->name,
                       (unsigned long long)row0, (unsigned long long)n,
                       (unsigned long long)t->rows);
    for (uint64_t r = 0; r < n; r++)
        pq_tensor_row(t, pq_kern_best(NULL), row0 + r, out + r * t->cols);
    return PQ_OK;
}

void pq_refine_options_default(struct pq_refine_options *o)
{
    *o = (struct pq_refine_options){.struct_size = sizeof *o};
}

int pq_refine(const struct pq_refine_options *o, char **json, struct pq_err *e)
{
    json_t *doc;
    *json = NULL;
    int rc = check_size(o->struct_size, sizeof *o, "refine", e);
    if (rc >= 0)
        rc = pq_refine_model(&doc, o, e);
    return rc < 0 ? rc : to_string(doc, json, e);
}
