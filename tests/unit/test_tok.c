/* Vocabularies: from files, from GGUF, into tokenizer.json. SPDX-License-Identifier: MIT */
#define _POSIX_C_SOURCE 200809L /* mkdtemp */
#include "test.h"

#include "base/fs.h"
#include "base/num.h"
#include "tok/strmap.h"
#include "tok/vocab.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define FIXTURES PQ_TEST_DATA "/fixtures/"

/* ---- helpers ---- */

struct loaded {
    struct pq_arena a;
    struct pq_vocab v;
    struct pq_err e;
};

static void load_dir(struct loaded *l, const char *dir, size_t n_vocab)
{
    *l = (struct loaded){0};
    if (pq_vocab_load(&l->v, &l->a, dir, n_vocab, &l->e) < 0)
        fail_msg("%s: %s", dir, l->e.msg);
}

static void unload(struct loaded *l)
{
    pq_arena_free(&l->a);
}

static bool shared_path(char *out, size_t size, const char *rest)
{
    const char *root = getenv("PQ_SHARED");
    snprintf(out, size, "%s/data/tokenizers/%s", root ? root : PQ_SOURCE_DIR "/../shared", rest);
    return pq_path_kind(out) != PQ_PATH_NONE;
}

/* A folder of its own for each test, with files as the test wants them. */
struct folder {
    char path[64];
    struct pq_arena a;
};

static int make_folder(void **state)
{
    struct folder *f = calloc(1, sizeof *f);
    snprintf(f->path, sizeof f->path, "/tmp/phiq-test-tok-XXXXXX");
    *state = f;
    return mkdtemp(f->path) ? 0 : -1;
}

static int drop_folder(void **state)
{
    struct folder *f = *state;
    struct pq_err e = {0};
    int rc = pq_tree_remove(f->path, &e);
    pq_arena_free(&f->a);
    free(f);
    return rc;
}

static void put_bytes(struct folder *f, const char *name, const void *data, size_t size)
{
    /* not pq_file_write, which waits for the disk: there are thousands of these */
    FILE *out = fopen(pq_path_join(&f->a, f->path, name), "wb");
    assert_true(out && fwrite(data, 1, size, out) == size && !fclose(out));
}

static void put_text(struct folder *f, const char *name, const char *text)
{
    put_bytes(f, name, text, strlen(text));
}

static void put_json(struct folder *f, const char *name, const json_t *j)
{
    char *text = json_dumps(j, 0);
    put_text(f, name, text);
    free(text);
}

static void remove_file(struct folder *f, const char *name)
{
    struct pq_err e = {0};
    assert_int_equal(pq_tree_remove(pq_path_join(&f->a, f->path, name), &e), PQ_OK);
}

static void copy_file(struct folder *f, const char *from_dir, const char *name, const char *as)
{
    struct pq_err e = {0};
    char *data;
    size_t size;
    if (pq_file_read(pq_path_join(&f->a, from_dir, name), 1u << 30, &data, &size, &e) < 0)
        fail_msg("%s", e.msg);
    put_bytes(f, as, data, size);
    pq_free(data);
}

static json_t *read_json(const char *dir, const char *name)
{
    struct pq_arena a = {0};
    struct pq_err e = {0};
    json_t *j;
    if (pq_json_load(&j, pq_path_join(&a, dir, name), &e) < 0)
        fail_msg("%s", e.msg);
    pq_arena_free(&a);
    return j;
}

static void assert_fails(struct folder *f, size_t n_vocab, const char *words)
{
    struct loaded l = {0};
    if (pq_vocab_load(&l.v, &l.a, f->path, n_vocab, &l.e) >= 0)
        fail_msg("accepted, expected \"%s\"", words);
    assert_words(l.e, words);
    unload(&l);
}

static void assert_token(const struct pq_vocab *v, size_t id, const char *text, int type)
{
    assert_true(id < v->n_tokens);
    assert_string_equal(v->token[id].text, text);
    assert_int_equal(v->token[id].len, strlen(text));
    assert_int_equal(v->token[id].type, type);
}

/* ---- sound vocabularies ---- */

static const struct fixture {
    const char *name;
    size_t n_vocab, n_merges;
    enum pq_vocab_kind kind;
    const char *pre;
    int64_t bos, eos, unk, pad;
    bool add_bos, has_template;
    size_t last; /* highest id that is not a hole */
} fixtures[] = {
    {"phi2", 520, 244, PQ_VOCAB_BPE, "phi-2", 500, 500, 500, -1, false, false, 500},
    {"phi3-mini-4k", 496, 0, PQ_VOCAB_SPM, "default", 1, 480, 0, 480, true, true, 490},
    {"phi3-medium", 496, 0, PQ_VOCAB_SPM, "default", 1, 480, 0, 480, true, true, 490},
    {"phi4", 520, 244, PQ_VOCAB_BPE, "dbrx", 500, 505, -1, 500, false, true, 506},
    {"phi4-mini", 520, 244, PQ_VOCAB_BPE, "gpt-4o", 500, 500, -1, 500, false, true, 508},
};

static void fixtures_load(void **state)
{
    (void)state;
    for (size_t i = 0; i < PQ_LEN(fixtures); i++) {
        const struct fixture *x = &fixtures[i];
        char dir[512];
        struct loaded l;
        snprintf(dir, sizeof dir, FIXTURES "%s", x->name);
        load_dir(&l, dir, x->n_vocab);
        const struct pq_vocab *v = &l.v;
        assert_int_equal(v->kind, x->kind);
        assert_string_equal(v->pre, x->pre);
        assert_int_equal(v->split != NULL, x->kind == PQ_VOCAB_BPE);
        assert_true(v->n_pairs >= 129 && (!v->n_merges || v->n_pairs == v->n_merges));
        assert_true(v->n_tokens == x->n_vocab && v->n_merges == x->n_merges);
        assert_true(v->bos == x->bos && v->eos == x->eos && v->unk == x->unk && v->pad == x->pad);
        assert_true(v->add_bos == x->add_bos && !v->add_eos);
        assert_int_equal(v->add_space_prefix, x->kind == PQ_VOCAB_SPM);
        assert_int_equal(v->chat_template != NULL, x->has_template);
        for (size_t id = 0; id < v->n_tokens; id++)
            assert_int_equal(v->token[id].type == PQ_TOKEN_UNUSED, id > x->last);
        char hole[32];
        snprintf(hole, sizeof hole, "[PAD%zu]", x->n_vocab - 1);
        assert_token(v, x->n_vocab - 1, hole, PQ_TOKEN_UNUSED);
        assert_true(v->token[x->n_vocab - 1].score == (x->kind == PQ_VOCAB_SPM ? -10000 : 0));
        assert_int_equal(v->token[v->eos].type, PQ_TOKEN_CONTROL);
        assert_true(v->token[v->eos].score == (x->kind == PQ_VOCAB_SPM ? -1000 : 0));
        if (x->kind == PQ_VOCAB_SPM) {
            assert_token(v, 0, "<unk>", PQ_TOKEN_UNKNOWN);
            assert_token(v, 3, "<0x00>", PQ_TOKEN_BYTE);
            assert_token(v, 258, "<0xFF>", PQ_TOKEN_BYTE);
        } else {
            assert_string_equal(v->merge[0], "\xc4\xa0 t");
        }
        unload(&l);
    }
}

static void more_tokens_than_rows_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < PQ_LEN(fixtures); i++) {
        struct loaded l = {0};
        char dir[512];
        snprintf(dir, sizeof dir, FIXTURES "%s", fixtures[i].name);
        for (size_t n = 0; n <= fixtures[i].last; n += 97) {
            l.e = (struct pq_err){0};
            assert_true(pq_vocab_load(&l.v, &l.a, dir, n, &l.e) < 0);
            assert_words(l.e, n ? "the embedding has" : "0 tokens");
        }
        assert_int_equal(pq_vocab_load(&l.v, &l.a, dir, fixtures[i].last + 1, &l.e), PQ_OK);
        unload(&l);
    }
}

/* ---- real tokenizers ---- */

static const struct real {
    const char *name;
    size_t n_vocab, n_merges;
    const char *pre;
    int64_t bos, eos, pad;
    bool add_bos;
    struct {
        size_t id;
        const char *text;
        int type;
        bool lstrip, rstrip, special;
    } token[4];
} reals[] = {
    {"phi-2",
     51200,
     50000,
     "phi-2",
     50256,
     50256,
     -1,
     false,
     {{50256, "<|endoftext|>", PQ_TOKEN_CONTROL, false, false, true},
      {50286, "  ", PQ_TOKEN_USER_DEFINED, false, false, false},
      {50294, "\t\t", PQ_TOKEN_USER_DEFINED, false, false, false},
      {50295, "[PAD50295]", PQ_TOKEN_UNUSED, false, false, false}}},
    {"phi-3-mini",
     32064,
     0,
     "default",
     1,
     32000,
     32000,
     false,
     {{2, "</s>", PQ_TOKEN_USER_DEFINED, false, true, false},
      {32007, "<|end|>", PQ_TOKEN_CONTROL, false, true, true},
      {32000, "<|endoftext|>", PQ_TOKEN_CONTROL, false, false, true},
      {32011, "[PAD32011]", PQ_TOKEN_UNUSED, false, false, false}}},
    {"phi-3",
     32064,
     0,
     "default",
     1,
     32000,
     32000,
     true,
     {{0, "<unk>", PQ_TOKEN_UNKNOWN, false, false, true},
      {1, "<s>", PQ_TOKEN_CONTROL, false, false, true},
      {32007, "<|end|>", PQ_TOKEN_CONTROL, false, false, true},
      {29871, "\xe2\x96\x81", PQ_TOKEN_NORMAL, false, false, false}}},
    {"phi-3-vision",
     32064,
     0,
     "default",
     1,
     32000,
     32000,
     true,
     {{32044, "<|image|>", PQ_TOKEN_CONTROL, false, true, true},
      {32010, "<|user|>", PQ_TOKEN_CONTROL, false, false, true},
      {32043, "<|placeholder39|>", PQ_TOKEN_CONTROL, false, true, true},
      {32045, "[PAD32045]", PQ_TOKEN_UNUSED, false, false, false}}},
    {"phi-4-base",
     100352,
     100000,
     "dbrx",
     100257,
     100265,
     100349,
     false,
     {{100256, "<|dummy_0|>", PQ_TOKEN_CONTROL, true, true, true},
      {100264, "<|im_start|>", PQ_TOKEN_CONTROL, true, true, true},
      {100351, "<|dummy_87|>", PQ_TOKEN_CONTROL, true, true, true},
      {9125, "system", PQ_TOKEN_NORMAL, false, false, false}}},
    {"phi-4-mini",
     200064,
     199742,
     "gpt-4o",
     199999,
     199999,
     199999,
     false,
     {{199998, "[PAD199998]", PQ_TOKEN_UNUSED, false, false, false},
      {200020, "<|end|>", PQ_TOKEN_CONTROL, false, true, true},
      {200028, "<|tag|>", PQ_TOKEN_CONTROL, false, true, true},
      {200029, "[PAD200029]", PQ_TOKEN_UNUSED, false, false, false}}},
};

static void real_tokenizers_load(void **state)
{
    int found = 0;
    (void)state;
    for (size_t i = 0; i < PQ_LEN(reals); i++) {
        const struct real *x = &reals[i];
        char dir[512];
        struct loaded l;
        if (!shared_path(dir, sizeof dir, x->name))
            continue;
        found++;
        load_dir(&l, dir, x->n_vocab);
        assert_string_equal(l.v.pre, x->pre);
        assert_int_equal(l.v.n_merges, x->n_merges);
        assert_true(l.v.bos == x->bos && l.v.eos == x->eos && l.v.pad == x->pad);
        assert_int_equal(l.v.add_bos, x->add_bos);
        for (size_t k = 0; k < PQ_LEN(x->token); k++) {
            const struct pq_token *tok = &l.v.token[x->token[k].id];
            assert_token(&l.v, x->token[k].id, x->token[k].text, x->token[k].type);
            assert_true(tok->lstrip == x->token[k].lstrip && tok->rstrip == x->token[k].rstrip);
            assert_int_equal(tok->special, x->token[k].special);
        }
        assert_int_equal(l.v.chat_template != NULL, strcmp(x->name, "phi-2") != 0);
        unload(&l);
    }
    if (!found) {
        print_message("no real tokenizers\n");
        skip();
    }
}

static void load_gguf(struct loaded *l, const char *path, struct pq_map *map)
{
    struct pq_gguf *g;
    *l = (struct loaded){0};
    if (pq_map_open(map, path, &l->e) < 0 ||
        pq_gguf_parse(&g, &l->a, map->data, map->size, path, &l->e) < 0 ||
        pq_vocab_from_gguf(&l->v, &l->a, g, path, &l->e) < 0)
        fail_msg("%s", l->e.msg);
}

/* llama.cpp's own conversion of the first Phi-3 against ours from the same files. Since then its
 * converter gives holes the type of an unused token and, as we do, <unk> that of an unknown one. */
static void same_as_llama_converter(void **state)
{
    struct folder *f = *state;
    char gguf[512], phi3[512], models[512];
    struct pq_map map;
    struct loaded want, got;
    if (!shared_path(gguf, sizeof gguf, "llama.cpp/ggml-vocab-phi-3.gguf") ||
        !shared_path(phi3, sizeof phi3, "phi-3") ||
        !shared_path(models, sizeof models, "llama.cpp"))
        skip();
    copy_file(f, phi3, "tokenizer.json", "tokenizer.json");
    copy_file(f, phi3, "tokenizer_config.json", "tokenizer_config.json");
    copy_file(f, models, "llama2-tokenizer.model", "tokenizer.model");
    load_gguf(&want, gguf, &map);
    load_dir(&got, f->path, 32064);
    assert_int_equal(want.v.n_tokens, got.v.n_tokens);
    for (size_t i = 0; i < got.v.n_tokens; i++) {
        const struct pq_token *a = &want.v.token[i], *b = &got.v.token[i];
        assert_string_equal(a->text, b->text);
        if (a->score != b->score)
            fail_msg("%zu %s: score %g, llama.cpp has %g", i, b->text, b->score, a->score);
        if (a->type != b->type && i != 0 && i != 2) /* unk; </s>, whose flag changed */
            fail_msg("%zu %s: type %d, llama.cpp has %d", i, b->text, b->type, a->type);
    }
    assert_true(want.v.bos == got.v.bos && want.v.eos == got.v.eos && want.v.pad == got.v.pad);
    assert_true(want.v.add_bos && got.v.add_bos && want.v.add_space_prefix);
    assert_string_equal(want.v.chat_template, got.v.chat_template);
    assert_true(want.v.token[32007].rstrip && !want.v.token[32000].rstrip); /* named Phi3 */
    unload(&want);
    unload(&got);
    pq_map_close(&map);
}

/* Without tokenizer.model, scores come from merges: they must order pieces as the real ones do. */
static void derived_scores_keep_the_order(void **state)
{
    struct folder *f = *state;
    char phi3[512], models[512];
    struct loaded model, derived;
    if (!shared_path(phi3, sizeof phi3, "phi-3") ||
        !shared_path(models, sizeof models, "llama.cpp"))
        skip();
    load_dir(&derived, phi3, 32064);
    copy_file(f, models, "llama2-tokenizer.model", "tokenizer.model");
    load_dir(&model, f->path, 32064);
    assert_true(model.v.add_bos); /* LlamaTokenizer's default */
    size_t compared = 0;
    for (size_t i = 260; i < 29871; i++, compared++) /* learned merges, best first */
        for (size_t k = i > 300 ? i - 40 : 260; k < i; k++) {
            float a = model.v.token[k].score - model.v.token[i].score;
            float b = derived.v.token[k].score - derived.v.token[i].score;
            if (a > 0 && !(b > 0))
                fail_msg("%s before %s", model.v.token[k].text, model.v.token[i].text);
        }
    assert_true(compared > 29000);
    unload(&model);
    unload(&derived);
}

/* ---- round trips ---- */

static void put_vocab(struct pq_buf *b, const struct pq_vocab *v)
{
    pq_gguf_put_array(b, "tokenizer.ggml.tokens", PQ_GGUF_STRING, v->n_tokens);
    for (size_t i = 0; i < v->n_tokens; i++)
        pq_gguf_put_item_str(b, v->token[i].text, v->token[i].len);
    pq_gguf_put_array(b, "tokenizer.ggml.scores", PQ_GGUF_F32, v->n_tokens);
    for (size_t i = 0; i < v->n_tokens; i++)
        pq_buf_le32(b, pq_f32_bits(v->token[i].score));
    pq_gguf_put_array(b, "tokenizer.ggml.token_type", PQ_GGUF_I32, v->n_tokens);
    for (size_t i = 0; i < v->n_tokens; i++)
        pq_buf_le32(b, v->token[i].type);
    pq_gguf_put_array(b, "tokenizer.ggml.merges", PQ_GGUF_STRING, v->n_merges);
    for (size_t i = 0; i < v->n_merges; i++)
        pq_gguf_put_item_str(b, v->merge[i], strlen(v->merge[i]));
}

static void assert_same_tokens(const struct pq_vocab *a, const struct pq_vocab *b, bool scores)
{
    assert_true(a->n_tokens == b->n_tokens && a->n_merges == b->n_merges);
    assert_true(a->kind == b->kind && a->bos == b->bos && a->eos == b->eos && a->pad == b->pad);
    assert_true(a->unk == b->unk && a->add_bos == b->add_bos && a->add_eos == b->add_eos);
    assert_int_equal(a->add_space_prefix, b->add_space_prefix);
    for (size_t i = 0; i < a->n_tokens; i++) {
        assert_token(b, i, a->token[i].text, a->token[i].type);
        assert_true(!scores || a->token[i].score == b->token[i].score);
    }
    for (size_t i = 0; i < a->n_merges; i++)
        assert_string_equal(a->merge[i], b->merge[i]);
}

static void gguf_round_trip(void **state)
{
    (void)state;
    for (size_t i = 0; i < PQ_LEN(fixtures); i++) {
        struct loaded l, again = {0};
        struct pq_buf b = {0};
        struct pq_gguf *g;
        char dir[512];
        snprintf(dir, sizeof dir, FIXTURES "%s", fixtures[i].name);
        load_dir(&l, dir, fixtures[i].n_vocab);
        const struct pq_vocab *v = &l.v;
        const char *model = v->kind == PQ_VOCAB_SPM ? "llama" : "gpt2";
        const struct {
            const char *key;
            int64_t id;
        } ids[] = {{"tokenizer.ggml.bos_token_id", v->bos},
                   {"tokenizer.ggml.eos_token_id", v->eos},
                   {"tokenizer.ggml.unknown_token_id", v->unk},
                   {"tokenizer.ggml.padding_token_id", v->pad}};
        uint64_t n_kv = 4 + 3;
        for (size_t k = 0; k < PQ_LEN(ids); k++)
            n_kv += ids[k].id >= 0;
        pq_gguf_put_header(&b, 0, n_kv);
        pq_gguf_put_str(&b, "tokenizer.ggml.model", model, strlen(model));
        pq_gguf_put_str(&b, "tokenizer.ggml.pre", v->pre, strlen(v->pre));
        pq_gguf_put_bool(&b, "tokenizer.ggml.add_bos_token", v->add_bos);
        put_vocab(&b, v);
        for (size_t k = 0; k < PQ_LEN(ids); k++)
            if (ids[k].id >= 0)
                pq_gguf_put_u32(&b, ids[k].key, (uint32_t)ids[k].id);
        if (pq_gguf_parse(&g, &again.a, b.data, b.len, "x.gguf", &again.e) < 0 ||
            pq_vocab_from_gguf(&again.v, &again.a, g, "x.gguf", &again.e) < 0)
            fail_msg("%s", again.e.msg);
        assert_same_tokens(v, &again.v, true);
        assert_string_equal(v->pre, again.v.pre);
        pq_buf_free(&b);
        unload(&l);
        unload(&again);
    }
}

static void emit_into(struct folder *f, const struct pq_vocab *v)
{
    struct pq_err e = {0};
    json_t *tokenizer = NULL, *config = NULL;
    if (pq_vocab_tokenizer_json(v, &tokenizer, &e) < 0 ||
        pq_vocab_tokenizer_config(v, &config, &e) < 0)
        fail_msg("%s", e.msg);
    put_json(f, "tokenizer.json", tokenizer);
    put_json(f, "tokenizer_config.json", config);
    json_decref(tokenizer);
    json_decref(config);
}

static void emitted_files_read_back_equal(void **state)
{
    struct folder *f = *state;
    for (size_t i = 0; i < PQ_LEN(fixtures); i++) {
        struct loaded l, again;
        char dir[512];
        snprintf(dir, sizeof dir, FIXTURES "%s", fixtures[i].name);
        load_dir(&l, dir, fixtures[i].n_vocab);
        for (int variant = 0; variant < 3; variant++) {
            l.v.token[l.v.eos].lstrip = variant == 1;
            l.v.add_bos = variant != 1;
            l.v.add_eos = variant == 2;
            if (l.v.kind == PQ_VOCAB_SPM)
                l.v.add_space_prefix = variant != 2;
            emit_into(f, &l.v);
            load_dir(&again, f->path, fixtures[i].n_vocab);
            assert_same_tokens(&l.v, &again.v, false);
            assert_string_equal(l.v.pre, again.v.pre);
            assert_int_equal(again.v.token[again.v.eos].lstrip, variant == 1);
            unload(&again);
        }
        unload(&l);
    }
}

/* The merges that we make from scores are those that the `tokenizers` library was given. */
static void emitted_merges_are_the_published(void **state)
{
    struct folder *f = *state;
    char phi3[512], models[512];
    struct loaded l;
    struct pq_err e = {0};
    json_t *ours;
    if (!shared_path(phi3, sizeof phi3, "phi-3") ||
        !shared_path(models, sizeof models, "llama.cpp"))
        skip();
    copy_file(f, models, "llama2-tokenizer.model", "tokenizer.model");
    load_dir(&l, f->path, 32064);
    assert_int_equal(pq_vocab_tokenizer_json(&l.v, &ours, &e), PQ_OK);
    json_t *theirs = read_json(phi3, "tokenizer.json");
    const json_t *a = json_object_get(json_object_get(ours, "model"), "merges");
    const json_t *b = json_object_get(json_object_get(theirs, "model"), "merges");
    assert_int_equal(json_array_size(a), json_array_size(b));
    for (size_t i = 0; i < json_array_size(a); i++)
        if (!json_equal(json_array_get(a, i), json_array_get(b, i)))
            fail_msg("merge %zu: %s, published %s", i, json_string_value(json_array_get(a, i)),
                     json_string_value(json_array_get(b, i)));
    json_decref(ours);
    json_decref(theirs);
    unload(&l);
}

/* ---- small files beside ---- */

static void chat_template_sources(void **state)
{
    static const char bpe[] = FIXTURES "phi4";
    struct folder *f = *state;
    struct loaded l;
    copy_file(f, bpe, "tokenizer.json", "tokenizer.json");
    load_dir(&l, f->path, 520);
    assert_null(l.v.chat_template);
    assert_true(l.v.bos == -1 && l.v.eos == -1);
    unload(&l);
    put_text(f, "tokenizer_config.json",
             "{\"model_max_length\": 1000000000000000019884624838656, \"chat_template\": "
             "[{\"name\": \"tool\", \"template\": \"T\"}, {\"name\": \"default\", \"template\": "
             "\"D\"}]}");
    load_dir(&l, f->path, 520);
    assert_string_equal(l.v.chat_template, "D");
    unload(&l);
    put_text(f, "chat_template.jinja", "J");
    load_dir(&l, f->path, 520);
    assert_string_equal(l.v.chat_template, "J");
    unload(&l);
}

static void special_tokens_sources(void **state)
{
    struct folder *f = *state;
    struct loaded l;
    copy_file(f, FIXTURES "phi4", "tokenizer.json", "tokenizer.json");
    put_text(f, "special_tokens_map.json",
             "{\"bos_token\": {\"content\": \"<|im_sep|>\"}, \"eos_token\": \"<|im_end|>\"}");
    put_text(f, "tokenizer_config.json",
             "{\"eos_token\": {\"content\": \"<|endoftext|>\"}, \"pad_token\": null, "
             "\"unk_token\": \"not there\", \"add_bos_token\": true}");
    put_text(f, "added_tokens.json", "{\"<|late|>\": 510, \"plain\": 511}");
    load_dir(&l, f->path, 520);
    assert_true(l.v.bos == 506 && l.v.eos == 500 && l.v.pad == -1 && l.v.unk == -1);
    assert_true(l.v.add_bos && !l.v.add_eos);
    assert_token(&l.v, 510, "<|late|>", PQ_TOKEN_CONTROL);
    assert_token(&l.v, 511, "plain", PQ_TOKEN_USER_DEFINED);
    unload(&l);
}

static void slow_bpe_files(void **state)
{
    struct folder *f = *state;
    struct loaded fast, slow;
    json_t *j = read_json(FIXTURES "phi2", "tokenizer.json");
    const json_t *model = json_object_get(j, "model"), *merge;
    struct pq_buf b = {0};
    size_t i;
    pq_buf_puts(&b, "#version: 0.2\n");
    json_array_foreach(json_object_get(model, "merges"), i, merge)
        pq_buf_printf(&b, "%s %s\r\n", json_string_value(json_array_get(merge, 0)),
                      json_string_value(json_array_get(merge, 1)));
    put_json(f, "vocab.json", json_object_get(model, "vocab"));
    put_bytes(f, "merges.txt", b.data, b.len);
    put_text(f, "added_tokens.json", "{\"<|endoftext|>\": 500}");
    assert_fails(f, 520, "tokenizer_class");
    copy_file(f, FIXTURES "phi2", "tokenizer_config.json", "tokenizer_config.json");
    load_dir(&fast, FIXTURES "phi2", 520);
    load_dir(&slow, f->path, 520);
    assert_same_tokens(&fast.v, &slow.v, true);
    put_text(f, "merges.txt", "th e\nnonsense\n");
    assert_fails(f, 520, "merges.txt");
    json_decref(j);
    pq_buf_free(&b);
    unload(&fast);
    unload(&slow);
}

static void no_tokenizer_at_all(void **state)
{
    struct folder *f = *state;
    struct loaded l = {0};
    assert_int_equal(pq_vocab_load(&l.v, &l.a, f->path, 10, &l.e), PQ_EIO);
    assert_words(l.e, "neither tokenizer.json nor tokenizer.model");
    unload(&l);
}

/* ---- malformed ---- */

/* Sets the member at a path of keys divided by '/'; digits index lists. */
static void set_at(json_t *j, const char *path, json_t *value)
{
    char key[64];
    size_t n = strcspn(path, "/");
    snprintf(key, sizeof key, "%.*s", (int)n, path);
    bool last = !path[n];
    if (json_is_array(j)) {
        size_t i = strtoul(key, NULL, 10);
        if (last)
            json_array_set_new(j, i, value);
        else
            set_at(json_array_get(j, i), path + n + 1, value);
    } else if (last) {
        json_object_set_new(j, key, value);
    } else {
        set_at(json_object_get(j, key), path + n + 1, value);
    }
}

static void bad_tokenizer_json(void **state)
{
    static const struct {
        const char *fixture, *path, *value, *words;
    } rows[] = {
        {"phi4", "model", "null", "model is missing"},
        {"phi4", "model", "[]", "model is missing"},
        {"phi4", "model/type", "\"Unigram\"", "Unigram"},
        {"phi4", "model/type", "\"WordPiece\"", "WordPiece"},
        {"phi4", "model/byte_fallback", "1", "byte_fallback"},
        {"phi4", "model/byte_fallback", "true", "\"Split\""},
        {"phi4", "model/continuing_subword_prefix", "\"##\"", "##"},
        {"phi4", "model/end_of_word_suffix", "\"</w>\"", "</w>"},
        {"phi4", "model/vocab", "[]", "vocab"},
        {"phi4", "model/vocab", "{}", "vocab"},
        {"phi4", "model/vocab/!", "\"0\"", "not an integer"},
        {"phi4", "model/vocab/!", "-1", "not an integer"},
        {"phi4", "model/vocab/!", "600", "the embedding has 520 rows"},
        {"phi4", "model/vocab/!", "1", "was"},
        {"phi4", "model/vocab/", "499", "499"},
        {"phi4", "model/merges", "null", "merges"},
        {"phi4", "model/merges/3", "\"ab\"", "merge 3"},
        {"phi4", "model/merges/3", "7", "merge 3"},
        {"phi4", "model/merges/3", "[\"a\"]", "merge 3"},
        {"phi4", "model/merges/3", "[\"a\", 5]", "merge 3"},
        {"phi4", "model/merges/3", "[\"a\", \"\"]", "merge 3"},
        {"phi4", "model/merges/3", "[\"a\", \"b c\"]", "merge 3"},
        {"phi4", "model/merges/3", "[\"zzz\", \"q\"]", "merge 3"},
        {"phi4", "model/merges/3", "[\"q\", \"z\"]", "merge 3"},
        {"phi4", "pre_tokenizer", "null", "without byte-level"},
        {"phi4", "pre_tokenizer", "7", "not an object"},
        {"phi4", "pre_tokenizer", "{\"type\":\"Whitespace\"}", "Whitespace"},
        {"phi4", "pre_tokenizer/pretokenizers/0/pattern/Regex", "\"\\\\w+\"", "\\w+"},
        {"phi4", "pre_tokenizer/pretokenizers/0/behavior", "\"Removed\"", "Removed"},
        {"phi4", "pre_tokenizer/pretokenizers/0/pattern", "{\"String\":\" \"}", "Split"},
        {"phi4", "pre_tokenizer/pretokenizers/1/use_regex", "true", "two patterns"},
        {"phi4", "pre_tokenizer/pretokenizers/1/add_prefix_space", "true", "add_prefix_space"},
        {"phi4", "pre_tokenizer/pretokenizers/1/add_prefix_space", "\"no\"", "add_prefix_space"},
        {"phi4", "normalizer", "{\"type\":\"NFC\"}", "NFC"},
        {"phi4", "post_processor", "{\"type\":\"BertProcessing\"}", "BertProcessing"},
        {"phi4", "post_processor",
         "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"x\"}}]}",
         "\"x\""},
        {"phi4", "added_tokens", "{}", "added_tokens is not a list"},
        {"phi4", "added_tokens/0", "5", "no id"},
        {"phi4", "added_tokens/0/id", "null", "no id"},
        {"phi4", "added_tokens/0/id", "520", "520"},
        {"phi4", "added_tokens/0/content", "3", "content"},
        {"phi4", "added_tokens/0/content", "null", "content"},
        {"phi4", "added_tokens/0/content", "\"\"", "empty"},
        {"phi4", "added_tokens/0/content", "\"<|im_end|>\"", "both"},
        {"phi4", "added_tokens/0/lstrip", "0", "lstrip"},
        {"phi4", "added_tokens/0/special", "\"yes\"", "special"},
        {"phi3-mini-4k", "normalizer", "null", "U+2581"},
        {"phi3-mini-4k", "normalizer/normalizers/0/prepend", "\"_\"", "Prepend"},
        {"phi3-mini-4k", "normalizer/normalizers/1/content", "\"_\"", "Replace"},
        {"phi3-mini-4k", "normalizer/normalizers/1", "{\"type\":\"NFKC\"}", "NFKC"},
        {"phi3-mini-4k", "pre_tokenizer", "{\"type\":\"Metaspace\"}", "Metaspace"},
        {"phi3-mini-4k", "model/vocab/<0x41>", "479", "479"},
        {"phi3-mini-4k", "model/unk_token", "3", "unk_token"},
    };
    struct folder *f = *state;
    for (size_t i = 0; i < PQ_LEN(rows); i++) {
        char dir[512];
        snprintf(dir, sizeof dir, FIXTURES "%s", rows[i].fixture);
        json_t *j = read_json(dir, "tokenizer.json");
        set_at(j, rows[i].path, json_loads(rows[i].value, JSON_DECODE_ANY, NULL));
        put_json(f, "tokenizer.json", j);
        assert_fails(f, 520, rows[i].words);
        json_decref(j);
    }
    put_text(f, "tokenizer.json", "[]");
    assert_fails(f, 520, "not an object");
    put_text(f, "tokenizer.json", "{");
    assert_fails(f, 520, "tokenizer.json");
}

/* The model's long lists are read from the text, not by the JSON library. */
static void bad_tokenizer_text(void **state)
{
    static const struct {
        const char *model, *words;
    } rows[] = {
        {"{\"vocab\": {\"a\": 0, \"b\": 1, \"ab\": 2}, \"merges\": [\"a b\"]}", "byte-level"},
        {"{\"vocab\": {\"a\": 0", "bad JSON"},
        {"{\"vocab\": {\"a\": 0}", "bad JSON"},
        {"{\"vocab\": {\"a\": 0}}}", "bad JSON"},
        {"{\"vocab\": {\"a\": 0}, \"vocab\": {\"a\": 0}}", "bad JSON"},
        {"{\"vocab\": {\"a\" 0}}", "not an object of texts and ids"},
        {"{\"vocab\": {\"a\": 0,}}", "not an object of texts and ids"},
        {"{\"vocab\": {\"a\": 0 \"b\": 1}}", "not an object of texts and ids"},
        {"{\"vocab\": {\"a\": 0} \"b\": 1}", "bad JSON"},
        {"{\"vocab\": {a: 0}}", "not an object of texts and ids"},
        {"{\"vocab\": {\"\\ud800\": 0}}", "not an object of texts and ids"},
        {"{\"vocab\": {\"\\u0000\": 0}}", "not an object of texts and ids"},
        {"{\"vocab\": {\"a\": 0.5}}", "not an integer"},
        {"{\"vocab\": {\"a\": [0]}}", "not an integer"},
        {"{\"vocab\": {\"\": 0}}", "empty"},
        {"{\"vocab\": {\"\xff\": 0}}", "not UTF-8"},
        {"{\"vocab\": {\"a\": 0}, \"merges\": [}", "bad JSON"},
        {"[{\"vocab\": {\"a\": 0}}]", "model is missing"},
        {"{\"merges\": []}", "vocab is missing"},
    };
    static const struct {
        const char *merges, *words;
    } merge_rows[] = {
        {"[\"a b\",]", "merge 1 is not a pair"}, {"[\"a b\" \"a b\"]", "merges is not a list"},
        {"[[\"a\", \"b\", \"c\"]]", "merge 0"},  {"[[\"a\" \"b\"]]", "merge 0"},
        {"[{\"a\": \"b\"}]", "merge 0"},         {"[\"a\\u0000 b\"]", "merge 0"},
        {"{\"a\": 1}", "merges is missing"},
    };
    struct folder *f = *state;
    struct pq_buf b = {0};
    for (size_t i = 0; i < PQ_LEN(rows); i++) {
        b.len = 0;
        pq_buf_printf(&b, "{\"version\": \"1.0\",\n\"pre_tokenizer\": %s, \"model\": %s}",
                      i ? "{\"type\": \"ByteLevel\", \"add_prefix_space\": false}" : "null",
                      rows[i].model);
        put_bytes(f, "tokenizer.json", b.data, b.len);
        assert_fails(f, 520, rows[i].words);
    }
    for (size_t i = 0; i < PQ_LEN(merge_rows); i++) {
        b.len = 0;
        pq_buf_printf(&b,
                      "{\"pre_tokenizer\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false}, "
                      "\"model\": {\"vocab\": {\"a\": 0, \"b\": 1, \"ab\": 2}, \"merges\": %s}}",
                      merge_rows[i].merges);
        put_bytes(f, "tokenizer.json", b.data, b.len);
        assert_fails(f, 520, merge_rows[i].words);
    }
    pq_buf_free(&b);
}

static void lacking_byte_pieces(void **state)
{
    struct folder *f = *state;
    json_t *j = read_json(FIXTURES "phi3-mini-4k", "tokenizer.json");
    json_object_del(json_object_get(json_object_get(j, "model"), "vocab"), "<0xAB>");
    put_json(f, "tokenizer.json", j);
    assert_fails(f, 496, "<0xAB>");
    json_decref(j);
}

static void model_and_json_must_agree(void **state)
{
    struct folder *f = *state;
    json_t *j = read_json(FIXTURES "phi3-mini-4k", "tokenizer.json");
    json_t *vocab = json_object_get(json_object_get(j, "model"), "vocab");
    json_object_del(vocab, "<0xAB>");
    json_object_set_new(vocab, "<0xab>", json_integer(3 + 0xab));
    put_json(f, "tokenizer.json", j);
    copy_file(f, FIXTURES "phi3-mini-4k", "tokenizer.model", "tokenizer.model");
    assert_fails(f, 496, "was \"<0xAB>\"");
    json_decref(j);
}

static void bad_side_files(void **state)
{
    static const struct {
        const char *file, *text, *words;
    } rows[] = {
        {"tokenizer_config.json", "[]", "not an object"},
        {"tokenizer_config.json", "{\"bos_token\": 3}", "bos_token"},
        {"tokenizer_config.json", "{\"add_bos_token\": 1}", "add_bos_token"},
        {"tokenizer_config.json", "{\"chat_template\": 1}", "chat_template"},
        {"tokenizer_config.json", "{\"chat_template\": [{\"name\": 1}]}", "name"},
        {"tokenizer_config.json", "{\"added_tokens_decoder\": []}", "added_tokens_decoder"},
        {"tokenizer_config.json", "{\"added_tokens_decoder\": {\"x\": {}}}", "not an id"},
        {"tokenizer_config.json", "{\"added_tokens_decoder\": {\"99999999999\": {}}}", "not an id"},
        {"tokenizer_config.json", "{\"added_tokens_decoder\": {\"7\": 1}}", "not an object"},
        {"tokenizer_config.json", "{\"added_tokens_decoder\": {\"700\": {\"content\": \"x\"}}}",
         "700"},
        {"special_tokens_map.json", "{\"eos_token\": {\"content\": 5}}", "content"},
        {"added_tokens.json", "{\"x\": \"y\"}", "not an integer"},
        {"added_tokens.json", "{\"x\": 520}", "520"},
        {"chat_template.jinja", "", NULL},
    };
    struct folder *f = *state;
    copy_file(f, FIXTURES "phi4", "tokenizer.json", "tokenizer.json");
    for (size_t i = 0; i < PQ_LEN(rows); i++) {
        put_text(f, rows[i].file, rows[i].text);
        if (rows[i].words)
            assert_fails(f, 520, rows[i].words);
        remove_file(f, rows[i].file);
    }
    put_bytes(f, "chat_template.jinja", "a\0b", 3);
    assert_fails(f, 520, "not text");
}

/* Every prefix and many single-byte changes: a status, never a crash. */
static void broken_models(void **state)
{
    struct folder *f = *state;
    struct pq_err e = {0};
    char *data;
    size_t size, refused = 0;
    assert_int_equal(
        pq_file_read(FIXTURES "phi3-mini-4k/tokenizer.model", 1 << 20, &data, &size, &e), PQ_OK);
    for (size_t n = 0; n < size; n += n < 300 ? 1 : 61) {
        put_bytes(f, "tokenizer.model", data, n);
        assert_fails(f, 496, "");
    }
    for (size_t i = 0; i < size; i += 7) {
        struct loaded l = {0};
        data[i] ^= 0x55;
        put_bytes(f, "tokenizer.model", data, size);
        refused += pq_vocab_load(&l.v, &l.a, f->path, 496, &l.e) < 0;
        data[i] ^= 0x55;
        unload(&l);
    }
    assert_true(refused > size / 7 / 4);
    pq_free(data);
}

static void model_flags(void **state)
{
    struct folder *f = *state;
    put_text(f, "tokenizer.model", "");
    assert_fails(f, 496, "no pieces");
    put_bytes(f, "tokenizer.model",
              "\n\x03\n\x01"
              "a\x1a\x04\x18\x01\x20\x00\x12\x02\x18\x01",
              15);
    assert_fails(f, 496, "unigram");
    put_bytes(f, "tokenizer.model",
              "\n\x03\n\x01"
              "a\x1a\x02\x20\x01\x12\x02\x18\x02",
              13);
    assert_fails(f, 496, "remove_extra_whitespaces");
    put_bytes(f, "tokenizer.model",
              "\n\x03\n\x01"
              "a\x1a\x02\x20\x00\x12\x02\x18\x02",
              13);
    assert_fails(f, 496, "byte pieces");
    put_bytes(f, "tokenizer.model",
              "\n\x05\n\x01"
              "a\x18\x09",
              7);
    assert_fails(f, 496, "type 9");
    put_bytes(f, "tokenizer.model",
              "\n\x08\n\x01"
              "a\x15\x00\x00\x80\x7f",
              10);
    assert_fails(f, 496, "score");
    put_bytes(f, "tokenizer.model", "\n\x03\n\x01\xff", 5);
    assert_fails(f, 496, "UTF-8");
}

/* GGUF vocabularies with one thing wrong. */
static void bad_gguf(void **state)
{
    enum { MODEL = 1, PRE, TOKENS, SCORES, TYPES, MERGES, ID, TEXT };
    static const struct {
        int wrong;
        const char *words;
    } rows[] = {
        {MODEL, "tokenizer.ggml.model"},
        {PRE, "tokenizer.ggml.pre"},
        {TOKENS, "tokenizer.ggml.tokens"},
        {SCORES, "tokenizer.ggml.scores"},
        {TYPES, "token 1 has type 9"},
        {MERGES, "merge 0"},
        {ID, "tokenizer.ggml.bos_token_id"},
        {TEXT, "UTF-8"},
        {0, NULL},
    };
    (void)state;
    for (size_t i = 0; i < PQ_LEN(rows); i++) {
        int wrong = rows[i].wrong;
        struct loaded l = {0};
        struct pq_gguf *g;
        struct pq_buf b = {0};
        pq_gguf_put_header(&b, 0, 7 - (wrong == PRE));
        pq_gguf_put_str(&b, "tokenizer.ggml.model", wrong == MODEL ? "bert" : "gpt2", 4);
        if (wrong != PRE)
            pq_gguf_put_str(&b, "tokenizer.ggml.pre", "dbrx", 4);
        pq_gguf_put_array(&b, "tokenizer.ggml.tokens", PQ_GGUF_STRING, wrong == TOKENS ? 0 : 3);
        for (int k = 0; k < 3 && wrong != TOKENS; k++)
            pq_gguf_put_item_str(&b,
                                 k == 2 ? "ab"
                                 : k    ? (wrong == TEXT ? "\xc0" : "b")
                                        : "a",
                                 k == 2 ? 2 : 1);
        pq_gguf_put_array(&b, "tokenizer.ggml.scores", PQ_GGUF_F32, wrong == SCORES ? 2 : 3);
        pq_buf_zero(&b, wrong == SCORES ? 8 : 12);
        pq_gguf_put_array(&b, "tokenizer.ggml.token_type", PQ_GGUF_I32, 3);
        for (int k = 0; k < 3; k++)
            pq_buf_le32(&b, k == 1 && wrong == TYPES ? 9 : 1);
        pq_gguf_put_array(&b, "tokenizer.ggml.merges", PQ_GGUF_STRING, 1);
        pq_gguf_put_item_str(&b, wrong == MERGES ? "a a" : "a b", 3);
        pq_gguf_put_u32(&b, "tokenizer.ggml.bos_token_id", wrong == ID ? 3 : 2);
        assert_int_equal(pq_gguf_parse(&g, &l.a, b.data, b.len, "x", &l.e), PQ_OK);
        int rc = pq_vocab_from_gguf(&l.v, &l.a, g, "x.gguf", &l.e);
        assert_int_equal(rc < 0, wrong != 0);
        if (wrong)
            assert_words(l.e, rows[i].words);
        pq_buf_free(&b);
        unload(&l);
    }
}

static void memory_may_run_out_anywhere(void **state)
{
    (void)state;
    for (size_t i = 0; i < PQ_LEN(fixtures); i++) {
        char dir[512];
        unsigned long n = 1;
        snprintf(dir, sizeof dir, FIXTURES "%s", fixtures[i].name);
        for (;; n++) {
            struct loaded l = {0};
            pq_mem_fail_after(n, true);
            int rc = pq_vocab_load(&l.v, &l.a, dir, fixtures[i].n_vocab, &l.e);
            pq_mem_fail_after(0, false);
            unload(&l);
            if (rc == PQ_OK)
                break;
            if (rc != PQ_ENOMEM)
                fail_msg("request %lu: %s", n, l.e.msg);
        }
        assert_true(n > 3);
    }
}

static void strings_map(void **state)
{
    struct pq_arena a = {0};
    struct pq_strmap m;
    char key[2000][8];
    (void)state;
    assert_int_equal(pq_strmap_init(&m, &a, 2000), PQ_OK);
    for (uint32_t i = 0; i < 2000; i++) {
        snprintf(key[i], sizeof key[i], "%u", i * 7);
        assert_int_equal(pq_strmap_get(&m, key[i], strlen(key[i])), PQ_STRMAP_NONE);
        assert_int_equal(pq_strmap_add(&m, key[i], strlen(key[i]), i), PQ_STRMAP_NONE);
    }
    for (uint32_t i = 0; i < 2000; i++) {
        assert_int_equal(pq_strmap_get(&m, key[i], strlen(key[i])), i);
        assert_int_equal(pq_strmap_add(&m, key[i], strlen(key[i]), 5), i);
    }
    assert_int_equal(pq_strmap_get(&m, "", 0), PQ_STRMAP_NONE);
    pq_arena_free(&a);
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, drop_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strings_map),
        cmocka_unit_test(fixtures_load),
        cmocka_unit_test(more_tokens_than_rows_are_refused),
        cmocka_unit_test(real_tokenizers_load),
        IN_FOLDER(same_as_llama_converter),
        IN_FOLDER(derived_scores_keep_the_order),
        cmocka_unit_test(gguf_round_trip),
        IN_FOLDER(emitted_files_read_back_equal),
        IN_FOLDER(emitted_merges_are_the_published),
        IN_FOLDER(chat_template_sources),
        IN_FOLDER(special_tokens_sources),
        IN_FOLDER(slow_bpe_files),
        IN_FOLDER(no_tokenizer_at_all),
        IN_FOLDER(bad_tokenizer_json),
        IN_FOLDER(bad_tokenizer_text),
        IN_FOLDER(lacking_byte_pieces),
        IN_FOLDER(model_and_json_must_agree),
        IN_FOLDER(bad_side_files),
        IN_FOLDER(broken_models),
        IN_FOLDER(model_flags),
        cmocka_unit_test(bad_gguf),
        cmocka_unit_test(memory_may_run_out_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
