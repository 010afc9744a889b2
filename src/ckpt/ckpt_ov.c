/* OpenVINO: the constants of openvino_model.xml, whose data lies in the .bin file beside it. What
 * they are to the network is in the graph, which the container reads. SPDX-License-Identifier: MIT
 */
#include "ckpt/kinds.h"

#include "base/num.h"

static const char MODEL[] = "openvino_model.xml";

/* Types without a scheme (4 bits, for one) are left to the graph. */
static int add_tensor(struct pq_ckpt *c, const char *name, const char *file,
                      const struct pq_ir_const *k, struct pq_err *e)
{
    const enum pq_dtype t = pq_ir_dtype_of(k->v.type);
    struct pq_stored s = {.name = name,
                          .file = file,
                          .n_dims = k->v.n_dims,
                          .scheme = t < PQ_DTYPES ? pq_scheme_of_dtype(t) : NULL,
                          .data = k->data,
                          .bytes = k->bytes};
    if (!s.scheme)
        return PQ_OK;
    for (int i = 0; i < s.n_dims; i++)
        s.dim[i] = (uint64_t)k->v.dim[i];
    return pq_ckpt_add(c, &s, e);
}

static int add_constants(struct pq_ckpt *c, const struct pq_ir_text *text, const struct pq_map *bin,
                         struct pq_err *e)
{
    struct pq_ckpt_ir *ir = c->ir;
    int rc = PQ_OK;
    for (size_t i = 0; i < ir->graph.n_layers; i++) {
        const struct pq_ir_layer *l = &ir->graph.layer[i];
        struct pq_ir_const *k = &ir->constant[i];
        if (strcmp(l->type, "Const"))
            continue;
        PQ_TRY(pq_ir_const(k, l, text, bin->size, e));
        k->data = bin->data + k->offset;
        PQ_TRY(add_tensor(c, l->name, ir->file, k, e));
    }
out:
    return rc;
}

/* "model.xml" -> "model.bin" */
static char *data_path(struct pq_ckpt *c, const char *xml)
{
    return pq_arena_printf(&c->arena, "%.*s.bin", (int)(strlen(xml) - strlen(".xml")), xml);
}

static int open_ov(struct pq_ckpt *c, bool folder, struct pq_err *e)
{
    int rc = PQ_OK;
    struct pq_map xml, bin;
    const char *path = folder ? pq_path_join(&c->arena, c->path, MODEL) : c->path;
    const char *data = path ? data_path(c, path) : NULL;
    struct pq_ckpt_ir *ir = (struct pq_ckpt_ir *)pq_arena_alloc(&c->arena, 1, sizeof *ir);
    if (!data || !ir)
        return pq_fail(e, PQ_ENOMEM, "%s: out of memory", c->path);
    PQ_TRY(pq_ckpt_map(c, path, &xml, e));
    const struct pq_ir_text text = {xml.data, xml.size, xml.path};
    PQ_TRY(pq_ir_parse(&ir->graph, &c->arena, &text, e));
    ir->constant =
        (struct pq_ir_const *)pq_arena_alloc(&c->arena, ir->graph.n_layers, sizeof *ir->constant);
    if (!ir->constant)
        PQ_TRY(pq_fail(e, PQ_ENOMEM, "%s: out of memory", c->path));
    PQ_TRY(pq_ckpt_map(c, data, &bin, e));
    ir->file = pq_path_base(bin.path);
    ir->path = xml.path;
    c->ir = ir;
    PQ_TRY(add_constants(c, &text, &bin, e));
out:
    return rc;
}

static bool probe(const struct pq_ckpt_source *s)
{
    return s->folder ? pq_ckpt_folder_has(s->path, MODEL) : pq_ckpt_ends_with(s->path, ".xml");
}

const struct pq_ckpt_kind pq_ckpt_kind_ov = {
    .name = "openvino", .probe = probe, .open = open_ov, .names_repeat = true};
