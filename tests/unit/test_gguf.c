/* GGUF written and read back, variants that llama.cpp's converter makes, and files that lie.
 * SPDX-License-Identifier: MIT */
#include "modelio.h"

#include "base/num.h"

#include <stdio.h>
#include <stdlib.h>

/* Everything of a checkpoint survives: floats exactly, hyperparameters, the tokenizer. */
static void test_round_trip(void **state)
{
    (void)state;
    for (int i = 0; i < MODELIO_FIXTURES; i++) {
        const char *source = modelio_fixture(modelio_fixtures[i]);
        const char *file = modelio_write(source, "rt", "gguf", "f32", 0);
        struct pq_model *a = modelio_load(source), *b = modelio_load(file);
        assert_string_equal(b->container->name, "gguf");
        modelio_same(a, b);
        json_t *config = pq_network_config(&b->net);
        assert_true(json_equal(config, b->config));
        json_decref(config);
        pq_model_free(a);
        pq_model_free(b);
        struct pq_err e = {0};
        assert_int_equal(pq_tree_remove(modelio_path("rt"), &e), PQ_OK);
    }
}

static void test_split_set(void **state)
{
    (void)state;
    const char *source = modelio_fixture("phi3-mini-4k");
    const char *first = modelio_write(source, "split", "gguf", "f32", 1500000);
    assert_non_null(strstr(first, "phi3-mini-4k-F32-00001-of-0000"));
    struct pq_model *a = modelio_load(source), *b = modelio_load(first),
                    *c = modelio_load(modelio_path("split/gguf")); /* the folder stands for it */
    modelio_same(a, b);
    modelio_same(a, c);
    pq_model_free(a);
    pq_model_free(b);
    pq_model_free(c);
}

static void test_folders(void **state)
{
    (void)state;
    const char *source = modelio_fixture("phi4-mini");
    modelio_write(source, "two", "gguf", "q8_0", 0);
    modelio_write(source, "two", "gguf", "q4_0", 0);
    modelio_refused(modelio_path("two/gguf"), "2 GGUF models lie here");
    modelio_refused(modelio_path("nowhere"), "no such file or folder");
    struct pq_err e = {0};
    assert_int_equal(pq_dir_make(modelio_path("empty"), &e), PQ_OK);
    modelio_refused(modelio_path("empty"), "not a model that phiq reads");
}

/* ---- other writers' forms ---- */

/* One array of a file that is put together anew. */
struct entry {
    char name[64];
    int n_dims;
    uint64_t ne[2];
    const uint8_t *data;
    uint64_t bytes;
};

/* Pairs of the original file, as they are: between the header and the first info. */
static size_t infos_at(const struct pq_buf *file, const struct pq_gguf *g)
{
    const char *name = g->tensor[0].name;
    const size_t n = strlen(name);
    for (size_t i = 8; i + n < file->len; i++)
        if (pq_le64(file->data + i - 8) == n && !memcmp(file->data + i, name, n))
            return i - 8;
    fail_msg("no infos");
    return 0;
}

static void write_entries(const char *path, const struct pq_buf *original, const struct pq_gguf *g,
                          const struct entry *entry, size_t n)
{
    struct pq_buf b = {0};
    uint64_t at = 0;
    pq_gguf_put_header(&b, n, g->n_kv);
    pq_buf_put(&b, original->data + 24, infos_at(original, g) - 24);
    for (size_t i = 0; i < n; i++) {
        pq_gguf_put_info(&b, entry[i].name, entry[i].n_dims, entry[i].ne, 0, at);
        at += pq_round_up(entry[i].bytes, 32);
    }
    pq_gguf_pad(&b, 32);
    for (size_t i = 0; i < n; i++) {
        pq_buf_put(&b, entry[i].data, (size_t)entry[i].bytes);
        pq_buf_zero(&b, (size_t)(pq_round_up(entry[i].bytes, 32) - entry[i].bytes));
    }
    modelio_spill(path, &b);
    pq_buf_free(&b);
}

static struct entry whole(const struct pq_buf *file, const struct pq_gguf_info *t)
{
    struct entry x = {.n_dims = t->n_dims, .ne = {t->ne[0], t->ne[1]}, .data = file->data + t->at};
    snprintf(x.name, sizeof x.name, "%s", t->name);
    x.bytes = 4 * t->ne[0] * t->ne[1];
    return x;
}

static const struct pq_gguf_info *info(const struct pq_gguf *g, const char *name)
{
    for (size_t i = 0; i < g->n_tensors; i++)
        if (!strcmp(g->tensor[i].name, name))
            return &g->tensor[i];
    fail_msg("no %s", name);
    return NULL;
}

/* q, k, v of phi2 as one array, weights and biases: the converter's --fuse-qkv. */
static void test_fused_qkv(void **state)
{
    (void)state;
    const char *source = modelio_fixture("phi2");
    const char *file = modelio_write(source, "fuse", "gguf", "f32", 0);
    struct pq_arena a = {0};
    struct pq_buf b;
    struct pq_gguf *g;
    struct pq_err e = {0};
    struct entry entry[64];
    size_t n = 0;
    modelio_slurp(file, &b);
    assert_int_equal(pq_gguf_parse(&g, &a, b.data, b.len, "t", &e), PQ_OK);
    for (size_t i = 0; i < g->n_tensors; i++)
        if (!strstr(g->tensor[i].name, "attn_q") && !strstr(g->tensor[i].name, "attn_k") &&
            !strstr(g->tensor[i].name, "attn_v"))
            entry[n++] = whole(&b, &g->tensor[i]);
    for (int k = 0; k < 4; k++) { /* two layers, weight and bias */
        static const char *const tails[] = {"weight", "bias"};
        struct entry *x = &entry[n++];
        uint8_t *data = NULL, *d = NULL;
        for (int part = 0; part < 3; part++) {
            char name[64];
            snprintf(name, sizeof name, "blk.%d.attn_%c.%s", k / 2, "qkv"[part], tails[k % 2]);
            struct entry p = whole(&b, info(g, name));
            if (!data) {
                *x = p;
                data = d = (uint8_t *)pq_arena_alloc(&a, (size_t)p.bytes, 3);
            }
            memcpy(d, p.data, (size_t)p.bytes);
            d += p.bytes;
        }
        snprintf(x->name, sizeof x->name, "blk.%d.attn_qkv.%s", k / 2, tails[k % 2]);
        x->ne[k % 2 ? 0 : 1] *= 3;
        x->bytes *= 3;
        x->data = data;
    }
    write_entries(modelio_path("fused.gguf"), &b, g, entry, n);
    struct pq_model *want = modelio_load(source), *got = modelio_load(modelio_path("fused.gguf"));
    modelio_same(want, got);
    pq_model_free(want);
    pq_model_free(got);

    entry[n - 1].ne[0] -= 4; /* a bias that is too short */
    entry[n - 1].bytes -= 16;
    write_entries(modelio_path("fused.gguf"), &b, g, entry, n);
    modelio_refused(modelio_path("fused.gguf"), "blk.1.attn_qkv.bias has 764 rows, expected 768");
    pq_arena_free(&a);
    pq_buf_free(&b);
}

/* phi3's loader takes q, k and v apart as well. */
static void test_unfused_qkv(void **state)
{
    (void)state;
    const char *source = modelio_fixture("phi3-medium");
    const char *file = modelio_write(source, "unfuse", "gguf", "f32", 0);
    struct pq_arena a = {0};
    struct pq_buf b;
    struct pq_gguf *g;
    struct pq_err e = {0};
    struct entry entry[64];
    size_t n = 0;
    modelio_slurp(file, &b);
    assert_int_equal(pq_gguf_parse(&g, &a, b.data, b.len, "t", &e), PQ_OK);
    for (size_t i = 0; i < g->n_tensors; i++) {
        struct entry x = whole(&b, &g->tensor[i]);
        char *tail = strstr(x.name, "attn_qkv");
        if (!tail) {
            entry[n++] = x;
            continue;
        }
        static const uint64_t rows[] = {256, 64, 64};
        for (int k = 0; k < 3; k++) {
            struct entry *part = &entry[n++];
            *part = x;
            snprintf(part->name, sizeof part->name, "%.*sattn_%c.weight", (int)(tail - x.name),
                     x.name, "qkv"[k]);
            part->ne[1] = rows[k];
            part->bytes = 4 * 256 * rows[k];
            part->data = x.data;
            x.data += part->bytes;
        }
    }
    write_entries(modelio_path("unfused.gguf"), &b, g, entry, n);
    struct pq_model *want = modelio_load(source), *got = modelio_load(modelio_path("unfused.gguf"));
    modelio_same(want, got);
    pq_model_free(want);
    pq_model_free(got);
    pq_arena_free(&a);
    pq_buf_free(&b);
}

/* ---- files that lie ---- */

#define SAME(from, to, words)             \
    {                                     \
        from, to, sizeof(from) - 1, words \
    }

static const struct {
    const char *from, *to;
    size_t n;
    const char *words;
} patches[] = {
    SAME("phi3.block_count", "phi3.block_counx", "phi3.block_count is missing"),
    SAME("phi3.embedding_length", "phi3.embedding_lengtx", "phi3.embedding_length is missing"),
    SAME("phi3.feed_forward_length", "phi3.feed_forward_lengtx", "feed_forward_length is missing"),
    SAME("phi3.attention.head_count\4", "phi3.attention.head_counx\4", "head_count is missing"),
    SAME("phi3.context_length", "phi3.context_lengtx", "phi3.context_length is missing"),
    SAME("phi3.attention.layer_norm_rms_epsilon", "phi3.attention.layer_norm_rms_epsilox",
         "layer_norm_rms_epsilon is missing"),
    SAME("general.architecture", "general.architecturx", "general.architecture is missing"),
    SAME("\4\0\0\0\0\0\0\0phi3", "\4\0\0\0\0\0\0\0phix", "architecture 'phix' is not supported"),
    SAME("block_count\4\0\0\0\2", "block_count\4\0\0\0\3", "blk.2.attn_norm.weight is missing"),
    SAME("block_count\4\0\0\0\2", "block_count\4\0\0\0\1", "layers.1."),
    SAME("block_count\4\0\0\0\2", "block_count\6\0\0\0\2", "block_count is not a whole number"),
    SAME("block_count\4\0\0\0\2\0\0\0", "block_count\4\0\0\0\2\0\0\1",
         "blk.2.attn_norm.weight is missing"),
    SAME("attention.head_count\4\0\0\0\4", "attention.head_count\4\0\0\0\0", "head_count 0"),
    SAME("attention.head_count\4\0\0\0\4", "attention.head_count\4\0\0\0\7", "not a multiple"),
    SAME("head_count_kv\4\0\0\0\2", "head_count_kv\4\0\0\0\0", "num_key_value_heads"),
    SAME("head_count_kv\4\0\0\0\2", "head_count_kv\4\0\0\0\4", "qkv_proj.weight has shape"),
    SAME("dimension_count\4\0\0\0\x30", "dimension_count\4\0\0\0\x31", "dimension_count is 49"),
    SAME("dimension_count\4\0\0\0\x30", "dimension_count\4\0\0\0\0", "dimension_count is 0"),
    SAME("dimension_count\4\0\0\0\x30", "dimension_count\4\0\0\0\x20", "must hold 16 float32"),
    SAME("freq_base\6", "freq_base\4", ""),
    SAME("rope_factors_long.weight", "rope_factors_lonx.weight", "rope_factors_long.weight"),
    SAME("rope_factors_short.weight\1\0\0\0\x18", "rope_factors_short.weight\1\0\0\0\x17",
         "must hold 24 float32"),
    SAME("blk.0.attn_norm.weight", "blk.0.attn_norx.weight", "blk.0.attn_norx.weight"),
    SAME("blk.1.attn_norm.weight", "blk.0.attn_norm.weight", "blk.0.attn_norm.weight"),
    SAME("blk.1.attn_norm.weight", "blk.9.attn_norm.weight", "blk.1.attn_norm.weight is missing"),
    SAME("blk.1.ffn_down.weight", "blk.x.ffn_down.weight", "blk.x.ffn_down.weight"),
    SAME("token_embd.weight", "token_embx.weight", "token_embd.weight is missing"),
    SAME("token_embd.weight\2\0\0\0\0\1\0\0\0\0\0\0\x08\2",
         "token_embd.weight\2\0\0\0\0\1\0\0\0\0\0\0\x07\2", "begins at byte"),
    SAME("phiq.eos_token_ids\x09\0\0\0\4", "phiq.eos_token_ids\x09\0\0\0\5", "phiq.eos_token_ids"),
    SAME("tokenizer.ggml.merges", "tokenizer.ggml.mergex", "merges"),
    SAME("attn_factor\6\0\0\0", "attn_factor\4\0\0\0", ""),
};

static void test_lies(void **state)
{
    (void)state;
    const char *file = modelio_write(modelio_fixture("phi4-mini"), "lies", "gguf", "q8_0", 0);
    struct pq_buf good;
    modelio_slurp(file, &good);
    for (size_t i = 0; i < PQ_LEN(patches); i++) {
        struct pq_buf b = {0};
        struct pq_err e = {0};
        struct pq_model *m = NULL;
        pq_buf_put(&b, good.data, good.len);
        modelio_patch(&b, patches[i].from, patches[i].n, patches[i].to);
        modelio_spill(modelio_path("lie.gguf"), &b);
        pq_buf_free(&b);
        int rc = pq_model_load(&m, modelio_path("lie.gguf"), &e);
        if (rc >= 0 && patches[i].words[0])
            fail_msg("%s: accepted, expected words \"%s\"", patches[i].to, patches[i].words);
        if (rc < 0)
            assert_words(e, patches[i].words);
        pq_model_free(m);
    }
    pq_buf_free(&good);
}

/* Cut anywhere it is refused; with any byte of the document changed it is read or refused. */
static void test_damage(void **state)
{
    (void)state;
    const char *file = modelio_write(modelio_fixture("phi2"), "damage", "gguf", "q8_0", 0);
    struct pq_buf b;
    modelio_slurp(file, &b);
    const size_t whole_size = b.len;
    for (size_t n = 0; n < whole_size; n += 1 + n / 5) {
        struct pq_buf cut = {.data = b.data, .len = n};
        struct pq_err e = {0};
        struct pq_model *m = NULL;
        modelio_spill(modelio_path("cut.gguf"), &cut);
        assert_true(pq_model_load(&m, modelio_path("cut.gguf"), &e) < 0);
        assert_true(e.msg[0]);
    }
    for (size_t at = 0; at < 20000 && at < whole_size; at += 41) {
        struct pq_err e = {0};
        struct pq_model *m = NULL;
        b.data[at] ^= 0x81;
        modelio_spill(modelio_path("flip.gguf"), &b);
        b.data[at] ^= 0x81;
        int rc = pq_model_load(&m, modelio_path("flip.gguf"), &e);
        assert_true(rc >= 0 || e.msg[0]);
        pq_model_free(m);
    }
    pq_buf_free(&b);
}

/* ---- importance matrices ---- */

struct im_array {
    const char *name;
    int n_dims;
    uint64_t ne[2];
    float value; /* of every element; columns count up from it */
};

static void write_imatrix(const char *path, const char *type, const struct im_array *x, size_t n)
{
    struct pq_buf b = {0};
    uint64_t at = 0;
    pq_gguf_put_header(&b, n, 3);
    pq_gguf_put_str(&b, "general.type", type, strlen(type));
    pq_gguf_put_u32(&b, "imatrix.chunk_count", 7);
    pq_gguf_put_array(&b, "imatrix.datasets", PQ_GGUF_STRING, 1);
    pq_gguf_put_item_str(&b, "book.txt", 8);
    for (size_t i = 0; i < n; i++) {
        pq_gguf_put_info(&b, x[i].name, x[i].n_dims, x[i].ne, 0, at);
        at += pq_round_up(4 * x[i].ne[0] * x[i].ne[1], 32);
    }
    pq_gguf_pad(&b, 32);
    for (size_t i = 0; i < n; i++) {
        for (uint64_t k = 0; k < x[i].ne[0] * x[i].ne[1]; k++)
            pq_buf_le32(&b, pq_f32_bits(x[i].value + (float)k));
        pq_gguf_pad(&b, 32);
    }
    modelio_spill(path, &b);
    pq_buf_free(&b);
}

static int load_imatrix(struct pq_imatrix *im, struct pq_arena *a, const struct pq_network *net,
                        struct pq_err *e)
{
    *e = (struct pq_err){0};
    return pq_imatrix_load(im, a, modelio_path("im.gguf"), net, e);
}

static void test_imatrix(void **state)
{
    static const struct im_array good[] = {
        {"blk.0.attn_qkv.weight.in_sum2", 2, {256, 1}, 8},
        {"blk.0.attn_qkv.weight.counts", 2, {1, 1}, 4},
        {"blk.1.ffn_down.weight.in_sum2", 1, {256, 1}, 3},
        {"blk.1.ffn_down.weight.counts", 1, {1, 1}, 1},
        {"blk.0.ffn_up.weight.in_sum2", 1, {256, 1}, 0},
        {"blk.0.ffn_up.weight.counts", 1, {1, 1}, 0},     /* never seen */
        {"blk.77.ffn_up.weight.in_sum2", 1, {256, 1}, 0}, /* another network's */
    };
    struct pq_model *m = modelio_load(modelio_fixture("phi3-mini-4k"));
    struct pq_arena a = {0};
    struct pq_imatrix im;
    struct pq_err e;
    (void)state;
    write_imatrix(modelio_path("im.gguf"), "imatrix", good, PQ_LEN(good));
    if (load_imatrix(&im, &a, &m->net, &e) < 0)
        fail_msg("%s", e.msg);
    assert_int_equal(im.n_entries, 4);
    assert_int_equal(im.n_chunks, 7);
    assert_string_equal(im.dataset, "book.txt");
    for (size_t i = 0; i < m->net.n_tensors; i++) {
        const struct pq_tensor *t = &m->net.tensor[i];
        bool qkv = t->role == PQ_ROLE_ATTN_QKV && t->layer == 0;
        bool down = t->role == PQ_ROLE_FFN_DOWN && t->layer == 1;
        assert_int_equal(im.importance[i] != NULL, qkv || down);
        if (qkv)
            assert_true(im.importance[i][0] == 2.0f && im.importance[i][255] == 263.0f / 4);
        if (down)
            assert_true(im.importance[i][1] == 4.0f);
    }

    static const struct {
        const char *type;
        struct im_array x[2];
        size_t n;
        const char *words;
    } bad[] = {
        {"model",
         {{"blk.0.attn_qkv.weight.in_sum2", 1, {256, 1}, 1}},
         1,
         "not an importance matrix"},
        {"imatrix", {{"blk.0.attn_qkv.weight.in_sum2", 1, {256, 1}, 1}}, 1, "counts is missing"},
        {"imatrix",
         {{"blk.0.attn_qkv.weight.in_sum2", 1, {255, 1}, 1},
          {"blk.0.attn_qkv.weight.counts", 1, {1, 1}, 1}},
         2,
         "expected 256 float32"},
        {"imatrix",
         {{"blk.0.attn_qkv.weight.in_sum2", 1, {256, 1}, -1},
          {"blk.0.attn_qkv.weight.counts", 1, {1, 1}, 1}},
         2,
         "column 0"},
        {"imatrix",
         {{"blk.0.attn_qkv.weight.in_sum2", 1, {256, 1}, 1},
          {"blk.0.attn_qkv.weight.counts", 1, {2, 1}, 1}},
         2,
         "not one float32"},
        {"imatrix", {{"blk.9.attn_qkv.weight.in_sum2", 1, {256, 1}, 1}}, 1, "no entry for any"},
    };
    for (size_t i = 0; i < PQ_LEN(bad); i++) {
        write_imatrix(modelio_path("im.gguf"), bad[i].type, bad[i].x, bad[i].n);
        assert_int_equal(load_imatrix(&im, &a, &m->net, &e), PQ_EFORMAT);
        assert_words(e, bad[i].words);
    }
    pq_arena_free(&a);
    pq_model_free(m);
}

/* Our own requests for memory fail one after the other; nothing leaks (the sanitizer looks). */
static void test_without_memory(void **state)
{
    (void)state;
    const char *path = modelio_write(modelio_fixture("phi3-medium"), "mem", "gguf", "q4_0", 0);
    int rc = PQ_ENOMEM;
    for (unsigned long n = 1; rc < 0; n++) {
        struct pq_model *m = NULL;
        struct pq_err e = {0};
        pq_mem_fail_after(n, false);
        rc = pq_model_load(&m, path, &e);
        pq_mem_fail_after(0, false);
        assert_true(rc >= 0 || e.msg[0]);
        pq_model_free(m);
        assert_true(n < 100000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),     cmocka_unit_test(test_split_set),
        cmocka_unit_test(test_folders),        cmocka_unit_test(test_fused_qkv),
        cmocka_unit_test(test_unfused_qkv),    cmocka_unit_test(test_lies),
        cmocka_unit_test(test_damage),         cmocka_unit_test(test_imatrix),
        cmocka_unit_test(test_without_memory),
    };
    return cmocka_run_group_tests(tests, modelio_setup, modelio_teardown);
}
