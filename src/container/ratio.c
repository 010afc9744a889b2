/*
 * Mixed precision by share: which 4-bit matrices move to 8 bits. See pq_container_ratio.
 * SPDX-License-Identifier: MIT
 */
#include "base/sys.h"
#include "container/common.h"

#include <stdatomic.h>
#include <stdlib.h>

#define SAMPLED_ROWS 256

/* A matrix in 4 bits, and what that costs. */
struct candidate {
    size_t tensor;
    uint64_t weights;
    double loss;
};

struct measure {
    const struct pq_model *m;
    const struct pq_request *r;
    const struct pq_scheme *const *choice;
    const struct pq_kern *kern;
    struct candidate *list;
    size_t n;
    atomic_size_t next;
    atomic_bool failed; /* memory */
};

/* Scratch for one row of a matrix. */
struct row {
    float *x, *back;
    void *part[PQ_MAX_PARTS];
};

static bool row_begin(struct row *w, const struct pq_scheme *s, uint64_t cols)
{
    bool ok = (w->x = (float *)pq_calloc(cols, sizeof *w->x)) != NULL;
    ok &= (w->back = (float *)pq_calloc(cols, sizeof *w->back)) != NULL;
    for (int i = 0; i < PQ_MAX_PARTS; i++)
        ok &= (w->part[i] = pq_calloc(pq_scheme_part_bytes(s, cols, i) + 1, 1)) != NULL;
    return ok;
}

static void row_end(struct row *w)
{
    pq_free(w->x);
    pq_free(w->back);
    for (int i = 0; i < PQ_MAX_PARTS; i++)
        pq_free(w->part[i]);
}

/* Relative squared error for each weight that 8 bits would cost, times the layers that the error
 * still passes through: on the sample, with the count of layers left out, KL divergence at ratio
 * 0.6 is a third higher. */
static double loss_of(const struct measure *q, const struct candidate *c, struct row *w)
{
    const struct pq_tensor *t = &q->m->net.tensor[c->tensor];
    const struct pq_scheme *s = q->choice[c->tensor];
    const float *h = q->r->importance ? q->r->importance[c->tensor] : NULL;
    const uint64_t stride = (t->rows + SAMPLED_ROWS - 1) / SAMPLED_ROWS;
    double err = 0, ref = 0;
    for (uint64_t row = 0; row < t->rows; row += stride) {
        const void *part[PQ_MAX_PARTS];
        pq_tensor_row(t, q->kern, row, w->x);
        pq_scheme_encode(s, q->kern, q->r->solver, w->x, h, t->cols, w->part);
        memcpy(part, w->part, sizeof part);
        s->decode(s, part, t->cols, w->back);
        for (uint64_t j = 0; j < t->cols; j++) {
            const double d = (double)w->x[j] - w->back[j], weight = h ? h[j] : 1;
            err += weight * d * d;
            ref += weight * w->x[j] * w->x[j];
        }
    }
    const double after = q->m->net.hp.n_layers - (double)t->layer;
    return ref > 0 ? after * err / ref / (double)c->weights : 0;
}

static void worker(void *ctx, int id)
{
    struct measure *q = (struct measure *)ctx;
    (void)id;
    for (size_t i; (i = atomic_fetch_add(&q->next, 1)) < q->n;) {
        const size_t t = q->list[i].tensor;
        struct row w = {0};
        if (row_begin(&w, q->choice[t], q->m->net.tensor[t].cols))
            q->list[i].loss = loss_of(q, &q->list[i], &w);
        else
            atomic_store(&q->failed, true);
        row_end(&w);
        pq_tensor_let_go(&q->m->net.tensor[t], 0, q->m->net.tensor[t].rows);
    }
}

/* The one that loses least first; of equal ones the earlier. */
static int by_loss(const void *a, const void *b)
{
    const struct candidate *x = (const struct candidate *)a, *y = (const struct candidate *)b;
    if (x->loss != y->loss)
        return x->loss < y->loss ? -1 : 1;
    return x->tensor < y->tensor ? -1 : 1;
}

/* Returns the weights of all candidates. */
static uint64_t find(struct measure *q)
{
    const struct pq_network *net = &q->m->net;
    uint64_t all = 0;
    for (size_t i = 0; i < net->n_tensors; i++) {
        const struct pq_tensor *t = &net->tensor[i];
        if (!pq_role_is_matrix(t->role) || q->choice[i]->family == PQ_FAM_FLOAT ||
            q->choice[i]->bits != 4 || pq_container_is_named(q->r, net, t))
            continue;
        q->list[q->n++] = (struct candidate){.tensor = i, .weights = t->rows * t->cols};
        all += t->rows * t->cols;
    }
    return all;
}

static int move(const struct pq_container *c, struct measure *q, uint64_t all,
                const struct pq_scheme **choice, struct pq_err *e)
{
    const struct pq_recipe *eight = pq_recipe_find(c, c->usual[PQ_INT8]);
    double room = q->r->ratio * (double)all;
    for (size_t i = 0; i < q->n; i++) {
        const size_t t = q->list[i].tensor;
        if ((double)q->list[i].weights <= room) {
            room -= (double)q->list[i].weights;
            continue;
        }
        choice[t] = c->fit(pq_scheme_find(eight->base), eight, &q->m->net, t);
        if (!choice[t])
            return pq_fail(e, PQ_EUNSUPPORTED, "%s: %s has no 8-bit form for its rows",
                           q->m->net.tensor[t].name, c->name);
    }
    return PQ_OK;
}

int pq_container_ratio(const struct pq_container *c, const struct pq_model *m,
                       const struct pq_request *r, const struct pq_scheme **choice,
                       struct pq_err *e)
{
    int rc = PQ_OK;
    struct measure q = {.m = m, .r = r, .choice = choice, .kern = pq_kern_best(NULL)};
    q.list = (struct candidate *)pq_calloc(m->net.n_tensors, sizeof *q.list);
    if (!q.list)
        return pq_fail(e, PQ_ENOMEM, "out of memory while measuring layers");
    const uint64_t all = find(&q);
    if (!q.n)
        PQ_TRY(pq_fail(e, PQ_EINVAL,
                       "a ratio of %g needs 4-bit layers, and %s has none in scheme %s", r->ratio,
                       c->name, r->recipe->name));
    pq_parallel(pq_cpu_count(), worker, &q);
    if (q.failed)
        PQ_TRY(pq_fail(e, PQ_ENOMEM, "out of memory while measuring layers"));
    qsort(q.list, q.n, sizeof *q.list, by_loss);
    PQ_TRY(move(c, &q, all, choice, e));
out:
    pq_free(q.list);
    return rc;
}
