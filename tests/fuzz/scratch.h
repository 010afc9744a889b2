/* A folder for targets whose readers take a path. SPDX-License-Identifier: MIT */
#ifndef PQ_FUZZ_SCRATCH_H
#define PQ_FUZZ_SCRATCH_H

#include "fuzz.h"

#include "base/fs.h"
#include "base/sys.h"
#include "container/container.h"

#include <stdio.h>
#include <stdlib.h>

static char scratch_dir[256];

static inline void scratch_remove(void)
{
    struct pq_err e = {0};
    (void)!pq_tree_remove(scratch_dir, &e);
}

static inline void scratch_make(void)
{
    const char *tmp = getenv("TMPDIR");
    struct pq_err e = {0};
    snprintf(scratch_dir, sizeof scratch_dir, "%s/phiq-fuzz-%ld", tmp ? tmp : "/tmp",
             (long)(pq_now() * 1e6));
    REQUIRE(pq_dir_make(scratch_dir, &e) >= 0);
    atexit(scratch_remove);
}

static inline void scratch_write(const char *name, const void *data, size_t size)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", scratch_dir, name);
    FILE *f = fopen(path, "wb");
    REQUIRE(f);
    REQUIRE(fwrite(data, 1, size, f) == size);
    REQUIRE(fclose(f) == 0);
}

/* Opens what lies there; a model that was accepted has rows that can be read. */
static inline void scratch_load(const char *name)
{
    char path[512];
    struct pq_err e = {0};
    struct pq_model *m;
    snprintf(path, sizeof path, "%s%s", scratch_dir, name);
    if (pq_model_load(&m, path, &e) < 0) {
        REQUIRE(e.code && e.msg[0]);
        return;
    }
    for (size_t i = 0; i < m->net.n_tensors; i++) {
        const struct pq_tensor *t = &m->net.tensor[i];
        float *x = (float *)pq_calloc((size_t)t->cols, sizeof *x);
        REQUIRE(x && t->rows && t->name);
        pq_tensor_row(t, NULL, 0, x);
        pq_tensor_row(t, NULL, t->rows - 1, x);
        pq_free(x);
    }
    pq_model_free(m);
}

#endif
