/* phiq sensitivity. SPDX-License-Identifier: MIT */
#include "cli/cli.h"

#include <stdio.h>

/* The scheme nearest to 4.5 bits that went through the network stands for its matrix. */
static int print_result(const json_t *j, struct pq_err *e)
{
    char took[32], peak[32];
    const char *name;
    const json_t *row, *s;
    size_t i;
    struct pq_table t;
    pq_table_begin(&t, "llrr");
    const char *head[] = {"tensor", "measured", "KL divergence", "error of its products"};
    for (i = 0; i < 4; i++)
        pq_table_cell(&t, "%s", head[i]);
    json_array_foreach(json_object_get(j, "tensors"), i, row)
    {
        json_object_foreach((json_t *)(uintptr_t)json_object_get(row, "schemes"), name, s)
        {
            if (!json_is_true(json_object_get(s, "measured")))
                continue;
            pq_table_cell(&t, "%s", str(row, "tensor"));
            pq_table_cell(&t, "%s", name);
            pq_table_cell(&t, "%.3g", num(s, "kld"));
            pq_table_cell(&t, "%.3g", num(s, "error"));
        }
    }
    int rc = pq_table_print(&t, e);
    printf("%s: %.0f tokens in %.0f windows of %.0f, %s, at most %s of memory\n", str(j, "path"),
           num(j, "tokens"), num(j, "windows"), num(j, "window"),
           pq_text_seconds(num(j, "seconds"), took), pq_text_bytes(num(j, "peak_rss_bytes"), peak));
    return rc;
}

int pq_cmd_sensitivity(const struct pq_args *a, struct pq_err *e)
{
    json_t *doc;
    char targets[256];
    struct pq_bar bar;
    struct pq_sensitivity_options o;
    if (!a->text || !a->out)
        return pq_fail(e, PQ_EINVAL,
                       "phiq sensitivity needs a text and a file to write: --text FILE -o FILE");
    pq_sensitivity_options_default(&o);
    o.model = a->pos[0];
    o.targets = a->to ? a->to : pq_text_targets(targets, sizeof targets);
    o.text = a->text;
    o.out = a->out;
    o.imatrix = a->imatrix;
    o.solver = a->solver;
    o.every = a->every;
    o.window = (int)a->window;
    o.max_windows = a->windows;
    o.threads = (int)a->threads;
    o.cpu_level = a->cpu;
    o.progress = pq_bar_step;
    o.progress_ctx = &bar;
    pq_bar_begin(&bar, a->quiet);
    int rc = pq_sensitivity_model(&doc, &o, e);
    pq_bar_end(&bar);
    if (rc < 0)
        return rc;
    if (a->json)
        return pq_print_json(doc, e);
    if (!a->quiet)
        rc = print_result(doc, e);
    json_decref(doc);
    return rc;
}
