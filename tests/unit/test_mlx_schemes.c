/* MLX's schemes: packing, code tables, and what holds for every row of them.
 * SPDX-License-Identifier: MIT */
#include "test.h"

#include "base/num.h"
#include "rows.h"

#include <math.h>
#include <stdio.h>

static const struct pq_scheme *find(const char *name)
{
    const struct pq_scheme *s = pq_scheme_find(name);
    if (!s)
        fail_msg("no scheme %s", name);
    return s;
}

/* ---- packing ---- */

/* Worked out by hand: eight codes, lowest bits first, fill `bits` bytes. */
static const struct {
    int bits;
    uint8_t code[8], byte[8];
} packed[] = {
    {2, {0, 1, 2, 3, 3, 2, 1, 0}, {0xe4, 0x1b}},
    {3, {0, 1, 2, 3, 4, 5, 6, 7}, {0x88, 0xc6, 0xfa}},
    {4, {0, 2, 3, 4, 5, 6, 7, 15}, {0x20, 0x43, 0x65, 0xf7}},
    {5, {0, 31, 1, 16, 21, 10, 30, 3}, {0xe0, 0x07, 0x58, 0x95, 0x1f}},
    {6, {0, 63, 1, 32, 42, 21, 62, 3}, {0xc0, 0x1f, 0x80, 0x6a, 0xe5, 0x0f}},
    {8, {0, 255, 1, 128, 170, 85, 254, 3}, {0x00, 0xff, 0x01, 0x80, 0xaa, 0x55, 0xfe, 0x03}},
};

static void test_packing(void **state)
{
    (void)state;
    for (size_t i = 0; i < PQ_LEN(packed); i++) {
        int bits = packed[i].bits, top = (1 << bits) - 1;
        char name[32];
        float x[32], y[32];
        struct coded c;
        snprintf(name, sizeof name, "affine%dg32_f32", bits);
        const struct pq_scheme *s = find(name);
        /* A range of 0..top puts code 0 on the top and counts down in ones. */
        for (int j = 0; j < 32; j++)
            x[j] = (float)(top - packed[i].code[j % 8]);
        rows_encode(s, pq_kern_best(NULL), PQ_SOLVER_RTN, x, NULL, 32, &c);
        for (int j = 0; j < 4 * bits; j++)
            assert_int_equal(c.part[0][j], packed[i].byte[j % bits]);
        assert_true(pq_bits_f32(pq_le32(c.part[1])) == -1.0f);
        assert_true(pq_bits_f32(pq_le32(c.part[2])) == (float)top);
        rows_decode(s, &c, 32, y);
        assert_memory_equal(x, y, sizeof x);
    }
}

/* ---- tables of the small floats ---- */

static double e4m3_by_definition(int v)
{
    int e = v >> 3 & 15, m = v & 7;
    double a = e ? ldexp(1.0 + m / 8.0, e - 7) : ldexp(m / 8.0, -6);
    return v & 0x80 ? -a : a;
}

static void test_e2m1(void **state)
{
    static const float value[8] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6};
    (void)state;
    for (int i = 0; i < 2; i++) {
        const struct pq_scheme *s = find(i ? "nvfp4" : "mxfp4");
        float x[32], y[32];
        struct coded c;
        for (int j = 0; j < 32; j++)
            x[j] = j % 16 < 8 ? value[j % 8] : -value[j % 8];
        rows_encode(s, pq_kern_best(NULL), PQ_SOLVER_RTN, x, NULL, 32, &c);
        for (int j = 0; j < 32; j++) /* MLX has no minus zero */
            assert_int_equal(c.part[0][j / 2] >> 4 * (j % 2) & 15, j % 16 == 8 ? 0 : j % 16);
        assert_int_equal(c.part[1][0], i ? 0x38 : 127); /* one */
        rows_decode(s, &c, 32, y);
        for (int j = 0; j < 32; j++)
            assert_true(x[j] == y[j]);
    }
}

/* Half way goes to the smaller code, as in MLX; a little more goes up. */
static void test_e2m1_ties(void **state)
{
    static const float tie[7] = {0.25f, 0.75f, 1.25f, 1.75f, 2.5f, 3.5f, 5.0f};
    float x[32] = {0};
    struct coded c;
    (void)state;
    for (int i = 0; i < 7; i++) {
        x[i] = tie[i];
        x[8 + i] = -tie[i];
        x[16 + i] = tie[i] * 1.0001f;
    }
    x[31] = 6.0f;
    rows_encode(find("mxfp4"), pq_kern_best(NULL), PQ_SOLVER_RTN, x, NULL, 32, &c);
    for (int i = 0; i < 7; i++) {
        assert_int_equal(c.part[0][i / 2] >> 4 * (i % 2) & 15, i);
        assert_int_equal(c.part[0][4 + i / 2] >> 4 * (i % 2) & 15, i ? 8 + i : 0);
        assert_int_equal(c.part[0][8 + i / 2] >> 4 * (i % 2) & 15, i + 1);
    }
}

static void test_e4m3(void **state)
{
    const struct pq_scheme *s = find("mxfp8");
    struct coded c;
    float x[256];
    (void)state;
    for (int v = 0; v < 256; v++)
        c.part[0][v] = (uint8_t)v;
    memset(c.part[1], 127, 8);
    rows_decode(s, &c, 256, x);
    for (int v = 0; v < 256; v++)
        assert_true((v & 127) == 127 ? isnan(x[v]) : (double)x[v] == e4m3_by_definition(v));
    /* Each value, and each half way, in groups whose scale is one. */
    for (int v = 0; v < 126; v++) {
        float mid = (float)(0.5 * (e4m3_by_definition(v) + e4m3_by_definition(v + 1)));
        float group[32] = {448.0f, x[v], -x[v], mid, -mid, mid * 0.9999f, mid * 1.0001f};
        rows_encode(s, pq_kern_best(NULL), PQ_SOLVER_RTN, group, NULL, 32, &c);
        assert_int_equal(c.part[1][0], 127);
        const int even = v + (v & 1),
                  want[7] = {126, v, v ? v | 128 : 0, even, even ? even | 128 : 128, v, v + 1};
        for (int j = 0; j < 7; j++)
            assert_int_equal(c.part[0][j], want[j]);
    }
}

static void test_e8m0(void **state)
{
    const struct pq_scheme *s = find("mxfp8");
    (void)state;
    for (int v = 0; v < 255; v++) {
        struct coded c;
        float y[32];
        memset(c.part[0], 0x38, 32); /* 1.0 */
        c.part[1][0] = (uint8_t)v;
        rows_decode(s, &c, 32, y);
        assert_true((double)y[31] == ldexp(1.0, v - 127));
    }
}

/* The scale is the smallest power of two with which the largest weight does not saturate. */
static void test_mx_scale(void **state)
{
    (void)state;
    for (int e = -100; e <= 100; e += 5) {
        const float amax[3] = {6.0f, 6.001f, 3.5f};
        const int want[3] = {0, 1, 0};
        for (int i = 0; i < 3; i++) {
            float x[32] = {ldexpf(amax[i], e)};
            struct coded c;
            rows_encode(find("mxfp4"), pq_kern_best(NULL), PQ_SOLVER_RTN, x, NULL, 32, &c);
            assert_int_equal(c.part[1][0], 127 + e + want[i]);
        }
    }
}

/* ---- what MLX's grid of 4 bits shares with GGUF's Q4_0 ---- */

static void test_holds_q4_0(void **state)
{
    const struct pq_scheme *q4_0 = find("q4_0"), *mlx = find("affine4g32_f16");
    float x[ROW_COLS], y[ROW_COLS], z[ROW_COLS];
    struct coded q, m;
    (void)state;
    rows_normal(5, x);
    rows_encode(q4_0, pq_kern_best(NULL), PQ_SOLVER_SEARCH, x, NULL, ROW_COLS, &q);
    rows_decode(q4_0, &q, ROW_COLS, y);
    for (int g = 0; g < ROW_COLS / 32; g++) {
        const uint8_t *block = q.part[0] + 18 * g;
        float d = pq_f16_to_f32(pq_le16(block));
        pq_put_le16(m.part[1] + 2 * g, pq_le16(block));
        pq_put_le16(m.part[2] + 2 * g, pq_f32_to_f16(-8.0f * d));
        for (int j = 0; j < 32; j += 2) {
            int shift = j < 16 ? 0 : 4;
            int a = block[2 + j % 16] >> shift & 15, b = block[3 + j % 16] >> shift & 15;
            m.part[0][16 * g + j / 2] = (uint8_t)(a | b << 4);
        }
    }
    rows_decode(mlx, &m, ROW_COLS, z);
    for (int j = 0; j < ROW_COLS; j++)
        assert_true(y[j] == z[j]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_packing),    cmocka_unit_test(test_e2m1),
        cmocka_unit_test(test_e2m1_ties),  cmocka_unit_test(test_e4m3),
        cmocka_unit_test(test_e8m0),       cmocka_unit_test(test_mx_scale),
        cmocka_unit_test(test_holds_q4_0),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
