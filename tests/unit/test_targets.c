/* Mixed precision to a target: sensitivity against the file that is written, targets that are met
 * and targets that cannot be. SPDX-License-Identifier: MIT */
#include "modelio.h"

#include "base/num.h"
#include "convert/convert.h"
#include "eval/sensitivity.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define SAMPLE PQ_SOURCE_DIR "/models/phiq-sample"
#define TEXT PQ_SOURCE_DIR "/README.md"

/* ---- sensitivity ---- */

static struct pq_sensitivity_options usual(const char *targets, const char *out)
{
    struct pq_sensitivity_options o;
    pq_sensitivity_options_default(&o);
    o.model = SAMPLE;
    o.targets = targets;
    o.text = TEXT;
    o.out = out;
    o.window = 16;
    o.max_windows = 1;
    o.threads = 1;
    return o;
}

static json_t *measured(const struct pq_sensitivity_options *o)
{
    struct pq_err e = {0};
    json_t *j = NULL;
    if (pq_sensitivity_model(&j, o, &e) < 0)
        fail_msg("%s", e.msg);
    return j;
}

static void files_do_not_depend_on_threads(void **state)
{
    struct pq_sensitivity_options o = usual("gguf,mlx", modelio_path("threads.json"));
    struct pq_buf first = {0}, second = {0};
    (void)state;
    json_decref(measured(&o));
    modelio_slurp(o.out, &first);
    o.threads = 3;
    json_decref(measured(&o));
    modelio_slurp(o.out, &second);
    assert_int_equal(first.len, second.len);
    assert_memory_equal(first.data, second.data, first.len);
    pq_buf_free(&first);
    pq_buf_free(&second);
}

/* Logits of the text's first window. */
static float *logits_of(const char *path, uint32_t window, size_t *vocab)
{
    struct pq_model *m = modelio_load(path);
    const struct pq_session_setup setup = {.context = window, .threads = 1, .kv = PQ_KV_F32};
    struct pq_windows text = {.size = window};
    struct pq_tokenizer *t;
    struct pq_session *s;
    struct pq_err e = {0};
    *vocab = m->net.hp.vocab;
    float *all = (float *)pq_calloc(window, *vocab * sizeof *all);
    assert_return_code(pq_tokenizer_new(&t, &m->vocab, &e), 0);
    assert_return_code(pq_windows_read(&text, t, m, TEXT, 1, &e), 0);
    assert_return_code(pq_session_new(&s, m, &setup, &e), 0);
    assert_return_code(pq_session_read(s, text.ids.id, window, all, &e), 0);
    pq_session_free(s);
    pq_tokenizer_free(t);
    pq_windows_free(&text);
    pq_model_free(m);
    return all;
}

static double divergence_of(const char *path, uint32_t window)
{
    size_t vocab;
    float *p = logits_of(SAMPLE, window, &vocab), *q = logits_of(path, window, &vocab);
    double sum = 0;
    for (uint32_t i = 0; i < window; i++)
        sum += pq_score_position(q + i * vocab, p + i * vocab, vocab, 0).kld;
    pq_free(p);
    pq_free(q);
    return sum / window;
}

/* A file in which this tensor alone is quantized. */
static void written_alone(const char *tensor, const char *scheme)
{
    char rule[128];
    const char *rules[] = {rule};
    struct pq_quantize_options q;
    struct pq_err e = {0};
    char *report = NULL;
    snprintf(rule, sizeof rule, "%s=%s", tensor, scheme);
    pq_quantize_options_default(&q);
    q.input = SAMPLE;
    q.out_dir = modelio_path("alone");
    q.targets = "gguf";
    q.precision = "bf16";
    q.rule = rules;
    q.n_rules = 1;
    q.force = 1;
    q.name = "m";
    if (pq_quantize(&q, 0, &report, &e) < 0)
        fail_msg("%s", e.msg);
    pq_string_free(report);
}

static void trials_are_what_files_show(void **state)
{
    static const char *const rows[][2] = {
        {"model.embed_tokens.weight", "q2_k"},
        {"model.layers.0.self_attn.qkv_proj.weight", "q3_k"},
        {"model.layers.3.mlp.down_proj.weight", "q4_0"},
        {"model.layers.5.mlp.gate_up_proj.weight", "q2_k"},
        {"model.layers.5.self_attn.o_proj.weight", "iq4_xs"},
        {"lm_head.weight", "q4_k"},
    };
    struct pq_sensitivity_options o = usual("gguf", modelio_path("every.json"));
    (void)state;
    o.every = 1;
    o.max_windows = 1;
    json_t *doc = measured(&o);
    struct pq_model *m = modelio_load(SAMPLE);
    for (size_t i = 0; i < PQ_LEN(rows); i++) {
        const struct pq_tensor *t = pq_network_find(&m->net, rows[i][0]);
        const double kld = pq_sensitivity_of(doc, t, pq_scheme_find(rows[i][1]));
        written_alone(rows[i][0], rows[i][1]);
        const double wanted = divergence_of(modelio_path("alone/gguf/m-BF16.gguf"), o.window);
        if (!(fabs(kld - wanted) <= 1e-4 * wanted + 1e-9))
            fail_msg("%s in %s: %g, the file shows %g", rows[i][0], rows[i][1], kld, wanted);
    }
    json_decref(doc);
    pq_model_free(m);
}

/* One scheme is measured; others follow it in the order of their errors. */
static void one_scheme_stands_for_all(void **state)
{
    struct pq_sensitivity_options o = usual("openvino", modelio_path("one.json"));
    json_t *doc = measured(&o);
    const json_t *row, *s;
    const char *name;
    size_t i;
    (void)state;
    json_array_foreach(json_object_get(doc, "tensors"), i, row)
    {
        double kld = 0, error = 0;
        int n = 0;
        json_object_foreach(json_object_get(row, "schemes"), name, s)
        {
            if (!json_is_true(json_object_get(s, "measured")))
                continue;
            kld = json_number_value(json_object_get(s, "kld"));
            error = json_number_value(json_object_get(s, "error"));
            n++;
        }
        assert_int_equal(n, 1);
        json_object_foreach(json_object_get(row, "schemes"), name, s)
        {
            const double own = json_number_value(json_object_get(s, "error"));
            assert_true(fabs(json_number_value(json_object_get(s, "kld")) - kld * own / error) <=
                        1e-9 * kld);
        }
    }
    assert_int_equal(i, 26);
    json_decref(doc);
}

/* ---- targets ---- */

static struct pq_quantize_options to_target(const char *target, const char *sensitivity)
{
    struct pq_quantize_options q;
    pq_quantize_options_default(&q);
    q.input = SAMPLE;
    q.out_dir = modelio_path("target");
    q.targets = target;
    q.sensitivity = sensitivity;
    q.threads = 1;
    q.force = 1;
    q.name = "m";
    return q;
}

/* The report's only target; the caller json_decref()s *whole. */
static const json_t *quantized(const struct pq_quantize_options *q, json_t **whole)
{
    struct pq_err e = {0};
    char *report = NULL;
    if (pq_quantize(q, 0, &report, &e) < 0)
        fail_msg("%s: %s", q->targets, e.msg);
    *whole = json_loads(report, 0, NULL);
    pq_string_free(report);
    return json_array_get(json_object_get(*whole, "targets"), 0);
}

static double member(const json_t *j, const char *outer, const char *inner)
{
    if (outer)
        j = json_object_get(j, outer);
    return json_number_value(json_object_get(j, inner));
}

static const char *const containers[] = {"gguf", "mlx", "onnx", "openvino"};

/* Files of all containers are within half a percent below the size asked for and can be read; more
 * bytes are expected to lose less. */
static void sizes_are_met(const char *container, const char *sensitivity)
{
    struct pq_quantize_options q = to_target(container, sensitivity);
    json_t *whole;
    double last = INFINITY;
    for (uint64_t size = 5000000; size <= 8000000; size += 3000000) {
        q.target_bytes = size;
        const json_t *t = quantized(&q, &whole);
        const double bytes = member(t, NULL, "bytes"), kld = member(t, "mix", "expected_kld");
        const double step =
            !strcmp(container, "onnx") ? 65536 : 0; /* its large arrays are aligned */
        if (bytes > (double)size || bytes < 0.995 * (double)size - step)
            fail_msg("%s: %.0f bytes for a target of %llu", container, bytes,
                     (unsigned long long)size);
        assert_true(kld < last);
        last = kld;
        struct pq_model *m = modelio_load(json_string_value(json_object_get(t, "path")));
        pq_model_free(m);
        json_decref(whole);
    }
}

static void bits_and_divergence_are_met(const char *container, const char *sensitivity)
{
    struct pq_quantize_options q = to_target(container, sensitivity);
    json_t *whole;
    q.target_bpw = 6;
    const json_t *t = quantized(&q, &whole);
    const double bits = member(t, NULL, "bits_per_weight"), bytes = member(t, NULL, "bytes"),
                 kld = member(t, "mix", "expected_kld");
    assert_true(bits <= 6 && bits >= 5.97);
    json_decref(whole);
    q.target_bpw = 0;
    q.max_kld = kld * (1 + 1e-9); /* the smallest file for that is no larger */
    t = quantized(&q, &whole);
    assert_true(member(t, "mix", "expected_kld") <= q.max_kld);
    assert_true(member(t, NULL, "bytes") <= bytes + 64);
    json_decref(whole);
}

static void targets_are_met(void **state)
{
    char file[512];
    struct pq_sensitivity_options o = usual("gguf,mlx,onnx,openvino", modelio_path("all.json"));
    (void)state;
    snprintf(file, sizeof file, "%s", o.out);
    json_decref(measured(&o));
    for (size_t i = 0; i < PQ_LEN(containers); i++) {
        sizes_are_met(containers[i], file);
        bits_and_divergence_are_met(containers[i], file);
    }
}

static void what_is_named_stays(void **state)
{
    static const char *const rules[] = {"*.0.mlp.down_proj.weight=q8_0"};
    struct pq_sensitivity_options o = usual("gguf", modelio_path("named.json"));
    struct pq_quantize_options q = to_target("gguf", o.out);
    const json_t *row;
    json_t *whole;
    size_t i;
    int seen = 0;
    (void)state;
    json_decref(measured(&o));
    q.target_bpw = 4;
    q.embed = "q5_k";
    q.rule = rules;
    q.n_rules = 1;
    const json_t *t = quantized(&q, &whole);
    json_array_foreach(json_object_get(t, "tensors"), i, row)
    {
        const char *name = json_string_value(json_object_get(row, "name"));
        const char *scheme = json_string_value(json_object_get(row, "scheme"));
        if (!strcmp(name, "token_embd.weight"))
            assert_string_equal(scheme, "q5_k"), seen++;
        if (!strcmp(name, "blk.0.ffn_down.weight"))
            assert_string_equal(scheme, "q8_0"), seen++;
    }
    assert_int_equal(seen, 2);
    json_decref(whole);
}

/* Calibration, sensitivity and quantization in one run. */
static void one_command_does_it_all(void **state)
{
    struct pq_quantize_options q = to_target("gguf", NULL);
    json_t *whole;
    (void)state;
    q.calibration = TEXT;
    q.calibration_windows = 2;
    q.target_bpw = 4.5;
    const json_t *t = quantized(&q, &whole);
    assert_true(member(t, NULL, "bits_per_weight") <= 4.5);
    assert_true(member(t, "solvers", "gptq") > 0);
    json_decref(whole);
}

static void refused(const struct pq_quantize_options *q, const char *words)
{
    struct pq_err e = {0};
    char *report = NULL;
    assert_true(pq_quantize(q, 1, &report, &e) < 0);
    assert_null(report);
    assert_words(e, words);
}

static void what_cannot_be_is_said(void **state)
{
    struct pq_sensitivity_options o = usual("gguf", modelio_path("refused.json"));
    struct pq_quantize_options q = to_target("gguf", o.out);
    (void)state;
    json_decref(measured(&o));
    q.target_bytes = 1000000;
    refused(&q, "a file of 1000000 bytes cannot be reached in gguf: its schemes give this network");
    q.target_bytes = 1000000000;
    refused(&q, "bits per weight, expected KL divergence");
    q.target_bpw = 4;
    refused(&q, "only one of them can count");
    q.target_bytes = 0;
    q.target_bpw = 1;
    refused(&q, "1 bits per weight cannot be reached");
    q.target_bpw = 4;
    q.precision = "int8";
    refused(&q, "leave out --scheme");
    q.precision = NULL;
    q.sensitivity = NULL;
    refused(&q, "needs to know what schemes cost");
    q.calibration = TEXT;
    refused(&q, "--dry-run with a target needs --sensitivity");
    q.calibration = NULL;
    q.sensitivity = o.out;
    q.targets = "mlx";
    refused(&q, "was not measured: make the file with phiq sensitivity --to mlx");
    q.targets = "gguf";
    q.target_bpw = 0;
    refused(&q, "--sensitivity is for");
}

static void files_that_are_wrong_are_said(void **state)
{
    struct pq_sensitivity_options o = usual("gguf", modelio_path("broken.json"));
    struct pq_quantize_options q = to_target("gguf", o.out);
    static const struct {
        const char *from, *to, *words;
    } rows[] = {
        {"\"sensitivity\"", "\"something!!\"", "not a file of phiq sensitivity"},
        {"lm_head.weight", "lm_tail.weight", "nothing about lm_head.weight"},
        {"\"cols\": 768", "\"cols\": 769", "in this model"},
        {"\"kld\"", "\"kle\"", "kld is no number"},
    };
    struct pq_buf good = {0};
    (void)state;
    q.target_bpw = 4;
    json_decref(measured(&o));
    modelio_slurp(o.out, &good);
    for (size_t i = 0; i < PQ_LEN(rows); i++) {
        struct pq_buf bad = {0};
        pq_buf_put(&bad, good.data, good.len);
        modelio_patch(&bad, rows[i].from, strlen(rows[i].from), rows[i].to);
        modelio_spill(o.out, &bad);
        refused(&q, rows[i].words);
        pq_buf_free(&bad);
    }
    pq_buf_free(&good);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_do_not_depend_on_threads),
        cmocka_unit_test(trials_are_what_files_show),
        cmocka_unit_test(one_scheme_stands_for_all),
        cmocka_unit_test(targets_are_met),
        cmocka_unit_test(what_is_named_stays),
        cmocka_unit_test(one_command_does_it_all),
        cmocka_unit_test(what_cannot_be_is_said),
        cmocka_unit_test(files_that_are_wrong_are_said),
    };
    return cmocka_run_group_tests(tests, modelio_setup, modelio_teardown);
}
