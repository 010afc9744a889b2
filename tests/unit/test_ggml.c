/* GGUF schemes: error bounds, levels that agree to the byte, rows that break careless encoders, and
 * what happens when decoded weights are quantized again. SPDX-License-Identifier: MIT */
#include "test.h"

#include "base/num.h"
#include "quant/scheme.h"

#include <float.h>
#include <math.h>
#include <stdio.h>

enum { COLS = 1024, ROWS = 24 };

static uint32_t seed;

static float uniform(void)
{
    seed = seed * 1664525u + 1013904223u;
    return (float)(seed >> 8) * 0x1p-24f;
}

static float normal(void)
{
    float u = 0.0f;
    for (int i = 0; i < 12; i++)
        u += uniform();
    return u - 6.0f;
}

/* Row 0 and from 16 on are ordinary; those between are each bad in their own way. */
static void fill(float *x, int row)
{
    for (int j = 0; j < COLS; j++)
        x[j] = 0.02f * normal();
    for (int j = 0; j < COLS; j++)
        switch (row) {
        case 1:
            x[j] = 0.0f;
            break;
        case 2:
            x[j] = 0.37f; /* all equal */
            break;
        case 3:
            x[j] = -0.37f;
            break;
        case 4:
            x[j] = j % 100 == 3 ? 7.0f : 0.0f; /* one outlier among zeros */
            break;
        case 5:
            x[j] *= 0x1p-140f; /* subnormal */
            break;
        case 6:
            x[j] *= 1e36f; /* scales beyond a half */
            break;
        case 7:
            x[j] *= 1e-6f; /* subnormal halves */
            break;
        case 8:
            x[j] = fabsf(x[j]) + 0.1f; /* far from zero */
            break;
        case 9:
            x[j] = (float)(j % 16) - 8.0f; /* on a grid */
            break;
        case 10:
            x[j] = j % 2 ? 1.0f : -1.0f; /* ties of magnitude */
            break;
        case 11:
            x[j] = j < 512 ? 0.0f : x[j]; /* zero blocks beside others */
            break;
        case 12:
            x[j] = j % 37 ? x[j] : INFINITY;
            break;
        case 13:
            x[j] = j ? 0x1p-149f : 3.4e38f;
            break;
        case 14:
            x[j] *= j % 64 < 32 ? 1e-20f : 1.0f; /* sub-blocks of very different size */
            break;
        case 15:
            x[j] = -fabsf(x[j]);
            break;
        default:
            break;
        }
}

static void fill_importance(float *h, int kind)
{
    for (int j = 0; j < COLS; j++)
        h[j] = kind == 1 ? expf(normal()) : kind == 2 ? 0.0f : j % 3 ? 1e-30f : 1e30f;
}

struct coded {
    uint8_t bytes[COLS * 5];
    float x[COLS];
};

static void code(const struct pq_scheme *s, const struct pq_kern *k, enum pq_solver solver,
                 const float *x, const float *h, struct coded *out)
{
    void *part[PQ_MAX_PARTS] = {out->bytes};
    const void *read[PQ_MAX_PARTS] = {out->bytes};
    assert_true(pq_scheme_row_bytes(s, COLS) + 8 <= sizeof out->bytes);
    memset(out->bytes, 0xa5, sizeof out->bytes);
    pq_scheme_encode(s, k, solver, x, h, COLS, part);
    uint64_t end = pq_scheme_row_bytes(s, COLS);
    for (int i = 0; i < 8; i++) /* wrote nothing beyond */
        assert_int_equal(out->bytes[end + (uint64_t)i], 0xa5);
    s->decode(s, read, COLS, out->x);
}

/* Squared error relative to the squares. */
static double loss(const float *x, const float *y)
{
    double e = 0.0, n = 0.0;
    for (int j = 0; j < COLS; j++) {
        e += ((double)x[j] - y[j]) * ((double)x[j] - y[j]);
        n += (double)x[j] * x[j];
    }
    return n > 0.0 ? e / n : e;
}

static bool ggml_writer(const struct pq_scheme *s)
{
    return s->family == PQ_FAM_GGML && s->encoder != PQ_ENC_NONE;
}

#define EACH_WRITER(s)                                       \
    for (int i_ = 0; ((s) = pq_scheme_at(i_)) != NULL; i_++) \
        if (ggml_writer(s))

static void error_stays_under_the_bound(void **state)
{
    (void)state;
    static struct coded c;
    static float x[COLS];
    const struct pq_kern *k = pq_kern_best(NULL);
    const struct pq_scheme *s;
    EACH_WRITER(s)
    {
        double search = 0.0, rtn = 0.0;
        seed = 1;
        for (int r = 0; r < 16; r++) {
            fill(x, 0);
            code(s, k, PQ_SOLVER_SEARCH, x, NULL, &c);
            search += loss(x, c.x);
            code(s, k, PQ_SOLVER_RTN, x, NULL, &c);
            rtn += loss(x, c.x);
        }
        if (!(sqrt(search / 16) < s->rms_bound))
            fail_msg("%s: rms %g, bound %g", s->name, sqrt(search / 16), s->rms_bound);
        if (!(search < rtn && search > 0.0))
            fail_msg("%s: search %g is no better than rounding %g", s->name, search, rtn);
    }
}

static void levels_agree_to_the_byte(void **state)
{
    (void)state;
    static struct coded a, b;
    static float x[COLS], h[COLS];
    const struct pq_scheme *s;
    EACH_WRITER(s)
    {
        const struct pq_kern *k;
        for (int l = 1; (k = pq_kern_level(l)) != NULL; l++)
            for (int r = 0; r < ROWS * 5; r++) {
                seed = (uint32_t)r;
                fill(x, r % ROWS);
                int kind = r / ROWS;
                if (kind > 1)
                    fill_importance(h, kind - 1);
                enum pq_solver solver = kind ? PQ_SOLVER_SEARCH : PQ_SOLVER_RTN;
                code(s, pq_kern_level(0), solver, x, kind > 1 ? h : NULL, &a);
                code(s, k, solver, x, kind > 1 ? h : NULL, &b);
                if (memcmp(a.bytes, b.bytes, pq_scheme_row_bytes(s, COLS)))
                    fail_msg("%s: level %s differs on row %d, importance %d", s->name, k->level,
                             r % ROWS, kind);
            }
    }
}

static void bad_rows_stay_finite(void **state)
{
    (void)state;
    static struct coded c;
    static float x[COLS], h[COLS];
    const struct pq_kern *k = pq_kern_best(NULL);
    const struct pq_scheme *s;
    EACH_WRITER(s)
    {
        for (int r = 0; r < ROWS * 5; r++) {
            seed = (uint32_t)r;
            fill(x, r % ROWS);
            int kind = r / ROWS;
            if (kind > 1)
                fill_importance(h, kind - 1);
            code(s, k, kind ? PQ_SOLVER_SEARCH : PQ_SOLVER_RTN, x, kind > 1 ? h : NULL, &c);
            for (int j = 0; j < COLS; j++)
                if (!isfinite(c.x[j]))
                    fail_msg("%s: row %d, importance %d: column %d became %g", s->name, r % ROWS,
                             kind, j, (double)c.x[j]);
            if (r % ROWS == 1 && loss(x, c.x) != 0.0)
                fail_msg("%s: zeros did not stay zeros", s->name);
        }
    }
}

/* Quantizing decoded weights again must not lose anything that matters: nothing at all for types
 * with one plain scale, next to nothing where integer scales or offsets are found anew. */
static void again_changes_next_to_nothing(void **state)
{
    (void)state;
    static struct coded a, b;
    static float x[COLS];
    const struct pq_kern *k = pq_kern_best(NULL);
    const struct pq_scheme *s;
    EACH_WRITER(s)
    {
        double first = 0.0, second = 0.0;
        int changed = 0;
        seed = 3;
        for (int r = 0; r < 32; r++) {
            fill(x, 0);
            code(s, k, PQ_SOLVER_SEARCH, x, NULL, &a);
            code(s, k, PQ_SOLVER_SEARCH, a.x, NULL, &b);
            first += loss(x, a.x);
            second += loss(a.x, b.x);
            for (int j = 0; j < COLS; j++)
                changed += a.x[j] != b.x[j];
        }
        bool plain = s->symmetric && s->group == s->block && s->encoder != PQ_ENC_IQ4_NL;
        print_message("%-8s requantized: %6.3f %% of values differ, error %.5f of the first\n",
                      s->name, 100.0 * changed / (32.0 * COLS), second / first);
        if (plain && changed)
            fail_msg("%s: %d values changed", s->name, changed);
        if (!(second < 0.05 * first))
            fail_msg("%s: second error %g, first %g", s->name, second, first);
    }
}

static void widening_is_exact(void **state)
{
    (void)state;
    static uint16_t h[65536 + 1];
    static float a[65536];
    const struct pq_kern *k;
    for (int l = 0; (k = pq_kern_level(l)) != NULL; l++) {
        uint8_t *odd = (uint8_t *)h + 1; /* mapped files have any alignment */
        for (uint32_t i = 0; i < 65536; i++)
            pq_put_le16(odd + 2 * i, (uint16_t)i);
        const void *p = odd;
        k->widen_bf16(p, 65536, a);
        for (uint32_t i = 0; i < 65536; i++)
            assert_int_equal(pq_f32_bits(a[i]), i << 16);
        k->widen_f16(p, 65536, a);
        for (uint32_t i = 0; i < 65536; i++) {
            float want = pq_f16_to_f32((uint16_t)i);
            assert_true(pq_f32_bits(a[i]) == pq_f32_bits(want) || (isnan(a[i]) && isnan(want)));
        }
    }
}

/* Wherever it lies, what is not a number is found; the largest numbers are numbers. */
static void what_is_not_finite_is_found(void **state)
{
    (void)state;
    enum { N = 3 * 16 + 5 };
    const float bad[] = {INFINITY, -INFINITY, NAN};
    const struct pq_kern *k;
    float x[N];
    for (int i = 0; i < N; i++)
        x[i] = i % 2 ? FLT_MAX : -FLT_MAX;
    for (int l = 0; (k = pq_kern_level(l)) != NULL; l++) {
        for (uint64_t n = 0; n <= N; n++)
            assert_true(k->all_finite(x, n));
        for (int i = 0; i < N; i++)
            for (size_t b = 0; b < PQ_LEN(bad); b++) {
                const float kept = x[i];
                x[i] = bad[b];
                assert_false(k->all_finite(x, N));
                assert_true(k->all_finite(x, (uint64_t)i));
                x[i] = kept;
            }
    }
}

static void table_is_consistent(void **state)
{
    (void)state;
    const struct pq_scheme *s, *t;
    for (int i = 0; (s = pq_scheme_at(i)) != NULL; i++) {
        assert_ptr_equal(pq_scheme_find(s->name), s);
        for (int j = 0; j < i && (t = pq_scheme_at(j)) != NULL; j++)
            assert_true(s->ggml_type == PQ_NO_GGML_TYPE || s->ggml_type != t->ggml_type);
        if (s->ggml_type != PQ_NO_GGML_TYPE)
            assert_ptr_equal(pq_scheme_of_ggml(s->ggml_type), s);
        const struct pq_kern *k;
        for (int l = 0; s->encoder != PQ_ENC_NONE && (k = pq_kern_level(l)) != NULL; l++)
            if (!k->encode[s->encoder])
                fail_msg("%s: level %s has no encoder", s->name, k->level);
    }
    assert_ptr_equal(pq_scheme_find("Q4_K"), pq_scheme_of_ggml(12));
    assert_null(pq_scheme_find("q4"));
    assert_true(pq_scheme_bpw(pq_scheme_find("q4_k"), 1024) == 4.5);
    assert_true(pq_scheme_bpw(pq_scheme_find("q6_k"), 256) == 6.5625);
    assert_string_equal(pq_kern_best("c")->level, "c");
    assert_null(pq_kern_best("mmx"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table_is_consistent),
        cmocka_unit_test(widening_is_exact),
        cmocka_unit_test(what_is_not_finite_is_found),
        cmocka_unit_test(error_stays_under_the_bound),
        cmocka_unit_test(levels_agree_to_the_byte),
        cmocka_unit_test(bad_rows_stay_finite),
        cmocka_unit_test(again_changes_next_to_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
