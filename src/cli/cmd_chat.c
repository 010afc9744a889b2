/* phiq chat: turns of a conversation, read line by line. SPDX-License-Identifier: MIT */
#include "base/fs.h"
#include "base/num.h"
#include "cli/line.h"
#include "cli/talk.h"

#include <stdio.h>
#include <string.h>

struct chat {
    struct pq_talk talk;
    struct pq_lines *lines;
    json_t *messages;
    bool quiet, over;
};

static int no_memory(struct pq_err *e)
{
    return pq_fail(e, PQ_ENOMEM, "out of memory for the conversation");
}

/* ---- the conversation ---- */

static int add_message(struct chat *c, const char *role, const char *text, size_t n,
                       struct pq_err *e)
{
    json_t *content = json_stringn(text, n);
    if (!content)
        return pq_fail(e, PQ_EINVAL, "the %s's text is not UTF-8", role);
    json_t *m = json_pack("{s:s, s:o}", "role", role, "content", content);
    return m && !json_array_append_new(c->messages, m) ? PQ_OK : no_memory(e);
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
    int rc = text ? pq_file_write(path, text, strlen(text), e) : no_memory(e);
    pq_string_free(text);
    json_decref(doc);
    return rc;
}

/* Goes on from a saved conversation; what is there stays when that fails. */
static int load(struct chat *c, const char *what, struct pq_err *e)
{
    json_t *doc = NULL;
    int rc = pq_talk_conversation(what, &doc, e);
    if (rc < 0)
        return rc;
    json_t *list = json_is_array(doc) ? doc : json_object_get(doc, "messages");
    if (!json_is_array(list))
        rc = pq_fail(e, PQ_EINVAL, "the conversation is no list of messages");
    else if (json_array_clear(c->messages) || json_array_extend(c->messages, list))
        rc = no_memory(e);
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

static int answer(struct chat *c, struct pq_err *e)
{
    struct pq_generated got;
    int rc;
    PQ_TRY(pq_generator_read_conversation(c->talk.g, c->messages, e));
    PQ_TRY(pq_generator_run(c->talk.g, &c->talk.how, &got, e));
    putchar('\n');
    fflush(stdout);
    if (strcmp(got.finish, "eos") && !c->quiet)
        fprintf(stderr, "(%s)\n", got.finish);
    PQ_TRY(add_message(c, "assistant", got.text, got.size, e));
out:
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
    fprintf(stderr, "phiq: %s%s\n", why.msg, rc == PQ_EINVAL ? " (/reset begins anew)" : "");
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
    return !system || !json_array_append_new(c->messages, system) ? PQ_OK : no_memory(e);
}

static int do_save(struct chat *c, const char *arg, struct pq_err *e)
{
    return *arg ? save(c, arg, e) : pq_fail(e, PQ_EINVAL, "/save needs a file's name");
}

static int do_load(struct chat *c, const char *arg, struct pq_err *e)
{
    return *arg ? load(c, arg, e) : pq_fail(e, PQ_EINVAL, "/load needs a file's name");
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
    {"/save", "FILE: write the conversation as JSON", do_save},
    {"/load", "FILE: go on from a conversation that was saved (as --chat FILE does)", do_load},
    {"/help", "this list", do_help},
    {"/quit", "end (as does Ctrl-D)", do_quit},
};

static int do_help(struct chat *c, const char *arg, struct pq_err *e)
{
    (void)c;
    (void)arg;
    (void)e;
    for (size_t i = 0; i < PQ_LEN(commands); i++)
        fprintf(stderr, "  %-8s %s\n", commands[i].name, commands[i].about);
    fprintf(stderr,
            "  A line that ends in \\ goes on in the next one; \"\"\" begins and ends a message "
            "of\n  several lines. Ctrl-C ends an answer, or drops what is typed.\n");
    return PQ_OK;
}

static int command(struct chat *c, const char *line, struct pq_err *e)
{
    const size_t n = strcspn(line, " ");
    struct pq_err why = {0};
    for (size_t i = 0; i < PQ_LEN(commands); i++) {
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

static const char fence[] = "\"\"\"";
enum { FENCE = sizeof fence - 1 };

/* Does the text end in a fence, which is taken away? */
static bool unfence(struct pq_buf *text, size_t from)
{
    if (text->len - from < FENCE || memcmp(text->data + text->len - FENCE, fence, FENCE) != 0)
        return false;
    text->len -= FENCE;
    return true;
}

/* Does the line that begins at `from` go on in the next one? The marks of that are taken away. */
static bool goes_on(struct pq_buf *text, size_t from, bool *fenced)
{
    if (!from && text->len >= FENCE && !memcmp(text->data, fence, FENCE)) {
        text->len -= FENCE;
        memmove(text->data, text->data + FENCE, text->len);
        *fenced = true;
    }
    if (*fenced)
        return !unfence(text, from);
    if (text->len == from || text->data[text->len - 1] != '\\')
        return false;
    text->len--;
    return true;
}

/* A message of one line or more, ended by a zero byte; an enum pq_line. */
static int read_message(struct chat *c, struct pq_buf *text, struct pq_err *e)
{
    bool fenced = false, more = true;
    int got = PQ_LINE_TEXT;
    text->len = 0;
    while (more && got == PQ_LINE_TEXT) {
        const size_t from = text->len;
        got = pq_lines_read(c->lines, from ? ". " : "> ", text, e);
        more = got == PQ_LINE_TEXT && goes_on(text, from, &fenced);
        if (more)
            pq_buf_u8(text, '\n');
    }
    if (got == PQ_LINE_END && text->len)
        got = PQ_LINE_TEXT;
    pq_buf_u8(text, 0);
    return got >= 0 && pq_buf_check(text, e) < 0 ? PQ_ENOMEM : got;
}

static int converse(struct chat *c, struct pq_err *e)
{
    struct pq_buf message = {0};
    int rc = PQ_OK, got = PQ_LINE_TEXT;
    while (rc >= 0 && !c->over && (got = read_message(c, &message, e)) > PQ_LINE_END) {
        const char *text = (const char *)message.data;
        if (got == PQ_LINE_DROPPED || !*text)
            continue;
        rc = text[0] == '/' ? command(c, text, e) : turn(c, text, e);
    }
    pq_buf_free(&message);
    return rc < 0 ? rc : got < 0 ? got : PQ_OK;
}

static int begin(struct chat *c, const struct pq_args *a, struct pq_err *e)
{
    int rc;
    c->messages = json_array();
    if (!c->messages)
        return no_memory(e);
    PQ_TRY(pq_talk_open(&c->talk, a, e));
    PQ_TRY(pq_generator_template(c->talk.g, e));
    c->talk.how.on_text = print_text;
    if (a->chat)
        PQ_TRY(load(c, a->chat, e));
    if (a->system)
        PQ_TRY(set_system(c, a->system, e));
    PQ_TRY(pq_lines_open(&c->lines, !a->no_history, e));
    if (pq_lines_typed(c->lines))
        fprintf(stderr, "%s. /help lists the commands.\n", c->talk.m->name);
out:
    return rc;
}

int pq_cmd_chat(const struct pq_args *a, struct pq_err *e)
{
    struct chat c = {.quiet = a->quiet};
    int rc = begin(&c, a, e);
    if (rc >= 0)
        rc = converse(&c, e);
    pq_lines_close(c.lines);
    json_decref(c.messages);
    pq_talk_close(&c.talk);
    return rc;
}
