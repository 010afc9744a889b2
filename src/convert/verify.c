/*
 * Nothing gets its final name before it has been read back: every byte of every part has the
 * checksum it had when it was encoded, and the container's own reader finds each tensor again, with
 * the scheme and shape that was planned, decoding the sampled rows to the same error.
 * SPDX-License-Identifier: MIT
 */
#include "base/hash.h"
#include "base/sys.h"
#include "convert/convert.h"

#include <stdatomic.h>
#include <string.h>

struct check {
    struct pq_run *run;
    struct pq_target *target;
    const struct pq_units *units;
    const struct pq_map *map;       /* [n_files] of what was written */
    struct pq_model *model;         /* read back */
    const struct pq_tensor **found; /* [n_items] in the model that was read back */
    atomic_size_t next;             /* item to take */
    atomic_int rc;
    atomic_flag err_taken;
    struct pq_err *err;
};

static int mismatch(const struct check *c, size_t item, const char *what, struct pq_err *e)
{
    const struct pq_item *it = &c->target->plan.item[item];
    return pq_fail(e, PQ_EMISMATCH, "%s: tensor %s: %s", c->target->plan.file[it->file].name,
                   it->name, what);
}

/* Bytes as written, unit by unit as they were summed. */
static int check_bytes(const struct check *c, size_t item, const struct pq_unit *first,
                       struct pq_err *e)
{
    const struct pq_item *it = &c->target->plan.item[item];
    const struct pq_map *m = &c->map[it->file];
    uint64_t sum = 0;
    for (uint32_t k = 0; k < c->units->of_tensor[it->tensor_index]; k++)
        for (int i = 0; i < it->n_parts; i++) {
            uint64_t row = pq_scheme_part_bytes(it->scheme, it->tensor->cols, i);
            uint64_t at = it->at[i] + first[k].row0 * row, n = first[k].rows * row;
            if (at > m->size || n > m->size - at)
                return mismatch(c, item, "the file is shorter than planned", e);
            sum += pq_hash(m->data + at, (size_t)n, at);
            pq_map_done(m->data + at, n);
        }
    return sum == atomic_load(&c->target->written[item].sum)
               ? PQ_OK
               : mismatch(c, item, "the bytes on disk are not the bytes that were written", e);
}

/* The reader's idea of the tensor, row by row, gives the error that the writer measured. */
static int check_rows(const struct check *c, size_t item, const struct pq_unit *first, float *x,
                      float *back, struct pq_err *e)
{
    const struct pq_item *it = &c->target->plan.item[item];
    const struct pq_tensor *t = c->found[item];
    const uint64_t stride = pq_run_stride(c->run), cols = it->tensor->cols;
    for (uint32_t k = 0; k < c->units->of_tensor[it->tensor_index]; k++) {
        struct pq_row_error sum = {0, 0};
        const struct pq_unit *u = &first[k];
        for (uint64_t r = (u->row0 + stride - 1) / stride * stride; r < u->row0 + u->rows;
             r += stride) {
            pq_tensor_row(it->tensor, c->run->kern, r, x);
            pq_tensor_row(t, c->run->kern, r, back);
            pq_row_error_add(&sum, x, back, cols);
        }
        pq_tensor_let_go(it->tensor, u->row0, u->rows);
        pq_tensor_let_go(t, u->row0, u->rows);
        const struct pq_row_error *w = &c->target->written[item].error[k];
        if (sum.err != w->err || sum.ref != w->ref)
            return mismatch(c, item, "rows read back differ from the rows that were encoded", e);
    }
    return PQ_OK;
}

static int check_item(const struct check *c, size_t item, float *x, float *back, struct pq_err *e)
{
    int rc = PQ_OK;
    const struct pq_item *it = &c->target->plan.item[item];
    const struct pq_tensor *t = c->found[item];
    const struct pq_unit *first = c->units->unit;
    while (first->tensor != it->tensor_index)
        first++;
    if (!t || t->rows != it->tensor->rows || t->cols != it->tensor->cols)
        return mismatch(c, item, "not found again with its shape", e);
    PQ_TRY(check_bytes(c, item, first, e));
    PQ_TRY(check_rows(c, item, first, x, back, e));
out:
    return rc;
}

static void worker(void *ctx, int id)
{
    struct check *c = (struct check *)ctx;
    struct pq_err e = {0};
    const struct pq_plan *plan = &c->target->plan;
    size_t n = (size_t)c->units->max_cols;
    float *x = (float *)pq_calloc(n, sizeof *x), *back = (float *)pq_calloc(n, sizeof *back);
    int rc = x && back ? PQ_OK : pq_fail(&e, PQ_ENOMEM, "out of memory while verifying");
    while (rc >= 0 && atomic_load(&c->rc) >= 0) {
        size_t i = atomic_fetch_add(&c->next, 1);
        if (i >= plan->n_items)
            break;
        if (plan->item[i].tensor)
            rc = check_item(c, i, x, back, &e);
        if (rc >= 0 && id == 0)
            rc = pq_run_progress(c->run, "verify", plan->item[i].name, i + 1, plan->n_items, &e);
    }
    if (rc < 0 && !atomic_flag_test_and_set(&c->err_taken)) {
        *c->err = e;
        atomic_store(&c->rc, rc);
    }
    pq_free(x);
    pq_free(back);
}

static int check_literals(const struct check *c, struct pq_err *e)
{
    const struct pq_plan *p = &c->target->plan;
    for (size_t f = 0; f < p->n_files; f++) {
        const struct pq_buf *doc = &p->file[f].doc; /* none where a file is all weights */
        if (c->map[f].size != p->file[f].size ||
            (doc->len && memcmp(c->map[f].data, doc->data, doc->len)))
            return pq_fail(e, PQ_EMISMATCH, "%s: the document on disk is not what was written",
                           p->file[f].name);
    }
    for (size_t i = 0; i < p->n_items; i++) {
        const struct pq_item *it = &p->item[i];
        if (!it->tensor &&
            memcmp(c->map[it->file].data + it->at[0], it->literal, (size_t)it->bytes[0]))
            return mismatch(c, i, "the bytes on disk are not the bytes that were written", e);
    }
    return PQ_OK;
}

static int open_files(struct pq_run *r, struct pq_target *t, struct pq_map *map, struct pq_err *e)
{
    for (size_t f = 0; f < t->plan.n_files; f++) {
        const char *path = pq_path_join(&r->arena, t->part_dir, t->plan.file[f].name);
        int rc = path ? pq_map_open(&map[f], path, e)
                      : pq_fail(e, PQ_ENOMEM, "out of memory while verifying");
        if (rc < 0)
            return rc;
    }
    return PQ_OK;
}

int pq_verify(struct pq_run *r, struct pq_target *t, const struct pq_units *u, struct pq_err *e)
{
    int rc = PQ_OK;
    const struct pq_plan *p = &t->plan;
    struct pq_err first = {0};
    struct pq_map *map = (struct pq_map *)pq_arena_alloc(&r->arena, p->n_files, sizeof *map);
    struct check c = {.run = r,
                      .target = t,
                      .units = u,
                      .map = map,
                      .err_taken = ATOMIC_FLAG_INIT,
                      .err = &first};
    c.found = (const struct pq_tensor **)pq_arena_alloc(&r->arena, p->n_items, sizeof *c.found);
    if (!map || !c.found)
        return pq_fail(e, PQ_ENOMEM, "out of memory while verifying");
    PQ_TRY(open_files(r, t, map, e));
    PQ_TRY(check_literals(&c, e));
    const char *path = p->whole_folder ? t->part_dir : map[0].path;
    PQ_TRY(pq_model_load(&c.model, path, e));
    for (size_t i = 0; i < p->n_items; i++)
        if (p->item[i].tensor)
            c.found[i] = pq_network_find(&c.model->net, p->item[i].tensor->name);
    pq_parallel(r->threads, worker, &c);
    if (atomic_load(&c.rc) < 0)
        rc = pq_fail(e, atomic_load(&c.rc), "%s", first.msg);
out:
    pq_model_free(c.model);
    for (size_t f = 0; map && f < p->n_files; f++)
        pq_map_close(&map[f]);
    return rc;
}
