/* Products of rows by rows, in tiles. SPDX-License-Identifier: MIT */
#include "refine/math.h"

#include "base/num.h"

/* TILE rows of b with STRIP rows of a at a time. */
enum { TILE = 16, STRIP = 64 };

struct times {
    const struct pq_math *m;
    const struct pq_rows *a, *b, *c;
    bool add;
};

static void add_tile(const struct pq_rows *c, const struct pq_dots *d, uint64_t i0, uint64_t j0)
{
    for (uint64_t i = 0; i < d->n; i++)
        for (uint64_t j = 0; j < d->rows; j++)
            c->at[(i0 + i) * c->step + j0 + j] += d->out[i * d->out_step + j];
}

static void times_tile(void *ctx, uint64_t item, int worker)
{
    const struct times *t = (const struct times *)ctx;
    const struct pq_rows *a = t->a, *b = t->b, *c = t->c;
    const uint64_t strips = pq_ceil_div(a->rows, STRIP);
    const uint64_t i0 = item % strips * STRIP, j0 = item / strips * TILE;
    float tile[STRIP * TILE];
    const struct pq_dots d = {.w = b->at + j0 * b->step,
                              .w_step = b->step * sizeof *b->at,
                              .rows = b->rows - j0 < TILE ? b->rows - j0 : TILE,
                              .cols = b->cols,
                              .x = a->at + i0 * a->step,
                              .x_step = a->step,
                              .n = a->rows - i0 < STRIP ? a->rows - i0 : STRIP,
                              .out = t->add ? tile : c->at + i0 * c->step + j0,
                              .out_step = t->add ? TILE : c->step};
    (void)worker;
    t->m->compute->dots[PQ_DENSE_F32](&d);
    if (t->add)
        add_tile(c, &d, i0, j0);
}

void pq_math_times(const struct pq_math *m, const struct pq_rows *a, const struct pq_rows *b,
                   const struct pq_rows *c, bool add)
{
    struct times t = {m, a, b, c, add};
    pq_pool_each(m->pool, pq_ceil_div(a->rows, STRIP) * pq_ceil_div(b->rows, TILE), times_tile, &t);
}

struct turn {
    const struct pq_rows *from;
    float *to;
};

static void turn_columns(void *ctx, uint64_t item, int worker)
{
    const struct turn *t = (const struct turn *)ctx;
    const struct pq_rows *f = t->from;
    const uint64_t j0 = item * TILE, j1 = j0 + TILE < f->cols ? j0 + TILE : f->cols;
    (void)worker;
    for (uint64_t i = 0; i < f->rows; i++)
        for (uint64_t j = j0; j < j1; j++)
            t->to[j * f->rows + i] = f->at[i * f->step + j];
}

struct pq_rows pq_math_turn(const struct pq_math *m, const struct pq_rows *from, float *to)
{
    struct turn t = {from, to};
    pq_pool_each(m->pool, pq_ceil_div(from->cols, TILE), turn_columns, &t);
    return (struct pq_rows){to, from->cols, from->rows, from->rows};
}
