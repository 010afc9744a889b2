/* Runs a fuzz target over the files of folders, with any compiler: the seeds as ordinary tests.
 * SPDX-License-Identifier: MIT */
#include "fuzz.h"

#include "base/fs.h"

#include <stdio.h>

struct run {
    const char *dir;
    int n;
};

static int replay(void *ctx, const char *name, struct pq_err *e)
{
    struct run *r = (struct run *)ctx;
    struct pq_arena a = {0};
    char *data = NULL;
    size_t size;
    const char *path = pq_path_join(&a, r->dir, name);
    int rc = path ? pq_file_read(path, UINT64_MAX, &data, &size, e) : PQ_ENOMEM;
    if (rc >= 0) {
        LLVMFuzzerTestOneInput((const uint8_t *)data, size);
        r->n++;
    }
    pq_free(data);
    pq_arena_free(&a);
    return rc;
}

int main(int argc, char **argv)
{
    struct pq_err e = {0};
    struct run r = {0};
    for (int i = 1; i < argc; i++) {
        r.dir = argv[i];
        if (pq_dir_each(r.dir, replay, &r, &e) < 0) {
            fprintf(stderr, "%s\n", e.msg);
            return 1;
        }
    }
    printf("%d inputs\n", r.n);
    return r.n ? 0 : 1; /* a corpus that went missing is a failure */
}
