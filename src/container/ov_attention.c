/*
 * Attention in OpenVINO graphs: rotary positions and the stateful cache. Each step is spelt
 * the way that the plugins' pattern matchers know from exported models, so that they find their
 * fused operators: RoPE (common/transformations/.../fuse_rotary_positional_embeddings), the cache
 * inside of ScaledDotProductAttention, PagedAttention (sdpa_to_paged_attention).
 * SPDX-License-Identifier: MIT
 */
#include "container/ov.h"

#include <inttypes.h>
#include <math.h>

#define HEADS_FIRST ((int32_t[]){0, 2, 1, 3})

/* ---- rotary positions ---- */

/* 1 / (factor theta^(2i/d)), rounded where the Hugging Face implementation rounds. */
static pq_ov_ref frequencies(struct pq_ov_build *b, const char *name, const float *factor)
{
    const struct pq_hparams *hp = &b->m->net.hp;
    const uint32_t n = hp->rot_dims / 2;
    const struct pq_ir_value v = {.type = PQ_IR_F32, .n_dims = 3, .dim = {1, n, 1}};
    uint8_t *bytes = (uint8_t *)pq_arena_alloc(b->g.a, n, 4);
    b->g.failed |= !bytes;
    for (uint32_t i = 0; bytes && i < n; i++) {
        float power = (float)pow(hp->rope_theta, (double)(2 * i) / (double)hp->rot_dims);
        pq_put_le32(bytes + 4 * i, pq_f32_bits(1.0f / (factor ? factor[i] * power : power)));
    }
    return bytes ? pq_ov_const(&b->g, name, v, bytes, 4 * (size_t)n) : (pq_ov_ref){1, 0};
}

/* LongRoPE: the short factors as long as all positions fit the original context. */
static pq_ov_ref chosen(struct pq_ov_build *b, pq_ov_ref positions)
{
    struct pq_ov *g = &b->g;
    const struct pq_hparams *hp = &b->m->net.hp;
    const bool both = hp->rope == PQ_ROPE_LONGROPE && b->r->context == PQ_CONTEXT_AUTO;
    if (!both)
        return frequencies(b, "model.rotary_emb/inv_freq",
                           b->r->context == PQ_CONTEXT_SHORT ? hp->short_factor : hp->long_factor);
    pq_ov_ref max =
        pq_ov_add(g, &(struct pq_ov_op){.type = "ReduceMax",
                                        .version = "opset1",
                                        .name = "model.rotary_emb/last",
                                        .in = {positions, pq_ov_i64s(g, "model.rotary_emb/axes", 2,
                                                                     (int64_t[]){0, 1})},
                                        .attr = {{"keep_dims", "false"}},
                                        .out = {{.type = PQ_IR_I64}}});
    pq_ov_ref length = pq_ov_binary(g, "Add", "model.rotary_emb/length", max,
                                    pq_ov_i64(g, "model.rotary_emb/1", 1));
    pq_ov_ref is_short =
        pq_ov_binary(g, "LessEqual", "model.rotary_emb/is_short", length,
                     pq_ov_i64(g, "model.rotary_emb/original_context", hp->original_max_position));
    pq_ov_ref s = frequencies(b, "model.rotary_emb/short_inv_freq", hp->short_factor);
    pq_ov_ref l = frequencies(b, "model.rotary_emb/long_inv_freq", hp->long_factor);
    return pq_ov_add(g, &(struct pq_ov_op){.type = "Select",
                                           .version = "opset1",
                                           .name = "model.rotary_emb/inv_freq",
                                           .in = {is_short, s, l},
                                           .attr = {{"auto_broadcast", "numpy"}},
                                           .out = {*pq_ov_value(g, s)}});
}

static pq_ov_ref table(struct pq_ov_build *b, const char *type, pq_ov_ref angles)
{
    struct pq_ov *g = &b->g;
    const double scale = b->m->net.hp.attn_factor;
    pq_ov_ref t = pq_ov_unary(g, type, pq_ov_name(g, "model.rotary_emb/%s", type), angles);
    if (scale != 1)
        t = pq_ov_binary(
            g, "Multiply", pq_ov_name(g, "model.rotary_emb/%s/scaled", type), t,
            pq_ov_f32(g, pq_ov_name(g, "model.rotary_emb/%s/factor", type), (float)scale));
    return pq_ov_unsqueeze(g, pq_ov_name(g, "model.rotary_emb/%s/heads", type), t, 1);
}

void pq_ov_rotary(struct pq_ov_build *b, struct pq_ov_shared *s, pq_ov_ref positions)
{
    struct pq_ov *g = &b->g;
    const int64_t n = b->m->net.hp.rot_dims / 2, zero = 0, one = 1;
    pq_ov_ref inv = chosen(b, positions), dim[3];
    pq_ov_ref shape = pq_ov_shape_of(g, "model.rotary_emb/shape", positions);
    dim[0] = pq_ov_i64s(g, "model.rotary_emb/0", 1, &zero);
    dim[0] = pq_ov_gather(g, "model.rotary_emb/batch", shape, dim[0]);
    dim[1] = pq_ov_i64s(g, "model.rotary_emb/n", 1, &n);
    dim[2] = pq_ov_i64s(g, "model.rotary_emb/one", 1, &one);
    inv = pq_ov_broadcast(g, "model.rotary_emb/Broadcast", inv, 3, dim,
                          (struct pq_ir_value)PQ_OV_F32(-1, n, 1));
    pq_ov_ref p = pq_ov_unsqueeze(g, "model.rotary_emb/positions", positions, 1);
    p = pq_ov_convert(g, "model.rotary_emb/positions/float", p, PQ_IR_F32);
    pq_ov_ref a = pq_ov_matmul(g, "model.rotary_emb/MatMul", inv, p, false);
    a = pq_ov_transpose(g, "model.rotary_emb/Transpose", a, (int32_t[]){0, 2, 1});
    a = pq_ov_concat(g, "model.rotary_emb/Concat", -1, 2, (pq_ov_ref[]){a, a});
    s->cos = table(b, "Cos", a);
    s->sin = table(b, "Sin", a);
}

/* x cos + (-x2, x1) sin over the first rot_dims of each head. */
static pq_ov_ref rotate(struct pq_ov_build *b, const struct pq_ov_shared *s, const char *name,
                        pq_ov_ref x)
{
    struct pq_ov *g = &b->g;
    const struct pq_hparams *hp = &b->m->net.hp;
    const int64_t n = hp->rot_dims, half = n / 2;
    const bool partial = hp->rot_dims < hp->head_dim;
    pq_ov_ref rest = {0}, head = x;
    if (partial) {
        head = pq_ov_slice(g, pq_ov_name(g, "%s/rotated", name), x, 3, 0, n);
        rest = pq_ov_slice(g, pq_ov_name(g, "%s/passed", name), x, 3, n, INT64_MAX);
    }
    pq_ov_ref second = pq_ov_slice(g, pq_ov_name(g, "%s/x2", name), head, 3, half, INT64_MAX);
    pq_ov_ref minus = pq_ov_binary(g, "Multiply", pq_ov_name(g, "%s/neg", name), second,
                                   pq_ov_f32(g, pq_ov_name(g, "%s/minus_one", name), -1));
    pq_ov_ref first = pq_ov_slice(g, pq_ov_name(g, "%s/x1", name), head, 3, 0, half);
    pq_ov_ref turned =
        pq_ov_concat(g, pq_ov_name(g, "%s/half", name), -1, 2, (pq_ov_ref[]){minus, first});
    pq_ov_ref y = pq_ov_binary(g, "Multiply", pq_ov_name(g, "%s/cos", name), head, s->cos);
    pq_ov_ref z = pq_ov_binary(g, "Multiply", pq_ov_name(g, "%s/sin", name), turned, s->sin);
    y = pq_ov_binary(g, "Add", pq_ov_name(g, "%s/rope", name), y, z);
    return partial ? pq_ov_concat(g, pq_ov_name(g, "%s/whole", name), -1, 2, (pq_ov_ref[]){y, rest})
                   : y;
}

/* ---- cache ---- */

/* The state of a layer's keys or values, in the order of this step's beams:
 * [B, n_kv_heads, past, head_dim]. It begins with no tokens. */
static pq_ov_ref past(struct pq_ov_build *b, const struct pq_ov_shared *s, int layer,
                      const char *what)
{
    struct pq_ov *g = &b->g;
    const struct pq_hparams *hp = &b->m->net.hp;
    const int64_t heads = hp->n_kv_heads, zero = 0, dim = hp->head_dim;
    const char *name = pq_ov_name(g, "model.layers.%d.self_attn/%s_cache", layer, what);
    const char *id = pq_ov_name(g, "past_key_values.%d.%spresent.%d.%s", layer, what, layer, what);
    pq_ov_ref shape[4] = {s->batch};
    shape[1] = pq_ov_i64s(g, pq_ov_name(g, "%s/heads", name), 1, &heads);
    shape[2] = pq_ov_i64s(g, pq_ov_name(g, "%s/tokens", name), 1, &zero);
    shape[3] = pq_ov_i64s(g, pq_ov_name(g, "%s/dim", name), 1, &dim);
    pq_ov_ref empty = pq_ov_f32(g, pq_ov_name(g, "%s/zero", name), 0);
    empty = pq_ov_broadcast(g, pq_ov_name(g, "%s/empty", name), empty, 4, shape,
                            (struct pq_ir_value)PQ_OV_F32(-1, heads, 0, dim));
    pq_ov_ref state = pq_ov_add(
        g, &(struct pq_ov_op){
               .type = "ReadValue",
               .version = "opset6",
               .name = name,
               .in = {empty},
               .attr = {{"variable_id", id},
                        {"variable_type", "f32"},
                        {"variable_shape", pq_ov_name(g, "?,%" PRId64 ",?,%" PRId64, heads, dim)}},
               .out = {PQ_OV_F32(-1, heads, -1, dim)}});
    return pq_ov_gather(g, pq_ov_name(g, "%s/beams", name), state, s->beam);
}

static void keep(struct pq_ov_build *b, int layer, const char *what, pq_ov_ref all)
{
    struct pq_ov *g = &b->g;
    const char *id = pq_ov_name(g, "past_key_values.%d.%spresent.%d.%s", layer, what, layer, what);
    (void)pq_ov_add(
        g, &(struct pq_ov_op){
               .type = "Assign",
               .version = "opset6",
               .name = pq_ov_name(g, "model.layers.%d.self_attn/%s_cache/Assign", layer, what),
               .in = {all},
               .attr = {{"variable_id", id}},
               .out = {*pq_ov_value(g, all)}});
}

/* Every key and value head as often as query heads share it. */
static pq_ov_ref repeated(struct pq_ov_build *b, const struct pq_ov_shared *s, const char *name,
                          pq_ov_ref x)
{
    struct pq_ov *g = &b->g;
    const struct pq_hparams *hp = &b->m->net.hp;
    const int64_t kv = hp->n_kv_heads, times = hp->n_heads / hp->n_kv_heads, dim = hp->head_dim;
    if (times == 1)
        return x;
    pq_ov_ref shape[5] = {s->batch};
    shape[1] = pq_ov_i64s(g, pq_ov_name(g, "%s/heads", name), 1, &kv);
    shape[2] = pq_ov_i64s(g, pq_ov_name(g, "%s/times", name), 1, &times);
    shape[3] = s->kv_length;
    shape[4] = pq_ov_i64s(g, pq_ov_name(g, "%s/dim", name), 1, &dim);
    x = pq_ov_unsqueeze(g, pq_ov_name(g, "%s/Unsqueeze", name), x, 2);
    x = pq_ov_broadcast(g, pq_ov_name(g, "%s/Broadcast", name), x, 5, shape,
                        (struct pq_ir_value)PQ_OV_F32(-1, kv, times, -1, dim));
    return pq_ov_reshape(g, pq_ov_name(g, "%s/Reshape", name), x, 4,
                         (int64_t[]){0, hp->n_heads, -1, dim}, true);
}

/* ---- the whole ---- */

/* [B, S, heads * dim] -> [B, heads, S, dim] */
static pq_ov_ref heads(struct pq_ov_build *b, const char *name, pq_ov_ref x, uint32_t n)
{
    x = pq_ov_reshape(&b->g, pq_ov_name(&b->g, "%s/heads", name), x, 4,
                      (int64_t[]){0, 0, n, b->m->net.hp.head_dim}, true);
    return pq_ov_transpose(&b->g, pq_ov_name(&b->g, "%s/Transpose", name), x, HEADS_FIRST);
}

/* Queries, keys and values, heads first, from one projection or three. */
static void project(struct pq_ov_build *b, int layer, pq_ov_ref x, pq_ov_ref out[3])
{
    static const enum pq_role roles[3] = {PQ_ROLE_ATTN_Q, PQ_ROLE_ATTN_K, PQ_ROLE_ATTN_V};
    struct pq_ov *g = &b->g;
    const struct pq_hparams *hp = &b->m->net.hp;
    const struct pq_item *fused = pq_ov_item(b, PQ_ROLE_ATTN_QKV, layer);
    const int64_t q = (int64_t)hp->n_heads * hp->head_dim,
                  k = (int64_t)hp->n_kv_heads * hp->head_dim;
    const int64_t from[4] = {0, q, q + k, q + 2 * k};
    pq_ov_ref all = fused ? pq_ov_linear(b, fused, NULL, x) : x;
    for (int i = 0; i < 3; i++) {
        const char *name = pq_ov_name(g, "model.layers.%d.self_attn/%c", layer, "qkv"[i]);
        out[i] = fused ? pq_ov_slice(g, name, all, 2, from[i], from[i + 1])
                       : pq_ov_linear(b, pq_ov_item(b, roles[i], layer),
                                      pq_ov_item(b, (enum pq_role)(roles[i] + 1), layer), x);
        out[i] = heads(b, name, out[i], i ? hp->n_kv_heads : hp->n_heads);
    }
}

static pq_ov_ref cached(struct pq_ov_build *b, struct pq_ov_shared *s, int layer, const char *what,
                        pq_ov_ref x)
{
    pq_ov_ref old = past(b, s, layer, what);
    if (!s->mask.layer)
        pq_ov_mask(b, s, old);
    const char *name = pq_ov_name(&b->g, "model.layers.%d.self_attn/%s", layer, what);
    x = pq_ov_concat(&b->g, pq_ov_name(&b->g, "%s/Concat", name), -2, 2, (pq_ov_ref[]){old, x});
    keep(b, layer, what, x);
    return repeated(b, s, name, x);
}

pq_ov_ref pq_ov_attention(struct pq_ov_build *b, struct pq_ov_shared *s, int layer, pq_ov_ref x)
{
    struct pq_ov *g = &b->g;
    const struct pq_hparams *hp = &b->m->net.hp;
    const char *name = pq_ov_name(g, "model.layers.%d.self_attn", layer);
    const int64_t width = (int64_t)hp->n_heads * hp->head_dim;
    pq_ov_ref qkv[3];
    project(b, layer, x, qkv);
    qkv[0] = rotate(b, s, pq_ov_name(g, "%s/q_rotary", name), qkv[0]);
    qkv[1] = rotate(b, s, pq_ov_name(g, "%s/k_rotary", name), qkv[1]);
    qkv[1] = cached(b, s, layer, "key", qkv[1]);
    qkv[2] = cached(b, s, layer, "value", qkv[2]);
    const float scale = (float)(1 / sqrt((double)hp->head_dim));
    x = pq_ov_add(g,
                  &(struct pq_ov_op){.type = "ScaledDotProductAttention",
                                     .version = "opset13",
                                     .name = pq_ov_name(g, "%s/ScaledDotProductAttention", name),
                                     .in = {qkv[0], qkv[1], qkv[2], s->mask,
                                            pq_ov_f32(g, pq_ov_name(g, "%s/scale", name), scale)},
                                     .attr = {{"causal", "false"}},
                                     .out = {*pq_ov_value(g, qkv[0])}});
    x = pq_ov_transpose(g, pq_ov_name(g, "%s/Transpose", name), x, HEADS_FIRST);
    x = pq_ov_reshape(g, pq_ov_name(g, "%s/Reshape", name), x, 3, (int64_t[]){0, 0, width}, true);
    return pq_ov_linear(b, pq_ov_item(b, PQ_ROLE_ATTN_OUT, layer),
                        pq_ov_item(b, PQ_ROLE_ATTN_OUT_BIAS, layer), x);
}
