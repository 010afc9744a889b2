/*
 * The graph of a Phi network for the ONNX Runtime generate() API: the fused operators that the
 * runtime's own model builder uses (docs of onnxruntime: ContribOperators.md; names of inputs and
 * outputs: onnxruntime-genai, src/config.h). Operators stay at their oldest form, so that older
 * runtimes load the folder too. SPDX-License-Identifier: MIT
 */
#include "container/onnx.h"

#include <math.h>
#include <string.h>

/* What all layers read. */
struct shared {
    const char *seqlens, *total; /* of GroupQueryAttention: tokens before the last, tokens */
    const char *cos, *sin;
    const char *positions; /* where attention does not rotate itself */
};

struct layer {
    int i;
    const char *x;    /* the residual stream; empty before the first sum */
    const char *more; /* to be added to it by the next norm */
};

#define ONE(b, t, n, attribute, ...) \
    pq_onnx_add(                     \
        b, &(struct pq_onnx_op){.type = t, .name = n, .in = {__VA_ARGS__}, .attr = {attribute}})
#define NO_ATTR      \
    {                \
        .name = NULL \
    }

/* ---- inputs and outputs ---- */

static void declare_cache(struct pq_onnx_build *b, bool output, int layer, const char *what)
{
    const struct pq_hparams *hp = &b->m->net.hp;
    const char *when = output ? "total_sequence_length" : "past_sequence_length";
    pq_onnx_value(b, output,
                  (struct pq_onnx_value){
                      .name = pq_onnx_name(b, "%s.%d.%s", output ? "present" : "past_key_values",
                                           layer, what),
                      .dtype = b->floats,
                      .n_dims = 4,
                      .dim = {{.name = "batch_size"},
                              {.size = hp->n_kv_heads},
                              {.name = when},
                              {.size = hp->head_dim}}});
}

static void declare_ids(struct pq_onnx_build *b, const char *name, const char *length)
{
    pq_onnx_value(b, false,
                  (struct pq_onnx_value){.name = name,
                                         .dtype = PQ_I64,
                                         .n_dims = 2,
                                         .dim = {{.name = "batch_size"}, {.name = length}}});
}

static void declare(struct pq_onnx_build *b)
{
    const struct pq_hparams *hp = &b->m->net.hp;
    declare_ids(b, "input_ids", "sequence_length");
    declare_ids(b, "attention_mask", "total_sequence_length");
    if (!b->provider->rotates)
        declare_ids(b, "position_ids", "sequence_length");
    pq_onnx_value(
        b, true,
        (struct pq_onnx_value){
            .name = "logits",
            .dtype = b->floats == PQ_BF16 ? PQ_F32 : b->floats,
            .n_dims = 3,
            .dim = {{.name = "batch_size"}, {.name = "sequence_length"}, {.size = hp->vocab}}});
    for (int i = 0; i < (int)hp->n_layers; i++)
        for (int k = 0; k < 4; k++)
            declare_cache(b, k / 2, i, k % 2 ? "value" : "key");
}

/* ---- lengths and rotary caches ---- */

static const char *whole(struct pq_onnx_build *b, const char *name, int64_t v)
{
    return pq_onnx_const(b, name, 1, &v);
}

/* Returns the int64 vector [tokens]. */
static const char *add_lengths(struct pq_onnx_build *b, struct shared *s)
{
    static const int64_t second = 1;
    const char *one = whole(b, "one", 1);
    const struct pq_onnx_attr flat = PQ_ONNX_I("keepdims", 0), narrow = PQ_ONNX_I("to", 6);
    const char *sum = ONE(b, "ReduceSum", "/model/mask/ReduceSum", flat, "attention_mask", one);
    const char *last = ONE(b, "Sub", "/model/mask/Sub", NO_ATTR, sum, one);
    s->seqlens = ONE(b, "Cast", "/model/mask/seqlens", narrow, last);
    const char *shape = ONE(b, "Shape", "/model/mask/Shape", NO_ATTR, "attention_mask");
    const char *scalar = ONE(b, "Gather", "/model/mask/Gather", NO_ATTR, shape,
                             pq_onnx_const(b, "second", 0, &second));
    s->total = ONE(b, "Cast", "/model/mask/total", narrow, scalar);
    return b->rope.split && b->provider->rotates
               ? ONE(b, "Gather", "/model/mask/Gather_1", NO_ATTR, shape, one)
               : NULL;
}

static const char *table(struct pq_onnx_build *b, const char *name, uint64_t at)
{
    struct pq_onnx_tensor *t = pq_onnx_new_tensor(b);
    if (t)
        *t = (struct pq_onnx_tensor){.name = name,
                                     .dtype = b->floats,
                                     .n_dims = 2,
                                     .dim = {b->rope.rows, b->rope.cols},
                                     .bytes = b->rope.bytes,
                                     .location = PQ_ONNX_DATA,
                                     .offset = at};
    return name;
}

/* LongRoPE: as many rows as there are tokens, of the short table or of the long one below it. */
static void slice_tables(struct pq_onnx_build *b, struct shared *s, const char *tokens)
{
    const char *split = whole(b, "original_context", b->rope.split);
    const char *zero = whole(b, "zero", 0);
    const struct pq_onnx_attr wide = PQ_ONNX_I("to", 7);
    const char *is_long = ONE(b, "Greater", "/model/rope/Greater", NO_ATTR, tokens, split);
    const char *number = ONE(b, "Cast", "/model/rope/Cast", wide, is_long);
    const char *from = ONE(b, "Mul", "/model/rope/Mul", NO_ATTR, number, split);
    const char *to = ONE(b, "Add", "/model/rope/Add", NO_ATTR, from, tokens);
    s->cos = ONE(b, "Slice", "/model/rope/cos", NO_ATTR, s->cos, from, to, zero);
    s->sin = ONE(b, "Slice", "/model/rope/sin", NO_ATTR, s->sin, from, to, zero);
}

/* The same by position, for a rotary operator that takes positions. */
static void shift_positions(struct pq_onnx_build *b, struct shared *s)
{
    const char *split = whole(b, "original_context", b->rope.split);
    const struct pq_onnx_attr flat = PQ_ONNX_I("keepdims", 0), wide = PQ_ONNX_I("to", 7);
    const char *max = ONE(b, "ReduceMax", "/model/rope/ReduceMax", flat, s->positions);
    const char *less = ONE(b, "Less", "/model/rope/Less", NO_ATTR, max, split);
    const char *is_long = ONE(b, "Not", "/model/rope/Not", NO_ATTR, less);
    const char *number = ONE(b, "Cast", "/model/rope/Cast", wide, is_long);
    const char *shift = ONE(b, "Mul", "/model/rope/Mul", NO_ATTR, number, split);
    s->positions = ONE(b, "Add", "/model/rope/Add", NO_ATTR, s->positions, shift);
}

static void add_shared(struct pq_onnx_build *b, struct shared *s)
{
    const char *tokens = add_lengths(b, s);
    s->cos = table(b, "cos_cache", b->rope.cos_at);
    s->sin = table(b, "sin_cache", b->rope.sin_at);
    s->positions = b->provider->rotates ? NULL : "position_ids";
    if (tokens)
        slice_tables(b, s, tokens);
    else if (b->rope.split)
        shift_positions(b, s);
}

/* ---- norms ---- */

/* Adds `more` to the residual stream and normalises the sum. RMSNorm has no operator of its own in
 * the older operator sets of ONNX: the first one is that of x + x with four times the epsilon,
 * which is the same number exactly. */
static const char *norm(struct pq_onnx_build *b, struct layer *l, enum pq_role role,
                        enum pq_role bias, const char *name)
{
    const struct pq_hparams *hp = &b->m->net.hp;
    const bool rms = hp->norm == PQ_NORM_RMS, first = !l->more;
    const int layer = role == PQ_ROLE_FINAL_NORM ? -1 : l->i;
    const char *w = pq_onnx_vector(b, pq_onnx_item(b, role, layer));
    const char *v = rms ? NULL : pq_onnx_vector(b, pq_onnx_item(b, bias, layer));
    const struct pq_onnx_attr epsilon = PQ_ONNX_F("epsilon", hp->norm_eps * (first && rms ? 4 : 1));
    if (first && !rms)
        return ONE(b, "LayerNormalization", pq_onnx_name(b, "%s/LayerNorm", name), epsilon, l->x, w,
                   v);
    struct pq_onnx_op op = {.domain = PQ_ONNX_MS,
                            .type =
                                rms ? "SkipSimplifiedLayerNormalization" : "SkipLayerNormalization",
                            .name = pq_onnx_name(b, "%s/SkipLayerNorm", name),
                            .in = {l->x, first ? l->x : l->more, w, v},
                            .attr = {epsilon}};
    if (!first && role != PQ_ROLE_FINAL_NORM) {
        op.out[0] = pq_onnx_name(b, "%s/output_0", op.name);
        op.out[1] = op.out[2] = "";
        op.out[3] = l->x = pq_onnx_name(b, "%s/output_3", op.name);
    }
    l->more = NULL;
    return pq_onnx_add(b, &op);
}

/* ---- attention ---- */

static const char *module_of(struct pq_onnx_build *b, const struct pq_item *it)
{
    const char *name = it->tensor->name;
    return pq_onnx_name(b, "%.*s", (int)(strlen(name) - strlen(".weight")), name);
}

/* x times a weight of the layer, with its bias where there is one (the role after it). */
static const char *project(struct pq_onnx_build *b, int layer, enum pq_role role, const char *x,
                           const char *node)
{
    const struct pq_item *w = pq_onnx_item(b, role, layer);
    const bool biased = b->m->net.hp.norm == PQ_NORM_LAYER;
    const struct pq_onnx_linear l = {
        .weight = w,
        .bias = biased ? pq_onnx_item(b, (enum pq_role)(role + 1), layer) : NULL,
        .module = module_of(b, w),
        .node = pq_onnx_name(b, "/model/layers.%d/%s", layer, node)};
    return pq_onnx_linear(b, &l, x);
}

static void split_heads(struct pq_onnx_build *b, int layer, const char *qkv[3])
{
    const struct pq_hparams *hp = &b->m->net.hp;
    const int64_t q = (int64_t)hp->n_heads * hp->head_dim,
                  k = (int64_t)hp->n_kv_heads * hp->head_dim;
    const int64_t sizes[3] = {q, k, k};
    const char *node = pq_onnx_name(b, "/model/layers.%d/attn/Split", layer);
    struct pq_onnx_op op = {.type = "Split", .name = node, .attr = {PQ_ONNX_I("axis", -1)}};
    op.in[0] = qkv[0];
    op.in[1] = pq_onnx_const(b, pq_onnx_name(b, "heads.%d", layer), 3, sizes);
    for (int i = 0; i < 3; i++)
        op.out[i] = qkv[i] = pq_onnx_name(b, "%s/output_%d", node, i);
    (void)pq_onnx_add(b, &op);
}

static const char *rotate(struct pq_onnx_build *b, const struct shared *s, int layer, bool key,
                          const char *x)
{
    const struct pq_hparams *hp = &b->m->net.hp;
    struct pq_onnx_op op = {
        .domain = PQ_ONNX_MS,
        .type = "RotaryEmbedding",
        .name = pq_onnx_name(b, "/model/layers.%d/attn/%s_rotary", layer, key ? "k" : "q"),
        .in = {x, s->positions, s->cos, s->sin},
        .attr = {PQ_ONNX_I("interleaved", 0),
                 PQ_ONNX_I("num_heads", key ? hp->n_kv_heads : hp->n_heads),
                 PQ_ONNX_I("rotary_embedding_dim", hp->rot_dims)}};
    if (hp->rot_dims == hp->head_dim)
        op.attr[1].name = NULL; /* whole heads: the operator sees it from the caches */
    return pq_onnx_add(b, &op);
}

/* q, k, v in one array where the projection is one and attention rotates; else three. */
static void queries(struct pq_onnx_build *b, const struct shared *s, int layer, const char *x,
                    const char *qkv[3])
{
    const bool fused = pq_onnx_item(b, PQ_ROLE_ATTN_QKV, layer);
    if (fused) {
        qkv[0] = project(b, layer, PQ_ROLE_ATTN_QKV, x, "attn/qkv_proj");
        qkv[1] = qkv[2] = "";
    } else {
        qkv[0] = project(b, layer, PQ_ROLE_ATTN_Q, x, "attn/q_proj");
        qkv[1] = project(b, layer, PQ_ROLE_ATTN_K, x, "attn/k_proj");
        qkv[2] = project(b, layer, PQ_ROLE_ATTN_V, x, "attn/v_proj");
    }
    if (b->provider->rotates)
        return;
    if (fused)
        split_heads(b, layer, qkv);
    qkv[0] = rotate(b, s, layer, false, qkv[0]);
    qkv[1] = rotate(b, s, layer, true, qkv[1]);
}

/* Stops at the ninth input, and leaves attributes out that say nothing: older runtimes know no
 * more. */
static const char *attention(struct pq_onnx_build *b, const struct shared *s, int layer,
                             const char *x)
{
    const struct pq_hparams *hp = &b->m->net.hp;
    const bool rotates = b->provider->rotates;
    const bool window = hp->sliding_window && hp->sliding_window < hp->max_position;
    const char *qkv[3];
    queries(b, s, layer, x, qkv);
    struct pq_onnx_op op = {
        .domain = PQ_ONNX_MS,
        .type = "GroupQueryAttention",
        .name = pq_onnx_name(b, "/model/layers.%d/attn/GroupQueryAttention", layer),
        .in = {qkv[0], qkv[1], qkv[2], pq_onnx_name(b, "past_key_values.%d.key", layer),
               pq_onnx_name(b, "past_key_values.%d.value", layer), s->seqlens, s->total,
               rotates ? s->cos : NULL, s->sin},
        .attr = {PQ_ONNX_I("num_heads", hp->n_heads), PQ_ONNX_I("kv_num_heads", hp->n_kv_heads),
                 PQ_ONNX_F("scale", 1 / sqrt((double)hp->head_dim)),
                 PQ_ONNX_I("do_rotary", rotates), PQ_ONNX_I("rotary_interleaved", 0),
                 PQ_ONNX_I("local_window_size", hp->sliding_window)}};
    if (!window)
        op.attr[5].name = NULL;
    op.out[0] = pq_onnx_name(b, "%s/output_0", op.name);
    op.out[1] = pq_onnx_name(b, "present.%d.key", layer);
    op.out[2] = pq_onnx_name(b, "present.%d.value", layer);
    x = pq_onnx_add(b, &op);
    return project(b, layer, PQ_ROLE_ATTN_OUT, x, "attn/o_proj");
}

/* ---- feed-forward ---- */

/* One half of the fused gate and up projection, under the name that it has where they are split. */
static const char *half(struct pq_onnx_build *b, int layer, const char *x, bool up)
{
    const uint64_t ff = b->m->net.hp.ff;
    const char *which = up ? "up_proj" : "gate_proj";
    const struct pq_onnx_linear l = {
        .weight = pq_onnx_item(b, PQ_ROLE_FFN_GATE_UP, layer),
        .module = pq_onnx_name(b, "model.layers.%d.mlp.%s", layer, which),
        .node = pq_onnx_name(b, "/model/layers.%d/mlp/%s", layer, which),
        .row0 = up ? ff : 0,
        .rows = ff};
    return pq_onnx_linear(b, &l, x);
}

static const char *gated(struct pq_onnx_build *b, int layer, const char *x)
{
    const char *gate = half(b, layer, x, false), *up = half(b, layer, x, true);
    const char *node = pq_onnx_name(b, "/model/layers.%d/mlp", layer);
    const char *s = ONE(b, "Sigmoid", pq_onnx_name(b, "%s/act_fn/Sigmoid", node), NO_ATTR, gate);
    s = ONE(b, "Mul", pq_onnx_name(b, "%s/act_fn/Mul", node), NO_ATTR, gate, s);
    s = ONE(b, "Mul", pq_onnx_name(b, "%s/Mul", node), NO_ATTR, s, up);
    return project(b, layer, PQ_ROLE_FFN_DOWN, s, "mlp/down_proj");
}

static const char *plain(struct pq_onnx_build *b, int layer, const char *x)
{
    x = project(b, layer, PQ_ROLE_FFN_UP, x, "mlp/fc1");
    x = pq_onnx_add(b, &(struct pq_onnx_op){
                           .domain = PQ_ONNX_MS,
                           .type = "FastGelu", /* the tanh form */
                           .name = pq_onnx_name(b, "/model/layers.%d/mlp/act_fn/FastGelu", layer),
                           .in = {x}});
    return project(b, layer, PQ_ROLE_FFN_DOWN, x, "mlp/fc2");
}

/* ---- the whole ---- */

static void add_layer(struct pq_onnx_build *b, const struct shared *s, struct layer *l)
{
    const struct pq_hparams *hp = &b->m->net.hp;
    const char *node = pq_onnx_name(b, "/model/layers.%d", l->i);
    const char *x = norm(b, l, PQ_ROLE_ATTN_NORM, PQ_ROLE_ATTN_NORM_BIAS,
                         pq_onnx_name(b, "%s/input_layernorm", node));
    const char *a = attention(b, s, l->i, x);
    if (hp->parallel) {
        const char *f = plain(b, l->i, x);
        l->more = ONE(b, "Add", pq_onnx_name(b, "%s/residual_add/Add", node), NO_ATTR, a, f);
        return;
    }
    l->more = a;
    x = norm(b, l, PQ_ROLE_FFN_NORM, PQ_ROLE_FFN_NORM,
             pq_onnx_name(b, "%s/post_attention_layernorm", node));
    l->more = hp->act == PQ_ACT_SILU ? gated(b, l->i, x) : plain(b, l->i, x);
}

static void add_head(struct pq_onnx_build *b, const char *x)
{
    struct pq_onnx_graph *g = &b->onnx.graph;
    const bool tied = b->m->net.hp.tied;
    const struct pq_onnx_linear l = {.weight =
                                         pq_onnx_item(b, tied ? PQ_ROLE_EMBED : PQ_ROLE_HEAD, -1),
                                     .bias = pq_onnx_item(b, PQ_ROLE_HEAD_BIAS, -1),
                                     .module = tied ? "model.embed_tokens" : "lm_head",
                                     .node = "/lm_head"};
    const char *y = pq_onnx_linear(b, &l, x);
    if (b->floats == PQ_BF16) {
        const struct pq_onnx_attr single = PQ_ONNX_I("to", 1);
        y = ONE(b, "Cast", "/lm_head/Cast_logits", single, y);
    }
    static const char *const logits[] = {"logits"};
    (void)y;
    if (!b->failed)
        g->node[g->n_nodes - 1].out = logits;
}

int pq_onnx_graph(struct pq_onnx_build *b, struct pq_err *e)
{
    struct shared s = {0};
    struct layer l = {0};
    if (pq_onnx_begin(b)) {
        declare(b);
        add_shared(b, &s);
        l.x = pq_onnx_embed(b, "input_ids");
        for (; l.i < (int)b->m->net.hp.n_layers; l.i++)
            add_layer(b, &s, &l);
        add_head(b, norm(b, &l, PQ_ROLE_FINAL_NORM, PQ_ROLE_FINAL_NORM_BIAS, "/model/norm"));
    }
    b->onnx.graph.name = "main_graph";
    return b->failed ? pq_fail(e, PQ_ENOMEM, "out of memory while planning an ONNX graph") : PQ_OK;
}
