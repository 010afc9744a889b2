/* Reading GGUF headers. Nothing in the file is trusted: every count is held against the bytes that
 * are left before it is used. SPDX-License-Identifier: MIT */
#include "wire/gguf_wire.h"

#include "base/num.h"

#include <inttypes.h>
#include <stdlib.h>

enum {
    MAX_ENTRIES = 1 << 20, /* pairs, tensors; real files have a few thousand */
    DEFAULT_ALIGNMENT = 32,
    MIN_PAIR = 8 + 4 + 1, /* bytes of the smallest pair and tensor info */
    MIN_INFO = 8 + 4 + 4 + 8,
    LONGEST_SHOWN = 200 /* of a damaged name in a message */
};

static const struct {
    const char *name;
    unsigned size; /* 0: its own length says */
} types[] = {
    [PQ_GGUF_U8] = {"u8", 1},       [PQ_GGUF_I8] = {"i8", 1},     [PQ_GGUF_U16] = {"u16", 2},
    [PQ_GGUF_I16] = {"i16", 2},     [PQ_GGUF_U32] = {"u32", 4},   [PQ_GGUF_I32] = {"i32", 4},
    [PQ_GGUF_F32] = {"f32", 4},     [PQ_GGUF_BOOL] = {"bool", 1}, [PQ_GGUF_STRING] = {"string", 0},
    [PQ_GGUF_ARRAY] = {"array", 0}, [PQ_GGUF_U64] = {"u64", 8},   [PQ_GGUF_I64] = {"i64", 8},
    [PQ_GGUF_F64] = {"f64", 8},
};

struct cursor {
    const uint8_t *start, *at, *end;
    struct pq_arena *a;
    const char *file;
    struct pq_err *e;
};

static uint64_t left(const struct cursor *c)
{
    return (uint64_t)(c->end - c->at);
}

static int oom(const struct cursor *c)
{
    return pq_fail(c->e, PQ_ENOMEM, "%s: out of memory for the header", c->file);
}

static int cut_short(const struct cursor *c, const char *what)
{
    return pq_fail(c->e, PQ_EFORMAT, "%s: the file ends inside %s at byte %" PRIu64, c->file, what,
                   (uint64_t)(c->at - c->start));
}

static int take(struct cursor *c, uint64_t n, const uint8_t **p, const char *what)
{
    if (n > left(c))
        return cut_short(c, what);
    *p = c->at;
    c->at += n;
    return PQ_OK;
}

static int take_u32(struct cursor *c, uint32_t *v, const char *what)
{
    const uint8_t *p = NULL;
    int rc = take(c, 4, &p, what);
    if (rc >= 0)
        *v = pq_le32(p);
    return rc;
}

static int take_u64(struct cursor *c, uint64_t *v, const char *what)
{
    const uint8_t *p = NULL;
    int rc = take(c, 8, &p, what);
    if (rc >= 0)
        *v = pq_le64(p);
    return rc;
}

static int take_str(struct cursor *c, struct pq_gguf_str *s, const char *what)
{
    int rc = PQ_OK;
    const uint8_t *p = NULL;
    PQ_TRY(take_u64(c, &s->len, what));
    PQ_TRY(take(c, s->len, &p, what));
    s->s = (const char *)p;
out:
    return rc;
}

/* A key or tensor name as a C string. */
static int take_name(struct cursor *c, const char **name, const char *what)
{
    struct pq_gguf_str s;
    int rc = take_str(c, &s, what);
    if (rc < 0)
        return rc;
    if (!s.len || memchr(s.s, 0, s.len))
        return pq_fail(c->e, PQ_EFORMAT, "%s: %s %s", c->file, what,
                       s.len ? "holds a NUL byte" : "is empty");
    *name = pq_arena_strndup(c->a, s.s, s.len);
    return *name ? PQ_OK : oom(c);
}

static int take_type(struct cursor *c, const char *key, enum pq_gguf_type *t)
{
    uint32_t id = 0;
    int rc = take_u32(c, &id, key);
    if (rc < 0)
        return rc;
    if (id >= PQ_LEN(types))
        return pq_fail(c->e, PQ_EFORMAT, "%s: key %s has unknown value type %" PRIu32, c->file, key,
                       id);
    *t = (enum pq_gguf_type)id;
    return PQ_OK;
}

static int take_strings(struct cursor *c, struct pq_gguf_kv *kv)
{
    struct pq_gguf_str *s = (struct pq_gguf_str *)pq_arena_alloc(c->a, kv->count, sizeof *s);
    if (!s)
        return oom(c);
    kv->str = s;
    for (uint64_t i = 0; i < kv->count; i++) {
        int rc = take_str(c, &s[i], kv->key);
        if (rc < 0)
            return rc;
    }
    return PQ_OK;
}

static int take_array_head(struct cursor *c, struct pq_gguf_kv *kv)
{
    int rc = PQ_OK;
    PQ_TRY(take_type(c, kv->key, &kv->item));
    if (kv->item == PQ_GGUF_ARRAY)
        return pq_fail(c->e, PQ_EUNSUPPORTED, "%s: key %s is an array of arrays", c->file, kv->key);
    PQ_TRY(take_u64(c, &kv->count, kv->key));
    unsigned least = types[kv->item].size ? types[kv->item].size : 8;
    if (kv->count > left(c) / least)
        return pq_fail(c->e, PQ_EFORMAT,
                       "%s: key %s says %" PRIu64 " values of type %s, only %" PRIu64
                       " bytes are left in the file",
                       c->file, kv->key, kv->count, types[kv->item].name, left(c));
out:
    return rc;
}

static int take_pair(struct cursor *c, struct pq_gguf_kv *kv)
{
    int rc = PQ_OK;
    PQ_TRY(take_name(c, &kv->key, "a key"));
    PQ_TRY(take_type(c, kv->key, &kv->type));
    kv->item = kv->type;
    kv->count = 1;
    if (kv->type == PQ_GGUF_ARRAY)
        PQ_TRY(take_array_head(c, kv));
    kv->data = c->at;
    if (kv->item == PQ_GGUF_STRING)
        return take_strings(c, kv);
    PQ_TRY(take(c, kv->count * types[kv->item].size, &kv->data, kv->key));
out:
    return rc;
}

static int take_info(struct cursor *c, struct pq_gguf_info *t)
{
    int rc = PQ_OK;
    uint32_t n = 0;
    PQ_TRY(take_name(c, &t->name, "a tensor name"));
    PQ_TRY(take_u32(c, &n, t->name));
    if (n > PQ_LEN(t->ne))
        return pq_fail(c->e, PQ_EFORMAT,
                       "%s: tensor %s has %" PRIu32 " dimensions, GGUF allows %zu", c->file,
                       t->name, n, PQ_LEN(t->ne));
    t->n_dims = (int)n;
    for (uint32_t i = 0; i < PQ_LEN(t->ne); i++) {
        t->ne[i] = 1;
        if (i < n)
            PQ_TRY(take_u64(c, &t->ne[i], t->name));
        if (!t->ne[i])
            return pq_fail(c->e, PQ_EFORMAT, "%s: tensor %s: dimension %" PRIu32 " is 0", c->file,
                           t->name, i);
    }
    PQ_TRY(take_u32(c, &t->type, t->name));
    PQ_TRY(take_u64(c, &t->at, t->name));
out:
    return rc;
}

static int check_magic(struct cursor *c, struct pq_gguf *g)
{
    const uint8_t *p = NULL;
    int rc = take(c, 8, &p, "its first 8 bytes");
    if (rc < 0)
        return rc;
    g->version = pq_le32(p + 4);
    if (memcmp(p, "GGUF", 4))
        return pq_fail(c->e, PQ_EFORMAT, "%s: does not begin with \"GGUF\"", c->file);
    if (g->version && !(g->version & 0xffff))
        return pq_fail(c->e, PQ_EUNSUPPORTED, "%s: a big-endian GGUF file", c->file);
    if (g->version < 2 || g->version > 3)
        return pq_fail(c->e, PQ_EUNSUPPORTED,
                       "%s: GGUF version %" PRIu32 ", versions 2 and 3 are read", c->file,
                       g->version);
    return PQ_OK;
}

static int take_count(struct cursor *c, size_t *n, const char *what, unsigned least)
{
    uint64_t v = 0;
    int rc = take_u64(c, &v, what);
    if (rc < 0)
        return rc;
    if (v > MAX_ENTRIES || v > left(c) / least)
        return pq_fail(c->e, PQ_EFORMAT,
                       "%s: the header says %" PRIu64 " %s, more than the %" PRIu64
                       " bytes left in the file can hold or the limit of %d",
                       c->file, v, what, left(c), MAX_ENTRIES);
    *n = (size_t)v;
    return PQ_OK;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Looks for two equal names among n that lie `stride` bytes apart, by sorting pointers to them. */
static int check_unique(const struct cursor *c, const void *first, size_t n, size_t stride)
{
    int rc = PQ_OK;
    const char **name = (const char **)pq_calloc(n, sizeof *name);
    if (!name)
        return oom(c);
    for (size_t i = 0; i < n; i++)
        memcpy(&name[i], (const char *)first + i * stride, sizeof *name);
    qsort(name, n, sizeof *name, by_name);
    for (size_t i = 1; i < n && rc >= 0; i++)
        if (!strcmp(name[i - 1], name[i]))
            rc =
                pq_fail(c->e, PQ_EFORMAT, "%s: %.*s occurs twice", c->file, LONGEST_SHOWN, name[i]);
    pq_free(name);
    return rc;
}

static int take_pairs(struct cursor *c, struct pq_gguf *g)
{
    g->kv = (struct pq_gguf_kv *)pq_arena_alloc(c->a, g->n_kv, sizeof *g->kv);
    if (!g->kv)
        return oom(c);
    for (size_t i = 0; i < g->n_kv; i++) {
        int rc = take_pair(c, &g->kv[i]);
        if (rc < 0)
            return rc;
    }
    _Static_assert(offsetof(struct pq_gguf_kv, key) == 0, "check_unique reads names there");
    return check_unique(c, g->kv, g->n_kv, sizeof *g->kv);
}

static int take_infos(struct cursor *c, struct pq_gguf *g)
{
    g->tensor = (struct pq_gguf_info *)pq_arena_alloc(c->a, g->n_tensors, sizeof *g->tensor);
    if (!g->tensor)
        return oom(c);
    for (size_t i = 0; i < g->n_tensors; i++) {
        int rc = take_info(c, &g->tensor[i]);
        if (rc < 0)
            return rc;
    }
    _Static_assert(offsetof(struct pq_gguf_info, name) == 0, "check_unique reads names there");
    return check_unique(c, g->tensor, g->n_tensors, sizeof *g->tensor);
}

static int find_alignment(const struct cursor *c, struct pq_gguf *g)
{
    const struct pq_gguf_kv *kv = pq_gguf_find(g, "general.alignment");
    g->alignment = DEFAULT_ALIGNMENT;
    if (!kv)
        return PQ_OK;
    if (kv->type != PQ_GGUF_U32)
        return pq_fail(c->e, PQ_EFORMAT, "%s: general.alignment has type %s, expected u32", c->file,
                       types[kv->type].name);
    g->alignment = pq_le32(kv->data);
    if (!g->alignment || g->alignment & (g->alignment - 1))
        return pq_fail(c->e, PQ_EFORMAT,
                       "%s: general.alignment is %" PRIu32 ", expected a power of two", c->file,
                       g->alignment);
    return PQ_OK;
}

/* Turns the offsets of the infos, relative to the data section, into offsets in the file. */
static int place(const struct cursor *c, struct pq_gguf *g)
{
    uint64_t size = (uint64_t)(c->end - c->start);
    g->data_at = pq_round_up((uint64_t)(c->at - c->start), g->alignment);
    if (g->data_at > size) {
        if (g->n_tensors)
            return cut_short(c, "the padding before its data");
        g->data_at = size; /* a vocabulary alone needs no padding */
    }
    for (size_t i = 0; i < g->n_tensors; i++) {
        struct pq_gguf_info *t = &g->tensor[i];
        if (t->at % g->alignment)
            return pq_fail(c->e, PQ_EFORMAT,
                           "%s: tensor %s is at offset %" PRIu64
                           ", which is no multiple of the alignment %" PRIu32,
                           c->file, t->name, t->at, g->alignment);
        if (t->at > size - g->data_at)
            return pq_fail(c->e, PQ_EFORMAT,
                           "%s: tensor %s is at offset %" PRIu64 ", the file has %" PRIu64
                           " bytes of data",
                           c->file, t->name, t->at, size - g->data_at);
        t->at += g->data_at;
    }
    return PQ_OK;
}

int pq_gguf_parse(struct pq_gguf **out, struct pq_arena *a, const uint8_t *data, uint64_t size,
                  const char *file, struct pq_err *e)
{
    int rc = PQ_OK;
    struct cursor c = {data, data, data + size, a, file, e};
    struct pq_gguf *g = (struct pq_gguf *)pq_arena_alloc(a, 1, sizeof *g);
    *out = NULL;
    if (!g)
        return oom(&c);
    PQ_TRY(check_magic(&c, g));
    PQ_TRY(take_count(&c, &g->n_tensors, "tensors", MIN_INFO));
    PQ_TRY(take_count(&c, &g->n_kv, "key-value pairs", MIN_PAIR));
    PQ_TRY(take_pairs(&c, g));
    PQ_TRY(take_infos(&c, g));
    PQ_TRY(find_alignment(&c, g));
    PQ_TRY(place(&c, g));
    *out = g;
out:
    return rc;
}

const struct pq_gguf_kv *pq_gguf_find(const struct pq_gguf *g, const char *key)
{
    for (size_t i = 0; i < g->n_kv; i++)
        if (!strcmp(g->kv[i].key, key))
            return &g->kv[i];
    return NULL;
}

/* An integer of any width, negative ones as two's complement. */
static uint64_t widen(const struct pq_gguf_kv *kv)
{
    switch (kv->type) {
    case PQ_GGUF_U8:
        return kv->data[0];
    case PQ_GGUF_U16:
        return pq_le16(kv->data);
    case PQ_GGUF_U32:
        return pq_le32(kv->data);
    case PQ_GGUF_I8:
        return (uint64_t)(int8_t)kv->data[0];
    case PQ_GGUF_I16:
        return (uint64_t)(int16_t)pq_le16(kv->data);
    case PQ_GGUF_I32:
        return (uint64_t)(int32_t)pq_le32(kv->data);
    default:
        return pq_le64(kv->data);
    }
}

static bool is_signed(enum pq_gguf_type t)
{
    return t == PQ_GGUF_I8 || t == PQ_GGUF_I16 || t == PQ_GGUF_I32 || t == PQ_GGUF_I64;
}

static bool is_unsigned(enum pq_gguf_type t)
{
    return t == PQ_GGUF_U8 || t == PQ_GGUF_U16 || t == PQ_GGUF_U32 || t == PQ_GGUF_U64;
}

bool pq_gguf_get_u64(const struct pq_gguf *g, const char *key, uint64_t *v)
{
    const struct pq_gguf_kv *kv = pq_gguf_find(g, key);
    if (!kv || !(is_signed(kv->type) || is_unsigned(kv->type)))
        return false;
    uint64_t x = widen(kv);
    if (is_signed(kv->type) && x >> 63) /* negative */
        return false;
    *v = x;
    return true;
}

bool pq_gguf_get_f64(const struct pq_gguf *g, const char *key, double *v)
{
    const struct pq_gguf_kv *kv = pq_gguf_find(g, key);
    if (!kv)
        return false;
    if (kv->type == PQ_GGUF_F32) {
        *v = (double)pq_bits_f32(pq_le32(kv->data));
    } else if (kv->type == PQ_GGUF_F64) {
        uint64_t u = pq_le64(kv->data);
        memcpy(v, &u, sizeof *v);
    } else if (is_signed(kv->type)) {
        *v = (double)(int64_t)widen(kv);
    } else if (is_unsigned(kv->type)) {
        *v = (double)widen(kv);
    } else {
        return false;
    }
    return true;
}

bool pq_gguf_get_bool(const struct pq_gguf *g, const char *key, bool *v)
{
    const struct pq_gguf_kv *kv = pq_gguf_find(g, key);
    if (!kv || kv->type != PQ_GGUF_BOOL)
        return false;
    *v = kv->data[0] != 0;
    return true;
}

bool pq_gguf_get_str(const struct pq_gguf *g, const char *key, struct pq_gguf_str *v)
{
    const struct pq_gguf_kv *kv = pq_gguf_find(g, key);
    if (!kv || kv->type != PQ_GGUF_STRING)
        return false;
    *v = kv->str[0];
    return true;
}
