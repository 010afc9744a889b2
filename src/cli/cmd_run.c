/* phiq run: a prompt to text, as it comes. SPDX-License-Identifier: MIT */
#include "base/sys.h"
#include "cli/talk.h"

#include <stdio.h>

struct run {
    const struct pq_args *a;
    struct pq_talk talk;
    struct pq_buf prompt;
    struct pq_generated result;
    size_t prompt_tokens;
    double begin;                       /* pq_now */
    double load, read, first, generate; /* seconds; first: from the beginning to the first text */
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

static int prompt_text(struct run *r, struct pq_err *e)
{
    const struct pq_args *a = r->a;
    int rc = PQ_OK;
    if (a->prompt)
        pq_buf_puts(&r->prompt, a->prompt);
    else if (a->file)
        rc = pq_talk_file(&r->prompt, a->file, e);
    else
        rc = read_stdin(&r->prompt, e);
    if (rc >= 0 && !r->prompt.len)
        rc = pq_fail(e, PQ_EINVAL, "the prompt is empty");
    return rc < 0 ? rc : pq_buf_check(&r->prompt, e);
}

static int read_conversation(struct run *r, struct pq_err *e)
{
    json_t *request = NULL;
    int rc;
    PQ_TRY(pq_talk_conversation(r->a->chat, &request, e));
    PQ_TRY(pq_generator_read_conversation(r->talk.g, request, e));
out:
    json_decref(request);
    return rc;
}

static int read_prompt(struct run *r, struct pq_err *e)
{
    const struct pq_args *a = r->a;
    int rc;
    if ((a->prompt != NULL) + (a->file != NULL) + (a->chat != NULL) > 1)
        return pq_fail(e, PQ_EINVAL, "--prompt, --file and --chat: only one of them");
    if (a->chat) {
        PQ_TRY(read_conversation(r, e));
    } else {
        PQ_TRY(prompt_text(r, e));
        PQ_TRY(pq_generator_read_text(r->talk.g, (const char *)r->prompt.data, r->prompt.len, e));
    }
    pq_generator_ids(r->talk.g, &r->prompt_tokens);
out:
    return rc;
}

/* ---- the answer ---- */

static int print_text(void *ctx, const char *text, size_t n)
{
    struct run *r = (struct run *)ctx;
    r->first = r->first > 0 ? r->first : pq_now() - r->begin;
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
    PQ_TRY(read_prompt(r, e));
    r->read = pq_now() - t0;
    r->talk.how.on_text = print_text;
    r->talk.how.ctx = r;
    PQ_TRY(pq_generator_run(r->talk.g, &r->talk.how, &r->result, e));
    r->first = r->first > 0 ? r->first : pq_now() - r->begin; /* a text without characters */
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
    for (size_t i = 0; i < r->result.n_tokens; i++) {
        const struct pq_choice *c = &r->talk.g->last.token[i];
        const char *piece = c->id < v->n_tokens ? v->token[c->id].text : "";
        json_array_append_new(rows, json_pack("{s:I, s:s, s:f}", "id", (json_int_t)c->id, "piece",
                                              piece, "logprob", c->logprob));
    }
    return rows;
}

static int print_json(const struct run *r, struct pq_err *e)
{
    json_t *doc =
        json_pack("{s:s, s:I, s:s, s:o, s:f, s:f, s:f, s:f}", "path", r->talk.m->path,
                  "prompt_tokens", (json_int_t)r->prompt_tokens, "finish", r->result.finish,
                  "tokens", token_rows(r), "load_seconds", r->load, "prompt_seconds", r->read,
                  "generate_seconds", r->generate, "first_token_seconds", r->first);
    json_t *text = json_stringn(r->result.text, r->result.size);
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
                "%zu prompt tokens, %.1f a second; %zu tokens, %.1f a second; loaded in %.2f s, "
                "first text after %.2f s; end: %s\n",
                r->prompt_tokens, per_second((double)r->prompt_tokens, r->read), r->result.n_tokens,
                per_second((double)r->result.n_tokens, r->generate), r->load, r->first,
                r->result.finish);
    return PQ_OK;
}

int pq_cmd_run(const struct pq_args *a, struct pq_err *e)
{
    struct run r = {.a = a, .begin = pq_now()};
    int rc;
    pq_interrupt_watch();
    PQ_TRY(pq_talk_open(&r.talk, a, e));
    r.load = pq_now() - r.begin;
    PQ_TRY(generate(&r, e));
    PQ_TRY(report(&r, e));
    if (r.talk.g->last.finish == PQ_FINISH_CANCELLED)
        rc = pq_fail(e, PQ_ECANCELLED, "interrupted");
out:
    pq_buf_free(&r.prompt);
    pq_talk_close(&r.talk);
    return rc;
}
