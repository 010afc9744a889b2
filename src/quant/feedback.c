/* The factor, and rows chosen with it: nearly all work is products of rows of floats, which are the
 * forward pass's kernels. SPDX-License-Identifier: MIT */
#include "quant/feedback.h"

#include "base/mem.h"
#include "base/num.h"
#include "quant/codes.h"

#include <math.h>
#include <stdlib.h>

enum { PANEL = 64, TILE = 16, STEP = 32 };

/* ---- the order of columns ---- */

struct column {
    double energy;
    uint32_t index;
};

static int larger_first(const void *a, const void *b)
{
    const struct column *x = (const struct column *)a, *y = (const struct column *)b;
    if (x->energy != y->energy)
        return x->energy < y->energy ? 1 : -1;
    return x->index < y->index ? -1 : 1;
}

static float product_at(const struct pq_products *p, uint64_t i, uint64_t j)
{
    const uint64_t row = i > j ? i : j, col = i > j ? j : i;
    return pq_bits_f32(pq_le32(p->lower + 4 * (row * (row + 1) / 2 + col)));
}

/* ---- factorisation ---- */

/* The matrix in reverse order, so that its lower factor is the upper one in the right order; rows
 * and columns are scaled to a diagonal of ones. */
struct factor {
    const struct pq_feedback *f;
    const struct pq_products *p;
    double *size; /* [n], by what column order[j] was divided */
    double damp;  /* added to the diagonal */
    uint64_t j0, j1;
};

static uint64_t reversed(const struct factor *c, uint64_t i)
{
    return c->f->n - 1 - i;
}

static void fill_row(void *ctx, uint64_t i, int worker)
{
    const struct factor *c = (const struct factor *)ctx;
    float *row = c->f->u + i * c->f->n;
    const uint64_t ri = reversed(c, i);
    (void)worker;
    for (uint64_t j = 0; j < i; j++) {
        const uint64_t rj = reversed(c, j);
        const double h = product_at(c->p, c->f->order[ri], c->f->order[rj]);
        row[j] = (float)(h / (c->size[ri] * c->size[rj]));
    }
    row[i] = 1.0f;
}

/* Takes what the columns before the panel explain from TILE rows of the panel. */
static void update_rows(void *ctx, uint64_t item, int worker)
{
    const struct factor *c = (const struct factor *)ctx;
    const uint64_t n = c->f->n, r0 = c->j0 + item * TILE;
    float *a = c->f->u, tile[PANEL * TILE];
    const struct pq_dots d = {.w = a + r0 * n,
                              .w_step = n * sizeof *a,
                              .rows = n - r0 < TILE ? n - r0 : TILE,
                              .cols = c->j0,
                              .x = a + c->j0 * n,
                              .x_step = n,
                              .n = c->j1 - c->j0,
                              .out = tile,
                              .out_step = TILE};
    (void)worker;
    c->f->compute->dots[PQ_DENSE_F32](&d);
    for (uint64_t r = 0; r < d.rows; r++)
        for (uint64_t j = c->j0; j < c->j1 && j <= r0 + r; j++)
            a[(r0 + r) * n + j] -= tile[(j - c->j0) * TILE + r];
}

/* Row i of the panel divided by the panel's triangle: up to the diagonal, which stays. */
static void divide_row(const struct factor *c, uint64_t i)
{
    const uint64_t n = c->f->n;
    float *row = c->f->u + i * n;
    for (uint64_t j = c->j0; j < c->j1 && j < i; j++) {
        const float *other = c->f->u + j * n;
        double sum = row[j];
        for (uint64_t k = c->j0; k < j; k++)
            sum -= (double)row[k] * (double)other[k];
        row[j] = (float)(sum / (double)other[j]);
    }
}

static void divide_rows(void *ctx, uint64_t item, int worker)
{
    const struct factor *c = (const struct factor *)ctx;
    (void)worker;
    for (uint64_t i = c->j1 + item * TILE; i < c->f->n && i < c->j1 + (item + 1) * TILE; i++)
        divide_row(c, i);
}

/* The panel's own triangle; false when the matrix is not positive definite. */
static bool factor_triangle(const struct factor *c)
{
    for (uint64_t i = c->j0; i < c->j1; i++) {
        float *row = c->f->u + i * c->f->n;
        divide_row(c, i);
        double left = row[i];
        for (uint64_t k = c->j0; k < i; k++)
            left -= (double)row[k] * (double)row[k];
        if (!(left > 1e-7))
            return false;
        row[i] = (float)sqrt(left);
    }
    return true;
}

static bool factorize(struct factor *c, struct pq_pool *pool)
{
    const uint64_t n = c->f->n;
    pq_pool_each(pool, n, fill_row, c);
    for (c->j0 = 0; c->j0 < n; c->j0 = c->j1) {
        c->j1 = n - c->j0 < PANEL ? n : c->j0 + PANEL;
        if (c->j0)
            pq_pool_each(pool, pq_ceil_div(n - c->j0, TILE), update_rows, c);
        if (!factor_triangle(c))
            return false;
        pq_pool_each(pool, pq_ceil_div(n - c->j1, TILE), divide_rows, c);
    }
    return true;
}

/* From the reversed, scaled lower factor to U: mirrored at the other diagonal. */
static void turn_round(const struct factor *c)
{
    const uint64_t n = c->f->n;
    float *a = c->f->u;
    for (uint64_t i = 0; i < n; i++)
        for (uint64_t j = 0; j <= i && i + j < n - 1; j++) {
            float *x = &a[i * n + j], *y = &a[(n - 1 - j) * n + n - 1 - i], t = *x;
            *x = *y;
            *y = t;
        }
    for (uint64_t j = 0; j < n; j++)
        for (uint64_t k = 0; k < j; k++)
            a[j * n + k] =
                (float)((double)a[j * n + k] / (double)a[j * n + j] * c->size[k] / c->size[j]);
}

/* ---- making ---- */

/* Few rows say little about n columns: more is added to the diagonal (as a share of its mean). */
static double usual_damp(const struct pq_products *p)
{
    const double share = 0.12 * (double)p->n / p->rows;
    return share < 0.01 ? 0.01 : share > 0.3 ? 0.3 : share;
}

static int sort_columns(const struct pq_feedback *f, const struct pq_products *p,
                        struct column *col, double *mean, const char *name, struct pq_err *e)
{
    *mean = 0;
    for (uint64_t i = 0; i < p->n; i++) {
        col[i] = (struct column){product_at(p, i, i), (uint32_t)i};
        if (!(col[i].energy >= 0 && col[i].energy < INFINITY))
            return pq_fail(e, PQ_EFORMAT, "products of %s: the square of column %llu is %g", name,
                           (unsigned long long)i, col[i].energy);
        *mean += col[i].energy / (double)p->n;
    }
    qsort(col, (size_t)p->n, sizeof *col, larger_first);
    for (uint64_t j = 0; j < p->n; j++)
        f->order[j] = col[j].index;
    return PQ_OK;
}

static int solve(struct factor *c, const struct column *col, double mean, struct pq_pool *pool)
{
    for (double share = usual_damp(c->p); share < 100; share *= 4) {
        c->damp = share * mean;
        for (uint64_t j = 0; j < c->p->n; j++)
            c->size[j] = sqrt(col[j].energy + c->damp);
        if (factorize(c, pool)) {
            turn_round(c);
            return PQ_OK;
        }
    }
    return PQ_EFORMAT;
}

int pq_feedback_make(struct pq_feedback *f, const struct pq_products *p, struct pq_pool *pool,
                     const char *name, struct pq_err *e)
{
    int rc = PQ_OK;
    const size_t n = (size_t)p->n;
    struct column *col = (struct column *)pq_calloc(n, sizeof *col);
    struct factor c = {.f = f, .p = p, .size = (double *)pq_calloc(n, sizeof *c.size)};
    double mean;
    *f = (struct pq_feedback){.compute = pq_compute_best(NULL),
                              .n = n,
                              .order = (uint32_t *)pq_calloc(n, sizeof *f->order),
                              .u = (float *)pq_calloc(n, n * sizeof *f->u)};
    if (!col || !c.size || !f->order || !f->u)
        PQ_TRY(pq_fail(e, PQ_ENOMEM, "%s: out of memory for %zu x %zu products", name, n, n));
    PQ_TRY(sort_columns(f, p, col, &mean, name, e));
    if (mean == 0)
        PQ_TRY(pq_fail(e, PQ_EFORMAT, "products of %s: no column has any input", name));
    if (solve(&c, col, mean, pool) < 0)
        PQ_TRY(pq_fail(e, PQ_EFORMAT, "products of %s are not those of any inputs", name));
out:
    if (rc < 0)
        pq_feedback_free(f);
    pq_free(col);
    pq_free(c.size);
    return rc;
}

void pq_feedback_free(struct pq_feedback *f)
{
    pq_free(f->order);
    pq_free(f->u);
    *f = (struct pq_feedback){0};
}

/* ---- choosing codes ---- */

/* TILE rows at once. */
struct work {
    const struct pq_feedback *f;
    const float *x; /* [rows][n] */
    uint64_t rows;
    struct pq_levels levels;
    int last;                    /* code */
    float *lost;                 /* [TILE][n], in the order of choosing */
    float *low, *step;           /* [TILE][n] */
    uint8_t *code;               /* [TILE][n] */
    float fed_back[TILE * STEP]; /* by the columns before this step */
};

uint64_t pq_feedback_floats(uint64_t cols)
{
    return TILE * (3 * cols + pq_ceil_div(cols, sizeof(float)));
}

static uint8_t nearest_in_table(const float value[16], float v)
{
    uint8_t best = 0;
    for (uint8_t c = 1; c < 16; c++)
        best = fabsf(value[c] - v) < fabsf(value[best] - v) ? c : best;
    return best;
}

static uint8_t nearest(const struct work *w, float v, float low, float step)
{
    const float c = step != 0 ? (v - low) / step : 0;
    const int last = w->last;
    if (!w->levels.even)
        return nearest_in_table(w->levels.value, c);
    return c <= 0 ? 0 : c >= (float)last ? (uint8_t)last : (uint8_t)(c + 0.5f);
}

/* Columns order[j0] to order[j1 - 1] of one row. */
static void choose(const struct work *w, uint64_t r, uint64_t j0, uint64_t j1)
{
    const uint64_t n = w->f->n;
    float *lost = w->lost + r * n;
    for (uint64_t j = j0; j < j1; j++) {
        const uint64_t at = r * n + w->f->order[j];
        const float *u = w->f->u + j * n;
        float v = w->x[at] + w->fed_back[r * STEP + (j - j0)];
        for (uint64_t k = j0; k < j; k++)
            v += u[k] * lost[k];
        w->code[at] = nearest(w, v, w->low[at], w->step[at]);
        lost[j] = w->x[at] - (w->low[at] + w->step[at] * pq_level(&w->levels, w->code[at]));
    }
}

static void choose_all(struct work *w)
{
    const uint64_t n = w->f->n;
    for (uint64_t j0 = 0, j1; j0 < n; j0 = j1) {
        j1 = n - j0 < STEP ? n : j0 + STEP;
        const struct pq_dots d = {.w = w->f->u + j0 * n,
                                  .w_step = n * sizeof *w->f->u,
                                  .rows = j1 - j0,
                                  .cols = j0,
                                  .x = w->lost,
                                  .x_step = n,
                                  .n = w->rows,
                                  .out = w->fed_back,
                                  .out_step = STEP};
        memset(w->fed_back, 0, sizeof w->fed_back);
        if (j0)
            w->f->compute->dots[PQ_DENSE_F32](&d);
        for (uint64_t r = 0; r < w->rows; r++)
            choose(w, r, j0, j1);
    }
}

static void row_parts(const struct pq_encoded *to, uint64_t row, void *part[PQ_MAX_PARTS])
{
    for (int i = 0; i < PQ_MAX_PARTS; i++)
        part[i] = to->at[i] ? to->at[i] + row * to->row_bytes[i] : NULL;
}

void pq_feedback_run(const struct pq_feedback *f, const struct pq_encoded *to, const float *x,
                     uint64_t n, float *scratch)
{
    const uint64_t cols = f->n;
    struct work w = {.f = f,
                     .levels = pq_codes_levels(to->scheme),
                     .last = (1 << to->scheme->bits) - 1,
                     .lost = scratch};
    void *part[PQ_MAX_PARTS];
    w.low = w.lost + TILE * cols;
    w.step = w.low + TILE * cols;
    w.code = (uint8_t *)(w.step + TILE * cols);
    for (uint64_t at = 0; at < n; at += TILE) {
        w.rows = n - at < TILE ? n - at : TILE;
        w.x = x + at * cols;
        for (uint64_t r = 0; r < w.rows; r++) {
            const struct pq_grid g = {w.low + r * cols, w.step + r * cols, w.code + r * cols};
            row_parts(to, at + r, part);
            pq_codes_grid(to->scheme, cols, part, &g);
        }
        choose_all(&w);
        for (uint64_t r = 0; r < w.rows; r++) {
            row_parts(to, at + r, part);
            pq_codes_put(to->scheme, w.code + r * cols, cols, part);
        }
    }
}
