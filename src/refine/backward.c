/* The way back through a batch: gradients of all that learns. SPDX-License-Identifier: MIT */
#include "refine/student.h"

#include "base/num.h"

/* ---- linear ---- */

enum { COLUMNS = 16 };

static void bias_gradients(void *ctx, uint64_t item, int worker)
{
    const struct pq_linear_back *b = (const struct pq_linear_back *)ctx;
    const uint64_t i0 = item * COLUMNS;
    const uint64_t i1 = i0 + COLUMNS < b->dy.cols ? i0 + COLUMNS : b->dy.cols;
    (void)worker;
    for (uint64_t t = 0; t < b->dy.rows; t++)
        for (uint64_t i = i0; i < i1; i++)
            b->bias->grad[i] += b->dy.at[t * b->dy.step + i];
}

void pq_student_linear_back(const struct pq_student *s, const struct pq_linear_back *b)
{
    const struct pq_math *m = &s->math;
    struct pq_linear_back copy = *b;
    struct pq_param *w = b->w;
    if (b->dx.at) {
        const struct pq_rows weight = {w->w, w->rows, w->cols, w->cols};
        const struct pq_rows turned = pq_math_turn(m, &weight, s->turned[0]);
        pq_math_times(m, &b->dy, &turned, &b->dx, b->add);
    }
    if (w->grad) {
        const struct pq_rows x = pq_math_turn(m, &b->x, s->turned[1]);
        const struct pq_rows dy = pq_math_turn(m, &b->dy, s->turned[2]);
        const struct pq_rows grad = {w->grad, w->rows, w->cols, w->cols};
        pq_math_times(m, &dy, &x, &grad, true);
    }
    if (b->bias && b->bias->grad)
        pq_pool_each(m->pool, pq_ceil_div(b->dy.cols, COLUMNS), bias_gradients, &copy);
}

/* ---- a layer ---- */

/* Each branch adds to s->d_x what comes out of it at its norm. */
static void feed_forward_back(struct pq_student *s, const struct pq_student_layer *l,
                              const struct pq_layer_tape *t, uint64_t n)
{
    const uint64_t hidden = s->hp->hidden, ff = s->hp->ff, step = s->up_step;
    struct pq_linear_back b = {.w = l->down,
                               .bias = l->down_bias,
                               .x = {t->act, n, ff, ff},
                               .dy = {s->d_h, n, hidden, hidden},
                               .dx = {s->d_act, n, ff, ff}};
    pq_student_linear_back(s, &b);
    pq_activate_backward(s, t, n);
    b = (struct pq_linear_back){.w = l->up,
                                .bias = l->up_bias,
                                .x = {t->x2, n, hidden, hidden},
                                .dy = {s->d_up, n, step, step},
                                .dx = {s->d_x, n, hidden, hidden}};
    pq_student_linear_back(s, &b);
}

/* add: to what the other branch left at the same norm. */
static void attention_back(struct pq_student *s, const struct pq_student_layer *l,
                           const struct pq_layer_tape *t, uint32_t windows)
{
    const uint64_t n = (uint64_t)windows * s->size, hidden = s->hp->hidden;
    const uint64_t wide = (uint64_t)s->hp->n_heads * s->hp->head_dim;
    struct pq_linear_back b = {.w = l->out,
                               .bias = l->out_bias,
                               .x = {t->att, n, wide, wide},
                               .dy = {s->d_h, n, hidden, hidden},
                               .dx = {s->d_att, n, wide, wide}};
    pq_student_linear_back(s, &b);
    pq_attend_backward(s, t, windows);
    float *dy = s->d_qkv;
    for (int i = 0; i < l->n_qkv; i++) {
        b = (struct pq_linear_back){.w = l->qkv[i],
                                    .bias = l->qkv_bias[i],
                                    .x = {t->x, n, hidden, hidden},
                                    .dy = {dy, n, l->qkv[i]->rows, s->qkv_step},
                                    .dx = {s->d_x, n, hidden, hidden},
                                    .add = i > 0 || s->hp->parallel};
        pq_student_linear_back(s, &b);
        dy += l->qkv[i]->rows;
    }
}

/* s->d_h: from the gradient behind the layer to that before it. */
static void layer_back(struct pq_student *s, int i, uint32_t windows)
{
    const struct pq_student_layer *l = &s->layer[i];
    const struct pq_layer_tape *t = &s->tape[i];
    const uint64_t n = (uint64_t)windows * s->size;
    feed_forward_back(s, l, t, n);
    if (!s->hp->parallel) {
        const struct pq_norm_job norm = {s, l->ffn_norm, NULL, t->mid, s->d_x, s->d_h, n};
        pq_norm_backward(&norm);
    }
    attention_back(s, l, t, windows);
    const struct pq_norm_job norm = {s, l->norm, l->norm_bias, t->h, s->d_x, s->d_h, n};
    pq_norm_backward(&norm);
}

static void embed_back(const struct pq_student *s, const uint32_t *id, uint64_t n)
{
    const uint64_t hidden = s->hp->hidden;
    for (uint64_t t = 0; s->embed->grad && t < n; t++)
        for (uint64_t i = 0; i < hidden; i++)
            s->embed->grad[id[t] * hidden + i] += s->d_h[t * hidden + i];
}

void pq_student_backward(struct pq_student *s, const uint32_t *id, uint32_t windows)
{
    const uint64_t n = (uint64_t)windows * s->size;
    memset(s->d_h, 0, (size_t)(n * s->hp->hidden) * sizeof *s->d_h);
    const struct pq_norm_job norm = {s, s->final_norm, s->final_bias, s->h, s->d_x, s->d_h, n};
    pq_norm_backward(&norm);
    for (int i = (int)s->hp->n_layers - 1; i >= 0; i--)
        layer_back(s, i, windows);
    embed_back(s, id, n);
}
