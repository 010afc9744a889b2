/* From operators over constants of OpenVINO graphs to stored matrices: every form that is read, and
 * those that are not. SPDX-License-Identifier: MIT */
#include "test.h"

#include "container/ov_reader.h"
#include "convert/convert.h"

enum { ROWS = 4 };

/* What a case is made of. Codes count 0, 1, 2, ...; scales are 0.5; zero points count from 1. */
static const struct chain_case {
    enum pq_ir_type codes, zeros, scales;
    int64_t groups, group; /* groups 0: a matrix as it is, [ROWS, group] */
    bool one_zero;         /* the same for all: half the range */
    const char *found;     /* a scheme, or words when `refused` */
    bool refused;
} chains[] = {
    {PQ_IR_F32, PQ_IR_NONE, PQ_IR_NONE, 0, 64, false, "f32", false},
    {PQ_IR_BF16, PQ_IR_NONE, PQ_IR_NONE, 0, 64, false, "bf16", false},
    {PQ_IR_U8, PQ_IR_U8, PQ_IR_F16, 0, 64, false, "uint8c", false},
    {PQ_IR_U8, PQ_IR_U8, PQ_IR_F16, 0, 64, true, "int8c", false},
    {PQ_IR_I8, PQ_IR_NONE, PQ_IR_F16, 0, 64, false, "int8c_signed", false},
    {PQ_IR_U4, PQ_IR_U4, PQ_IR_F16, 2, 32, false, "uint4g32", false},
    {PQ_IR_U4, PQ_IR_U4, PQ_IR_F16, 3, 32, false, "uint4g32_z8", false},
    {PQ_IR_U4, PQ_IR_U8, PQ_IR_F16, 3, 32, false, "uint4g32_z8", false},
    {PQ_IR_U4, PQ_IR_U4, PQ_IR_F16, 3, 32, true, "int4g32", false},
    {PQ_IR_U4, PQ_IR_U4, PQ_IR_F16, 0, 64, false, "uint4c_z8", false},
    {PQ_IR_U4, PQ_IR_U4, PQ_IR_F16, 1, 96, false, "uint4c_z8", false},
    {PQ_IR_U4, PQ_IR_U4, PQ_IR_F32, 2, 64, false, "uint4g64_f32", false},
    {PQ_IR_I4, PQ_IR_NONE, PQ_IR_F16, 3, 32, false, "int4g32_signed", false},
    {PQ_IR_I4, PQ_IR_NONE, PQ_IR_F16, 0, 64, false, "int4c_signed", false},
    {PQ_IR_F4E2M1, PQ_IR_NONE, PQ_IR_F8E8M0, 2, 32, false, "mxfp4", false},
    {PQ_IR_NF4, PQ_IR_NONE, PQ_IR_F16, 2, 64, false, "nf4g64", false},
    {PQ_IR_F64, PQ_IR_NONE, PQ_IR_NONE, 0, 64, false, "(f64): elements of this type", true},
    {PQ_IR_U8, PQ_IR_NONE, PQ_IR_NONE, 0, 64, false, "(u8): elements of this type", true},
    {PQ_IR_U8, PQ_IR_NONE, PQ_IR_F16, 0, 64, false, "unsigned codes without zero", true},
    {PQ_IR_I4, PQ_IR_I4, PQ_IR_F16, 0, 64, false, "signed codes with zero points", true},
    {PQ_IR_F8E4M3, PQ_IR_NONE, PQ_IR_F16, 0, 64, false, "(f8e4m3): compressed", true},
    {PQ_IR_F4E2M1, PQ_IR_NONE, PQ_IR_F16, 2, 32, false, "only mxfp4 is read", true},
    {PQ_IR_NF4, PQ_IR_NONE, PQ_IR_F16, 2, 48, false, "nf4 is read in groups of", true},
    {PQ_IR_U4, PQ_IR_U4, PQ_IR_F16, 2, 48, false, "4-bit codes in groups of 48", true},
    {PQ_IR_I4, PQ_IR_NONE, PQ_IR_F32, 2, 32, false, "with f32 scales are not read", true},
    {PQ_IR_U4, PQ_IR_U4, PQ_IR_F16, 0, 40, false, "a multiple of 32 codes", true},
    {PQ_IR_U8, PQ_IR_I8, PQ_IR_F16, 0, 64, false, "zero points are of another type", true},
};

static pq_ov_ref fill(struct pq_ov *g, enum pq_ir_type type, int64_t groups, int64_t group,
                      int value)
{
    const struct pq_ir_value v = {
        .type = type, .n_dims = groups ? 3 : 2, .dim = {ROWS, groups ? groups : group, group}};
    const size_t n = ROWS * (size_t)(groups ? groups : 1) * (size_t)group;
    const size_t bits = (size_t)pq_ir_type_bits(type), bytes = (n * bits + 7) / 8;
    uint8_t *p = (uint8_t *)pq_calloc(bytes, 1);
    for (size_t i = 0; i < n; i++) {
        if (type == PQ_IR_F16)
            pq_put_le16(p + 2 * i, pq_f32_to_f16(0.5f));
        else if (type == PQ_IR_F32)
            pq_put_le32(p + 4 * i, pq_f32_bits(0.5f));
        else if (type == PQ_IR_F8E8M0)
            p[i] = 126;
        else if (bits == 4)
            p[i / 2] |= (uint8_t)(((i + (size_t)value) & 15) << 4 * (i % 2));
        else
            p[i * bits / 8] = (uint8_t)(i + (size_t)value);
    }
    pq_ov_ref r = pq_ov_const(g, pq_ov_name(g, "w%d", (int)g->ir.n_layers), v, p, bytes);
    pq_free(p);
    return r;
}

static pq_ov_ref half_range(struct pq_ov *g, enum pq_ir_type type)
{
    const uint8_t half = type == PQ_IR_U4 ? 8 : 128;
    return pq_ov_const(g, "zero", (struct pq_ir_value){.type = type}, &half, 1);
}

static pq_ov_ref build_chain(struct pq_ov *g, const struct chain_case *c)
{
    const int64_t cols = (c->groups ? c->groups : 1) * c->group;
    pq_ov_ref x = fill(g, c->codes, c->groups, c->group, 0);
    if (c->codes != PQ_IR_F32)
        x = pq_ov_convert(g, "convert", x, PQ_IR_F16);
    if (c->zeros) {
        pq_ov_ref z = c->one_zero ? half_range(g, c->zeros) : fill(g, c->zeros, c->groups, 1, 1);
        z = pq_ov_convert(g, "zeros", z, PQ_IR_F16);
        x = pq_ov_binary(g, "Subtract", "subtract", x, z);
    }
    if (c->scales)
        x = pq_ov_binary(g, "Multiply", "multiply", x, fill(g, c->scales, c->groups, 1, 0));
    if (c->groups)
        x = pq_ov_reshape(g, "reshape", x, 2, (int64_t[]){ROWS, cols}, false);
    return pq_ov_convert(g, "decompressed", x, PQ_IR_F32);
}

/* The reader's view of a graph under construction. */
static void constants_of(struct pq_ckpt_ir *ir, struct pq_ov *g)
{
    const struct pq_ir_text text = {NULL, 0, "model.xml"};
    struct pq_err e = {0};
    assert_false(g->failed);
    *ir = (struct pq_ckpt_ir){.graph = g->ir, .path = "model.xml", .file = "model.bin"};
    ir->constant = (struct pq_ir_const *)pq_arena_alloc(g->a, g->ir.n_layers, sizeof *ir->constant);
    for (size_t i = 0; i < g->ir.n_layers; i++)
        if (!strcmp(g->ir.layer[i].type, "Const")) {
            struct pq_ir_const *c = &ir->constant[i];
            if (pq_ir_const(c, &g->ir.layer[i], &text, g->consts.len, &e) < 0)
                fail_msg("%s", e.msg);
            c->data = g->consts.data + c->offset;
        }
}

/* Integers: 0.5 (code - zero point), as the operators compute it. */
static void check_integers(const struct chain_case *c, const struct pq_view *v)
{
    const uint64_t range = v->scheme->bits == 4 ? 16 : 256;
    float x[256];
    for (uint64_t row = 0; row < ROWS; row++) {
        pq_view_row(v, NULL, row, x);
        for (uint64_t i = 0; i < v->cols; i++) {
            const uint64_t at = row * v->cols + i;
            const uint64_t group = at / (uint64_t)c->group;
            int64_t code = (int64_t)(at % range), zero = 0;
            if (c->zeros)
                zero = c->one_zero ? (int64_t)range / 2 : (int64_t)((group + 1) % range);
            else if (code >= (int64_t)range / 2)
                code -= (int64_t)range;
            if (x[i] != 0.5f * (float)(code - zero))
                fail_msg("%s: [%d, %d] is %g", c->found, (int)row, (int)i, (double)x[i]);
        }
    }
}

static void test_chains(void **state)
{
    (void)state;
    for (size_t i = 0; i < PQ_LEN(chains); i++) {
        struct pq_arena a = {0};
        struct pq_ov g = {.a = &a};
        struct pq_ckpt_ir ir;
        struct pq_err e = {0};
        struct pq_ov_entry t = {0};
        const pq_ov_ref end = build_chain(&g, &chains[i]);
        constants_of(&ir, &g);
        const struct pq_ov_reader r = {.a = &a, .ir = &ir, .e = &e};
        int rc = pq_ov_matrix(&r, end, &t);
        if (chains[i].refused) {
            assert_true(rc < 0);
            assert_words(e, chains[i].found);
        } else if (rc != 1) {
            fail_msg("%zu: status %d, %s", i, rc, e.msg);
        } else {
            assert_string_equal(t.view.scheme->name, chains[i].found);
            assert_int_equal(t.view.rows, ROWS);
            if (t.view.scheme->family == PQ_FAM_INT)
                check_integers(&chains[i], &t.view);
        }
        pq_ov_free(&g);
        pq_arena_free(&a);
    }
}

/* Mapped pages may go once they are read; zero points that were spread would be lost. */
static void test_spread_zeros_stay(void **state)
{
    enum { TALL = 3 * 65536 };
    (void)state;
    struct pq_arena a = {0};
    uint8_t *codes = (uint8_t *)pq_arena_alloc(&a, TALL, 16);
    const uint8_t zero = 9 | 9 << 4;
    const struct pq_ir_const c[] = {
        {.v = {PQ_IR_U4, 2, {TALL, 32}, NULL}, .type_name = "u4", .data = codes},
        {.v = {PQ_IR_U4, 0, {0}, NULL}, .type_name = "u4", .data = &zero},
        {.v = {PQ_IR_F16, 2, {TALL, 1}, NULL}, .type_name = "f16", .data = codes},
    };
    static const struct pq_ir_ref sub[] = {{1, 0}, {2, 0}}, mul[] = {{4, 0}, {3, 0}};
    struct pq_ir_layer l[] = {
        {.name = "w", .type = "Const"},
        {.name = "z", .type = "Const"},
        {.name = "s", .type = "Const"},
        {.name = "sub", .type = "Subtract", .in = sub, .n_in = 2},
        {.name = "mul", .type = "Multiply", .in = mul, .n_in = 2},
    };
    struct pq_ir_const constant[5] = {c[0], c[1], c[2]};
    struct pq_ckpt_ir ir = {.graph = {.layer = l, .n_layers = 5}, .constant = constant};
    struct pq_err e = {0};
    const struct pq_ov_reader r = {.a = &a, .ir = &ir, .e = &e};
    struct pq_ov_entry t = {0};
    assert_int_equal(pq_ov_matrix(&r, (struct pq_ir_ref){5, 0}, &t), 1);
    struct pq_tensor tensor = {.rows = TALL, .cols = 32, .n_slices = 1};
    tensor.slice[0] = (struct pq_slice){.view = t.view, .rows = TALL};
    (void)pq_tensor_let_go(&tensor, 0, TALL);
    for (int i = 0; i < TALL; i++)
        assert_int_equal(t.view.part[2][i], 9);
    pq_arena_free(&a);
}

/* What is computed is none of the weights; a circle ends; a codebook is refused. */
static void test_other_chains(void **state)
{
    (void)state;
    struct pq_arena a = {0};
    struct pq_ov g = {.a = &a};
    struct pq_ckpt_ir ir;
    struct pq_err e = {0};
    struct pq_ov_entry t = {0};
    const struct pq_ir_value any = {.type = PQ_IR_F32, .n_dims = 2, .dim = {-1, -1}};
    pq_ov_ref input = pq_ov_add(
        &g,
        &(struct pq_ov_op){.type = "Parameter", .version = "opset1", .name = "x", .out = {any}});
    pq_ov_ref computed = pq_ov_convert(&g, "c", input, PQ_IR_F32);
    pq_ov_ref table = fill(&g, PQ_IR_F32, 0, 16, 0), index = fill(&g, PQ_IR_U4, 0, 32, 0);
    pq_ov_ref book = pq_ov_gather(&g, "book", table, index);
    pq_ov_ref circle = pq_ov_convert(&g, "circle", input, PQ_IR_F32);
    constants_of(&ir, &g);
    struct pq_ir_ref itself[1] = {circle};
    ir.graph.layer[circle.layer - 1].in = itself;
    const struct pq_ov_reader r = {.a = &a, .ir = &ir, .e = &e};
    assert_int_equal(pq_ov_matrix(&r, computed, &t), 0);
    assert_int_equal(pq_ov_matrix(&r, circle, &t), 0);
    assert_true(pq_ov_matrix(&r, book, &t) < 0);
    assert_words(e, "layer book: weights in a form that is not read");
    pq_ov_free(&g);
    pq_arena_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chains),
        cmocka_unit_test(test_other_chains),
        cmocka_unit_test(test_spread_zeros_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
