/* Expressions to values. SPDX-License-Identifier: MIT */
#include "tok/jinja.h"

#include <stdio.h>
#include <string.h>

enum { MAX_STEPS = 20000000 }; /* a second or two */

int pq_jinja_fail(struct pq_jrun *r, const char *fmt, ...)
{
    char what[300];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    return pq_fail(r->e, PQ_EUNSUPPORTED, "chat template, line %d: %s", r->line, what);
}

int pq_jinja_step(struct pq_jrun *r, size_t n)
{
    r->steps += n;
    if (r->steps <= MAX_STEPS)
        return PQ_OK;
    return pq_jinja_fail(r, "more than %d steps", MAX_STEPS);
}

const struct pq_jval *pq_jinja_find(const struct pq_jspace *s, const char *name)
{
    for (size_t i = s->n; i-- > 0;)
        if (!strcmp(s->bind[i].name, name))
            return &s->bind[i].v;
    return NULL;
}

int pq_jinja_bind(struct pq_jrun *r, struct pq_jspace *s, size_t from, const char *name,
                  struct pq_jval v)
{
    for (size_t i = from; i < s->n; i++)
        if (!strcmp(s->bind[i].name, name)) {
            s->bind[i].v = v;
            return PQ_OK;
        }
    if (s->n == s->cap) {
        size_t cap = s->cap ? 2 * s->cap : 8;
        struct pq_jbind *grown = (struct pq_jbind *)pq_arena_alloc(&r->a, cap, sizeof *grown);
        if (!grown)
            return pq_fail(r->e, PQ_ENOMEM, "out of memory for the chat template");
        if (s->n)
            memcpy(grown, s->bind, s->n * sizeof *grown);
        s->bind = grown;
        s->cap = cap;
    }
    s->bind[s->n++] = (struct pq_jbind){name, v};
    return PQ_OK;
}

/* ---- slices ---- */

/* A bound of a slice, held within 0 to n. */
static int bound(struct pq_jrun *r, const struct pq_jnode *n, size_t len, size_t missing,
                 size_t *out)
{
    struct pq_jval v = pq_jval_int((int64_t)missing);
    int rc = n ? pq_jinja_eval(r, n, &v) : PQ_OK;
    if (rc < 0)
        return rc;
    if (v.kind != PQ_JV_INT)
        return pq_jinja_fail(r, "a slice by %s is not supported", pq_jval_kind(&v));
    int64_t i = v.i < 0 ? v.i + (int64_t)len : v.i;
    *out = i < 0 ? 0 : (uint64_t)i > len ? len : (size_t)i;
    return PQ_OK;
}

static int slice(struct pq_jrun *r, const struct pq_jnode *n, struct pq_jval *of)
{
    size_t from = 0, to = 0;
    int rc = PQ_OK;
    if (of->kind != PQ_JV_LIST)
        return pq_jinja_fail(r, "a slice of %s is not supported", pq_jval_kind(of));
    PQ_TRY(bound(r, n->b, of->n, 0, &from));
    PQ_TRY(bound(r, n->c, of->n, of->n, &to));
    of->first += from;
    of->n = to > from ? to - from : 0;
out:
    return rc;
}

/* ---- the rest ---- */

static int binary(struct pq_jrun *r, const struct pq_jnode *n, struct pq_jval *out)
{
    struct pq_jval a, b;
    int rc;
    PQ_TRY(pq_jinja_eval(r, n->a, &a));
    PQ_TRY(pq_jinja_eval(r, n->b, &b));
    r->line = n->line;
    rc = pq_jinja_binary(r, n->op, &a, &b, out);
out:
    return rc;
}

static int name(struct pq_jrun *r, const struct pq_jnode *n, struct pq_jval *out)
{
    const struct pq_jval *found = pq_jinja_find(&r->names, n->name);
    *out = found ? *found : pq_jval_json(json_object_get(r->globals, n->name));
    return PQ_OK;
}

static int list(struct pq_jrun *r, const struct pq_jnode *n, struct pq_jval *out)
{
    size_t count = 0, i = 0;
    unsigned depth = 0;
    for (const struct pq_jnode *x = n->list; x; x = x->next)
        count++;
    struct pq_jval *items = pq_jval_items(r, count);
    int rc = items ? PQ_OK : r->e->code;
    for (const struct pq_jnode *x = n->list; x && rc == PQ_OK; x = x->next, i++) {
        rc = pq_jinja_eval(r, x, &items[i]);
        depth = rc == PQ_OK && items[i].depth > depth ? items[i].depth : depth;
    }
    if (rc == PQ_OK && depth == PQ_JINJA_LISTS)
        return pq_jinja_fail(r, "lists nested more than %d deep", PQ_JINJA_LISTS);
    *out = (struct pq_jval){.kind = PQ_JV_LIST, .item = items, .n = count, .depth = depth + 1};
    return rc;
}

static int call(struct pq_jrun *r, const struct pq_jnode *n, struct pq_jval *out)
{
    struct pq_jargs args = {0};
    int rc = PQ_OK;
    if (n->a)
        PQ_TRY(pq_jinja_eval(r, n->a, &args.v[0]));
    for (const struct pq_jnode *x = n->list; x; x = x->next) {
        args.n++;
        args.key[args.n] = x->kind == PQ_JN_KWARG ? x->name : NULL;
        PQ_TRY(pq_jinja_eval(r, x->kind == PQ_JN_KWARG ? x->a : x, &args.v[args.n]));
    }
    r->line = n->line;
    rc = n->call->run(r, &args, out);
out:
    return rc;
}

/* and, or: the operand that decides. */
static int decide(struct pq_jrun *r, const struct pq_jnode *n, struct pq_jval *out)
{
    int rc = pq_jinja_eval(r, n->a, out);
    if (rc < 0 || pq_jval_true(out) == (n->kind == PQ_JN_OR))
        return rc;
    return pq_jinja_eval(r, n->b, out);
}

static int choose(struct pq_jrun *r, const struct pq_jnode *n, struct pq_jval *out)
{
    struct pq_jval when;
    int rc = pq_jinja_eval(r, n->b, &when);
    const struct pq_jnode *which = rc < 0 || pq_jval_true(&when) ? n->a : n->c;
    *out = (struct pq_jval){.kind = PQ_JV_UNDEFINED};
    return rc < 0 || !which ? rc : pq_jinja_eval(r, which, out);
}

/* What is done with the value of a. */
static int apply(struct pq_jrun *r, const struct pq_jnode *n, struct pq_jval *out)
{
    struct pq_jval a = {0}, b = {0};
    int rc;
    PQ_TRY(pq_jinja_eval(r, n->a, &a));
    if (n->kind == PQ_JN_ITEM)
        PQ_TRY(pq_jinja_eval(r, n->b, &b));
    r->line = n->line;
    if (n->kind == PQ_JN_NOT) {
        *out = pq_jval_bool(!pq_jval_true(&a));
    } else if (n->kind == PQ_JN_NEG) {
        *out = pq_jval_int(-a.i); /* of a small number, the parser sees to it */
    } else if (n->kind == PQ_JN_ATTR) {
        rc = pq_jinja_member(r, &a, n->name, out);
    } else if (n->kind == PQ_JN_ITEM) {
        rc = pq_jinja_item(r, &a, &b, out);
    } else {
        *out = a;
        rc = slice(r, n, out);
    }
out:
    return rc;
}

int pq_jinja_eval(struct pq_jrun *r, const struct pq_jnode *n, struct pq_jval *out)
{
    r->line = n->line;
    int rc = pq_jinja_step(r, 1);
    if (rc < 0)
        return rc;
    switch (n->kind) {
    case PQ_JN_NAME:
        return name(r, n, out);
    case PQ_JN_CONST:
        *out = n->value;
        return PQ_OK;
    case PQ_JN_LIST:
        return list(r, n, out);
    case PQ_JN_CALL:
        return call(r, n, out);
    case PQ_JN_AND:
    case PQ_JN_OR:
        return decide(r, n, out);
    case PQ_JN_BINARY:
        return binary(r, n, out);
    case PQ_JN_COND:
        return choose(r, n, out);
    default:
        return apply(r, n, out);
    }
}
