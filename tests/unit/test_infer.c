/*
 * The forward pass against transformers: logits and greedy continuations of every fixture and of
 * the sample model, from every container. SPDX-License-Identifier: MIT
 */
#include "modelio.h"

#include "base/num.h"
#include "infer/session.h"
#include "wire/safetensors.h"

#include <math.h>
#include <stdio.h>

enum { MODELS = MODELIO_FIXTURES + 1 }; /* and the sample */

static const char *model_path(int i)
{
    return i < MODELIO_FIXTURES ? modelio_fixture(modelio_fixtures[i])
                                : PQ_SOURCE_DIR "/models/phiq-sample";
}

/* ---- reference.safetensors ---- */

struct reference {
    struct pq_arena arena;
    struct pq_map map;
    struct pq_st st;
};

static void reference_open(struct reference *r, const char *model)
{
    static char path[1200];
    struct pq_err e = {0};
    *r = (struct reference){0};
    snprintf(path, sizeof path, "%s/reference.safetensors", model);
    if (pq_map_open(&r->map, path, &e) < 0 ||
        pq_st_parse(&r->st, &r->arena, r->map.data, r->map.size, path, &e) < 0)
        fail_msg("%s", e.msg);
}

static void reference_close(struct reference *r)
{
    pq_map_close(&r->map);
    pq_arena_free(&r->arena);
}

static const void *reference_get(const struct reference *r, const char *name, uint64_t *n)
{
    *n = 0;
    for (size_t i = 0; i < r->st.n_tensors; i++)
        if (!strcmp(r->st.tensor[i].name, name)) {
            *n = (r->st.tensor[i].end - r->st.tensor[i].begin) / 4;
            return r->map.data + r->st.tensor[i].begin;
        }
    fail_msg("no %s in %s", name, r->map.path);
    return NULL;
}

/* ---- sessions ---- */

static struct pq_session *session(const struct pq_model *m, struct pq_session_setup setup)
{
    struct pq_session *s = NULL;
    struct pq_err e = {0};
    if (!setup.threads)
        setup.threads = 2;
    if (pq_session_new(&s, m, &setup, &e) < 0)
        fail_msg("%s", e.msg);
    return s;
}

static void read_ids(struct pq_session *s, const uint32_t *id, size_t n, float *all)
{
    struct pq_err e = {0};
    if (pq_session_read(s, id, n, all, &e) < 0)
        fail_msg("%s", e.msg);
}

static uint32_t best(const float *logits, uint32_t n)
{
    uint32_t at = 0;
    for (uint32_t i = 1; i < n; i++)
        at = logits[i] > logits[at] ? i : at;
    return at;
}

static float *new_logits(const struct pq_model *m, size_t n)
{
    float *x = (float *)pq_calloc(n * m->net.hp.vocab, sizeof *x);
    assert_non_null(x);
    return x;
}

static double worst_difference(const float *a, const float *b, uint64_t n)
{
    double worst = 0;
    for (uint64_t i = 0; i < n; i++) {
        double d = fabs((double)a[i] - (double)b[i]);
        worst = d <= worst ? worst : d; /* not a number counts */
    }
    return worst;
}

/* Reads the tokens in steps of `step` and compares all logits with the reference's. */
static void check_logits(const struct pq_model *m, const struct reference *r, const char *length,
                         size_t step, double tolerance)
{
    char name[64];
    uint64_t n, n_logits;
    snprintf(name, sizeof name, "input_ids_%s", length);
    const uint32_t *id = (const uint32_t *)reference_get(r, name, &n);
    snprintf(name, sizeof name, "logits_%s", length);
    const float *want = (const float *)reference_get(r, name, &n_logits);
    assert_int_equal(n_logits, n * m->net.hp.vocab);
    struct pq_session *s = session(m, (struct pq_session_setup){.kv = PQ_KV_F32, .batch = 32});
    float *got = new_logits(m, (size_t)n);
    for (size_t at = 0; at < n; at += step)
        read_ids(s, id + at, n - at < step ? (size_t)n - at : step, got + at * m->net.hp.vocab);
    double worst = worst_difference(got, want, n_logits);
    if (!(worst <= tolerance))
        fail_msg("%s, %s tokens, %zu at once: logits differ by %g", m->name, length, step, worst);
    pq_free(got);
    pq_session_free(s);
}

static void each_length(const struct pq_model *m, const struct reference *r,
                        void (*check)(const struct pq_model *, const struct reference *,
                                      const char *length))
{
    static const char prefix[] = "input_ids_";
    int lengths = 0;
    for (size_t i = 0; i < r->st.n_tensors; i++)
        if (!strncmp(r->st.tensor[i].name, prefix, sizeof prefix - 1)) {
            check(m, r, r->st.tensor[i].name + sizeof prefix - 1);
            lengths++;
        }
    assert_true(lengths > 0);
}

static void whole_prompt(const struct pq_model *m, const struct reference *r, const char *length)
{
    check_logits(m, r, length, 1 << 20, 1e-4);
}

static void test_logits(void **state)
{
    (void)state;
    for (int i = 0; i < MODELS; i++) {
        struct reference r;
        struct pq_model *m = modelio_load(model_path(i));
        reference_open(&r, model_path(i));
        each_length(m, &r, whole_prompt);
        reference_close(&r);
        pq_model_free(m);
    }
}

/* The prompt, then greedy tokens one by one: LongRoPE fixtures cross the switch on the way. */
static void check_greedy(const struct pq_model *m, const struct reference *r,
                         struct pq_session_setup setup)
{
    uint64_t n, prompt = UINT64_MAX;
    const uint32_t *id = (const uint32_t *)reference_get(r, "greedy_ids", &n);
    for (size_t i = 0; i < r->st.n_tensors; i++)
        if (!strncmp(r->st.tensor[i].name, "input_ids_", 10) && r->st.tensor[i].dim[0] < prompt)
            prompt = r->st.tensor[i].dim[0];
    assert_true(prompt < n);
    struct pq_session *s = session(m, setup);
    read_ids(s, id, (size_t)prompt, NULL);
    for (uint64_t i = prompt; i < n; i++) {
        uint32_t next = best(pq_session_logits(s), m->net.hp.vocab);
        if (next != id[i])
            fail_msg("%s from %s: token %llu is %u, expected %u", m->name, m->path,
                     (unsigned long long)i, next, id[i]);
        read_ids(s, &next, 1, NULL);
    }
    pq_session_free(s);
}

static void test_greedy(void **state)
{
    (void)state;
    for (int i = 0; i < MODELS; i++) {
        struct reference r;
        struct pq_model *m = modelio_load(model_path(i));
        reference_open(&r, model_path(i));
        check_greedy(m, &r, (struct pq_session_setup){.kv = PQ_KV_F32});
        check_greedy(m, &r, (struct pq_session_setup){.kv = PQ_KV_F16});
        reference_close(&r);
        pq_model_free(m);
    }
}

/* The same model at single precision from every container. */
static void test_containers(void **state)
{
    (void)state;
    for (int i = 0; i < MODELIO_FIXTURES; i++)
        for (int c = 0; pq_containers[c]; c++) {
            struct reference r;
            if (!pq_containers[c]->plan)
                continue;
            const char *name = pq_containers[c]->name, *source = model_path(i);
            const char *scheme = pq_containers[c]->usual[PQ_FP32];
            struct pq_model *m =
                modelio_load(modelio_write(source, modelio_fixtures[i], name, scheme, 0));
            assert_string_equal(m->container->name, name);
            reference_open(&r, model_path(i));
            check_greedy(m, &r, (struct pq_session_setup){.kv = PQ_KV_F32});
            each_length(m, &r, whole_prompt);
            reference_close(&r);
            pq_model_free(m);
        }
}

/* All logits of a context that is read in steps. */
static void logits_of(const struct pq_model *m, struct pq_session_setup setup, size_t step,
                      const uint32_t *id, size_t n, float *out)
{
    struct pq_session *s = session(m, setup);
    for (size_t at = 0; at < n; at += step)
        read_ids(s, id + at, n - at < step ? n - at : step, out + at * m->net.hp.vocab);
    pq_session_free(s);
}

static void some_ids(const struct pq_model *m, uint32_t *id, size_t n)
{
    for (uint32_t k = 0; k < n; k++)
        id[k] = (k * 37 + 5) % m->net.hp.vocab;
}

enum { SOME = 60 }; /* tokens: below the switch of LongRoPE */

/* How a context was cut into calls and batches, how many threads computed it, and with which
 * instructions, changes no bit. */
static void check_invariance(const struct pq_model *m, bool fast, enum pq_kv kv)
{
    static const struct {
        struct pq_session_setup setup;
        size_t step;
    } ways[] = {{{.threads = 1, .batch = 1}, 1000}, {{.threads = 3, .batch = 7}, 1000},
                {{.threads = 2, .batch = 64}, 5},   {{.threads = 2}, 1},
                {{.threads = 1, .batch = 2}, 1000}, {{.cpu = "c", .threads = 2}, 21}};
    uint32_t id[SOME];
    const size_t n = SOME * m->net.hp.vocab;
    float *want = new_logits(m, SOME), *got = new_logits(m, SOME);
    some_ids(m, id, SOME);
    logits_of(m, (struct pq_session_setup){.fast = fast, .kv = kv}, SOME, id, SOME, want);
    for (size_t w = 0; w < PQ_LEN(ways); w++) {
        struct pq_session_setup setup = ways[w].setup;
        setup.fast = fast;
        setup.kv = kv;
        logits_of(m, setup, ways[w].step, id, SOME, got);
        if (memcmp(want, got, n * sizeof *got))
            fail_msg("%s: way %zu gives other logits", m->path, w);
    }
    pq_free(want);
    pq_free(got);
}

static void test_invariance(void **state)
{
    static const char *const schemes[][2] = {
        {"gguf", "q4_k_m"}, {"gguf", "q8_0"}, {"mlx", "affine4g64"}, {"onnx", "pure-uint4g32"}};
    (void)state;
    for (int i = 0; i < MODELIO_FIXTURES; i++) {
        struct pq_model *m = modelio_load(model_path(i));
        check_invariance(m, false, PQ_KV_F16);
        check_invariance(m, false, PQ_KV_INT8);
        pq_model_free(m);
        for (size_t k = 0; k < PQ_LEN(schemes); k++) {
            char name[64];
            snprintf(name, sizeof name, "inv-%d-%zu", i, k);
            m = modelio_load(modelio_write(model_path(i), name, schemes[k][0], schemes[k][1], 0));
            check_invariance(m, true, k % 2 ? PQ_KV_INT8 : PQ_KV_F16);
            pq_model_free(m);
        }
    }
}

/* The same 4-bit codes in three containers are the same model. */
static void check_same_codes(int fixture, bool fast)
{
    static const struct {
        const char *container, *scheme;
    } forms[] = {{"gguf", "pure-q4_0"}, {"onnx", "pure-int4g32"}, {"openvino", "pure-int4g32"}};
    float *first = NULL, *got;
    for (size_t f = 0; f < PQ_LEN(forms); f++) {
        char name[64];
        uint32_t id[SOME];
        snprintf(name, sizeof name, "codes-%d", fixture);
        struct pq_model *m = modelio_load(
            modelio_write(model_path(fixture), name, forms[f].container, forms[f].scheme, 0));
        const size_t n = SOME * m->net.hp.vocab;
        got = new_logits(m, SOME);
        some_ids(m, id, SOME);
        logits_of(m, (struct pq_session_setup){.fast = fast}, SOME, id, SOME, got);
        if (first && memcmp(first, got, n * sizeof *got))
            fail_msg("%s: %s differs from %s by %g", modelio_fixtures[fixture], forms[f].container,
                     forms[0].container, worst_difference(first, got, n));
        if (first)
            pq_free(got);
        else
            first = got;
        pq_model_free(m);
    }
    pq_free(first);
}

static void test_same_codes(void **state)
{
    (void)state;
    for (int i = 0; i < MODELIO_FIXTURES; i++) {
        check_same_codes(i, false);
        check_same_codes(i, true);
    }
}

static double relative_error(const float *want, const float *got, size_t n)
{
    double err = 0, size = 0;
    for (size_t i = 0; i < n; i++) {
        err += ((double)got[i] - (double)want[i]) * ((double)got[i] - (double)want[i]);
        size += (double)want[i] * (double)want[i];
    }
    return sqrt(err / size);
}

/* Rounding activations costs little: of the logits' own size, in the mean over a context. */
static void test_fast_is_near(void **state)
{
    static const char *const schemes[][2] = {
        {"gguf", "q4_k_m"},    {"gguf", "q4_0"},    {"gguf", "q8_0"},      {"gguf", "q5_k_m"},
        {"mlx", "affine8g64"}, {"onnx", "int4g32"}, {"openvino", "uint8c"}};
    (void)state;
    for (size_t k = 0; k < PQ_LEN(schemes); k++) {
        char name[64];
        uint32_t id[SOME];
        snprintf(name, sizeof name, "near-%zu", k);
        struct pq_model *m = modelio_load(
            modelio_write(model_path(MODELS - 1), name, schemes[k][0], schemes[k][1], 0));
        const size_t n = SOME * m->net.hp.vocab;
        float *want = new_logits(m, SOME), *got = new_logits(m, SOME);
        some_ids(m, id, SOME);
        logits_of(m, (struct pq_session_setup){0}, SOME, id, SOME, want);
        logits_of(m, (struct pq_session_setup){.fast = true}, SOME, id, SOME, got);
        const double relative = relative_error(want, got, n);
        if (!(relative > 0 && relative < 0.02))
            fail_msg("%s: logits differ by %.3f %%", m->path, 100 * relative);
        pq_free(want);
        pq_free(got);
        pq_model_free(m);
    }
}

/* Keys and values of 8 bits: of the logits' own size, 2 % in the mean over a context. */
static void test_int8_cache_is_near(void **state)
{
    (void)state;
    for (int i = 0; i < MODELS; i++) {
        struct pq_model *m = modelio_load(model_path(i));
        uint32_t id[SOME];
        const size_t n = SOME * m->net.hp.vocab;
        float *want = new_logits(m, SOME), *got = new_logits(m, SOME);
        some_ids(m, id, SOME);
        logits_of(m, (struct pq_session_setup){.kv = PQ_KV_F32}, SOME, id, SOME, want);
        logits_of(m, (struct pq_session_setup){.kv = PQ_KV_INT8}, SOME, id, SOME, got);
        const double relative = relative_error(want, got, n);
        if (!(relative > 0 && relative < 0.02))
            fail_msg("%s: logits differ by %.3f %%", m->path, 100 * relative);
        pq_free(want);
        pq_free(got);
        pq_model_free(m);
    }
}

/* What was forgotten leaves no trace, also across the switch of LongRoPE, in both directions. */
static void test_keep(void **state)
{
    (void)state;
    for (int i = 0; i < MODELIO_FIXTURES; i++) {
        struct pq_model *m = modelio_load(model_path(i));
        uint32_t id[100], vocab = m->net.hp.vocab;
        for (uint32_t k = 0; k < PQ_LEN(id); k++)
            id[k] = (k * 41 + 3) % vocab;
        struct pq_session *a = session(m, (struct pq_session_setup){0});
        struct pq_session *b = session(m, (struct pq_session_setup){0});
        read_ids(a, id, 40, NULL);
        read_ids(b, id, PQ_LEN(id), NULL);
        pq_session_keep(b, 30);
        assert_int_equal(pq_session_length(b), 30);
        read_ids(b, id + 30, 10, NULL);
        assert_memory_equal(pq_session_logits(a), pq_session_logits(b), vocab * sizeof(float));
        read_ids(a, id + 40, 60, NULL);
        read_ids(b, id + 40, 20, NULL);
        read_ids(b, id + 60, 40, NULL);
        assert_memory_equal(pq_session_logits(a), pq_session_logits(b), vocab * sizeof(float));
        pq_session_free(a);
        pq_session_free(b);
        pq_model_free(m);
    }
}

static void refused(struct pq_session *s, const uint32_t *id, size_t n, const char *words)
{
    struct pq_err e = {0};
    size_t before = pq_session_length(s);
    assert_int_equal(pq_session_read(s, id, n, NULL, &e), PQ_EINVAL);
    assert_words(e, words);
    assert_int_equal(pq_session_length(s), before);
}

static void test_limits(void **state)
{
    (void)state;
    static const uint32_t id[20] = {1, 2, 3};
    struct pq_model *m = modelio_load(model_path(1));
    struct pq_session *s = NULL;
    struct pq_err e = {0};
    const uint32_t beyond = m->net.hp.vocab;
    assert_int_equal(pq_session_new(&s, m, &(struct pq_session_setup){.context = 1u << 20}, &e),
                     PQ_EINVAL);
    assert_words(e, "the model was made for 512");
    assert_null(s);
    e = (struct pq_err){0};
    assert_int_equal(pq_session_new(&s, m, &(struct pq_session_setup){.cpu = "mmx"}, &e),
                     PQ_EINVAL);
    assert_words(e, "mmx");
    s = session(m, (struct pq_session_setup){.context = 20});
    refused(s, id, 0, "no tokens");
    refused(s, &beyond, 1, "vocabulary of 496");
    read_ids(s, id, 18, NULL);
    refused(s, id, 3, "3 tokens after 18 do not fit the context of 20");
    read_ids(s, id, 2, NULL);
    pq_session_free(s);
    pq_model_free(m);
}

/* Memory that runs out at any request is a status, and a session that was open goes on. */
static void test_out_of_memory(void **state)
{
    (void)state;
    static const uint32_t id[300] = {1, 2, 3};
    struct pq_model *m = modelio_load(model_path(0));
    int rc = PQ_ENOMEM;
    for (unsigned long n = 1; rc == PQ_ENOMEM; n++) {
        struct pq_session *s = NULL;
        struct pq_err e = {0};
        pq_mem_fail_after(n, false);
        const struct pq_session_setup setup = {.threads = 2, .fast = true};
        rc = pq_session_new(&s, m, &setup, &e);
        if (rc >= 0)
            rc = pq_session_read(s, id, PQ_LEN(id), NULL, &e);
        pq_mem_fail_after(0, false);
        if (rc < 0 && s)
            read_ids(s, id, PQ_LEN(id), NULL);
        assert_true(rc >= 0 || e.msg[0]);
        pq_session_free(s);
    }
    assert_int_equal(rc, PQ_OK);
    pq_model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_invariance),    cmocka_unit_test(test_fast_is_near),
        cmocka_unit_test(test_keep),          cmocka_unit_test(test_limits),
        cmocka_unit_test(test_out_of_memory), cmocka_unit_test(test_same_codes),
        cmocka_unit_test(test_logits),        cmocka_unit_test(test_greedy),
        cmocka_unit_test(test_containers),    cmocka_unit_test(test_int8_cache_is_near),
    };
    return cmocka_run_group_tests(tests, modelio_setup, modelio_teardown);
}
