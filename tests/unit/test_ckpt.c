/* ckpt/: checkpoints of every kind, whole and in pieces that do not fit together.
 * SPDX-License-Identifier: MIT */
#include "malformed.h"

#include "base/num.h"
#include "ckpt/ckpt.h"
#include "wire/safetensors.h"

#include <stdio.h>

#define TMP "test_ckpt.tmp"
#define FIXTURES PQ_TEST_DATA "/fixtures"
#define TORCH PQ_TEST_DATA "/torch"

/* Files under TMP, which each test finds empty. */

static int fresh(void **state)
{
    (void)state;
    assert_int_equal(pq_tree_remove(TMP, NULL), PQ_OK);
    return pq_dir_make(TMP, NULL);
}

static int clean(void **state)
{
    (void)state;
    return pq_tree_remove(TMP, NULL);
}

static const char *in_tmp(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, TMP "/%s", name);
    return path;
}

static void put_file(const char *name, const void *data, size_t n)
{
    assert_int_equal(pq_file_write(in_tmp(name), data, n, NULL), PQ_OK);
}

static void put_buf(const char *name, struct pq_buf *b)
{
    assert_false(b->failed);
    put_file(name, b->data, b->len);
    pq_buf_free(b);
}

static void put_text(const char *name, const char *s)
{
    put_file(name, s, strlen(s));
}

/* A file with one tensor of two float32. */
static void put_st(const char *name, const char *tensor)
{
    struct pq_buf b = {0};
    struct pq_st_writer w;
    pq_st_begin(&w, &b, "pt");
    pq_st_put(&w, tensor, PQ_F32, 1, (const uint64_t[]){2}, 0, 8);
    pq_st_end(&w, 8);
    pq_buf_zero(&b, 8);
    put_buf(name, &b);
}

static void open_fails(const char *path, int status, const char *words)
{
    struct pq_ckpt *c;
    struct pq_err e = {0};
    int rc = pq_ckpt_open(&c, path, &e);
    if (rc != status)
        fail_msg("%s: status %d (%s), expected %d \"%s\"", path, rc, e.msg, status, words);
    assert_null(c);
    assert_words(e, words);
}

static struct pq_ckpt *open_well(const char *path, const char *kind, size_t n_tensors)
{
    struct pq_ckpt *c;
    struct pq_err e = {0};
    if (pq_ckpt_open(&c, path, &e) < 0)
        fail_msg("%s", e.msg);
    assert_string_equal(c->kind, kind);
    assert_int_equal(c->n_tensors, n_tensors);
    uint64_t sum = 0;
    for (size_t i = 0; i < c->n_tensors; i++) {
        const struct pq_stored *t = &c->tensor[i];
        assert_ptr_equal(pq_ckpt_find(c, t->name), t);
        assert_non_null(t->scheme);
        for (uint64_t k = 0; k < t->bytes; k++) /* every byte can be read */
            sum += t->data[k];
    }
    assert_true(sum < UINT64_MAX);
    assert_null(pq_ckpt_find(c, "no such tensor"));
    return c;
}

static void opens(const char *path, const char *kind, size_t n_tensors)
{
    pq_ckpt_close(open_well(path, kind, n_tensors));
}

static void memory_out(const char *path)
{
    int rc = PQ_ENOMEM;
    for (unsigned long n = 1; rc < 0; n++) {
        struct pq_ckpt *c;
        struct pq_err e = {0};
        pq_mem_fail_after(n, false);
        rc = pq_ckpt_open(&c, path, &e);
        pq_mem_fail_after(0, false);
        if (rc < 0 && rc != PQ_ENOMEM)
            fail_msg("request %lu refused, status %d: %s", n, rc, e.msg);
        pq_ckpt_close(c);
    }
}

static void nothing_there(void **state)
{
    (void)state;
    open_fails(TMP "/none", PQ_EIO, TMP "/none: no such file or folder");
    open_fails(TMP, PQ_EFORMAT, TMP ": holds no model.safetensors, pytorch_model.bin or .gguf");
    put_text("x.bin", "");
    open_fails(TMP "/x.bin", PQ_EFORMAT, "x.bin: is neither a safetensors, a PyTorch");
    put_text("x.gguf", "");
    open_fails(TMP "/x.gguf", PQ_EFORMAT, "x.gguf: the file ends inside its first 8 bytes");
    put_text("x.safetensors", "");
    open_fails(TMP "/x.safetensors", PQ_EFORMAT, "0 bytes, too short for a safetensors file");
    put_file("x.safetensors", "\2\0\0\0\0\0\0\0{}", 10);
    open_fails(TMP "/x.safetensors", PQ_EFORMAT, "x.safetensors: holds no tensors");
    open_fails("/dev/null", PQ_EIO, "/dev/null: not a regular file");
    pq_ckpt_close(NULL);
}

/* safetensors */

static void fixtures(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        size_t n;
    } rows[] = {
        {FIXTURES "/phi2", 33},
        {FIXTURES "/phi3-medium", 15},
        {FIXTURES "/phi3-mini-4k", 15},
        {FIXTURES "/phi3-mini-128k-sharded", 15},
        {FIXTURES "/phi4", 15},
        {FIXTURES "/phi4-mini", 14},
        {FIXTURES "/phimoe", 55},
        {FIXTURES "/phi2/model.safetensors", 33},
        {FIXTURES "/phi3-mini-128k-sharded/model-00002-of-00003.safetensors", 6},
    };
    for (size_t i = 0; i < PQ_LEN(rows); i++)
        opens(rows[i].path, "safetensors", rows[i].n);
    memory_out(FIXTURES "/phi3-mini-128k-sharded");
    struct pq_ckpt *c = open_well(FIXTURES "/phi3-mini-128k-sharded", "safetensors", 15);
    const struct pq_stored *t = pq_ckpt_find(c, "lm_head.weight");
    assert_non_null(t);
    assert_string_equal(t->file, "model-00003-of-00003.safetensors");
    assert_string_equal(t->scheme->name, "bf16");
    assert_int_equal(t->n_dims, 2);
    assert_int_equal(t->dim[0], 496);
    assert_int_equal(t->dim[1], 256);
    assert_int_equal(t->bytes, 496 * 256 * 2);
    assert_int_equal(c->file_bytes, 778592 + 919200 + 649328);
    assert_null(c->gguf);
    pq_ckpt_close(c);
}

/* Every element type there is can be stored and found again. */
static void dtypes(void **state)
{
    (void)state;
    for (int d = 0; d < PQ_DTYPES; d++) {
        struct pq_buf b = {0};
        struct pq_st_writer w;
        uint64_t bytes = 6 * pq_dtype_size((enum pq_dtype)d);
        pq_st_begin(&w, &b, NULL);
        pq_st_put(&w, "w", (enum pq_dtype)d, 2, (const uint64_t[]){2, 3}, 0, bytes);
        pq_st_end(&w, 8);
        pq_buf_zero(&b, bytes);
        put_buf("model.safetensors", &b);
        struct pq_ckpt *c = open_well(TMP, "safetensors", 1);
        assert_int_equal(c->tensor[0].scheme->dtype, d);
        assert_int_equal(c->tensor[0].bytes, bytes);
        pq_ckpt_close(c);
    }
}

#define A "model-00001-of-00002.safetensors"
#define B "model-00002-of-00002.safetensors"

static void put_index(const char *map)
{
    char text[1024];
    snprintf(text, sizeof text, "{\"metadata\": {\"total_size\": 16}, \"weight_map\": %s}", map);
    put_text("model.safetensors.index.json", text);
}

static void shards(void **state)
{
    (void)state;
    static const struct {
        const char *map;
        int status;
        const char *words;
    } rows[] = {
        {"{\"a\": \"" A "\"}", PQ_OK, NULL}, /* B is not named, so not opened */
        {"{\"a\": \"" A "\", \"b\": \"" B "\"}", PQ_OK, NULL},
        {"{\"a\": \"" A "\", \"b\": \"c.safetensors\"}", PQ_EIO,
         TMP "/c.safetensors: missing, although model.safetensors.index.json names it"},
        {"{\"a\": \"" A "\", \"b\": \"" B "\", \"c\": \"" B "\"}", PQ_EFORMAT,
         "tensor c is not in " B ", where the index says it is"},
        {"{\"a\": \"" A "\", \"c\": \"" B "\"}", PQ_EFORMAT,
         "tensor b is in " B ", the index does not list it"},
        {"{\"a\": \"" B "\", \"b\": \"" A "\"}", PQ_EFORMAT,
         "tensor a is in " A ", the index says " B},
        {"{\"a\": \"../" A "\"}", PQ_EFORMAT, "a is in \"../" A "\", expected a plain file name"},
        {"{\"a\": \"..\"}", PQ_EFORMAT, "expected a plain file name"},
        {"{\"a\": 3}", PQ_EFORMAT, "weight_map: a does not name a file"},
        {"{\"a\": \"\"}", PQ_EFORMAT, "weight_map: a does not name a file"},
        {"{}", PQ_EFORMAT, "model.safetensors.index.json: no weight_map"},
        {"[]", PQ_EFORMAT, "model.safetensors.index.json: no weight_map"},
        {"{\"a\": \"x\", \"a\": \"y\"}", PQ_EFORMAT, "index.json:1:"},
    };
    put_st(A, "a");
    put_st(B, "b");
    for (size_t i = 0; i < PQ_LEN(rows); i++) {
        put_index(rows[i].map);
        if (rows[i].status)
            open_fails(TMP, rows[i].status, rows[i].words);
        else
            opens(TMP, "safetensors", i + 1);
    }
    put_text("model.safetensors.index.json", "[]");
    open_fails(TMP, PQ_EFORMAT, "model.safetensors.index.json: no weight_map");
    put_st(B, "a");
    put_index(rows[1].map);
    open_fails(TMP, PQ_EFORMAT, "tensor a is there twice: in " A " and in " B);
    put_text(B, "short");
    open_fails(TMP, PQ_EFORMAT, B ": 5 bytes, too short");
}

/* mlx-lm writes an index even for one file, and reads model*.safetensors without one. */
static void mlx_folder(void **state)
{
    (void)state;
    put_st("model.safetensors", "a");
    put_st("reference.safetensors", "a"); /* not part of the model */
    opens(TMP, "safetensors", 1);
    put_index("{\"a\": \"model.safetensors\"}");
    opens(TMP, "safetensors", 1);
    fresh(NULL);
    put_st(A, "a");
    put_st(B, "b");
    put_st("adapters.safetensors", "a");
    opens(TMP, "safetensors", 2);
    put_st(B, "a");
    open_fails(TMP, PQ_EFORMAT, "tensor a is there twice");
}

/* torch */

static void torch_files(void **state)
{
    (void)state;
    static const struct {
        const char *name, *scheme;
        int n_dims;
        uint64_t bytes;
        uint8_t first[2]; /* low bytes of elements 0 and 1, which are 0 and 1 */
    } want[] = {
        {"float64", "f64", 1, 16, {0}},   {"int64", "i64", 1, 16, {0, 1}},
        {"int32", "i32", 1, 8, {0, 1}},   {"int16", "i16", 1, 4, {0, 1}},
        {"int8", "i8", 1, 2, {0, 1}},     {"uint8", "u8", 1, 2, {0, 1}},
        {"bool", "bool", 1, 2, {0, 1}},   {"bfloat16", "bf16", 1, 4, {0, 0x80}},
        {"scalar", "f32", 0, 4, {0}},     {"empty", "f32", 2, 0, {0}},
        {"parameter", "f32", 2, 16, {0}},
    };
    static const char *const paths[] = {TORCH "/single", TORCH "/single/pytorch_model.bin",
                                        TORCH "/protocol4.bin"};
    for (size_t k = 0; k < PQ_LEN(paths); k++) {
        struct pq_ckpt *c = open_well(paths[k], "torch", 16);
        for (size_t i = 0; i < PQ_LEN(want); i++) {
            const struct pq_stored *t = pq_ckpt_find(c, want[i].name);
            assert_non_null(t);
            assert_string_equal(t->scheme->name, want[i].scheme);
            assert_int_equal(t->n_dims, want[i].n_dims);
            assert_int_equal(t->bytes, want[i].bytes);
            for (size_t j = 0; j < 2 && t->dim[0] == 2 && t->n_dims == 1; j++)
                assert_int_equal(t->data[j * t->bytes / 2], want[i].first[j]);
        }
        const struct pq_stored *view = pq_ckpt_find(c, "view"), *tied = pq_ckpt_find(c, "tied");
        assert_true(pq_bits_f32(pq_le32(view->data)) == 2); /* starts inside its storage */
        assert_true(pq_bits_f32(pq_le32(view->data + 12)) == 5);
        assert_ptr_equal(view->data, tied->data);
        const struct pq_stored *w = pq_ckpt_find(c, "weight");
        assert_int_equal(w->dim[0], 4);
        assert_int_equal(w->dim[1], 3);
        assert_true(pq_f16_to_f32(pq_le16(w->data + 22)) == 11);
        pq_ckpt_close(c);
    }
    memory_out(TORCH "/single");
}

static void torch_shards(void **state)
{
    (void)state;
    struct pq_ckpt *c = open_well(TORCH "/sharded", "torch", 2);
    assert_string_equal(pq_ckpt_find(c, "b")->file, "pytorch_model-00002-of-00002.bin");
    pq_ckpt_close(c);
    put_text("pytorch_model.bin.index.json", "{\"weight_map\": {\"a\": \"p.bin\"}}");
    open_fails(TMP, PQ_EIO, "p.bin: missing, although pytorch_model.bin.index.json names it");
}

static void torch_refusals(void **state)
{
    (void)state;
    open_fails(TORCH "/legacy.bin", PQ_EUNSUPPORTED,
               "legacy.bin: written in the way of torch before");
    open_fails(TORCH "/strided.bin", PQ_EUNSUPPORTED, "strided.bin: tensor w is not contiguous");
    open_fails(TORCH "/training.bin", PQ_EUNSUPPORTED, "training.bin: model is a dict, expected");
}

/* Archives by hand. */
struct zip {
    struct pq_buf b, dir;
    unsigned n;
};

static void zip_add(struct zip *z, const char *name, const void *data, size_t n)
{
    size_t head = z->b.len, k = strlen(name);
    pq_buf_le32(&z->b, 0x04034b50);
    pq_buf_zero(&z->b, 14);
    pq_buf_le32(&z->b, (uint32_t)n);
    pq_buf_le32(&z->b, (uint32_t)n);
    pq_buf_le32(&z->b, (uint32_t)k);
    pq_buf_puts(&z->b, name);
    pq_buf_put(&z->b, data, n);
    pq_buf_le32(&z->dir, 0x02014b50);
    pq_buf_zero(&z->dir, 16);
    pq_buf_le32(&z->dir, (uint32_t)n);
    pq_buf_le32(&z->dir, (uint32_t)n);
    pq_buf_le32(&z->dir, (uint32_t)k);
    pq_buf_zero(&z->dir, 10);
    pq_buf_le32(&z->dir, (uint32_t)head);
    pq_buf_puts(&z->dir, name);
    z->n++;
}

static void zip_write(struct zip *z, const char *file)
{
    size_t at = z->b.len;
    pq_buf_put(&z->b, z->dir.data, z->dir.len);
    pq_buf_le32(&z->b, 0x06054b50);
    pq_buf_zero(&z->b, 4);
    pq_buf_le16(&z->b, (uint16_t)z->n);
    pq_buf_le16(&z->b, (uint16_t)z->n);
    pq_buf_le32(&z->b, (uint32_t)z->dir.len);
    pq_buf_le32(&z->b, (uint32_t)at);
    pq_buf_le16(&z->b, 0);
    put_buf(file, &z->b);
    pq_buf_free(&z->dir);
    *z = (struct zip){0};
}

/* {"w": two floats of storage "0"} */
static const char pickle[] =
    "\x80\2}X\1\0\0\0wctorch._utils\n_rebuild_tensor_v2\n((X\7\0\0\0storagectorch\nFloatStorage\n"
    "X\1\0\0\0"
    "0X\3\0\0\0cpuK\2tQK\0K\2\x85K\1\x85\x89"
    "ccollections\nOrderedDict\n)RtRs.";

static void torch_archives(void **state)
{
    (void)state;
    static const struct {
        const char *order;
        size_t data; /* bytes of data/0, or none */
        const char *root, *words;
    } rows[] = {
        {"little", 8, "m", NULL},
        {NULL, 8, "archive", NULL},
        {"big", 8, "m", "m.bin: its byteorder is \"big\", expected \"little\""},
        {"little", 0, "m", "m.bin: tensor w: no entry data/0 in the archive"},
        {"little", 4, "m", "tensor w: entry data/0 has 4 bytes, the pickle says 8"},
        {"little", 9, "m", "tensor w: entry data/0 has 9 bytes, the pickle says 8"},
    };
    for (size_t i = 0; i < PQ_LEN(rows); i++) {
        char name[64];
        struct zip z = {0};
        snprintf(name, sizeof name, "%s/data.pkl", rows[i].root);
        zip_add(&z, name, pickle, sizeof pickle - 1);
        snprintf(name, sizeof name, "%s/byteorder", rows[i].root);
        if (rows[i].order)
            zip_add(&z, name, rows[i].order, strlen(rows[i].order));
        snprintf(name, sizeof name, "%s/data/0", rows[i].root);
        if (rows[i].data)
            zip_add(&z, name, "123456789", rows[i].data);
        zip_write(&z, "m.bin");
        if (rows[i].words)
            open_fails(TMP "/m.bin", i == 2 ? PQ_EUNSUPPORTED : PQ_EFORMAT, rows[i].words);
        else
            opens(TMP "/m.bin", "torch", 1);
    }
    struct zip z = {0};
    zip_add(&z, "m/readme", "hi", 2);
    zip_write(&z, "m.bin");
    open_fails(TMP "/m.bin", PQ_EFORMAT, "a zip archive without data.pkl");
    zip_add(&z, "m/data.pkl", pickle, sizeof pickle - 1);
    zip_add(&z, "n/data.pkl", pickle, sizeof pickle - 1);
    zip_write(&z, "m.bin");
    open_fails(TMP "/m.bin", PQ_EFORMAT, "holds two pickles, m/data.pkl and n/data.pkl");
    zip_add(&z, "m/data.pkl", "cos\nsystem\n.", 12);
    zip_write(&z, "m.bin");
    open_fails(TMP "/m.bin", PQ_EUNSUPPORTED, "m.bin: its pickle asks for os.system");
}

/* GGUF */

enum { F32 = 0, F16 = 1, Q4_0 = 2 }; /* ids of ggml */

/* One tensor named "w" and `n` bytes of data. */
static void put_gguf(uint32_t type, const uint64_t ne[2], size_t n)
{
    struct pq_buf b = {0};
    pq_gguf_put_header(&b, 1, 0);
    pq_gguf_put_info(&b, "w", 2, ne, type, 0);
    pq_gguf_pad(&b, 32);
    pq_buf_zero(&b, n);
    put_buf("m.gguf", &b);
}

static void gguf_types(void **state)
{
    (void)state;
    int seen = 0;
    for (uint32_t type = 0; type < 64; type++) {
        const struct pq_scheme *s = pq_scheme_of_ggml(type);
        if (!s)
            continue;
        seen++;
        uint64_t ne[2] = {256, 3}, bytes = 3 * pq_scheme_row_bytes(s, 256);
        put_gguf(type, ne, bytes);
        struct pq_ckpt *c = open_well(TMP "/m.gguf", "gguf", 1);
        assert_ptr_equal(c->tensor[0].scheme, s);
        assert_int_equal(c->tensor[0].bytes, bytes);
        assert_int_equal(c->tensor[0].n_dims, 2);
        assert_int_equal(c->tensor[0].dim[0], 3); /* turned round */
        assert_int_equal(c->tensor[0].dim[1], 256);
        assert_non_null(c->gguf);
        pq_ckpt_close(c);
        put_gguf(type, ne, bytes - 1);
        open_fails(TMP, PQ_EFORMAT, "m.gguf: tensor w needs");
    }
    assert_true(seen > 10);
    put_gguf(F16, (const uint64_t[]){4, 4}, 32);
    memory_out(TMP "/m.gguf");
}

static void gguf_refusals(void **state)
{
    (void)state;
    const uint64_t big = 1ull << 62;
    put_gguf(9999, (const uint64_t[]){32, 1}, 32);
    open_fails(TMP, PQ_EUNSUPPORTED, "m.gguf: tensor w has ggml type 9999, not known here");
    put_gguf(4, (const uint64_t[]){32, 1}, 32); /* Q4_2, gone from ggml */
    open_fails(TMP, PQ_EUNSUPPORTED, "m.gguf: tensor w has ggml type 4, not known here");
    put_gguf(Q4_0, (const uint64_t[]){33, 1}, 64);
    open_fails(TMP, PQ_EFORMAT, "tensor w: rows of 33 are no multiple of the 32 that");
    put_gguf(F32, (const uint64_t[]){big, big}, 64);
    open_fails(TMP, PQ_EFORMAT, "tensor w: its shape is absurdly large");
    put_gguf(F32, (const uint64_t[]){big, 1}, 64);
    open_fails(TMP, PQ_EFORMAT, "tensor w: its shape is absurdly large");
    put_gguf(F32, (const uint64_t[]){1 << 20, 1 << 20}, 64);
    open_fails(TMP, PQ_EFORMAT, "tensor w needs 4398046511104 bytes at byte 96");
}

/* Tensors "a" and "b" of eight float32 each; b's offset is given. */
static void put_two(uint64_t second)
{
    static const uint64_t ne[] = {8};
    struct pq_buf b = {0};
    pq_gguf_put_header(&b, 2, 0);
    pq_gguf_put_info(&b, "a", 1, ne, F32, 0);
    pq_gguf_put_info(&b, "b", 1, ne, F32, second);
    pq_gguf_pad(&b, 32);
    pq_buf_zero(&b, 96);
    put_buf("m.gguf", &b);
}

static void gguf_places(void **state)
{
    (void)state;
    put_two(32);
    opens(TMP, "gguf", 2);
    put_two(0);
    open_fails(TMP, PQ_EFORMAT, "tensor b begins at byte 96, expected 128 after the tensor before");
    put_two(64);
    open_fails(TMP, PQ_EFORMAT,
               "tensor b begins at byte 160, expected 128 after the tensor before");
}

/* Part `no` (from 0) of `count`, with one tensor unless it is named "". */
static void put_part(const char *file, unsigned no, unsigned count, const char *tensor)
{
    static const uint64_t ne[] = {8};
    struct pq_buf b = {0};
    pq_gguf_put_header(&b, *tensor ? 1 : 0, 3);
    pq_gguf_put_u16(&b, "split.no", (uint16_t)no);
    pq_gguf_put_u16(&b, "split.count", (uint16_t)count);
    pq_gguf_put_i32(&b, "split.tensors.count", 2);
    if (*tensor)
        pq_gguf_put_info(&b, tensor, 1, ne, F32, 0);
    pq_gguf_pad(&b, 32);
    pq_buf_zero(&b, 32);
    put_buf(file, &b);
}

#define P1 "m-00001-of-00003.gguf"
#define P2 "m-00002-of-00003.gguf"
#define P3 "m-00003-of-00003.gguf"

static void gguf_split(void **state)
{
    (void)state;
    put_part(P1, 0, 3, ""); /* gguf-split can leave the first part without tensors */
    put_part(P2, 1, 3, "a");
    put_part(P3, 2, 3, "b");
    opens(TMP "/" P1, "gguf", 2);
    struct pq_ckpt *c = open_well(TMP, "gguf", 2);
    assert_string_equal(pq_ckpt_find(c, "b")->file, P3);
    pq_ckpt_close(c);
    memory_out(TMP);
    open_fails(TMP "/" P2, PQ_EINVAL, P2 ": is part 2 of 3; open the first part");
    put_part(P3, 1, 3, "b");
    open_fails(TMP, PQ_EFORMAT, P3 ": says it is part 2 of 3, expected 3 of 3");
    put_part(P3, 2, 4, "b");
    open_fails(TMP, PQ_EFORMAT, P3 ": says it is part 3 of 4, expected 3 of 3");
    put_part(P3, 2, 3, "a");
    open_fails(TMP, PQ_EFORMAT, "tensor a is there twice: in " P2 " and in " P3);
    put_part(P3, 2, 3, "");
    open_fails(TMP, PQ_EFORMAT, P1 ": says 2 tensors in all parts, they hold 1");
    pq_tree_remove(in_tmp(P3), NULL);
    open_fails(TMP, PQ_EIO, P3 ": missing, although " P1 " is the first of 3");
    put_part("other.gguf", 0, 3, "a");
    open_fails(
        TMP "/other.gguf", PQ_EFORMAT,
        "other.gguf: is the first of 3 parts, so its name should end in -00001-of-00003.gguf");
    open_fails(TMP, PQ_EINVAL, "holds 2 GGUF models (" P1 ", ...); name one of them");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, fresh, clean)
    const struct CMUnitTest tests[] = {
        TEST(nothing_there),  TEST(fixtures),    TEST(dtypes),        TEST(shards),
        TEST(mlx_folder),     TEST(torch_files), TEST(torch_shards),  TEST(torch_refusals),
        TEST(torch_archives), TEST(gguf_types),  TEST(gguf_refusals), TEST(gguf_places),
        TEST(gguf_split),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
