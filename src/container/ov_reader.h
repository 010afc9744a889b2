/*
 * A folder for OpenVINO being read as a model: shared by the files that do so.
 * SPDX-License-Identifier: MIT
 */
#ifndef PQ_CONTAINER_OV_READER_H
#define PQ_CONTAINER_OV_READER_H

#include "container/ov.h"

/* A matrix or vector of the checkpoint as the graph has it. */
struct pq_ov_entry {
    const char *name;
    int n_dims;
    struct pq_view view;
};

struct pq_ov_reader {
    struct pq_model *m;
    struct pq_arena *a;
    const struct pq_ckpt_ir *ir;
    struct pq_shadow shadow;
    struct pq_ov_entry *entry;
    size_t n_entries;
    bool *undone; /* [n_layers]: factors of AWQ that are part of an entry now */
    struct pq_err *e;
};

static inline const struct pq_ir_layer *pq_ov_layer(const struct pq_ov_reader *r,
                                                    struct pq_ir_ref from)
{
    return &r->ir->graph.layer[from.layer - 1];
}

/* ov_chain.c. What lies behind conversions; NULL when it is no constant. */
const struct pq_ir_const *pq_ov_constant(const struct pq_ov_reader *r, struct pq_ir_ref from);

/* The matrix that a chain of operators over constants gives: 1 and everything of *t but its name;
 * 0 when `from` is computed out of the model's inputs; an error when the chain is none that is
 * read.
 */
int pq_ov_matrix(const struct pq_ov_reader *r, struct pq_ir_ref from,
                 struct pq_ov_entry *t) PQ_MUST_CHECK;

/* The same for a vector of floats: a constant whose last dimension is its only one above 1. */
bool pq_ov_row(const struct pq_ov_reader *r, struct pq_ir_ref from, struct pq_ov_entry *t);

/* ov_check.c. Holds the bound network's rotary scale against the graph's, and mends what exports
 * are known to get wrong. */
int pq_ov_check_rope(const struct pq_ov_reader *r) PQ_MUST_CHECK;

#endif
