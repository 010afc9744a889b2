/* Norms and activations, and their derivatives. SPDX-License-Identifier: MIT */
#include "refine/student.h"

#include "base/num.h"

#include <math.h>

/* ---- norms ---- */

static void norm_row(void *ctx, uint64_t t, int worker)
{
    const struct pq_norm_job *j = (const struct pq_norm_job *)ctx;
    const struct pq_hparams *hp = j->s->hp;
    const float *x = j->x + t * hp->hidden;
    float *y = j->y + t * hp->hidden;
    (void)worker;
    if (hp->norm == PQ_NORM_RMS)
        j->s->math.compute->norm_rms(x, hp->hidden, hp->norm_eps, j->weight->w, y);
    else
        j->s->math.compute->norm_layer(x, hp->hidden, hp->norm_eps, j->weight->w,
                                       j->bias ? j->bias->w : NULL, y);
}

void pq_norm_forward(const struct pq_norm_job *j)
{
    struct pq_norm_job copy = *j;
    pq_pool_each(j->s->math.pool, j->n, norm_row, &copy);
}

/* With u = (x - mean) r: du = dy w, dx = r (du - mean(du) - u mean(du u)); RMS has no mean. */
static void norm_back_row(void *ctx, uint64_t t, int worker)
{
    const struct pq_norm_job *j = (const struct pq_norm_job *)ctx;
    const uint64_t n = j->s->hp->hidden;
    const float *x = j->x + t * n, *dy = j->y + t * n, *w = j->weight->w;
    const bool centred = j->s->hp->norm == PQ_NORM_LAYER;
    double mean = 0, square = 0, of_du = 0, of_product = 0;
    float *dx = j->dx + t * n, *stats = j->s->stats + 2 * t;
    (void)worker;
    for (uint64_t i = 0; centred && i < n; i++)
        mean += (double)x[i];
    mean /= (double)n;
    for (uint64_t i = 0; i < n; i++)
        square += ((double)x[i] - mean) * ((double)x[i] - mean);
    const double r = 1 / sqrt(square / (double)n + j->s->hp->norm_eps);
    for (uint64_t i = 0; i < n; i++) {
        const double du = (double)dy[i] * (double)w[i];
        of_du += centred ? du : 0;
        of_product += du * ((double)x[i] - mean) * r;
    }
    for (uint64_t i = 0; i < n; i++) {
        const double du = (double)dy[i] * (double)w[i], u = ((double)x[i] - mean) * r;
        dx[i] += (float)(r * (du - of_du / (double)n - u * of_product / (double)n));
    }
    stats[0] = (float)mean;
    stats[1] = (float)r;
}

enum { COLUMNS = 64 };

static void norm_gradients(void *ctx, uint64_t item, int worker)
{
    const struct pq_norm_job *j = (const struct pq_norm_job *)ctx;
    const uint64_t n = j->s->hp->hidden, i0 = item * COLUMNS;
    const uint64_t i1 = i0 + COLUMNS < n ? i0 + COLUMNS : n;
    (void)worker;
    for (uint64_t t = 0; t < j->n; t++) {
        const float *x = j->x + t * n, *dy = j->y + t * n, *stats = j->s->stats + 2 * t;
        for (uint64_t i = i0; j->weight->grad && i < i1; i++)
            j->weight->grad[i] += dy[i] * (x[i] - stats[0]) * stats[1];
        for (uint64_t i = i0; j->bias && j->bias->grad && i < i1; i++)
            j->bias->grad[i] += dy[i];
    }
}

void pq_norm_backward(const struct pq_norm_job *j)
{
    struct pq_norm_job copy = *j;
    pq_pool_each(j->s->math.pool, j->n, norm_back_row, &copy);
    pq_pool_each(j->s->math.pool, pq_ceil_div(j->s->hp->hidden, COLUMNS), norm_gradients, &copy);
}

/* ---- activations ---- */

struct act_job {
    const struct pq_student *s;
    const struct pq_layer_tape *t;
};

static void activate_row(void *ctx, uint64_t t, int worker)
{
    const struct act_job *j = (const struct act_job *)ctx;
    const struct pq_student *s = j->s;
    const uint64_t ff = s->hp->ff;
    const float *up = j->t->up + t * s->up_step;
    float *act = j->t->act + t * ff;
    (void)worker;
    memcpy(act, up, ff * sizeof *act);
    if (s->hp->act == PQ_ACT_SILU)
        s->math.compute->silu_mul(act, up + ff, ff);
    else
        s->math.compute->gelu(act, ff);
}

static void silu_back(const float *gate, const float *da, float *d, uint64_t n)
{
    const float *up = gate + n;
    for (uint64_t i = 0; i < n; i++) {
        const float s = 1.0f / (1.0f + expf(-gate[i]));
        d[i] = da[i] * up[i] * s * (1.0f + gate[i] * (1.0f - s));
        d[n + i] = da[i] * gate[i] * s;
    }
}

/* y = x/2 (1 + tanh(k (x + c x^3))) */
static void gelu_back(const float *x, const float *da, float *d, uint64_t n)
{
    const float k = 0.7978845608f, c = 0.044715f;
    for (uint64_t i = 0; i < n; i++) {
        const float v = x[i], th = tanhf(k * (v + c * v * v * v));
        const float inner = k * (1.0f + 3.0f * c * v * v);
        d[i] = da[i] * 0.5f * (1.0f + th + v * (1.0f - th * th) * inner);
    }
}

static void activate_back_row(void *ctx, uint64_t t, int worker)
{
    const struct act_job *j = (const struct act_job *)ctx;
    const struct pq_student *s = j->s;
    const uint64_t ff = s->hp->ff;
    const float *up = j->t->up + t * s->up_step, *da = s->d_act + t * ff;
    float *d = s->d_up + t * s->up_step;
    (void)worker;
    if (s->hp->act == PQ_ACT_SILU)
        silu_back(up, da, d, ff);
    else
        gelu_back(up, da, d, ff);
}

void pq_activate_forward(const struct pq_student *s, const struct pq_layer_tape *t, uint64_t n)
{
    struct act_job j = {s, t};
    pq_pool_each(s->math.pool, n, activate_row, &j);
}

void pq_activate_backward(const struct pq_student *s, const struct pq_layer_tape *t, uint64_t n)
{
    struct act_job j = {s, t};
    pq_pool_each(s->math.pool, n, activate_back_row, &j);
}
