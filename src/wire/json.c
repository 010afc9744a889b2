/* Reading JSON with words, and typed look-ups. Depth is limited by Jansson (2048 levels).
 * SPDX-License-Identifier: MIT */
#include "wire/json.h"

#include "base/fs.h"

#include <string.h>

enum { MAX_DOCUMENT = 512 << 20, LONG_INTEGER = 19 };

static json_t *load(const char *text, size_t size, json_error_t *why)
{
    return json_loadb(text, size, JSON_REJECT_DUPLICATES, why);
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Copies one integer token; one that may not fit in 64 bits gets an exponent, which makes it a
 * real. Returns the characters consumed. */
static size_t copy_number(struct pq_buf *b, const char *s, size_t n)
{
    size_t k = 0;
    while (k < n && is_digit(s[k]))
        k++;
    bool integer = k == n || (s[k] != '.' && s[k] != 'e' && s[k] != 'E');
    size_t whole = k;
    while (k < n && (is_digit(s[k]) || strchr(".eE+-", s[k] ? s[k] : 'x')))
        k++; /* the rest of a real, so that its fraction is not taken for an integer */
    pq_buf_put(b, s, k);
    if (integer && whole >= LONG_INTEGER)
        pq_buf_puts(b, "e0");
    return k;
}

static size_t string_length(const char *s, size_t n)
{
    size_t k = 1;
    while (k < n && s[k] != '"')
        k += s[k] == '\\' ? 2 : 1;
    return k < n ? k + 1 : n;
}

/* transformers writes "model_max_length": 1000000000000000019884624838656, which is sound JSON but
 * no 64-bit integer. Jansson refuses it, so such a document is read again with its long integers
 * turned into reals; line numbers stay right. */
static json_t *load_long_integers(const char *text, size_t size, json_error_t *why)
{
    struct pq_buf b = {0};
    for (size_t i = 0; i < size;) {
        size_t k = 1;
        if (is_digit(text[i])) {
            i += copy_number(&b, text + i, size - i);
            continue;
        }
        if (text[i] == '"')
            k = string_length(text + i, size - i);
        pq_buf_put(&b, text + i, k);
        i += k;
    }
    *why = (json_error_t){.line = -1}; /* stays when memory is out */
    json_t *j = b.failed ? NULL : load((const char *)b.data, b.len, why);
    pq_buf_free(&b);
    return j;
}

int pq_json_parse(json_t **out, const char *text, size_t size, const char *file, struct pq_err *e)
{
    json_error_t why = {.line = -1};
    *out = load(text, size, &why);
    if (!*out && json_error_code(&why) == json_error_numeric_overflow)
        *out = load_long_integers(text, size, &why);
    if (*out)
        return PQ_OK;
    if (json_error_code(&why) == json_error_out_of_memory || why.line < 0)
        return pq_fail(e, PQ_ENOMEM, "%s: out of memory for a JSON document of %zu bytes", file,
                       size);
    return pq_fail(e, PQ_EFORMAT, "%s:%d:%d: bad JSON: %s", file, why.line, why.column, why.text);
}

int pq_json_load(json_t **out, const char *path, struct pq_err *e)
{
    char *text;
    size_t size;
    *out = NULL;
    int rc = pq_file_read(path, MAX_DOCUMENT, &text, &size, e);
    if (rc >= 0)
        rc = pq_json_parse(out, text, size, path, e);
    pq_free(text);
    return rc;
}

int pq_json_load_optional(json_t **out, const char *path, struct pq_err *e)
{
    *out = NULL;
    return pq_path_kind(path) == PQ_PATH_NONE ? PQ_OK : pq_json_load(out, path, e);
}

static const char *kind_name(const json_t *j)
{
    static const char *const names[] = {
        [JSON_OBJECT] = "an object",   [JSON_ARRAY] = "an array", [JSON_STRING] = "a string",
        [JSON_INTEGER] = "an integer", [JSON_REAL] = "a real",    [JSON_TRUE] = "true",
        [JSON_FALSE] = "false",        [JSON_NULL] = "null",
    };
    return names[json_typeof(j)];
}

static int wrong(const json_t *v, const char *key, const char *expected, const char *file,
                 struct pq_err *e)
{
    return pq_fail(e, PQ_EFORMAT, "%s: %s is %s, expected %s", file, key, kind_name(v), expected);
}

/* The member, or NULL when absent or null. */
static const json_t *member(const json_t *obj, const char *key)
{
    const json_t *v = json_object_get(obj, key);
    return json_is_null(v) ? NULL : v;
}

int pq_json_u64(const json_t *obj, const char *key, uint64_t *v, const char *file, struct pq_err *e)
{
    const json_t *j = member(obj, key);
    if (!j)
        return PQ_OK;
    if (!json_is_integer(j))
        return wrong(j, key, "an integer", file, e);
    if (json_integer_value(j) < 0)
        return pq_fail(e, PQ_EFORMAT, "%s: %s is %" JSON_INTEGER_FORMAT ", expected 0 or more",
                       file, key, json_integer_value(j));
    *v = (uint64_t)json_integer_value(j);
    return PQ_OK;
}

int pq_json_f64(const json_t *obj, const char *key, double *v, const char *file, struct pq_err *e)
{
    const json_t *j = member(obj, key);
    if (!j)
        return PQ_OK;
    if (!json_is_number(j))
        return wrong(j, key, "a number", file, e);
    *v = json_number_value(j);
    return PQ_OK;
}

int pq_json_bool(const json_t *obj, const char *key, bool *v, const char *file, struct pq_err *e)
{
    const json_t *j = member(obj, key);
    if (!j)
        return PQ_OK;
    if (!json_is_boolean(j))
        return wrong(j, key, "true or false", file, e);
    *v = json_is_true(j);
    return PQ_OK;
}

int pq_json_str(const json_t *obj, const char *key, const char **v, const char *file,
                struct pq_err *e)
{
    const json_t *j = member(obj, key);
    if (!j)
        return PQ_OK;
    if (!json_is_string(j))
        return wrong(j, key, "a string", file, e);
    *v = json_string_value(j);
    return PQ_OK;
}
