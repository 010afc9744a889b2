/* phiq run: a prompt to text, as it comes. SPDX-License-Identifier: MIT */
#include "base/sys.h"
#include "cli/talk.h"

#include <stdio.h>

struct run {
    const struct pq_args *a;
    struct pq_talk talk;
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
    while ((n = fread(piece, 1, sizeof piece, stdin)) > 0 && out->len < PQ_TALK_MAX_TEXT)
        pq_buf_put(out, piece, n);
    return ferror(stdin) ? pq_fail(e, PQ_EIO, "cannot read standard input") : PQ_OK;
}

/* A conversation in the model's template. */
static int render(struct run *r, struct pq_buf *out, struct pq_err *e)
{
    const struct pq_vocab *v = &r->talk.m->vocab;
    json_t *request = NULL;
    struct pq_chat *chat = NULL;
    int rc;
    PQ_TRY(pq_talk_conversation(r->a, &request, e));
    PQ_TRY(pq_chat_choose(&chat, v, r->a->template_name, e));
    PQ_TRY(pq_chat_render(chat, v, request, out, e));
out:
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
        rc = pq_talk_file(&r->prompt, a->file, e);
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
    PQ_TRY(pq_tokenizer_encode(r->talk.t, (const char *)r->prompt.data, r->prompt.len,
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

static int generate(struct run *r, struct pq_err *e)
{
    double t0 = pq_now();
    int rc;
    PQ_TRY(pq_session_read(r->talk.s, r->ids.id, r->ids.n, NULL, e));
    r->read = pq_now() - t0;
    r->g = pq_talk_generation(&r->talk, print_text, r);
    rc = pq_generate(&r->g, e);
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
    const struct pq_vocab *v = &r->talk.m->vocab;
    json_t *rows = json_array();
    for (size_t i = 0; i < r->g.n_tokens; i++) {
        const struct pq_choice *c = &r->g.token[i];
        const char *piece = c->id < v->n_tokens ? v->token[c->id].text : "";
        json_array_append_new(rows, json_pack("{s:I, s:s, s:f}", "id", (json_int_t)c->id, "piece",
                                              piece, "logprob", c->logprob));
    }
    return rows;
}

static int print_json(const struct run *r, struct pq_err *e)
{
    const struct pq_generation *g = &r->g;
    json_t *doc = json_pack("{s:s, s:I, s:s, s:o, s:f, s:f, s:f}", "path", r->talk.m->path,
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
    PQ_TRY(pq_talk_open(&r.talk, a, e));
    r.load = pq_now() - t0;
    PQ_TRY(tokenize(&r, e));
    PQ_TRY(generate(&r, e));
    PQ_TRY(report(&r, e));
    if (r.g.finish == PQ_FINISH_CANCELLED)
        rc = pq_fail(e, PQ_ECANCELLED, "interrupted");
out:
    pq_generation_free(&r.g);
    pq_ids_free(&r.ids);
    pq_buf_free(&r.prompt);
    pq_talk_close(&r.talk);
    return rc;
}
