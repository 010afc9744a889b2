/* phiq bench. SPDX-License-Identifier: MIT */
#include "base/num.h"
#include "base/sys.h"
#include "cli/cli.h"
#include "infer/bench.h"

#include <stdio.h>
#include <stdlib.h>

enum { USUAL_PROMPT = 512, USUAL_TOKENS = 64, USUAL_REPEATS = 5 };

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* {median, min, max} of a figure over the repeats. */
static json_t *spread(const struct pq_bench_result *r,
                      double (*of)(const struct pq_bench_result *r, int i))
{
    double v[PQ_BENCH_REPEATS] = {0};
    for (int i = 0; i < r->n; i++)
        v[i] = of(r, i);
    qsort(v, (size_t)r->n, sizeof *v, by_size);
    double median = (v[(r->n - 1) / 2] + v[r->n / 2]) / 2;
    return json_pack("{s:f, s:f, s:f}", "median", median, "min", v[0], "max", v[r->n - 1]);
}

static double prompt_rate(const struct pq_bench_result *r, int i)
{
    return r->sample[i].prompt;
}

static double prompt_macs(const struct pq_bench_result *r, int i)
{
    return r->sample[i].prompt * (double)r->token_macs;
}

static double generate_rate(const struct pq_bench_result *r, int i)
{
    return r->sample[i].generate;
}

static double bandwidth(const struct pq_bench_result *r, int i)
{
    return r->sample[i].bandwidth;
}

static double generate_bytes(const struct pq_bench_result *r, int i)
{
    return r->sample[i].generate * (double)r->token_bytes;
}

static double share(const struct pq_bench_result *r, int i)
{
    double most = r->sample[i].bandwidth;
    return most > 0 ? generate_bytes(r, i) / most : 0;
}

static const struct {
    const char *key, *about, *unit;
    double (*of)(const struct pq_bench_result *r, int i);
    double scale; /* of what is printed */
    bool prompt;  /* needs one; else generated tokens */
} figures[] = {
    {"prompt_tokens_per_second", "prompt", "tokens/s", prompt_rate, 1, true},
    {"prompt_macs_per_second", "  products with weights", "GMAC/s", prompt_macs, 1e-9, true},
    {"tokens_per_second", "generation", "tokens/s", generate_rate, 1, false},
    {"bytes_per_second", "  weights and cache read", "GB/s", generate_bytes, 1e-9, false},
    {"bandwidth_bytes_per_second", "  reading the weights alone", "GB/s", bandwidth, 1e-9, false},
    {"share_of_bandwidth", "  share of it", "%", share, 100, false},
};

static bool applies(size_t i, const struct pq_bench *b)
{
    return figures[i].prompt ? b->prompt > 0 : b->generate > 0;
}

static json_t *document(const struct pq_model *m, const struct pq_session_setup *setup,
                        const struct pq_bench *b, const struct pq_bench_result *r)
{
    json_t *doc = json_pack("{s:s, s:s, s:i, s:s, s:b, s:i, s:i, s:i, s:I, s:I}", "path", m->path,
                            "container", m->container->name, "threads", setup->threads, "cpu_level",
                            pq_compute_best(setup->cpu)->level, "exact", !setup->fast,
                            "prompt_tokens", (int)b->prompt, "generated_tokens", (int)b->generate,
                            "repeats", r->n, "token_bytes", (json_int_t)r->token_bytes,
                            "peak_rss_bytes", (json_int_t)pq_peak_rss());
    for (size_t i = 0; i < PQ_LEN(figures); i++)
        if (applies(i, b))
            json_object_set_new(doc, figures[i].key, spread(r, figures[i].of));
    return doc;
}

static int print(const json_t *doc, struct pq_err *e)
{
    static const char *const head[] = {"", "median", "min", "max", "unit"};
    char size[32];
    struct pq_table t;
    pq_table_begin(&t, "lrrrl");
    for (size_t i = 0; i < PQ_LEN(head); i++)
        pq_table_cell(&t, "%s", head[i]);
    for (size_t i = 0; i < PQ_LEN(figures); i++) {
        const json_t *row = json_object_get(doc, figures[i].key);
        if (!row)
            continue;
        pq_table_cell(&t, "%s", figures[i].about);
        pq_table_cell(&t, "%.4g", num(row, "median") * figures[i].scale);
        pq_table_cell(&t, "%.4g", num(row, "min") * figures[i].scale);
        pq_table_cell(&t, "%.4g", num(row, "max") * figures[i].scale);
        pq_table_cell(&t, "%s", figures[i].unit);
    }
    int rc = pq_table_print(&t, e);
    if (rc >= 0)
        printf("%.0f prompt tokens, %.0f generated, %.0f repeats; %.0f threads, %s; peak memory "
               "%s (mapped weights included)\n",
               num(doc, "prompt_tokens"), num(doc, "generated_tokens"), num(doc, "repeats"),
               num(doc, "threads"), str(doc, "cpu_level"),
               pq_text_bytes(num(doc, "peak_rss_bytes"), size));
    return rc;
}

static int on_repeat(void *ctx, int done)
{
    (void)ctx;
    (void)done;
    return pq_interrupted();
}

int pq_cmd_bench(const struct pq_args *a, struct pq_err *e)
{
    int rc;
    struct pq_model *m = NULL;
    struct pq_session *s = NULL;
    struct pq_bench_result r = {0};
    const struct pq_bench b = {.prompt =
                                   a->prompt_tokens ? (uint32_t)a->prompt_tokens : USUAL_PROMPT,
                               .generate = a->max_tokens ? (uint32_t)a->max_tokens : USUAL_TOKENS,
                               .repeats = a->repeats ? (int)a->repeats : USUAL_REPEATS,
                               .on_repeat = on_repeat};
    struct pq_session_setup setup = {
        .threads = a->threads ? (int)a->threads : pq_cpu_count(), .cpu = a->cpu, .fast = !a->exact};
    pq_interrupt_watch();
    if (a->kv)
        PQ_TRY(pq_kv_find(&setup.kv, a->kv, e));
    PQ_TRY(pq_model_load(&m, a->pos[0], e));
    PQ_TRY(pq_session_new(&s, m, &setup, e));
    PQ_TRY(pq_bench_run(s, &b, &r, e));
    json_t *doc = document(m, &setup, &b, &r);
    if (a->json) {
        rc = pq_print_json(doc, e);
    } else {
        rc = print(doc, e);
        json_decref(doc);
    }
out:
    pq_session_free(s);
    pq_model_free(m);
    return rc;
}
