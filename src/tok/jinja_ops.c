/* What operators do with values. SPDX-License-Identifier: MIT */
#include "tok/jinja.h"

#include <string.h>

/* ---- members ---- */

static int loop_member(struct pq_jrun *r, const struct pq_jloop *l, const char *name,
                       struct pq_jval *out)
{
    size_t n = l->items.n;
    if (!strcmp(name, "index"))
        *out = pq_jval_int((int64_t)l->at + 1);
    else if (!strcmp(name, "index0"))
        *out = pq_jval_int((int64_t)l->at);
    else if (!strcmp(name, "revindex"))
        *out = pq_jval_int((int64_t)(n - l->at));
    else if (!strcmp(name, "revindex0"))
        *out = pq_jval_int((int64_t)(n - l->at) - 1);
    else if (!strcmp(name, "length"))
        *out = pq_jval_int((int64_t)n);
    else if (!strcmp(name, "first"))
        *out = pq_jval_bool(l->at == 0);
    else if (!strcmp(name, "last"))
        *out = pq_jval_bool(l->at + 1 == n);
    else if (!strcmp(name, "previtem"))
        *out = l->at ? pq_jval_at(&l->items, l->at - 1) : *out;
    else if (!strcmp(name, "nextitem"))
        *out = l->at + 1 < n ? pq_jval_at(&l->items, l->at + 1) : *out;
    else
        return pq_jinja_fail(r, "loop.%s is not supported", name);
    return PQ_OK;
}

/* of.name, of["name"]. Undefined where there is none, but not in what is undefined itself. */
int pq_jinja_member(struct pq_jrun *r, const struct pq_jval *of, const char *name,
                    struct pq_jval *out)
{
    *out = (struct pq_jval){.kind = PQ_JV_UNDEFINED};
    if (of->kind == PQ_JV_LOOP)
        return loop_member(r, of->loop, name, out);
    if (of->kind == PQ_JV_UNDEFINED)
        return pq_jinja_fail(r, "\"%.60s\" is asked of what is not defined", name);
    const struct pq_jval *found = NULL;
    if (of->kind == PQ_JV_SPACE)
        found = pq_jinja_find(of->space, name);
    if (found)
        *out = *found;
    if (of->kind == PQ_JV_MAP)
        *out = pq_jval_json(json_object_get(of->map, name));
    return PQ_OK;
}

static bool place(int64_t i, size_t n, size_t *out)
{
    if (i < 0)
        i += (int64_t)n;
    *out = (size_t)i;
    return i >= 0 && (uint64_t)i < n;
}

/* A name or a place that a value does not have gives nothing defined. */
int pq_jinja_item(struct pq_jrun *r, const struct pq_jval *of, const struct pq_jval *key,
                  struct pq_jval *out)
{
    size_t i;
    *out = (struct pq_jval){.kind = PQ_JV_UNDEFINED};
    if (key->kind == PQ_JV_STR) {
        char *name = pq_jval_room(r, key->n);
        if (!name)
            return r->e->code;
        if (key->n)
            memcpy(name, key->s, key->n);
        return pq_jinja_member(r, of, name, out);
    }
    if (key->kind != PQ_JV_INT || of->kind == PQ_JV_STR || of->kind == PQ_JV_UNDEFINED)
        return pq_jinja_fail(r, "an item of %s by %s is not supported", pq_jval_kind(of),
                             pq_jval_kind(key));
    if (of->kind == PQ_JV_LIST && place(key->i, of->n, &i))
        *out = pq_jval_at(of, i);
    return PQ_OK;
}

/* ---- operators ---- */

static int join_lists(struct pq_jrun *r, const struct pq_jval *a, const struct pq_jval *b,
                      struct pq_jval *out)
{
    struct pq_jval *items = pq_jval_items(r, a->n + b->n);
    if (!items)
        return r->e->code;
    for (size_t i = 0; i < a->n + b->n; i++)
        items[i] = i < a->n ? pq_jval_at(a, i) : pq_jval_at(b, i - a->n);
    *out = (struct pq_jval){.kind = PQ_JV_LIST, .item = items, .n = a->n + b->n};
    out->depth = a->depth > b->depth ? a->depth : b->depth;
    return PQ_OK;
}

static int join_texts(struct pq_jrun *r, const struct pq_jval *a, const struct pq_jval *b,
                      struct pq_jval *out)
{
    char *s = pq_jval_room(r, a->n + b->n);
    if (!s)
        return r->e->code;
    if (a->n)
        memcpy(s, a->s, a->n);
    if (b->n)
        memcpy(s + a->n, b->s, b->n);
    *out = pq_jval_str(s, a->n + b->n);
    return PQ_OK;
}

/* Whole numbers, with Python's division: towards minus infinity. */
static bool arithmetic(char op, int64_t a, int64_t b, int64_t *out)
{
    if ((op == '/' || op == '%') && (b == 0 || (b == -1 && a == INT64_MIN)))
        return false;
    switch (op) {
    case '+':
        return !__builtin_add_overflow(a, b, out);
    case '-':
        return !__builtin_sub_overflow(a, b, out);
    case '*':
        return !__builtin_mul_overflow(a, b, out);
    case '%':
        *out = a % b + (a % b && (a % b < 0) != (b < 0) ? b : 0);
        return true;
    default:
        *out = a / b - (a % b && (a < 0) != (b < 0));
        return true;
    }
}

static int text_in(struct pq_jrun *r, const struct pq_jval *x, const struct pq_jval *in,
                   bool *found)
{
    for (size_t i = 0; !*found && x->n <= in->n && i <= in->n - x->n; i++)
        *found = !x->n || !memcmp(in->s + i, x->s, x->n);
    return pq_jinja_step(r, pq_jinja_search(in->n, x->n));
}

static int item_in(struct pq_jrun *r, const struct pq_jval *x, const struct pq_jval *in,
                   bool *found)
{
    int rc = PQ_OK;
    for (size_t i = 0; i < in->n && !*found && rc == PQ_OK; i++) {
        struct pq_jval v = pq_jval_at(in, i);
        rc = pq_jval_equal(r, x, &v, found);
    }
    return rc;
}

static int contains(struct pq_jrun *r, const struct pq_jval *x, const struct pq_jval *in,
                    bool *found)
{
    struct pq_jval v;
    *found = false;
    if (in->kind == PQ_JV_STR && x->kind == PQ_JV_STR)
        return text_in(r, x, in, found);
    if (in->kind == PQ_JV_LIST)
        return item_in(r, x, in, found);
    if (in->kind == PQ_JV_UNDEFINED)
        return PQ_OK;
    if (in->kind != PQ_JV_MAP || x->kind != PQ_JV_STR)
        return pq_jinja_fail(r, "%s in %s is not supported", pq_jval_kind(x), pq_jval_kind(in));
    int rc = pq_jinja_item(r, in, x, &v);
    *found = v.kind != PQ_JV_UNDEFINED;
    return rc;
}

static int compare(struct pq_jrun *r, const char *op, const struct pq_jval *a,
                   const struct pq_jval *b, struct pq_jval *out)
{
    bool less, more, equal;
    int rc = pq_jval_equal(r, a, b, &equal);
    if (rc < 0)
        return rc;
    if (op[1] == '=' && (op[0] == '=' || op[0] == '!')) {
        *out = pq_jval_bool(equal == (op[0] == '='));
        return PQ_OK;
    }
    if (!pq_jval_less(a, b, &less) || !pq_jval_less(b, a, &more))
        return pq_jinja_fail(r, "%s %s %s is not supported", pq_jval_kind(a), op, pq_jval_kind(b));
    *out = pq_jval_bool((op[0] == '<' ? less : more) || (op[1] == '=' && equal));
    return PQ_OK;
}

int pq_jinja_binary(struct pq_jrun *r, const char *op, const struct pq_jval *a,
                    const struct pq_jval *b, struct pq_jval *out)
{
    bool found;
    int64_t i;
    struct pq_jval x = *a, y = *b;
    int rc = PQ_OK;
    if (*op == 'i') {
        PQ_TRY(contains(r, a, b, &found));
        *out = pq_jval_bool(found);
        return PQ_OK;
    }
    if (strchr("=!<>", *op))
        return compare(r, op, a, b, out);
    if (*op == '~') {
        PQ_TRY(pq_jval_text(r, a, &x));
        PQ_TRY(pq_jval_text(r, b, &y));
    }
    if ((*op == '+' || *op == '~') && x.kind == PQ_JV_STR && y.kind == PQ_JV_STR)
        return join_texts(r, &x, &y, out);
    if (*op == '+' && x.kind == PQ_JV_LIST && y.kind == PQ_JV_LIST)
        return join_lists(r, &x, &y, out);
    if (x.kind != PQ_JV_INT || y.kind != PQ_JV_INT || !arithmetic(*op, x.i, y.i, &i))
        return pq_jinja_fail(r, "%s %s %s is not supported", pq_jval_kind(&x), op,
                             pq_jval_kind(&y));
    *out = pq_jval_int(i);
out:
    return rc;
}
