/*
 * OpenVINO's intermediate representation, version 11: layers with ports, edges, a free tree of
 * remarks. Constants lie in a .bin file beside it, by offset. Source: the layout that
 * openvino's src/frontends/ir reads (docs: "OpenVINO IR format"). SPDX-License-Identifier: MIT
 */
#ifndef PQ_WIRE_IR_H
#define PQ_WIRE_IR_H

#include "base/dtype.h"
#include "base/mem.h"

#define PQ_IR_MAX_DIMS 6

enum pq_ir_type {
    PQ_IR_NONE,
    PQ_IR_F32,
    PQ_IR_F16,
    PQ_IR_BF16,
    PQ_IR_F64,
    PQ_IR_I64,
    PQ_IR_I32,
    PQ_IR_I16,
    PQ_IR_I8,
    PQ_IR_I4,
    PQ_IR_U64,
    PQ_IR_U32,
    PQ_IR_U16,
    PQ_IR_U8,
    PQ_IR_U4,
    PQ_IR_BOOL,
    PQ_IR_NF4,
    PQ_IR_F4E2M1,
    PQ_IR_F8E4M3,
    PQ_IR_F8E5M2,
    PQ_IR_F8E8M0,
    PQ_IR_STRING,
    PQ_IR_DYNAMIC,
    PQ_IR_TYPES
};

const char *pq_ir_type_name(enum pq_ir_type t);    /* as attributes say it: "u4" */
enum pq_ir_type pq_ir_type_find(const char *name); /* either spelling; PQ_IR_NONE if unknown */
int pq_ir_type_bits(enum pq_ir_type t);            /* 0 for strings and dynamic types */
enum pq_ir_type pq_ir_type_of(enum pq_dtype t);
enum pq_dtype pq_ir_dtype_of(enum pq_ir_type t); /* PQ_DTYPES for types that phiq lacks */

/* What an output port carries. */
struct pq_ir_value {
    enum pq_ir_type type;
    int n_dims;
    int64_t dim[PQ_IR_MAX_DIMS]; /* -1 = any */
    const char *names;           /* comma-separated tensor names, or NULL */
};

/* Output `port` (counted from 0) of a layer. */
struct pq_ir_ref {
    uint32_t layer; /* index + 1; 0 = none */
    uint32_t port;
};

struct pq_ir_attr {
    const char *key, *value;
};

struct pq_ir_layer {
    const char *name, *type, *version;
    const struct pq_ir_attr *attr;
    const struct pq_ir_ref *in;
    const struct pq_ir_value *out;
    size_t n_attr, n_in, n_out;
    bool decompression; /* the last conversion of compressed weights */
};

struct pq_ir {
    const char *name;
    struct pq_ir_layer *layer; /* written: each after those that it reads */
    size_t n_layers;
    /* Remarks about the whole: keys are paths, "nncf/weight_compression/mode", those with a common
     * beginning next to each other. */
    struct pq_ir_attr *info;
    size_t n_info;
};

/* Appends the whole document. */
int pq_ir_put(struct pq_buf *b, const struct pq_ir *m, struct pq_err *e) PQ_MUST_CHECK;

/* A document to read; path is for messages. */
struct pq_ir_text {
    const uint8_t *data;
    uint64_t size;
    const char *path;
};
/* Layers as they come in the file; every reference leads to an output that is there, in whatever
 * order, so that a hostile graph may run in circles. Types that are not known become PQ_IR_NONE. */
int pq_ir_parse(struct pq_ir *m, struct pq_arena *a, const struct pq_ir_text *text,
                struct pq_err *e) PQ_MUST_CHECK;

const char *pq_ir_attr(const struct pq_ir_layer *l, const char *key); /* NULL if missing */
const char *pq_ir_info(const struct pq_ir *m, const char *key);

/* What a layer of type Const says of its data. */
struct pq_ir_const {
    struct pq_ir_value v; /* dimensions are sizes; PQ_IR_NONE when the type is not known */
    const char *type_name;
    uint64_t offset, bytes; /* in the .bin file; as many as v takes where its type has a size */
    const uint8_t *data;    /* for the caller to set */
};
int pq_ir_const(struct pq_ir_const *c, const struct pq_ir_layer *l, const struct pq_ir_text *text,
                uint64_t file_size, struct pq_err *e) PQ_MUST_CHECK;

#endif
