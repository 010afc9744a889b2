/* PyTorch .bin files: a zip archive with one pickle of names and shapes (ROOT/data.pkl) and one
 * entry of bytes per storage (ROOT/data/KEY). Layout: torch/serialization.py, the zip format of
 * torch 1.6 and later. SPDX-License-Identifier: MIT */
#include "ckpt/kinds.h"

#include "wire/pickle.h"
#include "wire/zip.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char INDEX[] = "pytorch_model.bin.index.json";
static const char SINGLE[] = "pytorch_model.bin";
static const char PICKLE[] = "/data.pkl";

/* The first bytes of torch.save before 1.6: protocol 2, then LONG1 of a magic number. */
static const uint8_t legacy[] = {0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8};

/* One file while it is read. */
struct archive {
    struct pq_ckpt *c;
    struct pq_map m;
    struct pq_zip zip;
    const char *root; /* name of the archive's folder */
    struct pq_err *e;
};

/* The entry ROOT folder key, e.g. archive + "/data/" + "0". */
static const struct pq_zip_entry *find(const struct archive *z, const char *folder, const char *key)
{
    char name[1024];
    int n = snprintf(name, sizeof name, "%s%s%s", z->root, folder, key);
    return n > 0 && (size_t)n < sizeof name ? pq_zip_find(&z->zip, name) : NULL;
}

/* The archive's one entry ROOT/data.pkl says what ROOT is. */
static int find_root(struct archive *z)
{
    const char *found = NULL;
    for (size_t i = 0; i < z->zip.n; i++) {
        const char *name = z->zip.entry[i].name, *slash = strchr(name, '/');
        if (!slash || strcmp(slash, PICKLE))
            continue;
        if (found)
            return pq_fail(z->e, PQ_EFORMAT, "%s: holds two pickles, %s and %s", z->m.path, found,
                           name);
        found = name;
    }
    if (!found)
        return pq_fail(z->e, PQ_EFORMAT, "%s: a zip archive without data.pkl: not from torch.save",
                       z->m.path);
    z->root = pq_arena_strndup(&z->c->arena, found, strlen(found) - strlen(PICKLE));
    return z->root ? PQ_OK : pq_fail(z->e, PQ_ENOMEM, "%s: out of memory", z->m.path);
}

/* torch 2.1 and later say in which byte order the storages are. */
static int check_byte_order(const struct archive *z)
{
    const struct pq_zip_entry *t = find(z, "/", "byteorder");
    if (t && (t->size != 6 || memcmp(z->m.data + t->at, "little", 6)))
        return pq_fail(z->e, PQ_EUNSUPPORTED, "%s: its byteorder is \"%.*s\", expected \"little\"",
                       z->m.path, t->size < 16 ? (int)t->size : 16,
                       (const char *)z->m.data + t->at);
    return PQ_OK;
}

static int add_tensor(const struct archive *z, const struct pq_pickle_tensor *t)
{
    struct pq_stored s = {
        .name = t->name,
        .file = pq_path_base(z->m.path),
        .n_dims = t->n_dims,
        .scheme = pq_scheme_of_dtype(t->dtype),
        .bytes = t->size,
    };
    memcpy(s.dim, t->dim, sizeof s.dim);
    const struct pq_zip_entry *data = find(z, "/data/", t->storage);
    if (!data)
        return pq_fail(z->e, PQ_EFORMAT, "%s: tensor %s: no entry data/%s in the archive",
                       z->m.path, t->name, t->storage);
    if (data->size != t->storage_size)
        return pq_fail(z->e, PQ_EFORMAT,
                       "%s: tensor %s: entry data/%s has %" PRIu64
                       " bytes, the pickle says %" PRIu64,
                       z->m.path, t->name, t->storage, data->size, t->storage_size);
    if (!s.scheme)
        return pq_fail(z->e, PQ_EUNSUPPORTED, "%s: tensor %s: dtype %s is not read", z->m.path,
                       t->name, pq_dtype_name(t->dtype));
    s.data = z->m.data + data->at + t->at;
    return pq_ckpt_add(z->c, &s, z->e);
}

static int add_file(struct pq_ckpt *c, const char *path, struct pq_err *e)
{
    int rc = PQ_OK;
    struct archive z = {.c = c, .e = e};
    struct pq_pickle p;
    PQ_TRY(pq_ckpt_map(c, path, &z.m, e));
    if (z.m.size >= sizeof legacy && !memcmp(z.m.data, legacy, sizeof legacy))
        PQ_TRY(pq_fail(e, PQ_EUNSUPPORTED,
                       "%s: written in the way of torch before 1.6; load it with torch and save it "
                       "again",
                       path));
    PQ_TRY(pq_zip_parse(&z.zip, &c->arena, z.m.data, z.m.size, z.m.path, e));
    PQ_TRY(find_root(&z));
    PQ_TRY(check_byte_order(&z));
    const struct pq_zip_entry *pickle = find(&z, PICKLE, "");
    PQ_TRY(pickle ? pq_pickle_state(&p, &c->arena, z.m.data + pickle->at, pickle->size, z.m.path, e)
                  : pq_fail(e, PQ_EFORMAT, "%s: its folder has a name of absurd length", path));
    for (size_t i = 0; i < p.n; i++)
        PQ_TRY(add_tensor(&z, &p.tensor[i]));
out:
    return rc;
}

static int open_torch(struct pq_ckpt *c, bool folder, struct pq_err *e)
{
    if (!folder)
        return add_file(c, c->path, e);
    if (pq_ckpt_folder_has(c->path, INDEX))
        return pq_ckpt_open_index(c, INDEX, add_file, e);
    const char *path = pq_path_join(&c->arena, c->path, SINGLE);
    return path ? add_file(c, path, e) : pq_fail(e, PQ_ENOMEM, "%s: out of memory", c->path);
}

static bool probe(const struct pq_ckpt_source *s)
{
    if (!s->folder)
        return !memcmp(s->head, "PK\3\4", 4) || !memcmp(s->head, legacy, sizeof legacy);
    return pq_ckpt_folder_has(s->path, INDEX) || pq_ckpt_folder_has(s->path, SINGLE);
}

const struct pq_ckpt_kind pq_ckpt_kind_torch = {
    .name = "torch", .probe = probe, .open = open_torch};
