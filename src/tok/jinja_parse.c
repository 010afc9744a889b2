/* Tokens to statements: text, {{ }}, if, for, set, break, continue. SPDX-License-Identifier: MIT */
#include "base/num.h"
#include "tok/jinja.h"

#include <stdio.h>
#include <string.h>

enum { MAX_BLOCKS = 60 };

void *pq_jinja_refuse(struct pq_jparser *p, const char *fmt, ...)
{
    char what[300];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    pq_fail(p->e, PQ_EUNSUPPORTED, "chat template, line %d: %s", p->tok->line, what);
    return NULL;
}

void *pq_jinja_no_memory(struct pq_jparser *p)
{
    pq_fail(p->e, PQ_ENOMEM, "out of memory for the chat template");
    return NULL;
}

int pq_jinja_shown(const struct pq_jtoken *t)
{
    return (int)(t->n < PQ_JINJA_SHOWN ? t->n : PQ_JINJA_SHOWN);
}

bool pq_jinja_is(const struct pq_jtoken *t, enum pq_jtoken_kind kind, const char *text)
{
    return t->kind == kind && t->n == strlen(text) && !memcmp(t->s, text, t->n);
}

bool pq_jinja_take(struct pq_jparser *p, enum pq_jtoken_kind kind, const char *text)
{
    if (!pq_jinja_is(p->tok, kind, text))
        return false;
    p->tok++;
    return true;
}

const char *pq_jinja_word(struct pq_jparser *p)
{
    if (p->tok->kind != PQ_J_NAME)
        return (const char *)pq_jinja_refuse(p, "a name expected, found \"%.*s\"",
                                             pq_jinja_shown(p->tok), p->tok->s);
    const char *s = pq_arena_strndup(p->a, p->tok->s, p->tok->n);
    p->tok++;
    return s ? s : (const char *)pq_jinja_no_memory(p);
}

bool pq_jinja_tall(struct pq_jparser *p, struct pq_jnode *n, const struct pq_jnode *below)
{
    if (below && below->height >= n->height)
        n->height = below->height + 1;
    if (n->height <= PQ_JINJA_HEIGHT)
        return false;
    pq_jinja_refuse(p, "nested more than %d deep", PQ_JINJA_HEIGHT);
    return true;
}

struct pq_jnode *pq_jinja_node(struct pq_jparser *p, enum pq_jnode_kind kind, struct pq_jnode *a,
                               struct pq_jnode *b, struct pq_jnode *c)
{
    struct pq_jnode *n = (struct pq_jnode *)pq_arena_alloc(p->a, 1, sizeof *n);
    if (!n)
        return (struct pq_jnode *)pq_jinja_no_memory(p);
    *n = (struct pq_jnode){.kind = kind, .line = p->tok->line, .a = a, .b = b, .c = c};
    return pq_jinja_tall(p, n, a) || pq_jinja_tall(p, n, b) || pq_jinja_tall(p, n, c) ? NULL : n;
}

/* ---- blocks ---- */

static struct pq_jnode *body(struct pq_jparser *p, const char *const *ends);

static bool close_block(struct pq_jparser *p)
{
    if (p->tok->kind == PQ_J_CLOSE) {
        p->tok++;
        return true;
    }
    pq_jinja_refuse(p, "the end of the tag expected, found \"%.*s\"", pq_jinja_shown(p->tok),
                    p->tok->s);
    return false;
}

/* At "{% word", where word is one of the ends. */
static bool at_end(const struct pq_jparser *p, const char *const *ends)
{
    if (p->tok->kind != PQ_J_BLOCK)
        return false;
    for (; *ends; ends++)
        if (pq_jinja_is(&p->tok[1], PQ_J_NAME, *ends))
            return true;
    return false;
}

/* Takes "{% word". */
static bool take_end(struct pq_jparser *p, const char *word)
{
    const char *const ends[] = {word, NULL};
    if (!at_end(p, ends))
        return false;
    p->tok += 2;
    return true;
}

/* A body that may be empty, into *list. */
static bool body_into(struct pq_jparser *p, struct pq_jnode *owner, struct pq_jnode **list,
                      const char *const *ends)
{
    struct pq_jnode *n = body(p, ends);
    if (!n || pq_jinja_tall(p, owner, n))
        return false;
    *list = n->list;
    return true;
}

/* After "if" or "elif": an elif is an if in the else branch. */
static struct pq_jnode *if_statement(struct pq_jparser *p)
{
    static const char *const ends[] = {"elif", "else", "endif", NULL};
    static const char *const last[] = {"endif", NULL};
    struct pq_jnode *test = pq_jinja_expr_or(p);
    struct pq_jnode *n = test ? pq_jinja_node(p, PQ_JN_IF, test, NULL, NULL) : NULL;
    if (!n || !close_block(p) || !body_into(p, n, &n->list, ends))
        return NULL;
    if (take_end(p, "elif")) {
        if (++p->depth > MAX_BLOCKS)
            return (struct pq_jnode *)pq_jinja_refuse(p, "more than %d elif", MAX_BLOCKS);
        n->other = if_statement(p); /* which takes the endif */
        p->depth--;
        return n->other && !pq_jinja_tall(p, n, n->other) ? n : NULL;
    }
    if (take_end(p, "else") && (!close_block(p) || !body_into(p, n, &n->other, last)))
        return NULL;
    p->tok += 2; /* {% endif */
    return close_block(p) ? n : NULL;
}

static struct pq_jnode *for_statement(struct pq_jparser *p)
{
    static const char *const ends[] = {"else", "endfor", NULL}, *const last[] = {"endfor", NULL};
    struct pq_jnode *n = pq_jinja_node(p, PQ_JN_FOR, NULL, NULL, NULL);
    if (!n || !(n->name = pq_jinja_word(p)))
        return NULL;
    if (pq_jinja_take(p, PQ_J_OP, ",") && !(n->name2 = pq_jinja_word(p)))
        return NULL;
    if (!pq_jinja_take(p, PQ_J_NAME, "in"))
        return (struct pq_jnode *)pq_jinja_refuse(p, "a for without \"in\"");
    if (!(n->a = pq_jinja_expr_or(p)) || pq_jinja_tall(p, n, n->a))
        return NULL;
    if (pq_jinja_take(p, PQ_J_NAME, "if") &&
        (!(n->b = pq_jinja_expr(p)) || pq_jinja_tall(p, n, n->b)))
        return NULL;
    p->loops++;
    if (!close_block(p) || !body_into(p, n, &n->list, ends))
        return NULL;
    p->loops--;
    if (take_end(p, "else") && (!close_block(p) || !body_into(p, n, &n->other, last)))
        return NULL;
    p->tok += 2; /* {% endfor */
    return close_block(p) ? n : NULL;
}

static struct pq_jnode *set_statement(struct pq_jparser *p)
{
    static const char *const ends[] = {"endset", NULL};
    struct pq_jnode *n = pq_jinja_node(p, PQ_JN_SET, NULL, NULL, NULL);
    if (!n || !(n->name = pq_jinja_word(p)))
        return NULL;
    if (pq_jinja_take(p, PQ_J_OP, ".") && !(n->name2 = pq_jinja_word(p)))
        return NULL;
    if (pq_jinja_take(p, PQ_J_OP, "=")) {
        n->a = pq_jinja_expr(p);
        return n->a && !pq_jinja_tall(p, n, n->a) && close_block(p) ? n : NULL;
    }
    if (!close_block(p) || !body_into(p, n, &n->list, ends))
        return NULL;
    p->tok += 2; /* {% endset */
    return close_block(p) ? n : NULL;
}

static struct pq_jnode *jump(struct pq_jparser *p, enum pq_jnode_kind kind)
{
    if (!p->loops)
        return (struct pq_jnode *)pq_jinja_refuse(p, "break or continue outside of a loop");
    struct pq_jnode *n = pq_jinja_node(p, kind, NULL, NULL, NULL);
    return n && close_block(p) ? n : NULL;
}

static struct pq_jnode *break_statement(struct pq_jparser *p)
{
    return jump(p, PQ_JN_BREAK);
}

static struct pq_jnode *continue_statement(struct pq_jparser *p)
{
    return jump(p, PQ_JN_CONTINUE);
}

static struct pq_jnode *block(struct pq_jparser *p)
{
    static const struct {
        const char *word;
        struct pq_jnode *(*parse)(struct pq_jparser *p);
    } rows[] = {
        {"if", if_statement},       {"for", for_statement},           {"set", set_statement},
        {"break", break_statement}, {"continue", continue_statement},
    };
    for (size_t i = 0; i < PQ_LEN(rows); i++)
        if (pq_jinja_take(p, PQ_J_NAME, rows[i].word))
            return rows[i].parse(p);
    return (struct pq_jnode *)pq_jinja_refuse(p, "the statement \"%.*s\" is not supported",
                                              pq_jinja_shown(p->tok), p->tok->s);
}

static struct pq_jnode *statement(struct pq_jparser *p)
{
    struct pq_jnode *n;
    const struct pq_jtoken *t = p->tok++;
    if (t->kind == PQ_J_BLOCK)
        return block(p);
    if (t->kind == PQ_J_TEXT) {
        n = pq_jinja_node(p, PQ_JN_TEXT, NULL, NULL, NULL);
        if (n)
            n->value = pq_jval_str(t->s, t->n);
        return n;
    }
    struct pq_jnode *what = pq_jinja_expr(p);
    n = what ? pq_jinja_node(p, PQ_JN_PRINT, what, NULL, NULL) : NULL;
    return n && close_block(p) ? n : NULL;
}

/* Statements up to "{% end" or, without ends, of the template. Returns a holder of the list. */
static struct pq_jnode *body(struct pq_jparser *p, const char *const *ends)
{
    struct pq_jnode *holder = pq_jinja_node(p, PQ_JN_LIST, NULL, NULL, NULL);
    struct pq_jnode **last = holder ? &holder->list : NULL;
    if (holder && ++p->depth > MAX_BLOCKS)
        return (struct pq_jnode *)pq_jinja_refuse(p, "blocks nested more than %d deep", MAX_BLOCKS);
    while (holder && !at_end(p, ends)) {
        if (p->tok->kind == PQ_J_END) {
            if (*ends)
                return (struct pq_jnode *)pq_jinja_refuse(p, "\"%s\" is missing", *ends);
            break;
        }
        *last = statement(p);
        if (!*last || pq_jinja_tall(p, holder, *last))
            return NULL;
        last = &(*last)->next;
    }
    p->depth--;
    return holder;
}

struct pq_jnode *pq_jinja_parse(struct pq_jparser *p)
{
    static const char *const none[] = {NULL};
    struct pq_jnode *n = body(p, none);
    if (n && p->tok->kind != PQ_J_END)
        return (struct pq_jnode *)pq_jinja_refuse(p, "more after the end");
    return n;
}
