/* SPDX-License-Identifier: MIT */
#include "base/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* errno in words, with the hint that users need most. */
static int io_fail(struct pq_err *e, const char *what, const char *path)
{
    return pq_fail(e, PQ_EIO, "%s: cannot %s: %s", path, what, strerror(errno));
}

int pq_map_open(struct pq_map *m, const char *path, struct pq_err *e)
{
    int rc = PQ_OK;
    struct stat st;
    *m = (struct pq_map){.data = (const uint8_t *)"", .path = path};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return io_fail(e, "open", path);
    if (fstat(fd, &st)) {
        rc = io_fail(e, "stat", path);
    } else if (!S_ISREG(st.st_mode)) {
        rc = pq_fail(e, PQ_EIO, "%s: not a regular file", path);
    } else if (st.st_size > 0) {
        void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
        if (p == MAP_FAILED) {
            rc = io_fail(e, "map", path);
        } else {
            m->data = (const uint8_t *)p;
            m->size = (uint64_t)st.st_size;
        }
    }
    close(fd);
    return rc;
}

static void *unconst(const void *p)
{
    return (void *)(uintptr_t)p;
}

void pq_map_close(struct pq_map *m)
{
    if (m->size)
        munmap(unconst(m->data), (size_t)m->size);
    m->size = 0;
    m->data = (const uint8_t *)"";
}

void pq_map_done(const void *p, uint64_t n)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t lo = ((uintptr_t)p + page - 1) / page * page; /* whole pages inside only */
    uintptr_t hi = ((uintptr_t)p + (uintptr_t)n) / page * page;
    if (lo < hi)
        madvise((void *)lo, hi - lo, MADV_DONTNEED); /* dropped from us, kept in the cache */
}

enum pq_path_kind pq_path_kind(const char *path)
{
    struct stat st;
    if (stat(path, &st))
        return PQ_PATH_NONE;
    return S_ISREG(st.st_mode) ? PQ_PATH_FILE : S_ISDIR(st.st_mode) ? PQ_PATH_DIR : PQ_PATH_OTHER;
}

char *pq_path_join(struct pq_arena *a, const char *dir, const char *name)
{
    size_t n = strlen(dir);
    return pq_arena_printf(a, "%s%s%s", dir, n && dir[n - 1] == '/' ? "" : "/", name);
}

const char *pq_path_base(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static int visible(const struct dirent *d)
{
    return strcmp(d->d_name, ".") && strcmp(d->d_name, "..");
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

int pq_dir_each(const char *dir, int (*fn)(void *ctx, const char *name, struct pq_err *e),
                void *ctx, struct pq_err *e)
{
    struct dirent **list;
    int rc = PQ_OK, n = scandir(dir, &list, visible, by_bytes);
    if (n < 0)
        return io_fail(e, "list", dir);
    for (int i = 0; i < n; i++) {
        if (rc >= 0)
            rc = fn(ctx, list[i]->d_name, e);
        free(list[i]);
    }
    free(list);
    return rc;
}

int pq_dir_make(const char *dir, struct pq_err *e)
{
    int rc = PQ_OK;
    struct pq_arena a = {0};
    char *p = pq_arena_strdup(&a, dir);
    if (!p)
        return pq_fail(e, PQ_ENOMEM, "%s: out of memory", dir);
    for (char *s = p + 1; *p && rc >= 0; s++) {
        char c = *s;
        if (c != '/' && c != '\0')
            continue;
        *s = '\0';
        if (mkdir(p, 0777) && errno != EEXIST)
            rc = io_fail(e, "create folder", p);
        *s = c;
        if (!c)
            break;
    }
    if (rc >= 0 && pq_path_kind(dir) != PQ_PATH_DIR)
        rc = pq_fail(e, PQ_EIO, "%s: exists and is not a folder", dir);
    pq_arena_free(&a);
    return rc;
}

/* Empties and removes relative to folder descriptors: needs no path buffers, so it also works when
 * memory has run out, which is when outputs are cleaned up. */
static int remove_at(int dir, const char *name)
{
    if (unlinkat(dir, name, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR && errno != EPERM) /* POSIX: EPERM, Linux: EISDIR for a folder */
        return -1;
    int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (!d) {
        if (fd >= 0)
            close(fd);
        return -1;
    }
    int rc = 0;
    for (struct dirent *entry; rc == 0 && (entry = readdir(d));)
        if (visible(entry))
            rc = remove_at(fd, entry->d_name);
    closedir(d);
    return rc ? rc : unlinkat(dir, name, AT_REMOVEDIR);
}

int pq_tree_remove(const char *path, struct pq_err *e)
{
    return remove_at(AT_FDCWD, path) ? io_fail(e, "remove", path) : PQ_OK;
}

/* Makes a rename or creation inside dir durable. */
static void sync_folder_of(const char *path)
{
    struct pq_arena a = {0};
    char *dir = pq_arena_strdup(&a, path), *slash = dir ? strrchr(dir, '/') : NULL;
    if (slash && slash != dir)
        *slash = '\0';
    int fd = dir ? open(slash ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
    pq_arena_free(&a);
}

/* rename() replaces files but not folders that hold something: swap those, then remove the old. */
static int swap_folders(const char *from, const char *to, struct pq_err *e)
{
#ifdef RENAME_EXCHANGE
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_EXCHANGE) == 0)
        return pq_tree_remove(from, e);
#endif
    int rc = pq_tree_remove(to, e); /* no swap here: the old output goes first */
    if (rc >= 0 && rename(from, to))
        rc = io_fail(e, "rename into place", from);
    return rc;
}

int pq_path_replace(const char *from, const char *to, struct pq_err *e)
{
    int rc = PQ_OK;
    if (rename(from, to))
        rc = pq_path_kind(to) == PQ_PATH_DIR
                 ? swap_folders(from, to, e)
                 : pq_fail(e, PQ_EIO, "%s: cannot rename to %s: %s", from, to, strerror(errno));
    if (rc >= 0)
        sync_folder_of(to);
    return rc;
}

int pq_file_read(const char *path, uint64_t limit, char **data, size_t *size, struct pq_err *e)
{
    struct pq_map m;
    int rc = pq_map_open(&m, path, e);
    *data = NULL;
    *size = 0;
    if (rc < 0)
        return rc;
    if (m.size > limit) {
        rc = pq_fail(e, PQ_EFORMAT, "%s: %llu bytes, more than the %llu that such a file may have",
                     path, (unsigned long long)m.size, (unsigned long long)limit);
    } else if (!(*data = (char *)pq_calloc((size_t)m.size + 1, 1))) {
        rc = pq_fail(e, PQ_ENOMEM, "%s: out of memory for %llu bytes", path,
                     (unsigned long long)m.size);
    } else {
        memcpy(*data, m.data, (size_t)m.size);
        *size = (size_t)m.size;
    }
    pq_map_close(&m);
    return rc;
}

static unsigned long writes, write_fail_from; /* set by single-threaded tests only */
static bool write_short;

void pq_out_fail_after(unsigned long n, bool short_writes)
{
    writes = 0;
    write_fail_from = n;
    write_short = short_writes;
}

static ssize_t put_once(int fd, const void *p, size_t n, off_t at)
{
    if (write_fail_from || write_short) { /* test hook */
        if (write_fail_from && ++writes >= write_fail_from) {
            errno = ENOSPC;
            return -1;
        }
        if (write_short && n > 1)
            n--;
    }
    return pwrite(fd, p, n, at);
}

int pq_out_create(struct pq_out *o, const char *path, uint64_t size, struct pq_err *e)
{
    o->path = path;
    o->fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (o->fd < 0)
        return io_fail(e, "create", path);
    /* Reserve the blocks now, so that a full disk shows before hours of work; file systems without
     * fallocate get a plain size. */
    int err = size ? posix_fallocate(o->fd, 0, (off_t)size) : 0;
    if (err == ENOSPC || err == EFBIG || err == EDQUOT) {
        errno = err;
        io_fail(e, "reserve space for the output", path);
    } else if (err == 0 || ftruncate(o->fd, (off_t)size) == 0) {
        return PQ_OK;
    } else {
        io_fail(e, "set the size of", path);
    }
    close(o->fd);
    o->fd = -1;
    unlink(path);
    return PQ_EIO;
}

int pq_out_put(const struct pq_out *o, const void *data, size_t n, uint64_t at, struct pq_err *e)
{
    const uint8_t *p = (const uint8_t *)data;
    while (n) {
        ssize_t w = put_once(o->fd, p, n, (off_t)at);
        if (w < 0 && errno == EINTR)
            continue;
        if (w <= 0)
            return io_fail(e, "write", o->path);
        p += w;
        n -= (size_t)w;
        at += (uint64_t)w;
    }
    return PQ_OK;
}

void pq_out_flush_hint(const struct pq_out *o, uint64_t at, uint64_t n)
{
#ifdef __linux__
    sync_file_range(o->fd, (off_t)at, (off_t)n, SYNC_FILE_RANGE_WRITE);
#else
    (void)o, (void)at, (void)n;
#endif
}

int pq_out_sync(const struct pq_out *o, struct pq_err *e)
{
    return fsync(o->fd) ? io_fail(e, "flush to disk", o->path) : PQ_OK;
}

int pq_out_close(struct pq_out *o, struct pq_err *e)
{
    int fd = o->fd;
    o->fd = -1;
    return fd >= 0 && close(fd) ? io_fail(e, "close", o->path) : PQ_OK;
}

int pq_file_write(const char *path, const void *data, size_t size, struct pq_err *e)
{
    struct pq_out o;
    int rc = pq_out_create(&o, path, size, e);
    if (rc < 0)
        return rc;
    PQ_TRY(pq_out_put(&o, data, size, 0, e));
    PQ_TRY(pq_out_sync(&o, e));
out:
    if (pq_out_close(&o, rc < 0 ? NULL : e) < 0 && rc >= 0)
        rc = PQ_EIO;
    return rc;
}

int pq_file_append(const char *path, const void *data, size_t size, struct pq_err *e)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return io_fail(e, "open", path);
    const ssize_t n = write(fd, data, size);
    int rc = n == (ssize_t)size ? PQ_OK : io_fail(e, "write", path);
    if (close(fd) && rc >= 0)
        rc = io_fail(e, "write", path);
    return rc;
}
