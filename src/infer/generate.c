/* The loop of generation. SPDX-License-Identifier: MIT */
#include "infer/generate.h"

#include "base/num.h"

#include <string.h>

const char *pq_finish_name(enum pq_finish f)
{
    static const char *const names[] = {"eos", "stop", "length", "context", "cancelled"};
    return names[f];
}

void pq_generation_free(struct pq_generation *g)
{
    pq_buf_free(&g->text);
    pq_free(g->token);
    g->token = NULL;
    g->n_tokens = g->cap = 0;
}

/* What is told from what has to wait. */
struct stream {
    struct pq_generation *g;
    const struct pq_hparams *hp;
    struct pq_detok detok;
    size_t told; /* bytes of the text */
    bool done;
};

static bool ends(const struct pq_hparams *hp, uint32_t id)
{
    for (int i = 0; i < hp->n_eos; i++)
        if (hp->eos[i] == (int64_t)id)
            return true;
    return false;
}

/* Where a stop string begins that ends after `from` bytes; the text's length when there is none. */
static size_t stop_at(const struct pq_generation *g, size_t from)
{
    size_t at = g->text.len;
    for (size_t i = 0; i < g->n_stop; i++) {
        size_t n = strlen(g->stop[i]);
        for (size_t k = from > n ? from - n : 0; n && k + n <= g->text.len && k < at; k++)
            if (!memcmp(g->text.data + k, g->stop[i], n))
                at = k;
    }
    return at;
}

/* Bytes at the end of the text that could be the beginning of a stop string. */
static size_t waiting(const struct pq_generation *g)
{
    size_t most = 0;
    for (size_t i = 0; i < g->n_stop; i++)
        for (size_t n = strlen(g->stop[i]); n-- > most + 1;)
            if (n <= g->text.len && !memcmp(g->text.data + g->text.len - n, g->stop[i], n))
                most = n;
    return most;
}

static void finish(struct stream *s, enum pq_finish why)
{
    if (!s->done)
        s->g->finish = why;
    s->done = true;
}

/* Tells what is new up to `end` bytes. */
static void tell(struct stream *s, size_t end)
{
    struct pq_generation *g = s->g;
    if (end <= s->told)
        return;
    if (g->on_text && g->on_text(g->ctx, (const char *)g->text.data + s->told, end - s->told))
        finish(s, PQ_FINISH_CANCELLED);
    s->told = end;
}

/* Looks at text that has just been added behind `from` bytes. */
static void look(struct stream *s, size_t from, bool last)
{
    struct pq_generation *g = s->g;
    size_t at = stop_at(g, from);
    if (at < g->text.len) {
        g->text.len = at;
        tell(s, at);
        g->finish = PQ_FINISH_STOP;
        s->done = true;
        return;
    }
    tell(s, last ? g->text.len : g->text.len - waiting(g));
}

static int add_token(struct pq_generation *g, struct pq_choice c, struct pq_err *e)
{
    if (g->n_tokens == g->cap) {
        size_t cap = g->cap ? 2 * g->cap : 64;
        struct pq_choice *grown = (struct pq_choice *)pq_realloc(g->token, cap, sizeof *grown);
        if (!grown)
            return pq_fail(e, PQ_ENOMEM, "out of memory after %zu tokens", g->n_tokens);
        g->token = grown;
        g->cap = cap;
    }
    g->token[g->n_tokens++] = c;
    return PQ_OK;
}

/* Chooses a token, tells its text, and reads it unless it was the last. */
static int step(struct stream *s, struct pq_err *e)
{
    int rc;
    struct pq_generation *g = s->g;
    struct pq_session *session = g->session;
    const size_t from = g->text.len;
    struct pq_choice c = pq_sampler_pick(g->sampler, pq_session_logits(session),
                                         pq_session_ids(session), pq_session_length(session));
    PQ_TRY(add_token(g, c, e));
    if (ends(s->hp, c.id)) {
        finish(s, PQ_FINISH_EOS);
        return PQ_OK;
    }
    PQ_TRY(pq_detok_put(&s->detok, c.id, &g->text, e));
    look(s, from, false);
    if (g->n_tokens == g->max_tokens)
        finish(s, PQ_FINISH_LENGTH);
    if (pq_session_length(session) == pq_session_context(session))
        finish(s, PQ_FINISH_CONTEXT);
    if (!s->done)
        PQ_TRY(pq_session_read(session, &c.id, 1, NULL, e));
out:
    return rc;
}

int pq_generate(struct pq_generation *g, struct pq_err *e)
{
    int rc = PQ_OK;
    struct stream s = {.g = g, .hp = pq_session_hparams(g->session)};
    if (!pq_session_length(g->session))
        return pq_fail(e, PQ_EINVAL, "nothing to go on from: the prompt has no tokens");
    pq_detok_begin(&s.detok, g->tokenizer, g->special ? 0 : PQ_DECODE_SKIP_SPECIAL);
    while (rc >= 0 && !s.done)
        rc = step(&s, e);
    const size_t from = g->text.len;
    int end = pq_detok_end(&s.detok, &g->text, rc < 0 ? NULL : e);
    if (rc >= 0 && end >= 0 && g->finish != PQ_FINISH_STOP)
        look(&s, from, true);
    return rc < 0 ? rc : end;
}
