/* Text to ids and back: fixtures' known ids, bytes that are no text, memory, long runs, streams.
 * Expected ids are those of the `tokenizers` library. SPDX-License-Identifier: MIT */
#include "test.h"

#include "base/num.h"
#include "tok/alphabet.h"
#include "tok/match.h"
#include "tok/scan.h"
#include "tok/tokenizer.h"
#include "tok/utf8.h"

#include <stdio.h>
#include <stdlib.h>

struct made {
    struct pq_arena a;
    struct pq_vocab v;
    struct pq_tokenizer *t;
    struct pq_err e;
};

static const struct source {
    const char *name, *dir;
    size_t n_vocab;
} sources[] = {
    {"phi2", PQ_TEST_DATA "/fixtures/phi2", 520},
    {"phi3-mini-4k", PQ_TEST_DATA "/fixtures/phi3-mini-4k", 496},
    {"phi4", PQ_TEST_DATA "/fixtures/phi4", 520},
    {"phi4-mini", PQ_TEST_DATA "/fixtures/phi4-mini", 520},
    {"sample", PQ_SOURCE_DIR "/models/phiq-sample", 4096},
};

static void make(struct made *m, const struct source *s)
{
    *m = (struct made){0};
    if (pq_vocab_load(&m->v, &m->a, s->dir, s->n_vocab, &m->e) < 0 ||
        pq_tokenizer_new(&m->t, &m->v, &m->e) < 0)
        fail_msg("%s: %s", s->name, m->e.msg);
}

static void drop(struct made *m)
{
    pq_tokenizer_free(m->t);
    pq_arena_free(&m->a);
}

static const struct source *source(const char *name)
{
    for (size_t i = 0; i < PQ_LEN(sources); i++)
        if (!strcmp(sources[i].name, name))
            return &sources[i];
    fail_msg("%s", name);
    return NULL;
}

static struct pq_ids encode(struct made *m, const char *text, size_t n, unsigned flags)
{
    struct pq_ids ids = {0};
    if (pq_tokenizer_encode(m->t, text, n, flags, &ids, &m->e) < 0)
        fail_msg("%s", m->e.msg);
    return ids;
}

static void assert_bytes(const struct pq_buf *b, const char *want, size_t n)
{
    assert_int_equal(b->len, n);
    if (n)
        assert_memory_equal(b->data, want, n);
}

static const struct known {
    const char *name, *text;
    uint32_t id[20];
    size_t n;
} known[] = {
    {"phi2",
     "don't  stop\n\n 12345 th\xc3\xa9",
     {67, 285, 321, 220, 348, 499, 198, 198, 220, 16, 17, 18, 19, 20, 315, 127, 102},
     17},
    {"phi2", "<|endoftext|> a <|endoftext|>", {500, 258, 220, 500}, 4},
    {"phi3-mini-4k", "Hello  world", {371, 404, 372, 285, 375, 371, 264, 288, 311}, 9},
    {"phi3-mini-4k",
     "<|user|>\nHi<|end|>\n<|assistant|>\n",
     {490, 371, 13, 404, 378, 487, 371, 13, 481, 371, 13},
     11},
    {"phi3-mini-4k",
     "\xc3\xa9\xf0\x9f\x98\x80 \xe2\x96\x81x",
     {371, 456, 243, 162, 155, 131, 371, 371, 410},
     9},
    {"phi4",
     "WE'LL pay 12345!\r\n\n  x",
     {54, 36, 6, 43, 43, 290, 309, 220, 16, 17, 18, 19, 20, 0, 201, 198, 198, 220, 220, 87},
     20},
    {"phi4",
     "<|im_start|>user<|im_sep|> Hi \n<|im_end|>\n",
     {504, 84, 82, 269, 506, 426, 72, 220, 198, 505, 198},
     11},
    {"phi4-mini",
     "CamelCase isn't 1234/\n",
     {34, 384, 68, 75, 34, 282, 68, 377, 370, 220, 16, 17, 18, 19, 14, 198},
     16},
    {"phi4-mini", "<|user|>the <|end|> \n the", {503, 83, 257, 220, 502, 220, 198, 262}, 8},
    {"sample",
     "Once upon a time, there was a little girl.",
     {3003, 610, 261, 543, 3986, 450, 312, 261, 463, 783, 3989},
     11},
    {"sample",
     "<|user|>\nTell me<|end|>\n<|assistant|>\n",
     {4074, 3967, 13, 3996, 423, 362, 4071, 3967, 13, 4065, 3967, 13},
     12},
    {"sample", "", {0}, 0},
};

static void known_ids_and_back(void **state)
{
    (void)state;
    for (size_t i = 0; i < PQ_LEN(known); i++) {
        const struct known *k = &known[i];
        struct made m;
        struct pq_buf back = {0};
        make(&m, source(k->name));
        struct pq_ids ids = encode(&m, k->text, strlen(k->text), 0);
        assert_int_equal(ids.n, k->n);
        for (size_t j = 0; j < k->n; j++)
            assert_int_equal(ids.id[j], k->id[j]);
        assert_int_equal(pq_tokenizer_decode(m.t, ids.id, ids.n, 0, &back, &m.e), PQ_OK);
        bool spm = m.v.kind == PQ_VOCAB_SPM && strchr(k->text, '|');
        if (!spm &&
            !strstr(k->text, "\xe2\x96\x81")) /* there, blanks after special tokens are added */
            assert_bytes(&back, k->text, strlen(k->text));
        pq_buf_free(&back);
        pq_ids_free(&ids);
        drop(&m);
    }
}

static void ends_and_plain_specials(void **state)
{
    static const char text[] = "<|end|>Hi";
    struct made m;
    (void)state;
    make(&m, source("sample"));
    struct pq_ids plain = encode(&m, text, strlen(text), PQ_ENCODE_PLAIN_SPECIAL);
    struct pq_ids ends = encode(&m, text, strlen(text), PQ_ENCODE_ENDS);
    assert_int_equal(ends.id[0], 1);
    assert_int_equal(ends.id[1], 4071);
    for (size_t i = 0; i < plain.n; i++)
        assert_int_not_equal(plain.id[i], 4071);
    pq_ids_free(&ends);
    m.v.add_bos = false;
    m.v.add_eos = true;
    ends = encode(&m, text, strlen(text), PQ_ENCODE_ENDS);
    assert_int_equal(ends.id[0], 4071);
    assert_int_equal(ends.id[ends.n - 1], m.v.eos);
    pq_ids_free(&ends);
    pq_ids_free(&plain);
    drop(&m);
}

/* A text of which no byte is a letter of an added token. */
static void fill(char *text, size_t n, uint32_t seed)
{
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        text[i] = (char)(seed >> 24);
        if (text[i] == '<')
            text[i] = '\xff';
    }
}

static void any_bytes_come_back(void **state)
{
    char text[400];
    (void)state;
    for (size_t i = 0; i < PQ_LEN(sources); i++) {
        struct made m;
        make(&m, &sources[i]);
        for (uint32_t seed = 0; seed < 300; seed++) {
            struct pq_buf back = {0};
            fill(text, seed, seed);
            struct pq_ids ids = encode(&m, text, seed, 0);
            assert_int_equal(pq_tokenizer_decode(m.t, ids.id, ids.n, 0, &back, &m.e), PQ_OK);
            assert_bytes(&back, text, seed);
            pq_buf_free(&back);
            pq_ids_free(&ids);
        }
        drop(&m);
    }
}

/* Quadratic merging or matching would take hours here. */
static void long_runs_end_soon(void **state)
{
    static const char *const units[] = {"a",    " ", "A", "\n", "ab", "<|", "\xe2\x96\x81",
                                        "\xff", "1"};
    enum { SIZE = 1 << 20 };
    char *text = malloc(SIZE);
    (void)state;
    for (size_t i = 0; i < PQ_LEN(sources); i++) {
        struct made m;
        make(&m, &sources[i]);
        for (size_t u = 0; u < PQ_LEN(units); u++) {
            size_t n = strlen(units[u]), whole = SIZE / n * n;
            for (size_t k = 0; k < whole; k++)
                text[k] = units[u][k % n];
            struct pq_ids ids = encode(&m, text, whole, 0);
            assert_true(ids.n >= whole / 64 && ids.n <= whole + 3);
            pq_ids_free(&ids);
        }
        drop(&m);
    }
    free(text);
}

/* ---- streams ---- */

static void stream(struct made *m, const uint32_t *id, size_t n, unsigned flags, struct pq_buf *out)
{
    struct pq_detok d;
    pq_detok_begin(&d, m->t, flags);
    for (size_t i = 0; i < n; i++) {
        size_t at = out->len;
        assert_int_equal(pq_detok_put(&d, id[i], out, &m->e), PQ_OK);
        for (size_t k = at, len; k < out->len; k += len) { /* whole characters at every step */
            len = pq_utf8_len((const char *)out->data + k, out->len - k);
            assert_true(len > 0);
        }
    }
    assert_int_equal(pq_detok_end(&d, out, &m->e), PQ_OK);
}

static void streams_hold_characters_back(void **state)
{
    static const char text[] = "th\xc3\xa9 \xf0\x9f\x98\x80\xe4\xbd\xa0 end";
    (void)state;
    for (size_t i = 0; i < PQ_LEN(sources); i++) {
        struct made m;
        struct pq_buf out = {0};
        make(&m, &sources[i]);
        struct pq_ids ids = encode(&m, text, strlen(text), 0);
        stream(&m, ids.id, ids.n, 0, &out);
        assert_bytes(&out, text, strlen(text));
        pq_buf_free(&out);
        pq_ids_free(&ids);
        drop(&m);
    }
}

#define BAD "\xef\xbf\xbd"

static void streams_replace_what_is_broken(void **state)
{
    static const struct {
        const char *bytes, *want;
    } rows[] = {
        {"\xf0\x9f\x98", BAD},
        {"\xf0\x9f\x98x", BAD "x"},
        {"\x80\x80", BAD BAD},
        {"\xc0\xaf", BAD BAD},
        {"\xe0\x80\x80", BAD BAD BAD},
        {"\xed\xa0\x80", BAD BAD BAD},
        {"\xc3\xc3\xa9", BAD "\xc3\xa9"},
        {"a\xf4\x90\x80\x80", "a" BAD BAD BAD BAD},
        {"\xf0\x9f\xf0\x9f\x98\x80", BAD "\xf0\x9f\x98\x80"},
    };
    (void)state;
    for (size_t i = 0; i < PQ_LEN(sources); i++) {
        struct made m;
        make(&m, &sources[i]);
        for (size_t k = 0; k < PQ_LEN(rows); k++) {
            struct pq_buf out = {0};
            struct pq_ids ids = encode(&m, rows[k].bytes, strlen(rows[k].bytes), 0);
            stream(&m, ids.id, ids.n, 0, &out);
            assert_bytes(&out, rows[k].want, strlen(rows[k].want));
            pq_buf_free(&out);
            pq_ids_free(&ids);
        }
        drop(&m);
    }
}

static void special_tokens_can_be_left_out(void **state)
{
    static const char text[] = "<|user|>Hi<|end|>";
    static const uint32_t none[] = {4095, 4096, UINT32_MAX};
    struct made m;
    struct pq_buf out = {0};
    (void)state;
    make(&m, source("sample"));
    struct pq_ids ids = encode(&m, text, strlen(text), PQ_ENCODE_ENDS);
    stream(&m, ids.id, ids.n, PQ_DECODE_SKIP_SPECIAL, &out);
    assert_bytes(&out, "Hi", 2);
    out.len = 0;
    stream(&m, ids.id, ids.n, 0, &out);
    assert_bytes(&out, "<s><|user|> Hi<|end|>", 21);
    out.len = 0;
    stream(&m, none, PQ_LEN(none), 0, &out); /* a hole, and ids that are none */
    assert_int_equal(out.len, 0);
    pq_buf_free(&out);
    pq_ids_free(&ids);
    drop(&m);
}

/* ---- memory, refusals ---- */

static int all_at_once(const struct pq_vocab *v, struct pq_err *e)
{
    static const char text[] = " some words <|end|> and th\xc3\xa9 \xff rest";
    struct pq_tokenizer *t = NULL;
    struct pq_ids ids = {0};
    struct pq_buf out = {0};
    struct pq_detok d = {0};
    int rc;
    PQ_TRY(pq_tokenizer_new(&t, v, e));
    PQ_TRY(pq_tokenizer_encode(t, text, strlen(text), PQ_ENCODE_ENDS, &ids, e));
    PQ_TRY(pq_tokenizer_decode(t, ids.id, ids.n, 0, &out, e));
    pq_detok_begin(&d, t, 0);
    for (size_t i = 0; i < ids.n; i++)
        PQ_TRY(pq_detok_put(&d, ids.id[i], &out, e));
    PQ_TRY(pq_detok_end(&d, &out, e));
out:
    pq_buf_free(&d.held);
    pq_tokenizer_free(t);
    pq_ids_free(&ids);
    pq_buf_free(&out);
    return rc;
}

static void memory_may_run_out(void **state)
{
    (void)state;
    for (size_t i = 0; i < PQ_LEN(sources) - 1; i++) {
        struct made m;
        unsigned long n = 1;
        make(&m, &sources[i]);
        m.v.ignore_merges = m.v.kind == PQ_VOCAB_BPE;
        for (int rc = PQ_ENOMEM; rc != PQ_OK; n++) {
            struct pq_err e = {0};
            pq_mem_fail_after(n, true);
            rc = all_at_once(&m.v, &e);
            pq_mem_fail_after(0, false);
            if (rc != PQ_OK && rc != PQ_ENOMEM)
                fail_msg("%s, request %lu: %s", sources[i].name, n, e.msg);
        }
        assert_true(n > 6);
        drop(&m);
    }
}

static void what_cannot_be_is_said(void **state)
{
    struct made m;
    struct pq_tokenizer *t;
    (void)state;
    make(&m, source("phi4"));
    m.v.split = NULL;
    assert_int_equal(pq_tokenizer_new(&t, &m.v, &m.e), PQ_EUNSUPPORTED);
    assert_words(m.e, "dbrx");
    m.e = (struct pq_err){0};
    m.v.split = "(unclosed";
    assert_int_equal(pq_tokenizer_new(&t, &m.v, &m.e), PQ_EUNSUPPORTED);
    assert_words(m.e, "(unclosed");
    m.e = (struct pq_err){0};
    m.v.split = "[a-z]+";
    m.v.token[0].type = PQ_TOKEN_UNUSED; /* "!" */
    assert_int_equal(pq_tokenizer_new(&t, &m.v, &m.e), PQ_EUNSUPPORTED);
    assert_words(m.e, "0x21");
    assert_null(t);
    drop(&m);
}

/* A pattern that leaves gaps: what it does not match are words too. */
static void words_cover_every_byte(void **state)
{
    static const char text[] = "ab12 cd\xff\xfe"
                               "e\xc3\xa9!\x00z";
    static const char *const want[] = {"ab", "12 ",           "cd", "\xff", "\xfe",
                                       "e",  "\xc3\xa9!\x00", "z"};
    static const size_t len[] = {2, 3, 2, 1, 1, 1, 4, 1};
    struct pq_split *s;
    struct pq_words w;
    struct pq_err e = {0};
    const char *word;
    size_t n, i = 0;
    (void)state;
    assert_int_equal(pq_split_new(&s, "[a-z]+", &e), PQ_OK);
    assert_int_equal(pq_words_begin(&w, s, &e), PQ_OK);
    pq_words_text(&w, text, sizeof text - 1);
    for (; pq_words_next(&w, &word, &n, &e) > 0; i++) {
        assert_true(i < PQ_LEN(want));
        assert_int_equal(n, len[i]);
        assert_memory_equal(word, want[i], n);
    }
    assert_int_equal(i, PQ_LEN(want));
    pq_words_end(&w);
    pq_split_free(s);
}

/* ---- small parts ---- */

static void utf8_table(void **state)
{
    static const struct {
        const char *s;
        size_t n, len, partial;
        uint32_t c;
    } rows[] = {
        {"a", 1, 1, 1, 'a'},
        {"\x00", 1, 1, 1, 0},
        {"\xc3\xa9", 2, 2, 2, 0xe9},
        {"\xe2\x96\x81x", 4, 3, 3, 0x2581},
        {"\xf4\x8f\xbf\xbf", 4, 4, 4, 0x10ffff},
        {"\xc3", 1, 0, 1, 0},
        {"\xe2\x96", 2, 0, 2, 0},
        {"\xe2x", 2, 0, 1, 0},
        {"\xc1\x81", 2, 0, 0, 0},
        {"\xe0\x9f\xbf", 3, 0, 1, 0},
        {"\xed\xa0\x80", 3, 0, 1, 0},
        {"\xf4\x90\x80\x80", 4, 0, 1, 0},
        {"\xf8\x88\x80\x80", 4, 0, 0, 0},
        {"\x80", 1, 0, 0, 0},
    };
    char out[4];
    (void)state;
    for (size_t i = 0; i < PQ_LEN(rows); i++) {
        assert_int_equal(pq_utf8_len(rows[i].s, rows[i].n), rows[i].len);
        assert_int_equal(pq_utf8_partial(rows[i].s, rows[i].n), rows[i].partial);
        if (!rows[i].len)
            continue;
        assert_int_equal(pq_utf8_get(rows[i].s, rows[i].len), rows[i].c);
        assert_int_equal(pq_utf8_put(rows[i].c, out), rows[i].len);
        assert_memory_equal(out, rows[i].s, rows[i].len);
        assert_int_equal(pq_utf8_len_back(rows[i].s, rows[i].len), rows[i].len);
    }
    assert_int_equal(pq_utf8_len_back("a\x80\x80", 3), 1);
}

static void alphabet_is_one_to_one(void **state)
{
    bool seen[PQ_ALPHABET_END] = {false};
    (void)state;
    for (unsigned byte = 0; byte < 256; byte++) {
        uint32_t c = pq_alphabet_char((uint8_t)byte);
        char utf8[4];
        uint8_t back[4];
        size_t n;
        assert_true(c < PQ_ALPHABET_END && !seen[c]);
        seen[c] = true;
        assert_true(pq_alphabet_bytes(utf8, pq_utf8_put(c, utf8), back, &n));
        assert_true(n == 1 && back[0] == byte);
    }
    assert_int_equal(pq_alphabet_char(' '), 0x120);
    for (uint32_t c = 0; c < 0x300; c++) {
        char utf8[4];
        uint8_t back[4];
        size_t n;
        bool is = pq_alphabet_bytes(utf8, pq_utf8_put(c, utf8), back, &n);
        assert_int_equal(is, c < PQ_ALPHABET_END && seen[c]);
    }
}

static void json_strings(void **state)
{
    static const struct {
        const char *json, *text; /* NULL: refused */
    } rows[] = {
        {"\"\"", ""},
        {" \n\t\"a b\" ,", "a b"},
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t"},
        {"\"\\u0041\\u00e9\\u2581\\ud83d\\ude00\"", "A\xc3\xa9\xe2\x96\x81\xf0\x9f\x98\x80"},
        {"\"\\\\\"", "\\"},
        {"\"a", NULL},
        {"\"a\\\"", NULL},
        {"\"\\q\"", NULL},
        {"\"\\u12\"", NULL},
        {"\"\\u00g1\"", NULL},
        {"\"\\u0000\"", NULL},
        {"\"\\ud83d\"", NULL},
        {"\"\\ud83d\\u0041\"", NULL},
        {"\"\\ude00\"", NULL},
        {"\"a\nb\"", NULL},
        {"a", NULL},
        {"", NULL},
    };
    (void)state;
    for (size_t i = 0; i < PQ_LEN(rows); i++) {
        struct pq_scan s = {rows[i].json, rows[i].json + strlen(rows[i].json)};
        struct pq_buf scratch = {0};
        const char *text = NULL;
        size_t n = 0;
        bool good = pq_scan_string(&s, &scratch, &text, &n);
        if (good != (rows[i].text != NULL))
            fail_msg("%s", rows[i].json);
        if (good) {
            assert_int_equal(n, strlen(rows[i].text));
            assert_memory_equal(text, rows[i].text, n);
        }
        pq_buf_free(&scratch);
    }
}

static void json_numbers_and_skipping(void **state)
{
    static const struct {
        const char *json;
        int64_t v; /* -1: refused */
    } numbers[] = {{"0,", 0},
                   {" 12 ", 12},
                   {"4294967295]", 4294967295},
                   {"4294967296,", -1},
                   {"-1,", -1},
                   {"1.0,", -1},
                   {"1e2,", -1},
                   {"01,", -1},
                   {"\"1\",", -1},
                   {"99999999999999999999,", -1},
                   {"7", -1}};
    static const struct {
        const char *json;
        size_t n; /* characters skipped, 0: refused */
    } values[] = {{"{\"a\": [1, \"]}\\\"\"]} x", 18},
                  {"[[[]]],", 6},
                  {"\"a\\\\\",", 5},
                  {"12.5e3,", 6},
                  {"null}", 4},
                  {"[1", 0},
                  {"{\"a", 0},
                  {"\"a", 0},
                  {"", 0},
                  {"  ", 0}};
    (void)state;
    for (size_t i = 0; i < PQ_LEN(numbers); i++) {
        struct pq_scan s = {numbers[i].json, numbers[i].json + strlen(numbers[i].json)};
        uint32_t v;
        bool good = pq_scan_u32(&s, &v);
        if (good != (numbers[i].v >= 0) || (good && v != numbers[i].v))
            fail_msg("%s", numbers[i].json);
    }
    for (size_t i = 0; i < PQ_LEN(values); i++) {
        struct pq_scan s = {values[i].json, values[i].json + strlen(values[i].json)};
        bool good = pq_scan_skip(&s);
        if (good != (values[i].n > 0) || (good && s.p != values[i].json + values[i].n))
            fail_msg("%s", values[i].json);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(utf8_table),
        cmocka_unit_test(alphabet_is_one_to_one),
        cmocka_unit_test(json_strings),
        cmocka_unit_test(json_numbers_and_skipping),
        cmocka_unit_test(words_cover_every_byte),
        cmocka_unit_test(known_ids_and_back),
        cmocka_unit_test(ends_and_plain_specials),
        cmocka_unit_test(any_bytes_come_back),
        cmocka_unit_test(long_runs_end_soon),
        cmocka_unit_test(streams_hold_characters_back),
        cmocka_unit_test(streams_replace_what_is_broken),
        cmocka_unit_test(special_tokens_can_be_left_out),
        cmocka_unit_test(memory_may_run_out),
        cmocka_unit_test(what_cannot_be_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
