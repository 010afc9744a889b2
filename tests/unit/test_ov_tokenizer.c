/* Tokenizer and detokenizer graphs of OpenVINO: patterns, vocabularies, whole files. What their ids
 * are in the runtime is tests/interop/test_ov_tokenizer.py's business.
 * SPDX-License-Identifier: MIT */
#include "test.h"

#include "base/num.h"
#include "container/ov_tok.h"

#include <stdio.h>
#include <stdlib.h>

#define BLANKS                                                                               \
    "\\t-\\r \\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}" \
    "\\x{3000}"
#define BLANK "[" BLANKS "]"

static struct pq_token plain(const char *text)
{
    return (struct pq_token){.text = text, .len = (uint32_t)strlen(text), .type = PQ_TOKEN_NORMAL};
}

static struct pq_token added(const char *text)
{
    struct pq_token t = plain(text);
    t.added = t.special = true;
    t.type = PQ_TOKEN_CONTROL;
    return t;
}

/* ---- patterns ---- */

static void test_split_pattern(void **state)
{
    static const struct {
        const char *from, *to, *words;
    } rows[] = {
        {"\\s+(?!\\S)|\\s+", BLANK "+(?![^" BLANKS "])|" BLANK "+", NULL},
        {" ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*", " ?[^" BLANKS "\\p{L}\\p{N}]+[\\r\\n]*", NULL},
        {"\\p{N}{1,3}|'(?i:[sdmt]|ll)", "\\p{N}{1,3}|'(?i:[sdmt]|ll)", NULL},
        {"\\\\s\\[\\s", "\\\\s\\[" BLANK, NULL},
        {"[\\S]", NULL, "\\S inside brackets"},
    };
    (void)state;
    for (size_t i = 0; i < PQ_LEN(rows); i++) {
        struct pq_buf b = {0};
        struct pq_err e = {0};
        int rc = pq_ov_put_split(&b, rows[i].from, &e);
        assert_int_equal(rc, rows[i].to ? PQ_OK : PQ_EUNSUPPORTED);
        pq_buf_u8(&b, 0);
        if (rows[i].to)
            assert_string_equal((char *)b.data, rows[i].to);
        else
            assert_words(e, rows[i].words);
        pq_buf_free(&b);
    }
}

static void test_added_pattern(void **state)
{
    struct pq_token token[] = {plain("x"),      added("<a>"), added("<abc>"), added("<b|>"),
                               added("  \n_Z"), added("w"),   added("\t")};
    struct pq_vocab v = {.token = token, .n_tokens = PQ_LEN(token)};
    struct pq_arena a = {0};
    struct pq_buf b = {0};
    (void)state;
    token[1].lstrip = true;
    token[3].lstrip = token[3].rstrip = true;
    token[5].single_word = true;
    token[6].normalized = true;
    assert_int_equal(pq_ov_put_added(&b, &a, &v), 6);
    pq_buf_u8(&b, 0);
    assert_string_equal((char *)b.data, "(?|(\\<abc\\>|\\ \\ \\\n_Z)|(?:(?<!" BLANK ")" BLANK
                                        "++)?(\\<b\\|\\>)" BLANK "*+|(?:(?<!" BLANK ")" BLANK
                                        "++)?(\\<a\\>)|(?<!\\w)(w)(?!\\w)|(\\\t))");
    b.len = 0;
    v.n_tokens = 1;
    assert_int_equal(pq_ov_put_added(&b, &a, &v), 0);
    assert_int_equal(b.len, 0);
    pq_buf_free(&b);
    pq_arena_free(&a);
}

/* ---- vocabularies ---- */

/* String i of a list, with '.' for the bytes that no text has. */
static const char *string_at(const struct pq_ov_strings *s, size_t i)
{
    static char text[64];
    assert_true(4 * i + 4 <= s->begins.len && s->begins.len == s->ends.len);
    size_t from = pq_le32(s->begins.data + 4 * i), to = pq_le32(s->ends.data + 4 * i);
    assert_true(from <= to && to <= s->chars.len && to - from < sizeof text);
    memcpy(text, s->chars.data + from, to - from);
    text[to - from] = 0;
    for (char *c = text; *c; c++)
        *c = *c == '\xff' ? '.' : *c;
    return text;
}

static void check_vocab(const struct pq_vocab *v, const char *const *want, const char *merges)
{
    struct pq_ov_bpe b = {0};
    struct pq_err e = {0};
    char text[256] = "";
    assert_int_equal(pq_ov_bpe_make(&b, v, &e), PQ_OK);
    for (size_t i = 0; want[i]; i++)
        assert_string_equal(string_at(&b.vocab, i), want[i]);
    for (size_t i = 0; i < b.left.begins.len / 4; i++) {
        strcat(strcat(text, string_at(&b.left, i)), "+");
        strcat(strcat(text, string_at(&b.right, i)), " ");
    }
    assert_string_equal(text, merges);
    pq_ov_bpe_free(&b);
}

/* Tokens that merges cannot reach, a token with the text of an added one, one that contains it, and
 * a merge before those of its halves. */
static void test_byte_vocab(void **state)
{
    struct pq_token token[] = {plain("\xc4\xa0"),
                               plain("a"),
                               plain("b"),
                               plain("ab"),
                               plain("xy"),
                               plain("\xc4\xa0\xc4\xa0"),
                               plain("\xc4\xa0\xc4\xa0"
                                     "a"),
                               plain("abab"),
                               added("  "),
                               plain("[PAD]")};
    struct pq_merge pair[] = {{3, 3, 7}, {0, 0, 5}, {1, 2, 3}, {5, 1, 6}, {4, 1, 6}};
    struct pq_vocab v = {.kind = PQ_VOCAB_BPE,
                         .token = token,
                         .n_tokens = PQ_LEN(token),
                         .pair = pair,
                         .n_pairs = PQ_LEN(pair)};
    (void)state;
    token[9].type = PQ_TOKEN_UNUSED;
    check_vocab(&v, (const char *[]){" ", "a", "b", "ab", "..", "..", "..", "abab", "  ", NULL},
                "ab+ab a+b ");
    assert_int_equal(pq_ov_n_used(&v), 9);
}

/* Byte pieces become bytes, unless a character is that byte; merges come from scores. */
static void test_spm_vocab(void **state)
{
    struct pq_token token[] = {plain("<unk>"),
                               plain("<0x41>"),
                               plain("<0x42>"),
                               plain("\xe2\x96\x81"),
                               plain("A"),
                               plain("\xe2\x96\x81"
                                     "A"),
                               plain("far"),
                               added("<s>"),
                               plain("<0x4"),
                               plain("<0x43>"),
                               added("C")};
    struct pq_vocab v = {.kind = PQ_VOCAB_SPM, .token = token, .n_tokens = PQ_LEN(token)};
    (void)state;
    token[0].type = PQ_TOKEN_UNKNOWN;
    token[1].type = token[2].type = token[8].type = token[9].type = PQ_TOKEN_BYTE;
    check_vocab(&v,
                (const char *[]){"..", "..", "B", "\xe2\x96\x81", "A",
                                 "\xe2\x96\x81"
                                 "A",
                                 "..", "<s>", "..", "..", "C", NULL},
                "\xe2\x96\x81+A ");
}

/* ---- files ---- */

enum { N_FILES = 4 };
static const char *const folders[] = {
    "fixtures/phi2",        "fixtures/phi3-mini-4k",   "fixtures/phi3-mini-128k-sharded",
    "fixtures/phi3-medium", "fixtures/phi4",           "fixtures/phi4-mini",
    "fixtures/phimoe",      "../../models/phiq-sample"};

static void load(struct pq_model *m, const char *folder)
{
    char path[1024];
    struct pq_err e = {0};
    const size_t n = strstr(folder, "sample") ? 4096 : 512; /* rows of the embedding */
    snprintf(path, sizeof path, "%s/%s", PQ_TEST_DATA, folder);
    *m = (struct pq_model){.net.hp.max_position = 1024};
    if (pq_vocab_load(&m->vocab, &m->arena, path, n, &e) < 0)
        fail_msg("%s: %s", folder, e.msg);
}

static int make(struct pq_plan *p, const struct pq_model *m, struct pq_err *e)
{
    *p = (struct pq_plan){0};
    p->file = pq_arena_alloc(&p->arena, N_FILES, sizeof *p->file);
    return p->file ? pq_ov_add_tokenizer(p, N_FILES, m, e) : pq_fail(e, PQ_ENOMEM, "out of memory");
}

static size_t count(const char *text, const char *part)
{
    size_t n = 0;
    while ((text = strstr(text, part)) != NULL) {
        text += strlen(part);
        n++;
    }
    return n;
}

/* Every constant lies in the .bin file. */
static void check_constants(const char *xml, uint64_t size)
{
    size_t n = 0;
    for (const char *s = xml; (s = strstr(s, " offset=\"")) != NULL; n++) {
        char *end;
        uint64_t at = strtoull(s + strlen(" offset=\""), &end, 10);
        assert_int_equal(strncmp(end, "\" size=\"", 8), 0);
        uint64_t bytes = strtoull(end + 8, &end, 10);
        assert_true(*end == '"' && at <= size && bytes <= size - at);
        s = end;
    }
    assert_int_equal(n, count(xml, "type=\"Const\""));
}

static void check_graph(const struct pq_out_file f[2], const char *name, const char *const *ops)
{
    struct pq_buf xml = {0};
    char path[64];
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "openvino_%s.%s", name, i ? "bin" : "xml");
        assert_string_equal(f[i].name, path);
        assert_int_equal(f[i].doc.len, f[i].size);
    }
    pq_buf_put(&xml, f[0].doc.data, f[0].doc.len);
    pq_buf_u8(&xml, 0);
    const char *text = (const char *)xml.data;
    for (; *ops; ops++) {
        snprintf(path, sizeof path, "type=\"%s\"", *ops);
        if (count(text, path) != 1)
            fail_msg("%zu layers of type %s in %s", count(text, path), *ops, name);
    }
    check_constants(text, f[1].size);
    assert_int_equal(count(text, "<eos_token_id value=\""), 1);
    assert_int_equal(count(text, "<openvino_tokenizers_version value=\""), 1);
    pq_buf_free(&xml);
}

static void test_files(void **state)
{
    static const char *const in[] = {"StringTensorUnpack",
                                     "SpecialTokensSplit",
                                     "BPETokenizer",
                                     "Truncate",
                                     "CombineSegments",
                                     "RaggedToDense",
                                     NULL};
    static const char *const out[] = {"VocabDecoder", "FuzeRagged", "UTF8Validate",
                                      "StringTensorPack", NULL};
    (void)state;
    for (size_t i = 0; i < PQ_LEN(folders); i++) {
        struct pq_model m;
        struct pq_plan p, again;
        struct pq_err e = {0};
        load(&m, folders[i]);
        if (make(&p, &m, &e) < 0 || make(&again, &m, &e) < 0)
            fail_msg("%s: %s", folders[i], e.msg);
        assert_int_equal(p.n_files, N_FILES);
        check_graph(p.file, "tokenizer", in);
        check_graph(p.file + 2, "detokenizer", out);
        for (size_t k = 0; k < N_FILES; k++) {
            assert_int_equal(p.file[k].size, again.file[k].size);
            assert_memory_equal(p.file[k].doc.data, again.file[k].doc.data, p.file[k].size);
        }
        pq_plan_free(&p);
        pq_plan_free(&again);
        pq_arena_free(&m.arena);
    }
}

static void test_no_pattern(void **state)
{
    struct pq_model m;
    struct pq_plan p;
    struct pq_err e = {0};
    (void)state;
    load(&m, "fixtures/phi4");
    m.vocab.split = NULL;
    assert_int_equal(make(&p, &m, &e), PQ_EUNSUPPORTED);
    assert_words(e, "split pattern");
    pq_plan_free(&p);
    pq_arena_free(&m.arena);
}

/* What the operations cannot do is said. */
static void test_notes(void **state)
{
    static const char *const words[] = {NULL, "ignore_merges", "normalized text", "single_word"};
    struct pq_model m;
    struct pq_err e = {0};
    (void)state;
    load(&m, "fixtures/phi3-mini-4k");
    for (size_t i = 0; i < PQ_LEN(words); i++) {
        struct pq_plan p;
        m.vocab.ignore_merges = i == 1;
        m.vocab.token[1].normalized = i == 2;
        m.vocab.token[1].single_word = i == 3;
        assert_int_equal(make(&p, &m, &e), PQ_OK);
        assert_int_equal(p.n_notes, words[i] != NULL);
        if (words[i])
            assert_non_null(strstr(p.note[0], words[i]));
        pq_plan_free(&p);
    }
    pq_arena_free(&m.arena);
}

static void test_no_memory(void **state)
{
    static const char *const some[] = {"fixtures/phi2", "fixtures/phi3-mini-4k"};
    (void)state;
    for (size_t i = 0; i < PQ_LEN(some); i++) {
        struct pq_model m;
        struct pq_err e = {0};
        load(&m, some[i]);
        int rc = PQ_ENOMEM;
        for (unsigned long n = 1; rc < 0; n++) {
            struct pq_plan p;
            e = (struct pq_err){0};
            pq_mem_fail_after(n, false);
            rc = make(&p, &m, &e);
            pq_mem_fail_after(0, false);
            if (rc < 0 && (rc != PQ_ENOMEM || !e.msg[0]))
                fail_msg("request %lu: status %d, \"%s\"", n, rc, e.msg);
            pq_plan_free(&p);
        }
        pq_arena_free(&m.arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_split_pattern), cmocka_unit_test(test_added_pattern),
        cmocka_unit_test(test_byte_vocab),    cmocka_unit_test(test_spm_vocab),
        cmocka_unit_test(test_files),         cmocka_unit_test(test_no_pattern),
        cmocka_unit_test(test_notes),         cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
