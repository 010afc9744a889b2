/* A copy of a model's files in which codes and vectors are others: grids stay, so every byte keeps
 * its place. SPDX-License-Identifier: MIT */
#include "refine/refine.h"

#include "base/num.h"

#include <math.h>
#include <string.h>

#define MAX_FILES 256

struct copy {
    const char *from;
    struct pq_out out;
};

struct patch {
    const struct pq_student *s;
    const char *out, *part; /* final and growing name */
    bool folder;
    struct pq_arena arena;
    struct copy file[MAX_FILES];
    size_t n;
    uint8_t *row; /* [n_workers] encoded */
};

static int no_memory(const struct patch *p, struct pq_err *e)
{
    return pq_fail(e, PQ_ENOMEM, "%s: out of memory while writing", p->out);
}

/* ---- copying ---- */

static int fill(const struct copy *c, const struct pq_map *m, struct pq_err *e)
{
    enum { CHUNK = 4 << 20 };
    int rc = PQ_OK;
    for (uint64_t at = 0; rc >= 0 && at < m->size; at += CHUNK) {
        const uint64_t n = m->size - at < CHUNK ? m->size - at : CHUNK;
        rc = pq_out_put(&c->out, m->data + at, (size_t)n, at, e);
    }
    return rc;
}

static int copy_file(struct patch *p, const char *from, const char *to, struct pq_err *e)
{
    struct pq_map m;
    struct copy *c = &p->file[p->n];
    if (p->n == MAX_FILES)
        return pq_fail(e, PQ_EUNSUPPORTED, "%s: more than %d files", p->s->model->path, MAX_FILES);
    int rc = pq_map_open(&m, from, e);
    if (rc < 0)
        return rc;
    c->from = from;
    rc = pq_out_create(&c->out, to, m.size, e);
    if (rc >= 0) {
        p->n++;
        rc = fill(c, &m, e);
    }
    pq_map_close(&m);
    return rc;
}

static int copy_entry(void *ctx, const char *name, struct pq_err *e)
{
    struct patch *p = (struct patch *)ctx;
    const char *from = pq_path_join(&p->arena, p->s->model->path, name);
    const char *to = pq_path_join(&p->arena, p->part, name);
    if (!from || !to)
        return no_memory(p, e);
    if (pq_path_kind(from) != PQ_PATH_FILE)
        return pq_fail(e, PQ_EUNSUPPORTED, "%s: no plain file: only those are copied", from);
    return copy_file(p, from, to, e);
}

static int copy_all(struct patch *p, struct pq_err *e)
{
    const char *path = p->s->model->path;
    if (!p->folder)
        return copy_file(p, path, p->part, e);
    int rc = pq_dir_make(p->part, e);
    return rc < 0 ? rc : pq_dir_each(path, copy_entry, p, e);
}

/* ---- patching ---- */

static int put(const struct patch *p, const void *stored, const void *data, size_t n,
               struct pq_err *e)
{
    const char *path;
    uint64_t at;
    if (!pq_ckpt_locate(p->s->model->ckpt, stored, &path, &at))
        return pq_fail(e, PQ_EUNSUPPORTED, "%s: a tensor does not lie in a file as it is used",
                       p->s->model->path);
    for (size_t i = 0; i < p->n; i++)
        if (!strcmp(pq_path_base(p->file[i].from), pq_path_base(path)))
            return pq_out_put(&p->file[i].out, data, n, at, e);
    return pq_fail(e, PQ_EUNSUPPORTED, "%s: holds weights of %s and would not be copied with it",
                   path, p->s->model->path);
}

/* All parts of an encoded row, each where it lies. */
static int put_row(const struct patch *p, const struct pq_param *a, const struct pq_view *v,
                   uint64_t stored_row, uint64_t row, struct pq_err *e)
{
    int rc = PQ_OK;
    uint8_t *at = p->row;
    void *part[PQ_MAX_PARTS] = {NULL};
    for (int i = 0; i < PQ_MAX_PARTS && v->part[i]; i++) {
        const size_t n = (size_t)pq_scheme_part_bytes(v->scheme, a->cols, i);
        part[i] = memcpy(at, v->part[i] + stored_row * n, n);
        at += n;
    }
    pq_codes_put(v->scheme, a->code + row * a->cols, a->cols, part);
    pq_param_scales_put(a, row, part);
    for (int i = 0; rc >= 0 && i < PQ_MAX_PARTS && part[i]; i++) {
        const size_t n = (size_t)pq_scheme_part_bytes(v->scheme, a->cols, i);
        const uint8_t *stored = v->part[i] + stored_row * n;
        if (memcmp(stored, part[i], n)) /* zero points, which stay, may lie elsewhere */
            rc = put(p, stored, part[i], n, e);
    }
    return rc;
}

static int put_codes(const struct patch *p, const struct pq_param *a, struct pq_err *e)
{
    int rc = PQ_OK;
    uint64_t row = 0;
    for (int i = 0; rc >= 0 && i < a->t->n_slices; i++) {
        const struct pq_slice *s = &a->t->slice[i];
        for (uint64_t r = 0; rc >= 0 && r < s->rows; r++, row++)
            rc = put_row(p, a, &s->view, s->row0 + r, row, e);
    }
    return rc;
}

static int put_vector(const struct patch *p, const struct pq_param *a, struct pq_err *e)
{
    const struct pq_slice *s = &a->t->slice[0];
    const enum pq_dtype type = s->view.scheme->dtype;
    const size_t size = pq_dtype_size(type);
    for (uint64_t i = 0; i < a->cols; i++) {
        if (type == PQ_F32)
            pq_put_le32(p->row + 4 * i, pq_f32_bits(a->w[i]));
        else
            pq_put_le16(p->row + 2 * i,
                        type == PQ_F16 ? pq_f32_to_f16(a->w[i]) : pq_f32_to_bf16(a->w[i]));
    }
    return put(p, s->view.part[0] + s->row0 * a->cols * size, p->row, (size_t)a->cols * size, e);
}

static int patch_all(struct patch *p, struct pq_err *e)
{
    int rc = PQ_OK;
    for (size_t i = 0; rc >= 0 && i < p->s->model->net.n_tensors; i++) {
        const struct pq_param *a = &p->s->param[i];
        if (a->grad)
            rc = a->code ? put_codes(p, a, e) : put_vector(p, a, e);
    }
    return rc;
}

static int close_all(struct patch *p, bool good, struct pq_err *e)
{
    int rc = PQ_OK;
    for (size_t i = 0; i < p->n; i++) {
        if (good && rc >= 0)
            rc = pq_out_sync(&p->file[i].out, e);
        int closed = pq_out_close(&p->file[i].out, rc < 0 ? NULL : e);
        rc = rc < 0 ? rc : closed;
    }
    p->n = 0;
    return rc;
}

/* ---- reading back ---- */

static int check_param(const struct patch *p, const struct pq_model *m, const struct pq_param *a,
                       struct pq_err *e)
{
    float *x = (float *)p->row;
    const struct pq_tensor *t = pq_network_find(&m->net, a->t->name);
    if (!t || t->rows != a->rows || t->cols != a->cols)
        return pq_fail(e, PQ_EMISMATCH, "%s: tensor %s is not found again", p->out, a->t->name);
    for (uint64_t r = 0; r < a->rows; r++) {
        pq_tensor_row(t, p->s->kern, r, x);
        for (uint64_t i = 0; i < a->cols; i++) {
            const float w = a->w[r * a->cols + i];
            const float near = 1e-5f * (fabsf(w) + (a->step ? fabsf(a->step[r * a->cols + i]) : 0));
            if (!(fabsf(x[i] - w) <= near))
                return pq_fail(e, PQ_EMISMATCH,
                               "%s: tensor %s: row %llu reads back as other weights", p->out,
                               a->t->name, (unsigned long long)r);
        }
    }
    return PQ_OK;
}

static int check(const struct patch *p, struct pq_err *e)
{
    struct pq_model *m = NULL;
    int rc = pq_model_load(&m, p->part, e);
    for (size_t i = 0; rc >= 0 && i < p->s->model->net.n_tensors; i++)
        rc = check_param(p, m, &p->s->param[i], e);
    pq_model_free(m);
    return rc;
}

/* ---- the whole ---- */

int pq_patch_check(const char *out, bool force, struct pq_err *e)
{
    return force || pq_path_kind(out) == PQ_PATH_NONE
               ? PQ_OK
               : pq_fail(e, PQ_EEXIST, "%s exists: --force replaces it", out);
}

static int prepare(struct patch *p, struct pq_err *e)
{
    uint64_t widest = 0;
    for (size_t i = 0; i < p->s->model->net.n_tensors; i++)
        widest = p->s->param[i].cols > widest ? p->s->param[i].cols : widest;
    p->part = pq_arena_printf(&p->arena, "%s.part%s", p->out, p->folder ? "" : ".gguf");
    p->row = (uint8_t *)pq_arena_alloc(&p->arena, (size_t)widest, sizeof(float));
    if (!p->part || !p->row)
        return no_memory(p, e);
    return pq_tree_remove(p->part, e);
}

int pq_patch_write(const struct pq_student *s, const char *out, bool force, struct pq_err *e)
{
    int rc = PQ_OK;
    struct patch p = {.s = s, .out = out, .folder = pq_path_kind(s->model->path) == PQ_PATH_DIR};
    PQ_TRY(pq_patch_check(out, force, e)); /* it may have come while the student learned */
    PQ_TRY(prepare(&p, e));
    rc = copy_all(&p, e);
    if (rc >= 0)
        rc = patch_all(&p, e);
    const int closed = close_all(&p, rc >= 0, rc < 0 ? NULL : e);
    rc = rc < 0 ? rc : closed;
    if (rc >= 0)
        rc = check(&p, e);
    if (rc >= 0)
        rc = pq_path_replace(p.part, out, e);
    if (rc < 0)
        (void)pq_tree_remove(p.part, NULL);
out:
    pq_arena_free(&p.arena);
    return rc;
}
