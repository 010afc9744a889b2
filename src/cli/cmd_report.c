/* phiq report. SPDX-License-Identifier: MIT */
#include "cli/cli.h"
#include "report/report.h"

#include <stdio.h>
#include <string.h>

/* What it will take is a line of its own, said before the work. */
static int step(void *ctx, const struct pq_progress *p)
{
    struct pq_bar *bar = (struct pq_bar *)ctx;
    if (strcmp(p->stage, "plan"))
        return pq_bar_step(bar, p);
    if (!bar->quiet)
        fprintf(stderr, "%s\n", p->tensor);
    return pq_interrupted();
}

static void left_out(const json_t *doc)
{
    size_t i;
    const json_t *row;
    json_array_foreach(json_object_get(doc, "left_out"), i, row)
    {
        printf("left out: %s %s%s: %s\n", str(row, "target"), str(row, "scheme"), str(row, "path"),
               str(row, "why"));
    }
}

static int print_rows(const json_t *doc, struct pq_err *e)
{
    char size[32];
    size_t i;
    const json_t *row;
    struct pq_table t;
    pq_table_begin(&t, "llrrrrl");
    const char *head[] = {"target",        "scheme",     "size", "bits/weight",
                          "KL divergence", "same token", "best"};
    for (i = 0; i < 7; i++)
        pq_table_cell(&t, "%s", head[i]);
    json_array_foreach(json_object_get(doc, "rows"), i, row)
    {
        const char *scheme = str(row, "scheme");
        pq_table_cell(&t, "%s", str(row, "target"));
        pq_table_cell(&t, "%s", *scheme ? scheme : str(row, "path"));
        pq_table_cell(&t, "%s", pq_text_bytes(num(row, "file_bytes"), size));
        pq_table_cell(&t, "%.3f", num(row, "bits_per_weight"));
        pq_table_cell(&t, "%.3g", num(json_object_get(row, "kl_divergence"), "mean"));
        pq_table_cell(&t, "%.1f %%", 100 * num(json_object_get(row, "top1_agreement"), "mean"));
        pq_table_cell(&t, "%s", json_is_true(json_object_get(row, "pareto")) ? "*" : "");
    }
    return pq_table_print(&t, e);
}

static void print_plan(const json_t *doc)
{
    char all[32], most[32];
    const json_t *p = json_object_get(doc, "plan");
    printf("%.0f outputs, one after the other: %s written in all, at most %s of temporary files at "
           "a time\n%.0f passes over %.0f tokens: %.3g multiplications\n",
           num(p, "outputs"), pq_text_bytes(num(p, "written_bytes"), all),
           pq_text_bytes(num(p, "temporary_bytes"), most), num(p, "passes"),
           num(p, "tokens_per_pass"), num(p, "multiply_adds"));
}

static int print_result(const json_t *doc, const struct pq_report_options *o,
                        const struct pq_args *a, struct pq_err *e)
{
    char took[32], peak[32];
    left_out(doc);
    if (a->dry_run) {
        print_plan(doc);
        return PQ_OK;
    }
    int rc = print_rows(doc, e);
    printf("%s: %s, at most %s of memory\n", o->out, pq_text_seconds(num(doc, "seconds"), took),
           pq_text_bytes(num(doc, "peak_rss_bytes"), peak));
    return rc;
}

int pq_cmd_report(const struct pq_args *a, struct pq_err *e)
{
    json_t *doc;
    struct pq_bar bar;
    struct pq_report_options o;
    pq_report_options_default(&o);
    o.model = a->pos[0];
    o.output = a->pos + 1;
    o.n_outputs = (size_t)a->n_pos - 1;
    o.out = a->out ? a->out : a->json ? NULL : "report.html";
    o.text = a->text;
    o.targets = a->to;
    o.precisions = a->precisions;
    o.solver = a->solver;
    o.imatrix = a->imatrix;
    o.calibration = a->calibration;
    o.temp_dir = a->temp;
    o.window = (int)a->window;
    o.max_windows = a->windows;
    o.threads = (int)a->threads;
    o.cpu_level = a->cpu;
    o.progress = step;
    o.progress_ctx = &bar;
    pq_bar_begin(&bar, a->quiet);
    int rc = pq_report_make(&doc, &o, a->dry_run, e);
    pq_bar_end(&bar);
    if (rc < 0)
        return rc;
    if (a->json)
        return pq_print_json(doc, e);
    if (!a->quiet)
        rc = print_result(doc, &o, a, e);
    json_decref(doc);
    return rc;
}
