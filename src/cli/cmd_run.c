/* phiq run: a prompt to text, as it comes. SPDX-License-Identifier: MIT */
#include "base/fs.h"
#include "base/sys.h"
#include "cli/cli.h"
#include "infer/generate.h"
#include "tok/chat.h"

#include <stdio.h>
#include <string.h>

enum { MAX_TEXT = 1 << 28, USUAL_TOKENS = 256 };

struct run {
    const struct pq_args *a;
    struct pq_model *m;
    struct pq_tokenizer *t;
    struct pq_session *s;
    struct pq_buf prompt;
    struct pq_ids ids;
    struct pq_generation g;
    double load, read, generate; /* seconds */
};

/* ---- the prompt ---- */

static int read_stdin(struct pq_buf *out, struct pq_err *e)
{
    char piece[4096];
    size_t n;
    while ((n = fread(piece, 1, sizeof piece, stdin)) > 0 && out->len < MAX_TEXT)
        pq_buf_put(out, piece, n);
    return ferror(stdin) ? pq_fail(e, PQ_EIO, "cannot read standard input") : PQ_OK;
}

static int read_file(struct pq_buf *out, const char *path, struct pq_err *e)
{
    char *data = NULL;
    size_t size = 0;
    int rc = pq_file_read(path, MAX_TEXT, &data, &size, e);
    if (rc >= 0)
        pq_buf_put(out, data, size);
    pq_free(data);
    return rc;
}

/* A conversation in the model's template. */
static int render(struct run *r, struct pq_buf *out, struct pq_err *e)
{
    int rc = PQ_OK;
    json_t *request = NULL;
    struct pq_chat *chat = NULL;
    struct pq_buf text = {0};
    if (strchr("[{", r->a->chat[0]))
        pq_buf_puts(&text, r->a->chat);
    else
        PQ_TRY(read_file(&text, r->a->chat, e));
    PQ_TRY(pq_buf_check(&text, e));
    PQ_TRY(pq_json_parse(&request, (const char *)text.data, text.len, "conversation", e));
    PQ_TRY(pq_chat_choose(&chat, &r->m->vocab, r->a->template_name, e));
    PQ_TRY(pq_chat_render(chat, &r->m->vocab, request, out, e));
out:
    pq_buf_free(&text);
    json_decref(request);
    pq_chat_free(chat);
    return rc;
}

static int read_prompt(struct run *r, struct pq_err *e)
{
    const struct pq_args *a = r->a;
    int rc = PQ_OK;
    if ((a->prompt != NULL) + (a->file != NULL) + (a->chat != NULL) > 1)
        return pq_fail(e, PQ_EINVAL, "--prompt, --file and --chat: only one of them");
    if (a->prompt)
        pq_buf_puts(&r->prompt, a->prompt);
    else if (a->file)
        rc = read_file(&r->prompt, a->file, e);
    else if (a->chat)
        rc = render(r, &r->prompt, e);
    else
        rc = read_stdin(&r->prompt, e);
    return rc < 0 ? rc : pq_buf_check(&r->prompt, e);
}

static int tokenize(struct run *r, struct pq_err *e)
{
    int rc;
    PQ_TRY(read_prompt(r, e));
    /* a template writes the beginning of the text by itself */
    PQ_TRY(pq_tokenizer_encode(r->t, (const char *)r->prompt.data, r->prompt.len,
                               r->a->chat ? 0 : PQ_ENCODE_ENDS, &r->ids, e));
    if (!r->ids.n)
        rc = pq_fail(e, PQ_EINVAL, "the prompt is empty");
out:
    return rc;
}

/* ---- the answer ---- */

static int print_text(void *ctx, const char *text, size_t n)
{
    const struct run *r = (const struct run *)ctx;
    if (!r->a->json) {
        fwrite(text, 1, n, stdout);
        fflush(stdout);
    }
    return pq_interrupted();
}

static int open_session(struct run *r, struct pq_err *e)
{
    const struct pq_args *a = r->a;
    struct pq_session_setup setup = {.context = (uint32_t)a->context_size,
                                     .threads = (int)a->threads,
                                     .cpu = a->cpu,
                                     .fast = !a->exact};
    if (a->kv && !strcmp(a->kv, "f32"))
        setup.kv = PQ_KV_F32;
    else if (a->kv && strcmp(a->kv, "f16"))
        return pq_fail(e, PQ_EINVAL, "--kv %s: expected f16 or f32", a->kv);
    if (!r->m->has_vocab)
        return pq_fail(e, PQ_EINVAL, "%s: the model has no tokenizer", r->m->path);
    int rc = pq_tokenizer_new(&r->t, &r->m->vocab, e);
    return rc < 0 ? rc : pq_session_new(&r->s, r->m, &setup, e);
}

static int generate(struct run *r, struct pq_err *e)
{
    const struct pq_args *a = r->a;
    const struct pq_sampling how = {a->temperature, (uint32_t)a->top_k, a->top_p,
                                    a->min_p,       a->repeat_penalty,  a->seed};
    struct pq_generation *g = &r->g;
    double t0 = pq_now();
    int rc;
    *g = (struct pq_generation){.session = r->s,
                                .tokenizer = r->t,
                                .max_tokens = a->max_tokens ? a->max_tokens : USUAL_TOKENS,
                                .stop = a->stop.item,
                                .n_stop = a->stop.n,
                                .on_text = print_text,
                                .ctx = r};
    PQ_TRY(pq_sampler_new(&g->sampler, &how, pq_session_hparams(r->s)->vocab, e));
    PQ_TRY(pq_session_read(r->s, r->ids.id, r->ids.n, NULL, e));
    r->read = pq_now() - t0;
    rc = pq_generate(g, e);
    r->generate = pq_now() - t0 - r->read;
out:
    return rc;
}

/* ---- the report ---- */

static double per_second(double n, double seconds)
{
    return seconds > 0 ? n / seconds : 0;
}

static json_t *token_rows(const struct run *r)
{
    json_t *rows = json_array();
    for (size_t i = 0; i < r->g.n_tokens; i++) {
        const struct pq_choice *c = &r->g.token[i];
        const char *piece = c->id < r->m->vocab.n_tokens ? r->m->vocab.token[c->id].text : "";
        json_array_append_new(rows, json_pack("{s:I, s:s, s:f}", "id", (json_int_t)c->id, "piece",
                                              piece, "logprob", c->logprob));
    }
    return rows;
}

static int print_json(const struct run *r, struct pq_err *e)
{
    const struct pq_generation *g = &r->g;
    json_t *doc = json_pack("{s:s, s:I, s:s, s:o, s:f, s:f, s:f}", "path", r->m->path,
                            "prompt_tokens", (json_int_t)r->ids.n, "finish",
                            pq_finish_name(g->finish), "tokens", token_rows(r), "load_seconds",
                            r->load, "prompt_seconds", r->read, "generate_seconds", r->generate);
    json_t *text = json_stringn(g->text.data ? (const char *)g->text.data : "", g->text.len);
    if (!doc || !text || json_object_set_new(doc, "text", text)) {
        json_decref(doc);
        return pq_fail(e, PQ_ENOMEM, "out of memory for the report");
    }
    return pq_print_json(doc, e);
}

static int report(const struct run *r, struct pq_err *e)
{
    if (r->a->json)
        return print_json(r, e);
    putchar('\n');
    fflush(stdout);
    if (!r->a->quiet)
        fprintf(stderr,
                "%zu prompt tokens, %.1f a second; %zu tokens, %.1f a second; loaded in %.2f s; "
                "end: %s\n",
                r->ids.n, per_second((double)r->ids.n, r->read), r->g.n_tokens,
                per_second((double)r->g.n_tokens, r->generate), r->load,
                pq_finish_name(r->g.finish));
    return PQ_OK;
}

int pq_cmd_run(const struct pq_args *a, struct pq_err *e)
{
    struct run r = {.a = a};
    double t0 = pq_now();
    int rc;
    pq_interrupt_watch();
    PQ_TRY(pq_model_load(&r.m, a->pos[0], e));
    PQ_TRY(open_session(&r, e));
    r.load = pq_now() - t0;
    PQ_TRY(tokenize(&r, e));
    PQ_TRY(generate(&r, e));
    PQ_TRY(report(&r, e));
    if (r.g.finish == PQ_FINISH_CANCELLED)
        rc = pq_fail(e, PQ_ECANCELLED, "interrupted");
out:
    pq_sampler_free(r.g.sampler);
    pq_generation_free(&r.g);
    pq_session_free(r.s);
    pq_tokenizer_free(r.t);
    pq_ids_free(&r.ids);
    pq_buf_free(&r.prompt);
    pq_model_free(r.m);
    return rc;
}
