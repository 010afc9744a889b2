/*
 * safetensors: u64 header length, a JSON object {name: {dtype, shape, data_offsets}}, then the
 * data. Source: the format description of huggingface/safetensors. SPDX-License-Identifier: MIT
 */
#ifndef PQ_WIRE_SAFETENSORS_H
#define PQ_WIRE_SAFETENSORS_H

#include "base/dtype.h"
#include "base/mem.h"

struct pq_st_tensor {
    const char *name; /* in the arena */
    enum pq_dtype dtype;
    int n_dims;
    uint64_t dim[8];
    uint64_t begin, end; /* offsets in the file (header included), checked */
};

struct pq_st {
    struct pq_st_tensor *tensor; /* in order of `begin` */
    size_t n_tensors;
    const char *format; /* __metadata__.format ("pt", "mlx") or NULL */
};

/* Refuses with words: short file, header longer than the file or 100 MB, bad JSON, unknown dtype,
 * data_offsets that disagree with shape, overlap, leave holes or pass the end of the file. */
int pq_st_parse(struct pq_st *out, struct pq_arena *a, const uint8_t *data, uint64_t size,
                const char *file, struct pq_err *e) PQ_MUST_CHECK;

/* Writing: begin, one call per tensor in order of offset, end. Offsets are relative to the data.
 * The header is padded with spaces so that the data starts at a multiple of `align`. */
struct pq_st_writer {
    struct pq_buf *b;
    size_t start;
    bool any;
};
void pq_st_begin(struct pq_st_writer *w, struct pq_buf *b, const char *format);
void pq_st_put(struct pq_st_writer *w, const char *name, enum pq_dtype dtype, int n_dims,
               const uint64_t *dim, uint64_t begin, uint64_t end);
void pq_st_end(struct pq_st_writer *w, uint64_t align);

#endif
