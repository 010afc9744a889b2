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

int pq_talk_conversation(const struct pq_args *a, json_t **out, struct pq_err *e)
{
    struct pq_buf text = {0};
    int rc = PQ_OK;
    if (strchr("[{", a->chat[0]))
        pq_buf_puts(&text, a->chat);
    else
        rc = pq_talk_file(&text, a->chat, e);
    if (rc >= 0)
        rc = pq_buf_check(&text, e);
    if (rc >= 0)
        rc = pq_json_parse(out, (const char *)text.data, text.len, "conversation", e);
    pq_buf_free(&text);
    return rc;
}

static int open_session(struct pq_talk *t, struct pq_err *e)
{
    const struct pq_args *a = t->a;
    struct pq_session_setup setup = {.context = (uint32_t)a->context_size,
                                     .threads = (int)a->threads,
                                     .cpu = a->cpu,
                                     .fast = !a->exact};
    if (a->kv && !strcmp(a->kv, "f32"))
        setup.kv = PQ_KV_F32;
    else if (a->kv && strcmp(a->kv, "f16"))
        return pq_fail(e, PQ_EINVAL, "--kv %s: expected f16 or f32", a->kv);
    return pq_session_new(&t->s, t->m, &setup, e);
}

int pq_talk_open(struct pq_talk *t, const struct pq_args *a, struct pq_err *e)
{
    const struct pq_sampling how = {a->temperature, (uint32_t)a->top_k, a->top_p,
                                    a->min_p,       a->repeat_penalty,  a->seed};
    int rc;
    *t = (struct pq_talk){.a = a};
    PQ_TRY(pq_model_load(&t->m, a->pos[0], e));
    if (!t->m->has_vocab)
        PQ_TRY(pq_fail(e, PQ_EINVAL, "%s: the model has no tokenizer", t->m->path));
    PQ_TRY(pq_tokenizer_new(&t->t, &t->m->vocab, e));
    PQ_TRY(open_session(t, e));
    PQ_TRY(pq_sampler_new(&t->sampler, &how, pq_session_hparams(t->s)->vocab, e));
out:
    return rc;
}

void pq_talk_close(struct pq_talk *t)
{
    pq_sampler_free(t->sampler);
    pq_session_free(t->s);
    pq_tokenizer_free(t->t);
    pq_model_free(t->m);
}

struct pq_generation pq_talk_generation(const struct pq_talk *t,
                                        int (*on_text)(void *ctx, const char *text, size_t n),
                                        void *ctx)
{
    const struct pq_args *a = t->a;
    return (struct pq_generation){.session = t->s,
                                  .tokenizer = t->t,
                                  .sampler = t->sampler,
                                  .max_tokens = a->max_tokens ? a->max_tokens : USUAL_TOKENS,
                                  .stop = a->stop.item,
                                  .n_stop = a->stop.n,
                                  .on_text = on_text,
                                  .ctx = ctx};
}
