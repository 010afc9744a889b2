/*
 * Tags and the white space around them. Rules: "Whitespace Control" of Jinja's template designer
 * documentation with trim_blocks and lstrip_blocks on. SPDX-License-Identifier: MIT
 */
#include "base/num.h"
#include "tok/jinja.h"
#include "tok/utf8.h"

#include <string.h>

struct lexer {
    const char *p, *end;
    int line;
    bool
        line_starts; /* nothing but white space before p in its line, because a tag took the rest */
    struct pq_arena *a;
    struct pq_jtoken *tok;
    size_t n, cap;
    struct pq_err *e;
};

static int no_memory(struct lexer *x)
{
    return pq_fail(x->e, PQ_ENOMEM, "out of memory for the chat template");
}

static int put(struct lexer *x, enum pq_jtoken_kind kind, const char *s, size_t n)
{
    if (x->n == x->cap) {
        size_t cap = x->cap ? 2 * x->cap : 256;
        void *grown = pq_realloc(x->tok, cap, sizeof *x->tok);
        if (!grown)
            return no_memory(x);
        x->tok = (struct pq_jtoken *)grown;
        x->cap = cap;
    }
    x->tok[x->n++] = (struct pq_jtoken){.kind = kind, .line = x->line, .s = s, .n = n};
    return PQ_OK;
}

static void move(struct lexer *x, const char *to)
{
    for (; x->p < to; x->p++)
        x->line += *x->p == '\n';
}

static bool begins(const struct lexer *x, const char *s)
{
    size_t n = strlen(s);
    return (size_t)(x->end - x->p) >= n && !memcmp(x->p, s, n);
}

/* ---- white space ---- */

static const char *skip_blanks(const char *p, const char *end)
{
    struct pq_jval rest = pq_jval_str(p, (size_t)(end - p));
    pq_jval_strip(&rest, true, false);
    return rest.s;
}

/* The text before a tag, less what the tag takes of it. */
static int put_text(struct lexer *x, const char *to, char tag, char sign)
{
    struct pq_jval text = pq_jval_str(x->p, (size_t)(to - x->p));
    if (sign == '-') {
        pq_jval_strip(&text, false, true);
    } else if (sign != '+' && tag != '{') { /* lstrip_blocks */
        const char *line = to;
        while (line > x->p && line[-1] != '\n')
            line--;
        if ((line > x->p || x->line_starts) && skip_blanks(line, to) == to)
            text.n = (size_t)(line - x->p);
    }
    return text.n ? put(x, PQ_J_TEXT, text.s, text.n) : PQ_OK;
}

/* Past the end of a tag and what it takes: "-" all white space, a block or comment one newline. */
static void close_tag(struct lexer *x, char tag, char sign)
{
    const char *from = x->p + (sign ? 3 : 2), *to = from;
    if (sign == '-')
        to = skip_blanks(from, x->end);
    else if (!sign && tag != '{' && from < x->end && *from == '\n')
        to++;
    move(x, to);
    x->line_starts = to[-1] == '\n';
}

/* ---- inside of tags ---- */

static int hex(const char *p, size_t n, uint32_t *v)
{
    *v = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)p[i], low = c | 0x20;
        if (!((c >= '0' && c <= '9') || (low >= 'a' && low <= 'f')))
            return 0;
        *v = *v << 4 | (uint32_t)(c <= '9' ? c - '0' : low - 'a' + 10);
    }
    return *v != 0 && *v < 0x110000 && (*v < 0xd800 || *v > 0xdfff);
}

/* One escape at p (a backslash). Returns the characters it has; 0 when it is not supported. */
static size_t escape(const char *p, const char *end, char *out, size_t *n)
{
    static const char from[] = "\\'\"nrtabfv", to[] = "\\'\"\n\r\t\a\b\f\v";
    static const struct {
        char c;
        size_t digits;
    } codes[] = {{'x', 2}, {'u', 4}, {'U', 8}};
    const char *which = p[1] ? strchr(from, p[1]) : NULL;
    uint32_t v;
    if (which) {
        out[(*n)++] = to[which - from];
        return 2;
    }
    for (size_t i = 0; i < PQ_LEN(codes); i++) {
        size_t digits = codes[i].digits;
        if (p[1] != codes[i].c)
            continue;
        if ((size_t)(end - p) < 2 + digits || !hex(p + 2, digits, &v))
            return 0;
        *n += pq_utf8_put(v, out + *n);
        return 2 + digits;
    }
    if (p[1] == '\n') /* a continued line */
        return 2;
    if ((p[1] >= '0' && p[1] <= '7') || p[1] == 'N')
        return 0;
    out[(*n)++] = '\\'; /* Python keeps what it does not know */
    return 1;
}

static int lex_string(struct lexer *x)
{
    const char *from = x->p + 1, *to = from;
    while (to < x->end && *to != *x->p)
        to += *to == '\\' && to + 1 < x->end ? 2 : 1;
    if (to >= x->end)
        return pq_fail(x->e, PQ_EFORMAT, "chat template, line %d: a text without end", x->line);
    char *text = (char *)pq_arena_alloc(x->a, (size_t)(to - from) + 1, 1);
    if (!text)
        return no_memory(x);
    size_t n = 0;
    for (size_t k; from < to; from += k) {
        k = *from == '\\' ? escape(from, to, text, &n) : 1;
        if (!k)
            return pq_fail(x->e, PQ_EUNSUPPORTED,
                           "chat template, line %d: the escape \\%c in a text is not supported",
                           x->line, from[1]);
        if (*from != '\\')
            text[n++] = *from;
    }
    int rc = put(x, PQ_J_STRING, text, n);
    move(x, to + 1);
    return rc;
}

static bool is_word(char c)
{
    return c == '_' || (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
}

static int lex_word(struct lexer *x)
{
    const char *from = x->p;
    bool number = *from >= '0' && *from <= '9';
    int64_t v = 0;
    while (x->p < x->end && is_word(*x->p)) {
        if (number && (*x->p > '9' || v > 100000000 || (!v && x->p > from)))
            return pq_fail(x->e, PQ_EUNSUPPORTED,
                           "chat template, line %d: a number that is not a small decimal one",
                           x->line);
        v = number ? 10 * v + (*x->p - '0') : 0;
        x->p++;
    }
    int rc = put(x, number ? PQ_J_INT : PQ_J_NAME, from, (size_t)(x->p - from));
    if (rc == PQ_OK && number)
        x->tok[x->n - 1].number = v;
    return rc;
}

static int lex_op(struct lexer *x)
{
    static const char *const ops[] = {"==", "!=", "<=", ">=", "//", "<", ">", "+", "-", "~", "*",
                                      "%",  "(",  ")",  "[",  "]",  ".", ",", ":", "|", "="};
    for (size_t i = 0; i < PQ_LEN(ops); i++)
        if (begins(x, ops[i])) {
            x->p += strlen(ops[i]);
            return put(x, PQ_J_OP, ops[i], strlen(ops[i]));
        }
    return pq_fail(x->e, PQ_EUNSUPPORTED,
                   "chat template, line %d: '%c' in an expression is not supported", x->line,
                   *x->p);
}

/* The sign before a closing tag ("-" or "+", 0 when bare) at p; false when none closes here. */
static bool closes(const struct lexer *x, char tag, char *sign)
{
    const char *p = x->p;
    *sign = (*p == '-' || (*p == '+' && tag != '{')) ? *p++ : '\0';
    return x->end - p >= 2 && p[0] == (tag == '{' ? '}' : tag) && p[1] == '}';
}

static int lex_inside(struct lexer *x, char tag)
{
    int rc = PQ_OK;
    char sign;
    for (;;) {
        move(x, skip_blanks(x->p, x->end));
        if (rc < 0)
            return rc;
        if (x->p == x->end)
            return pq_fail(x->e, PQ_EFORMAT, "chat template, line %d: a tag without end", x->line);
        if (closes(x, tag, &sign))
            break;
        if (*x->p == '"' || *x->p == '\'')
            rc = lex_string(x);
        else
            rc = is_word(*x->p) ? lex_word(x) : lex_op(x);
    }
    rc = put(x, PQ_J_CLOSE, x->p, 2);
    close_tag(x, tag, sign);
    return rc;
}

static int skip_comment(struct lexer *x)
{
    char sign = '\0';
    while (x->p < x->end && !closes(x, '#', &sign))
        move(x, x->p + 1);
    if (x->p == x->end)
        return pq_fail(x->e, PQ_EFORMAT, "chat template, line %d: a comment without end", x->line);
    close_tag(x, '#', sign);
    return PQ_OK;
}

static int lex_tag(struct lexer *x, const char *at)
{
    char tag = at[1], sign = at + 2 < x->end && (at[2] == '-' || at[2] == '+') ? at[2] : '\0';
    int rc = put_text(x, at, tag, sign);
    move(x, at + 2 + (sign != '\0'));
    if (rc < 0 || tag == '#')
        return rc < 0 ? rc : skip_comment(x);
    rc = put(x, tag == '{' ? PQ_J_VAR : PQ_J_BLOCK, at, 2);
    return rc < 0 ? rc : lex_inside(x, tag);
}

static const char *next_tag(const struct lexer *x)
{
    const char *p = x->p;
    while (p + 1 < x->end && !(p[0] == '{' && (p[1] == '{' || p[1] == '%' || p[1] == '#')))
        p++;
    return p + 1 < x->end ? p : x->end;
}

/* Line ends are "\n", and the last one of a template does not count. */
static char *one_newline(struct pq_arena *a, const char *source, size_t *n)
{
    char *copy = (char *)pq_arena_alloc(a, strlen(source) + 1, 1);
    *n = 0;
    for (const char *p = source; copy && *p; p++) {
        copy[(*n)++] = *p == '\r' ? '\n' : *p;
        p += p[0] == '\r' && p[1] == '\n';
    }
    *n -= *n && copy[*n - 1] == '\n';
    return copy;
}

int pq_jinja_lex(const char *source, struct pq_arena *a, struct pq_jtoken **out, struct pq_err *e)
{
    size_t n;
    struct lexer x = {.line = 1, .line_starts = true, .a = a, .e = e};
    int rc = PQ_OK;
    *out = NULL;
    x.p = one_newline(a, source, &n);
    if (!x.p)
        return no_memory(&x);
    x.end = x.p + n;
    while (rc == PQ_OK && x.p < x.end) {
        const char *at = next_tag(&x);
        if (at == x.end) {
            rc = put(&x, PQ_J_TEXT, x.p, (size_t)(at - x.p));
            move(&x, at);
        } else {
            rc = lex_tag(&x, at);
        }
    }
    if (rc == PQ_OK)
        rc = put(&x, PQ_J_END, x.end, 0);
    *out = x.tok;
    return rc;
}
