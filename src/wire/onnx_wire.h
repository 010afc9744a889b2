/*
 * ONNX model files as plain structs, read and written through protobuf-c. Weights are external:
 * a file name, an offset and a length. Source: onnx/onnx.proto and docs/ExternalData.md of
 * github.com/onnx/onnx. SPDX-License-Identifier: MIT
 */
#ifndef PQ_WIRE_ONNX_WIRE_H
#define PQ_WIRE_ONNX_WIRE_H

#include "base/dtype.h"
#include "base/mem.h"

#define PQ_ONNX_MAX_DIMS 8

struct pq_onnx_tensor {
    const char *name;
    enum pq_dtype dtype; /* PQ_DTYPES: a type that phiq does not read */
    int n_dims;
    uint64_t dim[PQ_ONNX_MAX_DIMS];
    uint64_t bytes;       /* that shape and type need */
    const uint8_t *data;  /* inline; NULL when external */
    const char *location; /* external: a plain file name beside the model */
    uint64_t offset;
};

enum pq_onnx_kind {
    PQ_ONNX_FLOAT = 1, /* AttributeProto.AttributeType */
    PQ_ONNX_INT = 2,
    PQ_ONNX_STRING = 3,
    PQ_ONNX_TENSOR = 4,
    PQ_ONNX_GRAPH = 5,
    PQ_ONNX_INTS = 7
};

struct pq_onnx_attr {
    const char *name;
    enum pq_onnx_kind kind; /* others are read with their number and no value */
    float f;
    int64_t i;
    const int64_t *ints;
    size_t n;           /* of ints; bytes of a graph or a string */
    const uint8_t *raw; /* a string, or a graph for pq_onnx_subgraph */
    const struct pq_onnx_tensor *tensor;
};

struct pq_onnx_node {
    const char *op, *domain, *name; /* "" where absent */
    const char *const *in;          /* "" = left out */
    const char *const *out;
    const struct pq_onnx_attr *attr;
    size_t n_in, n_out, n_attr;
};

/* An input or output: each dimension a number, or a name where that is not NULL. */
struct pq_onnx_value {
    const char *name;
    enum pq_dtype dtype;
    int n_dims;
    struct {
        const char *name;
        int64_t size;
    } dim[PQ_ONNX_MAX_DIMS];
};

struct pq_onnx_graph {
    const char *name;
    struct pq_onnx_node *node; /* each after those whose outputs it reads */
    struct pq_onnx_tensor *tensor;
    struct pq_onnx_value *in, *out;
    size_t n_nodes, n_tensors, n_in, n_out;
};

struct pq_onnx_pair {
    const char *key, *value;
};

struct pq_onnx {
    int64_t ir_version, opset, ms_opset; /* ms: com.microsoft; 0 = not imported */
    const char *producer, *producer_version;
    struct pq_onnx_graph graph;
    struct pq_onnx_pair *meta;
    size_t n_meta;
};

/* Appends the whole document. */
int pq_onnx_put(struct pq_buf *b, const struct pq_onnx *m, struct pq_err *e) PQ_MUST_CHECK;

/* Everything in m lies in the arena. Checked: shapes, inline data against shapes, plain file names
 * of external data, names defined once and before they are read. */
int pq_onnx_parse(struct pq_onnx *m, struct pq_arena *a, const uint8_t *data, uint64_t size,
                  const char *file, struct pq_err *e) PQ_MUST_CHECK;
/* The graph in an attribute; its nodes may read names of the graph around it. */
int pq_onnx_subgraph(struct pq_onnx_graph *g, struct pq_arena *a, const struct pq_onnx_attr *attr,
                     const char *file, struct pq_err *e) PQ_MUST_CHECK;

/* NULL if absent. */
const struct pq_onnx_attr *pq_onnx_attr(const struct pq_onnx_node *n, const char *name);
int64_t pq_onnx_int(const struct pq_onnx_node *n, const char *name, int64_t otherwise);
const char *pq_onnx_meta(const struct pq_onnx *m, const char *key);

/* TensorProto.DataType; 0 (undefined) and PQ_DTYPES for types that the other side lacks. */
int32_t pq_onnx_type_of(enum pq_dtype t);
enum pq_dtype pq_onnx_dtype_of(int32_t type);

#endif
