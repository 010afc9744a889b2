/*
 * Nothing gets its final name before it has been read back: every byte of every part has the
 * checksum it had when it was encoded, and the container's own reader finds each tensor again, with
 * the shape that was planned, decoding the sampled rows to the same numbers.
 * SPDX-License-Identifier: MIT
 */
#include "base/hash.h"
#include "base/sys.h"
#include "convert/convert.h"

#include <stdatomic.h>
#include <string.h>

/* A unit of an item. */
struct task {
    size_t item;
    const struct pq_unit *unit;
};

struct check {
    struct pq_run *run;
    struct pq_target *target;
    const struct pq_units *units;
    const struct pq_map *map;       /* [n_files] of what was written */
    struct pq_model *model;         /* read back */
    const struct pq_tensor **found; /* [n_items] in the model that was read back */
    struct task *task;
    size_t n_tasks;
    atomic_size_t next; /* task to take */
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

/* Bytes as written. */
static int check_bytes(const struct check *c, struct task k, struct pq_err *e)
{
    const struct pq_item *it = &c->target->plan.item[k.item];
    const struct pq_map *m = &c->map[it->file];
    uint64_t sum = 0;
    for (int i = 0; i < it->n_parts; i++) {
        uint64_t row = pq_scheme_part_bytes(it->scheme, it->tensor->cols, i);
        uint64_t at = it->at[i] + k.unit->row0 * row, n = k.unit->rows * row;
        if (at > m->size || n > m->size - at)
            return mismatch(c, k.item, "the file is shorter than planned", e);
        sum += pq_hash(m->data + at, (size_t)n, at);
        pq_map_done(m->data + at, n);
    }
    return sum == c->target->written[k.item][k.unit->index].sum
               ? PQ_OK
               : mismatch(c, k.item, "the bytes on disk are not the bytes that were written", e);
}

/* The reader's idea of the tensor, row by row. */
static int check_rows(const struct check *c, struct task k, float *back, struct pq_err *e)
{
    const struct pq_tensor *t = c->found[k.item];
    const struct pq_unit *u = k.unit;
    const uint64_t stride = pq_run_stride(c->run);
    uint64_t sum = 0;
    for (uint64_t r = (u->row0 + stride - 1) / stride * stride; r < u->row0 + u->rows;
         r += stride) {
        pq_tensor_row(t, c->run->kern, r, back);
        sum += pq_row_hash(back, t->cols, r);
    }
    pq_tensor_let_go(t, u->row0, u->rows);
    return sum == c->target->written[k.item][u->index].rows
               ? PQ_OK
               : mismatch(c, k.item, "rows read back differ from the rows that were encoded", e);
}

static int check_task(const struct check *c, struct task k, float *back, struct pq_err *e)
{
    int rc = PQ_OK;
    const struct pq_tensor *t = c->found[k.item], *want = c->target->plan.item[k.item].tensor;
    if (!t || t->rows != want->rows || t->cols != want->cols)
        return mismatch(c, k.item, "not found again with its shape", e);
    PQ_TRY(check_bytes(c, k, e));
    PQ_TRY(check_rows(c, k, back, e));
out:
    return rc;
}

static void worker(void *ctx, int id)
{
    struct check *c = (struct check *)ctx;
    struct pq_err e = {0};
    float *back = (float *)pq_calloc((size_t)c->units->max_cols, sizeof *back);
    int rc = back ? PQ_OK : pq_fail(&e, PQ_ENOMEM, "out of memory while verifying");
    while (rc >= 0 && atomic_load(&c->rc) >= 0) {
        size_t i = atomic_fetch_add(&c->next, 1);
        if (i >= c->n_tasks)
            break;
        rc = check_task(c, c->task[i], back, &e);
        if (rc >= 0 && id == 0)
            rc = pq_run_progress(c->run, "verify", c->target->plan.item[c->task[i].item].name,
                                 i + 1, c->n_tasks, &e);
    }
    if (rc < 0 && !atomic_flag_test_and_set(&c->err_taken)) {
        *c->err = e;
        atomic_store(&c->rc, rc);
    }
    pq_free(back);
}

/* All units of all items that hold a tensor, and those tensors as they were read back. */
static int list_tasks(struct check *c, struct pq_err *e)
{
    struct pq_arena *a = &c->run->arena;
    const struct pq_plan *p = &c->target->plan;
    size_t n = 0;
    for (size_t i = 0; i < p->n_items; i++)
        n += p->item[i].tensor ? c->units->of_tensor[p->item[i].tensor_index] : 0;
    c->found = (const struct pq_tensor **)pq_arena_alloc(a, p->n_items, sizeof *c->found);
    c->task = (struct task *)pq_arena_alloc(a, n, sizeof *c->task);
    if (!c->found || !c->task)
        return pq_fail(e, PQ_ENOMEM, "out of memory while verifying");
    for (size_t i = 0; i < p->n_items; i++) {
        const struct pq_item *it = &p->item[i];
        const struct pq_unit *u = c->units->unit;
        if (!it->tensor)
            continue;
        c->found[i] = pq_network_find(&c->model->net, it->tensor->name);
        while (u->tensor != it->tensor_index)
            u++;
        for (uint32_t k = 0; k < c->units->of_tensor[it->tensor_index]; k++)
            c->task[c->n_tasks++] = (struct task){i, u + k};
    }
    return PQ_OK;
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
    if (!map)
        return pq_fail(e, PQ_ENOMEM, "out of memory while verifying");
    PQ_TRY(open_files(r, t, map, e));
    PQ_TRY(check_literals(&c, e));
    const char *path = p->whole_folder ? t->part_dir : map[0].path;
    PQ_TRY(pq_model_load(&c.model, path, e));
    PQ_TRY(list_tasks(&c, e));
    pq_parallel(r->threads, worker, &c);
    if (atomic_load(&c.rc) < 0)
        rc = pq_fail(e, atomic_load(&c.rc), "%s", first.msg);
out:
    pq_model_free(c.model);
    for (size_t f = 0; map && f < p->n_files; f++)
        pq_map_close(&map[f]);
    return rc;
}
