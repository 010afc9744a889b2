/* A matrix, or rows of it, quantized in memory. SPDX-License-Identifier: MIT */
#include "eval/trial.h"

#include "base/num.h"

enum { CHUNK = 16 }; /* rows at once */

static int no_memory(const struct pq_tensor *w, struct pq_err *e)
{
    return pq_fail(e, PQ_ENOMEM, "%s: out of memory for a trial", w->name);
}

static uint64_t feedback_floats(const struct pq_trial_setup *s)
{
    return s->encoder.feedback ? pq_feedback_floats(s->encoder.feedback->n) : 0;
}

/* ---- the whole matrix ---- */

struct making {
    const struct pq_trial_setup *set;
    const struct pq_tensor *w;
    struct pq_encoded out;
    float *x; /* [workers][CHUNK][cols] */
    float *scratch;
};

static void make_chunk(void *ctx, uint64_t item, int worker)
{
    const struct making *m = (const struct making *)ctx;
    const uint64_t cols = m->w->cols, r0 = item * CHUNK;
    const uint64_t n = m->w->rows - r0 < CHUNK ? m->w->rows - r0 : CHUNK;
    float *x = m->x + (uint64_t)worker * CHUNK * cols;
    const struct pq_encoded to = pq_encoded_from(&m->out, r0);
    for (uint64_t r = 0; r < n; r++)
        pq_tensor_row(m->w, m->set->encoder.kern, r0 + r, x + r * cols);
    pq_rows_encode(&m->set->encoder, &to, x, n, cols,
                   m->scratch + (uint64_t)worker * feedback_floats(m->set));
}

/* One slice of all rows, over the encoded parts. */
static void show(struct pq_trial *t, const struct pq_tensor *w, const struct pq_encoded *p)
{
    t->tensor = *w;
    t->tensor.n_slices = 1;
    t->tensor.slice[0] =
        (struct pq_slice){.view = {.scheme = p->scheme, .rows = w->rows, .cols = w->cols},
                          .rows = w->rows,
                          .file = w->slice[0].file,
                          .stored = w->slice[0].stored};
    for (int i = 0; i < PQ_MAX_PARTS; i++)
        t->tensor.slice[0].view.part[i] = p->at[i];
}

int pq_trial_make(struct pq_trial *t, const struct pq_trial_setup *s, const struct pq_tensor *w,
                  const struct pq_scheme *scheme, struct pq_err *e)
{
    struct making m = {.set = s, .w = w};
    const size_t workers = (size_t)pq_pool_threads(s->pool);
    *t = (struct pq_trial){0};
    t->memory = (uint8_t *)pq_calloc((size_t)w->rows, pq_scheme_row_bytes(scheme, w->cols));
    m.x = (float *)pq_calloc(workers * CHUNK, (size_t)w->cols * sizeof *m.x);
    m.scratch = (float *)pq_calloc(workers, (size_t)feedback_floats(s) * sizeof *m.scratch);
    const bool ok = t->memory && m.x && m.scratch;
    if (ok) {
        pq_encoded_lay_out(&m.out, scheme, w->cols, w->rows, t->memory);
        pq_pool_each(s->pool, pq_ceil_div(w->rows, CHUNK), make_chunk, &m);
        show(t, w, &m.out);
    }
    pq_free(m.x);
    pq_free(m.scratch);
    return ok ? PQ_OK : no_memory(w, e);
}

void pq_trial_free(struct pq_trial *t)
{
    pq_free(t->memory);
    *t = (struct pq_trial){0};
}

/* ---- rows of it ---- */

int pq_sample_rows(struct pq_sample *s, const struct pq_tensor *w, uint64_t rows,
                   const struct pq_kern *k, struct pq_err *e)
{
    const uint64_t step = pq_ceil_div(w->rows, rows);
    *s = (struct pq_sample){.w = w, .n_rows = pq_ceil_div(w->rows, step)};
    s->row = (uint64_t *)pq_calloc((size_t)s->n_rows, sizeof *s->row);
    s->w_rows = (float *)pq_calloc((size_t)s->n_rows, (size_t)w->cols * sizeof *s->w_rows);
    if (!s->row || !s->w_rows)
        return no_memory(w, e);
    for (uint64_t i = 0; i < s->n_rows; i++) {
        s->row[i] = i * step;
        pq_tensor_row(w, k, i * step, s->w_rows + i * w->cols);
    }
    return PQ_OK;
}

void pq_sample_free(struct pq_sample *s)
{
    pq_free(s->row);
    pq_free(s->w_rows);
    pq_free(s->x);
    *s = (struct pq_sample){0};
}

/* A worker's memory lies at [worker]. */
struct trying {
    const struct pq_sample *sample;
    const struct pq_trial_setup *set;
    const struct pq_scheme *scheme;
    uint8_t *bytes; /* [workers][CHUNK rows] */
    float *diff;    /* [workers][CHUNK][cols] */
    float *out;     /* [workers][n_x][CHUNK] */
    float *scratch;
    double (*sum)[2]; /* [chunks]: squared error, squares */
};

static double squares(const float *x, uint64_t n)
{
    double sum = 0;
    for (uint64_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    return sum;
}

/* Sum of squares of all inputs times these rows. */
static double product_squares(const struct trying *t, const float *rows, uint64_t n, float *out)
{
    const struct pq_sample *s = t->sample;
    const uint64_t cols = s->w->cols;
    if (!s->x)
        return squares(rows, n * cols);
    double sum = 0;
    const struct pq_dots d = {.w = rows,
                              .w_step = cols * sizeof *rows,
                              .rows = n,
                              .cols = cols,
                              .x = s->x,
                              .x_step = cols,
                              .n = s->n_x,
                              .out = out,
                              .out_step = CHUNK};
    t->set->compute->dots[PQ_DENSE_F32](&d);
    for (uint64_t i = 0; i < s->n_x; i++)
        sum += squares(out + i * CHUNK, n);
    return sum;
}

static void try_chunk(void *ctx, uint64_t item, int worker)
{
    const struct trying *t = (const struct trying *)ctx;
    const struct pq_sample *s = t->sample;
    const uint64_t cols = s->w->cols, r0 = item * CHUNK, k = (uint64_t)worker;
    const uint64_t n = s->n_rows - r0 < CHUNK ? s->n_rows - r0 : CHUNK;
    const float *x = s->w_rows + r0 * cols;
    float *diff = t->diff + k * CHUNK * cols, *out = t->out + k * s->n_x * CHUNK;
    struct pq_encoded p;
    pq_encoded_lay_out(&p, t->scheme, cols, CHUNK,
                       t->bytes + k * CHUNK * pq_scheme_row_bytes(t->scheme, cols));
    pq_rows_encode(&t->set->encoder, &p, x, n, cols, t->scratch + k * feedback_floats(t->set));
    for (uint64_t r = 0; r < n; r++) {
        void *part[PQ_MAX_PARTS];
        pq_encoded_row(&p, r, part);
        t->scheme->decode(t->scheme, (const void *const *)part, cols, diff + r * cols);
    }
    for (uint64_t i = 0; i < n * cols; i++)
        diff[i] -= x[i];
    t->sum[item][0] = product_squares(t, diff, n, out);
    t->sum[item][1] = product_squares(t, x, n, out);
}

int pq_sample_error(double *error, const struct pq_sample *s, const struct pq_trial_setup *set,
                    const struct pq_scheme *scheme, struct pq_err *e)
{
    const size_t workers = (size_t)pq_pool_threads(set->pool), cols = (size_t)s->w->cols;
    const uint64_t chunks = pq_ceil_div(s->n_rows, CHUNK);
    struct trying t = {.sample = s, .set = set, .scheme = scheme};
    double err = 0, ref = 0;
    t.bytes = (uint8_t *)pq_calloc(workers * CHUNK, pq_scheme_row_bytes(scheme, cols));
    t.diff = (float *)pq_calloc(workers * CHUNK, cols * sizeof *t.diff);
    t.out = (float *)pq_calloc(workers * CHUNK, (size_t)(s->n_x + 1) * sizeof *t.out);
    t.scratch = (float *)pq_calloc(workers, (size_t)feedback_floats(set) * sizeof *t.scratch);
    t.sum = (double(*)[2])pq_calloc((size_t)chunks, sizeof *t.sum);
    const bool ok = t.bytes && t.diff && t.out && t.scratch && t.sum;
    if (ok)
        pq_pool_each(set->pool, chunks, try_chunk, &t);
    for (uint64_t i = 0; ok && i < chunks; i++) {
        err += t.sum[i][0];
        ref += t.sum[i][1];
    }
    *error = ref > 0 ? err / ref : 0;
    pq_free(t.bytes);
    pq_free(t.diff);
    pq_free(t.out);
    pq_free(t.scratch);
    pq_free(t.sum);
    return ok ? PQ_OK : no_memory(s->w, e);
}
