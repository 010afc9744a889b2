/*
 * Files: mapping, whole writes at offsets, and outputs that appear whole or not at all.
 * The only room that calls the operating system. SPDX-License-Identifier: MIT
 */
#ifndef PQ_BASE_FS_H
#define PQ_BASE_FS_H

#include "base/mem.h"

/* A read-only mapping of a whole file. An empty file maps to data = "" and size = 0. */
struct pq_map {
    const uint8_t *data;
    uint64_t size;
    const char *path; /* borrowed from the caller for messages */
};
int pq_map_open(struct pq_map *m, const char *path, struct pq_err *e);
void pq_map_close(struct pq_map *m);
/* Tells the system that these mapped bytes are not needed again. A hint only. */
void pq_map_done(const void *p, uint64_t n);

enum pq_path_kind { PQ_PATH_NONE, PQ_PATH_FILE, PQ_PATH_DIR, PQ_PATH_OTHER };
enum pq_path_kind pq_path_kind(const char *path);
char *pq_path_join(struct pq_arena *a, const char *dir, const char *name);
const char *pq_path_base(const char *path); /* after the last slash; borrowed */

/* Calls fn for each entry (no "." and "..") in byte order of the names; stops at a negative. */
int pq_dir_each(const char *dir, int (*fn)(void *ctx, const char *name, struct pq_err *e),
                void *ctx, struct pq_err *e);
int pq_dir_make(const char *dir, struct pq_err *e);     /* with parents; existing is fine */
int pq_tree_remove(const char *path, struct pq_err *e); /* file or folder; missing is fine */
/* Moves a finished file or folder to its final name, replacing what is there in one step where the
 * system can swap folders (Linux), and makes that durable. */
int pq_path_replace(const char *from, const char *to, struct pq_err *e);

/* Whole small file into a NUL-terminated buffer from the heap (pq_free). `limit` caps the size. */
int pq_file_read(const char *path, uint64_t limit, char **data, size_t *size, struct pq_err *e);
int pq_file_write(const char *path, const void *data, size_t size, struct pq_err *e);
/* Behind what is there, in one write; a file that is made is for its owner's eyes only. */
int pq_file_append(const char *path, const void *data, size_t size, struct pq_err *e);

/* A file being written: created new, sized at once, filled by pwrite from any thread. */
struct pq_out {
    int fd;
    const char *path; /* borrowed */
};
int pq_out_create(struct pq_out *o, const char *path, uint64_t size, struct pq_err *e);
int pq_out_put(const struct pq_out *o, const void *data, size_t n, uint64_t at, struct pq_err *e);
void pq_out_flush_hint(const struct pq_out *o, uint64_t at, uint64_t n); /* start write-back */
int pq_out_sync(const struct pq_out *o, struct pq_err *e);
int pq_out_close(struct pq_out *o, struct pq_err *e);

/* The same, growing beside its final name (path.part) until it is finished. Abandoning does nothing
 * to one that was finished or is all zeros. */
struct pq_whole {
    struct pq_out out;
    char *part;
    const char *path; /* borrowed */
};
int pq_whole_create(struct pq_whole *w, const char *path, uint64_t size, struct pq_err *e);
int pq_whole_finish(struct pq_whole *w, struct pq_err *e);
void pq_whole_abandon(struct pq_whole *w);

/* Test hook: the n-th write from now on (and all after) fails with ENOSPC; 0 = off.
 * With `short_by_one`, writes first transfer one byte less than asked, as the system may. */
void pq_out_fail_after(unsigned long n, bool short_writes);

#endif
