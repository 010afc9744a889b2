/* Sampling by known distributions, and the text that a session goes on with.
 * SPDX-License-Identifier: MIT */
#include "modelio.h"

#include "base/num.h"
#include "infer/generate.h"

#include <math.h>
#include <stdio.h>

/* ---- sampling ---- */

enum { VOCAB = 8, DRAWS = 20000 };

/* Probabilities 1/2, 1/4, 1/8 ... in a shuffled order of ids. */
static const uint32_t rank_of[VOCAB] = {3, 0, 5, 1, 7, 2, 6, 4};

static void halves(float logit[VOCAB])
{
    for (int i = 0; i < VOCAB; i++)
        logit[i] = 3.0f - (float)rank_of[i] * (float)log(2.0);
}

static struct pq_sampler *sampler(struct pq_sampling how)
{
    struct pq_sampler *s = NULL;
    struct pq_err e = {0};
    if (pq_sampler_new(&s, &how, VOCAB, &e) < 0)
        fail_msg("%s", e.msg);
    return s;
}

/* How often each rank was drawn, as a share. */
static void shares(struct pq_sampling how, double share[VOCAB])
{
    float logit[VOCAB];
    struct pq_sampler *s = sampler(how);
    halves(logit);
    memset(share, 0, VOCAB * sizeof *share);
    for (int i = 0; i < DRAWS; i++)
        share[rank_of[pq_sampler_pick(s, logit, NULL, 0).id]] += 1.0 / DRAWS;
    pq_sampler_free(s);
}

static void test_filters(void **state)
{
    /* `kept` ranks take part, with probabilities proportional to base^-rank. */
    static const struct {
        struct pq_sampling how;
        int kept;
        double base;
    } rows[] = {
        {{.temperature = 1}, 8, 2},
        {{.temperature = 0.5}, 8, 4},
        {{.temperature = 1, .top_k = 3}, 3, 2},
        {{.temperature = 1, .top_k = 100}, 8, 2},
        {{.temperature = 1, .top_p = 0.70}, 2, 2},
        {{.temperature = 1, .top_p = 0.76}, 3, 2},
        {{.temperature = 0.5, .top_p = 0.76}, 2, 4},
        {{.temperature = 1, .top_p = 0.01}, 1, 2},
        {{.temperature = 1, .top_p = 1}, 8, 2},
        {{.temperature = 1, .min_p = 0.2}, 3, 2},
        {{.temperature = 1, .top_k = 3, .top_p = 0.6}, 2, 2}, /* of 4/7 2/7 1/7 */
        {{.temperature = 1, .top_k = 2, .top_p = 0.6}, 1, 2}, /* of 2/3 1/3 */
        {{.temperature = 1, .top_k = 5, .min_p = 0.3}, 2, 2},
        {{.temperature = 0}, 1, 2},
    };
    (void)state;
    for (size_t k = 0; k < PQ_LEN(rows); k++) {
        double got[VOCAB], sum = 0;
        shares(rows[k].how, got);
        for (int r = 0; r < rows[k].kept; r++)
            sum += pow(rows[k].base, -r);
        for (int r = 0; r < VOCAB; r++) {
            double want = r < rows[k].kept ? pow(rows[k].base, -r) / sum : 0;
            if (fabs(got[r] - want) > 5 * sqrt(want * (1 - want) / DRAWS) + 1e-9)
                fail_msg("row %zu: rank %d was drawn %.4f, expected %.4f", k, r, got[r], want);
        }
    }
}

static void test_seeds(void **state)
{
    float logit[VOCAB];
    int same = 0;
    (void)state;
    halves(logit);
    struct pq_sampler *a = sampler((struct pq_sampling){.temperature = 2, .seed = 7});
    struct pq_sampler *b = sampler((struct pq_sampling){.temperature = 2, .seed = 7});
    struct pq_sampler *c = sampler((struct pq_sampling){.temperature = 2, .seed = 8});
    for (int i = 0; i < 100; i++) {
        uint32_t id = pq_sampler_pick(a, logit, NULL, 0).id;
        assert_int_equal(id, pq_sampler_pick(b, logit, NULL, 0).id);
        same += id == pq_sampler_pick(c, logit, NULL, 0).id;
    }
    assert_true(same < 60);
    pq_sampler_free(a);
    pq_sampler_free(b);
    pq_sampler_free(c);
}

/* The penalty divides a positive logit, multiplies a negative one, once for each token seen; the
 * log-probability is that of the logits without it. */
static void test_penalty(void **state)
{
    const float logit[VOCAB] = {2.0f, 1.9f, -1.0f, -1.1f, -9, -9, -9, -9};
    const float low[VOCAB] = {-1.0f, -1.1f, -9, -9, -9, -9, -9, -9};
    const uint32_t seen[] = {0, 0, 0}, none[] = {5};
    double sum = 0;
    (void)state;
    struct pq_sampler *s = sampler((struct pq_sampling){.repeat_penalty = 1.04});
    assert_int_equal(pq_sampler_pick(s, logit, none, 1).id, 0);
    assert_int_equal(pq_sampler_pick(s, logit, seen, 1).id, 0); /* 1.923 */
    pq_sampler_free(s);
    s = sampler((struct pq_sampling){.repeat_penalty = 1.2});
    struct pq_choice c = pq_sampler_pick(s, logit, seen, 3);
    assert_int_equal(c.id, 1);
    for (int i = 0; i < VOCAB; i++)
        sum += exp((double)logit[i]);
    assert_true(fabs(c.logprob - (1.9 - log(sum))) < 1e-6);
    assert_int_equal(pq_sampler_pick(s, low, seen, 1).id, 1);
    pq_sampler_free(s);
}

static void test_bad_settings(void **state)
{
    static const struct {
        struct pq_sampling how;
        const char *words;
    } rows[] = {{{.temperature = -1}, "temperature of -1"},
                {{.temperature = NAN}, "temperature"},
                {{.top_p = 1.5}, "top-p 1.5"},
                {{.min_p = -0.1}, "min-p -0.1"},
                {{.repeat_penalty = -2}, "penalty of -2"}};
    (void)state;
    for (size_t i = 0; i < PQ_LEN(rows); i++) {
        struct pq_sampler *s = NULL;
        struct pq_err e = {0};
        assert_int_equal(pq_sampler_new(&s, &rows[i].how, VOCAB, &e), PQ_EINVAL);
        assert_words(e, rows[i].words);
        assert_null(s);
    }
}

/* ---- text ---- */

#define SAMPLE PQ_SOURCE_DIR "/models/phiq-sample"

struct writer {
    struct pq_model *m;
    struct pq_tokenizer *t;
    struct pq_session *s;
    struct pq_sampler *sampler;
    struct pq_buf told;
    size_t stop_after; /* calls of on_text; 0 = never */
    size_t calls;
};

static int on_text(void *ctx, const char *text, size_t n)
{
    struct writer *w = (struct writer *)ctx;
    assert_true(n > 0);
    pq_buf_put(&w->told, text, n);
    return ++w->calls == w->stop_after;
}

static void writer_open(struct writer *w, const char *prompt, struct pq_session_setup setup)
{
    struct pq_err e = {0};
    struct pq_ids ids = {0};
    *w = (struct writer){.m = modelio_load(SAMPLE)};
    setup.threads = 1;
    if (pq_tokenizer_new(&w->t, &w->m->vocab, &e) < 0 ||
        pq_session_new(&w->s, w->m, &setup, &e) < 0 ||
        pq_sampler_new(&w->sampler, &(struct pq_sampling){0}, w->m->net.hp.vocab, &e) < 0 ||
        pq_tokenizer_encode(w->t, prompt, strlen(prompt), PQ_ENCODE_ENDS, &ids, &e) < 0 ||
        pq_session_read(w->s, ids.id, ids.n, NULL, &e) < 0)
        fail_msg("%s", e.msg);
    pq_ids_free(&ids);
}

static void writer_close(struct writer *w)
{
    pq_buf_free(&w->told);
    pq_sampler_free(w->sampler);
    pq_session_free(w->s);
    pq_tokenizer_free(w->t);
    pq_model_free(w->m);
}

static struct pq_generation generate(struct writer *w, uint64_t max_tokens, const char *stop)
{
    static const char *stops[2] = {"never there"};
    struct pq_err e = {0};
    stops[1] = stop;
    struct pq_generation g = {.session = w->s,
                              .tokenizer = w->t,
                              .sampler = w->sampler,
                              .max_tokens = max_tokens,
                              .stop = stops,
                              .n_stop = stop ? 2 : 0,
                              .on_text = on_text,
                              .ctx = w};
    if (pq_generate(&g, &e) < 0)
        fail_msg("%s", e.msg);
    return g;
}

static void same_text(const struct pq_buf *a, const char *b, size_t n)
{
    if (a->len != n || (n && memcmp(a->data, b, n)))
        fail_msg("text is \"%.*s\", expected \"%.*s\"", (int)a->len, (const char *)a->data, (int)n,
                 b);
}

/* What is told piece by piece is the text, the text is the tokens', and stop strings cut it where
 * they begin, at any place in a token. */
static void test_text(void **state)
{
    enum { TOKENS = 40 };
    struct writer w;
    struct pq_err e = {0};
    struct pq_buf whole = {0};
    uint32_t id[TOKENS];
    (void)state;
    writer_open(&w, "Once upon a time", (struct pq_session_setup){0});
    struct pq_generation g = generate(&w, TOKENS, NULL);
    assert_int_equal(g.finish, PQ_FINISH_LENGTH);
    assert_int_equal(g.n_tokens, TOKENS);
    for (size_t i = 0; i < g.n_tokens; i++)
        id[i] = g.token[i].id;
    assert_true(pq_tokenizer_decode(w.t, id, TOKENS, PQ_DECODE_SKIP_SPECIAL, &whole, &e) >= 0);
    same_text(&g.text, (const char *)whole.data, whole.len);
    same_text(&w.told, (const char *)whole.data, whole.len);
    pq_generation_free(&g);
    writer_close(&w);
    for (size_t at = 1; at + 6 < whole.len; at += 3) {
        char stop[6] = {0};
        memcpy(stop, whole.data + at, 5);
        size_t first = 0;
        while (memcmp(whole.data + first, stop, 5))
            first++;
        writer_open(&w, "Once upon a time", (struct pq_session_setup){0});
        g = generate(&w, TOKENS, stop);
        assert_int_equal(g.finish, PQ_FINISH_STOP);
        same_text(&g.text, (const char *)whole.data, first);
        same_text(&w.told, (const char *)whole.data, first);
        pq_generation_free(&g);
        writer_close(&w);
    }
    pq_buf_free(&whole);
}

static void test_finish(void **state)
{
    struct writer w;
    struct pq_err e = {0};
    (void)state;
    writer_open(&w, "Once upon a time", (struct pq_session_setup){.context = 20});
    struct pq_generation g = generate(&w, 0, NULL);
    assert_int_equal(g.finish, PQ_FINISH_CONTEXT);
    assert_int_equal(pq_session_length(w.s), 20);
    pq_generation_free(&g);
    pq_session_keep(w.s, 0);
    assert_int_equal(pq_generate(&g, &e), PQ_EINVAL);
    assert_words(e, "no tokens");
    writer_close(&w);

    writer_open(&w, "Once upon a time", (struct pq_session_setup){0});
    w.stop_after = 3;
    g = generate(&w, 100, NULL);
    assert_int_equal(g.finish, PQ_FINISH_CANCELLED);
    assert_int_equal(w.calls, 3);
    uint32_t last = g.token[0].id; /* now call it the end */
    pq_generation_free(&g);
    writer_close(&w);

    writer_open(&w, "Once upon a time", (struct pq_session_setup){0});
    w.m->net.hp.eos[w.m->net.hp.n_eos++] = last;
    g = generate(&w, 100, NULL);
    assert_int_equal(g.finish, PQ_FINISH_EOS);
    assert_int_equal(g.n_tokens, 1);
    assert_int_equal(g.text.len, 0);
    pq_generation_free(&g);
    writer_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_filters), cmocka_unit_test(test_seeds),
        cmocka_unit_test(test_penalty), cmocka_unit_test(test_bad_settings),
        cmocka_unit_test(test_text),    cmocka_unit_test(test_finish),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
