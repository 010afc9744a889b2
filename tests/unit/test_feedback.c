/* Rounding with feedback against GPTQ as its paper has it (an inverse that shrinks column by
 * column), and codes put into rows of every scheme. SPDX-License-Identifier: MIT */
#include "test.h"

#include "rows.h"

#include "base/mem.h"
#include "base/num.h"
#include "quant/codes.h"
#include "quant/feedback.h"

#include <math.h>

enum { N = 256, ROWS = 20, TOKENS = 2048 };

/* ---- codes ---- */

static void parts_of(const struct coded *c, void *part[PQ_MAX_PARTS])
{
    for (int i = 0; i < PQ_MAX_PARTS; i++)
        part[i] = (void *)(uintptr_t)c->part[i];
}

static uint8_t code_of(const struct pq_scheme *s, float level)
{
    const struct pq_levels l = pq_codes_levels(s);
    unsigned best = 0;
    for (unsigned c = 0; c < 1u << s->bits; c++)
        if (fabsf(pq_level(&l, c) - level) < fabsf(pq_level(&l, best) - level))
            best = c;
    return (uint8_t)best;
}

static void codes_stand_for_steps(const struct pq_scheme *s)
{
    float x[ROW_COLS], y[ROW_COLS], back[ROW_COLS], low[ROW_COLS], step[ROW_COLS];
    uint8_t code[ROW_COLS];
    struct coded c, again;
    void *part[PQ_MAX_PARTS];
    const struct pq_grid g = {low, step, code};
    const struct pq_levels l = pq_codes_levels(s);
    rows_normal(11, x);
    rows_encode(s, pq_kern_best(NULL), PQ_SOLVER_SEARCH, x, NULL, ROW_COLS, &c);
    rows_decode(s, &c, ROW_COLS, y);
    again = c;
    parts_of(&again, part);
    pq_codes_grid(s, ROW_COLS, part, &g);
    /* The codes that the row had give the row that it was. */
    for (int j = 0; j < ROW_COLS; j++)
        code[j] = code_of(s, step[j] != 0 ? (y[j] - low[j]) / step[j] : 0);
    pq_codes_put(s, code, ROW_COLS, part);
    rows_decode(s, &again, ROW_COLS, back);
    for (int j = 0; j < ROW_COLS; j++) /* two codes may stand for zero */
        if (back[j] != y[j] || (l.even && memcmp(&c, &again, sizeof c)))
            fail_msg("%s: other bytes from the same codes", s->name);
    for (int j = 0; j < ROW_COLS; j++)
        code[j] = (uint8_t)((unsigned)j * 2654435761u >> 20 & ((1u << s->bits) - 1));
    pq_codes_put(s, code, ROW_COLS, part);
    rows_decode(s, &again, ROW_COLS, y);
    for (int j = 0; j < ROW_COLS; j++)
        if (fabsf(y[j] - (low[j] + step[j] * pq_level(&l, code[j]))) > 1e-5f * fabsf(step[j] * 256))
            fail_msg("%s: column %d is %g, expected %g", s->name, j, y[j],
                     low[j] + step[j] * pq_level(&l, code[j]));
}

static void test_codes(void **state)
{
    int n = 0;
    const struct pq_scheme *s;
    (void)state;
    for (int i = 0; (s = pq_scheme_at(i)) != NULL; i++)
        if (s->encoder != PQ_ENC_NONE && pq_codes_known(s)) {
            codes_stand_for_steps(s);
            n++;
        }
    assert_true(n > 100); /* integers, MLX's widths, eleven of GGUF's blocks, code books */
}

/* ---- inputs whose columns go together ---- */

struct inputs {
    float x[TOKENS][N];
    double h[N][N];
    uint8_t lower[4 * N * (N + 1) / 2];
    struct pq_products products;
    int sweeps;
};

static float noise(uint32_t *seed)
{
    float sum = 0;
    for (int i = 0; i < 6; i++) {
        *seed = *seed * 1664525u + 1013904223u;
        sum += (float)(*seed >> 8) / (float)(1 << 24) - 0.5f;
    }
    return sum;
}

/* dead: columns without input; few: rows, fewer than columns make H singular. */
static struct inputs *inputs_new(int rows, int dead)
{
    enum { FACTORS = 12 };
    static float mix[FACTORS][N];
    struct inputs *in = (struct inputs *)pq_calloc(1, sizeof *in);
    uint32_t seed = 7;
    for (int f = 0; f < FACTORS; f++)
        for (int j = 0; j < N; j++)
            mix[f][j] = noise(&seed) * expf((float)(j % 9) * 0.3f);
    for (int t = 0; t < rows; t++) {
        float z[FACTORS];
        for (int f = 0; f < FACTORS; f++)
            z[f] = noise(&seed);
        for (int j = dead; j < N; j++) {
            in->x[t][j] = 0.3f * noise(&seed);
            for (int f = 0; f < FACTORS; f++)
                in->x[t][j] += z[f] * mix[f][j];
        }
    }
    for (int i = 0; i < N; i++)
        for (int j = 0; j <= i; j++) {
            for (int t = 0; t < rows; t++)
                in->h[i][j] += (double)in->x[t][i] * (double)in->x[t][j];
            in->h[j][i] = in->h[i][j];
            pq_put_le32(in->lower + 4 * (i * (i + 1) / 2 + j), pq_f32_bits((float)in->h[i][j]));
        }
    in->products = (struct pq_products){in->lower, N, rows};
    return in;
}

static int made(struct pq_feedback *f, const struct inputs *in, int threads, struct pq_err *e)
{
    struct pq_pool *pool;
    assert_return_code(pq_pool_new(&pool, threads, e), 0);
    int rc = pq_feedback_make(f, &in->products, in->sweeps, pool, "a.weight", e);
    pq_pool_free(pool);
    return rc;
}

/* ---- rows ---- */

struct rows {
    float w[ROWS][N], q[ROWS][N];
    uint8_t part[PQ_MAX_PARTS][ROWS * N * 4];
    struct pq_encoded to;
};

static struct rows *rows_new(const struct pq_scheme *s, const struct inputs *in)
{
    struct rows *r = (struct rows *)pq_calloc(1, sizeof *r);
    float h[N], x[ROW_COLS];
    for (int j = 0; j < N; j++)
        h[j] = (float)in->h[j][j];
    r->to.scheme = s;
    for (int i = 0; i < PQ_MAX_PARTS; i++) {
        r->to.row_bytes[i] = pq_scheme_part_bytes(s, N, i);
        r->to.at[i] = r->to.row_bytes[i] ? r->part[i] : NULL;
    }
    for (unsigned k = 0; k < ROWS; k++) {
        void *part[PQ_MAX_PARTS];
        rows_normal(k, x);
        memcpy(r->w[k], x, sizeof r->w[k]);
        for (int i = 0; i < PQ_MAX_PARTS; i++)
            part[i] = r->part[i] + k * r->to.row_bytes[i];
        pq_scheme_encode(s, pq_kern_best(NULL), PQ_SOLVER_SEARCH, r->w[k], h, N, part);
    }
    return r;
}

static void rows_back(struct rows *r)
{
    for (unsigned k = 0; k < ROWS; k++) {
        const void *part[PQ_MAX_PARTS];
        for (int i = 0; i < PQ_MAX_PARTS; i++)
            part[i] = r->part[i] + k * r->to.row_bytes[i];
        r->to.scheme->decode(r->to.scheme, part, N, r->q[k]);
    }
}

/* What the rows' outputs lose: sum of e^T H e. */
static double lost(const struct rows *r, const struct inputs *in)
{
    double sum = 0;
    for (int k = 0; k < ROWS; k++)
        for (int i = 0; i < N; i++)
            for (int j = 0; j < N; j++)
                sum += in->h[i][j] * (double)(r->w[k][i] - r->q[k][i]) *
                       (double)(r->w[k][j] - r->q[k][j]);
    return sum;
}

static void fed_back(const struct pq_feedback *f, struct rows *r)
{
    float *scratch = (float *)pq_calloc((size_t)pq_feedback_floats(N), sizeof *scratch);
    pq_feedback_run(f, &r->to, r->w[0], ROWS, scratch);
    pq_free(scratch);
    rows_back(r);
}

/* ---- the paper's way ---- */

static void invert(double a[N][N])
{
    for (int p = 0; p < N; p++) {
        const double pivot = a[p][p];
        a[p][p] = 1;
        for (int j = 0; j < N; j++)
            a[p][j] /= pivot;
        for (int i = 0; i < N; i++) {
            const double t = a[i][p];
            if (i == p)
                continue;
            a[i][p] = 0;
            for (int j = 0; j < N; j++)
                a[i][j] -= t * a[p][j];
        }
    }
}

/* Codes one column after the other; the inverse loses each that is done. */
static void paper(const struct inputs *in, const uint32_t *order, double share, struct rows *r)
{
    static double inverse[N][N], w[ROWS][N];
    double mean = 0;
    for (int i = 0; i < N; i++)
        mean += in->h[i][i] / N;
    memcpy(inverse, in->h, sizeof inverse);
    for (int i = 0; i < N; i++)
        inverse[i][i] += share * mean;
    invert(inverse);
    for (int k = 0; k < ROWS; k++)
        for (int i = 0; i < N; i++)
            w[k][i] = (double)r->w[k][i];
    for (int step = 0; step < N; step++) {
        const uint32_t j = order[step];
        for (unsigned k = 0; k < ROWS; k++) {
            void *part[PQ_MAX_PARTS];
            float low[N], width[N];
            uint8_t code[N];
            const struct pq_grid g = {low, width, code};
            for (int i = 0; i < PQ_MAX_PARTS; i++)
                part[i] = r->part[i] + k * r->to.row_bytes[i];
            pq_codes_grid(r->to.scheme, N, part, &g);
            const struct pq_levels l = pq_codes_levels(r->to.scheme);
            const float level = (float)((w[k][j] - (double)low[j]) / (double)width[j]);
            r->q[k][j] = low[j] + pq_level(&l, code_of(r->to.scheme, level)) * width[j];
            const double wrong = (w[k][j] - (double)r->q[k][j]) / inverse[j][j];
            for (int i = 0; i < N; i++)
                w[k][i] -= wrong * inverse[j][i];
        }
        for (int a = 0; a < N; a++)
            for (int b = 0; b < N; b++)
                if (a != (int)j && b != (int)j)
                    inverse[a][b] -= inverse[a][j] * inverse[j][b] / inverse[j][j];
        for (int a = 0; a < N; a++)
            inverse[a][j] = inverse[j][a] = a == (int)j;
    }
}

static void test_equal_to_the_paper(void **state)
{
    static const char *const names[] = {"uint4g32", "int4g64", "affine3g64", "q4_k", "iq4_xs"};
    struct inputs *in = inputs_new(TOKENS, 0);
    struct pq_feedback f;
    struct pq_err e = {0};
    (void)state;
    assert_return_code(made(&f, in, 2, &e), 0);
    for (int j = 1; j < N; j++) /* largest first */
        assert_true(in->h[f.order[j - 1]][f.order[j - 1]] >= in->h[f.order[j]][f.order[j]]);
    for (size_t i = 0; i < PQ_LEN(names); i++) {
        struct rows *a = rows_new(pq_scheme_find(names[i]), in), *b = rows_new(a->to.scheme, in);
        int same = 0;
        rows_back(a);
        const double before = lost(a, in);
        fed_back(&f, a);
        paper(in, f.order, 0.12 * N / TOKENS, b);
        for (int k = 0; k < ROWS; k++)
            for (int j = 0; j < N; j++)
                same += fabsf(a->q[k][j] - b->q[k][j]) < 1e-6f;
        const double after = lost(a, in), wanted = lost(b, in);
        if (same < ROWS * N * 0.97 || fabs(after / wanted - 1) > 0.02 || after > 0.5 * before)
            fail_msg("%s: %d of %d codes, %g lost, the paper's way %g, without feedback %g",
                     names[i], same, ROWS * N, after, wanted, before);
        pq_free(a);
        pq_free(b);
    }
    pq_feedback_free(&f);
    pq_free(in);
}

/* ---- sweeps ---- */

/* The loss that sweeps go down on: with what was added to the diagonal. */
static double damped(const struct rows *r, const struct inputs *in, const struct pq_feedback *f)
{
    double sum = lost(r, in);
    for (int k = 0; k < ROWS; k++)
        for (int j = 0; j < N; j++) {
            const double e = (double)(r->w[k][j] - r->q[k][j]);
            sum += e * e * ((double)f->h[j * N + j] - in->h[j][j]);
        }
    return sum;
}

static double swept(const struct pq_scheme *s, const struct inputs *in, struct pq_feedback *f,
                    int sweeps)
{
    struct rows *r = rows_new(s, in);
    f->sweeps = sweeps;
    fed_back(f, r);
    const double loss = damped(r, in, f);
    pq_free(r);
    return loss;
}

/* Every sweep goes down, for every scheme whose codes can be chosen; what moved is in the bytes. */
static void test_sweeps(void **state)
{
    struct inputs *in = inputs_new(TOKENS, 3);
    struct pq_feedback f;
    struct pq_err e = {0};
    const struct pq_scheme *s;
    double gain = 0;
    int n = 0;
    (void)state;
    in->sweeps = 1;
    assert_return_code(made(&f, in, 2, &e), 0);
    for (int i = 0; (s = pq_scheme_at(i)) != NULL; i++) {
        if (s->encoder == PQ_ENC_NONE || !pq_codes_known(s) || s->byte_zeros || N % s->block)
            continue;
        const double none = swept(s, in, &f, 0), one = swept(s, in, &f, 1),
                     three = swept(s, in, &f, 3);
        if (!(one < none && three <= one * (1 + 1e-5)))
            fail_msg("%s: %g without sweeps, %g after one, %g after three", s->name, none, one,
                     three);
        gain += 1 - three / none;
        n++;
    }
    assert_true(n > 60);
    assert_true(gain / n > 0.03);
    pq_feedback_free(&f);
    pq_free(in);
}

/* A scale is where the table says: twice as large, and what is proportional to it is. */
static void scales_are_there(const struct pq_scheme *s)
{
    float x[ROW_COLS], low[2][ROW_COLS], step[2][ROW_COLS];
    uint8_t code[ROW_COLS];
    struct coded c;
    void *part[PQ_MAX_PARTS];
    const struct pq_scales a = pq_codes_scales(s, ROW_COLS);
    rows_normal(3, x);
    rows_encode(s, pq_kern_best(NULL), PQ_SOLVER_SEARCH, x, NULL, ROW_COLS, &c);
    parts_of(&c, part);
    pq_codes_grid(s, ROW_COLS, part, &(struct pq_grid){low[0], step[0], code});
    for (int kind = 0; kind < a.n; kind++) {
        const float was = pq_scales_get(&a, kind, 1, part);
        assert_true(pq_scales_round(&a, was) == was);
        pq_scales_put(&a, kind, 1, 2 * was, part);
        assert_true(pq_scales_get(&a, kind, 1, part) == 2 * was);
        pq_codes_grid(s, ROW_COLS, part, &(struct pq_grid){low[1], step[1], code});
        pq_scales_put(&a, kind, 1, was, part);
        for (uint64_t j = 0; j < ROW_COLS; j++) {
            const bool mine = j / a.span == 1;
            const float l = mine && a.kind[kind].of != PQ_SCALES_STEP ? 2 : 1;
            const float t = mine && a.kind[kind].of != PQ_SCALES_LOW ? 2 : 1;
            if (fabsf(low[1][j] - l * low[0][j]) > 1e-5f * fabsf(low[0][j]) ||
                fabsf(step[1][j] - t * step[0][j]) > 3e-4f * fabsf(step[0][j]))
                fail_msg("%s: kind %d, column %d: %g + %g c, was %g + %g c", s->name, kind, (int)j,
                         low[1][j], step[1][j], low[0][j], step[0][j]);
        }
    }
}

static void test_scales(void **state)
{
    const struct pq_scheme *s;
    int n = 0;
    (void)state;
    for (int i = 0; (s = pq_scheme_at(i)) != NULL; i++)
        if (s->encoder != PQ_ENC_NONE && pq_codes_known(s) &&
            pq_codes_scales(s, ROW_COLS).span <= ROW_COLS / 2) {
            scales_are_there(s);
            n++;
        }
    assert_true(n > 60);
}

static void test_threads(void **state)
{
    struct inputs *in = inputs_new(TOKENS, 0);
    struct pq_feedback first, f;
    struct pq_err e = {0};
    (void)state;
    assert_return_code(made(&first, in, 1, &e), 0);
    for (int threads = 2; threads < 5; threads++) {
        assert_return_code(made(&f, in, threads, &e), 0);
        assert_memory_equal(f.u, first.u, N * N * sizeof *f.u);
        assert_memory_equal(f.order, first.order, N * sizeof *f.order);
        pq_feedback_free(&f);
    }
    pq_feedback_free(&first);
    pq_free(in);
}

/* Fewer rows than columns, columns without input: it still loses less than without feedback, and
 * weights without input stay close to what they were. */
static void test_little_is_known(void **state)
{
    static const struct {
        int rows, dead;
    } cases[] = {{1, 0}, {40, 0}, {TOKENS, 30}, {40, 200}};
    (void)state;
    for (size_t i = 0; i < PQ_LEN(cases); i++) {
        struct inputs *in = inputs_new(cases[i].rows, cases[i].dead);
        struct rows *r = rows_new(pq_scheme_find("uint4g32"), in);
        struct pq_feedback f;
        struct pq_err e = {0};
        if (made(&f, in, 2, &e) < 0)
            fail_msg("%s", e.msg);
        rows_back(r);
        const double before = lost(r, in);
        fed_back(&f, r);
        assert_true(lost(r, in) < before);
        for (int k = 0; k < ROWS; k++)
            for (int j = 0; j < N; j++)
                assert_true(fabsf(r->q[k][j]) < 0.5f);
        for (int k = 0; k < ROWS; k++)
            for (int j = 0; j < cases[i].dead; j++)
                assert_true(fabsf(r->w[k][j] - r->q[k][j]) < 0.02f);
        pq_feedback_free(&f);
        pq_free(r);
        pq_free(in);
    }
}

static void test_refused(void **state)
{
    static const struct {
        int at;
        float value;
        const char *words;
    } cases[] = {{N * (N + 1) / 2 - 1, NAN, "a.weight: the square of column 255 is nan"},
                 {0, -1.0f, "a.weight: the square of column 0 is -1"},
                 {0, INFINITY, "a.weight: the square of column 0 is inf"},
                 {1, NAN, "a.weight are not those of any inputs"},
                 {1, 1e30f, "a.weight are not those of any inputs"}};
    (void)state;
    for (size_t i = 0; i < PQ_LEN(cases); i++) {
        struct inputs *in = inputs_new(64, 0);
        struct pq_feedback f;
        struct pq_err e = {0};
        pq_put_le32(in->lower + 4 * cases[i].at, pq_f32_bits(cases[i].value));
        assert_int_equal(made(&f, in, 2, &e), PQ_EFORMAT);
        assert_words(e, cases[i].words);
        pq_free(in);
    }
    struct inputs *none = inputs_new(0, 0);
    struct pq_feedback f;
    struct pq_err e = {0};
    none->products.rows = 1;
    assert_int_equal(made(&f, none, 1, &e), PQ_EFORMAT);
    assert_words(e, "a.weight: no column has any input");
    pq_free(none);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_codes),   cmocka_unit_test(test_equal_to_the_paper),
        cmocka_unit_test(test_threads), cmocka_unit_test(test_little_is_known),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_sweeps),
        cmocka_unit_test(test_scales),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
