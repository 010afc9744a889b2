/* Reading and writing the safetensors header. SPDX-License-Identifier: MIT */
#include "wire/safetensors.h"

#include "base/num.h"
#include "wire/json.h"

#include <inttypes.h>
#include <stdlib.h>

enum { MAX_HEADER = 100000000, PREFIX = 8 }; /* the limit that huggingface/safetensors sets */

/* What every step needs to know of the file. */
struct header {
    struct pq_arena *a;
    const char *file;
    uint64_t data_at, data_size;
    struct pq_err *e;
};

static int oom(const struct header *h)
{
    return pq_fail(h->e, PQ_ENOMEM, "%s: out of memory for the header", h->file);
}

/* Words for tensor t: "file: tensor NAME: ...". */
static int bad(const struct header *h, const struct pq_st_tensor *t, const char *what)
{
    return pq_fail(h->e, PQ_EFORMAT, "%s: tensor %s: %s", h->file, t->name, what);
}

static bool to_u64(const json_t *j, uint64_t *v)
{
    if (!json_is_integer(j) || json_integer_value(j) < 0)
        return false;
    *v = (uint64_t)json_integer_value(j);
    return true;
}

static int read_dtype(const struct header *h, struct pq_st_tensor *t, const json_t *entry)
{
    const char *name = json_string_value(json_object_get(entry, "dtype"));
    if (!name)
        return bad(h, t, "no dtype");
    t->dtype = pq_dtype_from_name(name);
    if (t->dtype == PQ_DTYPES)
        return pq_fail(h->e, PQ_EUNSUPPORTED, "%s: tensor %s: unknown dtype \"%s\"", h->file,
                       t->name, name);
    return PQ_OK;
}

/* The shape and, in *bytes, what it needs. */
static int read_shape(const struct header *h, struct pq_st_tensor *t, const json_t *entry,
                      uint64_t *bytes)
{
    const json_t *shape = json_object_get(entry, "shape");
    if (!json_is_array(shape))
        return bad(h, t, "no shape");
    size_t n = json_array_size(shape);
    if (n > PQ_LEN(t->dim))
        return pq_fail(h->e, PQ_EUNSUPPORTED, "%s: tensor %s: %zu dimensions, at most %zu are read",
                       h->file, t->name, n, PQ_LEN(t->dim));
    *bytes = pq_dtype_size(t->dtype);
    t->n_dims = (int)n;
    for (size_t i = 0; i < n; i++) {
        if (!to_u64(json_array_get(shape, i), &t->dim[i]))
            return bad(h, t, "its shape holds something that is no size");
        if (!pq_mul_u64(*bytes, t->dim[i], bytes))
            return bad(h, t, "its shape overflows 64 bits");
    }
    return PQ_OK;
}

static int read_offsets(const struct header *h, struct pq_st_tensor *t, const json_t *entry,
                        uint64_t bytes)
{
    const json_t *at = json_object_get(entry, "data_offsets");
    uint64_t begin, end;
    if (json_array_size(at) != 2 || !to_u64(json_array_get(at, 0), &begin) ||
        !to_u64(json_array_get(at, 1), &end))
        return bad(h, t, "data_offsets is not a pair of offsets");
    if (begin > end || end > h->data_size)
        return pq_fail(h->e, PQ_EFORMAT,
                       "%s: tensor %s: data_offsets [%" PRIu64 ", %" PRIu64
                       "] pass the end of the file, which has %" PRIu64 " bytes of data",
                       h->file, t->name, begin, end, h->data_size);
    if (end - begin != bytes)
        return pq_fail(h->e, PQ_EFORMAT,
                       "%s: tensor %s: data_offsets span %" PRIu64
                       " bytes, its shape and dtype need %" PRIu64,
                       h->file, t->name, end - begin, bytes);
    t->begin = h->data_at + begin;
    t->end = h->data_at + end;
    return PQ_OK;
}

static int read_tensor(const struct header *h, struct pq_st_tensor *t, const char *name,
                       const json_t *entry)
{
    int rc = PQ_OK;
    uint64_t bytes = 0;
    t->name = pq_arena_strdup(h->a, name);
    if (!t->name)
        return oom(h);
    if (!json_is_object(entry))
        return bad(h, t, "its entry is not an object");
    PQ_TRY(read_dtype(h, t, entry));
    PQ_TRY(read_shape(h, t, entry, &bytes));
    PQ_TRY(read_offsets(h, t, entry, bytes));
out:
    return rc;
}

static int read_metadata(const struct header *h, struct pq_st *out, json_t *meta)
{
    if (!json_is_object(meta))
        return pq_fail(h->e, PQ_EFORMAT, "%s: __metadata__ is not an object", h->file);
    const char *key;
    json_t *v;
    json_object_foreach(meta, key, v)
    {
        if (!json_is_string(v))
            return pq_fail(h->e, PQ_EFORMAT, "%s: __metadata__ %s is not a string", h->file, key);
    }
    const char *format = json_string_value(json_object_get(meta, "format"));
    if (format && !(out->format = pq_arena_strdup(h->a, format)))
        return oom(h);
    return PQ_OK;
}

static int by_place(const void *pa, const void *pb)
{
    const struct pq_st_tensor *a = (const struct pq_st_tensor *)pa;
    const struct pq_st_tensor *b = (const struct pq_st_tensor *)pb;
    if (a->begin != b->begin)
        return a->begin < b->begin ? -1 : 1;
    if (a->end != b->end)
        return a->end < b->end ? -1 : 1; /* empty ones first */
    return strcmp(a->name, b->name);
}

/* The format has no gaps: each tensor begins where the one before ends, the last ends the file. */
static int check_places(const struct header *h, const struct pq_st *s)
{
    uint64_t at = h->data_at;
    for (size_t i = 0; i < s->n_tensors; i++) {
        const struct pq_st_tensor *t = &s->tensor[i];
        if (t->begin != at)
            return pq_fail(h->e, PQ_EFORMAT,
                           "%s: tensor %s begins at byte %" PRIu64 ", expected %" PRIu64 " (%s)",
                           h->file, t->name, t->begin, at,
                           t->begin < at ? "it overlaps the tensor before it" : "a hole");
        at = t->end;
    }
    if (at != h->data_at + h->data_size)
        return pq_fail(h->e, PQ_EFORMAT,
                       "%s: %" PRIu64 " bytes after the last tensor, which ends at %" PRIu64,
                       h->file, h->data_at + h->data_size - at, at);
    return PQ_OK;
}

static int read_header(const struct header *h, struct pq_st *out, json_t *doc)
{
    int rc = PQ_OK;
    if (!json_is_object(doc))
        return pq_fail(h->e, PQ_EFORMAT, "%s: the header is not a JSON object", h->file);
    out->tensor =
        (struct pq_st_tensor *)pq_arena_alloc(h->a, json_object_size(doc), sizeof *out->tensor);
    if (!out->tensor)
        return oom(h);
    const char *name;
    json_t *entry;
    json_object_foreach(doc, name, entry)
    {
        if (!strcmp(name, "__metadata__"))
            rc = read_metadata(h, out, entry);
        else
            rc = read_tensor(h, &out->tensor[out->n_tensors++], name, entry);
        if (rc < 0)
            return rc;
    }
    qsort(out->tensor, out->n_tensors, sizeof *out->tensor, by_place);
    return check_places(h, out);
}

int pq_st_parse(struct pq_st *out, struct pq_arena *a, const uint8_t *data, uint64_t size,
                const char *file, struct pq_err *e)
{
    *out = (struct pq_st){0};
    if (size < PREFIX)
        return pq_fail(e, PQ_EFORMAT, "%s: %" PRIu64 " bytes, too short for a safetensors file",
                       file, size);
    uint64_t n = pq_le64(data);
    if (n > MAX_HEADER)
        return pq_fail(e, PQ_EFORMAT,
                       "%s: the header would be %" PRIu64 " bytes long, more than the limit of %d",
                       file, n, MAX_HEADER);
    if (n > size - PREFIX)
        return pq_fail(e, PQ_EFORMAT,
                       "%s: the header is %" PRIu64 " bytes long, the file has only %" PRIu64
                       " after its length (cut short?)",
                       file, n, size - PREFIX);
    json_t *doc;
    int rc = pq_json_parse(&doc, (const char *)data + PREFIX, (size_t)n, file, e);
    if (rc < 0)
        return rc;
    struct header h = {a, file, PREFIX + n, size - PREFIX - n, e};
    rc = read_header(&h, out, doc);
    json_decref(doc);
    return rc;
}

static void put_string(struct pq_buf *b, const char *s)
{
    pq_buf_puts(b, "\"");
    for (; *s; s++) {
        if (*s == '"' || *s == '\\')
            pq_buf_printf(b, "\\%c", *s);
        else if ((unsigned char)*s < 0x20)
            pq_buf_printf(b, "\\u%04x", (unsigned)*s);
        else
            pq_buf_put(b, s, 1);
    }
    pq_buf_puts(b, "\"");
}

void pq_st_begin(struct pq_st_writer *w, struct pq_buf *b, const char *format)
{
    *w = (struct pq_st_writer){.b = b, .start = b->len};
    pq_buf_zero(b, PREFIX); /* the length, known at the end */
    pq_buf_puts(b, "{");
    if (format) {
        pq_buf_puts(b, "\"__metadata__\":{\"format\":");
        put_string(b, format);
        pq_buf_puts(b, "}");
        w->any = true;
    }
}

void pq_st_put(struct pq_st_writer *w, const char *name, enum pq_dtype dtype, int n_dims,
               const uint64_t *dim, uint64_t begin, uint64_t end)
{
    struct pq_buf *b = w->b;
    if (w->any)
        pq_buf_puts(b, ",");
    w->any = true;
    put_string(b, name);
    pq_buf_printf(b, ":{\"dtype\":\"%s\",\"shape\":[", pq_dtype_name(dtype));
    for (int i = 0; i < n_dims; i++)
        pq_buf_printf(b, "%s%" PRIu64, i ? "," : "", dim[i]);
    pq_buf_printf(b, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", begin, end);
}

void pq_st_end(struct pq_st_writer *w, uint64_t align)
{
    struct pq_buf *b = w->b;
    pq_buf_puts(b, "}");
    while (!b->failed && (b->len - w->start) % align)
        pq_buf_puts(b, " ");
    if (!b->failed) {
        uint64_t n = b->len - w->start - PREFIX;
        pq_put_le32(b->data + w->start, (uint32_t)n);
        pq_put_le32(b->data + w->start + 4, (uint32_t)(n >> 32));
    }
}
