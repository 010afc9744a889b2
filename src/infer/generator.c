/* The generator of phiq.h. SPDX-License-Identifier: MIT */
#include "infer/generator.h"

#include "base/num.h"
#include "infer/state.h"

#include <string.h>

/* ---- from options ---- */

void pq_generator_options_default(struct pq_generator_options *o)
{
    *o = (struct pq_generator_options){.struct_size = sizeof *o};
}

void pq_generate_options_default(struct pq_generate_options *o)
{
    *o = (struct pq_generate_options){.struct_size = sizeof *o};
}

static int check_size(size_t found, size_t expected, const char *name, struct pq_err *e)
{
    return found == expected
               ? PQ_OK
               : pq_fail(e, PQ_EINVAL, "options of %zu bytes, expected %zu: set them with %s",
                         found, expected, name);
}

static int open_session(struct pq_generator *g, const struct pq_generator_options *o,
                        struct pq_err *e)
{
    struct pq_session_setup setup = {.context = (uint32_t)o->context,
                                     .threads = o->threads,
                                     .cpu = o->cpu_level,
                                     .fast = !o->exact};
    if (o->context > UINT32_MAX)
        return pq_fail(e, PQ_EINVAL, "a context of %llu tokens", (unsigned long long)o->context);
    int rc = pq_kv_find(&setup.kv, o->kv ? o->kv : "f16", e);
    return rc < 0 ? rc : pq_session_new(&g->session, g->model, &setup, e);
}

static int open_generator(struct pq_generator *g, const struct pq_generator_options *o,
                          struct pq_err *e)
{
    const uint64_t vocab = g->model->net.hp.vocab;
    const struct pq_sampling how = {
        o->temperature,    (uint32_t)(o->top_k < vocab ? o->top_k : vocab),
        o->top_p,          o->min_p,
        o->repeat_penalty, o->seed};
    int rc;
    if (!g->model->has_vocab)
        return pq_fail(e, PQ_EINVAL, "%s: the model has no tokenizer", g->model->path);
    if (o->template_name && !(g->template_name = pq_arena_strdup(&g->arena, o->template_name)))
        return pq_fail(e, PQ_ENOMEM, "out of memory for a generator");
    PQ_TRY(pq_tokenizer_new(&g->tokenizer, &g->model->vocab, e));
    PQ_TRY(open_session(g, o, e));
    PQ_TRY(pq_sampler_new(&g->sampler, &how, (uint32_t)vocab, e));
out:
    return rc;
}

int pq_generator_new(struct pq_generator **out, const struct pq_model *m,
                     const struct pq_generator_options *o, struct pq_err *e)
{
    *out = NULL;
    int rc = check_size(o->struct_size, sizeof *o, "pq_generator_options_default", e);
    if (rc < 0)
        return rc;
    struct pq_generator *g = (struct pq_generator *)pq_calloc(1, sizeof *g);
    if (!g)
        return pq_fail(e, PQ_ENOMEM, "out of memory for a generator");
    *g = (struct pq_generator){.model = m, .on_read = o->on_read, .ctx = o->ctx};
    rc = open_generator(g, o, e);
    if (rc < 0)
        pq_generator_free(g);
    else
        *out = g;
    return rc;
}

void pq_generator_free(struct pq_generator *g)
{
    if (!g)
        return;
    pq_generation_free(&g->last);
    pq_chat_free(g->chat);
    pq_sampler_free(g->sampler);
    pq_session_free(g->session);
    pq_tokenizer_free(g->tokenizer);
    pq_arena_free(&g->arena);
    pq_free(g);
}

/* ---- reading ---- */

/* How many of n tokens to read before somebody may look: never so few that a later piece crosses
 * LongRoPE's switch, for which everything would be computed anew. */
static size_t piece_of(const struct pq_session *s, size_t n)
{
    enum { PIECE = 256 };
    const size_t length = s->ids.n;
    size_t k = n < PIECE ? n : PIECE;
    if (pq_rope_is_long(s->hp, length + n) && !pq_rope_is_long(s->hp, length + k))
        k = s->hp->original_max_position + 1 - length;
    return k;
}

static int check_room(const struct pq_generator *g, size_t before, size_t n, struct pq_err *e)
{
    const uint32_t context = g->session->context;
    if (!n)
        return pq_fail(e, PQ_EINVAL, "%s: there is nothing to read", g->model->path);
    if (n > context - before)
        return pq_fail(e, PQ_EINVAL, "%s: %zu tokens after %zu do not fit the context of %u tokens",
                       g->model->path, n, before, context);
    return PQ_OK;
}

int pq_generator_append(struct pq_generator *g, const uint32_t *id, size_t n, struct pq_err *e)
{
    const uint64_t total = g->session->ids.n + n;
    size_t left = n;
    int rc = check_room(g, g->session->ids.n, n, e);
    if (rc < 0)
        return rc;
    do {
        const size_t k = piece_of(g->session, left);
        rc = pq_session_read(g->session, id + (n - left), k, NULL, e);
        if (rc < 0)
            return rc;
        left -= k;
        if (g->on_read && g->on_read(g->ctx, total - left, total) && left)
            return pq_fail(e, PQ_ECANCELLED, "interrupted after %zu of %zu tokens",
                           (size_t)(total - left), (size_t)total);
    } while (left);
    return PQ_OK;
}

int pq_generator_read_ids(struct pq_generator *g, const uint32_t *id, size_t n, struct pq_err *e)
{
    const struct pq_ids *have = &g->session->ids;
    size_t same = 0;
    int rc = check_room(g, 0, n, e);
    if (rc < 0)
        return rc;
    while (same + 1 < n && same < have->n && have->id[same] == id[same])
        same++;
    pq_session_keep(g->session, same);
    return pq_generator_append(g, id + same, n - same, e);
}

static int read_bytes(struct pq_generator *g, const char *text, size_t size, unsigned flags,
                      struct pq_err *e)
{
    struct pq_ids ids = {0};
    int rc;
    PQ_TRY(pq_tokenizer_encode(g->tokenizer, text, size, flags, &ids, e));
    PQ_TRY(pq_generator_read_ids(g, ids.id, ids.n, e));
out:
    pq_ids_free(&ids);
    return rc;
}

int pq_generator_read_text(struct pq_generator *g, const char *text, size_t size, struct pq_err *e)
{
    return read_bytes(g, text, size, PQ_ENCODE_ENDS, e);
}

int pq_generator_template(struct pq_generator *g, struct pq_err *e)
{
    return g->chat ? PQ_OK : pq_chat_choose(&g->chat, &g->model->vocab, g->template_name, e);
}

int pq_generator_read_conversation(struct pq_generator *g, const json_t *request, struct pq_err *e)
{
    struct pq_buf text = {0};
    int rc;
    PQ_TRY(pq_generator_template(g, e));
    PQ_TRY(pq_chat_render(g->chat, &g->model->vocab, request, &text, e));
    /* a template writes the beginning of the text by itself */
    PQ_TRY(read_bytes(g, (const char *)text.data, text.len, 0, e));
out:
    pq_buf_free(&text);
    return rc;
}

int pq_generator_read_chat(struct pq_generator *g, const char *json, struct pq_err *e)
{
    json_t *request = NULL;
    int rc;
    PQ_TRY(pq_json_parse(&request, json, strlen(json), "conversation", e));
    PQ_TRY(pq_generator_read_conversation(g, request, e));
out:
    json_decref(request);
    return rc;
}

static int messages_json(json_t *list, const struct pq_message *message, size_t n, struct pq_err *e)
{
    for (size_t i = 0; i < n; i++) {
        json_t *m = json_pack("{s:s, s:s}", "role", message[i].role, "content", message[i].text);
        if (!m)
            return pq_fail(e, PQ_EINVAL, "message %zu: its role or text is not UTF-8", i);
        if (json_array_append_new(list, m))
            return pq_fail(e, PQ_ENOMEM, "out of memory for the conversation");
    }
    return PQ_OK;
}

int pq_generator_read_messages(struct pq_generator *g, const struct pq_message *message, size_t n,
                               struct pq_err *e)
{
    json_t *list = json_array();
    int rc;
    if (!list)
        return pq_fail(e, PQ_ENOMEM, "out of memory for the conversation");
    PQ_TRY(messages_json(list, message, n, e));
    PQ_TRY(pq_generator_read_conversation(g, list, e));
out:
    json_decref(list);
    return rc;
}

/* ---- what is there ---- */

int pq_generator_tokenize(const struct pq_generator *g, const char *text, size_t size, int ends,
                          uint32_t *id, size_t cap, size_t *n, struct pq_err *e)
{
    struct pq_ids ids = {0};
    int rc = pq_tokenizer_encode(g->tokenizer, text, size, ends ? PQ_ENCODE_ENDS : 0, &ids, e);
    *n = rc < 0 ? 0 : ids.n;
    const size_t kept = *n < cap ? *n : cap;
    if (kept)
        memcpy(id, ids.id, kept * sizeof *id);
    pq_ids_free(&ids);
    return rc;
}

const uint32_t *pq_generator_ids(const struct pq_generator *g, size_t *n)
{
    *n = pq_session_length(g->session);
    return pq_session_ids(g->session);
}

const float *pq_generator_logits(const struct pq_generator *g, size_t *vocabulary)
{
    *vocabulary = g->session->hp->vocab;
    return pq_session_logits(g->session);
}

/* ---- going on ---- */

int pq_generator_run(struct pq_generator *g, const struct pq_generate_options *o,
                     struct pq_generated *out, struct pq_err *e)
{
    struct pq_generation *last = &g->last;
    int rc = check_size(o->struct_size, sizeof *o, "pq_generate_options_default", e);
    *out = (struct pq_generated){.text = "", .finish = ""};
    if (rc < 0)
        return rc;
    pq_generation_free(last);
    *last = (struct pq_generation){.session = g->session,
                                   .tokenizer = g->tokenizer,
                                   .sampler = g->sampler,
                                   .max_tokens = o->max_tokens,
                                   .stop = o->stop,
                                   .n_stop = o->n_stop,
                                   .on_text = o->on_text,
                                   .ctx = o->ctx};
    PQ_TRY(pq_generate(last, e));
    pq_buf_u8(&last->text, 0);
    PQ_TRY(pq_buf_check(&last->text, e));
    last->text.len--;
    *out = (struct pq_generated){(const char *)last->text.data, last->text.len, last->n_tokens,
                                 pq_finish_name(last->finish)};
out:
    return rc;
}
