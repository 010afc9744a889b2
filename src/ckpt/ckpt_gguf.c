/* GGUF: one file, or a split set "name-00001-of-00003.gguf" opened by its first file or by its
 * folder. Split keys: llama.cpp's gguf-split. SPDX-License-Identifier: MIT */
#include "ckpt/kinds.h"

#include "base/num.h"

#include <inttypes.h>
#include <stdio.h>

enum { TAIL = 20 /* "-00001-of-00003.gguf" */, MAX_SHARDS = 99999 };

static int add_tensor(struct pq_ckpt *c, const struct pq_gguf_info *t, const struct pq_map *m,
                      uint64_t *next, struct pq_err *e)
{
    int rc;
    struct pq_stored s = {
        .name = t->name,
        .file = pq_path_base(m->path),
        .n_dims = t->n_dims,
        .scheme = pq_scheme_of_ggml(t->type),
        .data = m->data + t->at,
    };
    for (int i = 0; i < t->n_dims; i++)
        s.dim[i] = t->ne[t->n_dims - 1 - i];
    if (!s.scheme)
        return pq_fail(e, PQ_EUNSUPPORTED,
                       "%s: tensor %s has ggml type %" PRIu32 ", not known here", m->path, t->name,
                       t->type);
    if ((rc = pq_ckpt_need(&s, m->path, &s.bytes, e)) < 0)
        return rc;
    if (s.bytes > m->size - t->at)
        return pq_fail(e, PQ_EFORMAT,
                       "%s: tensor %s needs %" PRIu64 " bytes at byte %" PRIu64
                       ", the file ends after %" PRIu64 " (cut short?)",
                       m->path, t->name, s.bytes, t->at, m->size - t->at);
    if (t->at != *next) /* the rule of ggml: padded, in order, without holes */
        return pq_fail(e, PQ_EFORMAT,
                       "%s: tensor %s begins at byte %" PRIu64 ", expected %" PRIu64
                       " after the tensor before it",
                       m->path, t->name, t->at, *next);
    *next = t->at + s.bytes;
    return pq_ckpt_add(c, &s, e);
}

static int add_file(struct pq_ckpt *c, const char *path, struct pq_gguf **out, struct pq_err *e)
{
    int rc = PQ_OK;
    struct pq_map m;
    struct pq_gguf *g;
    PQ_TRY(pq_ckpt_map(c, path, &m, e));
    PQ_TRY(pq_gguf_parse(&g, &c->arena, m.data, m.size, m.path, e));
    uint64_t next = g->data_at;
    for (size_t i = 0; i < g->n_tensors; i++) {
        PQ_TRY(add_tensor(c, &g->tensor[i], &m, &next, e));
        next = pq_round_up(next, g->alignment);
    }
    *out = g;
out:
    return rc;
}

/* Reads "-00002-of-00003.gguf" at the end of a name; false when it has no such end. */
static bool parse_tail(const char *path, unsigned *no, unsigned *count)
{
    size_t n = strlen(path);
    char again[TAIL + 16];
    if (n < TAIL || sscanf(path + n - TAIL, "-%5u-of-%5u.gguf", no, count) != 2)
        return false;
    snprintf(again, sizeof again, "-%05u-of-%05u.gguf", *no, *count);
    return !strcmp(again, path + n - TAIL);
}

static int add_shard(struct pq_ckpt *c, const char *first, unsigned i, unsigned count,
                     struct pq_err *e)
{
    struct pq_gguf *g;
    uint64_t no = 0, n = 0;
    const char *path = pq_arena_printf(&c->arena, "%.*s-%05u-of-%05u.gguf",
                                       (int)(strlen(first) - TAIL), first, i + 1, count);
    if (!path)
        return pq_fail(e, PQ_ENOMEM, "%s: out of memory", first);
    if (pq_path_kind(path) == PQ_PATH_NONE)
        return pq_fail(e, PQ_EIO, "%s: missing, although %s is the first of %u", path,
                       pq_path_base(first), count);
    int rc = add_file(c, path, &g, e);
    if (rc < 0)
        return rc;
    if (!pq_gguf_get_u64(g, "split.no", &no) || !pq_gguf_get_u64(g, "split.count", &n) || no != i ||
        n != count)
        return pq_fail(e, PQ_EFORMAT,
                       "%s: says it is part %" PRIu64 " of %" PRIu64 ", expected %u of %u", path,
                       no + 1, n, i + 1, count);
    return PQ_OK;
}

static int add_other_shards(struct pq_ckpt *c, const char *first, uint64_t count, struct pq_err *e)
{
    unsigned no = 0, of = 0;
    uint64_t split_no = 0, all = 0;
    pq_gguf_get_u64(c->gguf, "split.no", &split_no);
    if (split_no)
        return pq_fail(e, PQ_EINVAL, "%s: is part %" PRIu64 " of %" PRIu64 "; open the first part",
                       first, split_no + 1, count);
    if (count > MAX_SHARDS || !parse_tail(first, &no, &of) || no != 1 || of != count)
        return pq_fail(e, PQ_EFORMAT,
                       "%s: is the first of %" PRIu64
                       " parts, so its name should end in -00001-of-%05" PRIu64 ".gguf",
                       first, count, count);
    for (unsigned i = 1; i < of; i++) {
        int rc = add_shard(c, first, i, of, e);
        if (rc < 0)
            return rc;
    }
    if (pq_gguf_get_u64(c->gguf, "split.tensors.count", &all) && all != c->n_tensors)
        return pq_fail(e, PQ_EFORMAT, "%s: says %" PRIu64 " tensors in all parts, they hold %zu",
                       first, all, c->n_tensors);
    return PQ_OK;
}

static int open_file(struct pq_ckpt *c, const char *path, struct pq_err *e)
{
    uint64_t count = 0;
    int rc = add_file(c, path, &c->gguf, e);
    if (rc < 0)
        return rc;
    pq_gguf_get_u64(c->gguf, "split.count", &count);
    return count > 1 ? add_other_shards(c, path, count, e) : PQ_OK;
}

/* The GGUF files of a folder, of which there should be one (a split set counts as one). */
struct found {
    struct pq_arena a;
    const char *first;
    int n;
};

/* A GGUF file that is not a later part of a split set. */
static bool is_model(const char *name)
{
    unsigned no, of;
    return pq_ckpt_ends_with(name, ".gguf") && (!parse_tail(name, &no, &of) || no == 1);
}

static int find_model(void *ctx, const char *name, struct pq_err *e)
{
    struct found *f = (struct found *)ctx;
    if (is_model(name) && f->n++ == 0 && !(f->first = pq_arena_strdup(&f->a, name)))
        return pq_fail(e, PQ_ENOMEM, "%s: out of memory", name);
    return PQ_OK;
}

static int open_gguf(struct pq_ckpt *c, bool folder, struct pq_err *e)
{
    int rc = PQ_OK;
    struct found f = {0};
    const char *path;
    if (!folder)
        return open_file(c, c->path, e);
    PQ_TRY(pq_dir_each(c->path, find_model, &f, e));
    if (f.n != 1)
        PQ_TRY(pq_fail(e, PQ_EINVAL, "%s: holds %d GGUF models (%s, ...); name one of them",
                       c->path, f.n, f.first));
    path = pq_path_join(&c->arena, c->path, f.first);
    rc = path ? open_file(c, path, e) : pq_fail(e, PQ_ENOMEM, "%s: out of memory", c->path);
out:
    pq_arena_free(&f.a);
    return rc;
}

static int any_model(void *ctx, const char *name, struct pq_err *e)
{
    (void)e;
    *(bool *)ctx |= is_model(name);
    return PQ_OK;
}

static bool probe(const struct pq_ckpt_source *s)
{
    bool any = false;
    if (!s->folder)
        return !memcmp(s->head, "GGUF", 4) || pq_ckpt_ends_with(s->path, ".gguf");
    return pq_dir_each(s->path, any_model, &any, NULL) >= 0 && any;
}

const struct pq_ckpt_kind pq_ckpt_kind_gguf = {.name = "gguf", .probe = probe, .open = open_gguf};
