/* Evaluation: scores by hand, a model against itself, predictions kept in a file.
 * SPDX-License-Identifier: MIT */
#include "test.h"

#include "eval/eval.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SAMPLE PQ_SOURCE_DIR "/models/phiq-sample"

static void scores_by_hand(void **state)
{
    /* q = (1/2, 1/4, 1/4), p = (1/4, 1/2, 1/4) */
    const float q[3] = {logf(2), 0, 0}, p[3] = {5, 5 + logf(2), 5};
    const struct pq_score s = pq_score_position(q, p, 3, 1);
    (void)state;
    assert_float_equal(s.nll, log(4), 1e-6);
    assert_float_equal(s.ref_nll, log(2), 1e-6);
    assert_true(fabs(s.kld - 0.25 * log(2)) < 1e-6); /* 1/4 log(1/2) + 1/2 log(2) + 0 */
    assert_false(s.same_top);
    assert_false(s.right);
    assert_true(s.ref_right);
}

static void equal_predictions_have_no_distance(void **state)
{
    const float q[4] = {1, 2, -3, 700}, p[4] = {-9, -8, -13, 690};
    const struct pq_score s = pq_score_position(q, p, 4, 3);
    (void)state;
    assert_float_equal(s.kld, 0, 1e-12);
    assert_float_equal(s.nll, 0, 1e-12);
    assert_true(s.same_top && s.right && s.ref_right);
}

static void intervals_come_from_windows(void **state)
{
    struct pq_score list[4] = {{.nll = 1}, {.nll = 3}, {.nll = 4}, {.nll = 4}};
    const struct pq_tally t = {.score = list, .n = 4, .per_window = 2, .words = 2, .bytes = 12};
    json_t *j = pq_tally_report(&t), *p = json_object_get(j, "perplexity");
    (void)state;
    assert_float_equal(json_number_value(json_object_get(p, "token")), exp(3), 1e-9);
    assert_float_equal(json_number_value(json_object_get(p, "word")), exp(6), 1e-9);
    assert_float_equal(json_number_value(json_object_get(p, "byte")), exp(1), 1e-9);
    /* windows' means 2 and 4: deviation sqrt(2), error 1 */
    assert_true(fabs(json_number_value(json_object_get(p, "ci95")) - 1.959964 * exp(3)) < 1e-4);
    assert_null(json_object_get(j, "kl_divergence"));
    json_decref(j);
}

/* ---- whole runs ---- */

struct files {
    char text[64], logits[64];
};

static int make_files(void **state)
{
    static struct files f;
    const char *words =
        "Once upon a time there was a king who had three daughters, and the youngest "
        "was so fair that the sun himself wondered whenever he looked at her. ";
    snprintf(f.text, sizeof f.text, "/tmp/phiq-eval-%ld.txt", (long)getpid());
    snprintf(f.logits, sizeof f.logits, "/tmp/phiq-eval-%ld.logits", (long)getpid());
    FILE *o = fopen(f.text, "w");
    if (!o)
        return -1;
    for (int i = 0; i < 6; i++)
        fputs(words, o);
    *state = &f;
    return fclose(o);
}

static int remove_files(void **state)
{
    const struct files *f = (const struct files *)*state;
    remove(f->text);
    remove(f->logits);
    return 0;
}

static struct pq_eval_options usual(const struct files *f)
{
    struct pq_eval_options o;
    pq_eval_options_default(&o);
    o.model = SAMPLE;
    o.text = f->text;
    o.window = 64;
    return o;
}

static json_t *run(const struct pq_eval_options *o)
{
    json_t *j = NULL;
    struct pq_err e = {0};
    if (pq_eval_model(&j, o, &e) < 0)
        fail_msg("%s", e.msg);
    return j;
}

static double at(const json_t *j, const char *object, const char *key)
{
    return json_number_value(json_object_get(json_object_get(j, object), key));
}

static void a_model_against_itself(void **state)
{
    struct pq_eval_options o = usual((const struct files *)*state);
    o.reference = SAMPLE;
    json_t *j = run(&o);
    assert_float_equal(at(j, "kl_divergence", "mean"), 0, 1e-12);
    assert_float_equal(at(j, "kl_divergence", "max"), 0, 1e-12);
    assert_float_equal(at(j, "top1_agreement", "mean"), 1, 0);
    assert_float_equal(at(j, "flips", "mean"), 0, 0);
    assert_float_equal(at(j, "perplexity", "token"), at(j, "reference_perplexity", "token"), 0);
    /* English that it was trained to write, not noise over 4096 tokens */
    assert_true(at(j, "perplexity", "token") > 1 && at(j, "perplexity", "token") < 200);
    assert_true(at(j, "perplexity", "word") > at(j, "perplexity", "token"));
    assert_true(at(j, "perplexity", "byte") < at(j, "perplexity", "token"));
    json_decref(j);
}

static void threads_do_not_matter(void **state)
{
    struct pq_eval_options o = usual((const struct files *)*state);
    double first = 0;
    for (int threads = 1; threads <= 3; threads++) {
        o.threads = threads;
        json_t *j = run(&o);
        if (threads == 1)
            first = at(j, "perplexity", "token");
        assert_float_equal(at(j, "perplexity", "token"), first, 0);
        json_decref(j);
    }
}

static void refused(const struct pq_eval_options *o, const char *words)
{
    struct pq_err e = {0};
    json_t *j;
    assert_true(pq_eval_model(&j, o, &e) < 0);
    assert_null(j);
    if (!strstr(e.msg, words))
        fail_msg("\"%s\" does not say \"%s\"", e.msg, words);
}

static void predictions_from_a_file(void **state)
{
    const struct files *f = (const struct files *)*state;
    struct pq_eval_options o = usual(f);
    json_t *j;
    o.save_logits = f->logits;
    o.whole = 1;
    json_decref(run(&o));
    o.save_logits = NULL;
    o.reference = f->logits;
    j = run(&o);
    assert_float_equal(at(j, "kl_divergence", "mean"), 0, 1e-7); /* float32 log-probabilities */
    assert_float_equal(at(j, "top1_agreement", "mean"), 1, 0);
    json_decref(j);
    o.whole = 0; /* other positions */
    refused(&o, "other windows");
}

static void what_cannot_be_is_said(void **state)
{
    const struct files *f = (const struct files *)*state;
    struct pq_eval_options o = usual(f);
    o.window = 4096;
    refused(&o, "expected 4 to 1024");
    o.window = 1024;
    refused(&o, "do not fill one window");
    o.window = 64;
    o.reference = PQ_TEST_DATA "/fixtures/phi2";
    refused(&o, "vocabulary");
    o.reference = f->text;
    refused(&o, f->text);
    o.reference = NULL;
    o.text = "/nonexistent";
    refused(&o, "/nonexistent");
}

static void a_damaged_file_is_refused(void **state)
{
    const struct files *f = (const struct files *)*state;
    struct pq_eval_options o = usual(f);
    o.save_logits = f->logits;
    json_decref(run(&o));
    FILE *cut = fopen(f->logits, "r+b"); /* one byte more */
    assert_non_null(cut);
    assert_int_equal(fseek(cut, 0, SEEK_END), 0);
    assert_int_equal(fputc(0, cut), 0);
    assert_int_equal(fclose(cut), 0);
    o.save_logits = NULL;
    o.reference = f->logits;
    refused(&o, "not those of its header");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scores_by_hand),
        cmocka_unit_test(equal_predictions_have_no_distance),
        cmocka_unit_test(intervals_come_from_windows),
        cmocka_unit_test(a_model_against_itself),
        cmocka_unit_test(threads_do_not_matter),
        cmocka_unit_test(predictions_from_a_file),
        cmocka_unit_test(what_cannot_be_is_said),
        cmocka_unit_test(a_damaged_file_is_refused),
    };
    return cmocka_run_group_tests(tests, make_files, remove_files);
}
