/*
 * What the files that read IR documents share: layers are there, edges still go by numbers.
 * ir_parse.c collects, ir_edges.c connects, ir_const.c reads attributes.
 * SPDX-License-Identifier: MIT
 */
#ifndef PQ_WIRE_IR_INSIDE_H
#define PQ_WIRE_IR_INSIDE_H

#include "wire/ir.h"

struct pq_ir_edge {
    uint64_t from, from_port, to, to_port;
};

/* A layer's numbers in the file. */
struct pq_ir_node {
    uint64_t id;
    size_t index;
    size_t port;          /* the first of its ports' ids; inputs, then outputs */
    struct pq_ir_ref *in; /* [n_in], the layer's own */
};

/* What ir_parse.c found beside the layers. */
struct pq_ir_raw {
    struct pq_ir_node *node; /* [n_layers], reordered by id */
    const uint64_t *port;
    const struct pq_ir_edge *edge;
    size_t n_edges;
    const char *path;
};

/* Fills the layers' inputs: every edge ends at ports that are there, every input is fed once. */
int pq_ir_connect(const struct pq_ir *m, struct pq_ir_raw *raw, struct pq_err *e) PQ_MUST_CHECK;

/* Decimal digits, with blanks around them at most. */
bool pq_ir_number(const char *s, uint64_t *v);

#endif
