/*
 * config.json of an OpenVINO folder, held against the graph: what cos and sin are multiplied by.
 * Exports made through optimum-intel's Python classes say a context that is LongRoPE's original
 * one; the graph still has the factor of the real one. SPDX-License-Identifier: MIT
 */
#include "container/ov_reader.h"

#include "arch/config.h"

#include <math.h>

/* Constants may be stored in half precision. */
#define CLOSE 1e-3

static bool single_float(const struct pq_ir_const *c, double *v)
{
    float x;
    const enum pq_dtype t = c ? pq_ir_dtype_of(c->v.type) : PQ_DTYPES;
    for (int i = 0; c && i < c->v.n_dims; i++)
        if (c->v.dim[i] != 1)
            return false;
    if (t != PQ_F32 && t != PQ_F16 && t != PQ_BF16)
        return false;
    const struct pq_view view = {
        .scheme = pq_scheme_of_dtype(t), .part = {c->data}, .rows = 1, .cols = 1};
    pq_view_row(&view, NULL, 0, &x);
    *v = x;
    return true;
}

/* 1 where nothing multiplies the cosine. */
static double factor_of_graph(const struct pq_ov_reader *r)
{
    const struct pq_ir *g = &r->ir->graph;
    double v;
    for (size_t i = 0; i < g->n_layers; i++) {
        const struct pq_ir_layer *l = &g->layer[i];
        for (size_t k = 0; k < 2 && l->n_in == 2 && !strcmp(l->type, "Multiply"); k++)
            if (!strcmp(pq_ov_layer(r, l->in[k])->type, "Cos") &&
                single_float(pq_ov_constant(r, l->in[1 - k]), &v))
                return v;
    }
    return 1;
}

/* The context from which LongRoPE's formula gives this factor; ratios to the original are whole. */
static bool mend_context(struct pq_hparams *hp, double factor)
{
    const double original = hp->original_max_position;
    const double ratio = rint(pow(original, factor * factor - 1));
    struct pq_hparams mended = *hp;
    if (!(ratio >= 1 && ratio * original <= 1 << 30))
        return false;
    mended.max_position = (uint32_t)(ratio * original);
    mended.attn_factor = pq_longrope_factor(&mended);
    if (fabs(mended.attn_factor - factor) > CLOSE * factor)
        return false;
    *hp = mended;
    return true;
}

int pq_ov_check_rope(const struct pq_ov_reader *r)
{
    struct pq_hparams *hp = &r->m->net.hp;
    const double factor = hp->rope == PQ_ROPE_LONGROPE ? factor_of_graph(r) : hp->attn_factor;
    if (fabs(hp->attn_factor - factor) <= CLOSE * hp->attn_factor)
        return PQ_OK;
    if (hp->max_position != hp->original_max_position || !mend_context(hp, factor))
        return pq_fail(r->e, PQ_EFORMAT,
                       "%s: the graph multiplies cos and sin by %g, config.json gives %g",
                       r->ir->path, factor, hp->attn_factor);
    if (json_object_set_new(r->m->config, "max_position_embeddings",
                            json_integer((json_int_t)hp->max_position)))
        return pq_fail(r->e, PQ_ENOMEM, "%s: out of memory", r->m->path);
    return PQ_OK;
}
