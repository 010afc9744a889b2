/*
 * Products of codes and rounded activations. A worker spreads a strip of rows out in its own memory
 * (nothing is repacked when a model is opened): with few tokens they are used as they lie, with
 * many they are turned round first. SPDX-License-Identifier: MIT
 */
#include "infer/linear.h"

#include "base/num.h"

enum { FEW = 3 }; /* tokens for which turning round does not pay */

struct job {
    const struct pq_product *p;
    struct pq_strip shape; /* without memory */
    uint64_t rows_at_once;
};

static struct pq_strip shape_of(const struct pq_linear *l)
{
    const struct pq_code_rule *r = &l->code;
    return (struct pq_strip){.step = pq_round_up(l->w->cols, PQ_STRIP_STEP),
                             .cols = l->w->cols,
                             .group = r->group,
                             .zero = r->zero,
                             .has_offsets = r->has_offsets,
                             .bits = r->bits};
}

/* The shape with a worker's memory. */
static struct pq_strip strip_of(const struct pq_engine *g, const struct pq_strip *shape, int worker)
{
    struct pq_strip s = *shape;
    s.q = g->strip[worker].q;
    s.scale = g->strip[worker].scale;
    s.offset = g->strip[worker].offset;
    return s;
}

/* ---- panels: as many of the widest as there are tokens for, then narrower ones ---- */

static uint64_t panel_width(uint64_t n, uint64_t first)
{
    const uint64_t left = n - first;
    return left >= PQ_PANEL ? PQ_PANEL : left >= 4 ? 4 : 1;
}

static uint64_t panels_of(uint64_t n)
{
    return n / PQ_PANEL + n % PQ_PANEL / 4 + n % PQ_PANEL % 4;
}

static uint64_t panel_first(uint64_t n, uint64_t panel)
{
    uint64_t first = 0;
    while (panel-- > 0)
        first += panel_width(n, first);
    return first;
}

static struct pq_panel panel_at(const struct job *j, uint64_t first)
{
    const struct pq_panel *a = &j->p->engine->acts;
    const uint64_t step = j->shape.step, groups = step / j->shape.group;
    return (struct pq_panel){.width = panel_width(j->p->n, first),
                             .q = a->q + first * step,
                             .scale = a->scale + first * (step / PQ_ACT_BLOCK),
                             .start = a->start + first * groups,
                             .sum = a->sum + first * groups,
                             .shift = a->shift + first * groups};
}

static void round_panel(void *ctx, uint64_t panel, int worker)
{
    const struct job *j = (const struct job *)ctx;
    const uint64_t first = panel_first(j->p->n, panel);
    const struct pq_panel to = panel_at(j, first);
    (void)worker;
    j->p->engine->compute->round_panel(&j->shape, j->p->x + first * j->p->x_step, j->p->x_step,
                                       &to);
}

/* ---- strips ---- */

/* The parts of a row. */
static struct pq_codes_in stored_row(const struct pq_linear *l, uint64_t row)
{
    struct pq_codes_in in = l->code.in;
    uint64_t left;
    const struct pq_slice *slice = pq_linear_slice(l->w, &row, &left);
    for (int i = 0; i < PQ_MAX_PARTS; i++)
        if (slice->view.part[i])
            in.part[i] = slice->view.part[i] + row * l->part_bytes[i];
    return in;
}

static void spread(const struct pq_product *p, const struct pq_codes_in *in, uint64_t rows,
                   const struct pq_strip *s)
{
    const uint64_t groups = s->step / s->group;
    for (uint64_t r = 0; r < rows; r++)
        p->engine->compute->spread[p->linear->code.type](
            &in[r], s->q + r * s->step, s->scale + r * groups, s->offset + r * groups);
}

/* Zero points stay apart from scales, as in the decoders: scales in single precision would have to
 * be rounded once more. */
void pq_linear_widen(const struct pq_product *p, uint64_t r0, uint64_t rows, int worker, float *x)
{
    const struct pq_strip shape = shape_of(p->linear);
    const int zeros = (int)p->linear->code.in.zeros;
    struct pq_strip s = strip_of(p->engine, &shape, worker);
    struct pq_codes_in in[PQ_STRIP_ROWS];
    for (uint64_t r = 0; r < rows; r++) {
        in[r] = stored_row(p->linear, r0 + r);
        in[r].keep_zeros = true;
    }
    s.offsets_are_zeros = zeros == PQ_ZERO_NIBBLES || zeros == PQ_ZERO_BYTES;
    spread(p, in, rows, &s);
    p->engine->compute->widen(&s, rows, x);
}

/* Rows from r0 on, one token: where they lie if the kernels can. */
static void one_token(const struct job *j, uint64_t r0, uint64_t rows, int worker)
{
    const struct pq_product *p = j->p;
    const struct pq_compute *c = p->engine->compute;
    const struct pq_panel panel = panel_at(j, 0);
    struct pq_codes_in in[PQ_STRIP_ROWS];
    const struct pq_strip s = strip_of(p->engine, &j->shape, worker);
    float y[PQ_STRIP_ROWS];
    for (uint64_t r = 0; r < PQ_STRIP_ROWS; r++)
        in[r] = stored_row(p->linear, r0 + (r < rows ? r : rows - 1));
    if (!c->stream_dots(p->linear->code.type, in, &s, &panel, y)) {
        spread(p, in, rows, &s);
        c->strip_dots(&s, &panel, y);
    }
    pq_product_put(p, r0, rows, 0, 1, y);
}

static void more_tokens(const struct job *j, uint64_t r0, uint64_t rows, int worker)
{
    const struct pq_product *p = j->p;
    const struct pq_compute *c = p->engine->compute;
    const struct pq_tile *tile = &p->engine->tile[worker];
    struct pq_codes_in in[PQ_STRIP_ROWS];
    const struct pq_strip s = strip_of(p->engine, &j->shape, worker);
    float y[PQ_PANEL * PQ_STRIP_ROWS];
    for (uint64_t r = 0; r < rows; r++)
        in[r] = stored_row(p->linear, r0 + r);
    spread(p, in, rows, &s);
    if (p->n > FEW)
        c->turn(&s, tile);
    for (uint64_t first = 0; first < p->n;) {
        const struct pq_panel panel = panel_at(j, first);
        if (p->n > FEW)
            c->tile_dots(&s, tile, &panel, y);
        else
            c->strip_dots(&s, &panel, y);
        pq_product_put(p, r0, rows, first, panel.width, y);
        first += panel.width;
    }
}

/* Strips that follow one another in the file: so the hardware fetches ahead. */
static void strips(void *ctx, uint64_t item, int worker)
{
    const struct job *j = (const struct job *)ctx;
    const uint64_t end = j->p->linear->w->rows;
    uint64_t r0 = item * j->rows_at_once, stop = r0 + j->rows_at_once;
    for (stop = stop < end ? stop : end; r0 < stop; r0 += PQ_STRIP_ROWS) {
        const uint64_t rows = stop - r0 < PQ_STRIP_ROWS ? stop - r0 : PQ_STRIP_ROWS;
        if (j->p->n == 1)
            one_token(j, r0, rows, worker);
        else
            more_tokens(j, r0, rows, worker);
    }
}

/* Enough pieces for everybody, none longer than a few strips. */
static uint64_t rows_at_once(const struct pq_product *p)
{
    enum { MOST = 4, PIECES = 8 };
    const uint64_t threads = (uint64_t)pq_pool_threads(p->engine->pool);
    uint64_t strips = pq_ceil_div(p->linear->w->rows, PQ_STRIP_ROWS) / (threads * PIECES);
    return PQ_STRIP_ROWS * (strips < 1 ? 1 : strips > MOST ? MOST : strips);
}

void pq_product_integers(const struct pq_product *p)
{
    struct job j = {p, shape_of(p->linear), rows_at_once(p)};
    pq_pool_each(p->engine->pool, panels_of(p->n), round_panel, &j);
    pq_pool_each(p->engine->pool, pq_ceil_div(p->linear->w->rows, j.rows_at_once), strips, &j);
}
