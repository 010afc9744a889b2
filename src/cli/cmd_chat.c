/* phiq chat: turns of a conversation, read line by line. SPDX-License-Identifier: MIT */
#include "base/fs.h"
#include "base/sys.h"
#include "cli/talk.h"

#include <stdio.h>
#include <string.h>

struct chat {
    struct pq_talk talk;
    struct pq_chat *template;
    json_t *messages;
    bool terminal; /* somebody types */
    bool over;
};

/* ---- the conversation ---- */

static int add_message(struct chat *c, const char *role, const char *text, size_t n,
                       struct pq_err *e)
{
    json_t *content = json_stringn(text, n);
    if (!content)
        return pq_fail(e, PQ_EINVAL, "the %s's text is not UTF-8", role);
    json_t *m = json_pack("{s:s, s:o}", "role", role, "content", content);
    return m && !json_array_append_new(c->messages, m)
               ? PQ_OK
               : pq_fail(e, PQ_ENOMEM, "out of memory for the conversation");
}

/* The system message comes first; a new one begins the conversation anew. */
static int set_system(struct chat *c, const char *text, struct pq_err *e)
{
    json_array_clear(c->messages);
    return *text ? add_message(c, "system", text, strlen(text), e) : PQ_OK;
}

static int save(const struct chat *c, const char *path, struct pq_err *e)
{
    json_t *doc = json_pack("{s:O}", "messages", c->messages);
    char *text = doc ? json_dumps(doc, JSON_INDENT(2)) : NULL;
    int rc = text ? pq_file_write(path, text, strlen(text), e)
                  : pq_fail(e, PQ_ENOMEM, "out of memory for the conversation");
    pq_string_free(text);
    json_decref(doc);
    return rc;
}

/* --chat goes on from a saved conversation. */
static int begin(struct chat *c, struct pq_err *e)
{
    json_t *doc = NULL;
    c->messages = json_array();
    if (!c->talk.a->chat)
        return c->messages ? PQ_OK : pq_fail(e, PQ_ENOMEM, "out of memory");
    int rc = pq_talk_conversation(c->talk.a, &doc, e);
    if (rc < 0)
        return rc;
    json_t *list = json_is_array(doc) ? doc : json_object_get(doc, "messages");
    if (!json_is_array(list) || json_array_extend(c->messages, list))
        rc = pq_fail(e, PQ_EINVAL, "the conversation is no list of messages");
    json_decref(doc);
    return rc;
}

/* ---- a turn ---- */

static int print_text(void *ctx, const char *text, size_t n)
{
    (void)ctx;
    fwrite(text, 1, n, stdout);
    fflush(stdout);
    return pq_interrupted();
}

/* Reads what is new of the conversation's tokens. */
static int read_conversation(struct chat *c, struct pq_err *e)
{
    struct pq_buf text = {0};
    struct pq_ids ids = {0};
    struct pq_session *s = c->talk.s;
    size_t same = 0;
    int rc;
    PQ_TRY(pq_chat_render(c->template, &c->talk.m->vocab, c->messages, &text, e));
    PQ_TRY(pq_tokenizer_encode(c->talk.t, (const char *)text.data, text.len, 0, &ids, e));
    if (ids.n > pq_session_context(s))
        PQ_TRY(pq_fail(e, PQ_EINVAL,
                       "the conversation has %zu tokens, the context is %u: /reset begins anew",
                       ids.n, pq_session_context(s)));
    while (same + 1 < ids.n && same < pq_session_length(s) &&
           pq_session_ids(s)[same] == ids.id[same])
        same++;
    pq_session_keep(s, same);
    rc = pq_session_read(s, ids.id + same, ids.n - same, NULL, e);
out:
    pq_buf_free(&text);
    pq_ids_free(&ids);
    return rc;
}

static int answer(struct chat *c, struct pq_err *e)
{
    struct pq_generation g = pq_talk_generation(&c->talk, print_text, c);
    int rc;
    PQ_TRY(read_conversation(c, e));
    PQ_TRY(pq_generate(&g, e));
    putchar('\n');
    fflush(stdout);
    if (g.finish != PQ_FINISH_EOS && !c->talk.a->quiet)
        fprintf(stderr, "(%s)\n", pq_finish_name(g.finish));
    PQ_TRY(
        add_message(c, "assistant", g.text.data ? (const char *)g.text.data : "", g.text.len, e));
out:
    pq_generation_free(&g);
    return rc;
}

/* What went wrong takes the user's message back; only memory that is out ends the program. */
static int turn(struct chat *c, const char *text, struct pq_err *e)
{
    struct pq_err why = {0};
    const size_t before = json_array_size(c->messages);
    int rc = add_message(c, "user", text, strlen(text), &why);
    pq_interrupt_watch();
    if (rc >= 0)
        rc = answer(c, &why);
    if (rc >= 0)
        return PQ_OK;
    while (json_array_size(c->messages) > before)
        json_array_remove(c->messages, before);
    if (rc == PQ_ENOMEM)
        return pq_fail(e, rc, "%s", why.msg);
    fprintf(stderr, "phiq: %s\n", why.msg);
    return PQ_OK;
}

/* ---- commands ---- */

static int do_help(struct chat *c, const char *arg, struct pq_err *e);

static int do_reset(struct chat *c, const char *arg, struct pq_err *e)
{
    (void)arg;
    const json_t *first = json_array_get(c->messages, 0);
    json_t *system = !strcmp(str(first, "role"), "system") ? json_deep_copy(first) : NULL;
    json_array_clear(c->messages);
    return !system || !json_array_append_new(c->messages, system)
               ? PQ_OK
               : pq_fail(e, PQ_ENOMEM, "out of memory");
}

static int do_save(struct chat *c, const char *arg, struct pq_err *e)
{
    return *arg ? save(c, arg, e) : pq_fail(e, PQ_EINVAL, "/save needs a file's name");
}

static int do_quit(struct chat *c, const char *arg, struct pq_err *e)
{
    (void)arg;
    (void)e;
    c->over = true;
    return PQ_OK;
}

static const struct {
    const char *name, *about;
    int (*run)(struct chat *c, const char *arg, struct pq_err *e);
} commands[] = {
    {"/reset", "forget the conversation, keep the system message", do_reset},
    {"/system", "TEXT: begin anew with this system message (none: without)", set_system},
    {"/save", "FILE: write the conversation as JSON; --chat FILE goes on from it", do_save},
    {"/help", "this list", do_help},
    {"/quit", "end (as does the end of input)", do_quit},
};

static int do_help(struct chat *c, const char *arg, struct pq_err *e)
{
    (void)c;
    (void)arg;
    (void)e;
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        fprintf(stderr, "  %-8s %s\n", commands[i].name, commands[i].about);
    fprintf(stderr, "  A line that ends in \\ goes on in the next one; Ctrl-C ends an answer.\n");
    return PQ_OK;
}

static int command(struct chat *c, const char *line, struct pq_err *e)
{
    const size_t n = strcspn(line, " ");
    struct pq_err why = {0};
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (strlen(commands[i].name) != n || strncmp(line, commands[i].name, n))
            continue;
        const char *arg = line + n + strspn(line + n, " ");
        int rc = commands[i].run(c, arg, &why);
        if (rc < 0)
            fprintf(stderr, "phiq: %s\n", why.msg);
        return rc == PQ_ENOMEM ? pq_fail(e, rc, "%s", why.msg) : PQ_OK;
    }
    fprintf(stderr, "phiq: no command %.*s (/help)\n", (int)n, line);
    return PQ_OK;
}

/* ---- lines ---- */

/* A message, over as many lines as end in a backslash; PQ_OK + 1 when there is one. */
static int read_message(const struct chat *c, struct pq_buf *out, struct pq_err *e)
{
    char piece[4096];
    bool more = true;
    out->len = 0;
    if (c->terminal)
        fputs("> ", stderr);
    while (more && fgets(piece, sizeof piece, stdin)) {
        size_t n = strcspn(piece, "\n");
        more = !piece[n]; /* a long line */
        if (n && !more && piece[n - 1] == '\\') {
            piece[n - 1] = '\n';
            more = true;
            if (c->terminal)
                fputs(". ", stderr);
        }
        pq_buf_put(out, piece, n);
        if (!more) {
            pq_buf_u8(out, 0);
            return pq_buf_check(out, e) < 0 ? PQ_ENOMEM : PQ_OK + 1;
        }
    }
    if (out->len)
        pq_buf_u8(out, 0);
    return out->len ? PQ_OK + 1 : PQ_OK;
}

static int converse(struct chat *c, struct pq_err *e)
{
    struct pq_buf line = {0};
    int rc = PQ_OK, more = 0;
    while (rc >= 0 && !c->over && (more = read_message(c, &line, e)) > 0) {
        const char *text = (const char *)line.data;
        if (text[0] == '/')
            rc = command(c, text, e);
        else if (text[0])
            rc = turn(c, text, e);
    }
    pq_buf_free(&line);
    return rc < 0 ? rc : more < 0 ? more : PQ_OK;
}

int pq_cmd_chat(const struct pq_args *a, struct pq_err *e)
{
    struct chat c = {.terminal = pq_is_terminal(0)};
    int rc;
    PQ_TRY(pq_talk_open(&c.talk, a, e));
    PQ_TRY(pq_chat_choose(&c.template, &c.talk.m->vocab, a->template_name, e));
    PQ_TRY(begin(&c, e));
    if (a->system)
        PQ_TRY(set_system(&c, a->system, e));
    if (c.terminal)
        fprintf(stderr, "%s. /help lists the commands.\n", c.talk.m->name);
    rc = converse(&c, e);
out:
    json_decref(c.messages);
    pq_chat_free(c.template);
    pq_talk_close(&c.talk);
    return rc;
}
