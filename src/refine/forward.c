/* The way forward over a batch of windows, with all that the way back needs on tape. Rules per
 * architecture are those of infer/pass.c. SPDX-License-Identifier: MIT */
#include "refine/student.h"

#include "base/num.h"

/* ---- linear ---- */

struct bias_job {
    const struct pq_rows *y;
    const float *bias;
};

static void add_bias(void *ctx, uint64_t t, int worker)
{
    const struct bias_job *j = (const struct bias_job *)ctx;
    float *y = j->y->at + t * j->y->step;
    (void)worker;
    for (uint64_t i = 0; i < j->y->cols; i++)
        y[i] += j->bias[i];
}

void pq_student_linear(const struct pq_student *s, const struct pq_param *w,
                       const struct pq_param *bias, const struct pq_rows *x,
                       const struct pq_rows *y)
{
    const struct pq_rows weight = {w->w, w->rows, w->cols, w->cols};
    pq_math_times(&s->math, x, &weight, y, false);
    if (bias) {
        struct bias_job j = {y, bias->w};
        pq_pool_each(s->math.pool, y->rows, add_bias, &j);
    }
}

/* ---- pieces of a layer ---- */

static void add_to(float *y, const float *x, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++)
        y[i] += x[i];
}

struct embed_job {
    const struct pq_student *s;
    const uint32_t *id;
    float *h;
};

static void embed_row(void *ctx, uint64_t t, int worker)
{
    const struct embed_job *j = (const struct embed_job *)ctx;
    const uint64_t hidden = j->s->hp->hidden;
    (void)worker;
    memcpy(j->h + t * hidden, j->s->embed->w + j->id[t] * hidden, hidden * sizeof *j->h);
}

static void attention(struct pq_student *s, const struct pq_student_layer *l,
                      const struct pq_layer_tape *t, uint32_t windows)
{
    const uint64_t n = (uint64_t)windows * s->size, hidden = s->hp->hidden;
    const uint64_t wide = (uint64_t)s->hp->n_heads * s->hp->head_dim;
    const struct pq_rows x = {t->x, n, hidden, hidden}, att = {t->att, n, wide, wide};
    struct pq_rows y = {t->qkv, n, 0, s->qkv_step};
    for (int i = 0; i < l->n_qkv; i++) {
        y.cols = l->qkv[i]->rows;
        pq_student_linear(s, l->qkv[i], l->qkv_bias[i], &x, &y);
        y.at += y.cols;
    }
    pq_attend_forward(s, t, windows);
    const struct pq_rows out = {s->d_x, n, hidden, hidden};
    pq_student_linear(s, l->out, l->out_bias, &att, &out);
}

static void feed_forward(struct pq_student *s, const struct pq_student_layer *l,
                         const struct pq_layer_tape *t, uint64_t n)
{
    const uint64_t hidden = s->hp->hidden, ff = s->hp->ff;
    const struct pq_rows x = {t->x2, n, hidden, hidden}, up = {t->up, n, s->up_step, s->up_step};
    const struct pq_rows act = {t->act, n, ff, ff}, out = {s->d_h, n, hidden, hidden};
    pq_student_linear(s, l->up, l->up_bias, &x, &up);
    pq_activate_forward(s, t, n);
    pq_student_linear(s, l->down, l->down_bias, &act, &out);
}

/* Into `out` [n][hidden], from t->h. The memory of the way back holds what the branches add. */
static void layer(struct pq_student *s, int i, float *out, uint32_t windows)
{
    const struct pq_student_layer *l = &s->layer[i];
    const struct pq_layer_tape *t = &s->tape[i];
    const uint64_t n = (uint64_t)windows * s->size, floats = n * s->hp->hidden;
    struct pq_norm_job norm = {s, l->norm, l->norm_bias, t->h, t->x, NULL, n};
    pq_norm_forward(&norm);
    attention(s, l, t, windows);
    if (!s->hp->parallel) {
        memcpy(t->mid, t->h, floats * sizeof *t->mid);
        add_to(t->mid, s->d_x, floats);
        norm = (struct pq_norm_job){s, l->ffn_norm, NULL, t->mid, t->x2, NULL, n};
        pq_norm_forward(&norm);
    }
    feed_forward(s, l, t, n);
    memcpy(out, t->mid, floats * sizeof *out);
    if (s->hp->parallel)
        add_to(out, s->d_x, floats);
    add_to(out, s->d_h, floats);
}

void pq_student_forward(struct pq_student *s, const uint32_t *id, uint32_t windows)
{
    const uint64_t n = (uint64_t)windows * s->size;
    const int layers = (int)s->hp->n_layers;
    struct embed_job j = {s, id, layers ? s->tape[0].h : s->h};
    pq_pool_each(s->math.pool, n, embed_row, &j);
    for (int i = 0; i < layers; i++)
        layer(s, i, i + 1 < layers ? s->tape[i + 1].h : s->h, windows);
    const struct pq_norm_job norm = {s, s->final_norm, s->final_bias, s->h, s->x, NULL, n};
    pq_norm_forward(&norm);
}
