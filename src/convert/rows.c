/*
 * The hot loop: widen rows once, encode them for every target, put each part at its planned place.
 * SPDX-License-Identifier: MIT
 */
#include "base/hash.h"
#include "base/sys.h"
#include "convert/convert.h"
#include "quant/codes.h"
#include "quant/encode.h"

#include <math.h>
#include <stdatomic.h>

/* An item of a target that stores a tensor; a list per tensor. */
struct link {
    struct pq_target *target;
    size_t item;
    struct link *next;
};

/* What the threads share. */
struct shared {
    struct pq_run *run;
    const struct pq_units *units;
    struct link **of_tensor;            /* [n_tensors] */
    atomic_size_t next;                 /* unit to take */
    size_t end;                         /* where these units stop */
    const struct pq_feedback *feedback; /* of their tensor; NULL: none */
    atomic_ullong done;                 /* source bytes */
    atomic_int rc;                      /* of the first worker that failed */
    atomic_flag err_taken;
    struct pq_err *err;
    uint64_t total, stride;
    size_t out_bytes; /* of the largest unit, encoded for all its links */
    size_t max_links;
};

/* What becomes of a unit in one item. */
struct product {
    const struct link *link;
    struct pq_encoded to;
    struct pq_written written;
};

/* One worker's memory. */
struct scratch {
    float *x;    /* [strip, cols] */
    float *back; /* [cols] */
    uint8_t *out;
    struct product *product; /* one for each link of a tensor */
    float *feedback;
};

static int fail_row(const struct pq_tensor *t, uint64_t row, uint64_t col, const char *what,
                    struct pq_err *e)
{
    const struct pq_slice *s = t->slice;
    uint64_t at = row;
    while (at >= s->rows)
        at -= s++->rows;
    return pq_fail(e, PQ_EFORMAT, "%s: tensor %s: row %llu column %llu %s", s->file, s->stored,
                   (unsigned long long)(s->row0 + at), (unsigned long long)col, what);
}

static int check_row(const struct pq_kern *k, const struct pq_tensor *t, uint64_t row,
                     const float *x, bool half, struct pq_err *e)
{
    if (!k->all_finite(x, t->cols)) {
        uint64_t c = 0;
        while (isfinite(x[c]))
            c++;
        return fail_row(t, row, c, "is not a finite number", e);
    }
    if (half)
        for (uint64_t c = 0; c < t->cols; c++)
            if (fabsf(x[c]) >= 65520.0f)
                return fail_row(t, row, c, "does not fit 16-bit floats (fp16): use bf16", e);
    return PQ_OK;
}

static size_t lay_out_all(const struct shared *s, const struct pq_unit *u, const struct scratch *m)
{
    size_t n = 0;
    uint8_t *out = m->out;
    for (const struct link *l = s->of_tensor[u->tensor]; l; l = l->next, n++) {
        m->product[n] = (struct product){.link = l};
        const struct pq_item *it = &l->target->plan.item[l->item];
        out += pq_encoded_lay_out(&m->product[n].to, it->scheme, it->tensor->cols, u->rows, out);
    }
    return n;
}

/* Rows `first` and on of a unit; m->x holds them. */
struct strip {
    const struct pq_unit *unit;
    uint64_t first, rows;
};

static void encode_rows(const struct shared *s, const struct product *p, struct strip at,
                        const struct scratch *m)
{
    const struct pq_target *t = p->link->target;
    const struct pq_item *it = &t->plan.item[p->link->item];
    const struct pq_row_encoder c = {
        s->run->kern, t->request.solver,
        t->request.importance ? t->request.importance[it->tensor_index] : NULL, s->feedback};
    const struct pq_encoded to = pq_encoded_from(&p->to, at.first);
    pq_rows_encode(&c, &to, m->x, at.rows, it->tensor->cols, m->feedback);
}

static void measure_rows(const struct shared *s, struct product *p, struct strip at,
                         const struct scratch *m)
{
    const struct pq_item *it = &p->link->target->plan.item[p->link->item];
    const uint64_t cols = it->tensor->cols;
    for (uint64_t r = 0; r < at.rows; r++) {
        void *part[PQ_MAX_PARTS];
        if ((at.unit->row0 + at.first + r) % s->stride)
            continue;
        pq_encoded_row(&p->to, at.first + r, part);
        it->scheme->decode(it->scheme, (const void *const *)part, cols, m->back);
        pq_row_error_add(&p->written.error, m->x + r * cols, m->back, cols);
        p->written.rows += pq_row_hash(m->back, cols, at.unit->row0 + at.first + r);
    }
}

static int put_piece(struct product *p, const struct pq_unit *u, struct pq_err *e)
{
    struct pq_target *t = p->link->target;
    const struct pq_item *it = &t->plan.item[p->link->item];
    for (int i = 0; i < it->n_parts; i++) {
        uint64_t at = it->at[i] + u->row0 * p->to.row_bytes[i];
        size_t n = (size_t)(u->rows * p->to.row_bytes[i]);
        int rc = pq_out_put(&t->out[it->file], p->to.at[i], n, at, e);
        if (rc < 0)
            return rc;
        pq_out_flush_hint(&t->out[it->file], at, n);
        p->written.sum += pq_hash(p->to.at[i], n, at);
    }
    t->written[p->link->item][u->index] = p->written;
    return PQ_OK;
}

static int widen_rows(const struct shared *s, struct strip at, float *x, struct pq_err *e)
{
    int rc = PQ_OK;
    const struct pq_tensor *t = &s->run->model->net.tensor[at.unit->tensor];
    bool half = false;
    for (const struct link *l = s->of_tensor[at.unit->tensor]; l; l = l->next)
        half |= l->target->plan.item[l->item].scheme->dtype == PQ_F16;
    for (uint64_t r = 0; rc >= 0 && r < at.rows; r++, x += t->cols) {
        const uint64_t row = at.unit->row0 + at.first + r;
        pq_tensor_row(t, s->run->kern, row, x);
        rc = check_row(s->run->kern, t, row, x, half, e);
    }
    return rc;
}

/* Row by row, so that a row stays in the first cache; feedback wants all of a unit's. */
static int do_unit(struct shared *s, const struct pq_unit *u, const struct scratch *m,
                   struct pq_err *e)
{
    int rc = PQ_OK;
    const size_t n = lay_out_all(s, u, m);
    struct strip at = {u, 0, s->feedback ? u->rows : 1};
    for (; at.first < u->rows; at.first += at.rows) {
        PQ_TRY(widen_rows(s, at, m->x, e));
        for (size_t i = 0; i < n; i++) {
            encode_rows(s, &m->product[i], at, m);
            measure_rows(s, &m->product[i], at, m);
        }
    }
    for (size_t i = 0; i < n; i++)
        PQ_TRY(put_piece(&m->product[i], u, e));
    atomic_fetch_add(&s->done,
                     pq_tensor_let_go(&s->run->model->net.tensor[u->tensor], u->row0, u->rows));
out:
    return rc;
}

static void stop_all(struct shared *s, int rc, const struct pq_err *e)
{
    if (!atomic_flag_test_and_set(&s->err_taken)) {
        *s->err = *e;
        atomic_store(&s->rc, rc);
    }
}

static bool scratch_begin(struct scratch *m, const struct shared *s)
{
    const struct pq_units *u = s->units;
    const uint64_t n = s->feedback ? u->max_weights : u->max_cols;
    const uint64_t more = s->feedback ? pq_feedback_floats(s->feedback->n) : 1;
    m->x = (float *)pq_calloc((size_t)n, sizeof *m->x);
    m->back = (float *)pq_calloc((size_t)u->max_cols, sizeof *m->back);
    m->out = (uint8_t *)pq_calloc(s->out_bytes, 1);
    m->product = (struct product *)pq_calloc(s->max_links, sizeof *m->product);
    m->feedback = (float *)pq_calloc((size_t)more, sizeof *m->feedback);
    return m->x && m->back && m->out && m->product && m->feedback;
}

static void scratch_end(struct scratch *m)
{
    pq_free(m->x);
    pq_free(m->back);
    pq_free(m->out);
    pq_free(m->product);
    pq_free(m->feedback);
}

static void worker(void *ctx, int id)
{
    struct shared *s = (struct shared *)ctx;
    struct pq_err e = {0};
    int rc = PQ_OK;
    struct scratch m = {0};
    if (!scratch_begin(&m, s))
        rc = pq_fail(&e, PQ_ENOMEM, "out of memory for a worker's %llu weights",
                     (unsigned long long)s->units->max_weights);
    while (rc >= 0 && atomic_load(&s->rc) >= 0) {
        size_t k = atomic_fetch_add(&s->next, 1);
        if (k >= s->end)
            break;
        rc = do_unit(s, &s->units->unit[k], &m, &e);
        if (rc >= 0 && id == 0)
            rc = pq_run_progress(s->run, "write",
                                 s->run->model->net.tensor[s->units->unit[k].tensor].name,
                                 atomic_load(&s->done), s->total, &e);
    }
    if (rc < 0)
        stop_all(s, rc, &e);
    scratch_end(&m);
}

/* Links items to tensors and allocates what is remembered of them. */
static int link_items(struct shared *s, struct pq_err *e)
{
    struct pq_run *r = s->run;
    struct pq_arena *a = &r->arena;
    for (size_t i = 0; i < r->n_targets; i++) {
        struct pq_target *t = &r->target[i];
        t->written = (struct pq_written **)pq_arena_alloc(a, t->plan.n_items, sizeof *t->written);
        for (size_t k = 0; t->written && k < t->plan.n_items; k++) {
            const struct pq_item *it = &t->plan.item[k];
            if (!it->tensor)
                continue;
            struct link *l = (struct link *)pq_arena_alloc(a, 1, sizeof *l);
            uint32_t n = s->units->of_tensor[it->tensor_index];
            t->written[k] = (struct pq_written *)pq_arena_alloc(a, n, sizeof **t->written);
            if (!l || !t->written[k])
                return pq_fail(e, PQ_ENOMEM, "out of memory for the work list");
            *l = (struct link){t, k, s->of_tensor[it->tensor_index]};
            s->of_tensor[it->tensor_index] = l;
        }
        if (!t->written)
            return pq_fail(e, PQ_ENOMEM, "out of memory for the work list");
    }
    return PQ_OK;
}

static void size_outputs(struct shared *s)
{
    for (size_t i = 0; i < s->units->n; i++) {
        const struct pq_unit *u = &s->units->unit[i];
        size_t bytes = 0, links = 0;
        for (const struct link *l = s->of_tensor[u->tensor]; l; l = l->next, links++) {
            const struct pq_item *it = &l->target->plan.item[l->item];
            bytes += (size_t)(u->rows * pq_scheme_row_bytes(it->scheme, it->tensor->cols));
        }
        s->out_bytes = bytes > s->out_bytes ? bytes : s->out_bytes;
        s->max_links = links > s->max_links ? links : s->max_links;
    }
}

/* Units from the last end to this one. */
static int write_units(struct shared *s, size_t end, struct pq_err *e)
{
    atomic_store(&s->next, s->end);
    s->end = end;
    pq_parallel(s->run->threads, worker, s);
    int rc = atomic_load(&s->rc);
    return rc < 0 ? pq_fail(e, rc, "%s", s->err->msg) : PQ_OK;
}

static bool anyone_feeds_back(const struct shared *s, size_t tensor)
{
    bool any = false;
    for (const struct link *l = s->of_tensor[tensor]; l; l = l->next)
        any |= pq_codes_known(l->target->plan.item[l->item].scheme);
    return any && s->run->imatrix.products[tensor].lower;
}

/* One tensor after the other, each with the feedback that belongs to its inputs. */
static int write_by_tensor(struct shared *s, struct pq_err *e)
{
    int rc = PQ_OK;
    struct pq_pool *pool = NULL;
    struct pq_feedback f = {0};
    const struct pq_network *net = &s->run->model->net;
    PQ_TRY(pq_pool_new(&pool, s->run->threads, e));
    for (size_t i = 0; i < net->n_tensors; i++) {
        s->feedback = NULL;
        if (anyone_feeds_back(s, i)) {
            PQ_TRY(pq_feedback_make(&f, &s->run->imatrix.products[i], PQ_USUAL_SWEEPS, pool,
                                    net->tensor[i].name, e));
            s->feedback = &f;
        }
        PQ_TRY(write_units(s, s->end + s->units->of_tensor[i], e));
        pq_feedback_free(&f);
    }
out:
    pq_feedback_free(&f);
    pq_pool_free(pool);
    return rc;
}

int pq_rows_write(struct pq_run *r, const struct pq_units *u, struct pq_err *e)
{
    const struct pq_network *net = &r->model->net;
    struct pq_err first = {0};
    struct shared s = {.run = r,
                       .units = u,
                       .err_taken = ATOMIC_FLAG_INIT,
                       .err = &first,
                       .total = pq_network_bytes(net),
                       .stride = pq_run_stride(r)};
    s.of_tensor = (struct link **)pq_arena_alloc(&r->arena, net->n_tensors, sizeof *s.of_tensor);
    if (!s.of_tensor)
        return pq_fail(e, PQ_ENOMEM, "out of memory for the work list");
    int rc = link_items(&s, e);
    if (rc < 0)
        return rc;
    size_outputs(&s);
    rc = r->solver == PQ_SOLVER_GPTQ ? write_by_tensor(&s, e) : write_units(&s, u->n, e);
    return rc;
}
