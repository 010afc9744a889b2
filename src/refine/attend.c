/* Attention over whole windows, forward and back. Scores are computed anew on the way back: they
 * are not on tape. A piece of work is one key head of one window. SPDX-License-Identifier: MIT */
#include "refine/student.h"

#include "base/num.h"

#include <math.h>

/* A worker's memory for one head: [size][wide] and [size][size]. */
struct head {
    uint64_t size, wide, group; /* wide: head_dim filled up to whole lanes */
    float *q, *k, *v, *out;
    float *dq, *dk, *dv;
    float *p, *dp, *turned;
};

struct job {
    const struct pq_student *s;
    const struct pq_layer_tape *t;
};

static uint64_t wide_of(const struct pq_student *s)
{
    return pq_round_up(s->hp->head_dim, 16);
}

uint64_t pq_attend_floats(const struct pq_student *s)
{
    return s->size * (7 * wide_of(s) + 3ull * s->size);
}

static struct head head_of(const struct pq_student *s, int worker)
{
    struct head h = {.size = s->size, .wide = wide_of(s)};
    float *m = s->attention + (uint64_t)worker * pq_attend_floats(s);
    float **wide[] = {&h.q, &h.k, &h.v, &h.out, &h.dq, &h.dk, &h.dv};
    for (size_t i = 0; i < PQ_LEN(wide); i++, m += h.size * h.wide)
        *wide[i] = m;
    h.p = m;
    h.dp = m + h.size * h.size;
    h.turned = m + 2 * h.size * h.size;
    h.group = s->hp->n_heads / s->hp->n_kv_heads;
    return h;
}

/* ---- in and out ---- */

/* One head of all tokens: rows of `step` floats, times a factor. */
static void gather(const struct head *h, float *to, const float *from, uint64_t step, uint64_t dim,
                   float factor)
{
    for (uint64_t t = 0; t < h->size; t++)
        for (uint64_t i = 0; i < h->wide; i++)
            to[t * h->wide + i] = i < dim ? from[t * step + i] * factor : 0.0f;
}

static void scatter(const struct head *h, const float *from, float *to, uint64_t step, uint64_t dim,
                    float factor)
{
    for (uint64_t t = 0; t < h->size; t++)
        for (uint64_t i = 0; i < dim; i++)
            to[t * step + i] = from[t * h->wide + i] * factor;
}

static void clear(const struct head *h, float *x)
{
    memset(x, 0, (size_t)(h->size * h->wide) * sizeof *x);
}

/* Rotates one head of a token; back: the inverse for gradients, which is the transpose. */
static void rotate(float *x, const float *turn, uint32_t half, bool back)
{
    for (uint32_t i = 0; i < half; i++) {
        const float a = x[i], b = x[half + i], c = turn[i],
                    s = back ? -turn[half + i] : turn[half + i];
        x[i] = a * c - b * s;
        x[half + i] = b * c + a * s;
    }
}

static void rotate_token(const struct pq_student *s, float *qkv, uint64_t t, bool back)
{
    const struct pq_hparams *hp = s->hp;
    const float *turn = s->turn + t % s->size * hp->rot_dims;
    for (uint32_t h = 0; h < hp->n_heads + hp->n_kv_heads; h++)
        rotate(qkv + t * s->qkv_step + h * hp->head_dim, turn, hp->rot_dims / 2, back);
}

static void rotate_forward(void *ctx, uint64_t t, int worker)
{
    const struct job *j = (const struct job *)ctx;
    (void)worker;
    rotate_token(j->s, j->t->qkv, t, false);
}

static void rotate_back(void *ctx, uint64_t t, int worker)
{
    const struct job *j = (const struct job *)ctx;
    (void)worker;
    rotate_token(j->s, j->s->d_qkv, t, true);
}

/* ---- products ---- */

/* out [size][size] = rows of x times rows of w */
static void scores(const struct pq_student *s, const struct head *h, const float *w, const float *x,
                   float *out)
{
    const struct pq_dots d = {
        w, h->wide * sizeof *w, h->size, h->wide, x, h->wide, h->size, out, h->size};
    s->math.compute->dots[PQ_DENSE_F32](&d);
}

/* out [size][wide] += p [size][size] times v [size][wide] */
static void mix(const struct pq_student *s, const struct head *h, const float *p, const float *v,
                float *out)
{
    const struct pq_mix m = {
        v, h->wide * sizeof *v, h->size, h->wide, p, h->size, h->size, out, h->wide};
    s->math.compute->mix[PQ_DENSE_F32](&m);
}

static void turn(const struct head *h, const float *from)
{
    for (uint64_t i = 0; i < h->size; i++)
        for (uint64_t j = 0; j < h->size; j++)
            h->turned[j * h->size + i] = from[i * h->size + j];
}

/* h->p: how much each query takes of each key. */
static void weights(const struct pq_student *s, const struct head *h)
{
    const uint64_t window = s->hp->sliding_window;
    scores(s, h, h->k, h->q, h->p);
    for (uint64_t i = 0; i < h->size; i++) {
        float *p = h->p + i * h->size;
        const uint64_t lo = window && i + 1 > window ? i + 1 - window : 0, n = i + 1 - lo;
        const float sum = s->math.compute->exp_sum(p + lo, n, s->math.compute->largest(p + lo, n));
        for (uint64_t j = 0; j < h->size; j++)
            p[j] = j < lo || j > i ? 0.0f : p[j] / sum;
    }
}

/* ---- a head of a window ---- */

/* Where the heads of a piece of work lie in a row of queries, keys and values. */
struct place {
    uint64_t token, q, k, v;
};

static struct place place_of(const struct pq_student *s, uint64_t item)
{
    const struct pq_hparams *hp = s->hp;
    const uint64_t kv = item % hp->n_kv_heads, group = hp->n_heads / hp->n_kv_heads;
    return (struct place){.token = item / hp->n_kv_heads * s->size,
                          .q = kv * group * hp->head_dim,
                          .k = (hp->n_heads + kv) * hp->head_dim,
                          .v = (hp->n_heads + hp->n_kv_heads + kv) * hp->head_dim};
}

static void attend(void *ctx, uint64_t item, int worker)
{
    const struct job *j = (const struct job *)ctx;
    const struct pq_student *s = j->s;
    const uint64_t d = s->hp->head_dim, all = s->hp->n_heads * d;
    const struct place at = place_of(s, item);
    const float *qkv = j->t->qkv + at.token * s->qkv_step, scale = (float)(1.0 / sqrt((double)d));
    const struct head h = head_of(s, worker);
    gather(&h, h.k, qkv + at.k, s->qkv_step, d, 1.0f);
    gather(&h, h.v, qkv + at.v, s->qkv_step, d, 1.0f);
    for (uint64_t g = 0; g < h.group; g++) {
        gather(&h, h.q, qkv + at.q + g * d, s->qkv_step, d, scale);
        weights(s, &h);
        clear(&h, h.out);
        mix(s, &h, h.p, h.v, h.out);
        scatter(&h, h.out, j->t->att + at.token * all + at.q + g * d, all, d, 1.0f);
    }
}

/* h->dp becomes the gradient of the scores. */
static void soften_back(const struct head *h)
{
    for (uint64_t i = 0; i < h->size; i++) {
        const float *p = h->p + i * h->size;
        float *dp = h->dp + i * h->size;
        double sum = 0;
        for (uint64_t k = 0; k <= i; k++)
            sum += (double)p[k] * (double)dp[k];
        for (uint64_t k = 0; k < h->size; k++)
            dp[k] = p[k] * (dp[k] - (float)sum);
    }
}

static void attend_back(void *ctx, uint64_t item, int worker)
{
    const struct job *j = (const struct job *)ctx;
    const struct pq_student *s = j->s;
    const uint64_t d = s->hp->head_dim, all = s->hp->n_heads * d, step = s->qkv_step;
    const struct place at = place_of(s, item);
    const float *qkv = j->t->qkv + at.token * step, scale = (float)(1.0 / sqrt((double)d));
    float *d_qkv = s->d_qkv + at.token * step;
    const struct head h = head_of(s, worker);
    gather(&h, h.k, qkv + at.k, step, d, 1.0f);
    gather(&h, h.v, qkv + at.v, step, d, 1.0f);
    clear(&h, h.dk);
    clear(&h, h.dv);
    for (uint64_t g = 0; g < h.group; g++) {
        gather(&h, h.q, qkv + at.q + g * d, step, d, scale);
        gather(&h, h.out, s->d_att + at.token * all + at.q + g * d, all, d, 1.0f);
        weights(s, &h);
        turn(&h, h.p);
        mix(s, &h, h.turned, h.out, h.dv);
        scores(s, &h, h.v, h.out, h.dp);
        soften_back(&h);
        clear(&h, h.dq);
        mix(s, &h, h.dp, h.k, h.dq);
        turn(&h, h.dp);
        mix(s, &h, h.turned, h.q, h.dk);
        scatter(&h, h.dq, d_qkv + at.q + g * d, step, d, scale);
    }
    scatter(&h, h.dk, d_qkv + at.k, step, d, 1.0f);
    scatter(&h, h.dv, d_qkv + at.v, step, d, 1.0f);
}

void pq_attend_forward(const struct pq_student *s, const struct pq_layer_tape *t, uint32_t windows)
{
    struct job j = {s, t};
    pq_pool_each(s->math.pool, (uint64_t)windows * s->size, rotate_forward, &j);
    pq_pool_each(s->math.pool, (uint64_t)windows * s->hp->n_kv_heads, attend, &j);
}

void pq_attend_backward(const struct pq_student *s, const struct pq_layer_tape *t, uint32_t windows)
{
    struct job j = {s, t};
    pq_pool_each(s->math.pool, (uint64_t)windows * s->hp->n_kv_heads, attend_back, &j);
    pq_pool_each(s->math.pool, (uint64_t)windows * s->size, rotate_back, &j);
}
