/* ONNX: the initializers of model.onnx, most of them in a data file beside it. What they are to the
 * network is in the graph, which the container reads. SPDX-License-Identifier: MIT */
#include "ckpt/kinds.h"

#include "base/num.h"

#include <inttypes.h>

static const char MODEL[] = "model.onnx";

/* The data file beside `model`, mapped once. */
static int map_data(struct pq_ckpt *c, const char *model, const char *location, struct pq_map *m,
                    struct pq_err *e)
{
    const struct pq_ckpt_files *f = (const struct pq_ckpt_files *)c->priv;
    size_t dir = (size_t)(pq_path_base(model) - model);
    const char *path = pq_arena_printf(&c->arena, "%.*s%s", (int)dir, model, location);
    if (!path)
        return pq_fail(e, PQ_ENOMEM, "%s: out of memory", model);
    for (size_t i = 0; i < f->n_maps; i++)
        if (!strcmp(f->map[i].path, path)) {
            *m = f->map[i];
            return PQ_OK;
        }
    return pq_ckpt_map(c, path, m, e);
}

static int find_data(struct pq_ckpt *c, const char *model, const struct pq_onnx_tensor *t,
                     struct pq_stored *s, struct pq_err *e)
{
    struct pq_map m;
    int rc = map_data(c, model, t->location, &m, e);
    if (rc < 0)
        return rc;
    if (t->offset > m.size || t->bytes > m.size - t->offset)
        return pq_fail(e, PQ_EFORMAT,
                       "%s: tensor %s: %" PRIu64 " bytes at offset %" PRIu64 " of %s, which has "
                       "only %" PRIu64,
                       model, t->name, t->bytes, t->offset, t->location, m.size);
    s->file = pq_path_base(m.path);
    s->data = m.data + t->offset;
    return PQ_OK;
}

/* Types without a scheme cannot be weights: they are left to the graph. */
static int add_tensor(struct pq_ckpt *c, const char *model, const struct pq_onnx_tensor *t,
                      struct pq_err *e)
{
    struct pq_stored s = {.name = t->name,
                          .file = pq_path_base(model),
                          .n_dims = t->n_dims,
                          .scheme = pq_scheme_of_dtype(t->dtype),
                          .data = t->data,
                          .bytes = t->bytes};
    if (!s.scheme)
        return PQ_OK;
    memcpy(s.dim, t->dim, sizeof s.dim);
    int rc = t->location ? find_data(c, model, t, &s, e) : PQ_OK;
    return rc < 0 ? rc : pq_ckpt_add(c, &s, e);
}

static int open_onnx(struct pq_ckpt *c, bool folder, struct pq_err *e)
{
    int rc = PQ_OK;
    struct pq_map m;
    const char *path = folder ? pq_path_join(&c->arena, c->path, MODEL) : c->path;
    c->onnx = (struct pq_onnx *)pq_arena_alloc(&c->arena, 1, sizeof *c->onnx);
    if (!path || !c->onnx)
        return pq_fail(e, PQ_ENOMEM, "%s: out of memory", c->path);
    PQ_TRY(pq_ckpt_map(c, path, &m, e));
    PQ_TRY(pq_onnx_parse(c->onnx, &c->arena, m.data, m.size, m.path, e));
    for (size_t i = 0; i < c->onnx->graph.n_tensors; i++)
        PQ_TRY(add_tensor(c, m.path, &c->onnx->graph.tensor[i], e));
out:
    return rc;
}

static bool probe(const struct pq_ckpt_source *s)
{
    return s->folder ? pq_ckpt_folder_has(s->path, MODEL) : pq_ckpt_ends_with(s->path, ".onnx");
}

const struct pq_ckpt_kind pq_ckpt_kind_onnx = {.name = "onnx", .probe = probe, .open = open_onnx};
