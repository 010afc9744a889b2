/*
 * Expressions, with Jinja's precedence: if-else, or, and, not, comparison, + -, ~, * // %, unary -,
 * then what follows a value: .name [index] (call) |filter, is test. SPDX-License-Identifier: MIT
 */
#include "base/num.h"
#include "tok/jinja.h"

#include <stdio.h>
#include <string.h>

enum { MAX_DEPTH = 60 };

static bool take(struct pq_jparser *p, const char *op)
{
    return pq_jinja_take(p, PQ_J_OP, op);
}

static bool need(struct pq_jparser *p, const char *op)
{
    if (take(p, op))
        return true;
    pq_jinja_refuse(p, "'%s' expected, found \"%.*s\"", op, pq_jinja_shown(p->tok), p->tok->s);
    return false;
}

static struct pq_jnode *constant(struct pq_jparser *p, struct pq_jval v)
{
    struct pq_jnode *n = pq_jinja_node(p, PQ_JN_CONST, NULL, NULL, NULL);
    if (n)
        n->value = v;
    return n;
}

/* ---- calls ---- */

static const struct pq_jcall *known(const struct pq_jcall *table, const char *name)
{
    while (table->name && strcmp(table->name, name) != 0)
        table++;
    return table->name ? table : NULL;
}

/* One argument: an expression, with "name=" before it when the call takes that. */
static struct pq_jnode *argument(struct pq_jparser *p, const struct pq_jcall *call)
{
    char wanted[PQ_JINJA_SHOWN + 3];
    if (p->tok->kind != PQ_J_NAME || !pq_jinja_is(&p->tok[1], PQ_J_OP, "="))
        return pq_jinja_expr(p);
    snprintf(wanted, sizeof wanted, " %.*s ", pq_jinja_shown(p->tok), p->tok->s);
    if (!call->keys || (*call->keys != '*' && !strstr(call->keys, wanted)))
        return (struct pq_jnode *)pq_jinja_refuse(p, "\"%s\" with%sas argument is not supported",
                                                  call->name, wanted);
    const char *name = pq_jinja_word(p);
    p->tok++; /* = */
    struct pq_jnode *value = name ? pq_jinja_expr(p) : NULL;
    struct pq_jnode *n = value ? pq_jinja_node(p, PQ_JN_KWARG, value, NULL, NULL) : NULL;
    if (n)
        n->name = name;
    return n;
}

/* Items up to the closing bracket, which is taken. Returns how many, or -1. */
static int items(struct pq_jparser *p, struct pq_jnode *owner, const struct pq_jcall *call,
                 const char *closing)
{
    struct pq_jnode **last = &owner->list;
    int n = 0;
    while (!take(p, closing)) {
        if (n && !need(p, ","))
            return -1;
        if (n && take(p, closing))
            break;
        *last = call ? argument(p, call) : pq_jinja_expr(p);
        if (!*last || pq_jinja_tall(p, owner, *last))
            return -1;
        last = &(*last)->next;
        n++;
    }
    return n;
}

/* A call of a table's row on `on`; the arguments follow in brackets or are missing. */
static struct pq_jnode *call(struct pq_jparser *p, const struct pq_jcall *table, const char *what,
                             struct pq_jnode *on)
{
    const struct pq_jtoken *at = p->tok;
    const char *name = pq_jinja_word(p);
    if (!name)
        return NULL;
    const struct pq_jcall *row = known(table, name);
    if (!row) {
        p->tok = at;
        return (struct pq_jnode *)pq_jinja_refuse(p, "the %s \"%.40s\" is not supported", what,
                                                  name);
    }
    struct pq_jnode *n = pq_jinja_node(p, PQ_JN_CALL, on, NULL, NULL);
    int given = n && take(p, "(") ? items(p, n, row, ")") : 0;
    if (!n || given < 0)
        return NULL;
    if ((unsigned)given < row->min || (unsigned)given > row->max)
        return (struct pq_jnode *)pq_jinja_refuse(p, "the %s \"%s\" with %d arguments", what, name,
                                                  given);
    n->call = row;
    return n;
}

/* ---- from the tightest to the loosest ---- */

static struct pq_jnode *name_or_constant(struct pq_jparser *p)
{
    static const struct {
        const char *text;
        struct pq_jval v;
    } words[] = {
        {"true", {.kind = PQ_JV_BOOL, .b = true}},
        {"True", {.kind = PQ_JV_BOOL, .b = true}},
        {"false", {.kind = PQ_JV_BOOL, .b = false}},
        {"False", {.kind = PQ_JV_BOOL, .b = false}},
        {"none", {.kind = PQ_JV_NONE}},
        {"None", {.kind = PQ_JV_NONE}},
    };
    for (size_t i = 0; i < PQ_LEN(words); i++)
        if (pq_jinja_take(p, PQ_J_NAME, words[i].text))
            return constant(p, words[i].v);
    if (pq_jinja_is(&p->tok[1], PQ_J_OP, "("))
        return call(p, pq_jinja_functions, "function", NULL);
    const char *name = pq_jinja_word(p);
    struct pq_jnode *n = name ? pq_jinja_node(p, PQ_JN_NAME, NULL, NULL, NULL) : NULL;
    if (n)
        n->name = name;
    return n;
}

/* Texts side by side are one. */
static struct pq_jnode *texts(struct pq_jparser *p)
{
    struct pq_buf b = {0};
    while (p->tok->kind == PQ_J_STRING) {
        pq_buf_put(&b, p->tok->s, p->tok->n);
        p->tok++;
    }
    const char *s =
        b.failed ? NULL : pq_arena_strndup(p->a, b.len ? (const char *)b.data : "", b.len);
    size_t n = b.len;
    pq_buf_free(&b);
    return s ? constant(p, pq_jval_str(s, n)) : (struct pq_jnode *)pq_jinja_no_memory(p);
}

static struct pq_jnode *primary(struct pq_jparser *p)
{
    struct pq_jnode *n;
    const struct pq_jtoken *t = p->tok;
    if (t->kind == PQ_J_NAME)
        return name_or_constant(p);
    if (t->kind == PQ_J_STRING)
        return texts(p);
    if (t->kind == PQ_J_INT) {
        p->tok++;
        return constant(p, pq_jval_int(t->number));
    }
    if (take(p, "(")) {
        n = pq_jinja_expr(p);
        return n && need(p, ")") ? n : NULL;
    }
    if (take(p, "[")) {
        n = pq_jinja_node(p, PQ_JN_LIST, NULL, NULL, NULL);
        return n && items(p, n, NULL, "]") >= 0 ? n : NULL;
    }
    return (struct pq_jnode *)pq_jinja_refuse(p, "an expression expected, found \"%.*s\"",
                                              pq_jinja_shown(t), t->s);
}

/* [index], [from:to] with either left out. */
static struct pq_jnode *subscript(struct pq_jparser *p, struct pq_jnode *of)
{
    struct pq_jnode *from = NULL, *to = NULL;
    if (!pq_jinja_is(p->tok, PQ_J_OP, ":") && !(from = pq_jinja_expr(p)))
        return NULL;
    if (take(p, "]"))
        return pq_jinja_node(p, PQ_JN_ITEM, of, from, NULL);
    if (!need(p, ":"))
        return NULL;
    if (!pq_jinja_is(p->tok, PQ_J_OP, "]") && !(to = pq_jinja_expr(p)))
        return NULL;
    return need(p, "]") ? pq_jinja_node(p, PQ_JN_SLICE, of, from, to) : NULL;
}

static struct pq_jnode *member(struct pq_jparser *p, struct pq_jnode *of)
{
    if (p->tok->kind == PQ_J_NAME && pq_jinja_is(&p->tok[1], PQ_J_OP, "("))
        return call(p, pq_jinja_methods, "method", of);
    const char *name = pq_jinja_word(p);
    struct pq_jnode *n = name ? pq_jinja_node(p, PQ_JN_ATTR, of, NULL, NULL) : NULL;
    if (n)
        n->name = name;
    return n;
}

/* What follows a test is its argument, in Jinja, unless it is one of these words. */
static bool has_argument(const struct pq_jtoken *t)
{
    static const char *const after[] = {"else", "or", "and"};
    for (size_t i = 0; i < PQ_LEN(after); i++)
        if (pq_jinja_is(t, PQ_J_NAME, after[i]))
            return false;
    return t->kind == PQ_J_NAME || t->kind == PQ_J_STRING || t->kind == PQ_J_INT ||
           pq_jinja_is(t, PQ_J_OP, "[");
}

static struct pq_jnode *is_test(struct pq_jparser *p, struct pq_jnode *of)
{
    bool negated = pq_jinja_take(p, PQ_J_NAME, "not");
    struct pq_jnode *n = call(p, pq_jinja_tests, "test", of);
    if (n && has_argument(p->tok))
        return (struct pq_jnode *)pq_jinja_refuse(
            p, "the test \"%s\" with an argument is not supported", n->call->name);
    return n && negated ? pq_jinja_node(p, PQ_JN_NOT, n, NULL, NULL) : n;
}

/* Members and items; after a filter or a test there are none any more. */
static struct pq_jnode *postfix(struct pq_jparser *p, struct pq_jnode *n)
{
    for (;;) {
        if (n && take(p, "."))
            n = member(p, n);
        else if (n && take(p, "["))
            n = subscript(p, n);
        else
            break;
    }
    for (;;) {
        if (n && take(p, "|"))
            n = call(p, pq_jinja_filters, "filter", n);
        else if (n && pq_jinja_take(p, PQ_J_NAME, "is"))
            n = is_test(p, n);
        else
            return n;
    }
}

static struct pq_jnode *unary(struct pq_jparser *p)
{
    if (!take(p, "-"))
        return postfix(p, primary(p));
    struct pq_jnode *n =
        p->tok->kind == PQ_J_INT
            ? primary(p)
            : (struct pq_jnode *)pq_jinja_refuse(p, "'-' before what is no number");
    return n ? pq_jinja_node(p, PQ_JN_NEG, n, NULL, NULL) : NULL;
}

typedef struct pq_jnode *level_fn(struct pq_jparser *p);

/* left op right op ..., for one of these operators. */
static struct pq_jnode *binary(struct pq_jparser *p, const char *const *ops, level_fn *tighter)
{
    struct pq_jnode *n = tighter(p);
    for (const char *const *op = ops; n && *op;) {
        if (!take(p, *op)) {
            op++;
            continue;
        }
        struct pq_jnode *right = tighter(p);
        n = right ? pq_jinja_node(p, PQ_JN_BINARY, n, right, NULL) : NULL;
        if (n)
            n->op = *op;
        op = ops;
    }
    return n;
}

static struct pq_jnode *product(struct pq_jparser *p)
{
    static const char *const ops[] = {"*", "//", "%", NULL};
    return binary(p, ops, unary);
}

static struct pq_jnode *joined(struct pq_jparser *p)
{
    static const char *const ops[] = {"~", NULL};
    return binary(p, ops, product);
}

static struct pq_jnode *sum(struct pq_jparser *p)
{
    static const char *const ops[] = {"+", "-", NULL};
    return binary(p, ops, joined);
}

/* The comparison at hand, NULL when there is none. */
static const char *comparison(struct pq_jparser *p, bool *negated)
{
    static const char *const ops[] = {"==", "!=", "<=", ">=", "<", ">"};
    *negated = false;
    for (size_t i = 0; i < PQ_LEN(ops); i++)
        if (take(p, ops[i]))
            return ops[i];
    if (pq_jinja_is(p->tok, PQ_J_NAME, "not") && pq_jinja_is(&p->tok[1], PQ_J_NAME, "in")) {
        p->tok++;
        *negated = true;
    }
    return pq_jinja_take(p, PQ_J_NAME, "in") ? "in" : NULL;
}

static struct pq_jnode *compared(struct pq_jparser *p)
{
    bool negated, again;
    struct pq_jnode *n = sum(p);
    const char *op = n ? comparison(p, &negated) : NULL;
    if (!op)
        return n;
    struct pq_jnode *right = sum(p);
    n = right ? pq_jinja_node(p, PQ_JN_BINARY, n, right, NULL) : NULL;
    if (!n)
        return NULL;
    n->op = op;
    if (comparison(p, &again))
        return (struct pq_jnode *)pq_jinja_refuse(p, "comparisons in a row are not supported");
    return negated ? pq_jinja_node(p, PQ_JN_NOT, n, NULL, NULL) : n;
}

static struct pq_jnode *negation(struct pq_jparser *p)
{
    unsigned nots = 0;
    while (pq_jinja_take(p, PQ_J_NAME, "not"))
        nots++;
    struct pq_jnode *n = compared(p);
    for (; n && nots; nots--)
        n = pq_jinja_node(p, PQ_JN_NOT, n, NULL, NULL);
    return n;
}

static struct pq_jnode *all_of(struct pq_jparser *p)
{
    struct pq_jnode *n = negation(p);
    while (n && pq_jinja_take(p, PQ_J_NAME, "and")) {
        struct pq_jnode *right = negation(p);
        n = right ? pq_jinja_node(p, PQ_JN_AND, n, right, NULL) : NULL;
    }
    return n;
}

struct pq_jnode *pq_jinja_expr_or(struct pq_jparser *p)
{
    struct pq_jnode *n = all_of(p);
    while (n && pq_jinja_take(p, PQ_J_NAME, "or")) {
        struct pq_jnode *right = all_of(p);
        n = right ? pq_jinja_node(p, PQ_JN_OR, n, right, NULL) : NULL;
    }
    return n;
}

struct pq_jnode *pq_jinja_expr(struct pq_jparser *p)
{
    if (++p->depth > MAX_DEPTH)
        return (struct pq_jnode *)pq_jinja_refuse(p, "expressions nested more than %d deep",
                                                  MAX_DEPTH);
    struct pq_jnode *n = pq_jinja_expr_or(p);
    while (n && pq_jinja_take(p, PQ_J_NAME, "if")) {
        struct pq_jnode *when = pq_jinja_expr_or(p), *other = NULL;
        if (!when || (pq_jinja_take(p, PQ_J_NAME, "else") && !(other = pq_jinja_expr(p))))
            return NULL;
        n = pq_jinja_node(p, PQ_JN_COND, n, when, other);
    }
    p->depth--;
    return n;
}
