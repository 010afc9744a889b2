/* A model ready to generate. SPDX-License-Identifier: MIT */
#include "cli/talk.h"

#include "base/fs.h"

#include <string.h>

enum { USUAL_TOKENS = 256 };

int pq_talk_file(struct pq_buf *out, const char *path, struct pq_err *e)
{
    char *data = NULL;
    size_t size = 0;
    int rc = pq_file_read(path, PQ_TALK_MAX_TEXT, &data, &size, e);
    if (rc >= 0)
        pq_buf_put(out, data, size);
    pq_free(data);
    return rc < 0 ? rc : pq_buf_check(out, e);
}

int pq_talk_conversation(const char *what, json_t **out, struct pq_err *e)
{
    struct pq_buf text = {0};
    const bool is_json = *what && strchr("[{", *what);
    int rc = PQ_OK;
    if (is_json)
        pq_buf_puts(&text, what);
    else
        rc = pq_talk_file(&text, what, e);
    if (rc >= 0)
        rc = pq_buf_check(&text, e);
    if (rc >= 0)
        rc = pq_json_parse(out, (const char *)text.data, text.len, is_json ? "conversation" : what,
                           e);
    pq_buf_free(&text);
    return rc;
}

static int on_read(void *ctx, uint64_t done, uint64_t total)
{
    (void)ctx;
    (void)done;
    (void)total;
    return pq_interrupted();
}

static struct pq_generator_options options(const struct pq_args *a)
{
    struct pq_generator_options o;
    pq_generator_options_default(&o);
    o.context = a->context_size;
    o.threads = (int)a->threads;
    o.cpu_level = a->cpu;
    o.kv = a->kv;
    o.exact = a->exact;
    o.template_name = a->template_name;
    o.temperature = a->temperature;
    o.top_k = a->top_k;
    o.top_p = a->top_p;
    o.min_p = a->min_p;
    o.repeat_penalty = a->repeat_penalty;
    o.seed = a->seed;
    o.on_read = on_read;
    return o;
}

int pq_talk_open(struct pq_talk *t, const struct pq_args *a, struct pq_err *e)
{
    const struct pq_generator_options o = options(a);
    int rc;
    *t = (struct pq_talk){0};
    pq_generate_options_default(&t->how);
    t->how.max_tokens = a->max_tokens ? a->max_tokens : USUAL_TOKENS;
    t->how.stop = a->stop.item;
    t->how.n_stop = a->stop.n;
    PQ_TRY(pq_model_load(&t->m, a->pos[0], e));
    PQ_TRY(pq_generator_new(&t->g, t->m, &o, e));
out:
    return rc;
}

void pq_talk_close(struct pq_talk *t)
{
    pq_generator_free(t->g);
    pq_model_free(t->m);
}
