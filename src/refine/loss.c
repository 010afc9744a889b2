/* The distance to the reference's predictions, and where it comes from.
 * SPDX-License-Identifier: MIT */
#include "infer/session.h"
#include "refine/refine.h"

#include <math.h>
#include <string.h>

int pq_teacher_new(struct pq_teacher *t, const struct pq_model *m, const struct pq_student *s,
                   const struct pq_student_setup *setup, struct pq_err *e)
{
    const struct pq_session_setup as = {.context = setup->size,
                                        .threads = setup->threads,
                                        .kv = PQ_KV_F32,
                                        .cpu = setup->cpu_level};
    const size_t n = setup->size, vocab = s->hp->vocab;
    *t = (struct pq_teacher){.logits = (float *)pq_calloc(n, vocab * sizeof *t->logits),
                             .own = (float *)pq_calloc(n, vocab * sizeof *t->own),
                             .kld = (double *)pq_calloc(n, sizeof *t->kld)};
    t->scratch = (float *)pq_calloc((size_t)pq_pool_threads(s->math.pool), vocab * sizeof *t->own);
    if (!t->logits || !t->own || !t->kld || !t->scratch)
        return pq_fail(e, PQ_ENOMEM, "%s: out of memory for the predictions of a window", m->path);
    return pq_session_new(&t->s, m, &as, e);
}

void pq_teacher_free(struct pq_teacher *t)
{
    pq_session_free(t->s);
    pq_free(t->logits);
    pq_free(t->own);
    pq_free(t->scratch);
    pq_free(t->kld);
    *t = (struct pq_teacher){0};
}

struct job {
    struct pq_teacher *t;
    const struct pq_compute *compute;
    uint64_t vocab;
    float share; /* of a token in the mean */
};

/* KL divergence of a token: sum p (x - y) - log Z_x + log Z_y for logits x of the reference and y
 * of the student. Their place takes the gradient (q - p) share. */
static void token(void *ctx, uint64_t at, int worker)
{
    const struct job *j = (const struct job *)ctx;
    const uint64_t n = j->vocab;
    const float *x = j->t->logits + at * n;
    float *y = j->t->own + at * n, *p = j->t->scratch + (uint64_t)worker * n;
    const float most_x = j->compute->largest(x, n), most_y = j->compute->largest(y, n);
    memcpy(p, x, n * sizeof *p);
    const float sum_x = j->compute->exp_sum(p, n, most_x);
    double gap = 0;
    for (uint64_t i = 0; i < n; i++)
        gap += (double)p[i] * ((double)x[i] - (double)y[i]);
    const float sum_y = j->compute->exp_sum(y, n, most_y);
    j->t->kld[at] = gap / (double)sum_x - ((double)most_x + log((double)sum_x)) +
                    ((double)most_y + log((double)sum_y));
    for (uint64_t i = 0; i < n; i++)
        y[i] = (y[i] / sum_y - p[i] / sum_x) * j->share;
}

int pq_teacher_loss(struct pq_teacher *t, struct pq_student *s, const uint32_t *id,
                    uint32_t windows, bool learn, double *loss, struct pq_err *e)
{
    const uint64_t n = s->size, hidden = s->hp->hidden, vocab = s->hp->vocab;
    struct job j = {t, s->math.compute, vocab, 1.0f / (float)(n * windows)};
    double sum = 0;
    for (uint32_t w = 0; w < windows; w++) {
        struct pq_rows x = {s->x + w * n * hidden, n, hidden, hidden};
        const struct pq_rows own = {t->own, n, vocab, vocab};
        pq_session_keep(t->s, 0);
        int rc = pq_session_read(t->s, id + w * n, n, t->logits, e);
        if (rc < 0)
            return rc;
        pq_student_linear(s, s->head, s->head_bias, &x, &own);
        pq_pool_each(s->math.pool, n, token, &j);
        for (uint64_t i = 0; i < n; i++)
            sum += t->kld[i];
        const struct pq_linear_back b = {.w = s->head,
                                         .bias = s->head_bias,
                                         .x = x,
                                         .dy = own,
                                         .dx = {s->d_x + w * n * hidden, n, hidden, hidden}};
        if (learn)
            pq_student_linear_back(s, &b);
    }
    *loss = sum / (double)(n * windows);
    return PQ_OK;
}
