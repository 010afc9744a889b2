/*
 * Folders of onnxruntime-genai's model builder: what its nodes are called, and the hyperparameters
 * that genai_config.json and the graph give together.
 * Source of names: src/python/py/models/builders of onnxruntime-genai. SPDX-License-Identifier: MIT
 */
#include "container/onnx.h"

#include <math.h>
#include <string.h>

/* ---- names ---- */

/* Of modules inside a layer; the second is for phi. */
static const struct {
    const char *theirs, *ours[2];
} modules[] = {
    {"input_layernorm", {"input_layernorm", "input_layernorm"}},
    {"post_attention_layernorm", {"post_attention_layernorm", "post_attention_layernorm"}},
    {"attn/qkv_proj", {"self_attn.qkv_proj", "self_attn.qkv_proj"}},
    {"attn/q_proj", {"self_attn.q_proj", "self_attn.q_proj"}},
    {"attn/k_proj", {"self_attn.k_proj", "self_attn.k_proj"}},
    {"attn/v_proj", {"self_attn.v_proj", "self_attn.v_proj"}},
    {"attn/o_proj", {"self_attn.o_proj", "self_attn.dense"}},
    {"mlp/gate_up_proj", {"mlp.gate_up_proj", NULL}},
    {"mlp/gate_proj", {"mlp.gate_proj", NULL}},
    {"mlp/up_proj", {"mlp.up_proj", NULL}},
    {"mlp/down_proj", {"mlp.down_proj", NULL}},
    {"mlp/fc1", {NULL, "mlp.fc1"}},
    {"mlp/fc2", {NULL, "mlp.fc2"}},
};

static const char *layer_module(const struct pq_onnx_names *look, struct pq_arena *a,
                                const char *rest, const char *layer, size_t digits)
{
    for (size_t i = 0; i < PQ_LEN(modules); i++) {
        const size_t n = strlen(modules[i].theirs);
        const char *ours = modules[i].ours[look->phi];
        if (ours && !strncmp(rest, modules[i].theirs, n) && rest[n] == '/')
            return pq_arena_printf(a, "model.layers.%.*s.%s", (int)digits, layer, ours);
    }
    if (!strncmp(rest, "final_norm_layernorm/", 21))
        return look->phi ? "model.final_layernorm" : "model.norm";
    return NULL;
}

const char *pq_onnx_module(const struct pq_onnx_names *look, struct pq_arena *a, const char *node)
{
    static const char layers[] = "/model/layers.";
    if (!strncmp(node, "/model/embed_tokens/", 20))
        return "model.embed_tokens";
    if (!strncmp(node, "/lm_head/", 9))
        return look->tied ? "model.embed_tokens" : "lm_head";
    if (strncmp(node, layers, sizeof layers - 1))
        return NULL;
    const char *layer = node + sizeof layers - 1;
    const size_t digits = strspn(layer, "0123456789");
    return digits && layer[digits] == '/' ? layer_module(look, a, layer + digits + 1, layer, digits)
                                          : NULL;
}

/* ---- the graph ---- */

static const struct pq_onnx_node *first_of(const struct pq_onnx_graph *g, const char *pattern)
{
    for (size_t i = 0; i < g->n_nodes; i++)
        if (pq_container_glob(pattern, g->node[i].op))
            return &g->node[i];
    return NULL;
}

static const struct pq_onnx_node *maker_of(const struct pq_onnx_graph *g, const char *name)
{
    for (size_t i = 0; i < g->n_nodes; i++)
        for (size_t k = 0; k < g->node[i].n_out; k++)
            if (!strcmp(g->node[i].out[k], name))
                return &g->node[i];
    return NULL;
}

/* cos and sin of positions 0.. */
struct table {
    const uint8_t *cos, *sin;
    enum pq_dtype type;
    uint64_t rows, cols;
};

static bool fill_table(struct table *t, const uint8_t *cos, const uint8_t *sin, enum pq_dtype type,
                       const uint64_t *dim)
{
    *t = (struct table){cos, sin, type, dim[0], dim[1]};
    return cos && sin && t->rows > 1 && t->cols &&
           (type == PQ_F32 || type == PQ_F16 || type == PQ_BF16);
}

static bool stored_table(struct table *t, const struct pq_ckpt *c, const char *cos, const char *sin)
{
    const struct pq_stored *a = pq_ckpt_find(c, cos), *b = pq_ckpt_find(c, sin);
    return a && b && a->n_dims == 2 && a->bytes == b->bytes && a->scheme == b->scheme &&
           fill_table(t, a->data, b->data, a->scheme->dtype, a->dim);
}

/* What a branch of the If gives: two constants. */
static bool branch_table(struct table *t, const struct pq_onnx_graph *g)
{
    const struct pq_onnx_tensor *v[2];
    for (size_t i = 0; i < 2; i++) {
        const struct pq_onnx_node *n = i < g->n_out ? maker_of(g, g->out[i].name) : NULL;
        const struct pq_onnx_attr *a = n ? pq_onnx_attr(n, "value") : NULL;
        v[i] = a ? a->tensor : NULL;
        if (!v[i] || v[i]->n_dims != 2)
            return false;
    }
    return v[0]->bytes == v[1]->bytes && v[0]->dtype == v[1]->dtype &&
           fill_table(t, v[0]->data, v[1]->data, v[0]->dtype, v[0]->dim);
}

static int read_branches(struct pq_model *m, const struct pq_onnx_node *n, struct table t[2],
                         struct pq_err *e)
{
    static const char *const branch[2] = {"else_branch", "then_branch"};
    int rc = PQ_OK;
    for (int i = 0; i < 2; i++) {
        const struct pq_onnx_attr *a = pq_onnx_attr(n, branch[i]);
        struct pq_onnx_graph g;
        if (!a)
            return pq_fail(e, PQ_EFORMAT, "%s: node %s lacks its %s", PQ_ONNX_MODEL, n->name,
                           branch[i]);
        PQ_TRY(pq_onnx_subgraph(&g, &m->arena, a, PQ_ONNX_MODEL, e));
        if (!branch_table(&t[i], &g))
            PQ_TRY(pq_fail(e, PQ_EUNSUPPORTED, "%s: node %s: its %s gives no rotary caches",
                           PQ_ONNX_MODEL, n->name, branch[i]));
    }
out:
    return rc;
}

/* Where attention does not rotate, and providers that cannot choose: the long table lies below the
 * short one. Its rows are those of the context. */
static int cut_table(struct table t[2], uint64_t context)
{
    if (context < 2 || t[0].rows - 2 < context)
        return 1;
    const uint64_t skip = (t[0].rows - context) * t[0].cols * pq_dtype_size(t[0].type);
    t[1] = t[0];
    t[0].rows -= context;
    t[1].rows = context;
    t[1].cos += skip;
    t[1].sin += skip;
    return 2;
}

/* The caches that attention rotates by, or an operator before it; NULL without any. */
static const char *const *rotary_inputs(const struct pq_onnx_graph *g)
{
    const struct pq_onnx_node *attention = first_of(g, "GroupQueryAttention");
    const struct pq_onnx_node *rotary = first_of(g, "RotaryEmbedding");
    if (attention && attention->n_in > 8 && *attention->in[7])
        return attention->in + 7;
    return attention && rotary && rotary->n_in > 3 ? rotary->in + 2 : NULL;
}

/* One table, or the short and the long one: *n of them. */
static int find_tables(struct pq_model *m, struct table t[2], int *n, struct pq_err *e)
{
    const struct pq_onnx_graph *g = &m->ckpt->onnx->graph;
    const char *const *cache = rotary_inputs(g);
    uint64_t context = 0;
    if (!cache)
        return pq_fail(e, PQ_EUNSUPPORTED,
                       "%s: no GroupQueryAttention with rotary caches: only this form is read",
                       PQ_ONNX_MODEL);
    int rc = pq_json_u64(m->config, "max_position_embeddings", &context, PQ_ONNX_GENAI, e);
    if (rc < 0)
        return rc;
    if (stored_table(t, m->ckpt, cache[0], cache[1])) {
        *n = cut_table(t, context);
        return PQ_OK;
    }
    const struct pq_onnx_node *made = maker_of(g, cache[0]);
    *n = 2;
    if (made && !strcmp(made->op, "If"))
        return read_branches(m, made, t, e);
    return pq_fail(e, PQ_EUNSUPPORTED,
                   "%s: the rotary caches are neither stored nor given by an If", PQ_ONNX_MODEL);
}

/* ---- frequencies ---- */

static double element(const uint8_t *p, uint64_t i, enum pq_dtype type)
{
    if (type == PQ_F32)
        return pq_bits_f32(pq_le32(p + 4 * i));
    return type == PQ_F16 ? pq_f16_to_f32(pq_le16(p + 2 * i)) : pq_bf16_to_f32(pq_le16(p + 2 * i));
}

static double angle(const struct table *t, uint64_t row, uint64_t col)
{
    const uint64_t i = row * t->cols + col;
    return atan2(element(t->sin, i, t->type), element(t->cos, i, t->type));
}

/* The first row gives a frequency, later ones the digits that rounding took: each is measured
 * against where the last estimate puts it. */
static double frequency(const struct table *t, uint64_t col)
{
    const double turn = 6.283185307179586;
    double f = angle(t, 1, col);
    for (uint64_t p = 2; p < t->rows && p <= 1024; p *= 2) {
        double a = angle(t, p, col);
        f = (a + turn * rint((f * (double)p - a) / turn)) / (double)p;
    }
    return f;
}

/* The base of the powers, from the slowest frequency. Half-precision caches leave an error of a few
 * in ten thousand; published bases have two digits and zeros. */
static double theta_of(const struct table *t)
{
    const double n = (double)t->cols;
    if (t->cols < 2)
        return 10000;
    double theta = pow(frequency(t, t->cols - 1), -n / (n - 1));
    double unit = theta > 0 ? pow(10, floor(log10(theta)) - 1) : 1;
    double round = rint(theta / unit) * unit;
    return fabs(theta - round) < 1e-3 * theta ? round : theta;
}

/* Only frequency = 1 / (factor * power) can be known: the factors are those for the base that every
 * published LongRoPE model of the family has. */
static json_t *factors(const struct table *t, double theta)
{
    json_t *list = json_array();
    for (uint64_t i = 0; i < t->cols; i++) {
        double power = pow(theta, (double)i / (double)t->cols);
        double factor = (double)(float)(1 / (frequency(t, i) * power));
        json_array_append_new(list, json_real(factor));
    }
    return list;
}

/* ---- config.json ---- */

/* The factor of cos and sin: by LongRoPE's formula where the caches agree with it, as far as they
 * are exact. */
static double scale_of(const struct table *t, const json_t *config)
{
    double max = json_number_value(json_object_get(config, "max_position_embeddings"));
    double original = (double)t->rows;
    double found = hypot(element(t->cos, 0, t->type), element(t->sin, 0, t->type));
    double own = max > original ? sqrt(1 + log(max / original) / log(original)) : 1;
    return fabs(found - own) < 1e-3 * own ? own : found;
}

static int put_rope(struct pq_model *m, json_t *config, uint64_t head_dim, struct pq_err *e)
{
    struct table t[2] = {{0}};
    int n = 0;
    int rc = find_tables(m, t, &n, e);
    if (rc < 0)
        return rc;
    const double theta = n == 2 ? 10000 : theta_of(t);
    if (!head_dim || t[0].cols * 2 > head_dim || (n == 2 && t[1].cols != t[0].cols))
        return pq_fail(e, PQ_EFORMAT, "%s: rotary caches of %llu columns for heads of %llu",
                       PQ_ONNX_MODEL, (unsigned long long)t[0].cols, (unsigned long long)head_dim);
    json_object_set_new(config, "rope_theta", json_real(theta));
    json_object_set_new(config, "partial_rotary_factor",
                        json_real(((double)t[0].cols * 2 + 0.5) / (double)head_dim));
    if (t[0].cols * 2 == head_dim)
        json_object_set_new(config, "partial_rotary_factor", json_real(1));
    if (n == 1)
        return PQ_OK;
    json_object_set_new(config, "original_max_position_embeddings",
                        json_integer((json_int_t)t[0].rows));
    json_object_set_new(config, "rope_scaling",
                        json_pack("{s:s, s:f, s:o, s:o}", "type", "longrope", "attention_factor",
                                  scale_of(&t[0], config), "short_factor", factors(&t[0], theta),
                                  "long_factor", factors(&t[1], theta)));
    return PQ_OK;
}

/* Rows of the weights that a projection of the first layer multiplies by. */
static uint64_t width_of(const struct pq_model *m, const char *name)
{
    const struct pq_onnx_graph *g = &m->ckpt->onnx->graph;
    for (size_t i = 0; i < g->n_nodes; i++) {
        const struct pq_onnx_node *n = &g->node[i];
        if (strncmp(n->name, name, strlen(name)) || n->n_in < 2)
            continue;
        if (!strcmp(n->op, "MatMulNBits"))
            return (uint64_t)pq_onnx_int(n, "N", 0);
        const struct pq_stored *w = pq_ckpt_find(m->ckpt, n->in[1]);
        if (!strcmp(n->op, "MatMul") && w && w->n_dims == 2)
            return w->dim[1];
    }
    return 0;
}

/* A tied embedding reads the head's weights, turned or in another shape. */
static bool is_tied(const struct pq_model *m)
{
    const struct pq_onnx_graph *g = &m->ckpt->onnx->graph;
    for (size_t i = 0; i < g->n_nodes; i++)
        if (pq_container_glob("Gather*", g->node[i].op) && g->node[i].n_in > 1 &&
            !strcmp(g->node[i].in[1], "input_ids")) {
            const struct pq_onnx_node *made = maker_of(g, g->node[i].in[0]);
            return made && (!strcmp(made->op, "Reshape") || !strcmp(made->op, "Transpose"));
        }
    return false;
}

static void copy_keys(json_t *to, const json_t *from, const char *const (*keys)[2])
{
    for (; (*keys)[0]; keys++) {
        json_t *v = json_object_get(from, (*keys)[0]);
        if (v)
            json_object_set(to, (*keys)[1], v);
    }
}

static const char *const model_keys[][2] = {{"context_length", "max_position_embeddings"},
                                            {"vocab_size", "vocab_size"},
                                            {"bos_token_id", "bos_token_id"},
                                            {"eos_token_id", "eos_token_id"},
                                            {"pad_token_id", "pad_token_id"},
                                            {"type", "model_type"},
                                            {NULL, NULL}};
static const char *const decoder_keys[][2] = {{"hidden_size", "hidden_size"},
                                              {"num_attention_heads", "num_attention_heads"},
                                              {"num_hidden_layers", "num_hidden_layers"},
                                              {"num_key_value_heads", "num_key_value_heads"},
                                              {"head_size", "head_dim"},
                                              {NULL, NULL}};

/* The decimal that the builder wrote, not the digits of its float. */
static double tidy(float x)
{
    double digits = pow(10, 6 - floor(log10((double)x)));
    return x > 0 ? rint((double)x * digits) / digits : (double)x;
}

static void put_graph_words(const struct pq_model *m, const struct pq_onnx_names *look, json_t *c)
{
    const struct pq_onnx_graph *g = &m->ckpt->onnx->graph;
    const struct pq_onnx_node *norm = first_of(g, "*LayerNormalization");
    const struct pq_onnx_node *attention = first_of(g, "GroupQueryAttention");
    const struct pq_onnx_attr *eps = norm ? pq_onnx_attr(norm, "epsilon") : NULL;
    const int64_t window = attention ? pq_onnx_int(attention, "local_window_size", -1) : -1;
    uint64_t ff =
        width_of(m, look->phi ? "/model/layers.0/mlp/fc1/" : "/model/layers.0/mlp/up_proj/");
    if (!ff)
        ff = width_of(m, "/model/layers.0/mlp/gate_up_proj/") / 2;
    json_object_set_new(c, "intermediate_size", json_integer((json_int_t)ff));
    json_object_set_new(c, look->phi ? "layer_norm_eps" : "rms_norm_eps",
                        json_real(eps ? tidy(eps->f) : 1e-5));
    json_object_set_new(c, "sliding_window", window > 0 ? json_integer(window) : json_null());
    json_object_set_new(c, "tie_word_embeddings", json_boolean(look->tied));
    json_object_set_new(c, "hidden_act", json_string(look->phi ? "gelu_new" : "silu"));
}

static int make_config(struct pq_model *m, struct pq_onnx_names *look, const json_t *genai,
                       struct pq_err *e)
{
    const json_t *model = json_object_get(genai, "model");
    const json_t *decoder = json_object_get(model, "decoder");
    const char *type = json_string_value(json_object_get(model, "type"));
    uint64_t head_dim = 0;
    if (!decoder || !type)
        return pq_fail(e, PQ_EFORMAT, "%s: no model with a type and a decoder", PQ_ONNX_GENAI);
    look->phi = !strcmp(type, "phi");
    look->tied = is_tied(m);
    m->config = json_object();
    if (!m->config)
        return pq_fail(e, PQ_ENOMEM, "%s: out of memory", PQ_ONNX_GENAI);
    copy_keys(m->config, model, model_keys);
    copy_keys(m->config, decoder, decoder_keys);
    put_graph_words(m, look, m->config);
    int rc = pq_json_u64(m->config, "head_dim", &head_dim, PQ_ONNX_GENAI, e);
    return rc < 0 ? rc : put_rope(m, m->config, head_dim, e);
}

int pq_onnx_builder_config(struct pq_model *m, struct pq_onnx_names *look, struct pq_err *e)
{
    json_t *genai = NULL;
    const char *path = pq_path_join(&m->arena, m->path, PQ_ONNX_GENAI);
    if (!path)
        return pq_fail(e, PQ_ENOMEM, "%s: out of memory", m->path);
    int rc = pq_json_load(&genai, path, e);
    if (rc >= 0)
        rc = make_config(m, look, genai, e);
    json_decref(genai);
    return rc;
}
