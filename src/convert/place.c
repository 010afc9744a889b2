/* Where outputs grow and how they appear: files are written into a hidden folder beside their final
 * place and renamed when they verify, so a crash leaves no half output under a final name.
 * SPDX-License-Identifier: MIT */
#include "base/sys.h"
#include "convert/convert.h"

#include <stdatomic.h>

enum { MAX_SYNCING = 16 };

static int no_memory(struct pq_err *e)
{
    return pq_fail(e, PQ_ENOMEM, "out of memory while placing outputs");
}

static const char *final_path(struct pq_run *r, const struct pq_target *t, size_t file)
{
    return pq_path_join(&r->arena, t->final_dir, t->plan.file[file].name);
}

/* Existing outputs are an error unless forced. */
static int check_free(struct pq_run *r, const struct pq_target *t, struct pq_err *e)
{
    if (t->plan.whole_folder) {
        if (pq_path_kind(t->final_dir) != PQ_PATH_NONE && !r->opt->force)
            return pq_fail(e, PQ_EEXIST, "%s exists: --force replaces it", t->final_dir);
        return PQ_OK;
    }
    for (size_t i = 0; i < t->plan.n_files; i++) {
        const char *path = final_path(r, t, i);
        if (!path)
            return no_memory(e);
        if (pq_path_kind(path) != PQ_PATH_NONE && !r->opt->force)
            return pq_fail(e, PQ_EEXIST, "%s exists: --force replaces it", path);
    }
    return PQ_OK;
}

static int name_paths(struct pq_run *r, struct pq_target *t, struct pq_err *e)
{
    struct pq_arena *a = &r->arena;
    const char *parent = r->opt->out_dir;
    t->final_dir = pq_path_join(a, parent, t->plan.dir);
    const char *part = t->plan.whole_folder ? pq_arena_printf(a, ".%s.part", t->plan.dir)
                                            : pq_arena_printf(a, ".%s.part", t->plan.file[0].name);
    if (!part || !t->final_dir)
        return no_memory(e);
    t->part_dir = pq_path_join(a, t->plan.whole_folder ? parent : t->final_dir, part);
    t->path = t->plan.whole_folder ? t->final_dir : final_path(r, t, 0);
    return t->part_dir && t->path ? PQ_OK : no_memory(e);
}

static int create_files(struct pq_run *r, struct pq_target *t, struct pq_err *e)
{
    for (size_t i = 0; i < t->plan.n_files; i++) {
        const struct pq_out_file *f = &t->plan.file[i];
        const char *path = pq_path_join(&r->arena, t->part_dir, f->name);
        if (!path)
            return no_memory(e);
        int rc = pq_out_create(&t->out[i], path, f->size, e);
        if (rc >= 0)
            rc = pq_out_put(&t->out[i], f->doc.data, f->doc.len, 0, e);
        if (rc < 0)
            return rc;
    }
    return PQ_OK;
}

int pq_place_check(struct pq_run *r, struct pq_target *t, struct pq_err *e)
{
    int rc = name_paths(r, t, e);
    return rc < 0 ? rc : check_free(r, t, e);
}

int pq_place_begin(struct pq_run *r, struct pq_target *t, struct pq_err *e)
{
    int rc = PQ_OK;
    t->out = (struct pq_out *)pq_arena_alloc(&r->arena, t->plan.n_files, sizeof *t->out);
    if (!t->out)
        return no_memory(e);
    for (size_t i = 0; i < t->plan.n_files; i++)
        t->out[i].fd = -1;
    PQ_TRY(pq_place_check(r, t, e));
    PQ_TRY(pq_dir_make(t->plan.whole_folder ? r->opt->out_dir : t->final_dir, e));
    PQ_TRY(pq_tree_remove(t->part_dir, e)); /* left by a run that was killed */
    PQ_TRY(pq_dir_make(t->part_dir, e));
    t->part_made = true;
    PQ_TRY(create_files(r, t, e));
    for (size_t i = 0; i < t->plan.n_items; i++) {
        const struct pq_item *it = &t->plan.item[i];
        if (!it->tensor)
            PQ_TRY(pq_out_put(&t->out[it->file], it->literal, it->bytes[0], it->at[0], e));
    }
out:
    return rc;
}

/* Files on their way to the disk. */
struct syncing {
    struct pq_target *target;
    atomic_size_t next; /* file to take */
    atomic_flag failed;
    int rc; /* of the first that failed */
    struct pq_err *err;
};

static void sync_worker(void *ctx, int id)
{
    struct syncing *s = (struct syncing *)ctx;
    (void)id;
    for (size_t i; (i = atomic_fetch_add(&s->next, 1)) < s->target->plan.n_files;) {
        struct pq_err e = {0};
        int rc = pq_out_sync(&s->target->out[i], &e);
        if (rc >= 0)
            rc = pq_out_close(&s->target->out[i], &e);
        if (rc < 0 && !atomic_flag_test_and_set(&s->failed)) {
            s->rc = rc;
            *s->err = e;
        }
    }
}

/* All at once: each waits for the disk, and a journal takes them together. */
int pq_place_sync(struct pq_target *t, struct pq_err *e)
{
    struct pq_err first = {0};
    struct syncing s = {.target = t, .failed = ATOMIC_FLAG_INIT, .err = &first};
    const size_t n = t->plan.n_files;
    pq_parallel(n < MAX_SYNCING ? (int)n : MAX_SYNCING, sync_worker, &s);
    return s.rc < 0 ? pq_fail(e, s.rc, "%s", first.msg) : PQ_OK;
}

int pq_place_commit(struct pq_run *r, struct pq_target *t, struct pq_err *e)
{
    int rc = PQ_OK;
    if (t->plan.whole_folder) {
        PQ_TRY(pq_path_replace(t->part_dir, t->final_dir, e));
        t->part_made = false;
        goto out;
    }
    /* A split set counts as present when its first shard is: that one goes first, comes last. */
    if (t->plan.n_files > 1)
        PQ_TRY(pq_tree_remove(t->path, e));
    for (size_t i = t->plan.n_files; i-- > 0;) {
        const char *from = pq_path_join(&r->arena, t->part_dir, t->plan.file[i].name);
        const char *to = final_path(r, t, i);
        if (!from || !to) {
            rc = no_memory(e);
            goto out;
        }
        PQ_TRY(pq_path_replace(from, to, e));
    }
out:
    return rc;
}

void pq_place_abandon(struct pq_target *t)
{
    struct pq_err ignored = {0};
    for (size_t i = 0; t->out && i < t->plan.n_files; i++)
        if (t->out[i].fd >= 0)
            (void)!pq_out_close(&t->out[i], &ignored);
    if (t->part_made)
        (void)!pq_tree_remove(t->part_dir, &ignored);
    t->part_made = false;
}
