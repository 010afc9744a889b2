/* phiq bench. SPDX-License-Identifier: MIT */
#include "base/num.h"
#include "base/sys.h"
#include "cli/cli.h"
#include "infer/bench.h"

#include <stdio.h>
#include <stdlib.h>

enum { USUAL_TOKENS = 64, USUAL_REPEATS = 5 };
static const char usual_prompts[] = "128,512";

struct bench {
    const struct pq_args *a;
    struct pq_bench what;
    struct pq_bench_result result;
    struct pq_session_setup setup;
    struct pq_model *m;
};

/* ---- figures over the repeats ---- */

/* Of one sample of a prompt. */
typedef double figure(const struct pq_bench_result *r, int prompt, int repeat);

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static json_t *spread(const struct pq_bench_result *r, int prompt, figure *of)
{
    double v[PQ_BENCH_REPEATS] = {0};
    for (int i = 0; i < r->n; i++)
        v[i] = of(r, prompt, i);
    qsort(v, (size_t)r->n, sizeof *v, by_size);
    double median = (v[(r->n - 1) / 2] + v[r->n / 2]) / 2;
    return json_pack("{s:f, s:f, s:f}", "median", median, "min", v[0], "max", v[r->n - 1]);
}

static double ratio(double a, double b)
{
    return b > 0 ? a / b : 0;
}

static double prompt_rate(const struct pq_bench_result *r, int k, int i)
{
    return r->sample[k][i].prompt;
}

static double prompt_macs(const struct pq_bench_result *r, int k, int i)
{
    return r->sample[k][i].prompt * (double)r->token_macs;
}

static double machine_macs(const struct pq_bench_result *r, int k, int i)
{
    return r->sample[k][i].macs;
}

static double share_of_macs(const struct pq_bench_result *r, int k, int i)
{
    return ratio(prompt_macs(r, k, i), r->sample[k][i].macs);
}

static double generate_rate(const struct pq_bench_result *r, int k, int i)
{
    return r->sample[k][i].generate;
}

static double generate_bytes(const struct pq_bench_result *r, int k, int i)
{
    return r->sample[k][i].generate * (double)r->token_bytes[k];
}

static double machine_bytes(const struct pq_bench_result *r, int k, int i)
{
    return r->sample[k][i].bandwidth;
}

static double share_of_bytes(const struct pq_bench_result *r, int k, int i)
{
    return ratio(generate_bytes(r, k, i), r->sample[k][i].bandwidth);
}

/* What is measured in each of two tests: reading a prompt, and generating after it. */
static const struct test {
    const char *name;
    const char *work, *machine, *share; /* keys in the document */
    const char *unit;
    figure *rate_of, *work_of, *machine_of, *share_of;
} tests[] = {
    {"prompt", "macs_per_second", "machine_macs_per_second", "share_of_machine", "GMAC/s",
     prompt_rate, prompt_macs, machine_macs, share_of_macs},
    {"generation", "bytes_per_second", "machine_bytes_per_second", "share_of_machine", "GB/s",
     generate_rate, generate_bytes, machine_bytes, share_of_bytes},
};

/* ---- the document ---- */

static bool applies(const struct bench *b, size_t test, int prompt)
{
    return (test ? b->what.generate : b->what.prompt[prompt]) > 0;
}

static json_t *row(const struct bench *b, const struct test *t, int k)
{
    const struct pq_bench_result *r = &b->result;
    json_t *o = json_pack("{s:s, s:i, s:o, s:o, s:o, s:o}", "test", t->name, "prompt_tokens",
                          (int)b->what.prompt[k], "tokens_per_second", spread(r, k, t->rate_of),
                          t->work, spread(r, k, t->work_of), t->machine,
                          spread(r, k, t->machine_of), t->share, spread(r, k, t->share_of));
    if (t != tests)
        json_object_set_new(o, "token_bytes", json_integer((json_int_t)r->token_bytes[k]));
    return o;
}

static json_t *document(const struct bench *b)
{
    json_t *doc = json_pack("{s:s, s:s, s:i, s:s, s:b, s:i, s:i, s:I, s:I, s:[]}", "path",
                            b->m->path, "container", b->m->container->name, "threads",
                            b->setup.threads, "cpu_level", pq_compute_best(b->setup.cpu)->level,
                            "exact", !b->setup.fast, "generated_tokens", (int)b->what.generate,
                            "repeats", b->result.n, "token_macs", (json_int_t)b->result.token_macs,
                            "peak_rss_bytes", (json_int_t)pq_peak_rss(), "tests");
    json_t *list = json_object_get(doc, "tests");
    for (size_t t = 0; t < PQ_LEN(tests); t++)
        for (int k = 0; k < b->what.n_prompts; k++)
            if (applies(b, t, k))
                json_array_append_new(list, row(b, &tests[t], k));
    return doc;
}

/* ---- for people and for spreadsheets ---- */

static const struct test *test_of(const json_t *line)
{
    return &tests[strcmp(str(line, "test"), tests[0].name) != 0];
}

static double middle(const json_t *line, const char *key)
{
    return num(json_object_get(line, key), "median");
}

static void print_line(struct pq_table *t, const json_t *line, double generated)
{
    const struct test *of = test_of(line);
    const json_t *rate = json_object_get(line, "tokens_per_second");
    if (of == tests)
        pq_table_cell(t, "prompt of %.0f", num(line, "prompt_tokens"));
    else
        pq_table_cell(t, "%.0f after %.0f", generated, num(line, "prompt_tokens"));
    pq_table_cell(t, "%.2f", num(rate, "median"));
    pq_table_cell(t, "%.2f", num(rate, "min"));
    pq_table_cell(t, "%.2f", num(rate, "max"));
    pq_table_cell(t, "%.1f", middle(line, of->work) * 1e-9);
    pq_table_cell(t, "%.1f", middle(line, of->machine) * 1e-9);
    pq_table_cell(t, "%s", of->unit);
    pq_table_cell(t, "%.0f %%", middle(line, of->share) * 100);
}

static int print_table(const json_t *doc, struct pq_err *e)
{
    static const char *const head[] = {"",     "tokens/s", "min", "max",
                                       "work", "machine",  "",    "share"};
    char size[32];
    struct pq_table t;
    size_t i;
    json_t *line;
    pq_table_begin(&t, "lrrrrrlr");
    for (i = 0; i < PQ_LEN(head); i++)
        pq_table_cell(&t, "%s", head[i]);
    json_array_foreach(json_object_get(doc, "tests"), i, line)
        print_line(&t, line, num(doc, "generated_tokens"));
    int rc = pq_table_print(&t, e);
    if (rc >= 0)
        printf("medians of %.0f repeats; %.0f threads, %s; peak memory %s (mapped weights "
               "included)\nmachine: threads that only multiply 8-bit integers, or only read the "
               "weights, meanwhile\n",
               num(doc, "repeats"), num(doc, "threads"), str(doc, "cpu_level"),
               pq_text_bytes(num(doc, "peak_rss_bytes"), size));
    return rc;
}

static void print_csv(const json_t *doc)
{
    size_t i;
    json_t *line;
    printf(
        "test,prompt_tokens,generated_tokens,repeats,threads,cpu_level,tokens_per_second,min,max,"
        "work_per_second,machine_per_second,share\n");
    json_array_foreach(json_object_get(doc, "tests"), i, line)
    {
        const struct test *of = test_of(line);
        const json_t *rate = json_object_get(line, "tokens_per_second");
        printf("%s,%.0f,%.0f,%.0f,%.0f,%s,%.4f,%.4f,%.4f,%.6g,%.6g,%.4f\n", of->name,
               num(line, "prompt_tokens"), of == tests ? 0 : num(doc, "generated_tokens"),
               num(doc, "repeats"), num(doc, "threads"), str(doc, "cpu_level"), num(rate, "median"),
               num(rate, "min"), num(rate, "max"), middle(line, of->work),
               middle(line, of->machine), middle(line, of->share));
    }
}

static int report(const struct bench *b, struct pq_err *e)
{
    json_t *doc = document(b);
    int rc = PQ_OK;
    if (!doc)
        return pq_fail(e, PQ_ENOMEM, "out of memory for the report");
    if (b->a->json)
        return pq_print_json(doc, e);
    if (b->a->csv)
        print_csv(doc);
    else
        rc = print_table(doc, e);
    json_decref(doc);
    return rc;
}

/* ---- what to measure ---- */

static int on_sample(void *ctx)
{
    (void)ctx;
    return pq_interrupted();
}

/* "128,512" */
static int parse_prompts(struct pq_bench *b, const char *text, struct pq_err *e)
{
    const char *p = text;
    for (;; p++) {
        char *end;
        unsigned long n = strtoul(p, &end, 10);
        if (end == p || *p == '-' || n > UINT32_MAX / 2 || (*end && *end != ','))
            return pq_fail(e, PQ_EINVAL, "--prompts %s: expected lengths such as 128,512", text);
        if (b->n_prompts == PQ_BENCH_PROMPTS)
            return pq_fail(e, PQ_EINVAL, "--prompts %s: more than %d", text, PQ_BENCH_PROMPTS);
        b->prompt[b->n_prompts++] = (uint32_t)n;
        p = end;
        if (!*p)
            return PQ_OK;
    }
}

static int run(struct bench *b, struct pq_err *e)
{
    struct pq_session *s = NULL;
    const struct pq_args *a = b->a;
    int rc;
    b->what = (struct pq_bench){.generate = a->max_tokens ? (uint32_t)a->max_tokens : USUAL_TOKENS,
                                .repeats = a->repeats ? (int)a->repeats : USUAL_REPEATS,
                                .on_sample = on_sample};
    b->setup = (struct pq_session_setup){
        .threads = a->threads ? (int)a->threads : pq_cpu_count(), .cpu = a->cpu, .fast = !a->exact};
    if (a->json && a->csv)
        return pq_fail(e, PQ_EINVAL, "--json and --csv: only one of them");
    if (a->kv)
        PQ_TRY(pq_kv_find(&b->setup.kv, a->kv, e));
    PQ_TRY(parse_prompts(&b->what, a->prompts ? a->prompts : usual_prompts, e));
    PQ_TRY(pq_model_load(&b->m, a->pos[0], e));
    PQ_TRY(pq_session_new(&s, b->m, &b->setup, e));
    PQ_TRY(pq_bench_run(s, &b->what, &b->result, e));
    PQ_TRY(report(b, e));
out:
    pq_session_free(s);
    return rc;
}

int pq_cmd_bench(const struct pq_args *a, struct pq_err *e)
{
    struct bench *b = (struct bench *)pq_calloc(1, sizeof *b);
    if (!b)
        return pq_fail(e, PQ_ENOMEM, "out of memory for the measurements");
    b->a = a;
    pq_interrupt_watch();
    int rc = run(b, e);
    pq_model_free(b->m);
    pq_free(b);
    return rc;
}
