/* OpenVINO folders written and read back, what exports do differently, and folders that lie.
 * SPDX-License-Identifier: MIT */
#include "modelio.h"

#include "container/ov.h"

#include <stdio.h>
#include <stdlib.h>

static void test_round_trip(void **state)
{
    (void)state;
    for (int i = 0; i < MODELIO_FIXTURES; i++) {
        const char *source = modelio_fixture(modelio_fixtures[i]);
        const char *dir = modelio_write(source, "rt", "openvino", "f32", 0);
        struct pq_model *a = modelio_load(source), *b = modelio_load(dir);
        assert_string_equal(b->container->name, "openvino");
        assert_string_equal(b->name, modelio_fixtures[i]); /* kept in the remarks */
        modelio_same(a, b);
        pq_model_free(a);
        pq_model_free(b);
    }
}

static bool has_scheme(const struct pq_network *net, const char *name)
{
    for (size_t i = 0; i < net->n_tensors; i++)
        if (!strcmp(net->tensor[i].slice[0].view.scheme->name, name))
            return true;
    return false;
}

/* Every recipe as a source: the scheme is recognised, and decoded values, written as floats, are
 * the same numbers. */
static void test_as_a_source(void **state)
{
    static const struct {
        const char *recipe, *scheme;
    } cases[] = {
        {"f16", "f16"},
        {"bf16", "bf16"},
        {"uint8c", "uint8c"},
        {"int8c", "int8c_signed"},
        {"uint4g64", "uint4g64"},
        {"int4g128", "int4g128_signed"},
        {"uint4c", "uint4c_z8"},
        {"int4c", "int4c_signed"},
        {"pure-uint4g32", "uint4g32"},
        {"mxfp4", "mxfp4"},
    };
    (void)state;
    for (size_t i = 0; i < PQ_LEN(cases); i++)
        for (int k = 0; k < 2; k++) {
            const char *source = modelio_fixture(k ? "phi4-mini" : "phi2");
            const char *a = modelio_write(source, "qa", "openvino", cases[i].recipe, 0);
            const char *b = modelio_write(a, "qb", "openvino", "f32", 0);
            struct pq_model *x = modelio_load(a), *y = modelio_load(b);
            if (!has_scheme(&x->net, cases[i].scheme))
                fail_msg("%s: no %s", cases[i].recipe, cases[i].scheme);
            modelio_same_rows(&x->net, &y->net);
            pq_model_free(x);
            pq_model_free(y);
        }
}

/* The same codes, scales and zero points as in another container. */
static void test_like_onnx(void **state)
{
    static const char *const recipes[] = {"pure-uint4g32", "pure-int4g32"};
    (void)state;
    for (size_t i = 0; i < PQ_LEN(recipes); i++) {
        const char *source = modelio_fixture("phi3-medium");
        struct pq_model *a = modelio_load(modelio_write(source, "a", "openvino", recipes[i], 0));
        struct pq_model *b = modelio_load(modelio_write(source, "b", "onnx", recipes[i], 0));
        modelio_same_rows(&a->net, &b->net);
        pq_model_free(a);
        pq_model_free(b);
    }
}

/* ---- documents ---- */

/* The model document of a folder, parsed from a copy of its text. */
struct doc {
    char path[1200];
    struct pq_buf text;
    struct pq_arena a;
    struct pq_ir ir;
};

static void doc_open(struct doc *d, const char *dir)
{
    struct pq_err e = {0};
    *d = (struct doc){.path = ""};
    snprintf(d->path, sizeof d->path, "%s/%s.xml", dir, PQ_OV_MODEL);
    modelio_slurp(d->path, &d->text);
    const struct pq_ir_text text = {d->text.data, d->text.len, d->path};
    if (pq_ir_parse(&d->ir, &d->a, &text, &e) < 0)
        fail_msg("%s", e.msg);
}

static void doc_close(struct doc *d)
{
    pq_arena_free(&d->a);
    pq_buf_free(&d->text);
}

static void doc_write(const struct doc *d)
{
    struct pq_buf b = {0};
    struct pq_err e = {0};
    assert_int_equal(pq_ir_put(&b, &d->ir, &e), PQ_OK);
    modelio_spill(d->path, &b);
    pq_buf_free(&b);
}

/* "a/B" -> "__module.a/aten::op/B", constants -> "self.name". */
static void spell_like_exports(struct doc *d)
{
    for (size_t i = 0; i < d->ir.n_layers; i++) {
        struct pq_ir_layer *l = &d->ir.layer[i];
        const char *cut = strchr(l->name, '/');
        if (!strcmp(l->type, "Const"))
            l->name = pq_arena_printf(&d->a, "self.%s", l->name);
        else if (cut)
            l->name = pq_arena_printf(&d->a, "__module.%.*s/aten::op%s", (int)(cut - l->name),
                                      l->name, cut);
    }
}

static void test_spelling_of_exports(void **state)
{
    static const char *const recipes[] = {"f32", "f16", "uint8c", "uint4g64", "int4g32"};
    (void)state;
    for (size_t i = 0; i < PQ_LEN(recipes); i++)
        for (int k = 0; k < 2; k++) {
            const char *source = modelio_fixture(k ? "phi4-mini" : "phi2");
            const char *dir = modelio_write(source, "sp", "openvino", recipes[i], 0);
            struct pq_model *a = modelio_load(dir);
            struct doc d;
            doc_open(&d, dir);
            spell_like_exports(&d);
            d.ir.n_info = 0;
            doc_write(&d);
            struct pq_model *b = modelio_load(dir);
            modelio_same(a, b);
            pq_model_free(a);
            pq_model_free(b);
            doc_close(&d);
        }
}

static struct pq_ir_layer *layer_named(struct doc *d, const char *name)
{
    for (size_t i = 0; i < d->ir.n_layers; i++)
        if (!strcmp(d->ir.layer[i].name, name))
            return &d->ir.layer[i];
    fail_msg("no layer %s", name);
    return NULL;
}

/* A head that differs from the embedding is one of its own, whatever config.json says. */
static void test_head_of_its_own(void **state)
{
    (void)state;
    const char *dir = modelio_write(modelio_fixture("phi4-mini"), "tie", "openvino", "f32", 0);
    struct pq_model *m = modelio_load(dir);
    assert_true(m->net.hp.tied);
    pq_model_free(m);
    struct doc d;
    doc_open(&d, dir);
    struct pq_ir_layer *w = layer_named(&d, "lm_head.weight");
    struct pq_ir_attr *attr = (struct pq_ir_attr *)pq_arena_alloc(&d.a, w->n_attr, sizeof *attr);
    for (size_t k = 0; k < w->n_attr; k++) {
        attr[k] = w->attr[k];
        if (!strcmp(attr[k].key, "offset"))
            attr[k].value = "64";
    }
    w->attr = attr;
    doc_write(&d);
    doc_close(&d);
    m = modelio_load(dir);
    assert_false(m->net.hp.tied);
    const struct pq_tensor *head = pq_network_find(&m->net, "lm_head.weight");
    const struct pq_tensor *embed = pq_network_find(&m->net, "model.embed_tokens.weight");
    assert_non_null(head);
    assert_ptr_equal(head->slice[0].view.part[0], embed->slice[0].view.part[0] + 64);
    pq_model_free(m);
}

/* The first `from` becomes `to`. */
static void replace(struct pq_buf *out, const struct pq_buf *in, const char *from, const char *to)
{
    const size_t n = strlen(from);
    size_t at = 0;
    while (at + n <= in->len && memcmp(in->data + at, from, n) != 0)
        at++;
    if (at + n > in->len)
        fail_msg("\"%s\" is not in the document", from);
    pq_buf_put(out, in->data, at);
    pq_buf_puts(out, to);
    pq_buf_put(out, in->data + at + n, in->len - at - n);
}

/* ---- config.json ---- */

static void with_config(const char *dir, const char *from, const char *to)
{
    char path[1200];
    struct pq_buf good, b = {0};
    snprintf(path, sizeof path, "%s/config.json", dir);
    modelio_slurp(path, &good);
    replace(&b, &good, from, to);
    modelio_spill(path, &b);
    pq_buf_free(&good);
    pq_buf_free(&b);
}

/* The graph knows LongRoPE's factor: a context that exports forgot is found again, one that
 * contradicts it is refused. */
static void test_forgotten_context(void **state)
{
    (void)state;
    const char *dir = modelio_write(modelio_fixture("phi4-mini"), "ctx", "openvino", "f32", 0);
    struct pq_model *a = modelio_load(dir);
    with_config(dir, "\"max_position_embeddings\": 512", "\"max_position_embeddings\": 64");
    struct pq_model *b = modelio_load(dir);
    modelio_same(a, b);
    assert_int_equal(json_integer_value(json_object_get(b->config, "max_position_embeddings")),
                     512);
    pq_model_free(a);
    pq_model_free(b);
    with_config(dir, "\"max_position_embeddings\": 64", "\"max_position_embeddings\": 128");
    modelio_refused(dir, "the graph multiplies cos and sin by 1.22474, config.json gives 1.08");
}

/* ---- AWQ ---- */

/* Puts an operator of AWQ behind the activation of layer 0, with the factors that the first norm
 * has for weights (feed-forward and hidden size are equal here). Returns it. */
static struct pq_ir_layer *insert_awq(struct doc *d)
{
    static const char name[] = "model.layers.0.mlp.activation_fn/Swish/awq_mul";
    const size_t n = d->ir.n_layers;
    struct pq_ir_layer *list = (struct pq_ir_layer *)pq_arena_alloc(&d->a, n + 1, sizeof *list);
    struct pq_ir_ref *in = (struct pq_ir_ref *)pq_arena_alloc(&d->a, 4, sizeof *in);
    memcpy(list, d->ir.layer, n * sizeof *list);
    d->ir.layer = list;
    struct pq_ir_layer *gate = layer_named(d, "model.layers.0.mlp/Multiply");
    const struct pq_ir_layer *norm = layer_named(d, "model.layers.0.input_layernorm.weight");
    in[0] = gate->in[1];
    in[1] = (struct pq_ir_ref){(uint32_t)(norm - list) + 1, 0};
    in[2] = gate->in[0];
    in[3] = (struct pq_ir_ref){(uint32_t)n + 1, 0};
    list[n] = *gate;
    list[n].name = name;
    list[n].in = in;
    gate->in = in + 2;
    d->ir.n_layers = n + 1;
    return &list[n];
}

static const char down[] = "model.layers.0.mlp.down_proj.weight";

static void check_factors(const struct pq_network *plain, const struct pq_network *awq)
{
    const struct pq_tensor *a = pq_network_find(plain, down), *b = pq_network_find(awq, down);
    const struct pq_tensor *f = pq_network_find(plain, "model.layers.0.input_layernorm.weight");
    float x[256], y[256], factor[256];
    assert_true(a && b && f && a->cols == 256 && f->cols == 256);
    pq_tensor_row(f, NULL, 0, factor);
    for (uint64_t row = 0; row < a->rows; row++) {
        pq_tensor_row(a, NULL, row, x);
        pq_tensor_row(b, NULL, row, y);
        for (int i = 0; i < 256; i++)
            assert_true(y[i] == x[i] * factor[i]);
    }
}

static void test_awq(void **state)
{
    static const char *const recipes[] = {"uint4g64", "f16"};
    (void)state;
    for (size_t i = 0; i < PQ_LEN(recipes); i++) {
        const char *dir =
            modelio_write(modelio_fixture("phi4-mini"), "awq", "openvino", recipes[i], 0);
        struct pq_model *a = modelio_load(dir);
        struct doc d;
        doc_open(&d, dir);
        struct pq_ir_layer *awq = insert_awq(&d);
        doc_write(&d);
        struct pq_model *b = modelio_load(dir);
        check_factors(&a->net, &b->net);
        pq_model_free(b);
        struct pq_ir_ref in[2] = {awq->in[0], awq->in[0]};
        awq->in = in;
        doc_write(&d);
        modelio_refused(dir, "its factors are not one for each column");
        awq->name = "a/awq_mul";
        layer_named(&d, "model.layers.0.mlp/Multiply")->type = "Divide";
        doc_write(&d);
        modelio_refused(dir, "no weights follow that its factors belong to");
        pq_model_free(a);
        doc_close(&d);
    }
}

/* ---- folders that lie ---- */

static const struct {
    const char *from, *to, *words;
} patches[] = {
    {"<net ", "<nets ", "<nets> instead of <net>"},
    {"version=\"11\"", "version=\"12\"", "version 12 of OpenVINO's IR is not read"},
    {"\"u4\" shape=\"768, 8, 32\"", "\"u5\" shape=\"768, 8, 32\"",
     "(u5): compressed weights of this type"},
    {"\"u4\" shape=\"768, 8, 32\"", "\"u4\" shape=\"768, 8, 64\"", "needs others"},
    {"\"u4\" shape=\"768, 8, 32\"", "\"u4\" shape=\"768, 4, 64\"", "not one for each group"},
    {"\"u4\" shape=\"768, 8, 32\"", "\"u4\" shape=\"384, 16, 32\"", "is reshaped to something"},
    {"\"u4\" shape=\"768, 8, 32\"", "\"u4\" shape=\"8, 96, 8, 32\"", "only matrices are read"},
    {"\"u4\" shape=\"768, 8, 1\"", "\"u4\" shape=\"768, 4, 2\"", "neither one nor one for each"},
    {"qkv_proj/MatMul", "qkv_prox/MatMul", "qkv_proj.weight is missing"},
    {"layers.0.input_layernorm/scaled", "layers.7.input_layernorm/scaled",
     "input_layernorm.weight is missing"},
    {"model.norm/scaled", "model.mlp/awq_mul", "model.norm.weight is missing"},
    {"transpose_b=\"true\"", "transpose_b=\"false\"", "must have a row for each output"},
    {"transpose_a=\"false\" transpose_b=\"true\"", "transpose_a=\"true\" transpose_b=\"true\"",
     "its input turned"},
};

static void test_model_lies(void **state)
{
    (void)state;
    const char *dir =
        modelio_write(modelio_fixture("phi3-mini-4k"), "lie", "openvino", "pure-uint4g32", 0);
    char path[1200];
    struct pq_buf good;
    snprintf(path, sizeof path, "%s/%s.xml", dir, PQ_OV_MODEL);
    modelio_slurp(path, &good);
    for (size_t i = 0; i < PQ_LEN(patches); i++) {
        struct pq_buf b = {0};
        replace(&b, &good, patches[i].from, patches[i].to);
        modelio_spill(path, &b);
        modelio_refused(dir, patches[i].words);
        pq_buf_free(&b);
    }
    for (size_t n = 0; n + 10 < good.len; n += 1 + n / 3) {
        struct pq_buf cut = {.data = good.data, .len = n};
        modelio_spill(path, &cut);
        modelio_refused(dir, "not XML, or cut short");
    }
    pq_buf_free(&good);
}

static void test_data_lies(void **state)
{
    (void)state;
    const char *dir = modelio_write(modelio_fixture("phi3-medium"), "dl", "openvino", "int4g32", 0);
    char path[1200];
    struct pq_buf good;
    struct pq_err e = {0};
    snprintf(path, sizeof path, "%s/%s.bin", dir, PQ_OV_MODEL);
    modelio_slurp(path, &good);
    for (size_t n = 0; n < good.len; n += 1 + n / 2) {
        struct pq_buf cut = {.data = good.data, .len = n};
        modelio_spill(path, &cut);
        modelio_refused(dir, "that has only");
    }
    assert_int_equal(pq_tree_remove(path, &e), PQ_OK);
    modelio_refused(dir, PQ_OV_MODEL ".bin");
    pq_buf_free(&good);
}

/* Our own requests for memory fail one after the other; nothing leaks (the sanitizer looks). */
static void test_without_memory(void **state)
{
    (void)state;
    const char *path =
        modelio_write(modelio_fixture("phi3-medium"), "mem", "openvino", "uint4c", 0);
    int rc = PQ_ENOMEM;
    for (unsigned long n = 1; rc < 0; n += 1 + n / 16) {
        struct pq_model *m = NULL;
        struct pq_err e = {0};
        pq_mem_fail_after(n, false);
        rc = pq_model_load(&m, path, &e);
        pq_mem_fail_after(0, false);
        if (rc < 0 && rc != PQ_ENOMEM && rc != PQ_EFORMAT) /* a probe cannot say it */
            fail_msg("request %lu refused: %s", n, e.msg);
        pq_model_free(m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_as_a_source),
        cmocka_unit_test(test_like_onnx),
        cmocka_unit_test(test_spelling_of_exports),
        cmocka_unit_test(test_head_of_its_own),
        cmocka_unit_test(test_forgotten_context),
        cmocka_unit_test(test_awq),
        cmocka_unit_test(test_model_lies),
        cmocka_unit_test(test_data_lies),
        cmocka_unit_test(test_without_memory),
    };
    return cmocka_run_group_tests(tests, modelio_setup, modelio_teardown);
}
