/*
 * A GGUF file being read as a model: shared by the files that do so. SPDX-License-Identifier: MIT
 */
#ifndef PQ_CONTAINER_GGUF_READER_H
#define PQ_CONTAINER_GGUF_READER_H

#include "container/common.h"

struct pq_gguf_reader {
    struct pq_model *m;
    const struct pq_gguf *g;
    const char *file;
    const char *arch; /* "phi3", "phi2" */
    struct pq_shadow shadow;
    struct pq_err *e;
};

int pq_gguf_reader_no_memory(struct pq_gguf_reader *r);

/* The number "ARCH.name" of the metadata; *v stays as it is when an optional one is absent. */
int pq_gguf_reader_u32(struct pq_gguf_reader *r, const char *name, bool required, uint32_t *v);
int pq_gguf_reader_f64(struct pq_gguf_reader *r, const char *name, bool required, double *v);

/* m->config and m->generation from the metadata; sets r->arch. The vocabulary has been read. */
int pq_gguf_read_config(struct pq_gguf_reader *r);

#endif
