/* Statements to text. SPDX-License-Identifier: MIT */
#include "tok/jinja.h"

#include <string.h>

enum { NEXT = PQ_OK, BREAK = 1, CONTINUE = 2, MAX_OUTPUT = 64 << 20 };

static int put(struct pq_jrun *r, const struct pq_jval *text)
{
    if (text->n > MAX_OUTPUT || r->out->len > MAX_OUTPUT)
        return pq_jinja_fail(r, "more than %d MB come out", MAX_OUTPUT >> 20);
    if (text->n)
        pq_buf_put(r->out, text->s, text->n);
    return pq_buf_check(r->out, r->e);
}

static int print(struct pq_jrun *r, const struct pq_jnode *n)
{
    struct pq_jval v;
    int rc;
    PQ_TRY(pq_jinja_eval(r, n->a, &v));
    PQ_TRY(pq_jval_text(r, &v, &v));
    rc = put(r, &v);
out:
    return rc;
}

static int branch(struct pq_jrun *r, const struct pq_jnode *n)
{
    struct pq_jval v;
    int rc = pq_jinja_eval(r, n->a, &v);
    return rc < 0 ? rc : pq_jinja_run(r, pq_jval_true(&v) ? n->list : n->other);
}

/* ---- for ---- */

/* The keys of an object, in their order. */
static int keys(struct pq_jrun *r, struct pq_jval *v)
{
    struct pq_jval *items = pq_jval_items(r, v->n);
    const char *key;
    size_t i = 0;
    json_t *j;
    if (!items)
        return r->e->code;
    json_object_foreach((json_t *)(uintptr_t)v->map, key, j) items[i++] =
        pq_jval_str(key, strlen(key));
    *v = (struct pq_jval){.kind = PQ_JV_LIST, .item = items, .n = i};
    return PQ_OK;
}

static int items_of(struct pq_jrun *r, const struct pq_jnode *n, struct pq_jval *v)
{
    int rc = pq_jinja_eval(r, n->a, v);
    if (rc < 0)
        return rc;
    if (v->kind == PQ_JV_MAP)
        return keys(r, v);
    if (v->kind == PQ_JV_UNDEFINED)
        *v = (struct pq_jval){.kind = PQ_JV_LIST};
    if (v->kind != PQ_JV_LIST)
        return pq_jinja_fail(r, "a loop over %s is not supported", pq_jval_kind(v));
    return PQ_OK;
}

/* Binds the loop's names to one item. */
static int bind_item(struct pq_jrun *r, const struct pq_jnode *n, struct pq_jval x)
{
    if (!n->name2)
        return pq_jinja_bind(r, &r->names, r->scope, n->name, x);
    int rc = x.kind == PQ_JV_MAP ? keys(r, &x) : PQ_OK;
    if (rc < 0)
        return rc;
    if (x.kind != PQ_JV_LIST || x.n != 2)
        return pq_jinja_fail(r, "%s is not a pair for two names", pq_jval_kind(&x));
    rc = pq_jinja_bind(r, &r->names, r->scope, n->name, pq_jval_at(&x, 0));
    return rc < 0 ? rc : pq_jinja_bind(r, &r->names, r->scope, n->name2, pq_jval_at(&x, 1));
}

/* Leaves those items for which the loop's condition holds. */
static int filter(struct pq_jrun *r, const struct pq_jnode *n, struct pq_jval *v)
{
    struct pq_jval *kept = pq_jval_items(r, v->n), holds;
    size_t k = 0, names = r->names.n;
    int rc = kept ? PQ_OK : r->e->code;
    for (size_t i = 0; i < v->n && rc == PQ_OK; i++) {
        kept[k] = pq_jval_at(v, i);
        r->names.n = names;
        rc = bind_item(r, n, kept[k]);
        if (rc == PQ_OK)
            rc = pq_jinja_eval(r, n->b, &holds);
        k += rc == PQ_OK && pq_jval_true(&holds);
    }
    *v = (struct pq_jval){.kind = PQ_JV_LIST, .item = kept, .n = k, .depth = v->depth};
    return rc;
}

static int one_round(struct pq_jrun *r, const struct pq_jnode *n, struct pq_jloop *loop)
{
    struct pq_jval self = {.kind = PQ_JV_LOOP, .loop = loop};
    int rc;
    PQ_TRY(pq_jinja_step(r, 1));
    PQ_TRY(pq_jinja_bind(r, &r->names, r->scope, "loop", self));
    PQ_TRY(bind_item(r, n, pq_jval_at(&loop->items, loop->at)));
    rc = pq_jinja_run(r, n->list);
out:
    return rc;
}

/* Each round has names of its own, which end with it. The loop itself can outlive them. */
static int loop(struct pq_jrun *r, const struct pq_jnode *n)
{
    struct pq_jloop *at = (struct pq_jloop *)pq_arena_alloc(&r->a, 1, sizeof *at);
    size_t scope = r->scope, names = r->names.n;
    if (!at)
        return pq_fail(r->e, PQ_ENOMEM, "out of memory for the chat template");
    int rc = items_of(r, n, &at->items);
    r->scope = names;
    if (rc == PQ_OK && n->b)
        rc = filter(r, n, &at->items);
    for (; rc != BREAK && rc >= 0 && at->at < at->items.n; at->at++) {
        r->names.n = names;
        rc = one_round(r, n, at);
    }
    r->names.n = names;
    r->scope = scope;
    if (rc < 0)
        return rc;
    return at->items.n ? PQ_OK : pq_jinja_run(r, n->other);
}

/* ---- set ---- */

/* The text of a block. */
static int capture(struct pq_jrun *r, const struct pq_jnode *body, struct pq_jval *v)
{
    struct pq_buf text = {0}, *out = r->out;
    r->out = &text;
    int rc = pq_jinja_run(r, body);
    r->out = out;
    char *s = rc < 0 ? NULL : pq_jval_room(r, text.len);
    if (s && text.len)
        memcpy(s, text.data, text.len);
    *v = pq_jval_str(s, text.len);
    pq_buf_free(&text);
    return s ? rc : r->e->code;
}

static int assign(struct pq_jrun *r, const struct pq_jnode *n)
{
    struct pq_jval v;
    int rc = n->a ? pq_jinja_eval(r, n->a, &v) : capture(r, n->list, &v);
    if (rc != PQ_OK)
        return rc;
    if (!n->name2)
        return pq_jinja_bind(r, &r->names, r->scope, n->name, v);
    const struct pq_jval *space = pq_jinja_find(&r->names, n->name);
    if (!space || space->kind != PQ_JV_SPACE)
        return pq_jinja_fail(r, "%s.%s is set, but %s is not a namespace", n->name, n->name2,
                             n->name);
    return pq_jinja_bind(r, space->space, 0, n->name2, v);
}

static int statement(struct pq_jrun *r, const struct pq_jnode *n)
{
    switch (n->kind) {
    case PQ_JN_TEXT:
        return put(r, &n->value);
    case PQ_JN_PRINT:
        return print(r, n);
    case PQ_JN_IF:
        return branch(r, n);
    case PQ_JN_FOR:
        return loop(r, n);
    case PQ_JN_SET:
        return assign(r, n);
    case PQ_JN_BREAK:
        return BREAK;
    default:
        return CONTINUE;
    }
}

int pq_jinja_run(struct pq_jrun *r, const struct pq_jnode *body)
{
    int rc = NEXT;
    for (const struct pq_jnode *n = body; n && rc == NEXT; n = n->next) {
        r->line = n->line;
        rc = statement(r, n);
    }
    return rc;
}
