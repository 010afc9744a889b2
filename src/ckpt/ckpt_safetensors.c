/* Safetensors: one file, or a folder as transformers and mlx-lm write it.
 * SPDX-License-Identifier: MIT */
#include "ckpt/kinds.h"

#include "base/num.h"
#include "wire/safetensors.h"

#include <inttypes.h>

static const char INDEX[] = "model.safetensors.index.json";
static const char SINGLE[] = "model.safetensors";

static int add_tensor(struct pq_ckpt *c, const struct pq_st_tensor *t, const struct pq_map *m,
                      struct pq_err *e)
{
    uint64_t need;
    struct pq_stored s = {
        .name = t->name,
        .file = pq_path_base(m->path),
        .n_dims = t->n_dims,
        .scheme = pq_scheme_of_dtype(t->dtype),
        .data = m->data + t->begin,
        .bytes = t->end - t->begin,
    };
    memcpy(s.dim, t->dim, sizeof s.dim);
    if (!s.scheme)
        return pq_fail(e, PQ_EUNSUPPORTED, "%s: tensor %s: dtype %s is not read", m->path, t->name,
                       pq_dtype_name(t->dtype));
    int rc = pq_ckpt_need(&s, m->path, &need, e);
    if (rc < 0)
        return rc;
    if (need != s.bytes) /* the reader has checked, this is the promise of ckpt.h */
        return pq_fail(e, PQ_EFORMAT, "%s: tensor %s has %" PRIu64 " bytes, expected %" PRIu64,
                       m->path, t->name, s.bytes, need);
    return pq_ckpt_add(c, &s, e);
}

static int add_file(struct pq_ckpt *c, const char *path, struct pq_err *e)
{
    int rc = PQ_OK;
    struct pq_map m;
    struct pq_st st;
    PQ_TRY(pq_ckpt_map(c, path, &m, e));
    PQ_TRY(pq_st_parse(&st, &c->arena, m.data, m.size, m.path, e));
    for (size_t i = 0; i < st.n_tensors; i++)
        PQ_TRY(add_tensor(c, &st.tensor[i], &m, e));
out:
    return rc;
}

/* The name pattern that mlx-lm loads when there is no index. */
static bool is_model_file(const char *name)
{
    return !strncmp(name, "model", 5) && pq_ckpt_ends_with(name, ".safetensors");
}

static int add_if_model(void *ctx, const char *name, struct pq_err *e)
{
    struct pq_ckpt *c = (struct pq_ckpt *)ctx;
    if (!is_model_file(name))
        return PQ_OK;
    const char *path = pq_path_join(&c->arena, c->path, name);
    return path ? add_file(c, path, e) : pq_fail(e, PQ_ENOMEM, "%s: out of memory", c->path);
}

static int open_safetensors(struct pq_ckpt *c, bool folder, struct pq_err *e)
{
    if (!folder)
        return add_file(c, c->path, e);
    if (pq_ckpt_folder_has(c->path, INDEX))
        return pq_ckpt_open_index(c, INDEX, add_file, e);
    if (pq_ckpt_folder_has(c->path, SINGLE))
        return add_if_model(c, SINGLE, e);
    return pq_dir_each(c->path, add_if_model, c, e);
}

static int find_model(void *ctx, const char *name, struct pq_err *e)
{
    (void)e;
    *(bool *)ctx |= is_model_file(name);
    return PQ_OK;
}

static bool probe(const struct pq_ckpt_source *s)
{
    if (!s->folder) /* a header is a JSON object of less than 100 MB */
        return pq_ckpt_ends_with(s->path, ".safetensors") ||
               (s->head[8] == '{' && pq_le64(s->head) < 100000000);
    bool found = pq_ckpt_folder_has(s->path, INDEX);
    return found || (pq_dir_each(s->path, find_model, &found, NULL) >= 0 && found);
}

const struct pq_ckpt_kind pq_ckpt_kind_safetensors = {
    .name = "safetensors", .probe = probe, .open = open_safetensors};
