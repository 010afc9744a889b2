/* phiq refine. SPDX-License-Identifier: MIT */
#include "cli/cli.h"
#include "refine/refine.h"

#include <stdio.h>

static void print_result(const json_t *j)
{
    char took[32], peak[32];
    printf("%s: %.0f matrices and %.0f vectors learned from %.0f windows of %.0f tokens in %.0f "
           "steps\n",
           str(j, "path"), num(j, "matrices"), num(j, "vectors"), num(j, "windows"),
           num(j, "window"), num(j, "steps"));
    printf("KL divergence on %.0f windows kept apart: %.6f before, %.6f after\n",
           num(j, "windows_apart"), num(j, "kld_before"), num(j, "kld_after"));
    printf("%s, at most %s of memory\n", pq_text_seconds(num(j, "seconds"), took),
           pq_text_bytes(num(j, "peak_rss_bytes"), peak));
}

int pq_cmd_refine(const struct pq_args *a, struct pq_err *e)
{
    json_t *doc;
    struct pq_bar bar;
    struct pq_refine_options o;
    if (!a->text || !a->out || !a->ref)
        return pq_fail(e, PQ_EINVAL,
                       "phiq refine needs the checkpoint, a text and a place to write to: "
                       "--ref CHECKPOINT --text FILE -o PATH");
    pq_refine_options_default(&o);
    o.model = a->pos[0];
    o.reference = a->ref;
    o.text = a->text;
    o.out = a->out;
    o.steps = (int)a->steps;
    o.batch = (int)a->batch;
    o.rate = a->rate;
    o.window = (int)a->window;
    o.max_windows = a->windows;
    o.threads = (int)a->threads;
    o.cpu_level = a->cpu;
    o.force = a->force;
    o.progress = pq_bar_step;
    o.progress_ctx = &bar;
    pq_bar_begin(&bar, a->quiet);
    int rc = pq_refine_model(&doc, &o, e);
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
