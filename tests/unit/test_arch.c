/* Networks from configs and stored tensors. SPDX-License-Identifier: MIT */
#include "test.h"

#include "arch/network.h"
#include "base/num.h"

#include <math.h>
#include <stdlib.h>

#define FIXTURES PQ_TEST_DATA "/fixtures/"

static const char *const fixtures[] = {"phi2",        "phi3-mini-4k", "phi3-mini-128k-sharded",
                                       "phi3-medium", "phi4",         "phi4-mini"};

/* ---- helpers ---- */

static json_t *load(const char *fixture, const char *file)
{
    char path[512];
    struct pq_err e = {0};
    json_t *j;
    snprintf(path, sizeof path, FIXTURES "%s/%s", fixture, file);
    if (pq_json_load(&j, path, &e) < 0)
        fail_msg("%s", e.msg);
    return j;
}

struct opened {
    struct pq_arena a;
    struct pq_ckpt *c;
    json_t *config, *generation;
    struct pq_network net;
    struct pq_err e;
};

static void open_fixture(struct opened *o, const char *fixture)
{
    char path[512];
    *o = (struct opened){0};
    snprintf(path, sizeof path, FIXTURES "%s", fixture);
    if (pq_ckpt_open(&o->c, path, &o->e) < 0)
        fail_msg("%s: %s", fixture, o->e.msg);
    o->config = load(fixture, "config.json");
    o->generation = load(fixture, "generation_config.json");
}

static int bind(struct opened *o, const struct pq_ckpt *c)
{
    o->e = (struct pq_err){0};
    return pq_network_bind(&o->net, &o->a, c, o->config, o->generation, &o->e);
}

static void bind_fixture(struct opened *o, const char *fixture)
{
    open_fixture(o, fixture);
    if (bind(o, o->c) < 0)
        fail_msg("%s: %s", fixture, o->e.msg);
}

static void close_fixture(struct opened *o)
{
    json_decref(o->config);
    json_decref(o->generation);
    pq_ckpt_close(o->c);
    pq_arena_free(&o->a);
}

static int configure(struct pq_hparams *hp, const json_t *config, struct pq_arena *a,
                     struct pq_err *e)
{
    const struct pq_arch *arch;
    int rc = pq_arch_find(&arch, config, e);
    return rc < 0 ? rc : arch->configure(hp, config, a, e);
}

static void assert_same_hparams(const struct pq_hparams *a, const struct pq_hparams *b)
{
    const uint32_t *const x = &a->n_layers, *const y = &b->n_layers;
    for (size_t i = 0; i <= offsetof(struct pq_hparams, sliding_window) / sizeof *x; i++)
        if (x[i] != y[i])
            fail_msg("size %zu: %u and %u", i, x[i], y[i]);
    assert_true(a->rope_theta == b->rope_theta && a->norm_eps == b->norm_eps);
    assert_true(a->attn_factor == b->attn_factor);
    assert_true(a->norm == b->norm && a->act == b->act && a->rope == b->rope);
    assert_true(a->parallel == b->parallel && a->tied == b->tied);
    assert_true(a->bos == b->bos && a->pad == b->pad && a->n_eos == b->n_eos);
    for (int i = 0; i < a->n_eos; i++)
        assert_int_equal(a->eos[i], b->eos[i]);
    assert_string_equal(a->dtype, b->dtype);
    assert_int_equal(!a->long_factor, !b->long_factor);
    if (a->long_factor) {
        assert_memory_equal(a->long_factor, b->long_factor, a->rot_dims / 2 * sizeof(float));
        assert_memory_equal(a->short_factor, b->short_factor, a->rot_dims / 2 * sizeof(float));
    }
}

/* ---- the table ---- */

static void every_arch_is_complete(void **state)
{
    (void)state;
    for (const struct pq_arch *const *a = pq_archs; *a; a++) {
        bool seen[PQ_ROLES] = {false};
        assert_non_null((*a)->classes[0]);
        assert_non_null((*a)->about);
        for (const struct pq_map_row *r = (*a)->map; r->name; r++) {
            assert_false(seen[r->role]);
            seen[r->role] = true;
            assert_int_equal(r->per_layer, strstr(r->name, ".%d.") != NULL);
            int n = 0;
            while (r->stacked && r->stacked[n])
                n++;
            assert_true(n <= PQ_MAX_SLICES);
        }
        assert_true(seen[PQ_ROLE_EMBED] && seen[PQ_ROLE_HEAD] && seen[PQ_ROLE_FINAL_NORM]);
    }
    for (int r = 0; r < PQ_ROLES; r++)
        assert_non_null(pq_role_name((enum pq_role)r));
}

static void others_are_refused_in_words(void **state)
{
    static const struct {
        const char *config, *words;
    } rows[] = {
        {"{\"architectures\":[\"PhiMoEForCausalLM\"],\"model_type\":\"phimoe\"}", "experts"},
        {"{\"architectures\":[\"PhimoeForCausalLM\"]}", "experts"},
        {"{\"model_type\":\"phi3small\"}", "block-sparse"},
        {"{\"architectures\":[\"Phi3VForCausalLM\"],\"model_type\":\"phi3_v\"}", "vision"},
        {"{\"architectures\":[\"Phi4MMForCausalLM\"],\"model_type\":\"phi4mm\"}", "speech"},
        {"{\"architectures\":[\"Phi4FlashForCausalLM\"]}", "state-space"},
        {"{\"architectures\":[\"Phi4ForCausalLMV\"],\"model_type\":\"phi4-siglip\"}", "vision"},
        {"{\"architectures\":[\"PhiForCausalLM\"],\"model_type\":\"phi-msft\"}", "Wqkv"},
        {"{\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":\"llama\"}", "llamafied"},
        {"{\"architectures\":[\"Phi3ForSequenceClassification\"],\"model_type\":\"phi3\"}",
         "causal"},
        {"{\"architectures\":[\"Phi9ForCausalLM\"],\"model_type\":\"phi9\"}", "not known yet"},
        {"{\"architectures\":[\"GemmaForCausalLM\"],\"model_type\":\"gemma\"}",
         "not a Phi model: architectures [GemmaForCausalLM]"},
        {"{\"architectures\":[7],\"model_type\":[]}", "neither"},
        {"{\"architectures\":7}", "neither"},
        {"{}", "neither"},
        {"[]", "not an object"},
    };
    (void)state;
    for (size_t i = 0; i < PQ_LEN(rows); i++) {
        struct pq_err e = {0};
        const struct pq_arch *arch;
        json_t *j = json_loads(rows[i].config, 0, NULL);
        assert_non_null(j);
        assert_true(pq_arch_find(&arch, j, &e) < 0);
        assert_words(e, rows[i].words);
        json_decref(j);
    }
}

static void phimoe_fixture_is_refused(void **state)
{
    struct opened o;
    (void)state;
    open_fixture(&o, "phimoe");
    assert_int_equal(bind(&o, o.c), PQ_EUNSUPPORTED);
    assert_words(o.e, "mixture of experts");
    close_fixture(&o);
}

/* ---- configs ---- */

#define PHI3(extra)                                                                             \
    "{\"architectures\":[\"Phi3ForCausalLM\"],\"model_type\":\"phi3\",\"hidden_act\":\"silu\"," \
    "\"torch_dtype\":\"bfloat16\"," extra "}"

static json_t *parse(const char *text)
{
    struct pq_err e = {0};
    json_t *j;
    if (pq_json_parse(&j, text, strlen(text), "test", &e) < 0)
        fail_msg("%s", e.msg);
    return j;
}

static json_t *phi4_mini(void)
{
    json_t *j = parse(PHI3("\"hidden_size\":3072,\"intermediate_size\":8192,"
                           "\"num_hidden_layers\":32,\"num_attention_heads\":24,"
                           "\"num_key_value_heads\":8,\"vocab_size\":200064,"
                           "\"max_position_embeddings\":131072,"
                           "\"original_max_position_embeddings\":4096,\"rope_theta\":10000.0,"
                           "\"partial_rotary_factor\":0.75,\"sliding_window\":262144,"
                           "\"tie_word_embeddings\":true,\"rms_norm_eps\":1e-05,"
                           "\"bos_token_id\":199999,\"eos_token_id\":199999,"
                           "\"pad_token_id\":199999"));
    json_t *scaling =
        json_pack("{s:s, s:[], s:[]}", "type", "longrope", "long_factor", "short_factor");
    for (int i = 0; i < 48; i++) {
        json_array_append_new(json_object_get(scaling, "long_factor"), json_real(1 + i * 0.97));
        json_array_append_new(json_object_get(scaling, "short_factor"), json_integer(1));
    }
    json_object_set_new(j, "rope_scaling", scaling);
    return j;
}

static void known_numbers(void **state)
{
    struct pq_arena a = {0};
    struct pq_err e = {0};
    struct pq_hparams hp;
    (void)state;
    json_t *j = phi4_mini();
    if (configure(&hp, j, &a, &e) < 0)
        fail_msg("%s", e.msg);
    assert_int_equal(hp.head_dim, 128);
    assert_int_equal(hp.rot_dims, 96);
    assert_int_equal(hp.rope, PQ_ROPE_LONGROPE);
    assert_true(fabs(hp.attn_factor - 1.1902380714238083) < 1e-15);
    assert_true(hp.tied && !hp.parallel && hp.sliding_window == 262144);
    assert_true(hp.long_factor[1] == (float)1.97 && hp.short_factor[47] == 1);
    uint64_t rows, cols;
    int n_dims;
    pq_role_shape(PQ_ROLE_ATTN_QKV, &hp, &rows, &cols, &n_dims);
    assert_true(rows == 5120 && cols == 3072 && n_dims == 2);

    json_object_set_new(j, "original_max_position_embeddings", json_integer(8192));
    assert_int_equal(configure(&hp, j, &a, &e), PQ_OK);
    assert_true(fabs(hp.attn_factor - 1.1435437497937313) < 1e-15);
    json_object_set_new(j, "original_max_position_embeddings", json_integer(131072));
    assert_int_equal(configure(&hp, j, &a, &e), PQ_OK);
    assert_true(hp.attn_factor == 1);
    json_object_set_new(json_object_get(j, "rope_scaling"), "attention_factor", json_real(1.25));
    assert_int_equal(configure(&hp, j, &a, &e), PQ_OK);
    assert_true(hp.attn_factor == 1.25);
    json_decref(j);

    j = parse("{\"architectures\":[\"PhiForCausalLM\"],\"model_type\":\"phi\","
              "\"hidden_act\":\"gelu_new\",\"hidden_size\":2560,\"intermediate_size\":10240,"
              "\"num_hidden_layers\":32,\"num_attention_heads\":32,\"num_key_value_heads\":null,"
              "\"vocab_size\":51200,\"max_position_embeddings\":2048,"
              "\"partial_rotary_factor\":0.4,\"eos_token_id\":[50256,50256,7],"
              "\"torch_dtype\":\"float16\"}");
    assert_int_equal(configure(&hp, j, &a, &e), PQ_OK);
    assert_true(hp.rot_dims == 32 && hp.head_dim == 80 && hp.n_kv_heads == 32 && hp.parallel);
    assert_true(hp.n_eos == 2 && hp.eos[0] == 50256 && hp.eos[1] == 7);
    assert_true(hp.norm_eps == 1e-5 && hp.bos == -1 && hp.rope_theta == 10000);
    json_decref(j);
    pq_arena_free(&a);
}

/* Published form to the form of transformers 5. */
static json_t *newer_form(const json_t *config)
{
    static const char *const moved[] = {"rope_theta", "partial_rotary_factor",
                                        "original_max_position_embeddings"};
    json_t *j = json_deep_copy(config);
    json_t *scaling = json_object_get(j, "rope_scaling");
    json_t *rope = json_is_object(scaling) ? json_deep_copy(scaling) : json_object();
    json_t *type = json_object_get(rope, "type");
    json_object_set_new(rope, "rope_type", type ? json_incref(type) : json_string("default"));
    json_object_del(rope, "type");
    for (size_t i = 0; i < PQ_LEN(moved); i++)
        if (json_object_get(j, moved[i])) {
            json_object_set(rope, moved[i], json_object_get(j, moved[i]));
            json_object_del(j, moved[i]);
        }
    json_object_del(j, "rope_scaling");
    json_object_set_new(j, "rope_parameters", rope);
    json_object_set(j, "dtype", json_object_get(j, "torch_dtype"));
    json_object_del(j, "torch_dtype");
    return j;
}

static void both_forms_are_equal(void **state)
{
    (void)state;
    for (size_t i = 0; i < PQ_LEN(fixtures); i++) {
        struct pq_arena a = {0};
        struct pq_err e = {0};
        struct pq_hparams x, y;
        json_t *old = load(fixtures[i], "config.json"), *new = newer_form(old);
        assert_int_equal(configure(&x, old, &a, &e), PQ_OK);
        if (configure(&y, new, &a, &e) < 0)
            fail_msg("%s: %s", fixtures[i], e.msg);
        assert_same_hparams(&x, &y);
        json_decref(old);
        json_decref(new);
        pq_arena_free(&a);
    }
}

static void early_names_of_longrope(void **state)
{
    static const char *const names[] = {"su", "yarn", "longrope"};
    (void)state;
    for (size_t i = 0; i < PQ_LEN(names); i++) {
        struct pq_arena a = {0};
        struct pq_err e = {0};
        struct pq_hparams hp;
        json_t *j = phi4_mini();
        json_object_set_new(json_object_get(j, "rope_scaling"), "type", json_string(names[i]));
        assert_int_equal(configure(&hp, j, &a, &e), PQ_OK);
        assert_int_equal(hp.rope, PQ_ROPE_LONGROPE);
        json_decref(j);
        pq_arena_free(&a);
    }
}

/* One member of a sound config replaced; `inside` replaces it in rope_scaling. */
static void bad_configs_are_refused(void **state)
{
    static const struct {
        const char *key, *value, *words;
        bool inside;
    } rows[] = {
        {"num_hidden_layers", "\"32\"", "num_hidden_layers", false},
        {"num_hidden_layers", "0", "expected 1 to 512", false},
        {"num_hidden_layers", "513", "expected 1 to 512", false},
        {"num_hidden_layers", "null", "is missing", false},
        {"num_hidden_layers", "-1", "num_hidden_layers", false},
        {"hidden_size", "3072.0", "hidden_size", false},
        {"hidden_size", "3073", "not a multiple", false},
        {"hidden_size", "9000000000000000000", "hidden_size", false},
        {"intermediate_size", "[]", "intermediate_size", false},
        {"num_attention_heads", "0", "num_attention_heads", false},
        {"num_key_value_heads", "7", "not a multiple", false},
        {"num_key_value_heads", "0", "num_key_value_heads", false},
        {"head_dim", "0", "head_dim", false},
        {"head_dim", "100000", "head_dim", false},
        {"vocab_size", "0", "vocab_size", false},
        {"vocab_size", "true", "vocab_size", false},
        {"vocab_size", "100", "below vocab_size 100", false},
        {"max_position_embeddings", "0", "max_position_embeddings", false},
        {"sliding_window", "\"x\"", "sliding_window", false},
        {"rms_norm_eps", "0", "rms_norm_eps", false},
        {"rms_norm_eps", "\"1e-5\"", "rms_norm_eps", false},
        {"hidden_act", "\"gelu\"", "hidden_act \"gelu\"", false},
        {"hidden_act", "3", "hidden_act", false},
        {"torch_dtype", "\"float64\"", "float64", false},
        {"torch_dtype", "16", "torch_dtype", false},
        {"tie_word_embeddings", "1", "tie_word_embeddings", false},
        {"attention_bias", "true", "attention_bias", false},
        {"mlp_bias", "true", "mlp_bias", false},
        {"qk_layernorm", "true", "qk_layernorm", false},
        {"lm_head_bias", "true", "lm_head_bias", false},
        {"quantization_config", "{\"quant_method\":\"gptq\"}", "quant_method \"gptq\"", false},
        {"quantization_config", "7", "already quantized", false},
        {"bos_token_id", "200064", "bos_token_id", false},
        {"bos_token_id", "1.5", "bos_token_id", false},
        {"eos_token_id", "\"</s>\"", "eos_token_id", false},
        {"eos_token_id", "[1, null]", "eos_token_id", false},
        {"eos_token_id", "[0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]", "more than 16", false},
        {"pad_token_id", "-2", "pad_token_id", false},
        {"rope_theta", "0", "rope_theta", false},
        {"rope_theta", "\"1e4\"", "rope_theta", false},
        {"partial_rotary_factor", "0", "partial_rotary_factor", false},
        {"partial_rotary_factor", "1.5", "partial_rotary_factor", false},
        {"partial_rotary_factor", "0.74", "long_factor has 48 numbers, expected 47", false},
        {"partial_rotary_factor", "0.01", "expected an even number", false},
        {"original_max_position_embeddings", "null", "is missing", false},
        {"original_max_position_embeddings", "1", "original_max_position", false},
        {"rope_scaling", "[]", "rope_scaling is not an object", false},
        {"rope_scaling", "{\"type\":\"linear\",\"factor\":2}", "\"linear\"", false},
        {"rope_parameters", "3", "rope_parameters", false},
        {"type", "null", "no type", true},
        {"type", "7", "type", true},
        {"long_factor", "null", "long_factor", true},
        {"long_factor", "{}", "long_factor", true},
        {"long_factor", "[1, 2]", "long_factor has 2 numbers, expected 48", true},
        {"short_factor", "[]", "short_factor", true},
        {"attention_factor", "0", "attention_factor", true},
        {"attention_factor", "\"1\"", "attention_factor", true},
    };
    (void)state;
    for (size_t i = 0; i < PQ_LEN(rows); i++) {
        struct pq_arena a = {0};
        struct pq_err e = {0};
        struct pq_hparams hp;
        json_t *j = phi4_mini(), *value = json_loads(rows[i].value, JSON_DECODE_ANY, NULL);
        assert_non_null(value);
        if (!strcmp(rows[i].key, "rope_parameters"))
            json_object_del(j, "rope_scaling");
        json_object_set_new(rows[i].inside ? json_object_get(j, "rope_scaling") : j, rows[i].key,
                            value);
        if (configure(&hp, j, &a, &e) >= 0)
            fail_msg("%s = %s was accepted", rows[i].key, rows[i].value);
        assert_words(e, rows[i].words);
        json_decref(j);
        pq_arena_free(&a);
    }
}

static void bad_factors_are_refused(void **state)
{
    static const char *const bad[] = {"0", "-1", "\"1\"", "null", "1e300"};
    (void)state;
    for (size_t i = 0; i < PQ_LEN(bad); i++) {
        struct pq_arena a = {0};
        struct pq_err e = {0};
        struct pq_hparams hp;
        json_t *j = phi4_mini();
        json_array_set_new(json_object_get(json_object_get(j, "rope_scaling"), "short_factor"), 5,
                           json_loads(bad[i], JSON_DECODE_ANY, NULL));
        assert_true(configure(&hp, j, &a, &e) < 0);
        assert_words(e, "short_factor[5]");
        json_decref(j);
        pq_arena_free(&a);
    }
}

/* ---- binding ---- */

static void fixtures_bind(void **state)
{
    (void)state;
    for (size_t i = 0; i < PQ_LEN(fixtures); i++) {
        struct opened o;
        bind_fixture(&o, fixtures[i]);
        const struct pq_network *net = &o.net;
        assert_int_equal(net->tensor[0].role, PQ_ROLE_EMBED);
        uint64_t weights = 0;
        for (size_t k = 0; k < net->n_tensors; k++) {
            const struct pq_tensor *t = &net->tensor[k];
            assert_int_equal(t->n_slices, 1);
            assert_string_equal(t->slice[0].stored, t->name);
            assert_ptr_equal(pq_network_find(net, t->name), t);
            assert_true(t->n_dims == (pq_role_is_matrix(t->role) ? 2 : 1));
            assert_true(t->n_dims == 2 || t->rows == 1);
            weights += t->rows * t->cols;
        }
        assert_int_equal(net->n_tensors, o.c->n_tensors);
        assert_true(pq_network_weights(net) == weights);
        assert_null(pq_network_find(net, "no.such.tensor"));
        close_fixture(&o);
    }
}

static void emitted_config_reads_back_equal(void **state)
{
    (void)state;
    for (size_t i = 0; i < PQ_LEN(fixtures); i++) {
        struct opened o;
        struct pq_hparams again;
        bind_fixture(&o, fixtures[i]);
        json_t *config = pq_network_config(&o.net), *generation = pq_network_generation(&o.net);
        if (configure(&again, config, &o.a, &o.e) < 0)
            fail_msg("%s: %s", fixtures[i], o.e.msg);
        assert_same_hparams(&o.net.hp, &again);
        assert_true(json_equal(json_object_get(config, "eos_token_id"),
                               json_object_get(generation, "eos_token_id")));
        json_decref(config);
        json_decref(generation);
        close_fixture(&o);
    }
}

static void unusual_attention_factor_survives(void **state)
{
    struct opened o;
    struct pq_hparams again;
    (void)state;
    open_fixture(&o, "phi4-mini");
    json_t *scaling = json_object_get(o.config, "rope_scaling");
    json_object_set_new(scaling, "attention_factor", json_real(1.25));
    assert_int_equal(bind(&o, o.c), PQ_OK);
    json_t *config = pq_network_config(&o.net);
    assert_int_equal(configure(&again, config, &o.a, &o.e), PQ_OK);
    assert_true(again.attn_factor == 1.25);
    json_decref(config);
    close_fixture(&o);
}

static void stop_tokens_are_the_union(void **state)
{
    struct opened o;
    (void)state;
    open_fixture(&o, "phi4-mini");
    json_object_set_new(o.generation, "eos_token_id", json_pack("[i, i]", 507, 500));
    assert_int_equal(bind(&o, o.c), PQ_OK);
    assert_true(o.net.hp.n_eos == 2 && o.net.hp.eos[0] == 500 && o.net.hp.eos[1] == 507);
    json_object_set_new(o.generation, "eos_token_id", json_string("x"));
    assert_true(bind(&o, o.c) < 0);
    assert_words(o.e, "generation_config.json");
    close_fixture(&o);
}

static void dtype_comes_from_the_embedding(void **state)
{
    struct opened o;
    (void)state;
    open_fixture(&o, "phi4");
    json_object_del(o.config, "torch_dtype");
    assert_int_equal(bind(&o, o.c), PQ_OK);
    assert_string_equal(o.net.hp.dtype, "bfloat16");
    close_fixture(&o);
}

/* A copy of a checkpoint's list that a test may change; the arrays stay where they are. */
static struct pq_ckpt *copy_list(struct opened *o, size_t extra)
{
    struct pq_ckpt *c = (struct pq_ckpt *)pq_arena_alloc(&o->a, 1, sizeof *c);
    *c = *o->c;
    c->tensor = (struct pq_stored *)pq_arena_alloc(&o->a, c->n_tensors + extra, sizeof *c->tensor);
    memcpy(c->tensor, o->c->tensor, c->n_tensors * sizeof *c->tensor);
    return c;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct pq_stored *)a)->name, ((const struct pq_stored *)b)->name);
}

static void sort_list(struct pq_ckpt *c)
{
    qsort(c->tensor, c->n_tensors, sizeof *c->tensor, by_name);
}

static struct pq_stored *entry(struct pq_ckpt *c, const char *name)
{
    for (size_t i = 0; i < c->n_tensors; i++)
        if (!strcmp(c->tensor[i].name, name))
            return &c->tensor[i];
    fail_msg("no %s", name);
    return NULL;
}

static void tensors_missing_extra_misshapen(void **state)
{
    static const char norm[] = "model.norm.weight";
    static const struct {
        const char *from, *to; /* renamed; to = NULL: shape changed instead */
        const char *words;
    } rows[] = {
        {"model.norm.weight", "model.nrm.weight", "tensor model.norm.weight is missing"},
        {"model.layers.1.self_attn.o_proj.weight", "x", "o_proj.weight is missing"},
        {"model.layers.0.self_attn.qkv_proj.weight", "x", "qkv_proj.weight is missing"},
        {"model.layers.0.self_attn.qkv_proj.weight", "model.layers.0.self_attn.q_proj.weight",
         "config.json gives [256, 256]"},
        {"lm_head.weight", "y", "lm_head.weight is missing"},
        {"model.norm.weight", NULL, "has shape [256, 1], config.json gives [256]"},
        {"lm_head.weight", NULL, "has shape [496, 256, 1]"},
    };
    (void)state;
    for (size_t i = 0; i < PQ_LEN(rows); i++) {
        struct opened o;
        open_fixture(&o, "phi3-mini-4k");
        struct pq_ckpt *c = copy_list(&o, 0);
        struct pq_stored *s = entry(c, rows[i].from);
        if (rows[i].to)
            s->name = rows[i].to;
        else
            s->dim[s->n_dims++] = 1;
        sort_list(c);
        assert_int_equal(bind(&o, c), PQ_EFORMAT);
        assert_words(o.e, rows[i].words);
        close_fixture(&o);
    }
    static const struct {
        const char *name, *words;
    } extra[] = {
        {"model.layers.7.input_layernorm.weight", "belongs to layer 7"},
        {"model.layers.0.self_attn.qkv_proj.lora_A.weight", "LoRA"},
        {"model.layers.0.self_attn.q_proj.weight", "is not a tensor of Phi3ForCausalLM"},
        {"score.weight", "is not a tensor of"},
        {"model.layers.0.self_attn.rotary_emb.inv_freq", NULL},
    };
    for (size_t i = 0; i < PQ_LEN(extra); i++) {
        struct opened o;
        open_fixture(&o, "phi3-mini-4k");
        struct pq_ckpt *c = copy_list(&o, 1);
        c->tensor[c->n_tensors++] = *entry(c, norm);
        c->tensor[c->n_tensors - 1].name = extra[i].name;
        sort_list(c);
        assert_true((bind(&o, c) < 0) == (extra[i].words != NULL));
        if (extra[i].words)
            assert_words(o.e, extra[i].words);
        close_fixture(&o);
    }
}

static void integers_are_not_weights(void **state)
{
    struct opened o;
    (void)state;
    open_fixture(&o, "phi4");
    struct pq_ckpt *c = copy_list(&o, 0);
    entry(c, "model.norm.weight")->scheme = NULL;
    assert_int_equal(bind(&o, c), PQ_EUNSUPPORTED);
    assert_words(o.e, "model.norm.weight");
    close_fixture(&o);
}

static void redundant_tied_head_is_dropped(void **state)
{
    struct opened o;
    (void)state;
    open_fixture(&o, "phi4-mini");
    struct pq_ckpt *c = copy_list(&o, 1);
    c->tensor[c->n_tensors++] = *entry(c, "model.embed_tokens.weight");
    c->tensor[c->n_tensors - 1].name = "lm_head.weight";
    sort_list(c);
    assert_int_equal(bind(&o, c), PQ_OK);
    assert_null(pq_network_find(&o.net, "lm_head.weight"));
    entry(c, "lm_head.weight")->dim[0]--;
    assert_int_equal(bind(&o, c), PQ_EFORMAT);
    assert_words(o.e, "lm_head.weight has shape");
    close_fixture(&o);
}

/* Replaces a fused tensor by its parts, as views into the same bytes. */
static void split(struct opened *o, struct pq_ckpt *c, const char *fused, const char *const part[],
                  const uint64_t *rows, int n)
{
    struct pq_stored whole = *entry(c, fused);
    uint64_t row_bytes = whole.bytes / whole.dim[0], row = 0;
    *entry(c, fused) = c->tensor[--c->n_tensors];
    for (int i = 0; i < n; i++) {
        struct pq_stored s = whole;
        s.name = pq_arena_strdup(&o->a, part[i]);
        s.dim[0] = rows[i];
        s.data = whole.data + row * row_bytes;
        s.bytes = rows[i] * row_bytes;
        row += rows[i];
        c->tensor[c->n_tensors++] = s;
    }
}

static void split_parts_equal_fused(void **state)
{
    struct opened fused, parts;
    (void)state;
    bind_fixture(&fused, "phi4");
    open_fixture(&parts, "phi4");
    const struct pq_hparams *hp = &fused.net.hp;
    struct pq_ckpt *c = copy_list(&parts, 3 * hp->n_layers);
    for (uint32_t layer = 0; layer < hp->n_layers; layer++) {
        static const char *const names[] = {
            "self_attn.qkv_proj", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
            "mlp.gate_up_proj",   "mlp.gate_proj",    "mlp.up_proj"};
        char full[7][96];
        for (int i = 0; i < 7; i++)
            snprintf(full[i], sizeof full[i], "model.layers.%u.%s.weight", layer, names[i]);
        const uint64_t q = hp->n_heads * hp->head_dim, kv = hp->n_kv_heads * hp->head_dim;
        split(&parts, c, full[0], (const char *const[]){full[1], full[2], full[3]},
              (const uint64_t[]){q, kv, kv}, 3);
        split(&parts, c, full[4], (const char *const[]){full[5], full[6]},
              (const uint64_t[]){hp->ff, hp->ff}, 2);
    }
    sort_list(c);
    if (bind(&parts, c) < 0)
        fail_msg("%s", parts.e.msg);
    assert_int_equal(parts.net.n_tensors, fused.net.n_tensors);
    const struct pq_kern *k = pq_kern_level(0);
    float *x = calloc(4096, sizeof *x), *y = calloc(4096, sizeof *y);
    for (size_t i = 0; i < fused.net.n_tensors; i++) {
        const struct pq_tensor *a = &fused.net.tensor[i], *b = &parts.net.tensor[i];
        assert_string_equal(a->name, b->name);
        assert_true(a->rows == b->rows && a->cols == b->cols && a->cols <= 4096);
        for (uint64_t row = 0; row < a->rows; row++) {
            pq_tensor_row(a, k, row, x);
            pq_tensor_row(b, k, row, y);
            assert_memory_equal(x, y, a->cols * sizeof *x);
        }
    }
    assert_int_equal(
        pq_network_find(&parts.net, "model.layers.0.self_attn.qkv_proj.weight")->n_slices, 3);
    free(x);
    free(y);
    entry(c, "model.layers.1.self_attn.v_proj.weight")->name = "model.layers.1.self_attn.w";
    sort_list(c);
    assert_int_equal(bind(&parts, c), PQ_EFORMAT);
    assert_words(parts.e, "v_proj.weight is missing beside");
    close_fixture(&fused);
    close_fixture(&parts);
}

static void memory_may_run_out_anywhere(void **state)
{
    struct opened o;
    unsigned long n = 1;
    (void)state;
    open_fixture(&o, "phi4-mini");
    for (;; n++) {
        pq_mem_fail_after(n, true);
        int rc = bind(&o, o.c);
        pq_mem_fail_after(0, false);
        pq_arena_free(&o.a);
        if (rc == PQ_OK)
            break;
        assert_int_equal(rc, PQ_ENOMEM);
        assert_true(o.e.msg[0]);
    }
    assert_true(n > 1);
    close_fixture(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_arch_is_complete),
        cmocka_unit_test(others_are_refused_in_words),
        cmocka_unit_test(phimoe_fixture_is_refused),
        cmocka_unit_test(known_numbers),
        cmocka_unit_test(both_forms_are_equal),
        cmocka_unit_test(early_names_of_longrope),
        cmocka_unit_test(bad_configs_are_refused),
        cmocka_unit_test(bad_factors_are_refused),
        cmocka_unit_test(fixtures_bind),
        cmocka_unit_test(emitted_config_reads_back_equal),
        cmocka_unit_test(unusual_attention_factor_survives),
        cmocka_unit_test(stop_tokens_are_the_union),
        cmocka_unit_test(dtype_comes_from_the_embedding),
        cmocka_unit_test(tensors_missing_extra_misshapen),
        cmocka_unit_test(integers_are_not_weights),
        cmocka_unit_test(redundant_tied_head_is_dropped),
        cmocka_unit_test(split_parts_equal_fused),
        cmocka_unit_test(memory_may_run_out_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
