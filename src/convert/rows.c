/*
 * The hot loop: widen rows once, encode them for every target, put each part at its planned place.
 * Chunk boundaries depend on the model only, so neither bytes nor checksums depend on threads.
 * SPDX-License-Identifier: MIT
 */
#include "base/hash.h"
#include "base/num.h"
#include "base/sys.h"
#include "convert/convert.h"
#include "quant/codes.h"

#include <math.h>
#include <stdatomic.h>

enum { UNIT_WEIGHTS = 512 * 1024 }; /* 2 MB as float: large writes, small scratch */

int pq_units_make(struct pq_units *u, struct pq_run *r, struct pq_err *e)
{
    const struct pq_network *net = &r->model->net;
    *u = (struct pq_units){0};
    u->of_tensor = (uint32_t *)pq_arena_alloc(&r->arena, net->n_tensors, sizeof *u->of_tensor);
    for (int pass = 0; pass < 2 && u->of_tensor; pass++) {
        size_t n = 0;
        for (size_t t = 0; t < net->n_tensors; t++) {
            uint64_t rows = net->tensor[t].rows, cols = net->tensor[t].cols;
            uint64_t step = UNIT_WEIGHTS / (cols + 1) + 1;
            uint32_t k = 0;
            for (uint64_t row = 0; row < rows; row += step, n++, k++)
                if (pass)
                    u->unit[n] = (struct pq_unit){(uint32_t)t, k, row,
                                                  rows - row < step ? rows - row : step};
            u->of_tensor[t] = k;
            uint64_t most = (rows < step ? rows : step) * cols;
            u->max_weights = most > u->max_weights ? most : u->max_weights;
            u->max_cols = cols > u->max_cols ? cols : u->max_cols;
        }
        u->n = n;
        if (!pass && !(u->unit = (struct pq_unit *)pq_arena_alloc(&r->arena, n, sizeof *u->unit)))
            break;
    }
    return u->unit ? PQ_OK : pq_fail(e, PQ_ENOMEM, "out of memory for the plan's work list");
}

/* All rows of a small model, one in 16 of a large one. */
uint64_t pq_run_stride(const struct pq_run *r)
{
    return pq_network_weights(&r->model->net) < 64u << 20 ? 1 : 16;
}

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
    size_t out_bytes; /* of the largest encoded unit */
};

/* One worker's memory, sized for the largest unit. */
struct scratch {
    float *x;    /* [unit rows, cols] */
    float *back; /* [cols] */
    uint8_t *out;
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

/* Exponent bits all set: infinity or NaN. */
static bool all_finite(const float *x, uint64_t n)
{
    uint32_t bad = 0;
    for (uint64_t i = 0; i < n; i++)
        bad |= ((pq_f32_bits(x[i]) & 0x7f800000u) == 0x7f800000u);
    return !bad;
}

static int check_row(const struct pq_tensor *t, uint64_t row, const float *x, bool half,
                     struct pq_err *e)
{
    if (!all_finite(x, t->cols)) {
        uint64_t c = 0;
        while (all_finite(x + c, 1))
            c++;
        return fail_row(t, row, c, "is not a finite number", e);
    }
    if (half)
        for (uint64_t c = 0; c < t->cols; c++)
            if (fabsf(x[c]) >= 65520.0f)
                return fail_row(t, row, c, "does not fit 16-bit floats (fp16): use bf16", e);
    return PQ_OK;
}

static void lay_out(struct pq_encoded *p, const struct pq_item *it, uint64_t rows, uint8_t *out)
{
    *p = (struct pq_encoded){.scheme = it->scheme};
    for (int i = 0; i < it->n_parts; i++) {
        p->row_bytes[i] = pq_scheme_part_bytes(it->scheme, it->tensor->cols, i);
        p->at[i] = out;
        out += p->row_bytes[i] * rows;
    }
}

void pq_row_error_add(struct pq_row_error *sum, const float *x, const float *back, uint64_t cols)
{
    double err = 0, ref = 0;
    for (uint64_t c = 0; c < cols; c++) {
        double d = (double)back[c] - (double)x[c];
        err += d * d;
        ref += (double)x[c] * (double)x[c];
    }
    sum->err += err;
    sum->ref += ref;
}

struct pq_row_error pq_item_error(const struct pq_target *t, size_t item, const struct pq_units *u)
{
    struct pq_row_error sum = {0, 0};
    const struct pq_item *it = &t->plan.item[item];
    for (uint32_t k = 0; it->tensor && k < u->of_tensor[it->tensor_index]; k++) {
        sum.err += t->written[item].error[k].err;
        sum.ref += t->written[item].error[k].ref;
    }
    return sum;
}

static int put_piece(struct pq_target *t, size_t item, const struct pq_unit *u,
                     const struct pq_encoded *p, struct pq_err *e)
{
    const struct pq_item *it = &t->plan.item[item];
    for (int i = 0; i < it->n_parts; i++) {
        uint64_t at = it->at[i] + u->row0 * p->row_bytes[i];
        size_t n = (size_t)(u->rows * p->row_bytes[i]);
        int rc = pq_out_put(&t->out[it->file], p->at[i], n, at, e);
        if (rc < 0)
            return rc;
        pq_out_flush_hint(&t->out[it->file], at, n);
        atomic_fetch_add(&t->written[item].sum, pq_hash(p->at[i], n, at));
    }
    return PQ_OK;
}

static void row_parts(const struct pq_encoded *p, uint64_t row, void *part[PQ_MAX_PARTS])
{
    for (int i = 0; i < PQ_MAX_PARTS; i++)
        part[i] = p->at[i] ? p->at[i] + row * p->row_bytes[i] : NULL;
}

static bool feeds_back(const struct shared *s, const struct pq_item *it)
{
    return s->feedback && pq_codes_known(it->scheme);
}

static void encode_rows(const struct shared *s, const struct pq_target *t, const struct pq_item *it,
                        const struct pq_encoded *p, const struct scratch *m, uint64_t rows)
{
    const uint64_t cols = it->tensor->cols;
    const float *importance =
        t->request.importance ? t->request.importance[it->tensor_index] : NULL;
    for (uint64_t r = 0; r < rows; r++) {
        void *part[PQ_MAX_PARTS];
        row_parts(p, r, part);
        pq_scheme_encode(it->scheme, s->run->kern, t->request.solver, m->x + r * cols, importance,
                         cols, part);
    }
    if (feeds_back(s, it))
        pq_feedback_run(s->feedback, p, m->x, rows, m->feedback);
}

static int encode_for(const struct shared *s, const struct link *l, const struct pq_unit *u,
                      const struct scratch *m, struct pq_err *e)
{
    struct pq_target *t = l->target;
    const struct pq_item *it = &t->plan.item[l->item];
    const uint64_t cols = it->tensor->cols;
    struct pq_encoded p;
    struct pq_row_error sum = {0, 0};
    lay_out(&p, it, u->rows, m->out);
    encode_rows(s, t, it, &p, m, u->rows);
    for (uint64_t r = 0; r < u->rows; r++) {
        void *part[PQ_MAX_PARTS];
        if ((u->row0 + r) % s->stride)
            continue;
        row_parts(&p, r, part);
        it->scheme->decode(it->scheme, (const void *const *)part, cols, m->back);
        pq_row_error_add(&sum, m->x + r * cols, m->back, cols);
    }
    t->written[l->item].error[u->index] = sum;
    return put_piece(t, l->item, u, &p, e);
}

static int do_unit(struct shared *s, const struct pq_unit *u, const struct scratch *m,
                   struct pq_err *e)
{
    int rc = PQ_OK;
    const struct pq_tensor *t = &s->run->model->net.tensor[u->tensor];
    bool half = false;
    for (const struct link *l = s->of_tensor[u->tensor]; l; l = l->next)
        half |= l->target->plan.item[l->item].scheme->dtype == PQ_F16;
    for (uint64_t r = 0; r < u->rows; r++) {
        pq_tensor_row(t, s->run->kern, u->row0 + r, m->x + r * t->cols);
        PQ_TRY(check_row(t, u->row0 + r, m->x + r * t->cols, half, e));
    }
    for (const struct link *l = s->of_tensor[u->tensor]; l; l = l->next)
        PQ_TRY(encode_for(s, l, u, m, e));
    atomic_fetch_add(&s->done, pq_tensor_let_go(t, u->row0, u->rows));
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

static void worker(void *ctx, int id)
{
    struct shared *s = (struct shared *)ctx;
    struct pq_err e = {0};
    int rc = PQ_OK;
    const struct pq_units *us = s->units;
    struct scratch m = {(float *)pq_calloc((size_t)us->max_weights, sizeof *m.x),
                        (float *)pq_calloc((size_t)us->max_cols, sizeof *m.back),
                        (uint8_t *)pq_calloc(s->out_bytes, 1), NULL};
    if (s->feedback)
        m.feedback = (float *)pq_calloc((size_t)pq_feedback_floats(s->feedback->n), sizeof(float));
    if (!m.x || !m.back || !m.out || (s->feedback && !m.feedback))
        rc = pq_fail(&e, PQ_ENOMEM, "out of memory for a worker's %llu weights",
                     (unsigned long long)us->max_weights);
    while (rc >= 0 && atomic_load(&s->rc) >= 0) {
        size_t k = atomic_fetch_add(&s->next, 1);
        if (k >= s->end)
            break;
        rc = do_unit(s, &us->unit[k], &m, &e);
        if (rc >= 0 && id == 0)
            rc =
                pq_run_progress(s->run, "write", s->run->model->net.tensor[us->unit[k].tensor].name,
                                atomic_load(&s->done), s->total, &e);
    }
    if (rc < 0)
        stop_all(s, rc, &e);
    pq_free(m.x);
    pq_free(m.back);
    pq_free(m.out);
    pq_free(m.feedback);
}

/* Links items to tensors, allocates what is remembered of them, and sizes the output scratch. */
static int link_items(struct shared *s, struct pq_err *e)
{
    struct pq_run *r = s->run;
    struct pq_arena *a = &r->arena;
    for (size_t i = 0; i < r->n_targets; i++) {
        struct pq_target *t = &r->target[i];
        t->written = (struct pq_written *)pq_arena_alloc(a, t->plan.n_items, sizeof *t->written);
        for (size_t k = 0; t->written && k < t->plan.n_items; k++) {
            const struct pq_item *it = &t->plan.item[k];
            if (!it->tensor)
                continue;
            struct link *l = (struct link *)pq_arena_alloc(a, 1, sizeof *l);
            uint32_t n = s->units->of_tensor[it->tensor_index];
            t->written[k].error =
                (struct pq_row_error *)pq_arena_alloc(a, n, sizeof *t->written[k].error);
            if (!l || !t->written[k].error)
                return pq_fail(e, PQ_ENOMEM, "out of memory for the work list");
            *l = (struct link){t, k, s->of_tensor[it->tensor_index]};
            s->of_tensor[it->tensor_index] = l;
            uint64_t row = pq_scheme_row_bytes(it->scheme, it->tensor->cols);
            uint64_t most = row * (s->units->max_weights / it->tensor->cols + 1);
            s->out_bytes = most > s->out_bytes ? (size_t)most : s->out_bytes;
        }
        if (!t->written)
            return pq_fail(e, PQ_ENOMEM, "out of memory for the work list");
    }
    return PQ_OK;
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
            PQ_TRY(
                pq_feedback_make(&f, &s->run->imatrix.products[i], pool, net->tensor[i].name, e));
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
    rc = r->solver == PQ_SOLVER_GPTQ ? write_by_tensor(&s, e) : write_units(&s, u->n, e);
    return rc;
}
