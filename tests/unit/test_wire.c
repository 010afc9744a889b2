/* wire/: JSON, safetensors and protobuf, sound and damaged. SPDX-License-Identifier: MIT */
#include "malformed.h"

#include "base/fs.h"
#include "base/num.h"
#include "wire/json.h"
#include "wire/proto.h"
#include "wire/safetensors.h"

static int parse_json(const uint8_t *data, size_t n, struct pq_err *e)
{
    json_t *j;
    int rc = pq_json_parse(&j, (const char *)data, n, "x.json", e);
    json_decref(j);
    return rc;
}

static struct pq_buf text(const char *s)
{
    struct pq_buf b = {0};
    pq_buf_puts(&b, s);
    return b;
}

static void json_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *doc, *words;
    } rows[] = {
        {"", "x.json:1:0: bad JSON"},
        {"{\"a\": 1,\n \"a\": 2}", "x.json:2:4: bad JSON: duplicate object key"},
        {"{\"a\": NaN}", "bad JSON: invalid token"},
        {"{\"a\": 1e999}", "real number overflow"},
        {"{} {}", "end of file expected"},
        {"[\"\xff\"]", "unable to decode byte 0xff"},
        {"[\"\xc0\x80\"]", "unable to decode byte 0xc0"},
        {"[\"\\u0000\"]", "\\u0000 is not allowed"},
        {"[\"\\ud800\"]", "invalid Unicode"},
        {"{\"a\": 99999999999999999999999,\n ]", "x.json:2:2: bad JSON"},
    };
    for (size_t i = 0; i < PQ_LEN(rows); i++) {
        struct pq_buf b = text(rows[i].doc);
        refused(parse_json, &b, rows[i].words);
        pq_buf_free(&b);
    }
    struct pq_buf deep = {0};
    for (int i = 0; i < 100000; i++)
        pq_buf_u8(&deep, '[');
    refused(parse_json, &deep, "maximum parsing depth");
    pq_buf_free(&deep);
}

static void json_members(void **state)
{
    (void)state;
    static const char doc[] = "{\"n\": 7, \"neg\": -1, \"x\": 0.5, \"t\": true, \"s\": \"hi\","
                              " \"none\": null, \"big\": 1000000000000000019884624838656,"
                              " \"text\": \"\\\"12345678901234567890123\","
                              " \"frac\": 0.12345678901234567890123}";
    struct pq_err e = {0};
    json_t *j;
    uint64_t n = 1;
    double x = 2;
    bool t = false;
    const char *s = NULL;
    assert_int_equal(pq_json_parse(&j, doc, sizeof doc - 1, "c.json", &e), PQ_OK);
    assert_int_equal(pq_json_u64(j, "n", &n, "c.json", &e), PQ_OK);
    assert_int_equal(n, 7);
    assert_int_equal(pq_json_u64(j, "none", &n, "c.json", &e), PQ_OK);
    assert_int_equal(pq_json_u64(j, "absent", &n, "c.json", &e), PQ_OK);
    assert_int_equal(n, 7);
    assert_int_equal(pq_json_f64(j, "x", &x, "c.json", &e), PQ_OK);
    assert_true(x == 0.5);
    assert_int_equal(pq_json_f64(j, "n", &x, "c.json", &e), PQ_OK);
    assert_true(x == 7);
    assert_int_equal(pq_json_f64(j, "big", &x, "c.json", &e), PQ_OK);
    assert_true(x == 1000000000000000019884624838656.0);
    assert_int_equal(pq_json_f64(j, "frac", &x, "c.json", &e), PQ_OK);
    assert_true(x == 0.12345678901234567890123);
    assert_int_equal(pq_json_bool(j, "t", &t, "c.json", &e), PQ_OK);
    assert_true(t);
    assert_int_equal(pq_json_str(j, "text", &s, "c.json", &e), PQ_OK);
    assert_string_equal(s, "\"12345678901234567890123");
    static const struct {
        const char *key, *words;
    } ints[] = {{"s", "c.json: s is a string, expected an integer"},
                {"x", "c.json: x is a real, expected an integer"},
                {"big", "c.json: big is a real, expected an integer"},
                {"t", "c.json: t is true, expected an integer"},
                {"neg", "c.json: neg is -1, expected 0 or more"}};
    for (size_t i = 0; i < PQ_LEN(ints); i++) {
        e = (struct pq_err){0};
        assert_int_equal(pq_json_u64(j, ints[i].key, &n, "c.json", &e), PQ_EFORMAT);
        assert_words(e, ints[i].words);
    }
    e = (struct pq_err){0};
    assert_int_equal(pq_json_str(j, "n", &s, "c.json", &e), PQ_EFORMAT);
    assert_words(e, "n is an integer, expected a string");
    e = (struct pq_err){0};
    assert_int_equal(pq_json_bool(j, "n", &t, "c.json", &e), PQ_EFORMAT);
    assert_words(e, "n is an integer, expected true or false");
    e = (struct pq_err){0};
    assert_int_equal(pq_json_f64(j, "s", &x, "c.json", &e), PQ_EFORMAT);
    assert_words(e, "s is a string, expected a number");
    json_decref(j);
}

static int print_json(const uint8_t *data, size_t n, struct pq_err *e)
{
    json_t *j;
    struct pq_buf b = {0};
    int rc = pq_json_parse(&j, (const char *)data, n, "x.json", e);
    if (rc >= 0)
        rc = pq_json_print(&b, j, e);
    json_decref(j);
    pq_buf_free(&b);
    return rc;
}

static void json_printing(void **state)
{
    (void)state;
    static const char doc[] = "{\"z\":[1,1e-05,3.0,1e30,0.1,-0.0],\"a\":{\"\\u00e9\\\"\":null},"
                              "\"e\":[],\"o\":{}}";
    static const char want[] =
        "{\n  \"a\": {\n    \"\xc3\xa9\\\"\": null\n  },\n  \"e\": [],\n  \"o\": {},\n  \"z\": [\n"
        "    1,\n    1e-05,\n    3.0,\n    1e+30,\n    0.1,\n    -0.0\n  ]\n}";
    struct pq_err e = {0};
    struct pq_buf b = {0}, in = text(doc);
    json_t *j, *again;
    assert_int_equal(pq_json_parse(&j, doc, sizeof doc - 1, "x", &e), PQ_OK);
    assert_int_equal(pq_json_print(&b, j, &e), PQ_OK);
    pq_buf_u8(&b, 0);
    assert_string_equal((const char *)b.data, want);
    assert_int_equal(pq_json_parse(&again, (const char *)b.data, b.len - 1, "x", &e), PQ_OK);
    assert_true(json_equal(j, again));
    json_decref(again);
    json_decref(j);
    memory_may_run_out(print_json, &in);
    pq_buf_free(&b);
    pq_buf_free(&in);
}

static void json_memory_and_damage(void **state)
{
    (void)state;
    struct pq_buf b = text("{\"a\": [1, 2.5, \"x\\n\\u20ac\", {\"b\": null}], \"c\": true,"
                           "\"big\": 100000000000000000000}");
    memory_may_run_out(parse_json, &b);
    cut_anywhere_fails(parse_json, &b);
    any_byte_may_change(parse_json, &b);
    pq_buf_free(&b);
}

static void json_files(void **state)
{
    (void)state;
    struct pq_err e = {0};
    json_t *j;
    assert_int_equal(pq_json_load_optional(&j, "/nonexistent/x.json", &e), PQ_OK);
    assert_null(j);
    assert_int_equal(pq_json_load(&j, "/nonexistent/x.json", &e), PQ_EIO);
    assert_words(e, "/nonexistent/x.json: cannot open");
    e = (struct pq_err){0};
    assert_int_equal(pq_json_load(&j, PQ_TEST_DATA "/fixtures/phi2/config.json", &e), PQ_OK);
    assert_string_equal(json_string_value(json_object_get(j, "model_type")), "phi");
    json_decref(j);
}

/* safetensors */

static int parse_st(const uint8_t *data, size_t n, struct pq_err *e)
{
    struct pq_arena a = {0};
    struct pq_st st;
    int rc = pq_st_parse(&st, &a, data, n, "m.safetensors", e);
    pq_arena_free(&a);
    return rc;
}

/* A file of this header and `n` bytes of data. */
static struct pq_buf st_file(const char *header, size_t n)
{
    struct pq_buf b = {0};
    pq_buf_le64(&b, strlen(header));
    pq_buf_puts(&b, header);
    pq_buf_zero(&b, n);
    return b;
}

#define ONE(dtype, shape, at) \
    "{\"w\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" at "}}"
#define W(name, at) "\"" name "\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":" at "}"

static void st_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        size_t data;
        const char *words;
    } rows[] = {
        {"[]", 0, "m.safetensors: the header is not a JSON object"},
        {"{", 0, "m.safetensors:1:1: bad JSON"},
        {"{\"w\":1}", 0, "tensor w: its entry is not an object"},
        {"{\"w\":{}}", 0, "tensor w: no dtype"},
        {ONE("Q9", "[1]", "[0,1]"), 1, "tensor w: unknown dtype \"Q9\""},
        {"{\"w\":{\"dtype\":\"U8\"}}", 0, "tensor w: no shape"},
        {ONE("U8", "[-1]", "[0,1]"), 1, "tensor w: its shape holds something that is no size"},
        {ONE("U8", "[1.0]", "[0,1]"), 1, "tensor w: its shape holds something that is no size"},
        {ONE("U8", "[1,1,1,1,1,1,1,1,1]", "[0,1]"), 1, "tensor w: 9 dimensions"},
        {ONE("F32", "[4611686018427387904]", "[0,0]"), 0, "tensor w: its shape overflows"},
        {ONE("U8", "[4294967296,4294967296]", "[0,0]"), 0, "tensor w: its shape overflows"},
        {ONE("U8", "[1]", "[0]"), 1, "tensor w: data_offsets is not a pair"},
        {ONE("U8", "[1]", "[0,\"1\"]"), 1, "tensor w: data_offsets is not a pair"},
        {ONE("U8", "[1]", "[-1,0]"), 1, "tensor w: data_offsets is not a pair"},
        {ONE("U8", "[1]", "[1,0]"), 1, "tensor w: data_offsets [1, 0] pass the end"},
        {ONE("U8", "[2]", "[0,2]"), 1,
         "tensor w: data_offsets [0, 2] pass the end of the file, "
         "which has 1 bytes"},
        {ONE("U8", "[2]", "[0,9223372036854775807]"), 1, "pass the end of the file"},
        {ONE("F16", "[2]", "[0,2]"), 2, "span 2 bytes, its shape and dtype need 4"},
        {ONE("U8", "[1]", "[1,2]"), 2, "tensor w begins at byte 62, expected 61 (a hole)"},
        {ONE("U8", "[1]", "[0,1]"), 2, "1 bytes after the last tensor"},
        {"{" W("a", "[0,2]") "," W("b", "[1,3]") "}", 3,
         ", expected 115 (it overlaps the tensor before it)"},
        {"{" W("a", "[0,2]") "," W("b", "[3,5]") "}", 5,
         "tensor b begins at byte 116, expected 115 (a hole)"},
        {"{" W("a", "[0,2]") "," W("a", "[2,4]") "}", 4, "duplicate object key"},
        {"{\"__metadata__\":3}", 0, "__metadata__ is not an object"},
        {"{\"__metadata__\":{\"format\":3}}", 0, "__metadata__ format is not a string"},
        {"{\"\xff\":1}", 0, "unable to decode byte 0xff"},
    };
    for (size_t i = 0; i < PQ_LEN(rows); i++) {
        struct pq_buf b = st_file(rows[i].header, rows[i].data);
        refused(parse_st, &b, rows[i].words);
        pq_buf_free(&b);
    }
    struct pq_buf b = {0};
    pq_buf_le64(&b, 100000001);
    refused(parse_st, &b, "100000001 bytes long, more than the limit");
    pq_put_le32(b.data, 5);
    refused(parse_st, &b, "the header is 5 bytes long, the file has only 0");
    b.len = 7;
    refused(parse_st, &b, "7 bytes, too short for a safetensors file");
    pq_buf_free(&b);
}

static struct pq_buf st_sample(void)
{
    static const uint64_t dim[] = {2, 3};
    struct pq_buf b = {0};
    struct pq_st_writer w;
    pq_st_begin(&w, &b, "pt");
    pq_st_put(&w, "b\"\\\n", PQ_BF16, 2, dim, 0, 12);
    pq_st_put(&w, "empty", PQ_F32, 1, (const uint64_t[]){0}, 12, 12);
    pq_st_put(&w, "a", PQ_I64, 0, NULL, 12, 20);
    pq_st_end(&w, 64);
    pq_buf_zero(&b, 20);
    return b;
}

static void st_round_trip(void **state)
{
    (void)state;
    struct pq_arena a = {0};
    struct pq_err e = {0};
    struct pq_st st;
    struct pq_buf b = st_sample();
    size_t start = b.len - 20;
    assert_int_equal(start % 64, 0);
    assert_int_equal(pq_st_parse(&st, &a, b.data, b.len, "m", &e), PQ_OK);
    assert_string_equal(st.format, "pt");
    assert_int_equal(st.n_tensors, 3);
    const struct pq_st_tensor *t = st.tensor;
    assert_string_equal(t[0].name, "b\"\\\n");
    assert_int_equal(t[0].dtype, PQ_BF16);
    assert_int_equal(t[0].n_dims, 2);
    assert_int_equal(t[0].dim[1], 3);
    assert_int_equal(t[0].begin, start);
    assert_int_equal(t[0].end, start + 12);
    assert_string_equal(t[1].name, "empty");
    assert_int_equal(t[2].n_dims, 0);
    assert_int_equal(t[2].end, b.len);
    pq_arena_free(&a);
    cut_anywhere_fails(parse_st, &b);
    any_byte_may_change(parse_st, &b);
    memory_may_run_out(parse_st, &b);
    pq_buf_free(&b);
}

static void st_no_tensors(void **state)
{
    (void)state;
    struct pq_err e;
    struct pq_buf b = st_file("{}   ", 0);
    assert_int_equal(parse_copy(parse_st, b.data, b.len, &e), PQ_OK);
    pq_buf_free(&b);
}

/* protobuf */

static int walk_proto(const uint8_t *data, size_t n, struct pq_err *e)
{
    struct pq_proto r = pq_proto_open(data, n, "t.model");
    struct pq_proto_field f;
    int rc;
    while ((rc = pq_proto_next(&r, &f, e)) > 0)
        ;
    return rc;
}

static void proto_fields(void **state)
{
    (void)state;
    static const uint8_t doc[] = {0x08, 0x96, 0x01, /* 1: varint 150 */
                                  0x12, 3,    0x08, 0x01, 0x00 /* 2: bytes */,
                                  0x1d, 0,    0,    0x80, 0x3f, /* 3: float 1 */
                                  0x21, 1,    2,    3,    4,
                                  5,    6,    7,    8, /* 4: fixed64 */
                                  0x28, 0xff, 0xff, 0xff, 0xff,
                                  0xff, 0xff, 0xff, 0xff, 0xff,
                                  0x01}; /* 5: -1 */
    struct pq_proto r = pq_proto_open(doc, sizeof doc, "t.model"), sub;
    struct pq_proto_field f;
    struct pq_err e = {0};
    assert_int_equal(pq_proto_next(&r, &f, &e), 1);
    assert_int_equal(f.number, 1);
    assert_int_equal(f.value, 150);
    assert_int_equal(pq_proto_next(&r, &f, &e), 1);
    assert_int_equal(f.wire, PQ_PROTO_BYTES);
    assert_int_equal(f.size, 3);
    sub = pq_proto_sub(&r, &f);
    assert_int_equal(pq_proto_next(&sub, &f, &e), 1);
    assert_int_equal(f.value, 1);
    assert_int_equal(pq_proto_next(&sub, &f, &e), PQ_EFORMAT);
    assert_words(e, "t.model: bad protobuf: a field number out of range");
    e = (struct pq_err){0};
    assert_int_equal(pq_proto_next(&r, &f, &e), 1);
    assert_true(pq_proto_float(&f) == 1.0f);
    assert_int_equal(pq_proto_next(&r, &f, &e), 1);
    assert_true(f.value == 0x0807060504030201u);
    assert_int_equal(pq_proto_next(&r, &f, &e), 1);
    assert_int_equal(pq_proto_int(&f), -1);
    assert_int_equal(pq_proto_next(&r, &f, &e), 0);
}

static void proto_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t n;
        const char *words;
    } rows[] = {
        {"\x08", 1, "a number that is cut short at byte 1 of a message of 1 bytes"},
        {"\x08\x80", 2, "a number that is cut short"},
        {"\x12\x02\x00", 3, "a field that is longer than its message"},
        {"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11, "longer than its message"},
        {"\x1d\x00\x00\x00", 4, "a number that is cut short"},
        {"\x21\x00\x00\x00\x00\x00\x00\x00", 8, "a number that is cut short"},
        {"\x00\x00", 2, "a field number out of range"},
        {"\x80\x80\x80\x80\x10\x00", 6, "a field number out of range"},
        {"\x0b", 1, "a field of a kind that is not read"},
        {"\x0f", 1, "a field of a kind that is not read"},
        {"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 11, "more than 64 bits"},
        {"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 12, "more than 64 bits"},
    };
    for (size_t i = 0; i < PQ_LEN(rows); i++) {
        struct pq_buf b = {0};
        pq_buf_put(&b, rows[i].bytes, rows[i].n);
        refused(walk_proto, &b, rows[i].words);
        any_byte_may_change(walk_proto, &b);
        pq_buf_free(&b);
    }
}

/* A real SentencePiece model: field 1 repeats a message with the piece's text and score. */
static void proto_sentencepiece(void **state)
{
    (void)state;
    struct pq_map m;
    struct pq_err e = {0};
    struct pq_proto_field f;
    int rc, pieces = 0;
    assert_int_equal(pq_map_open(&m, PQ_TEST_DATA "/fixtures/phi3-mini-4k/tokenizer.model", &e),
                     PQ_OK);
    struct pq_proto r = pq_proto_open(m.data, (size_t)m.size, "tokenizer.model");
    while ((rc = pq_proto_next(&r, &f, &e)) > 0) {
        if (f.number != 1)
            continue;
        struct pq_proto sub = pq_proto_sub(&r, &f);
        assert_int_equal(pq_proto_next(&sub, &f, &e), 1);
        if (pieces++ == 0)
            assert_memory_equal(f.data, "<unk>", 5);
    }
    assert_int_equal(rc, 0);
    assert_true(pieces > 256);
    pq_map_close(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_refusals),       cmocka_unit_test(json_members),
        cmocka_unit_test(json_printing),       cmocka_unit_test(json_memory_and_damage),
        cmocka_unit_test(json_files),          cmocka_unit_test(st_refusals),
        cmocka_unit_test(st_round_trip),       cmocka_unit_test(st_no_tensors),
        cmocka_unit_test(proto_fields),        cmocka_unit_test(proto_refusals),
        cmocka_unit_test(proto_sentencepiece),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
