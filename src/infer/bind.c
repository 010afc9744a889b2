/* From a network's tensors to layers: found by role, small ones widened.
 * SPDX-License-Identifier: MIT */
#include "infer/state.h"

#include "base/num.h"

struct binder {
    struct pq_session *s;
    struct pq_err *e;
    int rc;
};

static const struct pq_tensor *find(const struct pq_session *s, enum pq_role role, int layer)
{
    const struct pq_network *net = &s->model->net;
    for (size_t i = 0; i < net->n_tensors; i++)
        if (net->tensor[i].role == role && net->tensor[i].layer == layer)
            return &net->tensor[i];
    return NULL;
}

/* A vector as floats; NULL when the network has none. */
static const float *vector(struct binder *b, enum pq_role role, int layer)
{
    const struct pq_tensor *t = find(b->s, role, layer);
    if (!t || b->rc < 0)
        return NULL;
    float *x = (float *)pq_arena_alloc(&b->s->arena, t->cols, sizeof *x);
    if (!x)
        b->rc = pq_fail(b->e, PQ_ENOMEM, "%s: out of memory", t->name);
    else
        pq_tensor_row(t, b->s->engine.kern, 0, x);
    return x;
}

/* Its rows are those of w from now on. */
static void set_rows(struct pq_linear *l, const struct pq_tensor *w)
{
    l->w = w;
    l->code = pq_code_rule_of(w);
    for (int i = 0; i < PQ_MAX_PARTS; i++)
        l->part_bytes[i] = pq_scheme_part_bytes(w->slice[0].view.scheme, w->cols, i);
}

static struct pq_linear matrix(struct binder *b, enum pq_role role, enum pq_role bias, int layer)
{
    struct pq_linear l = {0};
    const struct pq_tensor *w = find(b->s, role, layer);
    if (w)
        set_rows(&l, w);
    if (l.w && bias != PQ_ROLES)
        l.bias = vector(b, bias, layer);
    return l;
}

static struct pq_norm_weights norm(struct binder *b, enum pq_role weight, enum pq_role bias,
                                   int layer)
{
    struct pq_norm_weights n = {.weight = vector(b, weight, layer)};
    if (bias != PQ_ROLES)
        n.bias = vector(b, bias, layer);
    return n;
}

static void bind_qkv(struct binder *b, struct pq_layer *l, int layer)
{
    static const enum pq_role apart[][2] = {{PQ_ROLE_ATTN_Q, PQ_ROLE_ATTN_Q_BIAS},
                                            {PQ_ROLE_ATTN_K, PQ_ROLE_ATTN_K_BIAS},
                                            {PQ_ROLE_ATTN_V, PQ_ROLE_ATTN_V_BIAS}};
    l->qkv[0] = matrix(b, PQ_ROLE_ATTN_QKV, PQ_ROLES, layer);
    l->n_qkv = 1;
    if (l->qkv[0].w)
        return;
    for (size_t i = 0; i < PQ_LEN(apart); i++)
        l->qkv[i] = matrix(b, apart[i][0], apart[i][1], layer);
    l->n_qkv = PQ_LEN(apart);
    if (!l->qkv[1].w || !l->qkv[2].w)
        l->qkv[0].w = NULL;
}

static void bind_layer(struct binder *b, struct pq_layer *l, int layer)
{
    l->norm = norm(b, PQ_ROLE_ATTN_NORM, PQ_ROLE_ATTN_NORM_BIAS, layer);
    l->ffn_norm = norm(b, PQ_ROLE_FFN_NORM, PQ_ROLES, layer);
    bind_qkv(b, l, layer);
    l->out = matrix(b, PQ_ROLE_ATTN_OUT, PQ_ROLE_ATTN_OUT_BIAS, layer);
    l->up = matrix(b, PQ_ROLE_FFN_GATE_UP, PQ_ROLES, layer);
    if (!l->up.w)
        l->up = matrix(b, PQ_ROLE_FFN_UP, PQ_ROLE_FFN_UP_BIAS, layer);
    l->down = matrix(b, PQ_ROLE_FFN_DOWN, PQ_ROLE_FFN_DOWN_BIAS, layer);
    bool whole = l->norm.weight && l->qkv[0].w && l->out.w && l->up.w && l->down.w &&
                 (l->ffn_norm.weight || b->s->hp->parallel);
    if (!whole && b->rc >= 0)
        b->rc =
            pq_fail(b->e, PQ_EUNSUPPORTED, "%s: layer %d of a %s network cannot be computed yet",
                    b->s->model->path, layer, b->s->model->net.arch->name);
}

int pq_session_bind(struct pq_session *s, struct pq_err *e)
{
    struct binder b = {s, e, PQ_OK};
    s->layer = (struct pq_layer *)pq_arena_alloc(&s->arena, s->hp->n_layers, sizeof *s->layer);
    if (!s->layer)
        return pq_fail(e, PQ_ENOMEM, "out of memory for %u layers", s->hp->n_layers);
    for (int i = 0; i < (int)s->hp->n_layers && b.rc >= 0; i++)
        bind_layer(&b, &s->layer[i], i);
    s->embed = find(s, PQ_ROLE_EMBED, -1);
    s->final_norm = norm(&b, PQ_ROLE_FINAL_NORM, PQ_ROLE_FINAL_NORM_BIAS, -1);
    s->head = matrix(&b, PQ_ROLE_HEAD, PQ_ROLE_HEAD_BIAS, -1);
    if (!s->head.w)
        s->head = matrix(&b, PQ_ROLE_EMBED, PQ_ROLES, -1);
    if (b.rc >= 0 && (!s->embed || !s->final_norm.weight))
        return pq_fail(e, PQ_EUNSUPPORTED, "%s: no embedding or no final norm", s->model->path);
    return b.rc;
}

/* The product of a role; NULL for the embedding, which multiplies nothing, and for vectors. */
static struct pq_linear *product_of(struct pq_session *s, enum pq_role role, int layer)
{
    struct pq_layer *l = layer >= 0 ? &s->layer[layer] : NULL;
    switch (role) {
    case PQ_ROLE_HEAD:
        return &s->head;
    case PQ_ROLE_ATTN_QKV:
    case PQ_ROLE_ATTN_Q:
        return &l->qkv[0];
    case PQ_ROLE_ATTN_K:
        return &l->qkv[1];
    case PQ_ROLE_ATTN_V:
        return &l->qkv[2];
    case PQ_ROLE_ATTN_OUT:
        return &l->out;
    case PQ_ROLE_FFN_GATE_UP:
    case PQ_ROLE_FFN_UP:
        return &l->up;
    case PQ_ROLE_FFN_DOWN:
        return &l->down;
    default:
        return NULL;
    }
}

void pq_session_substitute(struct pq_session *s, const struct pq_tensor *t,
                           const struct pq_tensor *by)
{
    struct pq_linear *l = product_of(s, t->role, t->layer);
    if (t->role == PQ_ROLE_EMBED) {
        s->embed = by;
        l = s->hp->tied ? &s->head : NULL;
    }
    if (l)
        set_rows(l, by);
}
