/* Calibration: the layer-wise pass is the whole pass, files do not depend on threads and read back,
 * and what cannot be measured is said. SPDX-License-Identifier: MIT */
#include "modelio.h"

#include "base/num.h"
#include "eval/calibrate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SAMPLE PQ_SOURCE_DIR "/models/phiq-sample"
#define TEXT PQ_SOURCE_DIR "/README.md"

static struct pq_calibrate_options usual(const char *out)
{
    struct pq_calibrate_options o;
    pq_calibrate_options_default(&o);
    o.model = SAMPLE;
    o.text = TEXT;
    o.out = out;
    o.window = 32;
    o.max_windows = 2;
    o.threads = 2;
    return o;
}

static void calibrated(const struct pq_calibrate_options *o)
{
    struct pq_err e = {0};
    json_t *j = NULL;
    if (pq_calibrate_model(&j, o, &e) < 0)
        fail_msg("%s", e.msg);
    json_decref(j);
}

/* ---- the two passes ---- */

/* Sums over columns of all inputs of a matrix, in the order in which they come. */
struct seen {
    const struct pq_network *net;
    double *sum; /* [n_tensors] */
    uint64_t *rows;
};

static void see(void *ctx, const struct pq_inputs *in)
{
    const struct seen *s = (const struct seen *)ctx;
    const size_t i = (size_t)(in->weight - s->net->tensor);
    for (uint64_t t = 0; t < in->n; t++)
        for (uint64_t c = 0; c < in->weight->cols; c++)
            s->sum[i] += (double)in->x[t * in->step + c] * (double)(c % 7 + 1);
    s->rows[i] += in->n;
}

static struct seen seen_new(const struct pq_model *m)
{
    return (struct seen){&m->net, (double *)pq_calloc(m->net.n_tensors, sizeof(double)),
                         (uint64_t *)pq_calloc(m->net.n_tensors, sizeof(uint64_t))};
}

static void seen_free(struct seen *s)
{
    pq_free(s->sum);
    pq_free(s->rows);
}

enum { TOKENS = 40 };

static void layers_make_the_pass(const char *path)
{
    struct pq_model *m = modelio_load(path);
    struct seen whole = seen_new(m), parts = seen_new(m);
    struct pq_session_setup setup = {
        .context = TOKENS, .threads = 2, .kv = PQ_KV_F32, .batch = 16, .on_inputs = see};
    struct pq_session *s[2];
    struct pq_err e = {0};
    uint32_t id[TOKENS];
    float *all = (float *)pq_calloc(TOKENS, m->net.hp.vocab * sizeof *all);
    float *h = (float *)pq_calloc(TOKENS, m->net.hp.hidden * sizeof *h);
    for (uint32_t i = 0; i < TOKENS; i++)
        id[i] = (i * 37 + 5) % m->net.hp.vocab;
    setup.ctx = &whole;
    assert_return_code(pq_session_new(&s[0], m, &setup, &e), 0);
    setup.ctx = &parts;
    assert_return_code(pq_session_new(&s[1], m, &setup, &e), 0);
    assert_return_code(pq_session_read(s[0], id, TOKENS, all, &e), 0);
    assert_return_code(pq_session_embed(s[1], id, TOKENS, h, &e), 0);
    for (uint32_t i = 0; i < m->net.hp.n_layers; i++)
        pq_session_layer(s[1], i, TOKENS, h);
    pq_session_outputs(s[1], TOKENS, h);
    for (size_t i = 0; i < m->net.n_tensors; i++) {
        const uint64_t rows = pq_imatrix_has(&m->net, i) ? TOKENS : 0;
        assert_int_equal(whole.rows[i], rows);
        assert_int_equal(parts.rows[i], rows);
        assert_true(whole.sum[i] == parts.sum[i]);
    }
    pq_session_free(s[0]);
    pq_session_free(s[1]);
    seen_free(&whole);
    seen_free(&parts);
    pq_free(all);
    pq_free(h);
    pq_model_free(m);
}

static void a_layer_at_a_time_is_the_same_pass(void **state)
{
    (void)state;
    for (int i = 0; i < MODELIO_FIXTURES; i++)
        layers_make_the_pass(modelio_fixture(modelio_fixtures[i]));
}

/* ---- files ---- */

static void files_do_not_depend_on_threads(void **state)
{
    struct pq_calibrate_options o = usual(modelio_path("one.gguf"));
    struct pq_buf first = {0};
    (void)state;
    o.products = 1;
    o.threads = 1;
    calibrated(&o);
    modelio_slurp(o.out, &first);
    for (o.threads = 2; o.threads <= 3; o.threads++) {
        struct pq_buf b = {0};
        calibrated(&o);
        modelio_slurp(o.out, &b);
        assert_int_equal(b.len, first.len);
        assert_memory_equal(b.data, first.data, first.len);
        pq_buf_free(&b);
    }
    pq_buf_free(&first);
}

static void importance_of_every_matrix(const char *model)
{
    struct pq_calibrate_options o = usual(modelio_path("read.gguf"));
    struct pq_arena a = {0};
    struct pq_imatrix im;
    struct pq_err e = {0};
    size_t n = 0;
    o.model = model;
    calibrated(&o);
    struct pq_model *m = modelio_load(model);
    if (pq_imatrix_load(&im, &a, o.out, &m->net, &e) < 0)
        fail_msg("%s", e.msg);
    for (size_t i = 0; i < m->net.n_tensors; i++) {
        assert_true((im.importance[i] != NULL) == pq_imatrix_has(&m->net, i));
        n += im.importance[i] != NULL;
    }
    assert_int_equal(im.n_entries, n);
    assert_int_equal(im.n_chunks, 2);
    assert_string_equal(im.dataset, TEXT);
    pq_model_free(m);
    pq_arena_free(&a);
}

static void files_read_back(void **state)
{
    (void)state;
    importance_of_every_matrix(SAMPLE);
    for (int i = 0; i < MODELIO_FIXTURES; i++)
        importance_of_every_matrix(modelio_fixture(modelio_fixtures[i]));
}

/* ---- what is made of them ---- */

/* One target written with feedback; the size is 0 when it is refused with these words. */
static void quantized(const char *imatrix, int threads, const char *words, struct pq_buf *b)
{
    struct pq_quantize_options q;
    struct pq_err e = {0};
    char *report = NULL;
    pq_quantize_options_default(&q);
    q.input = SAMPLE;
    q.out_dir = modelio_path("fed-back");
    q.targets = "gguf";
    q.scheme = "q3_k_m";
    q.solver = "gptq";
    q.imatrix = imatrix;
    q.threads = threads;
    q.force = 1;
    q.name = "m";
    const int rc = pq_quantize(&q, 0, &report, &e);
    if (words)
        assert_words(e, words);
    else if (rc < 0)
        fail_msg("%s", e.msg);
    if (!words)
        modelio_slurp(modelio_path("fed-back/gguf/m-Q3_K_M.gguf"), b);
    pq_string_free(report);
}

static void feedback_does_not_depend_on_threads(void **state)
{
    struct pq_calibrate_options o = usual(modelio_path("with.gguf"));
    struct pq_buf first = {0};
    (void)state;
    o.products = 1;
    calibrated(&o);
    quantized(o.out, 1, NULL, &first);
    for (int threads = 2; threads <= 3; threads++) {
        struct pq_buf b = {0};
        quantized(o.out, threads, NULL, &b);
        assert_int_equal(b.len, first.len);
        assert_memory_equal(b.data, first.data, first.len);
        pq_buf_free(&b);
    }
    pq_buf_free(&first);
}

static void feedback_needs_products(void **state)
{
    struct pq_calibrate_options o = usual(modelio_path("without.gguf"));
    struct pq_buf b = {0};
    (void)state;
    calibrated(&o);
    quantized(o.out, 1, "products of inputs", &b);
    quantized(NULL, 1, "products of inputs", &b);
    o.products = 1;
    calibrated(&o);
    modelio_slurp(o.out, &b);
    for (size_t i = 0; i + 33 < b.len; i++) /* the first matrix's last element but a name */
        if (!memcmp(b.data + i, "blk.0.attn_output.weight.counts", 31))
            b.data[i + 30] = 'z';
    modelio_spill(o.out, &b);
    quantized(o.out, 1, "blk.0.attn_output.weight.counts is missing", &b);
    pq_buf_free(&b);
}

/* ---- in one command ---- */

static struct pq_quantize_options at_once(const char *out)
{
    struct pq_quantize_options q;
    pq_quantize_options_default(&q);
    q.input = SAMPLE;
    q.out_dir = modelio_path(out);
    q.targets = "gguf";
    q.scheme = "q4_k_m";
    q.name = "m";
    q.calibration = TEXT;
    q.calibration_windows = 1;
    return q;
}

/* What each matrix's codes were chosen by. */
static void solvers_are(const struct pq_quantize_options *q, int dry_run, const char *expected)
{
    struct pq_err e = {0};
    char *text = NULL;
    if (pq_quantize(q, dry_run, &text, &e) < 0)
        fail_msg("%s", e.msg);
    json_t *j = json_loads(text, 0, NULL);
    const json_t *t = json_array_get(json_object_get(j, "targets"), 0);
    char *found = json_dumps(json_object_get(t, "solvers"), JSON_SORT_KEYS | JSON_COMPACT);
    assert_string_equal(found, expected);
    assert_true((json_object_get(j, "calibration") != NULL) == (q->calibration && !dry_run));
    free(found);
    json_decref(j);
    pq_string_free(text);
}

static void files_are_equal(const char *a, const char *b)
{
    struct pq_buf x = {0}, y = {0};
    modelio_slurp(modelio_path(a), &x);
    modelio_slurp(modelio_path(b), &y);
    assert_int_equal(x.len, y.len);
    assert_memory_equal(x.data, y.data, x.len);
    pq_buf_free(&x);
    pq_buf_free(&y);
}

static int count_name(void *ctx, const char *name, struct pq_err *e)
{
    (void)name;
    (void)e;
    ++*(int *)ctx;
    return PQ_OK;
}

static void one_command_is_both(void **state)
{
    struct pq_quantize_options once = at_once("once"), twice = at_once("twice");
    struct pq_calibrate_options o = usual(modelio_path("README.md"));
    struct pq_err e = {0};
    int names = 0;
    (void)state;
    solvers_are(&once, 1, "{\"gptq\":25,\"search\":1}");
    solvers_are(&once, 0, "{\"gptq\":25,\"search\":1}");
    assert_return_code(pq_dir_each(modelio_path("once/gguf"), count_name, &names, &e), 0);
    assert_int_equal(names, 1); /* nothing else is left */
    o.window = 0;
    o.max_windows = 1;
    o.products = 1;
    calibrated(&o);
    twice.calibration = NULL;
    twice.imatrix = o.out;
    solvers_are(&twice, 0, "{\"gptq\":25,\"search\":1}");
    files_are_equal("once/gguf/m-Q4_K_M.gguf", "twice/gguf/m-Q4_K_M.gguf");
    twice.solver = "search";
    solvers_are(&twice, 1, "{\"search\":26}");
    once.solver = "rtn";
    solvers_are(&once, 1, "{\"rtn\":26}");
}

static void not_quantized(const struct pq_quantize_options *q, const char *words)
{
    struct pq_err e = {0};
    char *report = NULL;
    assert_true(pq_quantize(q, 0, &report, &e) < 0);
    assert_words(e, words);
    assert_null(report);
}

static void one_command_refuses(void **state)
{
    struct pq_quantize_options q = at_once("refused");
    (void)state;
    q.imatrix = "any.gguf";
    not_quantized(&q, "only one of them");
    q.imatrix = NULL;
    q.calibration = "/nonexistent";
    not_quantized(&q, "/nonexistent");
    assert_int_equal(pq_path_kind(modelio_path("refused/gguf/m-Q4_K_M.gguf")), PQ_PATH_NONE);
    q = at_once("once"); /* is there: said before the long work */
    q.calibration = "/nonexistent";
    not_quantized(&q, "--force replaces it");
}

/* ---- what goes wrong ---- */

static void refused(const struct pq_calibrate_options *o, const char *words)
{
    struct pq_err e = {0};
    json_t *j;
    assert_true(pq_calibrate_model(&j, o, &e) < 0);
    assert_null(j);
    if (!strstr(e.msg, words))
        fail_msg("\"%s\" does not say \"%s\"", e.msg, words);
    assert_int_equal(pq_path_kind(o->out), PQ_PATH_NONE);
}

static int stop(void *ctx, const struct pq_progress *p)
{
    (void)ctx;
    return p->done >= 3;
}

static void what_cannot_be_is_said(void **state)
{
    struct pq_calibrate_options o = usual(modelio_path("never.gguf"));
    (void)state;
    o.window = 2;
    refused(&o, "expected 4 to 1024");
    o.window = 32;
    o.text = modelio_path("tiny.txt");
    modelio_spill(o.text, &(struct pq_buf){.data = (uint8_t *)(uintptr_t) "Once.", .len = 5});
    refused(&o, "do not fill one window of 32");
    modelio_spill(o.text, &(struct pq_buf){.data = (uint8_t *)(uintptr_t) "", .len = 0});
    refused(&o, "do not fill one window of 32");
    o.text = "/nonexistent";
    refused(&o, "/nonexistent");
    o.text = TEXT;
    o.progress = stop;
    refused(&o, "stopped on request");
}

/* The sample as float32, one weight of its first norm infinite. */
static void infinities_are_named(void **state)
{
    struct pq_calibrate_options o = usual(modelio_path("never.gguf"));
    struct pq_model *m = NULL;
    struct pq_buf b = {0};
    (void)state;
    o.model = modelio_write(SAMPLE, "wide", "gguf", "f32", 0);
    m = modelio_load(o.model);
    const struct pq_tensor *norm =
        pq_network_find(&m->net, "model.layers.2.input_layernorm.weight");
    assert_non_null(norm);
    modelio_slurp(o.model, &b);
    for (size_t at = 0; at + norm->cols * 4 <= b.len; at += 32)
        if (!memcmp(b.data + at, norm->slice[0].view.part[0], norm->cols * 4))
            pq_put_le32(b.data + at + 20, 0x7f800000u);
    pq_model_free(m);
    modelio_spill(o.model, &b);
    pq_buf_free(&b);
    refused(&o, "model.layers.2.self_attn.qkv_proj.weight are not finite in column 5");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_layer_at_a_time_is_the_same_pass),
        cmocka_unit_test(files_do_not_depend_on_threads),
        cmocka_unit_test(files_read_back),
        cmocka_unit_test(feedback_does_not_depend_on_threads),
        cmocka_unit_test(feedback_needs_products),
        cmocka_unit_test(one_command_is_both),
        cmocka_unit_test(one_command_refuses),
        cmocka_unit_test(what_cannot_be_is_said),
        cmocka_unit_test(infinities_are_named),
    };
    return cmocka_run_group_tests(tests, modelio_setup, modelio_teardown);
}
