/* MLX folders written and read back, their documents, and folders that lie.
 * SPDX-License-Identifier: MIT */
#include "modelio.h"

#include "base/num.h"
#include "wire/safetensors.h"

#include <stdio.h>
#include <stdlib.h>

static json_t *load_json(const char *dir, const char *name)
{
    char path[1200];
    json_t *j;
    struct pq_err e = {0};
    snprintf(path, sizeof path, "%s/%s", dir, name);
    if (pq_json_load(&j, path, &e) < 0)
        fail_msg("%s", e.msg);
    return j;
}

static void test_round_trip(void **state)
{
    (void)state;
    for (int i = 0; i < MODELIO_FIXTURES; i++) {
        const char *source = modelio_fixture(modelio_fixtures[i]);
        const char *dir = modelio_write(source, "rt", "mlx", "bf16", 0);
        struct pq_model *a = modelio_load(source), *b = modelio_load(dir);
        assert_string_equal(b->container->name, "mlx");
        assert_string_equal(b->name, modelio_fixtures[i]); /* kept in config.json */
        modelio_same(a, b);
        pq_model_free(a);
        pq_model_free(b);
    }
}

/* A vocabulary that came without files is written as some, and reads back the same. */
static void test_from_gguf(void **state)
{
    (void)state;
    for (int i = 0; i < MODELIO_FIXTURES; i++) {
        const char *source = modelio_fixture(modelio_fixtures[i]);
        const char *file = modelio_write(source, "via", "gguf", "f32", 0);
        const char *dir = modelio_write(file, "back", "mlx", "bf16", 0);
        struct pq_model *a = modelio_load(source), *b = modelio_load(dir);
        modelio_same_rows(&a->net, &b->net);
        assert_true(b->has_vocab);
        assert_int_equal(a->vocab.n_tokens, b->vocab.n_tokens);
        for (size_t k = 0; k < a->vocab.n_tokens; k++)
            assert_string_equal(a->vocab.token[k].text, b->vocab.token[k].text);
        assert_int_equal(a->net.hp.n_eos, b->net.hp.n_eos);
        pq_model_free(a);
        pq_model_free(b);
        struct pq_err e = {0};
        assert_int_equal(pq_tree_remove(modelio_path("via"), &e), PQ_OK);
    }
}

static const struct {
    const char *recipe, *mode;
    int bits, group;
} recipes[] = {
    {"affine2g32", "affine", 2, 32},   {"affine3g64", "affine", 3, 64},
    {"affine4g128", "affine", 4, 128}, {"affine5g32", "affine", 5, 32},
    {"affine6g64", "affine", 6, 64},   {"affine8g64", "affine", 8, 64},
    {"mixed_3_6", "affine", 3, 64},    {"mxfp4", "mxfp4", 4, 32},
    {"mxfp8", "mxfp8", 8, 32},         {"nvfp4", "nvfp4", 4, 16},
};

static void check_words(const json_t *q, const char *mode, int bits, int group)
{
    assert_int_equal(json_integer_value(json_object_get(q, "bits")), bits);
    assert_int_equal(json_integer_value(json_object_get(q, "group_size")), group);
    assert_string_equal(json_string_value(json_object_get(q, "mode")), mode);
}

/* Names in the index are exactly those of the weights, each once. */
static void check_index(const char *dir, size_t n_arrays, uint64_t bytes)
{
    json_t *j = load_json(dir, "model.safetensors.index.json");
    const json_t *meta = json_object_get(j, "metadata");
    assert_int_equal(json_object_size(json_object_get(j, "weight_map")), n_arrays);
    assert_int_equal(json_integer_value(json_object_get(meta, "total_size")), bytes);
    json_decref(j);
}

static void test_quantized(void **state)
{
    (void)state;
    for (size_t i = 0; i < PQ_LEN(recipes); i++) {
        const char *dir = modelio_write(modelio_fixture("phi2"), "q", "mlx", recipes[i].recipe, 0);
        json_t *config = load_json(dir, "config.json");
        const json_t *q = json_object_get(config, "quantization");
        check_words(q, recipes[i].mode, recipes[i].bits, recipes[i].group);
        assert_true(json_equal(q, json_object_get(config, "quantization_config")));
        assert_string_equal(json_string_value(json_object_get(config, "torch_dtype")), "bfloat16");
        struct pq_model *m = modelio_load(dir);
        assert_null(json_object_get(m->config, "quantization"));
        assert_null(json_object_get(m->config, "quantization_config"));
        size_t arrays = 0;
        uint64_t bytes = 0;
        for (size_t k = 0; k < m->net.n_tensors; k++) {
            const struct pq_tensor *t = &m->net.tensor[k];
            const struct pq_scheme *s = t->slice[0].view.scheme;
            struct pq_part part[PQ_MAX_PARTS];
            assert_int_equal(s->family != PQ_FAM_FLOAT, pq_role_is_matrix(t->role));
            assert_true(s->aux == PQ_BF16 || s->family != PQ_FAM_AFFINE);
            arrays += (size_t)s->parts(s, t->cols, part);
            bytes += t->rows * pq_scheme_row_bytes(s, t->cols);
        }
        check_index(dir, arrays, bytes);
        pq_model_free(m);
        json_decref(config);
    }
}

/* A tied head gets the high width of a mix, and modules of another width their own entry. */
static void test_mixed_tied(void **state)
{
    (void)state;
    const char *dir = modelio_write(modelio_fixture("phi4-mini"), "mix", "mlx", "mixed_2_6", 0);
    json_t *config = load_json(dir, "config.json");
    const json_t *q = json_object_get(config, "quantization");
    check_words(q, "affine", 2, 64);
    check_words(json_object_get(q, "model.embed_tokens"), "affine", 6, 64);
    assert_null(json_object_get(q, "model.layers.0.self_attn.o_proj"));
    struct pq_model *m = modelio_load(dir);
    assert_int_equal(m->net.tensor[0].slice[0].view.scheme->bits, 6);
    pq_model_free(m);
    json_decref(config);
}

/* Only the config's long factors change, and only when asked. */
static void test_context(void **state)
{
    (void)state;
    struct pq_model *m = modelio_load(modelio_fixture("phi4-mini"));
    const struct pq_container *c = pq_container_find("mlx");
    static const struct {
        int context;
        const char *note, *factors;
    } rows[] = {
        {PQ_CONTEXT_AUTO, "right for prompts of more than 64 tokens", "long_factor"},
        {PQ_CONTEXT_LONG, "right for prompts of more than 64 tokens", "long_factor"},
        {PQ_CONTEXT_SHORT, "right for prompts of up to 64 tokens", "short_factor"},
    };
    for (size_t i = 0; i < PQ_LEN(rows); i++) {
        struct pq_request r = {.recipe = pq_recipe_find(c, "bf16")};
        struct pq_err e = {0};
        struct pq_plan p = {0};
        const struct pq_scheme *choice[64];
        json_t *config = NULL;
        r.context = rows[i].context;
        assert_int_equal(pq_choose(c, m, &r, choice, &e), PQ_OK);
        assert_int_equal(c->plan(&p, m, &r, choice, &e), PQ_OK);
        assert_int_equal(p.n_notes, 1);
        assert_non_null(strstr(p.note[0], rows[i].note));
        for (size_t f = 0; f < p.n_files; f++)
            if (!strcmp(p.file[f].name, "config.json"))
                assert_int_equal(pq_json_parse(&config, (const char *)p.file[f].doc.data,
                                               p.file[f].doc.len, "config.json", &e),
                                 PQ_OK);
        const json_t *was = json_object_get(m->config, "rope_scaling");
        const json_t *is = json_object_get(config, "rope_scaling");
        assert_true(
            json_equal(json_object_get(is, "long_factor"), json_object_get(was, rows[i].factors)));
        assert_true(
            json_equal(json_object_get(is, "short_factor"), json_object_get(was, "short_factor")));
        json_decref(config);
        pq_plan_free(&p);
    }
    pq_model_free(m);
}

/* Configs of transformers 5 come out in the keys that mlx-lm reads. */
static void test_classic_keys(void **state)
{
    (void)state;
    struct pq_model *m = modelio_load(modelio_fixture("phi4-mini"));
    json_t *rope = json_deep_copy(json_object_get(m->config, "rope_scaling"));
    json_object_set_new(rope, "rope_type", json_string("longrope"));
    json_object_del(rope, "type");
    json_object_set_new(rope, "rope_theta", json_real(10000));
    json_object_set_new(rope, "partial_rotary_factor", json_real(0.75));
    json_object_set_new(m->config, "rope_parameters", rope);
    json_object_set_new(m->config, "dtype", json_string("bfloat16"));
    json_object_set_new(m->config, "auto_map", json_object());
    static const char *const gone[] = {"rope_scaling", "rope_theta", "partial_rotary_factor",
                                       "torch_dtype"};
    for (size_t i = 0; i < PQ_LEN(gone); i++)
        json_object_del(m->config, gone[i]);

    const struct pq_container *c = pq_container_find("mlx");
    struct pq_request r = {.recipe = pq_recipe_find(c, "f16")};
    struct pq_err e = {0};
    struct pq_plan p = {0};
    const struct pq_scheme *choice[64];
    json_t *config = NULL;
    assert_int_equal(pq_choose(c, m, &r, choice, &e), PQ_OK);
    assert_int_equal(c->plan(&p, m, &r, choice, &e), PQ_OK);
    for (size_t f = 0; f < p.n_files; f++)
        if (!strcmp(p.file[f].name, "config.json"))
            assert_int_equal(pq_json_parse(&config, (const char *)p.file[f].doc.data,
                                           p.file[f].doc.len, "config.json", &e),
                             PQ_OK);
    static const char *const dropped[] = {"rope_parameters", "dtype", "auto_map"};
    for (size_t i = 0; i < PQ_LEN(dropped); i++)
        assert_null(json_object_get(config, dropped[i]));
    const json_t *scaling = json_object_get(config, "rope_scaling");
    assert_string_equal(json_string_value(json_object_get(scaling, "type")), "longrope");
    assert_int_equal(json_array_size(json_object_get(scaling, "long_factor")), 24);
    assert_true(json_number_value(json_object_get(config, "partial_rotary_factor")) == 0.75);
    assert_true(json_number_value(json_object_get(config, "rope_theta")) == 10000);
    assert_string_equal(json_string_value(json_object_get(config, "torch_dtype")), "float16");
    json_decref(config);
    pq_plan_free(&p);
    pq_model_free(m);
}

/* ---- folders that lie ---- */

static const struct {
    const char *module; /* NULL = the block itself */
    const char *key, *json;
    const char *words;
} lies[] = {
    {NULL, "bits", "8", "gives U32 [496, 64]"},
    {NULL, "bits", "7", "7 bits, group 64"},
    {NULL, "bits", "\"4\"", "bits is a string"},
    {NULL, "bits", "null", "0 bits"},
    {NULL, "bits", "-4", "bits"},
    {NULL, "group_size", "32", "gives U32 [496, 16]"},
    {NULL, "group_size", "0", "group 0"},
    {NULL, "group_size", "1e3", "group_size"},
    {NULL, "mode", "\"mxfp4\"", "mxfp4, 4 bits, group 64"},
    {NULL, "mode", "7", "mode"},
    {NULL, "mode", "\"int\"", "int, 4 bits"},
    {"lm_head", NULL, "{\"bits\": 8, \"group_size\": 64}", "lm_head.weight"},
    {"lm_head", NULL, "[4, 64]", "lm_head is not an object"},
    {"lm_head", NULL, "{\"bits\": 4, \"group_size\": null}", NULL}, /* mlx-lm's mixes */
    {"elsewhere", NULL, "{\"bits\": 8}", NULL},
};

static void test_config_lies(void **state)
{
    (void)state;
    const char *dir = modelio_write(modelio_fixture("phi3-mini-4k"), "lie", "mlx", "affine4g64", 0);
    char path[1200];
    snprintf(path, sizeof path, "%s/config.json", dir);
    json_t *good = load_json(dir, "config.json");
    for (size_t i = 0; i < PQ_LEN(lies); i++) {
        json_t *bad = json_deep_copy(good);
        json_t *q = json_object_get(bad, "quantization");
        json_object_set_new(q, lies[i].module ? lies[i].module : lies[i].key,
                            json_loads(lies[i].json, JSON_DECODE_ANY, NULL));
        assert_int_equal(json_dump_file(bad, path, 0), 0);
        if (lies[i].words)
            modelio_refused(dir, lies[i].words);
        else
            pq_model_free(modelio_load(dir));
        json_decref(bad);
    }
    json_t *bad = json_deep_copy(good);
    json_object_set_new(bad, "quantization", json_string("yes"));
    assert_int_equal(json_dump_file(bad, path, 0), 0);
    modelio_refused(dir, "not an object");
    json_object_del(bad, "quantization");
    json_object_del(bad, "quantization_config");
    assert_int_equal(json_dump_file(bad, path, 0), 0);
    modelio_refused(dir, "config.json has no quantization");
    json_decref(bad);
    json_decref(good);
}

#define SAME(from, to, words)             \
    {                                     \
        from, to, sizeof(from) - 1, words \
    }

static const struct {
    const char *from, *to;
    size_t n;
    const char *words;
} patches[] = {
    SAME("lm_head.scales", "lm_head.scalex", "lm_head.weight is packed but lacks its scales"),
    SAME("lm_head.biases", "lm_head.biasex", "lm_head.weight lacks its biases"),
    SAME("lm_head.weight", "lm_head.weighx", "lm_head"),
    SAME("model.norm.weight", "model.norx.weight", "model.nor"),
    SAME("\"BF16\",\"shape\":[496,4]", "\"BF16\",\"shape\":[4,496]", "scales"),
    SAME("\"BF16\",\"shape\":[496,4]", "\"F16\" ,\"shape\":[496,4]", "biases"),
    SAME("\"U32\",\"shape\":[496,32]", "\"F32\",\"shape\":[496,32]", "gives U32 [496, 32]"),
    SAME("\"U32\",\"shape\":[496,32]", "\"U32\",\"shape\":[992,16]", "its scales have 496"),
};

static void test_weight_lies(void **state)
{
    (void)state;
    const char *dir = modelio_write(modelio_fixture("phi3-mini-4k"), "wl", "mlx", "affine4g64", 0);
    char path[1200], index[1200];
    struct pq_buf good;
    struct pq_err e = {0};
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    snprintf(index, sizeof index, "%s/model.safetensors.index.json", dir);
    assert_int_equal(pq_tree_remove(index, &e), PQ_OK); /* it would be refused first */
    modelio_slurp(path, &good);
    for (size_t i = 0; i < PQ_LEN(patches); i++) {
        struct pq_buf b = {0};
        pq_buf_put(&b, good.data, good.len);
        modelio_patch(&b, patches[i].from, patches[i].n, patches[i].to);
        modelio_spill(path, &b);
        modelio_refused(dir, patches[i].words);
        pq_buf_free(&b);
    }
    for (size_t n = 0; n < good.len; n += 1 + n / 3) {
        struct pq_buf cut = {.data = good.data, .len = n};
        modelio_spill(path, &cut);
        modelio_refused(dir, "");
    }
    pq_buf_free(&good);
}

/* Our own requests for memory fail one after the other; nothing leaks (the sanitizer looks). */
static void test_without_memory(void **state)
{
    (void)state;
    const char *path = modelio_write(modelio_fixture("phi3-medium"), "mem", "mlx", "affine4g64", 0);
    int rc = PQ_ENOMEM;
    for (unsigned long n = 1; rc < 0; n++) {
        struct pq_model *m = NULL;
        struct pq_err e = {0};
        pq_mem_fail_after(n, false);
        rc = pq_model_load(&m, path, &e);
        pq_mem_fail_after(0, false);
        assert_true(rc >= 0 || e.msg[0]);
        pq_model_free(m);
        assert_true(n < 100000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),     cmocka_unit_test(test_from_gguf),
        cmocka_unit_test(test_quantized),      cmocka_unit_test(test_mixed_tied),
        cmocka_unit_test(test_context),        cmocka_unit_test(test_classic_keys),
        cmocka_unit_test(test_config_lies),    cmocka_unit_test(test_weight_lies),
        cmocka_unit_test(test_without_memory),
    };
    return cmocka_run_group_tests(tests, modelio_setup, modelio_teardown);
}
