/* OpenVINO IR documents written and read back, and documents that lie. SPDX-License-Identifier: MIT
 */
#include "malformed.h"

#include "base/num.h"
#include "wire/ir.h"

static int parse(const uint8_t *data, size_t n, struct pq_err *e)
{
    struct pq_arena a = {0};
    struct pq_ir m;
    const struct pq_ir_text text = {data, n, "model.xml"};
    int rc = pq_ir_parse(&m, &a, &text, e);
    pq_arena_free(&a);
    return rc;
}

/* ---- round trip ---- */

/* A parameter and a constant into an operator with two outputs, of which the second is read. */
struct sample {
    struct pq_ir m;
    struct pq_ir_layer layer[4];
    struct pq_ir_attr attr[4], info[4];
    struct pq_ir_ref in[3];
    struct pq_ir_value out[4];
};

static void sample_make(struct sample *s)
{
    *s = (struct sample){
        .attr = {{"element_type", "u4"}, {"shape", "3, 4"}, {"offset", "7"}, {"size", "6"}},
        .info = {{"nncf/weight_compression/mode", "int4_asym"},
                 {"nncf/weight_compression/ratio", "0.6"},
                 {"phiq/name", "a \"b\" <c> & d\n\xc3\xa9"},
                 {"version", "1"}},
        .in = {{1, 0}, {2, 0}, {3, 1}},
        .out = {{.type = PQ_IR_I64, .n_dims = 2, .dim = {-1, 4}, .names = "x,y"},
                {.type = PQ_IR_U4, .n_dims = 2, .dim = {3, 4}},
                {.type = PQ_IR_F32},
                {.type = PQ_IR_F16, .n_dims = 1, .dim = {9}}},
    };
    s->layer[0] = (struct pq_ir_layer){
        .name = "input", .type = "Parameter", .version = "opset1", .out = s->out, .n_out = 1};
    s->layer[1] = (struct pq_ir_layer){.name = "weights <1>",
                                       .type = "Const",
                                       .version = "opset1",
                                       .attr = s->attr,
                                       .n_attr = 4,
                                       .out = s->out + 1,
                                       .n_out = 1};
    s->layer[2] = (struct pq_ir_layer){.name = "op",
                                       .type = "Split",
                                       .version = "opset6",
                                       .in = s->in,
                                       .n_in = 2,
                                       .out = s->out + 2,
                                       .n_out = 2,
                                       .decompression = true};
    s->layer[3] = (struct pq_ir_layer){
        .name = "end", .type = "Result", .version = "opset1", .in = s->in + 2, .n_in = 1};
    s->m = (struct pq_ir){
        .name = "model", .layer = s->layer, .n_layers = 4, .info = s->info, .n_info = 4};
}

static void sample_put(struct pq_buf *b)
{
    struct sample s;
    struct pq_err e = {0};
    sample_make(&s);
    *b = (struct pq_buf){0};
    assert_int_equal(pq_ir_put(b, &s.m, &e), PQ_OK);
}

static void same_value(const struct pq_ir_value *a, const struct pq_ir_value *b)
{
    assert_int_equal(a->type, b->type);
    assert_int_equal(a->n_dims, b->n_dims);
    assert_memory_equal(a->dim, b->dim, sizeof a->dim);
    assert_int_equal(!a->names, !b->names);
    if (a->names)
        assert_string_equal(a->names, b->names);
}

static void same_layer(const struct pq_ir_layer *a, const struct pq_ir_layer *b)
{
    assert_string_equal(a->name, b->name);
    assert_string_equal(a->type, b->type);
    assert_string_equal(a->version, b->version);
    assert_int_equal(a->decompression, b->decompression);
    assert_int_equal(a->n_attr, b->n_attr);
    assert_int_equal(a->n_in, b->n_in);
    assert_int_equal(a->n_out, b->n_out);
    for (size_t i = 0; i < a->n_attr; i++)
        assert_string_equal(a->attr[i].value, pq_ir_attr(b, a->attr[i].key));
    for (size_t i = 0; i < a->n_in; i++) {
        assert_int_equal(a->in[i].layer, b->in[i].layer);
        assert_int_equal(a->in[i].port, b->in[i].port);
    }
    for (size_t i = 0; i < a->n_out; i++)
        same_value(&a->out[i], &b->out[i]);
}

static void test_round_trip(void **state)
{
    struct sample s;
    struct pq_buf b;
    struct pq_arena a = {0};
    struct pq_ir m;
    struct pq_err e = {0};
    (void)state;
    sample_make(&s);
    sample_put(&b);
    const struct pq_ir_text text = {b.data, b.len, "model.xml"};
    assert_int_equal(pq_ir_parse(&m, &a, &text, &e), PQ_OK);
    assert_string_equal(m.name, "model");
    assert_int_equal(m.n_layers, 4);
    for (size_t i = 0; i < m.n_layers; i++)
        same_layer(&s.layer[i], &m.layer[i]);
    assert_int_equal(m.n_info, 4);
    for (size_t i = 0; i < m.n_info; i++)
        assert_string_equal(pq_ir_info(&m, s.info[i].key), s.info[i].value);
    assert_null(pq_ir_info(&m, "phiq"));
    assert_null(pq_ir_attr(&m.layer[1], "other"));
    pq_arena_free(&a);
    pq_buf_free(&b);
}

/* ---- documents by hand ---- */

#define HEAD "<?xml version=\"1.0\"?>\n<net name=\"n\" version=\"11\"><layers>"
#define LAYER(id, name, ports) \
    "<layer id=\"" id "\" name=\"" name "\" type=\"T\" version=\"opset1\">" ports "</layer>"
#define IN(id) "<input><port id=\"" id "\"/></input>"
#define OUT(id) "<output><port id=\"" id "\" precision=\"FP32\"/></output>"
#define EDGE(from, out, to, in)                                                   \
    "<edge from-layer=\"" from "\" from-port=\"" out "\" to-layer=\"" to "\" to-" \
    "port=\"" in "\"/>"
#define TAIL "</layers><edges/></net>"
#define TWO HEAD LAYER("3", "a", OUT("5")) LAYER("1", "b", IN("2")) "</layers><edges>"
#define TWO_TAIL "</edges></net>"

static void whole(struct pq_ir *m, struct pq_arena *a, const char *doc)
{
    struct pq_err e = {0};
    const struct pq_ir_text text = {(const uint8_t *)doc, strlen(doc), "model.xml"};
    *a = (struct pq_arena){0};
    if (pq_ir_parse(m, a, &text, &e) < 0)
        fail_msg("%s", e.msg);
}

/* Ids need not count up, layers need not come before those that read them, elements of other
 * tools are passed over, <info name> stands for a name. */
static void test_freedoms(void **state)
{
    struct pq_arena a;
    struct pq_ir m;
    (void)state;
    whole(&m, &a,
          TWO EDGE("3", "5", "1", "2") "</edges><meta_data><x><y/></x></meta_data>"
                                       "<rt_info><r><info name=\"OpenVINO it\" value=\"v\"/>"
                                       "</r></rt_info></net>");
    assert_int_equal(m.layer[1].in[0].layer, 1);
    assert_string_equal(pq_ir_info(&m, "r/OpenVINO it"), "v");
    pq_arena_free(&a);
    whole(&m, &a,
          HEAD LAYER("0", "late", IN("0"))
              LAYER("1", "early", OUT("0")) "</layers><edges>" EDGE("1", "0", "0", "0") TWO_TAIL);
    assert_int_equal(m.layer[0].in[0].layer, 2);
    pq_arena_free(&a);
    whole(&m, &a,
          HEAD LAYER("0", "new",
                     "<output><port id=\"0\" precision=\"U3\"><dim> 7 "
                     "</dim></port></output><data a=\"&lt;&#65;\"/>") TAIL);
    assert_int_equal(m.layer[0].out[0].type, PQ_IR_NONE);
    assert_int_equal(m.layer[0].out[0].dim[0], 7);
    assert_string_equal(pq_ir_attr(&m.layer[0], "a"), "<A");
    pq_arena_free(&a);
}

static const struct {
    const char *doc, *words;
} lies[] = {
    {"", "not XML, or cut short"},
    {"\xff\xfe\x00", "not XML"},
    {"<html/>", "<html> instead of <net>"},
    {"<net name=\"n\"/>", "version (none)"},
    {"<net name=\"n\" version=\"10\"/>", "version 10 of OpenVINO's IR is not read"},
    {HEAD "<layer name=\"a\" type=\"T\"/>" TAIL, "<layer> lacks its id"},
    {HEAD "<layer id=\"1\" type=\"T\"/>" TAIL, "layer 1 lacks its name"},
    {HEAD "<layer id=\"1\" name=\"a\"/>" TAIL, "layer 1 lacks its type"},
    {HEAD LAYER("-1", "a", "") TAIL, "id is \"-1\", expected a number"},
    {HEAD LAYER("1x", "a", "") TAIL, "id is \"1x\", expected a number"},
    {HEAD LAYER("18446744073709551616", "a", "") TAIL, "expected a number"},
    {HEAD LAYER("1", "a", "") LAYER("1", "b", "") TAIL, "two layers have the id 1"},
    {HEAD LAYER("1", "a", "<output><port/></output>") TAIL, "<port> lacks its id"},
    {HEAD LAYER("1", "a", OUT("0") OUT("0")) TAIL, "layer a has two ports 0"},
    {HEAD LAYER("1", "a", OUT("0") IN("1")) TAIL, "an input after its outputs"},
    {HEAD LAYER("1", "a", "<output><port id=\"0\"><dim>-2</dim></port></output>") TAIL,
     "<dim> \"-2\" is no size"},
    {HEAD LAYER("1", "a", "<output><port id=\"0\"><dim></dim></port></output>") TAIL,
     "<dim> \"\" is no size"},
    {HEAD LAYER("1", "a", "<output><port id=\"0\"><dim>9223372036854775808</dim></port></output>")
         TAIL,
     "is no size"},
    {HEAD LAYER("1", "a",
                "<output><port id=\"0\"><dim>0000000000000000000000001</dim></port></output>") TAIL,
     "<dim> of more than 23 characters"},
    {HEAD LAYER("1", "a",
                "<output><port id=\"0\"><dim>1</dim><dim>1</dim><dim>1</dim><dim>1</dim>"
                "<dim>1</dim><dim>1</dim><dim>1</dim></port></output>") TAIL,
     "more than 6 dimensions"},
    {HEAD LAYER("1", "a", "<body><layers/></body>") TAIL, "layer a (T) has a graph of its own"},
    {HEAD LAYER("1", "a", "<then_body/>") TAIL, "layer a (T) has a graph of its own"},
    {TWO TWO_TAIL, "layer b: no edge leads to its input 0"},
    {TWO "<edge from-layer=\"3\" from-port=\"5\" to-layer=\"1\"/>" TWO_TAIL,
     "<edge> lacks its to-port"},
    {TWO EDGE("4", "5", "1", "2") TWO_TAIL, "ends at a layer that is not there"},
    {TWO EDGE("3", "5", "9", "2") TWO_TAIL, "ends at a layer that is not there"},
    {TWO EDGE("3", "2", "1", "2") TWO_TAIL, "ends at a port that is not there"},
    {TWO EDGE("3", "5", "1", "5") TWO_TAIL, "ends at a port that is not there"},
    {TWO EDGE("3", "5", "1", "2") EDGE("3", "5", "1", "2") TWO_TAIL,
     "is the second into this port"},
    {"<!DOCTYPE net [<!ENTITY a \"b\">]><net name=\"&a;\" version=\"11\"/>",
     "a document type (net) and its entities are not read"},
    {"<!DOCTYPE net SYSTEM \"file:///etc/passwd\"><net name=\"n\" version=\"11\"/>",
     "a document type (net)"},
    {"<net name=\"&a;\" version=\"11\"/>", "undefined entity"},
    {"<net name=\"a\" name=\"b\" version=\"11\"/>", "duplicate attribute"},
    {HEAD "</layers></layers></net>", "mismatched tag"},
};

static void test_lies(void **state)
{
    (void)state;
    for (size_t i = 0; i < PQ_LEN(lies); i++) {
        struct pq_buf b = {0};
        pq_buf_puts(&b, lies[i].doc);
        refused(parse, &b, lies[i].words);
        pq_buf_free(&b);
    }
}

/* `unit` many times between head and tail. */
static void refused_often(const char *head, const char *unit, int times, const char *words)
{
    struct pq_buf b = {0};
    pq_buf_puts(&b, head);
    for (int i = 0; i < times; i++)
        pq_buf_puts(&b, unit);
    refused(parse, &b, words);
    pq_buf_free(&b);
}

static void test_bounds(void **state)
{
    struct pq_buf b = {0};
    (void)state;
    refused_often(HEAD, "<a>", 70, "nested more than 64 deep");
    refused_often("<net name=\"n\" version=\"11\"><rt_info>", "<abcdefghijklmnopqrst>", 20,
                  "a remark's path is longer than 256 bytes");
    pq_buf_puts(&b, HEAD "<layer id=\"0\" name=\"a\" type=\"T\"><output>");
    for (int i = 0; i < 2000; i++)
        pq_buf_printf(&b, "<port id=\"%d\"/>", i);
    refused(parse, &b, "layer a has more than 1024 ports");
    pq_buf_free(&b);
    b = (struct pq_buf){0};
    pq_buf_puts(&b, HEAD);
    for (int i = 0; i < (1 << 20) + 1; i++)
        pq_buf_printf(&b, "<layer id=\"%d\" name=\"\" type=\"\"/>", i);
    refused(parse, &b, "more than 1048576 layers");
    pq_buf_free(&b);
}

static void test_malformed(void **state)
{
    struct pq_buf b;
    (void)state;
    sample_put(&b);
    while (b.data[b.len - 1] != '>') /* blanks may be missing */
        b.len--;
    cut_anywhere_fails(parse, &b);
    any_byte_may_change(parse, &b);
    memory_may_run_out(parse, &b);
    pq_buf_free(&b);
}

/* ---- constants ---- */

static const struct constant_case {
    const char *value[4]; /* element_type, shape, offset, size */
    const char *words;    /* NULL: fine */
} constants[] = {
    {{"u4", "3, 5", "0", "8"}, NULL}, /* 60 bits */
    {{"f32", "", "96", "4"}, NULL},
    {{"f16", " 2 ,3 ", "88", "12"}, NULL},
    {{"i64", "0", "100", "0"}, NULL},
    {{"string", "3", "3", "50"}, NULL},
    {{"u3", "8", "0", "3"}, NULL}, /* not known: nothing is checked but the range */
    {{NULL, "3", "0", "3"}, "lacks its element_type, shape, offset or size"},
    {{"u8", NULL, "0", "3"}, "lacks its element_type"},
    {{"u8", "3", NULL, "3"}, "lacks its element_type"},
    {{"u8", "3", "0", NULL}, "lacks its element_type"},
    {{"u8", "3", "-1", "3"}, "or they are no numbers"},
    {{"u8", "3", "0", "0x3"}, "or they are no numbers"},
    {{"u8", "?", "0", "3"}, "\"?\" is no shape"},
    {{"u8", "3,", "0", "3"}, "is no shape"},
    {{"u8", "3 1", "0", "3"}, "is no shape"},
    {{"u8", "-3", "0", "3"}, "is no shape"},
    {{"u8", "1,1,1,1,1,1,3", "0", "3"}, "is no shape"},
    {{"u8", "9223372036854775808", "0", "3"}, "is no shape"},
    {{"u8", "3", "98", "3"}, "3 bytes at offset 98 of a .bin file that has only 100"},
    {{"u8", "3", "101", "0"}, "0 bytes at offset 101"},
    {{"u8", "3", "18446744073709551615", "3"}, "at offset 18446744073709551615"},
    {{"u8", "3", "1", "18446744073709551615"}, "18446744073709551615 bytes"},
    {{"u8", "3", "0", "4"}, "has 4 bytes, its shape [3] of u8 needs others"},
    {{"f32", "3", "0", "11"}, "has 11 bytes"},
    {{"u4", "3, 5", "0", "7"}, "has 7 bytes"},
    {{"f32", "4294967296, 4294967296", "0", "0"}, "has 0 bytes"},
};

static void test_constants(void **state)
{
    static const char *const key[4] = {"element_type", "shape", "offset", "size"};
    const struct pq_ir_text text = {NULL, 0, "model.xml"};
    (void)state;
    for (size_t i = 0; i < PQ_LEN(constants); i++) {
        struct pq_ir_attr attr[4];
        struct pq_ir_layer l = {.name = "w", .type = "Const", .attr = attr};
        struct pq_ir_const c;
        struct pq_err e = {0};
        for (int k = 0; k < 4; k++)
            if (constants[i].value[k])
                attr[l.n_attr++] = (struct pq_ir_attr){key[k], constants[i].value[k]};
        int rc = pq_ir_const(&c, &l, &text, 100, &e);
        if (constants[i].words) {
            assert_true(rc < 0);
            assert_words(e, constants[i].words);
        } else if (rc < 0) {
            fail_msg("%zu: %s", i, e.msg);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_freedoms),
        cmocka_unit_test(test_lies),       cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_malformed),  cmocka_unit_test(test_constants),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
