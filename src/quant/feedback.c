/* The products of inputs and their factor: nearly all work is products of rows of floats, which are
 * the forward pass's kernels. SPDX-License-Identifier: MIT */
#include "quant/feedback.h"

#include "base/mem.h"
#include "base/num.h"

#include <math.h>
#include <stdlib.h>

enum { PANEL = 64, TILE = 16 };

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

/* Row i of the products themselves, in the matrix's own order. */
static void fill_products(void *ctx, uint64_t i, int worker)
{
    const struct factor *c = (const struct factor *)ctx;
    float *row = c->f->h + i * c->f->n;
    (void)worker;
    for (uint64_t j = 0; j < c->f->n; j++)
        row[j] = product_at(c->p, i, j);
    row[i] += (float)c->damp;
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

int pq_feedback_make(struct pq_feedback *f, const struct pq_products *p, int sweeps,
                     struct pq_pool *pool, const char *name, struct pq_err *e)
{
    int rc = PQ_OK;
    const size_t n = (size_t)p->n;
    struct column *col = (struct column *)pq_calloc(n, sizeof *col);
    struct factor c = {.f = f, .p = p, .size = (double *)pq_calloc(n, sizeof *c.size)};
    double mean;
    *f = (struct pq_feedback){.compute = pq_compute_best(NULL),
                              .n = n,
                              .sweeps = sweeps,
                              .order = (uint32_t *)pq_calloc(n, sizeof *f->order),
                              .u = (float *)pq_calloc(n, n * sizeof *f->u),
                              .h = (float *)pq_calloc(sweeps ? n : 0, n * sizeof *f->h)};
    if (!col || !c.size || !f->order || !f->u || !f->h)
        PQ_TRY(pq_fail(e, PQ_ENOMEM, "%s: out of memory for %zu x %zu products", name, n, n));
    PQ_TRY(sort_columns(f, p, col, &mean, name, e));
    if (mean == 0)
        PQ_TRY(pq_fail(e, PQ_EFORMAT, "products of %s: no column has any input", name));
    if (solve(&c, col, mean, pool) < 0)
        PQ_TRY(pq_fail(e, PQ_EFORMAT, "products of %s are not those of any inputs", name));
    if (sweeps)
        pq_pool_each(pool, n, fill_products, &c);
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
    pq_free(f->h);
    *f = (struct pq_feedback){0};
}
