/* ONNX documents written and read back, and documents that lie. SPDX-License-Identifier: MIT */
#include "malformed.h"

#include "base/num.h"
#include "wire/onnx_wire.h"

static const uint8_t bytes[16] = {1, 0, 0, 0, 0, 0, 0, 0, 2};
static const int64_t axes[2] = {1, -1};

/* Two nodes, one weight outside, one constant inside. */
struct sample {
    struct pq_onnx m;
    struct pq_onnx_node node[2];
    struct pq_onnx_tensor tensor[2];
    struct pq_onnx_attr attr[3];
    struct pq_onnx_value in[1], out[1];
    struct pq_onnx_pair meta[1];
    const char *names[8];
};

static void sample_make(struct sample *s)
{
    *s = (struct sample){
        .tensor =
            {{.name = "w",
              .dtype = PQ_F16,
              .n_dims = 2,
              .dim = {3, 4},
              .bytes = 24,
              .location = "model.onnx.data",
              .offset = 5ull << 32},
             {.name = "c", .dtype = PQ_I64, .n_dims = 1, .dim = {2}, .bytes = 16, .data = bytes}},
        .attr = {{.name = "axis", .kind = PQ_ONNX_INT, .i = -1},
                 {.name = "epsilon", .kind = PQ_ONNX_FLOAT, .f = 1e-5f},
                 {.name = "axes", .kind = PQ_ONNX_INTS, .ints = axes, .n = 2}},
        .in =
            {{.name = "x", .dtype = PQ_F32, .n_dims = 2, .dim = {{.name = "batch"}, {.size = 4}}}},
        .out = {{.name = "y", .dtype = PQ_F32, .n_dims = 1, .dim = {{.size = 3}}}},
        .meta = {{"key", "value"}},
        .names = {"x", "w", "t", "t", "c", "y"},
    };
    s->node[0] = (struct pq_onnx_node){.op = "A",
                                       .domain = "com.microsoft",
                                       .name = "a",
                                       .in = s->names,
                                       .n_in = 2,
                                       .out = s->names + 2,
                                       .n_out = 1,
                                       .attr = s->attr,
                                       .n_attr = 3};
    s->node[1] = (struct pq_onnx_node){.op = "B",
                                       .domain = "",
                                       .name = "b",
                                       .in = s->names + 3,
                                       .n_in = 2,
                                       .out = s->names + 5,
                                       .n_out = 1};
    s->m = (struct pq_onnx){.ir_version = 8,
                            .opset = 17,
                            .ms_opset = 1,
                            .producer = "phiq",
                            .producer_version = "1",
                            .graph = {.name = "g",
                                      .node = s->node,
                                      .n_nodes = 2,
                                      .tensor = s->tensor,
                                      .n_tensors = 2,
                                      .in = s->in,
                                      .n_in = 1,
                                      .out = s->out,
                                      .n_out = 1},
                            .meta = s->meta,
                            .n_meta = 1};
}

static void sample_put(const struct sample *s, struct pq_buf *b)
{
    struct pq_err e = {0};
    *b = (struct pq_buf){0};
    assert_int_equal(pq_onnx_put(b, &s->m, &e), PQ_OK);
}

static int parse(const uint8_t *data, size_t n, struct pq_err *e)
{
    struct pq_arena a = {0};
    struct pq_onnx m;
    int rc = pq_onnx_parse(&m, &a, data, n, "model.onnx", e);
    pq_arena_free(&a);
    return rc;
}

static void test_round_trip(void **state)
{
    struct sample s;
    struct pq_buf b;
    struct pq_arena a = {0};
    struct pq_onnx m;
    struct pq_err e = {0};
    (void)state;
    sample_make(&s);
    sample_put(&s, &b);
    assert_int_equal(pq_onnx_parse(&m, &a, b.data, b.len, "model.onnx", &e), PQ_OK);
    assert_int_equal(m.opset, 17);
    assert_int_equal(m.ms_opset, 1);
    assert_string_equal(pq_onnx_meta(&m, "key"), "value");
    assert_null(pq_onnx_meta(&m, "other"));
    const struct pq_onnx_tensor *w = &m.graph.tensor[0], *c = &m.graph.tensor[1];
    assert_int_equal(w->offset, 5ull << 32);
    assert_int_equal(w->bytes, 24);
    assert_string_equal(w->location, "model.onnx.data");
    assert_null(w->data);
    assert_memory_equal(c->data, bytes, 16);
    const struct pq_onnx_node *n = &m.graph.node[0];
    assert_int_equal(pq_onnx_int(n, "axis", 7), -1);
    assert_int_equal(pq_onnx_int(n, "epsilon", 7), 7); /* no integer */
    assert_true(pq_onnx_attr(n, "epsilon")->f == 1e-5f);
    assert_int_equal(pq_onnx_attr(n, "axes")->ints[1], -1);
    assert_string_equal(n->in[1], "w");
    assert_string_equal(n->domain, "com.microsoft");
    assert_string_equal(m.graph.in[0].dim[0].name, "batch");
    assert_int_equal(m.graph.in[0].dim[1].size, 4);
    pq_arena_free(&a);
    pq_buf_free(&b);
}

static void expect(const struct sample *s, const char *words)
{
    struct pq_buf b;
    sample_put(s, &b);
    refused(parse, &b, words);
    pq_buf_free(&b);
}

static void test_names(void **state)
{
    struct sample s;
    (void)state;
    sample_make(&s);
    s.names[5] = "t";
    expect(&s, "t is there twice");
    sample_make(&s);
    s.names[5] = "w";
    expect(&s, "w is there twice");
    sample_make(&s);
    s.names[1] = "nowhere";
    expect(&s, "reads nowhere, which nothing gives");
    sample_make(&s);
    s.names[1] = "y"; /* a reads what b gives, b what a gives */
    expect(&s, "in a circle");
    sample_make(&s);
    s.names[1] = "t";
    expect(&s, "in a circle");
    sample_make(&s);
    s.tensor[1].name = "";
    expect(&s, "without a name");
}

static void test_places(void **state)
{
    static const char *const places[] = {
        "", ".", "..", "../model.onnx.data", "/etc/passwd", "a/b", "a\\b", "C:model.data"};
    struct sample s;
    (void)state;
    for (size_t i = 0; i < PQ_LEN(places); i++) {
        sample_make(&s);
        s.tensor[0].location = places[i];
        expect(&s, "expected a file of the same folder");
    }
}

static void test_shapes(void **state)
{
    struct sample s;
    (void)state;
    sample_make(&s);
    s.tensor[0].bytes = 25;
    expect(&s, "25 bytes of external data, its shape needs 24");
    sample_make(&s);
    s.tensor[1].bytes = 15;
    expect(&s, "tensor c: its data is not as long as its shape");
    sample_make(&s);
    s.tensor[0].dim[0] = UINT64_MAX;
    expect(&s, "negative or absurdly large");
    sample_make(&s);
    s.tensor[0].dim[0] = (uint64_t)1 << 60;
    expect(&s, "negative or absurdly large");
}

/* Empty messages of two bytes would become structs of hundreds. */
static void test_small_file_large_demand(void **state)
{
    struct pq_buf b = {0};
    struct pq_err e = {0};
    (void)state;
    pq_buf_u8(&b, 0x3a); /* graph: 4 MB of nodes without a byte in them */
    for (uint32_t left = 4u << 20; left; left >>= 7)
        pq_buf_u8(&b, (uint8_t)((left & 0x7f) | (left >> 7 ? 0x80 : 0)));
    for (int i = 0; i < 2 << 20; i++) {
        pq_buf_u8(&b, 0x0a);
        pq_buf_u8(&b, 0);
    }
    assert_true(parse_copy(parse, b.data, b.len, &e) < 0);
    assert_words(e, "asks for much memory");
    pq_buf_free(&b);
}

static void test_malformed(void **state)
{
    struct sample s;
    struct pq_buf b;
    struct pq_err e;
    (void)state;
    sample_make(&s);
    sample_put(&s, &b);
    for (size_t n = 0; n < b.len; n++) /* a cut between two fields is no fault of the grammar */
        (void)parse_copy(parse, b.data, n, &e);
    assert_true(parse_copy(parse, b.data, 20, &e) < 0);
    assert_true(parse_copy(parse, b.data, 0, &e) < 0);
    assert_words(e, "no graph");
    any_byte_may_change(parse, &b);
    memory_may_run_out(parse, &b);
    pq_buf_free(&b);
}

static void test_writer_without_memory(void **state)
{
    struct sample s;
    struct pq_err e;
    int rc = PQ_ENOMEM;
    (void)state;
    sample_make(&s);
    for (unsigned long n = 1; rc < 0; n++) {
        struct pq_buf b = {0};
        e = (struct pq_err){0};
        pq_mem_fail_after(n, false);
        rc = pq_onnx_put(&b, &s.m, &e);
        pq_mem_fail_after(0, false);
        assert_true(rc == PQ_OK || rc == PQ_ENOMEM);
        pq_buf_free(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_small_file_large_demand),
        cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_writer_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
