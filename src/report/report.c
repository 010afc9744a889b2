/* The whole report: what it will take, the reference, choice after choice, the document, the page.
 * SPDX-License-Identifier: MIT */
#include "report/report.h"
#include "base/sys.h"

#include <string.h>

/* Without other words: at most so many windows, and so much room for the reference's predictions.
 */
#define USUAL_WINDOWS 32
#define USUAL_LOGITS 4000000000u
/* The library's own text is short: more, smaller windows. */
#define SAMPLE_WINDOW 128

static int no_memory(struct pq_err *e)
{
    return pq_fail(e, PQ_ENOMEM, "out of memory for the report");
}

/* ---- temporary files: one hidden folder, the only thing that is ever removed ---- */

static int name_temp(struct pq_report_run *r, struct pq_err *e)
{
    const struct pq_report_options *s = r->set;
    const char *base = s->out ? pq_path_base(s->out) : "phiq-report";
    const size_t dir = s->out ? (size_t)(base - s->out) : 0;
    const char *name = pq_arena_printf(&r->arena, ".%s.part", base);
    const char *where = s->temp_dir ? s->temp_dir
                        : dir       ? pq_arena_strndup(&r->arena, s->out, dir)
                                    : ".";
    if (!name || !where)
        return no_memory(e);
    r->temp = pq_path_join(&r->arena, where, name);
    r->made = r->temp ? pq_path_join(&r->arena, r->temp, "out") : NULL;
    r->logits = r->temp ? pq_path_join(&r->arena, r->temp, "reference.logits") : NULL;
    return r->made && r->logits ? PQ_OK : no_memory(e);
}

static int make_temp(struct pq_report_run *r, struct pq_err *e)
{
    int rc = PQ_OK;
    PQ_TRY(pq_tree_remove(r->temp, e)); /* left by a run that was killed */
    r->temp_made = true;
    PQ_TRY(pq_dir_make(r->temp, e));
    r->text = r->set->text;
    r->text_name = r->set->text;
    if (!r->text) {
        r->text_name = "sample.txt";
        r->text = pq_path_join(&r->arena, r->temp, r->text_name);
        if (!r->text)
            return no_memory(e);
        PQ_TRY(pq_file_write(r->text, pq_sample_text, pq_sample_text_size, e));
    }
out:
    return rc;
}

/* ---- the text ---- */

static int cut_text(struct pq_report_run *r, const struct pq_tokenizer *t, struct pq_err *e)
{
    const struct pq_report_options *s = r->set;
    const uint32_t limit = r->model->net.hp.max_position;
    const int window = s->window || s->text    ? s->window
                       : limit < SAMPLE_WINDOW ? (int)limit
                                               : SAMPLE_WINDOW;
    int rc = pq_windows_size(&r->windows.size, window, r->model, e);
    if (rc >= 0)
        rc = pq_windows_read(&r->windows, t, r->model, r->text,
                             s->max_windows ? s->max_windows : USUAL_WINDOWS, e);
    if (rc < 0)
        return rc;
    r->first = r->windows.size / 2;
    while (!s->max_windows && r->windows.n > 1 && pq_logits_room(r, r->windows.n) > USUAL_LOGITS)
        r->windows.n--;
    const uint64_t scored = r->windows.n * (r->windows.size - 1 - r->first);
    r->log->n = scored < PQ_TOKENS_SHOWN ? (size_t)scored : PQ_TOKENS_SHOWN;
    return PQ_OK;
}

/* ---- parts of the document ---- */

static json_t *tensors(const struct pq_network *net)
{
    json_t *list = json_array();
    for (size_t i = 0; i < net->n_tensors; i++) {
        const struct pq_tensor *t = &net->tensor[i];
        json_array_append_new(
            list,
            json_pack("{s:s, s:s, s:i, s:I, s:I, s:b, s:s, s:I}", "name", t->name, "role",
                      pq_role_name(t->role), "layer", t->layer, "rows", (json_int_t)t->rows, "cols",
                      (json_int_t)t->cols, "matrix", pq_role_is_matrix(t->role), "scheme",
                      t->slice[0].view.scheme->name, "bytes", (json_int_t)pq_tensor_bytes(t)));
    }
    return list;
}

static json_t *text_object(const struct pq_report_run *r)
{
    return json_pack("{s:s, s:b, s:i, s:I, s:I}", "path", r->text_name, "own", !r->set->text,
                     "window", (int)r->windows.size, "windows", (json_int_t)r->windows.n,
                     "scored_tokens",
                     (json_int_t)(r->windows.n * (r->windows.size - 1 - r->first)));
}

/* Advice for every device, and what each choice of `phiq plan` takes there. */
static int devices(json_t *doc, const struct pq_report_run *r, struct pq_err *e)
{
    int rc = PQ_OK;
    json_t *list = json_array();
    for (const struct pq_device *d = pq_devices; rc >= 0 && d->name; d++) {
        json_t *plan;
        rc = pq_inspect_plan(&plan, r->set->model, d->name, 0, 0, e);
        if (rc < 0)
            break;
        json_object_set_new(plan, "about", json_string(d->about));
        json_object_set_new(plan, "usual_ram_bytes", json_real(d->usual_ram));
        json_array_append_new(list, plan);
    }
    json_object_set_new(doc, "devices", list);
    return rc;
}

static int open_run(struct pq_report_run *r, struct pq_err *e)
{
    int rc = PQ_OK;
    struct pq_tokenizer *t = NULL;
    if (!r->set->model)
        return pq_fail(e, PQ_EINVAL, "a report needs a model");
    PQ_TRY(pq_model_load(&r->model, r->set->model, e));
    if (!r->model->has_vocab)
        PQ_TRY(pq_fail(e, PQ_EINVAL, "%s: the model has no tokenizer", r->set->model));
    r->log = (struct pq_token_log *)pq_arena_alloc(&r->arena, 1, sizeof *r->log);
    r->seen = (bool *)pq_arena_alloc(&r->arena, r->model->net.hp.vocab, sizeof *r->seen);
    if (!r->log || !r->seen)
        PQ_TRY(no_memory(e));
    PQ_TRY(pq_choices_list(&r->choice, &r->n_choices, &r->arena, r->set, e));
    PQ_TRY(name_temp(r, e));
    PQ_TRY(make_temp(r, e));
    PQ_TRY(pq_tokenizer_new(&t, &r->model->vocab, e));
    PQ_TRY(cut_text(r, t, e));
out:
    pq_tokenizer_free(t);
    return rc;
}

static json_t *begin_document(const struct pq_report_run *r)
{
    const struct pq_report_options *s = r->set;
    return json_pack("{s:s, s:s, s:s, s:s, s:s?, s:s?, s:s?, s:f, s:o, s:o, s:o, s:o}", "phiq",
                     pq_version(), "model", r->model->name, "path", s->model, "architecture",
                     r->model->net.arch->name, "solver", s->solver, "imatrix", s->imatrix,
                     "calibration", s->calibration, "kld_floor", PQ_KLD_FLOOR, "text",
                     text_object(r), "plan", pq_report_cost(r), "left_out", json_array(),
                     "commands", pq_commands_report(r));
}

/* ---- the whole ---- */

static int measure_all(struct pq_report_run *r, json_t *doc, struct pq_err *e)
{
    json_t *rows = json_array(), *left_out = json_object_get(doc, "left_out");
    json_object_set_new(doc, "rows", rows);
    for (r->at = 1; r->at <= r->n_choices; r->at++) {
        struct pq_choice *c = &r->choice[r->at - 1];
        struct pq_err why = {0};
        json_t *row;
        const int rc = pq_measure(&row, r, c, &why);
        if (rc >= 0)
            json_array_append_new(rows, row);
        else if (pq_only_this(rc))
            pq_leave_out(left_out, c, &why);
        else
            return pq_fail(e, rc, "%s", why.msg);
    }
    pq_rows_pareto(rows);
    if (json_array_size(rows))
        return PQ_OK;
    const json_t *first = json_object_get(json_array_get(left_out, 0), "why");
    return pq_fail(e, PQ_EINVAL, "nothing could be measured: %s", json_string_value(first));
}

static int put_text(struct pq_report_run *r, json_t *doc, struct pq_err *e)
{
    int rc = PQ_OK;
    json_t *text = NULL, *pieces = NULL;
    struct pq_tokenizer *t = NULL;
    const uint32_t vocab = r->model->net.hp.vocab;
    for (size_t i = 0; i < r->windows.n * r->windows.size; i++)
        r->seen[r->windows.ids.id[i]] = true;
    PQ_TRY(pq_tokenizer_new(&t, &r->model->vocab, e));
    PQ_TRY(pq_tokens_text(&text, &r->windows, r->first, r->log, t, e));
    PQ_TRY(pq_tokens_spelled(&pieces, r->seen, vocab, t, e));
    json_object_set_new(text, "pieces", pieces);
    json_object_set_new(doc, "tokens", text);
out:
    if (rc < 0)
        json_decref(text);
    pq_tokenizer_free(t);
    return rc;
}

static int measure(struct pq_report_run *r, json_t *doc, struct pq_err *e)
{
    int rc = PQ_OK;
    json_t *info = NULL, *reference = NULL;
    PQ_TRY(pq_measure_reference(&reference, r, e));
    json_object_set_new(reference, "text", json_string(r->text_name));
    json_object_set_new(doc, "reference", reference);
    PQ_TRY(pq_announce_time(r, reference, e));
    PQ_TRY(pq_inspect_info(&info, r->set->model, false, e));
    json_object_set_new(doc, "source", info);
    json_object_set_new(doc, "tensors", tensors(&r->model->net));
    if (r->set->calibration && !r->set->n_outputs)
        PQ_TRY(pq_measure_inputs(r, e));
    PQ_TRY(pq_sample_open(&r->sample, &r->model->net, e));
    json_object_set_new(doc, "numbers", pq_sample_source(&r->sample));
    PQ_TRY(measure_all(r, doc, e));
    PQ_TRY(put_text(r, doc, e));
    PQ_TRY(devices(doc, r, e));
    json_object_set_new(doc, "seconds", json_real(pq_now() - r->began));
    json_object_set_new(doc, "peak_rss_bytes", json_integer((json_int_t)pq_peak_rss()));
out:
    return rc;
}

static int write_page(const char *path, const json_t *doc, struct pq_err *e)
{
    int rc = PQ_OK;
    struct pq_buf html = {0};
    struct pq_whole file = {.out = {.fd = -1}};
    PQ_TRY(pq_report_page(&html, doc, e));
    PQ_TRY(pq_whole_create(&file, path, html.len, e));
    PQ_TRY(pq_out_put(&file.out, html.data, html.len, 0, e));
    PQ_TRY(pq_whole_finish(&file, e));
out:
    pq_whole_abandon(&file);
    pq_buf_free(&html);
    return rc;
}

static int make(struct pq_report_run *r, json_t **doc, bool dry_run, struct pq_err *e)
{
    int rc = PQ_OK;
    json_t *left_out = json_array();
    PQ_TRY(open_run(r, e));
    PQ_TRY(pq_report_plan(r, left_out, e));
    *doc = begin_document(r);
    if (!*doc)
        PQ_TRY(no_memory(e));
    json_array_extend(json_object_get(*doc, "left_out"), left_out);
    PQ_TRY(pq_announce(r, json_object_get(*doc, "plan"), e));
    if (dry_run)
        goto out;
    PQ_TRY(measure(r, *doc, e));
    if (r->set->out)
        PQ_TRY(write_page(r->set->out, *doc, e));
out:
    json_decref(left_out);
    return rc;
}

int pq_report_make(json_t **out, const struct pq_report_options *s, bool dry_run, struct pq_err *e)
{
    struct pq_report_run r = {.set = s, .began = pq_now()};
    struct pq_err ignored = {0};
    *out = NULL;
    int rc = make(&r, out, dry_run, e);
    if (r.temp_made) {
        const int removed = pq_tree_remove(r.temp, rc < 0 ? &ignored : e);
        rc = rc < 0 ? rc : removed;
    }
    if (rc < 0) {
        json_decref(*out);
        *out = NULL;
    }
    pq_sample_close(&r.sample);
    pq_windows_free(&r.windows);
    pq_model_free(r.model);
    pq_arena_free(&r.arena);
    return rc;
}

const char *pq_report_text(void)
{
    return pq_sample_text;
}
