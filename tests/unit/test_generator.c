/* The calls of phiq.h that read and generate. SPDX-License-Identifier: MIT */
#include "modelio.h"

#include "base/num.h"
#include "infer/generator.h"

#include <stdio.h>

#define SAMPLE PQ_SOURCE_DIR "/models/phiq-sample"

static struct pq_generator *generator(const struct pq_model *m, struct pq_generator_options o)
{
    struct pq_err e = {0};
    struct pq_generator *g = NULL;
    o.struct_size = sizeof o;
    o.threads = o.threads ? o.threads : 1;
    if (pq_generator_new(&g, m, &o, &e) < 0)
        fail_msg("%s", e.msg);
    return g;
}

static struct pq_generated run(struct pq_generator *g, uint64_t max_tokens)
{
    struct pq_err e = {0};
    struct pq_generated out;
    struct pq_generate_options o;
    pq_generate_options_default(&o);
    o.max_tokens = max_tokens;
    if (pq_generator_run(g, &o, &out, &e) < 0)
        fail_msg("%s", e.msg);
    return out;
}

static void read_text(struct pq_generator *g, const char *text)
{
    struct pq_err e = {0};
    if (pq_generator_read_text(g, text, strlen(text), &e) < 0)
        fail_msg("%s", e.msg);
}

static void same_logits(const struct pq_generator *a, const struct pq_generator *b)
{
    size_t n, m;
    const float *x = pq_generator_logits(a, &n), *y = pq_generator_logits(b, &m);
    assert_int_equal(n, m);
    assert_memory_equal(x, y, n * sizeof *x);
}

/* Whatever was read before, the logits are those of the text alone. */
static void test_text(void **state)
{
    static const char *const texts[] = {"Once upon a time, there was", "Once upon a time",
                                        "Once upon a hill", "Something else"};
    struct pq_model *m = modelio_load(SAMPLE);
    struct pq_generator *g = generator(m, (struct pq_generator_options){0});
    (void)state;
    for (size_t i = 0; i < PQ_LEN(texts); i++) {
        struct pq_generator *fresh = generator(m, (struct pq_generator_options){0});
        char text[256];
        read_text(g, texts[i]);
        read_text(fresh, texts[i]);
        same_logits(g, fresh);
        struct pq_generated got = run(g, 10);
        assert_int_equal(got.n_tokens, 10);
        assert_int_equal(strlen(got.text), got.size);
        assert_string_equal(got.finish, "length");
        snprintf(text, sizeof text, "%s", got.text);
        assert_string_equal(text, run(fresh, 10).text);
        pq_generator_free(fresh);
    }
    pq_generator_free(g);
    pq_model_free(m);
}

/* Long prompts are read in pieces, across LongRoPE's switch too: the logits of one pass. */
static void test_pieces(void **state)
{
    (void)state;
    for (int f = 0; f < MODELIO_FIXTURES; f++) {
        struct pq_model *m = modelio_load(modelio_fixture(modelio_fixtures[f]));
        uint32_t id[400], n = PQ_LEN(id);
        struct pq_err e = {0};
        struct pq_session *s = NULL;
        n = m->net.hp.max_position < n ? m->net.hp.max_position : n;
        for (uint32_t i = 0; i < n; i++)
            id[i] = (i * 31 + 7) % m->net.hp.vocab;
        struct pq_generator *g = generator(m, (struct pq_generator_options){0});
        struct pq_session_setup setup = {.threads = 1, .fast = true};
        if (pq_session_new(&s, m, &setup, &e) < 0 || pq_session_read(s, id, n, NULL, &e) < 0 ||
            pq_generator_read_ids(g, id, 20, &e) < 0 || pq_generator_read_ids(g, id, n, &e) < 0)
            fail_msg("%s", e.msg);
        size_t vocab, length;
        const float *logits = pq_generator_logits(g, &vocab);
        assert_memory_equal(logits, pq_session_logits(s), vocab * sizeof *logits);
        assert_memory_equal(pq_generator_ids(g, &length), id, n * sizeof *id);
        assert_int_equal(length, n);
        pq_session_free(s);
        pq_generator_free(g);
        pq_model_free(m);
    }
}

/* Messages are the template's text, and a caller's own loop writes what pq_generator_run writes. */
static void test_messages_and_own_loop(void **state)
{
    static const struct pq_message talk[] = {{"system", "Be kind."}, {"user", "Hello \"there\""}};
    static const char json[] = "[{\"role\": \"system\", \"content\": \"Be kind.\"},"
                               "{\"role\": \"user\", \"content\": \"Hello \\\"there\\\"\"}]";
    struct pq_err e = {0};
    struct pq_model *m = modelio_load(SAMPLE);
    struct pq_generator *a = generator(m, (struct pq_generator_options){0});
    struct pq_generator *b = generator(m, (struct pq_generator_options){0});
    size_t n_a, n_b, vocab;
    (void)state;
    if (pq_generator_read_messages(a, talk, PQ_LEN(talk), &e) < 0 ||
        pq_generator_read_chat(b, json, &e) < 0)
        fail_msg("%s", e.msg);
    const uint32_t *id_a = pq_generator_ids(a, &n_a), *id_b = pq_generator_ids(b, &n_b);
    assert_int_equal(n_a, n_b);
    assert_memory_equal(id_a, id_b, n_a * sizeof *id_a);
    run(a, 8);
    for (int i = 0; i < 7; i++) {
        const float *logits = pq_generator_logits(b, &vocab);
        uint32_t best = 0;
        for (uint32_t k = 1; k < vocab; k++)
            best = logits[k] > logits[best] ? k : best;
        if (pq_generator_append(b, &best, 1, &e) < 0)
            fail_msg("%s", e.msg);
    }
    id_a = pq_generator_ids(a, &n_a), id_b = pq_generator_ids(b, &n_b);
    assert_int_equal(n_a, n_b);
    assert_memory_equal(id_a, id_b, n_a * sizeof *id_a);
    pq_generator_free(a);
    pq_generator_free(b);
    pq_model_free(m);
}

static void test_tokenize(void **state)
{
    static const uint32_t want[] = {1, 3003, 610, 261, 543};
    static const char text[] = "Once upon a time";
    uint32_t id[PQ_LEN(want) + 1] = {0};
    size_t n = 0;
    struct pq_err e = {0};
    struct pq_model *m = modelio_load(SAMPLE);
    struct pq_generator *g = generator(m, (struct pq_generator_options){0});
    (void)state;
    assert_int_equal(pq_generator_tokenize(g, text, strlen(text), 1, id, PQ_LEN(id), &n, &e), 0);
    assert_int_equal(n, PQ_LEN(want));
    assert_memory_equal(id, want, sizeof want);
    memset(id, 0, sizeof id);
    assert_int_equal(pq_generator_tokenize(g, text, strlen(text), 0, id, 2, &n, &e), 0);
    assert_int_equal(n, PQ_LEN(want) - 1);
    assert_memory_equal(id, want + 1, 2 * sizeof *id);
    assert_int_equal(id[2], 0);
    pq_generator_free(g);
    pq_model_free(m);
}

struct watch {
    uint64_t done, total;
    int calls, stop_at;
};

static int on_read(void *ctx, uint64_t done, uint64_t total)
{
    struct watch *w = (struct watch *)ctx;
    assert_true(done > w->done && done <= total);
    w->done = done;
    w->total = total;
    return ++w->calls == w->stop_at;
}

/* Reading can be stopped, and goes on where it was. */
static void test_cancel(void **state)
{
    struct watch w = {.stop_at = 1};
    struct pq_err e = {0};
    size_t n;
    uint32_t id[600];
    struct pq_model *m = modelio_load(SAMPLE);
    struct pq_generator *a = generator(m, (struct pq_generator_options){0});
    struct pq_generator *g =
        generator(m, (struct pq_generator_options){.on_read = on_read, .ctx = &w});
    (void)state;
    for (uint32_t i = 0; i < PQ_LEN(id); i++)
        id[i] = (i * 31 + 7) % m->net.hp.vocab;
    assert_int_equal(pq_generator_read_ids(g, id, PQ_LEN(id), &e), PQ_ECANCELLED);
    assert_words(e, "of 600 tokens");
    pq_generator_ids(g, &n);
    assert_true(n == w.done && n < PQ_LEN(id) && w.total == PQ_LEN(id));
    e = (struct pq_err){0};
    if (pq_generator_read_ids(g, id, PQ_LEN(id), &e) < 0 ||
        pq_generator_read_ids(a, id, PQ_LEN(id), &e) < 0)
        fail_msg("%s", e.msg);
    assert_int_equal(w.done, PQ_LEN(id));
    same_logits(a, g);
    pq_generator_free(g);
    pq_generator_free(a);
    pq_model_free(m);
}

static void refuse(const struct pq_model *m, struct pq_generator_options o, const char *words)
{
    struct pq_generator *g = NULL;
    struct pq_err e = {0};
    assert_int_equal(pq_generator_new(&g, m, &o, &e), PQ_EINVAL);
    assert_words(e, words);
    assert_null(g);
}

static void test_refusals(void **state)
{
    struct pq_model *m = modelio_load(SAMPLE), *silent = modelio_load(SAMPLE);
    struct pq_generator_options o;
    struct pq_generated out;
    struct pq_err e = {0};
    (void)state;
    pq_generator_options_default(&o);
    refuse(m, (struct pq_generator_options){0}, "pq_generator_options_default");
    silent->has_vocab = false;
    refuse(silent, o, "no tokenizer");
    silent->has_vocab = true;
    pq_model_free(silent);
    struct pq_generator_options bad = o;
    bad.kv = "q3";
    refuse(m, bad, "expected f16");
    bad = o;
    bad.context = 1ull << 40;
    refuse(m, bad, "context of");
    bad = o;
    bad.temperature = -1;
    refuse(m, bad, "temperature");
    o.context = 4;
    o.template_name = "nope";
    struct pq_generator *g = generator(m, o);
    assert_int_equal(pq_generator_read_text(g, "one two three four five", 23, &e), PQ_EINVAL);
    assert_words(e, "do not fit the context of 4");
    e = (struct pq_err){0};
    assert_int_equal(pq_generator_read_ids(g, NULL, 0, &e), PQ_EINVAL);
    assert_words(e, "nothing to read");
    e = (struct pq_err){0};
    assert_int_equal(pq_generator_read_chat(g, "[]", &e), PQ_EINVAL);
    assert_words(e, "unknown chat template");
    e = (struct pq_err){0};
    assert_int_equal(pq_generator_read_chat(g, "[", &e), PQ_EFORMAT);
    e = (struct pq_err){0};
    assert_int_equal(pq_generator_run(g, &(struct pq_generate_options){0}, &out, &e), PQ_EINVAL);
    assert_words(e, "pq_generate_options_default");
    pq_generator_free(g);
    pq_model_free(m);
}

/* Memory that runs out anywhere is a status, and a generator that is there goes on. */
static int everything(const struct pq_model *m, struct pq_err *e)
{
    static const struct pq_message talk[] = {{"user", "Hello"}};
    struct pq_generator *g = NULL;
    struct pq_generator_options o;
    struct pq_generate_options how;
    struct pq_generated out;
    int rc;
    pq_generator_options_default(&o);
    pq_generate_options_default(&how);
    o.threads = 1;
    o.context = 32;
    how.max_tokens = 2;
    PQ_TRY(pq_generator_new(&g, m, &o, e));
    PQ_TRY(pq_generator_read_messages(g, talk, 1, e));
    PQ_TRY(pq_generator_run(g, &how, &out, e));
out:
    pq_generator_free(g);
    return rc;
}

static void test_memory(void **state)
{
    struct pq_model *m = modelio_load(SAMPLE);
    struct pq_err e = {0};
    unsigned long requests;
    (void)state;
    pq_mem_fail_after(0, false);
    assert_int_equal(everything(m, &e), PQ_OK);
    requests = pq_mem_requests();
    assert_true(requests > 20);
    for (unsigned long n = 1; n <= requests; n += 1 + n / 20) {
        e = (struct pq_err){0};
        pq_mem_fail_after(n, false);
        int rc = everything(m, &e);
        pq_mem_fail_after(0, false);
        if (rc != PQ_ENOMEM)
            fail_msg("request %lu of %lu fails: status %d, %s", n, requests, rc, e.msg);
    }
    pq_model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),     cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_tokenize), cmocka_unit_test(test_messages_and_own_loop),
        cmocka_unit_test(test_cancel),   cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
