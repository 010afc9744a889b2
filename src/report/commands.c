/* The lines that make a report's numbers again. SPDX-License-Identifier: MIT */
#include "report/report.h"

#include <inttypes.h>
#include <string.h>

/* Nothing that a shell reads as more than itself. */
static bool plain(const char *word)
{
    static const char safe[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                               "_-./:,=+@%";
    return *word && word[strspn(word, safe)] == '\0';
}

void pq_word(struct pq_buf *b, const char *word)
{
    if (plain(word)) {
        pq_buf_puts(b, word);
        return;
    }
    pq_buf_puts(b, "'");
    for (const char *p = word; *p; p++) {
        if (*p == '\'')
            pq_buf_puts(b, "'\\''");
        else
            pq_buf_put(b, p, 1);
    }
    pq_buf_puts(b, "'");
}

static void option(struct pq_buf *b, const char *name, const char *value)
{
    if (!value)
        return;
    pq_buf_printf(b, " --%s ", name);
    pq_word(b, value);
}

static void windows(struct pq_buf *b, const struct pq_report_run *r)
{
    pq_buf_printf(b, " --window %u --windows %" PRIu64, r->windows.size, r->windows.n);
}

/* Appends the finished line and begins the next one. */
static void line(json_t *list, struct pq_buf *b)
{
    json_array_append_new(list, b->failed ? NULL : json_stringn((const char *)b->data, b->len));
    pq_buf_free(b);
}

static void quantize_line(json_t *list, const struct pq_report_run *r, const struct pq_choice *c)
{
    struct pq_buf b = {0};
    pq_buf_puts(&b, "phiq quantize ");
    pq_word(&b, r->set->model);
    pq_buf_printf(&b, " --to %s --scheme %s", c->container->name, c->recipe->name);
    option(&b, "solver", r->set->solver);
    option(&b, "imatrix", r->set->imatrix);
    option(&b, "calibration", r->set->calibration);
    pq_buf_printf(&b, " -o out/%s-%s", c->container->name, c->recipe->name);
    line(list, &b);
}

/* Where the line above writes what was opened here; a given output is where it is. */
static void put_output(struct pq_buf *b, const struct pq_report_run *r, const struct pq_choice *c,
                       const char *path)
{
    struct pq_buf name = {0};
    if (c->path) {
        pq_word(b, path);
        return;
    }
    /* r->made/gguf/NAME.gguf -> out/gguf-q4_k_m/gguf/NAME.gguf */
    pq_buf_printf(&name, "out/%s-%s%s", c->container->name, c->recipe->name,
                  path + strlen(r->made));
    pq_buf_u8(&name, 0);
    if (!name.failed)
        pq_word(b, (const char *)name.data);
    b->failed = b->failed || name.failed;
    pq_buf_free(&name);
}

static void eval_line(json_t *list, const struct pq_report_run *r, const struct pq_choice *c,
                      const char *path)
{
    struct pq_buf b = {0};
    pq_buf_puts(&b, "phiq eval ");
    put_output(&b, r, c, path);
    option(&b, "ref", r->set->model);
    option(&b, "text", r->text_name);
    windows(&b, r);
    line(list, &b);
}

static void compare_line(json_t *list, const struct pq_report_run *r, const struct pq_choice *c,
                         const char *path)
{
    struct pq_buf b = {0};
    pq_buf_puts(&b, "phiq compare ");
    pq_word(&b, r->set->model);
    pq_buf_puts(&b, " ");
    put_output(&b, r, c, path);
    line(list, &b);
}

json_t *pq_commands_of(const struct pq_report_run *r, const struct pq_choice *c, const char *path)
{
    json_t *list = json_array();
    if (!c->path)
        quantize_line(list, r, c);
    eval_line(list, r, c, path);
    compare_line(list, r, c, path);
    return list;
}

static void report_line(json_t *list, const struct pq_report_run *r)
{
    struct pq_buf b = {0};
    const struct pq_report_options *s = r->set;
    pq_buf_puts(&b, "phiq report ");
    pq_word(&b, s->model);
    for (size_t i = 0; i < s->n_outputs; i++) {
        pq_buf_puts(&b, " ");
        pq_word(&b, s->output[i]);
    }
    option(&b, "to", s->targets);
    option(&b, "precisions", s->precisions);
    option(&b, "solver", s->solver);
    option(&b, "imatrix", s->imatrix);
    option(&b, "calibration", s->calibration);
    option(&b, "text", s->text);
    windows(&b, r);
    option(&b, "out", s->out ? s->out : "report.html");
    line(list, &b);
}

json_t *pq_commands_report(const struct pq_report_run *r)
{
    json_t *list = json_array();
    if (!r->set->text)
        json_array_append_new(list, json_sprintf("phiq help sample-text > %s", r->text_name));
    report_line(list, r);
    return list;
}
