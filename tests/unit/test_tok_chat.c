/* Chat templates: those of the fixtures and those with names, white space, errors, bounds, memory.
 * Expected texts are Jinja's. SPDX-License-Identifier: MIT */
#include "test.h"

#include "base/num.h"
#include "tok/chat.h"

#include <stdio.h>
#include <stdlib.h>

static const char talk[] = "[{\"role\": \"system\", \"content\": \"S\"},"
                           " {\"role\": \"user\", \"content\": \" U\\n\"},"
                           " {\"role\": \"assistant\", \"content\": \"A\"}]";

static json_t *parse(const char *text)
{
    json_t *j = json_loads(text, 0, NULL);
    assert_non_null(j);
    return j;
}

/* Renders into a text of its own, which the caller frees; NULL after an error. */
static char *render(const char *source, const struct pq_vocab *v, const char *request,
                    struct pq_err *e)
{
    struct pq_chat *c;
    struct pq_buf out = {0};
    json_t *j = parse(request);
    char *text = NULL;
    if (pq_chat_new(&c, source, e) == PQ_OK) {
        if (pq_chat_render(c, v, j, &out, e) == PQ_OK) {
            text = malloc(out.len + 1);
            if (out.len)
                memcpy(text, out.data, out.len);
            text[out.len] = '\0';
        }
        pq_chat_free(c);
    }
    pq_buf_free(&out);
    json_decref(j);
    return text;
}

static struct pq_token tokens[] = {{.text = "<bos>", .len = 5}, {.text = "<eos>", .len = 5}};
static const struct pq_vocab vocab = {
    .token = tokens, .n_tokens = 2, .bos = 0, .eos = 1, .unk = -1, .pad = -1};

static void assert_renders(const char *source, const char *request, const char *want)
{
    struct pq_err e = {0};
    char *got = render(source, &vocab, request, &e);
    if (!got || strcmp(got, want) != 0)
        fail_msg("%s\nwant \"%s\"\ngot  \"%s\"", source, want, got ? got : e.msg);
    free(got);
}

static void fixtures_render(void **state)
{
    static const struct {
        const char *dir;
        size_t n_vocab;
        const char *want;
    } rows[] = {
        {PQ_TEST_DATA "/fixtures/phi3-mini-4k", 496,
         "<s><|user|>\n U\n<|end|>\n<|assistant|>\nA<|end|>\n"},
        {PQ_TEST_DATA "/fixtures/phi4", 520,
         "<|im_start|>system<|im_sep|>S<|im_end|><|im_start|>user<|im_sep|> U\n<|im_end|>"
         "<|im_start|>assistant<|im_sep|>A<|im_end|><|im_start|>assistant<|im_sep|>"},
        {PQ_TEST_DATA "/fixtures/phi4-mini", 520,
         "<|system|>S<|end|><|user|> U\n<|end|><|assistant|>A<|end|><|assistant|>"},
        {PQ_SOURCE_DIR "/models/phiq-sample", 4096,
         "<s><|user|>\n U\n<|end|>\n<|assistant|>\nA<|end|>\n"},
    };
    (void)state;
    for (size_t i = 0; i < PQ_LEN(rows); i++) {
        struct pq_arena a = {0};
        struct pq_vocab v;
        struct pq_err e = {0};
        assert_int_equal(pq_vocab_load(&v, &a, rows[i].dir, rows[i].n_vocab, &e), PQ_OK);
        char *got = render(v.chat_template, &v, talk, &e);
        assert_non_null(got);
        assert_string_equal(got, rows[i].want);
        free(got);
        pq_arena_free(&a);
    }
}

static void named_templates(void **state)
{
    static const struct {
        const char *name, *want;
    } rows[] = {
        {"phi2", "S\nInstruct:  U\n\nOutput: A\n"},
        {"phi3", "<|system|>\nS<|end|>\n<|user|>\n U\n<|end|>\n<|assistant|>\nA<|end|>\n"
                 "<|assistant|>\n"},
        {"phi3-medium", "<|user|>\n U\n<|end|>\n<|assistant|>\nA<|end|>\n"},
        {"phi3-small", "<bos><|system|>\nS<|end|>\n<|user|>\n U\n<|end|>\n<|assistant|>\nA<|end|>\n"
                       "<|assistant|>\n"},
        {"phi4", "<|im_start|>system<|im_sep|>S<|im_end|><|im_start|>user<|im_sep|> U\n<|im_end|>"
                 "<|im_start|>assistant<|im_sep|>A<|im_end|><|im_start|>assistant<|im_sep|>"},
        {"phi4-mini", "<|system|>S<|end|><|user|> U\n<|end|><|assistant|>A<|end|><|assistant|>"},
    };
    struct pq_err e = {0};
    struct pq_chat *c;
    size_t n = 0;
    (void)state;
    for (const struct pq_chat_named *x = pq_chat_names; x->name; x++, n++) {
        assert_true(n < PQ_LEN(rows));
        assert_string_equal(x->name, rows[n].name);
        assert_renders(x->source, talk, rows[n].want);
    }
    assert_int_equal(n, PQ_LEN(rows));
    assert_int_equal(pq_chat_choose(&c, &vocab, "phi4", &e), PQ_OK);
    pq_chat_free(c);
    assert_int_equal(pq_chat_choose(&c, &vocab, "phi5", &e), PQ_EINVAL);
    assert_words(e, "phi4-mini");
    e = (struct pq_err){0};
    assert_int_equal(pq_chat_choose(&c, &vocab, NULL, &e), PQ_EINVAL);
    assert_words(e, "choose one by name");
}

static void what_a_template_sees(void **state)
{
    static const char all[] = "{{ bos_token }}{{ eos_token }}{{ pad_token }}"
                              "{{ tools is none }}{{ add_generation_prompt }}{{ n }}";
    (void)state;
    assert_renders(all, talk, "<bos><eos>TrueTrue");
    assert_renders(all, "{\"messages\": [], \"add_generation_prompt\": false, \"n\": 3}",
                   "<bos><eos>TrueFalse3");
    assert_renders(all, "{\"messages\": [], \"tools\": [], \"bos_token\": \"B\"}",
                   "B<eos>FalseTrue");
}

/* Each row of white space rules, once; test_chat.py has thousands more. */
static void white_space_of_tags(void **state)
{
    static const char *const rows[][2] = {
        {"a\n", "a"},
        {"a\r\n\n", "a\n"},
        {"  {% if 1 %}\n  x\n  {% endif %}\ny", "  x\ny"},
        {"  {%- if 1 -%}\n  x\n  {%- endif -%}\n y", "xy"},
        {"  {%+ if 1 +%}\nx{% endif %}", "  \nx"},
        {"a  {{ 1 }}\n b", "a  1\n b"},
        {"a  {{- 1 -}}\n b", "a1b"},
        {"x\n  {# c #}\n  y", "x\n  y"},
        {"{{ 'a\\n\\x41\\u00e9' 'b' }}", "a\nA\xc3\xa9"
                                         "b"},
    };
    (void)state;
    for (size_t i = 0; i < PQ_LEN(rows); i++)
        assert_renders(rows[i][0], talk, rows[i][1]);
}

static void json_texts(void **state)
{
    static const char request[] =
        "{\"messages\": [], \"x\": {\"b\": [1, 2.5, 1e22, 1e-7, 100000.0, true, null], \"a\": {},"
        " \"c\": [], \"d\": \"\\u0001\\\"\\\\\\n\xc3\xa9\"}}";
    (void)state;
    assert_renders("{{ x | tojson }}", request,
                   "{\"b\": [1, 2.5, 1e+22, 1e-07, 100000.0, true, null], \"a\": {}, \"c\": [], "
                   "\"d\": \"\\u0001\\\"\\\\\\n\xc3\xa9\"}");
    assert_renders("{{ x.b[:2] | tojson(indent=2) }}{{ x.a | tojson(indent=2) }}", request,
                   "[\n  1,\n  2.5\n]{}");
}

static void refusals(void **state)
{
    static const struct {
        const char *source, *words;
    } rows[] = {
        {"\n\n{% macro f() %}", "line 3: the statement \"macro\""},
        {"{{ 'x' | upper }}", "the filter \"upper\""},
        {"{{ x is odd }}", "the test \"odd\""},
        {"{{ f() }}", "the function \"f\""},
        {"{{ x.pop() }}", "the method \"pop\""},
        {"{{ 'a' | tojson(ascii=1) }}", "ascii"},
        {"{{ raise_exception('because') }}", "because"},
        {"{{ messages }}", "a list as text"},
        {"\n{{ 'a' + 1 }}", "line 2: a text + a number"},
        {"{{ nothing.x }}", "\"x\" is asked of what is not defined"},
        {"{% if 1 %}", "\"elif\" is missing"},
        {"{{ 'a", "a text without end"},
        {"{{ a", "a tag without end"},
        {"{# a", "a comment without end"},
        {"{{ 1 2 }}", "the end of the tag"},
        {"{{ ? }}", "'?'"},
    };
    (void)state;
    for (size_t i = 0; i < PQ_LEN(rows); i++) {
        struct pq_err e = {0};
        char *got = render(rows[i].source, &vocab, talk, &e);
        if (got)
            fail_msg("%s gives \"%s\"", rows[i].source, got);
        assert_words(e, rows[i].words);
    }
}

static void bad_requests(void **state)
{
    static const char *const rows[][2] = {
        {"{}", "a list of messages"},
        {"{\"messages\": 1}", "a list of messages"},
        {"[1]", "message 0"},
        {"[{\"role\": \"user\"}, {\"content\": \"x\"}]", "message 1"},
    };
    (void)state;
    for (size_t i = 0; i < PQ_LEN(rows); i++) {
        struct pq_err e = {0};
        assert_null(render("x", &vocab, rows[i][0], &e));
        assert_words(e, rows[i][1]);
    }
}

static void nothing_grows_without_end(void **state)
{
    static const char *const rows[] = {
        "{% set n = namespace(s='ab') %}{% for i in range(99) %}{% set n.s = n.s + n.s %}{% endfor "
        "%}",
        "{% set n = namespace(l=[1]) %}{% for i in range(99) %}{% set n.l = n.l + n.l %}{% endfor "
        "%}",
        "{% set n = namespace(l=[]) %}{% for i in range(99) %}{% set n.l = [n.l] %}{% endfor %}",
        "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}",
        "{% set n = namespace(l=0) %}{% for a in [1] %}{% set n.l = loop %}{% endfor %}{{ "
        "n.l.index }}",
    };
    (void)state;
    for (size_t i = 0; i < PQ_LEN(rows) - 1; i++) {
        struct pq_err e = {0};
        assert_null(render(rows[i], &vocab, talk, &e));
        assert_words(e, "more than");
    }
    assert_renders(rows[PQ_LEN(rows) - 1], talk, "2"); /* a loop that outlives itself */
}

/* Deep sources in words, not in a stack that ends. */
static void depth_is_bounded(void **state)
{
    static const struct {
        const char *head, *unit, *middle, *close, *tail;
    } rows[] = {
        {"{{ ", "(", "1", ")", " }}"},
        {"{{ ", "[", "1", "]", " }}"},
        {"{{ 1", " + 1", "", "", " }}"},
        {"{{ x", ".y", "", "", " }}"},
        {"{{ x", " | trim", "", "", " }}"},
        {"{{ ", "not ", "1", "", " }}"},
        {"", "{% if 1 %}", "", "{% endif %}", ""},
        {"{% if 1 %}", "{% elif 1 %}", "", "", "{% endif %}"},
        {"{{ 1", " if 1 else 1", "", "", " }}"},
        {"", "{% for a in [] %}", "", "{% endfor %}", ""},
        {"", "{% set a %}", "", "{% endset %}", ""},
    };
    (void)state;
    for (size_t i = 0; i < PQ_LEN(rows); i++) {
        struct pq_buf b = {0};
        struct pq_err e = {0};
        pq_buf_puts(&b, rows[i].head);
        for (int k = 0; k < 20000; k++)
            pq_buf_puts(&b, rows[i].unit);
        pq_buf_puts(&b, rows[i].middle);
        for (int k = 0; k < 20000; k++)
            pq_buf_puts(&b, rows[i].close);
        pq_buf_puts(&b, rows[i].tail);
        pq_buf_u8(&b, 0);
        assert_null(render((const char *)b.data, &vocab, talk, &e));
        assert_words(e, "more than");
        pq_buf_free(&b);
    }
}

static void memory_may_run_out(void **state)
{
    static const char source[] =
        "{% set ns = namespace(a=[1]) %}{% for m in messages if m.role != 'x' %}{% set ns.b = "
        "m.content | trim ~ loop.index %}{{ ns.b + 'x' }}{{ m | tojson }}{% set t %}z{% endset %}"
        "{{ 'a,b'.split(',') | join }}{% for k, v in m.items() %}{{ k }}{% endfor %}{% endfor %}";
    json_t *j = parse(talk);
    int rc = PQ_ENOMEM;
    unsigned long n = 1;
    (void)state;
    for (; rc != PQ_OK; n++) {
        struct pq_err e = {0};
        struct pq_chat *c = NULL;
        struct pq_buf out = {0};
        pq_mem_fail_after(n, true);
        rc = pq_chat_new(&c, source, &e);
        if (rc == PQ_OK)
            rc = pq_chat_render(c, &vocab, j, &out, &e);
        pq_mem_fail_after(0, false);
        pq_chat_free(c);
        pq_buf_free(&out);
        if (rc != PQ_OK && rc != PQ_ENOMEM)
            fail_msg("request %lu: %s", n, e.msg);
    }
    assert_true(n > 6);
    json_decref(j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fixtures_render),      cmocka_unit_test(named_templates),
        cmocka_unit_test(what_a_template_sees), cmocka_unit_test(white_space_of_tags),
        cmocka_unit_test(json_texts),           cmocka_unit_test(refusals),
        cmocka_unit_test(bad_requests),         cmocka_unit_test(nothing_grows_without_end),
        cmocka_unit_test(depth_is_bounded),     cmocka_unit_test(memory_may_run_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
