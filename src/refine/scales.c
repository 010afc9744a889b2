/* Learning of a matrix's stored scales and offsets. Everything on a row's grid is proportional to
 * one of them, so that the gradient along its logarithm is a sum over the weights that it spans.
 * SPDX-License-Identifier: MIT */
#include "refine/student.h"

#include "base/num.h"

#include <math.h>

int pq_param_scales_begin(struct pq_param *p, struct pq_err *e)
{
    const struct pq_scheme *scheme = p->t->slice[0].view.scheme;
    p->scales = pq_codes_scales(scheme, p->cols);
    p->blocks = p->cols / p->scales.span;
    const size_t n = (size_t)(p->rows * p->blocks) * (size_t)p->scales.n;
    p->scale = (struct pq_scale_param *)pq_calloc(n, sizeof *p->scale);
    return p->scale ? PQ_OK
                    : pq_fail(e, PQ_ENOMEM, "%s: out of memory to learn %zu scales", p->t->name, n);
}

static struct pq_scale_param *scale_of(const struct pq_param *p, uint64_t row, int kind, uint64_t i)
{
    return &p->scale[(row * p->blocks + i) * (uint64_t)p->scales.n + (uint64_t)kind];
}

void pq_param_scales_read(struct pq_param *p, uint64_t row, void *const part[])
{
    for (int k = 0; k < p->scales.n; k++)
        for (uint64_t i = 0; i < p->blocks; i++) {
            struct pq_scale_param *s = scale_of(p, row, k, i);
            s->stored = s->latent = pq_scales_get(&p->scales, k, i, part);
        }
}

void pq_param_scales_put(const struct pq_param *p, uint64_t row, void *const part[])
{
    for (int k = 0; k < p->scales.n; k++)
        for (uint64_t i = 0; i < p->blocks; i++) {
            const struct pq_scale_param *s = scale_of(p, row, k, i);
            if (s->stored != pq_scales_get(&p->scales, k, i, part))
                pq_scales_put(&p->scales, k, i, s->stored, part);
        }
}

/* d loss / d log scale */
static double slope(const struct pq_param *p, int kind, uint64_t at)
{
    double sum = 0;
    for (uint64_t i = at; i < at + p->scales.span; i++) {
        const float w = p->w[i], low = p->low[i];
        const float share = p->scales.kind[kind].of == PQ_SCALES_ALL    ? w
                            : p->scales.kind[kind].of == PQ_SCALES_STEP ? w - low
                                                                        : low;
        sum += (double)p->grad[i] * (double)share;
    }
    return sum;
}

/* The grid of a scale's columns follows what is stored of it. */
static void follow(const struct pq_param *p, int kind, uint64_t at, float ratio)
{
    for (uint64_t i = at; i < at + p->scales.span; i++) {
        if (p->scales.kind[kind].of != PQ_SCALES_LOW)
            p->step[i] *= ratio;
        if (p->scales.kind[kind].of != PQ_SCALES_STEP)
            p->low[i] *= ratio;
    }
}

void pq_param_scales_step(struct pq_param *p, uint64_t row, const struct pq_adam_step *a)
{
    float slopes[2];
    for (uint64_t i = 0; i < p->blocks; i++) {
        const uint64_t at = row * p->cols + i * p->scales.span;
        for (int k = 0; k < p->scales.n; k++)
            slopes[k] = (float)slope(p, k, at);
        for (int k = 0; k < p->scales.n; k++) {
            struct pq_scale_param *s = scale_of(p, row, k, i);
            s->latent *= 1 - pq_adam_move(&s->mean, &s->square, slopes[k], a->scale_rate, a);
            const float next = pq_scales_round(&p->scales, s->latent);
            if (next == s->stored || !(fabsf(next) > 0) || !isfinite(next))
                continue;
            follow(p, k, at, next / s->stored);
            s->stored = next;
        }
    }
}
