/* ONNX folders written and read back, plans beyond 4 GB, and folders that lie.
 * SPDX-License-Identifier: MIT */
#include "modelio.h"

#include "base/num.h"
#include "synth.h"

#include <stdio.h>
#include <stdlib.h>

static void test_round_trip(void **state)
{
    (void)state;
    for (int i = 0; i < MODELIO_FIXTURES; i++) {
        const char *source = modelio_fixture(modelio_fixtures[i]);
        const char *dir = modelio_write(source, "rt", "onnx", "f32", 0);
        struct pq_model *a = modelio_load(source), *b = modelio_load(dir);
        assert_string_equal(b->container->name, "onnx");
        assert_string_equal(b->name, modelio_fixtures[i]); /* kept in the metadata */
        modelio_same(a, b);
        pq_model_free(a);
        pq_model_free(b);
    }
}

static bool keeps_integers(const struct pq_network *net)
{
    for (size_t i = 0; i < net->n_tensors; i++)
        if (net->tensor[i].slice[0].view.scheme->family == PQ_FAM_INT)
            return true;
    return false;
}

/* Quantized folders as a source: their decoded values, written as floats, are the same numbers. */
static void test_as_a_source(void **state)
{
    static const char *const recipes[] = {"int4g32", "pure-uint4g32", "uint8g64", "int4_mixed"};
    (void)state;
    for (size_t i = 0; i < PQ_LEN(recipes); i++)
        for (int k = 0; k < 2; k++) {
            const char *source = modelio_fixture(k ? "phi4-mini" : "phi2");
            const char *a = modelio_write(source, "qa", "onnx", recipes[i], 0);
            const char *b = modelio_write(a, "qb", "onnx", "f32", 0);
            struct pq_model *x = modelio_load(a), *y = modelio_load(b);
            assert_string_equal(x->container->name, "onnx");
            assert_true(keeps_integers(&x->net));
            modelio_same_rows(&x->net, &y->net);
            pq_model_free(x);
            pq_model_free(y);
        }
}

/* ---- plans ---- */

static void plan_of(struct pq_plan *p, const struct pq_model *m, struct pq_request *r,
                    struct pq_err *e)
{
    const struct pq_container *c = pq_container_find("onnx");
    const struct pq_scheme *choice[512];
    *p = (struct pq_plan){0};
    *e = (struct pq_err){0};
    assert_true(m->net.n_tensors <= PQ_LEN(choice));
    assert_int_equal(pq_choose(c, m, r, choice, e), PQ_OK);
    (void)c->plan(p, m, r, choice, e);
}

static const struct pq_onnx_tensor *initializer(const struct pq_onnx *m, const char *name)
{
    for (size_t i = 0; i < m->graph.n_tensors; i++)
        if (!strcmp(m->graph.tensor[i].name, name))
            return &m->graph.tensor[i];
    fail_msg("no initializer %s", name);
    return NULL;
}

/* Items of `from` bytes and more, less than `to`, follow each other: small ones closely, large ones
 * where they can be mapped. Returns where they end. */
static uint64_t after_items(const struct pq_plan *p, uint64_t from, uint64_t to, uint64_t end)
{
    const uint64_t align = from ? 65536 : 64;
    for (size_t k = 0; k < p->n_items; k++) {
        const struct pq_item *it = &p->item[k];
        if (it->bytes[0] < from || it->bytes[0] >= to)
            continue;
        assert_true(it->at[0] >= end && it->at[0] - end < align && it->at[0] % align == 0);
        end = it->at[0] + it->bytes[0];
    }
    return end;
}

/* Items lie one after the other, and the document says where: also where 32 bits are too few. */
static void test_large_plan(void **state)
{
    static const struct synth_shape *const shapes[] = {&synth_phi4, &synth_phi4_mini, &synth_phi2};
    struct pq_request r = {.recipe = pq_recipe_find(pq_container_find("onnx"), "f32")};
    (void)state;
    for (size_t i = 0; i < PQ_LEN(shapes); i++) {
        struct pq_model m;
        struct pq_plan p;
        struct pq_err e;
        struct pq_onnx doc;
        struct pq_arena a = {0};
        synth_model(&m, shapes[i]);
        plan_of(&p, &m, &r, &e);
        assert_string_equal(e.msg, "");
        assert_int_equal(
            pq_onnx_parse(&doc, &a, p.file[0].doc.data, p.file[0].doc.len, "model.onnx", &e),
            PQ_OK);
        uint64_t end = after_items(&p, 0, 1 << 20, p.file[1].doc.len);
        assert_int_equal(p.file[1].size, after_items(&p, 1 << 20, UINT64_MAX, end));
        for (size_t k = 0; k < p.n_items; k++) {
            const struct pq_item *it = &p.item[k];
            if (it->tensor->role != PQ_ROLE_FFN_GATE_UP && !(m.net.hp.tied && !k))
                assert_int_equal(initializer(&doc, it->tensor->name)->offset, it->at[0]);
        }
        assert_true(p.file[1].size > 5ull << 30);
        pq_arena_free(&a);
        pq_plan_free(&p);
        pq_arena_free(&m.arena);
    }
}

/* The rows of up_proj follow those of gate_proj in the same item. */
static void test_halves(void **state)
{
    struct pq_request r = {.recipe = pq_recipe_find(pq_container_find("onnx"), "pure-int4g32")};
    struct pq_model m;
    struct pq_plan p;
    struct pq_err e;
    struct pq_onnx doc;
    struct pq_arena a = {0};
    (void)state;
    synth_model(&m, &synth_phi35_mini);
    plan_of(&p, &m, &r, &e);
    assert_string_equal(e.msg, "");
    assert_int_equal(
        pq_onnx_parse(&doc, &a, p.file[0].doc.data, p.file[0].doc.len, "model.onnx", &e), PQ_OK);
    const struct pq_onnx_tensor *gate = initializer(&doc, "model.layers.3.mlp.gate_proj.weight");
    const struct pq_onnx_tensor *up = initializer(&doc, "model.layers.3.mlp.up_proj.weight");
    assert_int_equal(gate->n_dims, 3); /* N, blocks, bytes of a block */
    assert_int_equal(gate->dim[0], m.net.hp.ff);
    assert_int_equal(gate->dim[1], m.net.hp.hidden / 32);
    assert_int_equal(gate->dim[2], 16);
    assert_int_equal(up->offset, gate->offset + gate->bytes);
    pq_arena_free(&a);
    pq_plan_free(&p);
    pq_arena_free(&m.arena);
}

static void test_refusals(void **state)
{
    static const struct {
        uint32_t head_dim, rot_dims;
        bool vocab;
        const char *provider, *words;
    } rows[] = {
        {72, 64, true, NULL, "multiples of 16"},
        {64, 40, true, NULL, "multiples of 16"},
        {64, 64, false, NULL, "no tokenizer"},
        {64, 64, true, "npu", "unknown provider \"npu\""},
        {64, 64, true, "cuda", "does not compute in f32"},
        {64, 64, true, "CPU", ""},
    };
    struct pq_request r = {.recipe = pq_recipe_find(pq_container_find("onnx"), "f32")};
    struct pq_model *m = modelio_load(modelio_fixture("phi3-medium"));
    (void)state;
    for (size_t i = 0; i < PQ_LEN(rows); i++) {
        struct pq_plan p;
        struct pq_err e;
        m->net.hp.head_dim = rows[i].head_dim;
        m->net.hp.rot_dims = rows[i].rot_dims;
        m->has_vocab = rows[i].vocab;
        r.provider = rows[i].provider;
        plan_of(&p, m, &r, &e);
        if (*rows[i].words)
            assert_words(e, rows[i].words);
        else
            assert_string_equal(e.msg, "");
        pq_plan_free(&p);
    }
    pq_model_free(m);
}

/* ---- one run, several targets ---- */

static int last_total(void *ctx, const struct pq_progress *p)
{
    if (!strcmp(p->stage, "write"))
        *(uint64_t *)ctx = p->total;
    return 0;
}

/* Source bytes that the write stage has to read. */
static uint64_t bytes_read(const char *targets)
{
    struct pq_quantize_options o;
    struct pq_err e = {0};
    char *report = NULL;
    uint64_t total = 0;
    pq_quantize_options_default(&o);
    o.input = modelio_fixture("phi4-mini");
    o.out_dir = modelio_path("several");
    o.targets = targets;
    o.force = 1;
    o.threads = 1;
    o.progress = last_total;
    o.progress_ctx = &total;
    if (pq_quantize(&o, 0, &report, &e) < 0)
        fail_msg("%s", e.msg);
    pq_string_free(report);
    return total;
}

static void test_the_source_is_read_once(void **state)
{
    (void)state;
    uint64_t one = bytes_read("onnx");
    assert_true(one > 0);
    assert_int_equal(bytes_read("gguf,onnx,mlx"), one);
}

/* ---- folders that lie ---- */

#define SAME(from, to, words)             \
    {                                     \
        from, to, sizeof(from) - 1, words \
    }

/* In protobuf's terms: 0x22 opens op_type, 0x18 the integer of an attribute. */
static const struct {
    const char *from, *to;
    size_t n;
    const char *words;
} patches[] = {
    SAME("\x22\x0bMatMulNBits", "\x22\x0bMatMulNBitx", "operator MatMulNBitx is not one"),
    SAME("phiq.config", "phiq.confix", "none of the model builder's"),
    SAME("\"hidden_size\"", "\"hidden_sizf\"", "hidden_size"),
    SAME("model.onnx.data", "../odel.onnx.da", "expected a file of the same folder"),
    SAME("model.onnx.data", "model.onnx.dat2", "model.onnx.dat2"),
    SAME("lm_head.scales", "lm_head.scalex", "which nothing gives"),
    SAME("bits\x18\x04", "bits\x18\x05", "5 bits in blocks of"),
    SAME("bits\x18\x04", "bits\x18\x08", "does not have the shape"),
    SAME("block_size\x18\x20", "block_size\x18\x40", "does not have the shape"),
    SAME("block_size\x18\x20", "block_size\x18\x21", "in blocks of 33"),
    SAME("K\x18\x80\x02", "K\x18\x80\x04", "does not have the shape"),
    SAME("K\x18\x80\x02", "K\x18\x90\x02", "do not tile"),
    SAME("K\x18\x80\x02", "K\x18\x80\x00", "K is missing"),
    SAME("N\x18\x80\x03", "N\x18\x80\x02", "does not have the shape"),
    SAME("N\x18\x80\x03", "N\x18\x80\x00", "do not tile"),
};

static void test_model_lies(void **state)
{
    (void)state;
    const char *dir =
        modelio_write(modelio_fixture("phi3-medium"), "lie", "onnx", "pure-int4g32", 0);
    char path[1200];
    struct pq_buf good;
    snprintf(path, sizeof path, "%s/model.onnx", dir);
    modelio_slurp(path, &good);
    for (size_t i = 0; i < PQ_LEN(patches); i++) {
        struct pq_buf b = {0};
        pq_buf_put(&b, good.data, good.len);
        modelio_patch(&b, patches[i].from, patches[i].n, patches[i].to);
        modelio_spill(path, &b);
        modelio_refused(dir, patches[i].words);
        pq_buf_free(&b);
    }
    for (size_t n = 0; n < good.len / 2; n += 1 + n / 3) {
        struct pq_buf cut = {.data = good.data, .len = n};
        modelio_spill(path, &cut);
        modelio_refused(dir, "");
    }
    pq_buf_free(&good);
}

static void test_data_lies(void **state)
{
    (void)state;
    const char *dir = modelio_write(modelio_fixture("phi3-medium"), "dl", "onnx", "int4g32", 0);
    char path[1200];
    struct pq_buf good;
    struct pq_err e = {0};
    snprintf(path, sizeof path, "%s/model.onnx.data", dir);
    modelio_slurp(path, &good);
    for (size_t n = 0; n < good.len; n += 1 + n / 2) {
        struct pq_buf cut = {.data = good.data, .len = n};
        modelio_spill(path, &cut);
        modelio_refused(dir, "which has only");
    }
    assert_int_equal(pq_tree_remove(path, &e), PQ_OK);
    modelio_refused(dir, "model.onnx.data");
    pq_buf_free(&good);
}

/* Our own requests for memory fail one after the other; nothing leaks (the sanitizer looks). */
static void test_without_memory(void **state)
{
    (void)state;
    const char *path = modelio_write(modelio_fixture("phi3-medium"), "mem", "onnx", "int4g32", 0);
    int rc = PQ_ENOMEM;
    for (unsigned long n = 1; rc < 0; n++) {
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
        cmocka_unit_test(test_round_trip),     cmocka_unit_test(test_as_a_source),
        cmocka_unit_test(test_large_plan),     cmocka_unit_test(test_halves),
        cmocka_unit_test(test_refusals),       cmocka_unit_test(test_the_source_is_read_once),
        cmocka_unit_test(test_model_lies),     cmocka_unit_test(test_data_lies),
        cmocka_unit_test(test_without_memory),
    };
    return cmocka_run_group_tests(tests, modelio_setup, modelio_teardown);
}
