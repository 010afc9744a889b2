/* Choosing the kind of a checkpoint, and what all kinds share. SPDX-License-Identifier: MIT */
#include "ckpt/kinds.h"

#include "base/num.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* In order of preference where a folder could be several. */
static const struct pq_ckpt_kind *const kinds[] = {
    &pq_ckpt_kind_safetensors, &pq_ckpt_kind_torch, &pq_ckpt_kind_gguf,
    &pq_ckpt_kind_onnx,        &pq_ckpt_kind_ov,
};

static struct pq_ckpt_files *files_of(const struct pq_ckpt *c)
{
    return (struct pq_ckpt_files *)c->priv;
}

/* Room for one more item in a heap array of `n` items. */
static bool grow(void **items, size_t n, size_t *cap, size_t size)
{
    if (n < *cap)
        return true;
    size_t more = *cap ? 2 * *cap : 16;
    void *p = pq_realloc(*items, more, size);
    if (!p)
        return false;
    *items = p;
    *cap = more;
    return true;
}

int pq_ckpt_map(struct pq_ckpt *c, const char *path, struct pq_map *m, struct pq_err *e)
{
    struct pq_ckpt_files *f = files_of(c);
    void *maps = f->map;
    const char *own = pq_arena_strdup(&c->arena, path);
    if (!own || !grow(&maps, f->n_maps, &f->map_cap, sizeof *f->map))
        return pq_fail(e, PQ_ENOMEM, "%s: out of memory", path);
    f->map = (struct pq_map *)maps;
    int rc = pq_map_open(m, own, e);
    if (rc < 0)
        return rc;
    f->map[f->n_maps++] = *m;
    c->file_bytes += m->size;
    return PQ_OK;
}

int pq_ckpt_need(const struct pq_stored *t, const char *path, uint64_t *bytes, struct pq_err *e)
{
    /* Far above any model and far enough below 2^64 that no scheme's bytes overflow. */
    const uint64_t most = (uint64_t)1 << 56;
    uint64_t rows = 1, cols = t->n_dims ? t->dim[t->n_dims - 1] : 1, all = cols;
    for (int i = 0; i + 1 < t->n_dims; i++)
        if (!pq_mul_u64(rows, t->dim[i], &rows) || !pq_mul_u64(all, t->dim[i], &all))
            all = rows = UINT64_MAX;
    if (all > most || rows > most || cols > most)
        return pq_fail(e, PQ_EFORMAT, "%s: tensor %s: its shape is absurdly large", path, t->name);
    if (cols % t->scheme->block)
        return pq_fail(e, PQ_EFORMAT,
                       "%s: tensor %s: rows of %" PRIu64 " are no multiple of the %" PRIu32
                       " that %s packs together",
                       path, t->name, cols, t->scheme->block, t->scheme->name);
    *bytes = rows * pq_scheme_row_bytes(t->scheme, cols);
    return PQ_OK;
}

int pq_ckpt_add(struct pq_ckpt *c, const struct pq_stored *t, struct pq_err *e)
{
    void *items = c->tensor;
    if (!grow(&items, c->n_tensors, &files_of(c)->tensor_cap, sizeof *t))
        return pq_fail(e, PQ_ENOMEM, "%s: out of memory", c->path);
    c->tensor = (struct pq_stored *)items;
    c->tensor[c->n_tensors++] = *t;
    return PQ_OK;
}

bool pq_ckpt_ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), k = strlen(end);
    return n >= k && !strcmp(s + n - k, end);
}

/* Allocates nothing: a probe has no way to say that memory is out. */
bool pq_ckpt_folder_has(const char *folder, const char *name)
{
    char path[4096];
    int n = snprintf(path, sizeof path, "%s/%s", folder, name);
    return n > 0 && (size_t)n < sizeof path && pq_path_kind(path) == PQ_PATH_FILE;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct pq_stored *)a)->name, ((const struct pq_stored *)b)->name);
}

static int sort(struct pq_ckpt *c, bool names_repeat, struct pq_err *e)
{
    size_t kept = 0;
    if (!c->n_tensors)
        return pq_fail(e, PQ_EFORMAT, "%s: holds no tensors", c->path);
    qsort(c->tensor, c->n_tensors, sizeof *c->tensor, by_name);
    for (size_t i = 0; i < c->n_tensors; i++) {
        const struct pq_stored *a = kept ? &c->tensor[kept - 1] : NULL, *b = &c->tensor[i];
        if (!a || strcmp(a->name, b->name))
            c->tensor[kept++] = *b;
        else if (!names_repeat)
            return pq_fail(e, PQ_EFORMAT, "%s: tensor %s is there twice: in %s and in %s", c->path,
                           a->name, a->file, b->file);
    }
    c->n_tensors = kept;
    return PQ_OK;
}

static int read_head(struct pq_ckpt_source *s, struct pq_err *e)
{
    struct pq_map m;
    int rc = pq_map_open(&m, s->path, e);
    if (rc < 0)
        return rc;
    memcpy(s->head, m.data, m.size < sizeof s->head ? (size_t)m.size : sizeof s->head);
    pq_map_close(&m);
    return PQ_OK;
}

static int choose(const struct pq_ckpt_kind **kind, struct pq_ckpt_source *s, struct pq_err *e)
{
    enum pq_path_kind k = pq_path_kind(s->path);
    if (k == PQ_PATH_NONE)
        return pq_fail(e, PQ_EIO, "%s: no such file or folder", s->path);
    s->folder = k == PQ_PATH_DIR;
    int rc = s->folder ? PQ_OK : read_head(s, e);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < PQ_LEN(kinds); i++)
        if (kinds[i]->probe(s)) {
            *kind = kinds[i];
            return PQ_OK;
        }
    return pq_fail(
        e, PQ_EFORMAT,
        s->folder
            ? "%s: holds no model.safetensors, pytorch_model.bin or .gguf file, nor model.onnx or "
              "openvino_model.xml"
            : "%s: is neither a safetensors, a PyTorch nor a GGUF file, nor an ONNX or OpenVINO "
              "model",
        s->path);
}

static int open_as(struct pq_ckpt *c, const struct pq_ckpt_kind *kind, bool folder,
                   struct pq_err *e)
{
    int rc = PQ_OK;
    const struct pq_ckpt_files *f = files_of(c);
    PQ_TRY(kind->open(c, folder, e));
    PQ_TRY(sort(c, kind->names_repeat, e));
    if (f->index)
        PQ_TRY(pq_ckpt_check_index(c, f->index_path, json_object_get(f->index, "weight_map"), e));
out:
    return rc;
}

int pq_ckpt_open(struct pq_ckpt **out, const char *path, struct pq_err *e)
{
    struct pq_ckpt_source s = {.path = path};
    const struct pq_ckpt_kind *kind = NULL;
    *out = NULL;
    int rc = choose(&kind, &s, e);
    if (rc < 0)
        return rc;
    struct pq_ckpt *c = (struct pq_ckpt *)pq_calloc(1, sizeof *c);
    if (!c)
        return pq_fail(e, PQ_ENOMEM, "%s: out of memory", path);
    c->kind = kind->name;
    c->path = pq_arena_strdup(&c->arena, path);
    c->priv = pq_calloc(1, sizeof(struct pq_ckpt_files));
    rc = c->path && c->priv ? open_as(c, kind, s.folder, e)
                            : pq_fail(e, PQ_ENOMEM, "%s: out of memory", path);
    if (rc < 0)
        pq_ckpt_close(c);
    else
        *out = c;
    return rc;
}

void pq_ckpt_close(struct pq_ckpt *c)
{
    if (!c)
        return;
    struct pq_ckpt_files *f = files_of(c);
    for (size_t i = 0; f && i < f->n_maps; i++)
        pq_map_close(&f->map[i]);
    if (f) {
        pq_free(f->map);
        json_decref(f->index);
    }
    pq_free(f);
    pq_free(c->tensor);
    pq_arena_free(&c->arena);
    pq_free(c);
}

const struct pq_stored *pq_ckpt_find(const struct pq_ckpt *c, const char *name)
{
    struct pq_stored key = {.name = name};
    return (const struct pq_stored *)bsearch(&key, c->tensor, c->n_tensors, sizeof key, by_name);
}

bool pq_ckpt_locate(const struct pq_ckpt *c, const void *p, const char **path, uint64_t *at)
{
    const struct pq_ckpt_files *f = files_of(c);
    const uintptr_t here = (uintptr_t)p;
    for (size_t i = 0; i < f->n_maps; i++) {
        const uintptr_t first = (uintptr_t)f->map[i].data;
        if (here >= first && here - first < f->map[i].size) {
            *path = f->map[i].path;
            *at = here - first;
            return true;
        }
    }
    return false;
}
