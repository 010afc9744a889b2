/* phiq calibrate. SPDX-License-Identifier: MIT */
#include "cli/cli.h"
#include "eval/calibrate.h"

#include <stdio.h>

static void print_result(const json_t *j)
{
    char took[32], peak[32];
    const json_t *t;
    size_t i;
    printf("%s: the inputs of %.0f matrices over %.0f tokens in %.0f windows of %.0f\n",
           str(j, "path"), num(j, "matrices"), num(j, "tokens"), num(j, "windows"),
           num(j, "window"));
    json_array_foreach(json_object_get(j, "dead"), i, t)
        printf("%s: %.0f columns had no input but zero; only their weights' own size counts\n",
               str(t, "tensor"), num(t, "columns"));
    printf("%s, at most %s of memory\n", pq_text_seconds(num(j, "seconds"), took),
           pq_text_bytes(num(j, "peak_rss_bytes"), peak));
}

int pq_cmd_calibrate(const struct pq_args *a, struct pq_err *e)
{
    json_t *doc;
    struct pq_bar bar;
    struct pq_calibrate_options o;
    if (!a->text || !a->out)
        return pq_fail(e, PQ_EINVAL,
                       "phiq calibrate needs a text and a file to write: "
                       "--text FILE -o FILE");
    pq_calibrate_options_default(&o);
    o.model = a->pos[0];
    o.text = a->text;
    o.out = a->out;
    o.products = a->products;
    o.window = (int)a->window;
    o.max_windows = a->windows;
    o.threads = (int)a->threads;
    o.cpu_level = a->cpu;
    o.progress = pq_bar_step;
    o.progress_ctx = &bar;
    pq_bar_begin(&bar, a->quiet);
    int rc = pq_calibrate_model(&doc, &o, e);
    pq_bar_end(&bar);
    if (rc < 0)
        return rc;
    if (a->json)
        return pq_print_json(doc, e);
    if (!a->quiet)
        print_result(doc);
    json_decref(doc);
    return PQ_OK;
}
