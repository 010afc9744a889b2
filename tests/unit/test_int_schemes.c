/* The neutral integers: packing, and the same numbers as GGUF's symmetric blocks.
 * SPDX-License-Identifier: MIT */
#include "test.h"

#include "base/num.h"
#include "rows.h"

#include <math.h>

static const struct pq_scheme *find(const char *name)
{
    const struct pq_scheme *s = pq_scheme_find(name);
    if (!s)
        fail_msg("no scheme %s", name);
    return s;
}

/* Integers that the grid holds exactly: what is stored is known in advance. */
static void test_packing(void **state)
{
    float x[32], y[32];
    struct coded c;
    (void)state;
    for (int j = 0; j < 32; j++) /* -8..7, the low nibble first */
        x[j] = (float)(j % 16 - 8);
    rows_encode(find("int4g32"), pq_kern_best(NULL), PQ_SOLVER_RTN, x, NULL, 32, &c);
    for (int j = 0; j < 16; j++)
        assert_int_equal(c.part[0][j], (2 * j & 15) | ((2 * j + 1) & 15) << 4);
    assert_int_equal(pq_le16(c.part[1]), 0x3c00);
    assert_int_equal(c.part[2][0], 0xa5); /* no zero points */
    for (int j = 0; j < 32; j++)          /* -3..12: zero point 3 */
        x[j] = (float)(j % 16 - 3);
    rows_encode(find("uint4g32"), pq_kern_best(NULL), PQ_SOLVER_RTN, x, NULL, 32, &c);
    for (int j = 0; j < 16; j++)
        assert_int_equal(c.part[0][j], (2 * j & 15) | ((2 * j + 1) & 15) << 4);
    assert_int_equal(pq_le16(c.part[1]), 0x3c00);
    assert_int_equal(c.part[2][0], 3);
    rows_decode(find("uint4g32"), &c, 32, y);
    assert_memory_equal(x, y, sizeof x);
    for (int j = 0; j < 32; j++) /* -100..155 */
        x[j] = j == 31 ? 155.0f : (float)(j * 8 - 100);
    rows_encode(find("uint8g32"), pq_kern_best(NULL), PQ_SOLVER_RTN, x, NULL, 32, &c);
    for (int j = 0; j < 31; j++)
        assert_int_equal(c.part[0][j], 8 * j);
    assert_int_equal(c.part[0][31], 255);
    assert_int_equal(c.part[2][0], 100);
}

/* Zero is a point of every grid: a range on one side of it is widened to zero. */
static void test_one_sided(void **state)
{
    (void)state;
    for (int bits = 4; bits <= 8; bits += 4) {
        const struct pq_scheme *s = find(bits == 4 ? "uint4g32" : "uint8g32");
        for (int i = 0; i < 4; i++) {
            float x[32], y[32];
            struct coded c;
            for (int j = 0; j < 32; j++)
                x[j] = (i & 1 ? -1.0f : 1.0f) * (1.0f + (float)j / 31.0f);
            rows_encode(s, pq_kern_best(NULL), i & 2 ? PQ_SOLVER_SEARCH : PQ_SOLVER_RTN, x, NULL,
                        32, &c);
            assert_int_equal(c.part[2][0], i & 1 ? (1 << bits) - 1 : 0);
            rows_decode(s, &c, 32, y);
            for (int j = 0; j < 32; j++)
                assert_true(fabsf(x[j] - y[j]) < 0.6f * 2.0f / (float)((1 << bits) - 1) + 0.01f);
        }
    }
}

static int q4_0_code(const uint8_t *block, int j)
{
    return j < 16 ? block[2 + j] & 15 : block[2 + j - 16] >> 4;
}

static int int4_code(const struct coded *c, int g, int j)
{
    return c->part[0][16 * g + j / 2] >> 4 * (j & 1) & 15;
}

static void same_as_q4_0(const float *x, const float *h, enum pq_solver solver)
{
    struct coded q, c;
    float a[ROW_COLS], b[ROW_COLS];
    const struct pq_scheme *q4_0 = find("q4_0"), *int4 = find("int4g32");
    rows_encode(q4_0, pq_kern_best(NULL), solver, x, h, ROW_COLS, &q);
    rows_encode(int4, pq_kern_best(NULL), solver, x, h, ROW_COLS, &c);
    for (int g = 0; g < ROW_COLS / 32; g++) {
        const uint8_t *block = q.part[0] + 18 * g;
        assert_int_equal(pq_le16(block), pq_le16(c.part[1] + 2 * g));
        for (int j = 0; j < 32; j++)
            assert_int_equal(q4_0_code(block, j), int4_code(&c, g, j));
    }
    rows_decode(q4_0, &q, ROW_COLS, a);
    rows_decode(int4, &c, ROW_COLS, b);
    assert_memory_equal(a, b, sizeof a);
}

static void same_as_q8_0(const float *x, const float *h, enum pq_solver solver)
{
    struct coded q, c;
    rows_encode(find("q8_0"), pq_kern_best(NULL), solver, x, h, ROW_COLS, &q);
    rows_encode(find("int8g32"), pq_kern_best(NULL), solver, x, h, ROW_COLS, &c);
    for (int g = 0; g < ROW_COLS / 32; g++) {
        const uint8_t *block = q.part[0] + 34 * g;
        assert_int_equal(pq_le16(block), pq_le16(c.part[1] + 2 * g));
        for (int j = 0; j < 32; j++)
            assert_int_equal((int8_t)block[2 + j] + 128, c.part[0][32 * g + j]);
    }
}

/* One symmetric solver for all containers. */
static void test_same_as_ggml(void **state)
{
    float x[ROW_COLS], h[ROW_COLS];
    (void)state;
    for (unsigned i = 0; i < 40; i++) {
        rows_normal(i, x);
        rows_normal(1000 + i, h);
        for (int j = 0; j < ROW_COLS; j++)
            h[j] = h[j] * h[j];
        if (i >= 20) { /* ties, spikes, ...: finite ones, and no minus zero: here it is zero */
            rows_worst((int)i % rows_worst_count, x);
            for (int j = 0; j < ROW_COLS; j++)
                x[j] = fabsf(x[j]) < 1e30f ? x[j] + 0.0f : 0.0f;
        }
        for (int solver = 0; solver < 2; solver++) {
            same_as_q4_0(x, i % 2 ? h : NULL, (enum pq_solver)solver);
            same_as_q8_0(x, i % 2 ? h : NULL, (enum pq_solver)solver);
        }
    }
}

/* A whole row as one group, longer than a piece of the search: no worse than round to nearest, and
 * the same as groups when one group is the row. */
static void test_rows(void **state)
{
    static const char *const name[] = {"int4c", "uint4c", "int8c", "uint8c"};
    float x[ROW_COLS], y[ROW_COLS];
    (void)state;
    for (size_t i = 0; i < PQ_LEN(name); i++) {
        rows_normal(70, x);
        x[3] = 0.4f; /* an outlier that clipping pays for */
        rows_through(find(name[i]), PQ_SOLVER_RTN, x, NULL, y);
        double nearest = rows_error(x, y);
        rows_through(find(name[i]), PQ_SOLVER_SEARCH, x, NULL, y);
        if (!(rows_error(x, y) <= (i < 2 ? 0.95 : 1.0) * nearest))
            fail_msg("%s: search %g, nearest %g", name[i], rows_error(x, y), nearest);
    }
    struct coded a, b;
    rows_normal(71, x);
    rows_encode(find("uint4c"), pq_kern_best(NULL), PQ_SOLVER_SEARCH, x, NULL, 256, &a);
    rows_encode(find("uint4g256"), pq_kern_best(NULL), PQ_SOLVER_SEARCH, x, NULL, 256, &b);
    assert_memory_equal(&a, &b, sizeof a);
}

/* Rows that end within a piece: the same at every level, and as near as the table says. */
static void test_odd_rows(void **state)
{
    enum { COLS = 288 };
    static const char *const name[] = {"int4c", "uint4c", "int8c", "uint8c"};
    float x[ROW_COLS], y[COLS];
    (void)state;
    for (size_t i = 0; i < 2 * PQ_LEN(name); i++) {
        const struct pq_scheme *s = find(name[i / 2]);
        const struct pq_kern *k;
        struct coded a, b;
        double e = 0.0, n = 0.0;
        rows_normal(90 + (unsigned)i, x);
        rows_encode(s, pq_kern_level(0), (enum pq_solver)(i % 2), x, NULL, COLS, &a);
        for (int l = 1; (k = pq_kern_level(l)) != NULL; l++) {
            rows_encode(s, k, (enum pq_solver)(i % 2), x, NULL, COLS, &b);
            assert_memory_equal(&a, &b, sizeof a);
        }
        rows_decode(s, &a, COLS, y);
        for (int j = 0; j < COLS; j++) {
            e += pow((double)x[j] - (double)y[j], 2.0);
            n += pow((double)x[j], 2.0);
        }
        if (!(sqrt(e / n) < 1.25 * s->rms_bound))
            fail_msg("%s: %g", s->name, sqrt(e / n));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_packing),      cmocka_unit_test(test_one_sided),
        cmocka_unit_test(test_same_as_ggml), cmocka_unit_test(test_rows),
        cmocka_unit_test(test_odd_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
