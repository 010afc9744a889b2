/* phiq eval. SPDX-License-Identifier: MIT */
#include "cli/cli.h"
#include "eval/eval.h"

#include <stdio.h>

static void row(struct pq_table *t, const char *what, const json_t *v, double scale,
                const char *unit)
{
    const json_t *mean = json_object_get(v, "mean"), *ci = json_object_get(v, "ci95");
    pq_table_cell(t, "%s", what);
    pq_table_cell(t, "%.6g%s", scale * json_number_value(mean), unit);
    if (json_is_number(ci))
        pq_table_cell(t, "+- %.2g", scale * json_number_value(ci));
    else
        pq_table_cell(t, "%s", "");
}

static void perplexity(struct pq_table *t, const char *what, const json_t *p)
{
    pq_table_cell(t, "%s", what);
    pq_table_cell(t, "%.4f", num(p, "token"));
    if (json_is_number(json_object_get(p, "ci95")))
        pq_table_cell(t, "+- %.2g", num(p, "ci95"));
    else
        pq_table_cell(t, "%s", "");
}

static void quantiles(const json_t *kld)
{
    printf("KL divergence by token: median %.3g, 90 %% %.3g, 99 %% %.3g, 99.9 %% %.3g, largest "
           "%.3g\n",
           num(kld, "median"), num(kld, "p90"), num(kld, "p99"), num(kld, "p999"), num(kld, "max"));
}

static int print_result(const json_t *j, struct pq_err *e)
{
    char took[32];
    struct pq_table t;
    const json_t *p = json_object_get(j, "perplexity"), *kld = json_object_get(j, "kl_divergence");
    pq_table_begin(&t, "lrl");
    perplexity(&t, "perplexity", p);
    if (kld) {
        perplexity(&t, "perplexity of the reference", json_object_get(j, "reference_perplexity"));
        row(&t, "log of their ratio", json_object_get(j, "log_perplexity_ratio"), 1, "");
        row(&t, "KL divergence (nats)", kld, 1, "");
        row(&t, "same likeliest token", json_object_get(j, "top1_agreement"), 100, " %");
        row(&t, "flips", json_object_get(j, "flips"), 100, " %");
    }
    int rc = pq_table_print(&t, e);
    if (rc < 0)
        return rc;
    if (kld)
        quantiles(kld);
    printf("perplexity per word %.4g, per byte %.4g (%.4f bits per byte); as llama-perplexity says "
           "it: %.4f +/- %.5f\n",
           num(p, "word"), num(p, "byte"), num(p, "bits_per_byte"), num(p, "token"),
           num(j, "perplexity_token_error"));
    printf("%.0f tokens scored in %.0f windows of %.0f, %s\n", num(j, "scored_tokens"),
           num(j, "windows"), num(j, "window"), pq_text_seconds(num(j, "seconds"), took));
    return PQ_OK;
}

int pq_cmd_eval(const struct pq_args *a, struct pq_err *e)
{
    json_t *doc;
    struct pq_bar bar;
    struct pq_eval_options o;
    if (!a->text)
        return pq_fail(e, PQ_EINVAL, "phiq eval needs a text: --text FILE");
    pq_eval_options_default(&o);
    o.model = a->pos[0];
    o.text = a->text;
    o.reference = a->ref;
    o.save_logits = a->save_logits;
    o.window = (int)a->window;
    o.whole = a->whole;
    o.max_windows = a->windows;
    o.threads = (int)a->threads;
    o.cpu_level = a->cpu;
    o.progress = pq_bar_step;
    o.progress_ctx = &bar;
    pq_bar_begin(&bar, a->quiet);
    int rc = pq_eval_model(&doc, &o, e);
    pq_bar_end(&bar);
    if (rc < 0)
        return rc;
    if (a->json)
        return pq_print_json(doc, e);
    rc = print_result(doc, e);
    json_decref(doc);
    return rc;
}
