/*
 * A folder with ONNX weights being read as a model: shared by the files that do so.
 * SPDX-License-Identifier: MIT
 */
#ifndef PQ_CONTAINER_ONNX_READER_H
#define PQ_CONTAINER_ONNX_READER_H

#include "container/onnx.h"

/* An array of the checkpoint as the nodes have it. */
struct pq_onnx_entry {
    const char *name, *file;
    const struct pq_scheme *scheme;
    const uint8_t *data[PQ_MAX_PARTS];
    int n_dims;
    uint64_t rows, cols;
    uint64_t turned; /* of pq_view */
};

struct pq_onnx_reader {
    struct pq_model *m;
    struct pq_arena *a;
    const struct pq_onnx *onnx;
    bool foreign;              /* the builder's */
    struct pq_onnx_names look; /* of the builder's names */
    struct pq_shadow shadow;
    struct pq_onnx_entry *entry;
    size_t n_entries;
    struct pq_err *e;
};

/* Enters the weights that a node reads; refuses operators that no Phi network has. */
int pq_onnx_add_node(struct pq_onnx_reader *r, const struct pq_onnx_node *n);
/* Our own floats, by their names. */
int pq_onnx_add_own_floats(struct pq_onnx_reader *r);

#endif
