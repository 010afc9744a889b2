/* A file that appears under its name only when it is complete. SPDX-License-Identifier: MIT */
#include "base/fs.h"

int pq_whole_create(struct pq_whole *w, const char *path, uint64_t size, struct pq_err *e)
{
    int rc = PQ_OK;
    struct pq_buf name = {0};
    *w = (struct pq_whole){.out = {.fd = -1}, .path = path};
    pq_buf_printf(&name, "%s.part", path);
    pq_buf_u8(&name, 0);
    PQ_TRY(pq_buf_check(&name, e));
    w->part = (char *)name.data;
    PQ_TRY(pq_tree_remove(w->part, e));
    PQ_TRY(pq_out_create(&w->out, w->part, size, e));
out:
    if (!w->part)
        pq_buf_free(&name);
    return rc;
}

int pq_whole_finish(struct pq_whole *w, struct pq_err *e)
{
    int rc = PQ_OK;
    PQ_TRY(pq_out_sync(&w->out, e));
    PQ_TRY(pq_out_close(&w->out, e));
    PQ_TRY(pq_path_replace(w->part, w->path, e));
    pq_free(w->part);
    *w = (struct pq_whole){.out = {.fd = -1}};
out:
    return rc;
}

void pq_whole_abandon(struct pq_whole *w)
{
    struct pq_err ignored;
    if (!w->part)
        return;
    if (w->out.fd >= 0)
        (void)pq_out_close(&w->out, &ignored);
    (void)pq_tree_remove(w->part, &ignored);
    pq_free(w->part);
    *w = (struct pq_whole){.out = {.fd = -1}};
}
