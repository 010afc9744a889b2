/* Products of weights and activations, a block of rows at a time. SPDX-License-Identifier: MIT */
#include "infer/linear.h"

#include "base/num.h"

/* Can the kernels read rows of this type where they lie? */
static bool dense_type(const struct pq_view *v, enum pq_dense *type)
{
    static const struct {
        enum pq_dtype dtype;
        enum pq_dense dense;
    } types[] = {{PQ_F32, PQ_DENSE_F32}, {PQ_F16, PQ_DENSE_F16}, {PQ_BF16, PQ_DENSE_BF16}};
    for (size_t i = 0; i < PQ_LEN(types) && !v->turned && !v->factor; i++)
        if (v->scheme->family == PQ_FAM_FLOAT && v->scheme->dtype == types[i].dtype) {
            *type = types[i].dense;
            return true;
        }
    return false;
}

const struct pq_slice *pq_linear_slice(const struct pq_tensor *t, uint64_t *row, uint64_t *left)
{
    const struct pq_slice *s = t->slice;
    while (*row >= s->rows)
        *row -= s++->rows;
    *left = s->rows - *row;
    *row += s->row0;
    return s;
}

/* Points d at d->rows rows from r0 on, which one slice holds: where they lie, or decoded into the
 * worker's scratch. */
static enum pq_dense prepare(const struct pq_product *p, uint64_t r0, int worker, struct pq_dots *d)
{
    enum pq_dense type = PQ_DENSE_F32;
    uint64_t row = r0, left;
    const struct pq_engine *g = p->engine;
    const struct pq_view *v = &pq_linear_slice(p->linear->w, &row, &left)->view;
    if (dense_type(v, &type)) {
        d->w_step = pq_scheme_part_bytes(v->scheme, v->cols, 0);
        d->w = v->part[0] + row * d->w_step;
        return type;
    }
    float *w = g->scratch + (uint64_t)worker * PQ_STRIP_ROWS * g->max_cols;
    d->w_step = v->cols * sizeof *w;
    d->w = w;
    if (p->linear->code.type != PQ_CODES_TYPES)
        pq_linear_widen(p, r0, d->rows, worker, w);
    else
        for (uint64_t r = 0; r < d->rows; r++)
            pq_view_row(v, g->kern, row + r, w + r * v->cols);
    return type;
}

enum { TOKENS = 64 }; /* of the results that wait for their bias */

void pq_product_put(const struct pq_product *p, uint64_t r0, uint64_t rows, uint64_t t0, uint64_t n,
                    const float *y)
{
    const float *bias = p->linear->bias ? p->linear->bias + r0 : NULL;
    for (uint64_t t = 0; t < n; t++) {
        float *out = p->out + (t0 + t) * p->out_step + r0;
        for (uint64_t r = 0; r < rows; r++) {
            float v = y[t * PQ_STRIP_ROWS + r] + (bias ? bias[r] : 0.0f);
            out[r] = p->add ? out[r] + v : v;
        }
    }
}

/* `rows` rows of one slice for all tokens. */
static void piece(const struct pq_product *p, uint64_t r0, uint64_t rows, struct pq_dots *d,
                  enum pq_dense type)
{
    float tile[TOKENS * PQ_STRIP_ROWS];
    d->x_step = p->x_step;
    d->out = tile;
    d->out_step = PQ_STRIP_ROWS;
    for (uint64_t t = 0; t < p->n; t += TOKENS) {
        d->n = p->n - t < TOKENS ? p->n - t : TOKENS;
        d->x = p->x + t * p->x_step;
        p->engine->compute->dots[type](d);
        pq_product_put(p, r0, rows, t, d->n, tile);
    }
}

static void block(void *ctx, uint64_t item, int worker)
{
    const struct pq_product *p = (const struct pq_product *)ctx;
    const struct pq_tensor *w = p->linear->w;
    uint64_t r0 = item * PQ_STRIP_ROWS, end = r0 + PQ_STRIP_ROWS;
    end = end < w->rows ? end : w->rows;
    while (r0 < end) {
        struct pq_dots d = {.cols = w->cols};
        uint64_t row = r0, rows;
        pq_linear_slice(w, &row, &rows);
        d.rows = rows = rows < end - r0 ? rows : end - r0;
        enum pq_dense type = prepare(p, r0, worker, &d);
        piece(p, r0, rows, &d, type);
        r0 += rows;
    }
}

void pq_product_run(const struct pq_product *p)
{
    struct pq_product copy = *p;
    if (p->engine->fast && p->linear->code.type != PQ_CODES_TYPES) {
        pq_product_integers(p);
        return;
    }
    pq_pool_each(p->engine->pool, pq_ceil_div(p->linear->w->rows, PQ_STRIP_ROWS), block, &copy);
}
