/* Sharded checkpoints: the index file of Hugging Face, {"weight_map": {tensor: file}}, which
 * safetensors and PyTorch share. SPDX-License-Identifier: MIT */
#include "ckpt/kinds.h"

#include "wire/json.h"

#include <stdlib.h>
#include <string.h>

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* A shard is a file of the folder itself: no way out of it through "../" or a full path. */
static int check_shard_name(const char *path, const char *tensor, const json_t *file,
                            struct pq_err *e)
{
    const char *s = json_string_value(file);
    if (!s || !*s)
        return pq_fail(e, PQ_EFORMAT, "%s: weight_map: %s does not name a file", path, tensor);
    if (strpbrk(s, "/\\") || !strcmp(s, "..") || !strcmp(s, "."))
        return pq_fail(e, PQ_EFORMAT, "%s: weight_map: %s is in \"%s\", expected a plain file name",
                       path, tensor, s);
    return PQ_OK;
}

/* The different shard names, sorted: the array is [number of tensors], from the heap. */
static int list_shards(json_t *map, const char *path, const char ***out, size_t *n,
                       struct pq_err *e)
{
    const char *tensor;
    json_t *file;
    size_t k = 0;
    const char **name = *out = (const char **)pq_calloc(json_object_size(map), sizeof *name);
    if (!name)
        return pq_fail(e, PQ_ENOMEM, "%s: out of memory", path);
    json_object_foreach(map, tensor, file)
    {
        int rc = check_shard_name(path, tensor, file, e);
        if (rc < 0)
            return rc;
        name[k++] = json_string_value(file);
    }
    qsort(name, k, sizeof *name, by_name);
    *n = 0;
    for (size_t i = 0; i < k; i++)
        if (!i || strcmp(name[*n - 1], name[i]))
            name[(*n)++] = name[i];
    return PQ_OK;
}

static int open_shard(struct pq_ckpt *c, const char *index, const char *shard,
                      int (*add_file)(struct pq_ckpt *c, const char *path, struct pq_err *e),
                      struct pq_err *e)
{
    const char *path = pq_path_join(&c->arena, c->path, shard);
    if (!path)
        return pq_fail(e, PQ_ENOMEM, "%s: out of memory", c->path);
    if (pq_path_kind(path) == PQ_PATH_NONE)
        return pq_fail(e, PQ_EIO, "%s: missing, although %s names it", path, pq_path_base(index));
    return add_file(c, path, e);
}

int pq_ckpt_open_index(struct pq_ckpt *c, const char *name,
                       int (*add_file)(struct pq_ckpt *c, const char *path, struct pq_err *e),
                       struct pq_err *e)
{
    int rc = PQ_OK;
    struct pq_ckpt_files *f = (struct pq_ckpt_files *)c->priv;
    const char **shard = NULL;
    size_t n = 0;
    f->index_path = pq_path_join(&c->arena, c->path, name);
    if (!f->index_path)
        return pq_fail(e, PQ_ENOMEM, "%s: out of memory", c->path);
    PQ_TRY(pq_json_load(&f->index, f->index_path, e));
    json_t *map = json_object_get(f->index, "weight_map");
    if (!json_object_size(map))
        PQ_TRY(pq_fail(e, PQ_EFORMAT, "%s: no weight_map", f->index_path));
    PQ_TRY(list_shards(map, f->index_path, &shard, &n, e));
    for (size_t i = 0; i < n; i++)
        PQ_TRY(open_shard(c, f->index_path, shard[i], add_file, e));
out:
    pq_free(shard);
    return rc;
}

int pq_ckpt_check_index(const struct pq_ckpt *c, const char *path, const json_t *map,
                        struct pq_err *e)
{
    for (size_t i = 0; i < c->n_tensors; i++) {
        const struct pq_stored *t = &c->tensor[i];
        const char *file = json_string_value(json_object_get(map, t->name));
        if (!file)
            return pq_fail(e, PQ_EFORMAT, "%s: tensor %s is in %s, the index does not list it",
                           path, t->name, t->file);
        if (strcmp(file, t->file))
            return pq_fail(e, PQ_EFORMAT, "%s: tensor %s is in %s, the index says %s", path,
                           t->name, t->file, file);
    }
    json_t *m = (json_t *)(uintptr_t)map; /* Jansson's iterator takes no const */
    for (void *it = json_object_iter(m); it; it = json_object_iter_next(m, it))
        if (!pq_ckpt_find(c, json_object_iter_key(it)))
            return pq_fail(e, PQ_EFORMAT, "%s: tensor %s is not in %s, where the index says it is",
                           path, json_object_iter_key(it),
                           json_string_value(json_object_iter_value(it)));
    return PQ_OK;
}
