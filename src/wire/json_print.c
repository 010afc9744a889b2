/* Printing JSON: two-space indent, sorted keys, and the shortest digits that read back as the same
 * number (Jansson would print 1e-05 as 1.0000000000000001e-05). SPDX-License-Identifier: MIT */
#include "wire/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void print_value(struct pq_buf *b, const json_t *j, size_t depth);

static void newline(struct pq_buf *b, size_t depth)
{
    pq_buf_puts(b, "\n");
    for (size_t i = 0; i < depth; i++)
        pq_buf_puts(b, "  ");
}

static void print_real(struct pq_buf *b, double x)
{
    char s[40];
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(s, sizeof s, "%.*g", digits, x);
        if (strtod(s, NULL) == x)
            break;
    }
    char *comma = strchr(s, ','); /* the decimal point of some locales */
    if (comma)
        *comma = '.';
    pq_buf_puts(b, s);
    if (!strpbrk(s, ".e")) /* stays a real when read back */
        pq_buf_puts(b, ".0");
}

static int append(const char *text, size_t n, void *buf)
{
    pq_buf_put((struct pq_buf *)buf, text, n);
    return 0;
}

/* Jansson knows how to escape. */
static void print_leaf(struct pq_buf *b, const json_t *j)
{
    if (json_dump_callback(j, append, b, JSON_ENCODE_ANY))
        b->failed = true;
}

static void print_key(struct pq_buf *b, const char *key)
{
    json_t *s = json_string(key);
    if (s)
        print_leaf(b, s);
    else
        b->failed = true;
    json_decref(s);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void print_object(struct pq_buf *b, const json_t *j, size_t depth)
{
    size_t n = json_object_size(j), i = 0;
    const char **key = (const char **)pq_calloc(n, sizeof *key);
    if (!key) {
        b->failed = true;
        return;
    }
    json_t *obj = (json_t *)(uintptr_t)j; /* Jansson's iterator takes no const */
    for (void *it = json_object_iter(obj); it; it = json_object_iter_next(obj, it))
        key[i++] = json_object_iter_key(it);
    qsort(key, n, sizeof *key, by_name);
    pq_buf_puts(b, "{");
    for (i = 0; i < n; i++) {
        newline(b, depth + 1);
        print_key(b, key[i]);
        pq_buf_puts(b, ": ");
        print_value(b, json_object_get(j, key[i]), depth + 1);
        pq_buf_puts(b, i + 1 < n ? "," : "");
    }
    if (n)
        newline(b, depth);
    pq_buf_puts(b, "}");
    pq_free(key);
}

static void print_array(struct pq_buf *b, const json_t *j, size_t depth)
{
    size_t n = json_array_size(j);
    pq_buf_puts(b, "[");
    for (size_t i = 0; i < n; i++) {
        newline(b, depth + 1);
        print_value(b, json_array_get(j, i), depth + 1);
        pq_buf_puts(b, i + 1 < n ? "," : "");
    }
    if (n)
        newline(b, depth);
    pq_buf_puts(b, "]");
}

static void print_value(struct pq_buf *b, const json_t *j, size_t depth)
{
    if (json_is_object(j))
        print_object(b, j, depth);
    else if (json_is_array(j))
        print_array(b, j, depth);
    else if (json_is_real(j))
        print_real(b, json_real_value(j));
    else
        print_leaf(b, j);
}

int pq_json_print(struct pq_buf *b, const json_t *j, struct pq_err *e)
{
    print_value(b, j, 0);
    return pq_buf_check(b, e);
}
