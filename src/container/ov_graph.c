/*
 * The graph of a Phi network for OpenVINO, in operators and names that openvino.genai expects of a
 * language model: input_ids, attention_mask, position_ids, beam_idx in, logits out, the cache in
 * variables. SPDX-License-Identifier: MIT
 */
#include "container/ov.h"

#include <stdio.h>

/* ---- inputs ---- */

static pq_ov_ref parameter(struct pq_ov *g, const char *name, enum pq_ir_type type, int n_dims)
{
    return pq_ov_add(
        g,
        &(struct pq_ov_op){
            .type = "Parameter",
            .version = "opset1",
            .name = name,
            .attr = {{"shape", n_dims == 2 ? "?,?" : "?"}, {"element_type", pq_ir_type_name(type)}},
            .out = {{.type = type, .n_dims = n_dims, .dim = {-1, -1}, .names = name}}});
}

/* ---- norms ---- */

static pq_ov_ref scalar(struct pq_ov *g, const char *name, double v)
{
    const struct pq_ir_value one = {.type = PQ_IR_F32, .n_dims = 3, .dim = {1, 1, 1}};
    uint8_t bytes[4];
    pq_put_le32(bytes, pq_f32_bits((float)v));
    return pq_ov_const(g, name, one, bytes, sizeof bytes);
}

static pq_ov_ref last_axis(struct pq_ov *g, const char *name)
{
    const int64_t last = -1;
    return pq_ov_i64s(g, name, 1, &last);
}

static struct pq_ir_value narrow(const struct pq_ov *g, pq_ov_ref x)
{
    struct pq_ir_value v = *pq_ov_value(g, x);
    v.names = NULL;
    if (v.n_dims)
        v.dim[v.n_dims - 1] = 1;
    return v;
}

/* x (1 / sqrt(mean(x^2) + eps)) w */
static pq_ov_ref rms(struct pq_ov *g, const char *name, double eps, pq_ov_ref x, pq_ov_ref w)
{
    pq_ov_ref y = pq_ov_binary(g, "Power", pq_ov_name(g, "%s/Power", name), x,
                               scalar(g, pq_ov_name(g, "%s/two", name), 2));
    y = pq_ov_add(g, &(struct pq_ov_op){.type = "ReduceMean",
                                        .version = "opset1",
                                        .name = pq_ov_name(g, "%s/ReduceMean", name),
                                        .in = {y, last_axis(g, pq_ov_name(g, "%s/axis", name))},
                                        .attr = {{"keep_dims", "true"}},
                                        .out = {narrow(g, y)}});
    y = pq_ov_binary(g, "Add", pq_ov_name(g, "%s/Add", name), y,
                     scalar(g, pq_ov_name(g, "%s/epsilon", name), eps));
    y = pq_ov_unary(g, "Sqrt", pq_ov_name(g, "%s/Sqrt", name), y);
    y = pq_ov_binary(g, "Divide", pq_ov_name(g, "%s/Divide", name),
                     scalar(g, pq_ov_name(g, "%s/one", name), 1), y);
    y = pq_ov_binary(g, "Multiply", pq_ov_name(g, "%s/Multiply", name), x, y);
    return pq_ov_binary(g, "Multiply", pq_ov_name(g, "%s/scaled", name), w, y);
}

static pq_ov_ref layer_norm(struct pq_ov *g, const char *name, double eps, pq_ov_ref x,
                            const pq_ov_ref w[2])
{
    pq_ov_ref y =
        pq_ov_add(g, &(struct pq_ov_op){.type = "MVN",
                                        .version = "opset6",
                                        .name = pq_ov_name(g, "%s/MVN", name),
                                        .in = {x, last_axis(g, pq_ov_name(g, "%s/axis", name))},
                                        .attr = {{"eps", pq_ov_name(g, "%.9g", (double)(float)eps)},
                                                 {"normalize_variance", "true"},
                                                 {"eps_mode", "INSIDE_SQRT"}},
                                        .out = {*pq_ov_value(g, x)}});
    y = pq_ov_binary(g, "Multiply", pq_ov_name(g, "%s/Multiply", name), y, w[0]);
    return pq_ov_binary(g, "Add", pq_ov_name(g, "%s/Add", name), y, w[1]);
}

static pq_ov_ref norm(struct pq_ov_build *b, enum pq_role role, int layer, pq_ov_ref x)
{
    const struct pq_hparams *hp = &b->m->net.hp;
    const struct pq_item *w = pq_ov_item(b, role, layer);
    const char *name = pq_ov_module(b, w);
    if (hp->norm == PQ_NORM_RMS)
        return rms(&b->g, name, hp->norm_eps, x, pq_ov_vector(b, w));
    const struct pq_item *bias = pq_ov_item(b, (enum pq_role)(role + 1), layer);
    pq_ov_ref both[2];
    both[0] = pq_ov_vector(b, w);
    both[1] = pq_ov_vector(b, bias);
    return layer_norm(&b->g, name, hp->norm_eps, x, both);
}

/* ---- feed-forward ---- */

/* The halves come out of one split, in the form that the GPU plugin fuses into SwiGLU. */
static pq_ov_ref gated(struct pq_ov_build *b, int layer, pq_ov_ref x)
{
    struct pq_ov *g = &b->g;
    const int64_t ff = b->m->net.hp.ff, sizes[2] = {ff, ff};
    const char *name = pq_ov_name(g, "model.layers.%d.mlp", layer);
    pq_ov_ref y = pq_ov_linear(b, pq_ov_item(b, PQ_ROLE_FFN_GATE_UP, layer), NULL, x);
    struct pq_ir_value half = *pq_ov_value(g, y);
    if (half.n_dims)
        half.dim[half.n_dims - 1] = ff;
    pq_ov_ref axis = pq_ov_i64(g, pq_ov_name(g, "%s/axis", name), -1);
    pq_ov_ref cut = pq_ov_i64s(g, pq_ov_name(g, "%s/sizes", name), 2, sizes);
    y = pq_ov_add(g, &(struct pq_ov_op){.type = "VariadicSplit",
                                        .version = "opset1",
                                        .name = pq_ov_name(g, "%s/VariadicSplit", name),
                                        .in = {y, axis, cut},
                                        .out = {half, half}});
    pq_ov_ref act = pq_ov_unary(g, "Swish", pq_ov_name(g, "%s/Swish", name), y);
    act = pq_ov_binary(g, "Multiply", pq_ov_name(g, "%s/Multiply", name), pq_ov_out(y, 1), act);
    return pq_ov_linear(b, pq_ov_item(b, PQ_ROLE_FFN_DOWN, layer), NULL, act);
}

static pq_ov_ref plain(struct pq_ov_build *b, int layer, pq_ov_ref x)
{
    struct pq_ov *g = &b->g;
    x = pq_ov_linear(b, pq_ov_item(b, PQ_ROLE_FFN_UP, layer),
                     pq_ov_item(b, PQ_ROLE_FFN_UP_BIAS, layer), x);
    x = pq_ov_add(g, &(struct pq_ov_op){.type = "Gelu",
                                        .version = "opset7",
                                        .name = pq_ov_name(g, "model.layers.%d.mlp/Gelu", layer),
                                        .in = {x},
                                        .attr = {{"approximation_mode", "TANH"}},
                                        .out = {*pq_ov_value(g, x)}});
    return pq_ov_linear(b, pq_ov_item(b, PQ_ROLE_FFN_DOWN, layer),
                        pq_ov_item(b, PQ_ROLE_FFN_DOWN_BIAS, layer), x);
}

/* ---- the whole ---- */

static pq_ov_ref add(struct pq_ov *g, int layer, const char *what, pq_ov_ref x, pq_ov_ref y)
{
    return pq_ov_binary(g, "Add", pq_ov_name(g, "model.layers.%d/%s", layer, what), x, y);
}

static pq_ov_ref add_layer(struct pq_ov_build *b, struct pq_ov_shared *s, int layer, pq_ov_ref x)
{
    struct pq_ov *g = &b->g;
    const struct pq_hparams *hp = &b->m->net.hp;
    pq_ov_ref (*feed)(struct pq_ov_build *, int, pq_ov_ref) =
        hp->act == PQ_ACT_SILU ? gated : plain;
    pq_ov_ref n = norm(b, PQ_ROLE_ATTN_NORM, layer, x);
    pq_ov_ref a = pq_ov_attention(b, s, layer, n);
    if (hp->parallel)
        return add(g, layer, "feed_forward_sum", add(g, layer, "sum", a, feed(b, layer, n)), x);
    x = add(g, layer, "attention_sum", x, a);
    return add(g, layer, "feed_forward_sum", x,
               feed(b, layer, norm(b, PQ_ROLE_FFN_NORM, layer, x)));
}

/* The product (with its bias) is the last operator before the result: openvino.genai cuts the
 * hidden states to the last token in front of it. */
static void add_head(struct pq_ov_build *b, pq_ov_ref x)
{
    struct pq_ov *g = &b->g;
    const struct pq_hparams *hp = &b->m->net.hp;
    const struct pq_item *w = pq_ov_item(b, hp->tied ? PQ_ROLE_EMBED : PQ_ROLE_HEAD, -1);
    x = norm(b, PQ_ROLE_FINAL_NORM, -1, x);
    x = pq_ov_linear(b, w, pq_ov_item(b, PQ_ROLE_HEAD_BIAS, -1), x);
    (void)pq_ov_add(
        g, &(struct pq_ov_op){.type = "Result", .version = "opset1", .name = "logits", .in = {x}});
}

static void name_logits(struct pq_ov *g)
{
    if (g->failed)
        return;
    const pq_ov_ref r = g->ir.layer[g->ir.n_layers - 1].in[0];
    struct pq_ir_layer *last = &g->ir.layer[r.layer - 1];
    struct pq_ir_value *v = (struct pq_ir_value *)pq_arena_alloc(g->a, 1, sizeof *v);
    g->failed |= !v;
    if (!v)
        return;
    *v = last->out[0];
    v->names = "logits";
    last->out = v;
}

void pq_ov_graph(struct pq_ov_build *b)
{
    struct pq_ov *g = &b->g;
    struct pq_ov_shared s = {0};
    g->ir.name = "Model0";
    s.ids = parameter(g, "input_ids", PQ_IR_I64, 2);
    s.attention_mask = parameter(g, "attention_mask", PQ_IR_I64, 2);
    pq_ov_ref positions = parameter(g, "position_ids", PQ_IR_I64, 2);
    s.beam = parameter(g, "beam_idx", PQ_IR_I32, 1);
    s.batch = pq_ov_i64s(g, "model/first", 1, (int64_t[]){0});
    pq_ov_ref shape = pq_ov_shape_of(g, "model/shape", s.ids);
    s.batch = pq_ov_gather(g, "model/batch", shape, s.batch);
    pq_ov_rotary(b, &s, positions);
    pq_ov_ref x = pq_ov_embed(b, s.ids);
    for (int i = 0; i < (int)b->m->net.hp.n_layers && !g->failed; i++)
        x = add_layer(b, &s, i, x);
    add_head(b, x);
    name_logits(g);
}
