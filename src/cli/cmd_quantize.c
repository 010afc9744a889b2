/* phiq quantize. SPDX-License-Identifier: MIT */
#include "base/sys.h"
#include "cli/cli.h"

#include <stdio.h>

static int print_tensors(const json_t *target, struct pq_err *e)
{
    char size[32];
    size_t i;
    const json_t *row;
    struct pq_table t;
    pq_table_begin(&t, "lllrrr");
    const char *head[] = {"tensor", "scheme", "solver", "shape", "bytes", "bits/weight"};
    for (i = 0; i < 6; i++)
        pq_table_cell(&t, "%s", head[i]);
    json_array_foreach(json_object_get(target, "tensors"), i, row)
    {
        pq_table_cell(&t, "%s", str(row, "name"));
        pq_table_cell(&t, "%s", str(row, "scheme"));
        pq_table_cell(&t, "%s", str(row, "solver"));
        pq_table_cell(&t, "%.0f x %.0f", num(row, "rows"), num(row, "cols"));
        pq_table_cell(&t, "%s", pq_text_bytes(num(row, "bytes"), size));
        pq_table_cell(&t, "%.3f", num(row, "bits_per_weight"));
    }
    return pq_table_print(&t, e);
}

static int print_targets(const json_t *report, struct pq_err *e)
{
    char size[32];
    size_t i;
    const json_t *row;
    struct pq_table t;
    bool written = json_is_true(json_object_get(report, "written"));
    pq_table_begin(&t, "llrrrl");
    const char *head[] = {"target", "scheme", "size", "bits/weight", "weight error", "output"};
    for (i = 0; i < 6; i++)
        pq_table_cell(&t, "%s", head[i]);
    json_array_foreach(json_object_get(report, "targets"), i, row)
    {
        pq_table_cell(&t, "%s", str(row, "target"));
        pq_table_cell(&t, "%s", str(row, "scheme"));
        pq_table_cell(&t, "%s", pq_text_bytes(num(row, "bytes"), size));
        pq_table_cell(&t, "%.3f", num(row, "bits_per_weight"));
        if (written)
            pq_table_cell(&t, "%.3f %%", 100 * num(row, "rel_rms_error"));
        else
            pq_table_cell(&t, "-");
        pq_table_cell(&t, "%s", written ? str(row, "path") : "(dry run)");
    }
    return pq_table_print(&t, e);
}

/* "gguf q4_k_m: gptq 25, search 1" */
static void print_solvers(const json_t *target)
{
    const char *name;
    const json_t *n;
    const char *before = ":";
    printf("%s %s", str(target, "target"), str(target, "scheme"));
    json_object_foreach((json_t *)(uintptr_t)json_object_get(target, "solvers"), name, n)
    {
        printf("%s %s %.0f", before, name, json_number_value(n));
        before = ",";
    }
    puts(*before == ':' ? ": nothing to solve" : " (matrices by solver)");
}

/* "gguf mix4.25: expected KL divergence 0.0123; matrices by scheme q4_k 12, q6_k 14" */
static void print_mix(const json_t *target)
{
    const char *name;
    const json_t *n, *mix = json_object_get(target, "mix");
    const char *before = "; matrices by scheme";
    if (!mix)
        return;
    printf("%s %s: expected KL divergence %.3g", str(target, "target"), str(target, "scheme"),
           num(mix, "expected_kld"));
    json_object_foreach((json_t *)(uintptr_t)json_object_get(mix, "matrices"), name, n)
    {
        printf("%s %s %.0f", before, name, json_number_value(n));
        before = ",";
    }
    putchar('\n');
}

static void print_calibration(const json_t *c)
{
    char took[32];
    size_t i;
    const json_t *t;
    if (!c)
        return;
    printf("calibrated on %.0f tokens of %s in %s\n", num(c, "tokens"), str(c, "text"),
           pq_text_seconds(num(c, "seconds"), took));
    json_array_foreach(json_object_get(c, "dead"), i, t)
        printf("%s: %.0f columns had no input but zero; only their weights' own size counts\n",
               str(t, "tensor"), num(t, "columns"));
}

static int print_report(const json_t *report, const struct pq_args *a, double seconds,
                        struct pq_err *e)
{
    int rc = PQ_OK;
    char took[32], size[32];
    size_t i, k;
    const json_t *row, *note;
    const json_t *targets = json_object_get(report, "targets");
    if (a->dry_run || a->tensors)
        json_array_foreach(targets, i, row)
        {
            printf("%s %s\n", str(row, "target"), str(row, "scheme"));
            PQ_TRY(print_tensors(row, e));
            putchar('\n');
        }
    PQ_TRY(print_targets(report, e));
    json_array_foreach(targets, i, row)
    {
        print_solvers(row);
        print_mix(row);
    }
    print_calibration(json_object_get(report, "calibration"));
    json_array_foreach(targets, i, row)
    {
        json_array_foreach(json_object_get(row, "notes"), k, note)
        {
            printf("note (%s): %s\n", str(row, "target"), json_string_value(note));
        }
    }
    if (!a->dry_run)
        printf("%s of source in %s, %.2f GB/s, verified; peak memory %s (mapped source included)\n",
               pq_text_bytes(num(report, "source_bytes"), size), pq_text_seconds(seconds, took),
               num(report, "source_bytes") / seconds / 1e9,
               pq_text_bytes(num(report, "peak_rss_bytes"), (char[32]){0}));
out:
    return rc;
}

int pq_cmd_quantize(const struct pq_args *a, struct pq_err *e)
{
    int rc = PQ_OK;
    char targets[256];
    struct pq_run r = {0};
    struct pq_bar bar;
    double t0 = pq_now();
    struct pq_quantize_options o;
    pq_quantize_options_default(&o);
    o.input = a->pos[0];
    o.out_dir = a->out ? a->out : "out";
    o.targets = a->to ? a->to : pq_text_targets(targets, sizeof targets);
    o.precision = a->precision;
    o.scheme = a->scheme;
    o.solver = a->solver;
    o.embed = a->embed;
    o.head = a->head;
    o.rule = a->rule.item;
    o.n_rules = a->rule.n;
    o.imatrix = a->imatrix;
    o.calibration = a->calibration;
    o.calibration_windows = a->windows;
    o.target_bytes = a->target_size;
    o.target_bpw = a->target_bpw;
    o.max_kld = a->max_kld;
    o.sensitivity = a->sensitivity;
    o.context = a->context;
    o.provider = a->provider;
    o.group_size = a->group_size;
    o.symmetry = a->sym ? 1 : a->asym ? -1 : 0;
    o.ratio = a->ratio;
    o.name = a->name;
    o.split_max_bytes = a->split;
    o.threads = (int)a->threads;
    o.cpu_level = a->cpu;
    o.force = a->force;
    o.progress = pq_bar_step;
    o.progress_ctx = &bar;
    pq_bar_begin(&bar, a->quiet);
    rc = pq_run_open(&r, &o, a->dry_run, e);
    if (rc >= 0 && !a->dry_run)
        rc = pq_run_write(&r, e);
    pq_bar_end(&bar);
    if (rc < 0)
        goto out;
    json_t *report = pq_run_report(&r, a->dry_run || a->tensors || a->json);
    if (a->json) {
        rc = pq_print_json(report, e);
        goto out;
    }
    if (!a->quiet)
        rc = print_report(report, a, pq_now() - t0, e);
    json_decref(report);
out:
    pq_run_close(&r);
    return rc;
}
