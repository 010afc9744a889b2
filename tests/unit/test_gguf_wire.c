/* wire/: GGUF headers, sound and damaged. SPDX-License-Identifier: MIT */
#include "malformed.h"

#include "base/num.h"
#include "wire/gguf_wire.h"

#include <stdio.h>

static int parse(const uint8_t *data, size_t n, struct pq_err *e)
{
    struct pq_arena a = {0};
    struct pq_gguf *g;
    int rc = pq_gguf_parse(&g, &a, data, n, "m.gguf", e);
    pq_arena_free(&a);
    return rc;
}

static void put_str(struct pq_buf *b, const char *s)
{
    pq_gguf_put_item_str(b, s, strlen(s));
}

/* A pair whose value bytes follow. */
static void put_pair(struct pq_buf *b, const char *key, uint32_t type)
{
    put_str(b, key);
    pq_buf_le32(b, type);
}

static struct pq_buf sample(void)
{
    struct pq_buf b = {0};
    pq_gguf_put_header(&b, 2, 12);
    pq_gguf_put_str(&b, "general.architecture", "phi3", 4);
    pq_gguf_put_u32(&b, "general.alignment", 16);
    pq_gguf_put_u64(&b, "u64", 1ull << 40);
    pq_gguf_put_u16(&b, "u16", 65535);
    pq_gguf_put_i32(&b, "i32", 5);
    pq_gguf_put_i32(&b, "minus", -5);
    pq_gguf_put_f32(&b, "f32", 0.25f);
    pq_gguf_put_bool(&b, "yes", true);
    pq_gguf_put_array(&b, "tokens", PQ_GGUF_STRING, 2);
    put_str(&b, "ab");
    put_str(&b, "");
    pq_gguf_put_array(&b, "scores", PQ_GGUF_F32, 2);
    pq_buf_le32(&b, pq_f32_bits(1));
    pq_buf_le32(&b, pq_f32_bits(2));
    put_pair(&b, "f64", PQ_GGUF_F64);
    pq_buf_le64(&b, 0x3fe0000000000000u); /* 0.5 */
    put_pair(&b, "i8", PQ_GGUF_I8);
    pq_buf_u8(&b, 0xff);
    pq_gguf_put_info(&b, "a", 2, (const uint64_t[]){4, 2}, 0, 0);
    pq_gguf_put_info(&b, "b", 1, (const uint64_t[]){2}, 1, 32);
    pq_gguf_pad(&b, 16);
    pq_buf_zero(&b, 36);
    return b;
}

static void round_trip(void **state)
{
    (void)state;
    struct pq_arena a = {0};
    struct pq_err e = {0};
    struct pq_gguf *g;
    struct pq_gguf_str s;
    uint64_t u = 0;
    double d = 0;
    bool yes = false;
    struct pq_buf b = sample();
    assert_int_equal(pq_gguf_parse(&g, &a, b.data, b.len, "m.gguf", &e), PQ_OK);
    assert_int_equal(g->version, 3);
    assert_int_equal(g->alignment, 16);
    assert_int_equal(g->data_at % 16, 0);
    assert_int_equal(g->data_at, b.len - 36);
    assert_true(pq_gguf_get_str(g, "general.architecture", &s));
    assert_int_equal(s.len, 4);
    assert_memory_equal(s.s, "phi3", 4);
    assert_true(pq_gguf_get_u64(g, "u64", &u) && u == 1ull << 40);
    assert_true(pq_gguf_get_u64(g, "u16", &u) && u == 65535);
    assert_true(pq_gguf_get_u64(g, "i32", &u) && u == 5);
    assert_false(pq_gguf_get_u64(g, "minus", &u));
    assert_false(pq_gguf_get_u64(g, "i8", &u));
    assert_false(pq_gguf_get_u64(g, "f32", &u));
    assert_false(pq_gguf_get_u64(g, "absent", &u));
    assert_true(pq_gguf_get_f64(g, "f32", &d) && d == 0.25);
    assert_true(pq_gguf_get_f64(g, "f64", &d) && d == 0.5);
    assert_true(pq_gguf_get_f64(g, "minus", &d) && d == -5);
    assert_true(pq_gguf_get_f64(g, "i8", &d) && d == -1);
    assert_false(pq_gguf_get_f64(g, "yes", &d));
    assert_true(pq_gguf_get_bool(g, "yes", &yes) && yes);
    assert_false(pq_gguf_get_bool(g, "u16", &yes));
    assert_false(pq_gguf_get_str(g, "tokens", &s));
    const struct pq_gguf_kv *kv = pq_gguf_find(g, "tokens");
    assert_int_equal(kv->count, 2);
    assert_int_equal(kv->item, PQ_GGUF_STRING);
    assert_memory_equal(kv->str[0].s, "ab", 2);
    assert_int_equal(kv->str[1].len, 0);
    kv = pq_gguf_find(g, "scores");
    assert_int_equal(kv->item, PQ_GGUF_F32);
    assert_true(pq_bits_f32(pq_le32(kv->data + 4)) == 2);
    assert_int_equal(g->n_tensors, 2);
    assert_int_equal(g->tensor[0].ne[0], 4);
    assert_int_equal(g->tensor[0].ne[1], 2);
    assert_int_equal(g->tensor[0].ne[3], 1);
    assert_int_equal(g->tensor[1].at, g->data_at + 32);
    pq_arena_free(&a);
    any_byte_may_change(parse, &b);
    memory_may_run_out(parse, &b);
    b.len -= 36; /* the data is the checkpoint's business; the last offset is this reader's */
    refused(parse, &b, "tensor b is at offset 32, the file has 0 bytes of data");
    b.len += 32;
    cut_anywhere_fails(parse, &b);
    pq_buf_free(&b);
}

/* Each writes one damaged file. */
static void head(struct pq_buf *b, uint64_t tensors, uint64_t pairs)
{
    pq_gguf_put_header(b, tensors, pairs);
}

static void bad_magic(struct pq_buf *b)
{
    pq_buf_puts(b, "GGML");
    pq_buf_zero(b, 20);
}

static void version(struct pq_buf *b, uint32_t v)
{
    head(b, 0, 0);
    pq_put_le32(b->data + 4, v);
}

static void version_0(struct pq_buf *b)
{
    version(b, 0);
}

static void version_1(struct pq_buf *b)
{
    version(b, 1);
}

static void version_4(struct pq_buf *b)
{
    version(b, 4);
}

static void big_endian(struct pq_buf *b)
{
    version(b, 3u << 24);
}

static void many_tensors(struct pq_buf *b)
{
    head(b, UINT64_MAX, 0);
}

static void many_pairs(struct pq_buf *b)
{
    head(b, 0, UINT64_MAX / 13);
}

static void more_pairs_than_fit(struct pq_buf *b)
{
    head(b, 0, 2);
    pq_buf_zero(b, 25);
}

static void long_key(struct pq_buf *b)
{
    head(b, 0, 1);
    pq_buf_le64(b, UINT64_MAX);
    pq_buf_zero(b, 8);
}

static void empty_key(struct pq_buf *b)
{
    head(b, 0, 1);
    put_pair(b, "", PQ_GGUF_U8);
    pq_buf_u8(b, 0);
}

static void nul_key(struct pq_buf *b)
{
    head(b, 0, 1);
    pq_gguf_put_item_str(b, "a\0b", 3);
    pq_buf_zero(b, 8);
}

static void unknown_type(struct pq_buf *b)
{
    head(b, 0, 1);
    put_pair(b, "k", 13);
    pq_buf_zero(b, 8);
}

static void unknown_item(struct pq_buf *b)
{
    head(b, 0, 1);
    pq_gguf_put_array(b, "k", (enum pq_gguf_type)99, 0);
}

static void nested_array(struct pq_buf *b)
{
    head(b, 0, 1);
    pq_gguf_put_array(b, "k", PQ_GGUF_ARRAY, 1);
}

static void huge_array(struct pq_buf *b)
{
    head(b, 0, 1);
    pq_gguf_put_array(b, "k", PQ_GGUF_F64, UINT64_MAX / 8 + 1); /* times 8 is 0 */
}

static void huge_strings(struct pq_buf *b)
{
    head(b, 0, 1);
    pq_gguf_put_array(b, "k", PQ_GGUF_STRING, 1ull << 60);
    pq_buf_zero(b, 64);
}

static void long_string(struct pq_buf *b)
{
    head(b, 0, 1);
    put_pair(b, "k", PQ_GGUF_STRING);
    pq_buf_le64(b, 9);
    pq_buf_zero(b, 8);
}

static void twin_keys(struct pq_buf *b)
{
    head(b, 0, 3);
    pq_gguf_put_u32(b, "k", 1);
    pq_gguf_put_u32(b, "j", 1);
    pq_gguf_put_bool(b, "k", 1);
}

static void alignment(struct pq_buf *b, uint32_t v)
{
    head(b, 0, 1);
    pq_gguf_put_u32(b, "general.alignment", v);
}

static void alignment_0(struct pq_buf *b)
{
    alignment(b, 0);
}

static void alignment_24(struct pq_buf *b)
{
    alignment(b, 24);
}

static void alignment_u64(struct pq_buf *b)
{
    head(b, 0, 1);
    pq_gguf_put_u64(b, "general.alignment", 32);
}

static const uint64_t one[] = {1, 0};

static void infos(struct pq_buf *b, const char *second, uint64_t offset)
{
    head(b, 2, 0);
    pq_gguf_put_info(b, "a", 1, one, 0, 0);
    pq_gguf_put_info(b, second, 1, one, 0, offset);
    pq_gguf_pad(b, 32);
    pq_buf_zero(b, 64);
}

static void twin_tensors(struct pq_buf *b)
{
    infos(b, "a", 32);
}

static void odd_offset(struct pq_buf *b)
{
    infos(b, "b", 33);
}

static void far_offset(struct pq_buf *b)
{
    infos(b, "b", UINT64_MAX - 31);
}

static void no_padding(struct pq_buf *b)
{
    infos(b, "b", 0);
    b->len -= 65;
}

static void five_dims(struct pq_buf *b)
{
    head(b, 1, 0);
    put_str(b, "w");
    pq_buf_le32(b, 5);
    pq_buf_zero(b, 64);
}

static void zero_dim(struct pq_buf *b)
{
    head(b, 1, 0);
    pq_gguf_put_info(b, "w", 2, one, 0, 0);
}

static void refusals(void **state)
{
    (void)state;
    static const struct {
        void (*make)(struct pq_buf *b);
        const char *words;
    } rows[] = {
        {bad_magic, "m.gguf: does not begin with \"GGUF\""},
        {version_0, "m.gguf: GGUF version 0, versions 2 and 3 are read"},
        {version_1, "GGUF version 1, versions 2 and 3"},
        {version_4, "GGUF version 4, versions 2 and 3"},
        {big_endian, "a big-endian GGUF file"},
        {many_tensors, "the header says 18446744073709551615 tensors, more than the 8 bytes"},
        {many_pairs, "key-value pairs, more than the 0 bytes left"},
        {more_pairs_than_fit, "the header says 2 key-value pairs, more than the 25 bytes"},
        {long_key, "the file ends inside a key at byte 32"},
        {empty_key, "a key is empty"},
        {nul_key, "a key holds a NUL byte"},
        {unknown_type, "key k has unknown value type 13"},
        {unknown_item, "key k has unknown value type 99"},
        {nested_array, "key k is an array of arrays"},
        {huge_array, "key k says 2305843009213693952 values of type f64, only 0 bytes are left"},
        {huge_strings, "key k says 1152921504606846976 values of type string, only 64 bytes"},
        {long_string, "the file ends inside k at byte"},
        {twin_keys, "m.gguf: k occurs twice"},
        {alignment_0, "general.alignment is 0, expected a power of two"},
        {alignment_24, "general.alignment is 24, expected a power of two"},
        {alignment_u64, "general.alignment has type u64, expected u32"},
        {twin_tensors, "m.gguf: a occurs twice"},
        {odd_offset, "tensor b is at offset 33, which is no multiple of the alignment 32"},
        {far_offset, "tensor b is at offset 18446744073709551584, the file has 64 bytes of data"},
        {no_padding, "the file ends inside the padding before its data"},
        {five_dims, "tensor w has 5 dimensions, GGUF allows 4"},
        {zero_dim, "tensor w: dimension 1 is 0"},
    };
    for (size_t i = 0; i < PQ_LEN(rows); i++) {
        struct pq_buf b = {0};
        rows[i].make(&b);
        refused(parse, &b, rows[i].words);
        pq_buf_free(&b);
    }
}

static void version_2_and_no_tensors(void **state)
{
    (void)state;
    struct pq_err e;
    struct pq_buf b = {0};
    version(&b, 2);
    assert_int_equal(parse_copy(parse, b.data, b.len, &e), PQ_OK);
    pq_buf_free(&b);
}

/* A hundred thousand keys in an order that would make a pairwise comparison take minutes. */
static void many_keys_are_quick(void **state)
{
    (void)state;
    char key[16];
    struct pq_err e;
    struct pq_buf b = {0};
    head(&b, 0, 100000);
    for (int i = 0; i < 100000; i++) {
        snprintf(key, sizeof key, "k%d", i);
        pq_gguf_put_bool(&b, key, true);
    }
    assert_int_equal(parse_copy(parse, b.data, b.len, &e), PQ_OK);
    pq_buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(refusals),
        cmocka_unit_test(version_2_and_no_tensors),
        cmocka_unit_test(many_keys_are_quick),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
