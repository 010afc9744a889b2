/* Values as Python has them: truth, equality, text. SPDX-License-Identifier: MIT */
#include "base/num.h"
#include "tok/jinja.h"
#include "tok/utf8.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_MADE = 64 << 20, MAX_DUMP_DEPTH = 200 };

struct pq_jval pq_jval_str(const char *s, size_t n)
{
    return (struct pq_jval){.kind = PQ_JV_STR, .s = s, .n = n};
}

struct pq_jval pq_jval_bool(bool b)
{
    return (struct pq_jval){.kind = PQ_JV_BOOL, .b = b};
}

struct pq_jval pq_jval_int(int64_t i)
{
    return (struct pq_jval){.kind = PQ_JV_INT, .i = i};
}

struct pq_jval pq_jval_json(const json_t *j)
{
    struct pq_jval v = {.kind = PQ_JV_UNDEFINED};
    if (!j)
        return v;
    switch (json_typeof(j)) {
    case JSON_STRING:
        return pq_jval_str(json_string_value(j), json_string_length(j));
    case JSON_INTEGER:
        return pq_jval_int(json_integer_value(j));
    case JSON_REAL:
        return (struct pq_jval){.kind = PQ_JV_REAL, .d = json_real_value(j)};
    case JSON_TRUE:
    case JSON_FALSE:
        return pq_jval_bool(json_is_true(j));
    case JSON_OBJECT:
        return (struct pq_jval){.kind = PQ_JV_MAP, .map = j, .n = json_object_size(j)};
    case JSON_ARRAY:
        return (struct pq_jval){.kind = PQ_JV_LIST, .list = j, .n = json_array_size(j)};
    case JSON_NULL:
        v.kind = PQ_JV_NONE;
    }
    return v;
}

struct pq_jval pq_jval_at(const struct pq_jval *list, size_t i)
{
    if (list->list)
        return pq_jval_json(json_array_get(list->list, list->first + i));
    return list->item[list->first + i];
}

const char *pq_jval_kind(const struct pq_jval *v)
{
    static const char *const names[] = {
        [PQ_JV_UNDEFINED] = "nothing defined",
        [PQ_JV_NONE] = "none",
        [PQ_JV_BOOL] = "true or false",
        [PQ_JV_INT] = "a number",
        [PQ_JV_REAL] = "a number",
        [PQ_JV_STR] = "a text",
        [PQ_JV_LIST] = "a list",
        [PQ_JV_MAP] = "an object",
        [PQ_JV_SPACE] = "a namespace",
        [PQ_JV_LOOP] = "a loop",
    };
    return names[v->kind];
}

bool pq_jval_true(const struct pq_jval *v)
{
    switch (v->kind) {
    case PQ_JV_UNDEFINED:
    case PQ_JV_NONE:
        return false;
    case PQ_JV_BOOL:
        return v->b;
    case PQ_JV_INT:
        return v->i != 0;
    case PQ_JV_REAL:
        return v->d != 0;
    case PQ_JV_STR:
    case PQ_JV_LIST:
    case PQ_JV_MAP:
        return v->n != 0;
    case PQ_JV_SPACE:
    case PQ_JV_LOOP:
        break;
    }
    return true;
}

static bool as_number(const struct pq_jval *v, double *d)
{
    *d = v->kind == PQ_JV_BOOL ? v->b : v->kind == PQ_JV_INT ? (double)v->i : v->d;
    return v->kind == PQ_JV_BOOL || v->kind == PQ_JV_INT || v->kind == PQ_JV_REAL;
}

static int same_list(struct pq_jrun *r, const struct pq_jval *a, const struct pq_jval *b,
                     bool *equal)
{
    int rc = PQ_OK;
    *equal = a->n == b->n;
    for (size_t i = 0; i < a->n && *equal && rc == PQ_OK; i++) {
        struct pq_jval x = pq_jval_at(a, i), y = pq_jval_at(b, i);
        rc = pq_jval_equal(r, &x, &y, equal);
    }
    return rc;
}

static bool same_simple(const struct pq_jval *a, const struct pq_jval *b)
{
    double x, y;
    if (a->kind == PQ_JV_INT && b->kind == PQ_JV_INT)
        return a->i == b->i;
    if (as_number(a, &x) && as_number(b, &y))
        return x == y;
    if (a->kind != b->kind)
        return false;
    if (a->kind == PQ_JV_STR)
        return a->n == b->n && (!a->n || !memcmp(a->s, b->s, a->n));
    if (a->kind == PQ_JV_MAP)
        return json_equal(a->map, b->map);
    return a->kind != PQ_JV_SPACE || a->space == b->space;
}

int pq_jval_equal(struct pq_jrun *r, const struct pq_jval *a, const struct pq_jval *b, bool *equal)
{
    if (a->kind == PQ_JV_LIST && b->kind == PQ_JV_LIST)
        return same_list(r, a, b, equal);
    *equal = same_simple(a, b);
    return pq_jinja_step(r, 1);
}

bool pq_jval_less(const struct pq_jval *a, const struct pq_jval *b, bool *less)
{
    double x, y;
    if (a->kind == PQ_JV_INT && b->kind == PQ_JV_INT) {
        *less = a->i < b->i;
        return true;
    }
    if (as_number(a, &x) && as_number(b, &y)) {
        *less = x < y;
        return true;
    }
    if (a->kind != PQ_JV_STR || b->kind != PQ_JV_STR)
        return false;
    size_t n = a->n < b->n ? a->n : b->n;
    int c = n ? memcmp(a->s, b->s, n) : 0; /* UTF-8 keeps the order */
    *less = c ? c < 0 : a->n < b->n;
    return true;
}

/* ---- memory ---- */

static bool made(struct pq_jrun *r, size_t n)
{
    r->made += n;
    if (n <= MAX_MADE && r->made <= MAX_MADE)
        return true;
    pq_jinja_fail(r, "more than %d MB of text is made", MAX_MADE >> 20);
    return false;
}

static void *no_memory(struct pq_jrun *r)
{
    pq_fail(r->e, PQ_ENOMEM, "out of memory for the chat template");
    return NULL;
}

char *pq_jval_room(struct pq_jrun *r, size_t n)
{
    if (!made(r, n))
        return NULL;
    char *s = (char *)pq_arena_alloc(&r->a, n + 1, 1);
    return s ? s : (char *)no_memory(r);
}

struct pq_jval *pq_jval_items(struct pq_jrun *r, size_t n)
{
    if (n > MAX_MADE || !made(r, n * sizeof(struct pq_jval)))
        return NULL;
    void *items = pq_arena_alloc(&r->a, n, sizeof(struct pq_jval));
    return (struct pq_jval *)(items ? items : no_memory(r));
}

/* ---- text ---- */

/* str.isspace() of Python: Unicode's white space and four separators of ASCII. */
static bool is_blank(const char *s, size_t n)
{
    uint32_t c = pq_utf8_get(s, n);
    return pq_utf8_is_space(c) || (c >= 0x1c && c <= 0x1f);
}

void pq_jval_strip(struct pq_jval *s, bool left, bool right)
{
    size_t k;
    while (left && s->n && (k = pq_utf8_len(s->s, s->n)) > 0 && is_blank(s->s, k)) {
        s->s += k;
        s->n -= k;
    }
    while (right && s->n) {
        k = pq_utf8_len_back(s->s, s->n);
        if (!pq_utf8_len(s->s + s->n - k, k) || !is_blank(s->s + s->n - k, k))
            break;
        s->n -= k;
    }
}

/* The fewest digits that give the number back, in the form of Python's repr(). */
static void put_real(struct pq_buf *b, double d)
{
    char s[40];
    int digits = 0;
    if (!isfinite(d)) {
        pq_buf_puts(b, isnan(d) ? "NaN" : d < 0 ? "-Infinity" : "Infinity");
        return;
    }
    do
        snprintf(s, sizeof s, "%.*e", digits, d);
    while (strtod(s, NULL) != d && digits++ < 17);
    int exponent = (int)strtol(strchr(s, 'e') + 1, NULL, 10);
    if (exponent < -4 || exponent >= 16) {
        pq_buf_puts(b, s);
        return;
    }
    pq_buf_printf(b, "%.*f", digits > exponent ? digits - exponent : 1, d);
}

static void put_plain(struct pq_buf *b, const struct pq_jval *v)
{
    if (v->kind == PQ_JV_INT)
        pq_buf_printf(b, "%lld", (long long)v->i);
    else if (v->kind == PQ_JV_REAL)
        put_real(b, v->d);
    else if (v->kind == PQ_JV_BOOL)
        pq_buf_puts(b, v->b ? "True" : "False");
    else if (v->kind == PQ_JV_NONE)
        pq_buf_puts(b, "None");
}

/* Moves a buffer's text into the arena. */
static int keep(struct pq_jrun *r, struct pq_buf *b, struct pq_jval *out)
{
    int rc = pq_buf_check(b, r->e);
    char *s = rc < 0 ? NULL : pq_jval_room(r, b->len);
    if (s && b->len)
        memcpy(s, b->data, b->len);
    *out = pq_jval_str(s, b->len);
    pq_buf_free(b);
    return s ? PQ_OK : r->e->code;
}

int pq_jval_text(struct pq_jrun *r, const struct pq_jval *v, struct pq_jval *out)
{
    struct pq_buf b = {0};
    if (v->kind == PQ_JV_STR) {
        *out = *v;
        return PQ_OK;
    }
    if (v->kind >= PQ_JV_LIST)
        return pq_jinja_fail(r, "%s as text (without tojson) is not supported", pq_jval_kind(v));
    put_plain(&b, v);
    return keep(r, &b, out);
}

/* ---- JSON ---- */

struct dump {
    struct pq_buf b;
    int64_t indent;
    unsigned depth;
    bool failed; /* too deep or long, or a value that JSON does not have */
};

static void dump_value(struct dump *d, const struct pq_jval *v);

static void dump_string(struct dump *d, const char *s, size_t n)
{
    static const char from[] = "\"\\\n\r\t\b\f", to[] = "\"\\nrtbf";
    pq_buf_puts(&d->b, "\"");
    for (size_t i = 0; i < n; i++) {
        const char *which = s[i] ? strchr(from, s[i]) : NULL;
        if (which) {
            pq_buf_puts(&d->b, "\\");
            pq_buf_put(&d->b, to + (which - from), 1);
        } else if ((unsigned char)s[i] < 0x20) {
            pq_buf_printf(&d->b, "\\u%04x", s[i]);
        } else {
            pq_buf_put(&d->b, s + i, 1);
        }
    }
    pq_buf_puts(&d->b, "\"");
}

/* Before an item, or before the closing bracket. */
static void dump_line(struct dump *d, bool comma)
{
    if (comma)
        pq_buf_puts(&d->b, d->indent < 0 ? ", " : ",");
    if (d->indent < 0)
        return;
    pq_buf_puts(&d->b, "\n");
    for (int64_t i = 0; i < d->indent * d->depth; i++)
        pq_buf_puts(&d->b, " ");
}

static void dump_list(struct dump *d, const struct pq_jval *v)
{
    pq_buf_puts(&d->b, "[");
    d->depth++;
    for (size_t i = 0; i < v->n; i++) {
        struct pq_jval x = pq_jval_at(v, i);
        dump_line(d, i > 0);
        dump_value(d, &x);
    }
    d->depth--;
    if (v->n)
        dump_line(d, false);
    pq_buf_puts(&d->b, "]");
}

static void dump_map(struct dump *d, const json_t *map)
{
    const char *key;
    json_t *j;
    bool first = true;
    pq_buf_puts(&d->b, "{");
    d->depth++;
    json_object_foreach((json_t *)(uintptr_t)map, key, j)
    {
        struct pq_jval x = pq_jval_json(j);
        dump_line(d, !first);
        first = false;
        dump_string(d, key, strlen(key));
        pq_buf_puts(&d->b, ": ");
        dump_value(d, &x);
    }
    d->depth--;
    if (!first)
        dump_line(d, false);
    pq_buf_puts(&d->b, "}");
}

static void dump_value(struct dump *d, const struct pq_jval *v)
{
    if (d->depth > MAX_DUMP_DEPTH || d->b.len > MAX_MADE || v->kind >= PQ_JV_SPACE ||
        v->kind == PQ_JV_UNDEFINED)
        d->failed = true;
    else if (v->kind == PQ_JV_STR)
        dump_string(d, v->s, v->n);
    else if (v->kind == PQ_JV_LIST)
        dump_list(d, v);
    else if (v->kind == PQ_JV_MAP)
        dump_map(d, v->map);
    else if (v->kind == PQ_JV_NONE)
        pq_buf_puts(&d->b, "null");
    else if (v->kind == PQ_JV_BOOL)
        pq_buf_puts(&d->b, v->b ? "true" : "false");
    else
        put_plain(&d->b, v);
}

int pq_jval_dump(struct pq_jrun *r, const struct pq_jval *v, int64_t indent, struct pq_jval *out)
{
    struct dump d = {.indent = indent};
    dump_value(&d, v);
    if (!d.failed)
        return keep(r, &d.b, out);
    pq_buf_free(&d.b);
    return pq_jinja_fail(r, "tojson of %s is not supported", pq_jval_kind(v));
}
