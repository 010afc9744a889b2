/* What templates may call, in four tables. SPDX-License-Identifier: MIT */
#include "tok/jinja.h"

#include <string.h>

typedef const struct pq_jargs args_t;

static int refuse(struct pq_jrun *r, const char *what, const struct pq_jval *v)
{
    return pq_jinja_fail(r, "%s of %s is not supported", what, pq_jval_kind(v));
}

/* ---- filters ---- */

static int trim(struct pq_jrun *r, args_t *a, struct pq_jval *out)
{
    int rc = pq_jval_text(r, &a->v[0], out);
    if (rc == PQ_OK)
        pq_jval_strip(out, true, true);
    return rc;
}

static int string(struct pq_jrun *r, args_t *a, struct pq_jval *out)
{
    return pq_jval_text(r, &a->v[0], out);
}

static int tojson(struct pq_jrun *r, args_t *a, struct pq_jval *out)
{
    int64_t indent = -1;
    if (a->n && (a->v[1].kind != PQ_JV_INT || a->v[1].i < 0 || a->v[1].i > 16))
        return refuse(r, "an indent", &a->v[1]);
    if (a->n)
        indent = a->v[1].i;
    return pq_jval_dump(r, &a->v[0], indent, out);
}

static int length(struct pq_jrun *r, args_t *a, struct pq_jval *out)
{
    const struct pq_jval *v = &a->v[0];
    size_t n = v->n;
    if (v->kind == PQ_JV_STR) { /* characters */
        n = 0;
        for (size_t i = 0; i < v->n; i++)
            n += ((unsigned char)v->s[i] & 0xc0) != 0x80;
    } else if (v->kind == PQ_JV_UNDEFINED) {
        n = 0;
    } else if (v->kind != PQ_JV_LIST && v->kind != PQ_JV_MAP) {
        return refuse(r, "the length", v);
    }
    *out = pq_jval_int((int64_t)n);
    return PQ_OK;
}

static int end_of(struct pq_jrun *r, args_t *a, bool last, struct pq_jval *out)
{
    const struct pq_jval *v = &a->v[0];
    *out = (struct pq_jval){.kind = PQ_JV_UNDEFINED};
    if (v->kind != PQ_JV_LIST)
        return refuse(r, "the first or last", v);
    if (v->n)
        *out = pq_jval_at(v, last ? v->n - 1 : 0);
    return PQ_OK;
}

static int first(struct pq_jrun *r, args_t *a, struct pq_jval *out)
{
    return end_of(r, a, false, out);
}

static int last(struct pq_jrun *r, args_t *a, struct pq_jval *out)
{
    return end_of(r, a, true, out);
}

/* default(value): for what is not defined; default(value, true): also for what is false. */
static int otherwise(struct pq_jrun *r, args_t *a, struct pq_jval *out)
{
    (void)r;
    bool also_false = a->n > 1 && pq_jval_true(&a->v[2]);
    bool take = a->v[0].kind == PQ_JV_UNDEFINED || (also_false && !pq_jval_true(&a->v[0]));
    *out = take ? a->v[1] : a->v[0];
    return PQ_OK;
}

static int join(struct pq_jrun *r, args_t *a, struct pq_jval *out)
{
    struct pq_jval between = a->n ? a->v[1] : pq_jval_str("", 0), x;
    const struct pq_jval *v = &a->v[0];
    size_t n = 0;
    if (v->kind != PQ_JV_LIST || between.kind != PQ_JV_STR)
        return refuse(r, "join", v);
    for (size_t i = 0; i < v->n; i++) {
        x = pq_jval_at(v, i);
        if (x.kind != PQ_JV_STR)
            return refuse(r, "join", &x);
        n += x.n + (i ? between.n : 0);
    }
    char *s = pq_jval_room(r, n), *at = s;
    for (size_t i = 0; s && i < v->n; i++) {
        x = pq_jval_at(v, i);
        if (i && between.n)
            memcpy(at, between.s, between.n);
        at += i ? between.n : 0;
        if (x.n)
            memcpy(at, x.s, x.n);
        at += x.n;
    }
    *out = pq_jval_str(s, n);
    return s ? PQ_OK : r->e->code;
}

const struct pq_jcall pq_jinja_filters[] = {
    {"trim", 0, 0, trim, NULL},
    {"string", 0, 0, string, NULL},
    {"tojson", 0, 1, tojson, " indent "},
    {"length", 0, 0, length, NULL},
    {"count", 0, 0, length, NULL},
    {"first", 0, 0, first, NULL},
    {"last", 0, 0, last, NULL},
    {"default", 1, 2, otherwise, NULL},
    {"d", 1, 2, otherwise, NULL},
    {"join", 0, 1, join, NULL},
    {0},
};

/* ---- tests ---- */

/* Kinds of values as a set of bits. */
#define KIND(k) (1u << (k))

static int is_in(args_t *a, unsigned kinds, struct pq_jval *out)
{
    *out = pq_jval_bool(kinds >> a->v[0].kind & 1);
    return PQ_OK;
}

#define TEST(name, kinds)                                              \
    static int name(struct pq_jrun *r, args_t *a, struct pq_jval *out) \
    {                                                                  \
        (void)r;                                                       \
        return is_in(a, kinds, out);                                   \
    }

TEST(is_defined, ~KIND(PQ_JV_UNDEFINED))
TEST(is_undefined, KIND(PQ_JV_UNDEFINED))
TEST(is_none, KIND(PQ_JV_NONE))
TEST(is_string, KIND(PQ_JV_STR))
TEST(is_mapping, KIND(PQ_JV_MAP))
TEST(is_boolean, KIND(PQ_JV_BOOL))
TEST(is_integer, KIND(PQ_JV_INT))
TEST(is_number, KIND(PQ_JV_INT) | KIND(PQ_JV_REAL) | KIND(PQ_JV_BOOL))
/* What has items in the eyes of Python: texts and undefined things too. */
TEST(is_iterable, KIND(PQ_JV_LIST) | KIND(PQ_JV_MAP) | KIND(PQ_JV_STR) | KIND(PQ_JV_UNDEFINED))

static int is_true(struct pq_jrun *r, args_t *a, struct pq_jval *out)
{
    (void)r;
    *out = pq_jval_bool(a->v[0].kind == PQ_JV_BOOL && a->v[0].b);
    return PQ_OK;
}

static int is_false(struct pq_jrun *r, args_t *a, struct pq_jval *out)
{
    (void)r;
    *out = pq_jval_bool(a->v[0].kind == PQ_JV_BOOL && !a->v[0].b);
    return PQ_OK;
}

const struct pq_jcall pq_jinja_tests[] = {
    {"defined", 0, 0, is_defined, NULL},
    {"undefined", 0, 0, is_undefined, NULL},
    {"none", 0, 0, is_none, NULL},
    {"string", 0, 0, is_string, NULL},
    {"mapping", 0, 0, is_mapping, NULL},
    {"boolean", 0, 0, is_boolean, NULL},
    {"integer", 0, 0, is_integer, NULL},
    {"number", 0, 0, is_number, NULL},
    {"iterable", 0, 0, is_iterable, NULL},
    {"sequence", 0, 0, is_iterable, NULL},
    {"true", 0, 0, is_true, NULL},
    {"false", 0, 0, is_false, NULL},
    {0},
};

/* ---- functions ---- */

static int raise_exception(struct pq_jrun *r, args_t *a, struct pq_jval *out)
{
    (void)out;
    struct pq_jval text;
    int rc = pq_jval_text(r, &a->v[1], &text);
    if (rc < 0)
        return rc;
    return pq_fail(r->e, PQ_EINVAL, "the chat template refuses: %.*s",
                   (int)(text.n < 200 ? text.n : 200), text.s);
}

static int namespace(struct pq_jrun *r, args_t *a, struct pq_jval *out)
{
    struct pq_jspace *s = (struct pq_jspace *)pq_arena_alloc(&r->a, 1, sizeof *s);
    if (!s)
        return pq_fail(r->e, PQ_ENOMEM, "out of memory for the chat template");
    for (size_t i = 1; i <= a->n; i++) {
        if (!a->key[i])
            return pq_jinja_fail(r, "a namespace of things without names is not supported");
        int rc = pq_jinja_bind(r, s, 0, a->key[i], a->v[i]);
        if (rc < 0)
            return rc;
    }
    *out = (struct pq_jval){.kind = PQ_JV_SPACE, .space = s};
    return PQ_OK;
}

static int range(struct pq_jrun *r, args_t *a, struct pq_jval *out)
{
    int64_t from = a->n > 1 ? a->v[1].i : 0, to = a->n > 1 ? a->v[2].i : a->v[1].i;
    for (size_t i = 1; i <= a->n; i++)
        if (a->v[i].kind != PQ_JV_INT || a->v[i].i < -100000 || a->v[i].i > 100000)
            return refuse(r, "a range", &a->v[i]);
    size_t n = to > from ? (size_t)(to - from) : 0;
    struct pq_jval *items = pq_jval_items(r, n);
    for (size_t i = 0; items && i < n; i++)
        items[i] = pq_jval_int(from + (int64_t)i);
    *out = (struct pq_jval){.kind = PQ_JV_LIST, .item = items, .n = n};
    return items ? PQ_OK : r->e->code;
}

const struct pq_jcall pq_jinja_functions[] = {
    {"raise_exception", 1, 1, raise_exception, NULL},
    {"namespace", 0, PQ_JINJA_ARGS, namespace, "*"},
    {"range", 1, 2, range, NULL},
    {0},
};

/* ---- methods ---- */

static int strip_sides(struct pq_jrun *r, args_t *a, bool left, bool right, struct pq_jval *out)
{
    *out = a->v[0];
    if (out->kind != PQ_JV_STR)
        return refuse(r, "strip", out);
    pq_jval_strip(out, left, right);
    return PQ_OK;
}

static int strip(struct pq_jrun *r, args_t *a, struct pq_jval *out)
{
    return strip_sides(r, a, true, true, out);
}

static int lstrip(struct pq_jrun *r, args_t *a, struct pq_jval *out)
{
    return strip_sides(r, a, true, false, out);
}

static int rstrip(struct pq_jrun *r, args_t *a, struct pq_jval *out)
{
    return strip_sides(r, a, false, true, out);
}

static int touches(struct pq_jrun *r, args_t *a, bool at_end, struct pq_jval *out)
{
    const struct pq_jval *s = &a->v[0], *x = &a->v[1];
    if (s->kind != PQ_JV_STR || x->kind != PQ_JV_STR)
        return refuse(r, "startswith or endswith", s->kind == PQ_JV_STR ? x : s);
    const char *at = at_end && x->n <= s->n ? s->s + (s->n - x->n) : s->s;
    *out = pq_jval_bool(x->n <= s->n && (!x->n || !memcmp(at, x->s, x->n)));
    return PQ_OK;
}

static int startswith(struct pq_jrun *r, args_t *a, struct pq_jval *out)
{
    return touches(r, a, false, out);
}

static int endswith(struct pq_jrun *r, args_t *a, struct pq_jval *out)
{
    return touches(r, a, true, out);
}

/* The first place of x in s[0..n), or n. */
static size_t find(const char *s, size_t n, const struct pq_jval *x)
{
    for (size_t i = 0; n >= x->n && i <= n - x->n; i++)
        if (!memcmp(s + i, x->s, x->n))
            return i;
    return n;
}

/* split(text): the parts between; with items NULL only counts them. */
static size_t parts(const struct pq_jval *s, const struct pq_jval *by, struct pq_jval *items)
{
    size_t n = 0;
    for (size_t at = 0;; n++) {
        size_t k = find(s->s + at, s->n - at, by);
        if (items)
            items[n] = pq_jval_str(s->s + at, k);
        at += k;
        if (at == s->n)
            return n + 1;
        at += by->n;
    }
}

static int split(struct pq_jrun *r, args_t *a, struct pq_jval *out)
{
    const struct pq_jval *s = &a->v[0], *by = &a->v[1];
    if (s->kind != PQ_JV_STR || by->kind != PQ_JV_STR || !by->n)
        return refuse(r, "split", s->kind == PQ_JV_STR ? by : s);
    int rc = pq_jinja_step(r, pq_jinja_search(s->n, by->n));
    if (rc < 0)
        return rc;
    size_t n = parts(s, by, NULL);
    struct pq_jval *items = pq_jval_items(r, n);
    if (!items)
        return r->e->code;
    parts(s, by, items);
    *out = (struct pq_jval){.kind = PQ_JV_LIST, .item = items, .n = n, .depth = 1};
    return PQ_OK;
}

/* What each member of an object gives: its key, its value, or both. */
enum side { KEYS = 1, VALUES = 2 };

static int members(struct pq_jrun *r, args_t *a, unsigned sides, struct pq_jval *out)
{
    const struct pq_jval *v = &a->v[0];
    if (v->kind != PQ_JV_MAP)
        return refuse(r, "keys, values or items", v);
    struct pq_jval *items = pq_jval_items(r, v->n);
    struct pq_jval *pair = items ? pq_jval_items(r, 2 * v->n) : NULL;
    const char *key;
    json_t *j;
    if (!pair)
        return r->e->code;
    *out = (struct pq_jval){.kind = PQ_JV_LIST, .item = items, .n = v->n, .depth = 2};
    json_object_foreach((json_t *)(uintptr_t)v->map, key, j)
    {
        pair[0] = pq_jval_str(key, strlen(key));
        pair[1] = pq_jval_json(j);
        *items++ = sides == KEYS ? pair[0]
                   : sides == VALUES
                       ? pair[1]
                       : (struct pq_jval){.kind = PQ_JV_LIST, .item = pair, .n = 2, .depth = 1};
        pair += 2;
    }
    return PQ_OK;
}

static int keys(struct pq_jrun *r, args_t *a, struct pq_jval *out)
{
    return members(r, a, KEYS, out);
}

static int values(struct pq_jrun *r, args_t *a, struct pq_jval *out)
{
    return members(r, a, VALUES, out);
}

static int items(struct pq_jrun *r, args_t *a, struct pq_jval *out)
{
    return members(r, a, KEYS | VALUES, out);
}

static int get(struct pq_jrun *r, args_t *a, struct pq_jval *out)
{
    const struct pq_jval *v = &a->v[0], *key = &a->v[1];
    if (v->kind != PQ_JV_MAP || key->kind != PQ_JV_STR)
        return refuse(r, "get", v->kind == PQ_JV_MAP ? key : v);
    char *name = pq_jval_room(r, key->n);
    if (!name)
        return r->e->code;
    if (key->n)
        memcpy(name, key->s, key->n);
    const json_t *j = json_object_get(v->map, name);
    *out = j ? pq_jval_json(j) : a->n > 1 ? a->v[2] : (struct pq_jval){.kind = PQ_JV_NONE};
    return PQ_OK;
}

const struct pq_jcall pq_jinja_methods[] = {
    {"strip", 0, 0, strip, NULL},
    {"lstrip", 0, 0, lstrip, NULL},
    {"rstrip", 0, 0, rstrip, NULL},
    {"startswith", 1, 1, startswith, NULL},
    {"endswith", 1, 1, endswith, NULL},
    {"split", 1, 1, split, NULL},
    {"keys", 0, 0, keys, NULL},
    {"values", 0, 0, values, NULL},
    {"items", 0, 0, items, NULL},
    {"get", 1, 2, get, NULL},
    {0},
};
