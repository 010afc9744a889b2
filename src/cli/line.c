/* Lines, by libedit on a terminal. SPDX-License-Identifier: MIT */
#include "cli/line.h"

#include "base/fs.h"
#include "base/sys.h"
#include "cli/cli.h"

#include <histedit.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEPT_LINES = 1000, MOST_HISTORY = 1 << 26 /* bytes */ };

struct pq_lines {
    struct pq_arena arena;
    EditLine *editor; /* NULL: no terminal */
    History *history;
    const char *file; /* of the history, or NULL */
    const char *prompt;
};

/* ---- history from one session to the next ---- */

/* The XDG base directory specification: a relative path counts as none. */
static const char *state_folder(struct pq_arena *a)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    if (state && *state == '/')
        return pq_path_join(a, state, "phiq");
    return home && *home == '/' ? pq_path_join(a, home, ".local/state/phiq") : NULL;
}

static void give_up(struct pq_lines *l, const struct pq_err *why)
{
    fprintf(stderr, "phiq: what you type is not kept: %s\n", why->msg);
    l->file = NULL;
}

/* Appends at once: sessions side by side keep each other's lines. */
static void keep(struct pq_lines *l, const char *line)
{
    struct pq_err e = {0};
    struct pq_buf text = {0};
    HistEvent event;
    if (!*line || history(l->history, &event, H_ENTER, line) < 0 || !l->file)
        return;
    pq_buf_puts(&text, line);
    pq_buf_puts(&text, "\n");
    if (pq_buf_check(&text, &e) < 0 || pq_file_append(l->file, text.data, text.len, &e) < 0)
        give_up(l, &e);
    pq_buf_free(&text);
}

/* Enters the lines of a text. */
static void enter_lines(struct pq_lines *l, char *text)
{
    HistEvent event;
    for (char *end; (end = strchr(text, '\n')); text = end + 1) {
        *end = '\0';
        history(l->history, &event, H_ENTER, text);
    }
}

/* Of a file that has grown long only the end stays. */
static int shorten(const struct pq_lines *l, char **text, size_t size, struct pq_err *e)
{
    enum { LONG = 1 << 20 };
    if (size <= LONG)
        return PQ_OK;
    const char *end = strchr(*text + size - LONG / 2, '\n');
    *text = end ? *text + (end + 1 - *text) : *text + size;
    int rc = pq_tree_remove(l->file, e);
    return rc < 0 ? rc : pq_file_append(l->file, *text, strlen(*text), e);
}

static int load_history(struct pq_lines *l, const char *folder, struct pq_err *e)
{
    char *data = NULL;
    size_t size = 0;
    int rc;
    l->file = pq_path_join(&l->arena, folder, "chat_history");
    if (!l->file)
        return pq_fail(e, PQ_ENOMEM, "out of memory");
    PQ_TRY(pq_dir_make(folder, e));
    if (pq_path_kind(l->file) == PQ_PATH_NONE)
        return PQ_OK;
    PQ_TRY(pq_file_read(l->file, MOST_HISTORY, &data, &size, e));
    char *text = data;
    PQ_TRY(shorten(l, &text, size, e));
    enter_lines(l, text);
out:
    pq_free(data);
    return rc;
}

static void begin_history(struct pq_lines *l)
{
    struct pq_err e = {0};
    const char *folder = state_folder(&l->arena);
    if (folder && load_history(l, folder, &e) < 0)
        give_up(l, &e);
}

/* ---- the editor ---- */

static char *prompt_of(EditLine *editor)
{
    struct pq_lines *l = NULL;
    el_get(editor, EL_CLIENTDATA, &l);
    return (char *)(uintptr_t)l->prompt; /* libedit only reads it */
}

static void bind_keys(EditLine *editor)
{
    static const char *const keys[][2] = {
        {"^R", "em-inc-search-prev"}, {"\\e[3~", "ed-delete-next-char"},
        {"\\e[1;5C", "em-next-word"}, {"\\e[1;5D", "ed-prev-word"},
        {"\\e[H", "ed-move-to-beg"},  {"\\e[F", "ed-move-to-end"},
        {"\\e[1~", "ed-move-to-beg"}, {"\\e[4~", "ed-move-to-end"},
    };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        el_set(editor, EL_BIND, keys[i][0], keys[i][1], NULL);
    el_source(editor, NULL); /* the user's own ~/.editrc */
}

/* The editor takes characters by the locale; one that knows no UTF-8 would refuse most of them. */
static void take_utf8(void)
{
    wchar_t wide = 0;
    setlocale(LC_CTYPE, "");
    if (mbtowc(&wide, "\xc3\xa9", 2) != 2 || wide != 0xe9)
        setlocale(LC_CTYPE, "C.UTF-8");
}

static int open_editor(struct pq_lines *l, bool keep_history, struct pq_err *e)
{
    HistEvent event;
    take_utf8();
    l->editor = el_init("phiq", stdin, stderr, stderr);
    l->history = history_init();
    if (!l->editor || !l->history)
        return pq_fail(e, PQ_ENOMEM, "the line editor does not start");
    history(l->history, &event, H_SETSIZE, KEPT_LINES);
    history(l->history, &event, H_SETUNIQUE, 1);
    el_set(l->editor, EL_CLIENTDATA, l);
    el_set(l->editor, EL_PROMPT, prompt_of);
    el_set(l->editor, EL_EDITOR, "emacs");
    el_set(l->editor, EL_SIGNAL, 1); /* puts the terminal right at Ctrl-Z and new sizes */
    el_set(l->editor, EL_HIST, history, l->history);
    bind_keys(l->editor);
    if (keep_history)
        begin_history(l);
    return PQ_OK;
}

int pq_lines_open(struct pq_lines **out, bool keep_history, struct pq_err *e)
{
    struct pq_lines *l = (struct pq_lines *)pq_calloc(1, sizeof *l);
    int rc = PQ_OK;
    *out = NULL;
    if (!l)
        return pq_fail(e, PQ_ENOMEM, "out of memory for a line");
    if (pq_is_terminal(0) && pq_is_terminal(2))
        rc = open_editor(l, keep_history, e);
    if (rc < 0)
        pq_lines_close(l);
    else
        *out = l;
    return rc;
}

void pq_lines_close(struct pq_lines *l)
{
    if (!l)
        return;
    if (l->history)
        history_end(l->history);
    if (l->editor)
        el_end(l->editor);
    pq_arena_free(&l->arena);
    pq_free(l);
}

bool pq_lines_typed(const struct pq_lines *l)
{
    return l->editor != NULL;
}

/* ---- reading ---- */

static int read_typed(struct pq_lines *l, const char *prompt, struct pq_buf *out, struct pq_err *e)
{
    int n = 0;
    l->prompt = prompt;
    pq_interrupt_watch();
    const char *line = el_gets(l->editor, &n);
    if (pq_interrupted()) {
        fputs("^C\n", stderr);
        return PQ_LINE_DROPPED;
    }
    if (!line || n <= 0) {
        fputc('\n', stderr);
        return PQ_LINE_END;
    }
    const size_t from = out->len, size = strcspn(line, "\n");
    pq_buf_put(out, line, size);
    pq_buf_u8(out, 0);
    if (pq_buf_check(out, e) < 0)
        return PQ_ENOMEM;
    out->len--;
    keep(l, (const char *)out->data + from);
    return PQ_LINE_TEXT;
}

static int read_piped(struct pq_buf *out, struct pq_err *e)
{
    char piece[4096];
    bool some = false, whole = false;
    while (!whole && fgets(piece, sizeof piece, stdin)) {
        const size_t n = strcspn(piece, "\n");
        whole = piece[n] == '\n';
        pq_buf_put(out, piece, n);
        some = true;
    }
    if (ferror(stdin))
        return pq_fail(e, PQ_EIO, "cannot read standard input");
    return pq_buf_check(out, e) < 0 ? PQ_ENOMEM : some ? PQ_LINE_TEXT : PQ_LINE_END;
}

int pq_lines_read(struct pq_lines *l, const char *prompt, struct pq_buf *out, struct pq_err *e)
{
    return l->editor ? read_typed(l, prompt, out, e) : read_piped(out, e);
}
