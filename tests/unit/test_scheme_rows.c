/* What holds for every scheme that can be written: errors within the table's bounds, the same bytes
 * at every level, no NaN from any weights, values of the grid kept. SPDX-License-Identifier: MIT */
#include "test.h"

#include "rows.h"

#include <math.h>

static const struct pq_scheme *next_written(int *i)
{
    const struct pq_scheme *s;
    while ((s = pq_scheme_at((*i)++)) != NULL)
        if (s->encoder != PQ_ENC_NONE)
            return s;
    return NULL;
}

/* Four rows' mean, against the bound of the table; the bound itself must mean something. */
static void test_bounds(void **state)
{
    const struct pq_scheme *s;
    int bad = 0;
    (void)state;
    for (int i = 0; (s = next_written(&i)) != NULL;) {
        double mean[2] = {0, 0};
        for (unsigned r = 0; r < 4; r++)
            for (int solver = 0; solver < 2; solver++) {
                float x[ROW_COLS], y[ROW_COLS];
                rows_normal(r, x);
                rows_through(s, (enum pq_solver)solver, x, NULL, y);
                mean[solver] += rows_error(x, y) / 4;
            }
        bool quantized = s->family != PQ_FAM_FLOAT;
        if (mean[1] > s->rms_bound || mean[1] > 1.0001 * mean[0] ||
            (quantized && mean[1] < 0.75 * s->rms_bound)) {
            print_error("%s: rtn %.5f search %.5f bound %.5f\n", s->name, mean[0], mean[1],
                        s->rms_bound);
            bad++;
        }
    }
    assert_int_equal(bad, 0);
}

/* Importance of many sizes, some of it zero. */
static void importance(float h[ROW_COLS], int kind)
{
    rows_normal(500, h);
    for (int j = 0; j < ROW_COLS; j++) {
        h[j] = kind == 3 ? 0.0f : h[j] * h[j] * (kind == 2 ? 1e30f : 1.0f);
        if (j % 5 == 0)
            h[j] = 0.0f;
    }
}

static void same_levels(const struct pq_scheme *s, const char *row, const float *x, const float *h)
{
    for (int solver = 0; solver < 2; solver++) {
        struct coded a, b;
        const struct pq_kern *k;
        rows_encode(s, pq_kern_level(0), (enum pq_solver)solver, x, h, ROW_COLS, &a);
        for (int l = 1; (k = pq_kern_level(l)) != NULL; l++) {
            rows_encode(s, k, (enum pq_solver)solver, x, h, ROW_COLS, &b);
            if (memcmp(&a, &b, sizeof a) != 0)
                fail_msg("%s, row \"%s\": level %s differs from %s", s->name, row, k->level,
                         pq_kern_level(0)->level);
        }
    }
}

static bool rows_are_finite(const float *x)
{
    bool finite = true;
    for (int j = 0; j < ROW_COLS; j++)
        finite &= (bool)isfinite(x[j]);
    return finite;
}

static void test_levels(void **state)
{
    const struct pq_scheme *s;
    float x[ROW_COLS], h[ROW_COLS];
    (void)state;
    for (int i = 0; (s = next_written(&i)) != NULL;) {
        for (int kind = 0; kind < 4; kind++) {
            rows_normal((unsigned)(i + kind), x);
            importance(h, kind);
            same_levels(s, "normal", x, kind ? h : NULL);
        }
        for (int r = 0; r < rows_worst_count; r++) {
            const char *name = rows_worst(r, x);
            bool finite = rows_are_finite(x);
            if (s->family == PQ_FAM_GGML && !finite)
                continue; /* defined for numbers only */
            same_levels(s, name, x, r % 2 ? h : NULL);
        }
    }
}

static void test_worst(void **state)
{
    const struct pq_scheme *s;
    float x[ROW_COLS], y[ROW_COLS], h[ROW_COLS];
    (void)state;
    importance(h, 1);
    for (int i = 0; (s = next_written(&i)) != NULL;) {
        if (s->family == PQ_FAM_FLOAT)
            continue; /* keeps what it is given */
        for (int r = 0; r < rows_worst_count; r++)
            for (int solver = 0; solver < 2; solver++) {
                const char *name = rows_worst(r, x);
                rows_through(s, (enum pq_solver)solver, x, r % 2 ? h : NULL, y);
                for (int j = 0; j < ROW_COLS; j++)
                    if (isnan(y[j]) || (r == 0 && y[j] != 0.0f))
                        fail_msg("%s, row \"%s\", solver %d: %g became %g", s->name, name, solver,
                                 (double)x[j], (double)y[j]);
            }
    }
}

/* Importance moves the error to where it counts less. */
static void test_importance(void **state)
{
    const struct pq_scheme *s;
    float x[ROW_COLS], h[ROW_COLS], y[ROW_COLS], z[ROW_COLS];
    (void)state;
    rows_normal(8, x);
    for (int j = 0; j < ROW_COLS; j++)
        h[j] = j % 4 ? 0.01f : 1.0f;
    for (int i = 0; (s = next_written(&i)) != NULL;) {
        double plain = 0, weighted = 0;
        if (s->family == PQ_FAM_FLOAT || s->encoder == PQ_ENC_MXFP8 ||
            (s->bits == 8 && s->group == 0))
            continue; /* nothing to move: relative errors, and steps that hardly depend on clipping
                       */
        rows_through(s, PQ_SOLVER_SEARCH, x, NULL, y);
        rows_through(s, PQ_SOLVER_SEARCH, x, h, z);
        for (int j = 0; j < ROW_COLS; j++) {
            plain += (double)h[j] * pow((double)x[j] - (double)y[j], 2);
            weighted += (double)h[j] * pow((double)x[j] - (double)z[j], 2);
        }
        if (!(weighted < plain))
            fail_msg("%s: %g with importance, %g without", s->name, weighted, plain);
    }
}

/* Weights that lie on a grid already move little by a second pass. Symmetric grids with 16-bit
 * scales are found again exactly, and so are the best scales of small floats. Other searches may
 * prefer another grid where theirs did not use the outermost codes; nearest with an offset, MLX's
 * rule above all, places a new grid over the decoded range. */
static double largest_change(const struct pq_scheme *s, enum pq_solver solver)
{
    bool symmetric = s->family == PQ_FAM_INT && s->symmetric && s->aux != PQ_F32;
    if (symmetric || (s->family == PQ_FAM_FP && solver == PQ_SOLVER_SEARCH))
        return 0.0;
    return (solver == PQ_SOLVER_SEARCH ? 0.35 : 1.0) * s->rms_bound;
}

static void test_again(void **state)
{
    const struct pq_scheme *s;
    float x[ROW_COLS], y[ROW_COLS], z[ROW_COLS];
    (void)state;
    for (int i = 0; (s = next_written(&i)) != NULL;)
        for (int solver = 0; solver < 2; solver++) {
            double change = 0.0, most = largest_change(s, (enum pq_solver)solver);
            for (unsigned r = 0; r < 4; r++) {
                rows_normal(r, x);
                rows_through(s, (enum pq_solver)solver, x, NULL, y);
                rows_through(s, (enum pq_solver)solver, y, NULL, z);
                change += rows_error(y, z) / 4;
            }
            if (change > most)
                fail_msg("%s, solver %d: changed by %g, at most %g", s->name, solver, change, most);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bounds), cmocka_unit_test(test_levels),
        cmocka_unit_test(test_worst),  cmocka_unit_test(test_importance),
        cmocka_unit_test(test_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
