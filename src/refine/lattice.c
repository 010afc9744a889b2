/* Learning of one parameter: Adam on latent weights, rounded to what can be stored.
 * Adam: Kingma and Ba, arXiv 1412.6980. Straight-through gradients: Bengio et al., arXiv 1308.3432.
 * SPDX-License-Identifier: MIT */
#include "refine/student.h"

#include "base/num.h"

#include <math.h>

/* ---- what can learn ---- */

static bool same_everywhere(const struct pq_tensor *t)
{
    for (int i = 0; i < t->n_slices; i++)
        if (t->slice[i].view.scheme != t->slice[0].view.scheme || t->slice[i].view.factor ||
            t->slice[i].view.turned)
            return false;
    return true;
}

/* 8-bit codes have nothing left to gain. */
static bool learns_codes(const struct pq_tensor *t)
{
    const struct pq_scheme *s = t->slice[0].view.scheme;
    return pq_role_is_matrix(t->role) && same_everywhere(t) && s->bits < 8 && pq_codes_known(s);
}

static bool learns_floats(const struct pq_tensor *t)
{
    const struct pq_scheme *s = t->slice[0].view.scheme;
    return !pq_role_is_matrix(t->role) && t->n_slices == 1 && !t->slice[0].view.factor &&
           s->family == PQ_FAM_FLOAT &&
           (s->dtype == PQ_F32 || s->dtype == PQ_F16 || s->dtype == PQ_BF16);
}

/* ---- rounding ---- */

static float as_stored(enum pq_dtype t, float v)
{
    return t == PQ_F16    ? pq_f16_to_f32(pq_f32_to_f16(v))
           : t == PQ_BF16 ? pq_bf16_to_f32(pq_f32_to_bf16(v))
                          : v;
}

static uint8_t code_of(const struct pq_param *p, uint64_t i, float v)
{
    return p->step[i] == 0 ? p->code[i] : pq_nearest_code(&p->levels, v, p->low[i], p->step[i]);
}

static float value_of(const struct pq_param *p, uint64_t i, uint8_t code)
{
    return p->low[i] + p->step[i] * pq_level(&p->levels, code);
}

/* ---- the beginning ---- */

struct begin {
    struct pq_param *p;
    const struct pq_student *s;
    const struct pq_tensor *source;
};

/* The grid and the codes of a stored row. */
static void read_grid(struct pq_param *p, uint64_t row, uint8_t *buf, const uint8_t *stored[])
{
    const struct pq_scheme *scheme = p->t->slice[0].view.scheme;
    const uint64_t at = row * p->cols;
    void *part[PQ_MAX_PARTS] = {NULL};
    for (int i = 0; i < PQ_MAX_PARTS && stored[i]; i++) {
        const uint64_t n = pq_scheme_part_bytes(scheme, p->cols, i);
        memcpy(buf, stored[i], n);
        part[i] = buf;
        buf += n;
    }
    const struct pq_grid g = {p->low + at, p->step + at, p->code + at};
    pq_param_scales_read(p, row, part);
    pq_codes_grid(scheme, p->cols, part, &g);
    for (uint64_t i = at; i < at + p->cols; i++)
        if (p->step[i] != 0)
            p->code[i] = code_of(p, i, p->w[i]);
}

/* From the grid's value towards the source's weight, as far as the code stays. */
static float latent_of(const struct pq_param *p, uint64_t i, float wanted)
{
    const float v = value_of(p, i, p->code[i]);
    for (float share = 1.0f; share > 0.1f; share *= 0.5f)
        if (code_of(p, i, v + share * (wanted - v)) == p->code[i])
            return v + share * (wanted - v);
    return v;
}

static void begin_row(const struct begin *b, uint64_t row, uint8_t *buf)
{
    struct pq_param *p = b->p;
    uint64_t at = row;
    const struct pq_slice *slice = p->t->slice;
    const uint8_t *stored[PQ_MAX_PARTS] = {NULL};
    while (at >= slice->rows)
        at -= slice++->rows;
    for (int i = 0; i < PQ_MAX_PARTS && slice->view.part[i]; i++)
        stored[i] = slice->view.part[i] +
                    (slice->row0 + at) * pq_scheme_part_bytes(slice->view.scheme, p->cols, i);
    read_grid(p, row, buf, stored);
    float *latent = p->latent + row * p->cols;
    pq_tensor_row(b->source, b->s->kern, row, latent);
    for (uint64_t j = 0; j < p->cols; j++)
        latent[j] = latent_of(p, row * p->cols + j, latent[j]);
}

static void begin_rows(void *ctx, uint64_t item, int worker)
{
    const struct begin *b = (const struct begin *)ctx;
    (void)worker;
    /* An encoded row is smaller than its floats, and the gradient's are free until the first step.
     */
    begin_row(b, item, (uint8_t *)(b->p->grad + item * b->p->cols));
}

static void decode_row(void *ctx, uint64_t item, int worker)
{
    const struct begin *b = (const struct begin *)ctx;
    (void)worker;
    pq_tensor_row(b->p->t, b->s->kern, item, b->p->w + item * b->p->cols);
}

static bool room(float **x, uint64_t n)
{
    *x = (float *)pq_calloc((size_t)n, sizeof **x);
    return *x != NULL;
}

/* Codes need not be in the order of their levels. */
static void measure_levels(struct pq_param *p, const struct pq_scheme *scheme)
{
    p->levels = pq_codes_levels(scheme);
    p->least = p->most = pq_level(&p->levels, p->levels.first);
    for (unsigned c = p->levels.first; c <= p->levels.last; c++) {
        const float v = pq_level(&p->levels, c);
        p->least = v < p->least ? v : p->least;
        p->most = v > p->most ? v : p->most;
    }
    p->gap = (p->most - p->least) / (float)(p->levels.last - p->levels.first);
}

int pq_param_begin(struct pq_param *p, const struct pq_student *s, const struct pq_tensor *source,
                   struct pq_err *e)
{
    const struct pq_scheme *scheme = p->t->slice[0].view.scheme;
    const bool codes = learns_codes(p->t), learns = codes || learns_floats(p->t);
    struct begin b = {p, s, source};
    p->rows = p->t->rows;
    p->cols = p->t->cols;
    const uint64_t n = p->rows * p->cols;
    bool ok = room(&p->w, n);
    if (learns)
        ok = ok && room(&p->grad, n) && room(&p->latent, n) && room(&p->mean, n) &&
             room(&p->square, n);
    if (codes)
        ok = ok && room(&p->low, n) && room(&p->step, n) &&
             (p->code = (uint8_t *)pq_calloc((size_t)n, 1));
    if (!ok)
        return pq_fail(e, PQ_ENOMEM, "%s: out of memory to learn %llu weights", p->t->name,
                       (unsigned long long)n);
    pq_pool_each(s->math.pool, p->rows, decode_row, &b);
    if (codes) {
        measure_levels(p, scheme);
        const int rc = pq_param_scales_begin(p, e);
        if (rc < 0)
            return rc;
        pq_pool_each(s->math.pool, p->rows, begin_rows, &b);
        memset(p->grad, 0, (size_t)n * sizeof *p->grad);
    } else if (learns) {
        memcpy(p->latent, p->w, (size_t)n * sizeof *p->w);
        double sum = 0;
        for (uint64_t i = 0; i < n; i++)
            sum += fabs((double)p->w[i]);
        p->gap = (float)(sum / (double)n);
    }
    return PQ_OK;
}

void pq_param_end(struct pq_param *p)
{
    pq_free(p->w);
    pq_free(p->grad);
    pq_free(p->latent);
    pq_free(p->mean);
    pq_free(p->square);
    pq_free(p->low);
    pq_free(p->step);
    pq_free(p->code);
    pq_free(p->scale);
}

/* ---- a step ---- */

struct step {
    struct pq_param *p;
    struct pq_adam_step adam;
};

static float moved(struct pq_param *p, uint64_t i, const struct pq_adam_step *a)
{
    const float g = p->grad[i];
    p->grad[i] = 0;
    return pq_adam_move(&p->mean[i], &p->square[i], g, a->rate, a);
}

static void step_codes(void *ctx, uint64_t row, int worker)
{
    const struct step *s = (const struct step *)ctx;
    struct pq_param *p = s->p;
    (void)worker;
    pq_param_scales_step(p, row, &s->adam);
    for (uint64_t i = row * p->cols; i < (row + 1) * p->cols; i++) {
        const float gap = fabsf(p->step[i]) * p->gap;
        const float v = p->latent[i] - gap * moved(p, i, &s->adam);
        const float one = p->low[i] + p->step[i] * p->least;
        const float other = p->low[i] + p->step[i] * p->most;
        const float low = (one < other ? one : other) - 0.5f * gap;
        const float high = (one < other ? other : one) + 0.5f * gap;
        p->latent[i] = v < low ? low : v > high ? high : v;
        p->code[i] = code_of(p, i, p->latent[i]);
        p->w[i] = value_of(p, i, p->code[i]);
    }
}

static void step_floats(const struct step *s)
{
    struct pq_param *p = s->p;
    const enum pq_dtype type = p->t->slice[0].view.scheme->dtype;
    for (uint64_t i = 0; i < p->cols; i++) {
        p->latent[i] -= p->gap * moved(p, i, &s->adam);
        p->w[i] = as_stored(type, p->latent[i]);
    }
}

void pq_param_step(struct pq_param *p, const struct pq_student *s, const struct pq_adam *a)
{
    const double means = 1 - pow((double)PQ_ADAM_MEAN, a->t);
    struct step step = {.p = p};
    step.adam.rate = (float)((p->code ? a->rate : a->vector_rate) / means);
    step.adam.scale_rate = (float)(a->scale_rate / means);
    step.adam.correction = (float)(1 / (1 - pow((double)PQ_ADAM_SQUARE, a->t)));
    if (!p->grad)
        return;
    if (p->code)
        pq_pool_each(s->math.pool, p->rows, step_codes, &step);
    else
        step_floats(&step);
}
