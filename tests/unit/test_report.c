/* Reports: what is measured, the document against the single calls, the page around hostile words,
 * and nothing left behind. SPDX-License-Identifier: MIT */
#include "modelio.h"

#include "base/num.h"
#include "base/pool.h"
#include "report/report.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define SAMPLE PQ_SOURCE_DIR "/models/phiq-sample"

/* ---- words for a shell ---- */

static void words_are_quoted_where_a_shell_would_split_them(void **state)
{
    static const struct {
        const char *word, *quoted;
    } rows[] = {
        {"out/gguf/a-Q4_K_M.gguf", "out/gguf/a-Q4_K_M.gguf"},
        {"", "''"},
        {"two words", "'two words'"},
        {"it's", "'it'\\''s'"},
        {"$(rm -rf x)", "'$(rm -rf x)'"},
        {"a;b|c&d>e", "'a;b|c&d>e'"},
        {"~/x", "'~/x'"},
        {"new\nline", "'new\nline'"},
        {"caf\xc3\xa9", "'caf\xc3\xa9'"},
    };
    (void)state;
    for (size_t i = 0; i < PQ_LEN(rows); i++) {
        struct pq_buf b = {0};
        pq_word(&b, rows[i].word);
        pq_buf_u8(&b, 0);
        assert_string_equal((const char *)b.data, rows[i].quoted);
        pq_buf_free(&b);
    }
}

/* ---- the page ---- */

static size_t times(const char *text, const char *what)
{
    size_t n = 0;
    for (const char *p = text; (p = strstr(p, what)); p++)
        n++;
    return n;
}

/* The document inside a page, as a browser would find it: up to the first end of a script. */
static json_t *document_in(const char *page)
{
    static const char before[] = "id=\"data\">";
    const char *at = strstr(page, before);
    assert_non_null(at);
    at += strlen(before);
    const char *end = strstr(at, "</script");
    assert_non_null(end);
    assert_null(memchr(at, '<', (size_t)(end - at)));
    for (const char *p = at; p < end; p++)
        assert_true((unsigned char)*p < 0x80);
    return json_loadb(at, (size_t)(end - at), 0, NULL);
}

static void hostile_words_stay_words(void **state)
{
    static const char *const rows[] = {
        "</script><script>alert(1)</script>",
        "<!--<script>",
        "<img src=x onerror=alert(1)>",
        "&lt;b&gt; & <b>",
        "]]>\\\" ' ` ${x}",
        "{{data}} {{style}}",
        "\xe2\x80\xa8\xe2\x80\xa9 \x01\x7f",
        "\xf0\x9f\x98\x80 caf\xc3\xa9",
    };
    struct pq_err e = {0};
    struct pq_buf plain = {0};
    (void)state;
    json_t *nothing = json_object();
    assert_int_equal(pq_report_page(&plain, nothing, &e), PQ_OK);
    pq_buf_u8(&plain, 0);
    for (size_t i = 0; i < PQ_LEN(rows); i++) {
        struct pq_buf html = {0};
        json_t *doc = json_pack("{s:s, s:[s], s:f}", "model", rows[i], rows[i], rows[i], "x", 0.25);
        assert_int_equal(pq_report_page(&html, doc, &e), PQ_OK);
        pq_buf_u8(&html, 0);
        const char *page = (const char *)html.data;
        assert_int_equal(times(page, "<"), times((const char *)plain.data, "<"));
        json_t *back = document_in(page);
        assert_true(json_equal(doc, back));
        json_decref(back);
        json_decref(doc);
        pq_buf_free(&html);
    }
    json_decref(nothing);
    pq_buf_free(&plain);
}

static void the_page_uses_no_network_and_no_markup_from_text(void **state)
{
    static const char *const never[] = {"innerHTML", "outerHTML",      "insertAdjacentHTML",
                                        "eval(",     "document.write", "fetch(",
                                        "https://",  "unsafe-inline",  "{{"};
    struct pq_err e = {0};
    struct pq_buf html = {0};
    json_t *nothing = json_object();
    (void)state;
    assert_int_equal(pq_report_page(&html, nothing, &e), PQ_OK);
    pq_buf_u8(&html, 0);
    for (size_t i = 0; i < PQ_LEN(never); i++)
        if (strstr((const char *)html.data, never[i]))
            fail_msg("the page has \"%s\"", never[i]);
    assert_non_null(strstr((const char *)html.data, "default-src 'none'; style-src 'sha256-"));
    assert_int_equal(times((const char *)html.data, "http://"), 1); /* the name of SVG */
    json_decref(nothing);
    pq_buf_free(&html);
}

/* ---- what is measured ---- */

static size_t listed(const char *targets, const char *precisions, struct pq_choice **list,
                     struct pq_arena *a)
{
    struct pq_err e = {0};
    size_t n = 0;
    struct pq_report_options o;
    pq_report_options_default(&o);
    o.targets = targets;
    o.precisions = precisions;
    if (pq_choices_list(list, &n, a, &o, &e) < 0)
        fail_msg("%s", e.msg);
    return n;
}

static bool is_listed(const struct pq_choice *list, size_t n, const struct pq_container *c,
                      const char *recipe)
{
    size_t found = 0;
    for (size_t i = 0; i < n; i++)
        found += list[i].container == c && !strcmp(list[i].recipe->name, recipe);
    assert_true(found <= 1);
    return found == 1;
}

static void all_precisions_and_notable_schemes_are_measured(void **state)
{
    struct pq_arena a = {0};
    struct pq_choice *list;
    (void)state;
    const size_t n = listed(NULL, NULL, &list, &a);
    for (size_t i = 0; pq_containers[i]; i++)
        for (int p = 0; pq_containers[i]->plan && p < PQ_PRECISIONS; p++)
            if (pq_containers[i]->usual[p])
                assert_true(is_listed(list, n, pq_containers[i], pq_containers[i]->usual[p]));
    for (const struct pq_notable *k = pq_notables; k->container; k++)
        if (!is_listed(list, n, pq_container_find(k->container), k->recipe))
            fail_msg("%s has no %s", k->container, k->recipe);
    pq_arena_free(&a);
}

static void lists_are_what_was_asked_for(void **state)
{
    static const struct {
        const char *targets, *precisions;
        size_t n;
    } rows[] = {
        {"gguf", "int4", 1},       {NULL, "int4", 4},        {"mlx,onnx", "fp32,int8", 4},
        {NULL, "q4_k_m,int4", 4},  {NULL, "gguf:q4_0", 1},   {"gguf,mlx", "mxfp4", 1},
        {NULL, "mxfp4,q3_k_m", 3}, {"gguf", "int4,int4", 1},
    };
    static const struct {
        const char *targets, *precisions, *words;
    } wrong[] = {
        {"ggfu", NULL, "unknown target \"ggfu\""},
        {NULL, "int5", "\"int5\" is no precision"},
        {NULL, "mlx:q4_k_m", "\"mlx:q4_k_m\" is no precision"},
        {"mlx", "q4_0", "nothing to measure"},
        {"", NULL, "nothing to measure"},
    };
    struct pq_arena a = {0};
    struct pq_choice *list;
    (void)state;
    for (size_t i = 0; i < PQ_LEN(rows); i++)
        assert_int_equal(listed(rows[i].targets, rows[i].precisions, &list, &a), rows[i].n);
    for (size_t i = 0; i < PQ_LEN(wrong); i++) {
        size_t n;
        struct pq_err e = {0};
        struct pq_report_options o;
        pq_report_options_default(&o);
        o.targets = wrong[i].targets;
        o.precisions = wrong[i].precisions;
        assert_int_equal(pq_choices_list(&list, &n, &a, &o, &e), PQ_EINVAL);
        assert_words(e, wrong[i].words);
    }
    pq_arena_free(&a);
}

static void what_no_other_beats(void **state)
{
    static const struct {
        int bytes;
        double kld;
        bool best;
    } rows[] = {
        {10, 0.5, true},  {20, 0.1, true},   {20, 0.2, false},   {25, 0.1, false},
        {30, 0.05, true}, {40, 1e-9, true},  {50, -1e-9, false}, /* both are as good as equal */
        {40, 1e-8, true}, {11, 0.51, false},
    };
    json_t *list = json_array();
    (void)state;
    for (size_t i = 0; i < PQ_LEN(rows); i++)
        json_array_append_new(list, json_pack("{s:i, s:{s:f}}", "file_bytes", rows[i].bytes,
                                              "kl_divergence", "mean", rows[i].kld));
    pq_rows_pareto(list);
    for (size_t i = 0; i < PQ_LEN(rows); i++)
        assert_int_equal(json_is_true(json_object_get(json_array_get(list, i), "pareto")),
                         rows[i].best);
    json_decref(list);
}

/* ---- whole reports ---- */

static struct pq_report_options usual(const char *out)
{
    struct pq_report_options o;
    pq_report_options_default(&o);
    o.model = SAMPLE;
    o.out = out;
    o.targets = "gguf,mlx";
    o.precisions = "int8,int4,fp16";
    o.window = 64;
    o.max_windows = 3;
    return o;
}

static json_t *report(const struct pq_report_options *o)
{
    json_t *doc;
    struct pq_err e = {0};
    if (pq_report_make(&doc, o, false, &e) < 0)
        fail_msg("%s", e.msg);
    return doc;
}

static int not_report(void *ctx, const char *name, struct pq_err *e)
{
    (void)e;
    *(bool *)ctx = *(bool *)ctx || strcmp(name, "report.html") != 0;
    return PQ_OK;
}

/* Nothing but a report in this folder. */
static void assert_clean(const char *dir)
{
    bool more = false;
    struct pq_err e = {0};
    assert_int_equal(pq_dir_each(dir, not_report, &more, &e), PQ_OK);
    assert_false(more);
}

static const char *fresh(const char *name)
{
    struct pq_err e = {0};
    assert_int_equal(pq_dir_make(modelio_path(name), &e), PQ_OK);
    return modelio_path(name);
}

static double at(const json_t *j, const char *object, const char *key)
{
    return json_number_value(json_object_get(json_object_get(j, object), key));
}

static size_t length_of(const json_t *j, const char *object, const char *key)
{
    return json_array_size(json_object_get(json_object_get(j, object), key));
}

/* Columns are as long as what they describe. */
static void check_row(const json_t *doc, const json_t *row)
{
    static const char *const columns[] = {"scheme", "bytes", "rel_rms_error"};
    const size_t tensors = json_array_size(json_object_get(doc, "tensors"));
    const size_t tokens = length_of(doc, "tokens", "top");
    for (size_t i = 0; i < PQ_LEN(columns); i++)
        assert_int_equal(length_of(row, "tensors", columns[i]), tensors);
    assert_int_equal(length_of(row, "tokens", "kld"), tokens);
    assert_int_equal(length_of(row, "tokens", "top"), tokens);
    assert_int_equal(length_of(row, "numbers", "histogram"), PQ_SAMPLE_BINS);
    assert_int_equal(length_of(row, "numbers", "values"), length_of(doc, "numbers", "values"));
    double seen = at(row, "numbers", "exact");
    for (size_t i = 0; i < length_of(row, "numbers", "errors"); i++)
        seen += json_number_value(
            json_array_get(json_object_get(json_object_get(row, "numbers"), "errors"), i));
    assert_float_equal(seen, at(doc, "numbers", "weights"), 0);
}

/* Every token that is named has a spelling. */
static void check_spelling(const json_t *tokens, const json_t *top)
{
    char key[24];
    const json_t *pieces = json_object_get(tokens, "pieces");
    for (size_t i = 0; i < json_array_size(top); i++)
        for (size_t k = 0; k < 2 * PQ_TOKENS_TOP; k += 2) {
            const json_t *id = json_array_get(json_array_get(top, i), k);
            snprintf(key, sizeof key, "%d", (int)json_integer_value(id));
            assert_true(json_is_string(json_object_get(pieces, key)));
        }
}

static const json_t *row_of(const json_t *doc, const char *target, const char *precision)
{
    size_t i;
    const json_t *row;
    json_array_foreach(json_object_get(doc, "rows"), i, row)
    {
        const char *p = json_string_value(json_object_get(row, "precision"));
        if (p && !strcmp(json_string_value(json_object_get(row, "target")), target) &&
            !strcmp(p, precision))
            return row;
    }
    fail_msg("no row %s %s", target, precision);
    return NULL;
}

static void the_page_holds_the_document(const char *path, const json_t *doc)
{
    char *page;
    size_t size;
    struct pq_err e = {0};
    assert_int_equal(pq_file_read(path, 1 << 26, &page, &size, &e), PQ_OK);
    json_t *back = document_in(page);
    assert_int_equal(json_array_size(json_object_get(back, "rows")),
                     json_array_size(json_object_get(doc, "rows")));
    assert_string_equal(json_string_value(json_object_get(back, "model")), "phiq-sample");
    json_decref(back);
    pq_free(page);
}

static void a_document_is_whole_and_orders_precisions(void **state)
{
    const char *dir = fresh("whole"), *out = modelio_path("whole/report.html");
    const struct pq_report_options o = usual(out);
    size_t i;
    const json_t *row;
    (void)state;
    json_t *doc = report(&o), *rows = json_object_get(doc, "rows");
    assert_int_equal(json_array_size(rows), 6);
    json_array_foreach(rows, i, row)
    {
        check_row(doc, row);
        check_spelling(json_object_get(doc, "tokens"),
                       json_object_get(json_object_get(row, "tokens"), "top"));
    }
    for (i = 0; i < 2; i++) {
        const char *target = i ? "mlx" : "gguf";
        const double fp16 = at(row_of(doc, target, "fp16"), "kl_divergence", "mean");
        const double int8 = at(row_of(doc, target, "int8"), "kl_divergence", "mean");
        const double int4 = at(row_of(doc, target, "int4"), "kl_divergence", "mean");
        assert_true(fabs(fp16) < PQ_KLD_FLOOR && fp16 < int8 && 4 * int8 < int4);
    }
    const double distinct8 = at(row_of(doc, "gguf", "int8"), "numbers", "distinct");
    assert_true(distinct8 > 0 && distinct8 <= at(doc, "numbers", "weights"));
    assert_int_equal(json_array_size(json_object_get(doc, "devices")), 5);
    the_page_holds_the_document(out, doc);
    assert_clean(dir);
    json_decref(doc);
}

static json_t *evaluated(const char *model, const struct pq_report_options *o)
{
    json_t *j;
    struct pq_err e = {0};
    struct pq_eval_options v;
    pq_eval_options_default(&v);
    v.model = model;
    v.reference = SAMPLE;
    v.text = o->text;
    v.window = o->window;
    v.max_windows = o->max_windows;
    if (pq_eval_model(&j, &v, &e) < 0)
        fail_msg("%s", e.msg);
    return j;
}

/* The numbers of a report are those of the calls that its commands name. */
static void given_outputs_are_measured_as_eval_and_compare_do(void **state)
{
    const char *gguf = modelio_write(SAMPLE, "given", "gguf", "q4_0", 0), *outputs[] = {gguf};
    const char *text = modelio_path("given.txt");
    struct pq_report_options o = usual(NULL);
    struct pq_err e = {0};
    json_t *compared;
    (void)state;
    assert_int_equal(pq_file_write(text, pq_report_text(), 3000, &e), PQ_OK);
    o.output = outputs;
    o.n_outputs = 1;
    o.text = text;
    o.temp_dir = fresh("temp");
    json_t *doc = report(&o), *row = json_array_get(json_object_get(doc, "rows"), 0);
    json_t *alone = evaluated(gguf, &o);
    static const char *const means[] = {"kl_divergence", "top1_agreement", "flips"};
    for (size_t i = 0; i < PQ_LEN(means); i++)
        assert_true(fabs(at(row, means[i], "mean") - at(alone, means[i], "mean")) < 1e-6);
    assert_float_equal(at(row, "perplexity", "token"), at(alone, "perplexity", "token"), 0);
    assert_int_equal(pq_inspect_compare(&compared, SAMPLE, gguf, 1, &e), PQ_OK);
    assert_float_equal(json_number_value(json_object_get(row, "rel_rms_error")),
                       json_number_value(json_object_get(compared, "rel_rms_error")), 0);
    /* the mean of what is shown by token, as far as all tokens are shown */
    double sum = 0;
    const json_t *kld = json_object_get(json_object_get(row, "tokens"), "kld");
    for (size_t i = 0; i < json_array_size(kld); i++)
        sum += json_number_value(json_array_get(kld, i));
    assert_int_equal(json_array_size(kld), 3 * 31);
    assert_true(fabs(sum / (3 * 31) - at(row, "kl_divergence", "mean")) < 1e-9);
    assert_int_equal(pq_path_kind(gguf), PQ_PATH_FILE); /* what was given stays */
    assert_clean(o.temp_dir);
    json_decref(compared);
    json_decref(alone);
    json_decref(doc);
}

static void calibration_happens_once_and_shows(void **state)
{
    const char *text = modelio_path("calibration.txt");
    struct pq_report_options o = usual(NULL);
    struct pq_err e = {0};
    double kld[2];
    (void)state;
    assert_int_equal(pq_file_write(text, pq_report_text(), strlen(pq_report_text()), &e), PQ_OK);
    o.precisions = "gguf:q4_0";
    o.temp_dir = fresh("calibrated");
    for (int i = 0; i < 2; i++) {
        o.calibration = i ? text : NULL;
        json_t *doc = report(&o);
        const json_t *row = json_array_get(json_object_get(doc, "rows"), 0);
        kld[i] = at(row, "kl_divergence", "mean");
        assert_int_equal(at(row, "solvers", "gptq") > 0, i);
        const char *line = json_string_value(json_array_get(json_object_get(row, "commands"), 0));
        assert_int_equal(strstr(line, " --calibration ") != NULL, i);
        json_decref(doc);
    }
    assert_true(kld[1] < 0.9 * kld[0]); /* on the text that it learned from */
    assert_clean(o.temp_dir);
}

static void a_dry_run_only_counts(void **state)
{
    const char *dir = fresh("dry");
    struct pq_report_options o = usual(modelio_path("dry/report.html"));
    struct pq_err e = {0};
    json_t *doc;
    (void)state;
    assert_int_equal(pq_report_make(&doc, &o, true, &e), PQ_OK);
    assert_float_equal(at(doc, "plan", "outputs"), 6, 0);
    assert_float_equal(at(doc, "plan", "tokens_per_pass"), 3 * 64, 0);
    assert_true(at(doc, "plan", "written_bytes") > 40e6);
    assert_true(at(doc, "plan", "temporary_bytes") < 20e6);
    assert_null(json_object_get(doc, "rows"));
    assert_int_equal(pq_path_kind(o.out), PQ_PATH_NONE);
    assert_clean(dir);
    json_decref(doc);
}

/* ---- nothing is left behind ---- */

static int stop_at(void *ctx, const struct pq_progress *p)
{
    int *left = (int *)ctx;
    assert_true(p->done <= p->total);
    return --*left < 0;
}

static void a_stop_leaves_nothing_behind(void **state)
{
    fresh("stop");
    (void)state;
    for (int calls = 0; calls < 24; calls += calls < 4 ? 1 : 5) {
        int left = calls;
        json_t *doc;
        struct pq_err e = {0};
        struct pq_report_options o = usual(modelio_path("stop/report.html"));
        o.targets = "mlx";
        o.progress = stop_at;
        o.progress_ctx = &left;
        assert_int_equal(pq_report_make(&doc, &o, false, &e), PQ_ECANCELLED);
        assert_null(doc);
        assert_int_equal(pq_path_kind(o.out), PQ_PATH_NONE);
        assert_clean(modelio_path("stop"));
    }
}

static void failures_leave_nothing_behind(void **state)
{
    fresh("fail");
    const char *other[] = {PQ_TEST_DATA "/fixtures/phi2"}, *none[] = {"/nonexistent.gguf"};
    const struct {
        const char *text, *const *output;
        const char *imatrix, *words;
    } rows[] = {
        {"/nonexistent", NULL, NULL, "/nonexistent"},
        {NULL, other, NULL, "not the same network"},
        {NULL, none, NULL, "nonexistent.gguf"},
        {SAMPLE "/generation_config.json", NULL, NULL, "do not fill one window"},
        {NULL, NULL, "/nonexistent.imatrix", "nonexistent.imatrix"},
    };
    (void)state;
    for (size_t i = 0; i < PQ_LEN(rows); i++) {
        json_t *doc;
        struct pq_err e = {0};
        struct pq_report_options o = usual(modelio_path("fail/report.html"));
        o.text = rows[i].text;
        o.output = rows[i].output;
        o.n_outputs = rows[i].output != NULL;
        o.imatrix = rows[i].imatrix;
        o.window = 128;
        assert_true(pq_report_make(&doc, &o, false, &e) < 0);
        assert_null(doc);
        assert_words(e, rows[i].words);
        assert_clean(modelio_path("fail"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_are_quoted_where_a_shell_would_split_them),
        cmocka_unit_test(hostile_words_stay_words),
        cmocka_unit_test(the_page_uses_no_network_and_no_markup_from_text),
        cmocka_unit_test(all_precisions_and_notable_schemes_are_measured),
        cmocka_unit_test(lists_are_what_was_asked_for),
        cmocka_unit_test(what_no_other_beats),
        cmocka_unit_test(a_document_is_whole_and_orders_precisions),
        cmocka_unit_test(given_outputs_are_measured_as_eval_and_compare_do),
        cmocka_unit_test(calibration_happens_once_and_shows),
        cmocka_unit_test(a_dry_run_only_counts),
        cmocka_unit_test(a_stop_leaves_nothing_behind),
        cmocka_unit_test(failures_leave_nothing_behind),
    };
    return cmocka_run_group_tests(tests, modelio_setup, modelio_teardown);
}
