/*
 * A checkpoint's stored arrays by name, as borrowed views into mapped files; nothing is copied and
 * nothing is known of networks. Kinds: a safetensors file or folder (sharded or not), a folder of
 * PyTorch .bin files, a GGUF file (or the first of a split set), an ONNX model, an OpenVINO model.
 * SPDX-License-Identifier: MIT
 */
#ifndef PQ_CKPT_CKPT_H
#define PQ_CKPT_CKPT_H

#include "base/fs.h"
#include "quant/scheme.h"
#include "wire/gguf_wire.h"
#include "wire/ir.h"
#include "wire/onnx_wire.h"

#define PQ_MAX_DIMS 8

struct pq_stored {
    const char *name;
    const char *file; /* base name of the file that holds it, for messages */
    int n_dims;
    uint64_t dim[PQ_MAX_DIMS];      /* row-major, outermost first (GGUF order is turned round) */
    const struct pq_scheme *scheme; /* element type or GGUF block type */
    const uint8_t *data;
    uint64_t bytes; /* checked: equals what shape and scheme need */
};

/* Constants of types that no pq_stored can have (4 bits) are only here. */
struct pq_ckpt_ir {
    struct pq_ir graph;
    struct pq_ir_const *constant; /* [n_layers]: without data where a layer is none */
    const char *path, *file;      /* of the document; base name of the data's */
};

struct pq_ckpt {
    struct pq_arena arena;
    const char *path;
    const char *kind;         /* "safetensors", "torch", "gguf", "onnx", "openvino" */
    struct pq_stored *tensor; /* sorted by name */
    size_t n_tensors;
    uint64_t file_bytes;   /* of all weight files together */
    struct pq_gguf *gguf;  /* metadata of a GGUF; NULL otherwise */
    struct pq_onnx *onnx;  /* graph and metadata of an ONNX model; NULL otherwise */
    struct pq_ckpt_ir *ir; /* graph and constants of an OpenVINO model; NULL otherwise */
    void *priv;            /* mappings */
};

/* path: a folder or a file. Every offset, length, shape and count has been checked on success. */
int pq_ckpt_open(struct pq_ckpt **out, const char *path, struct pq_err *e) PQ_MUST_CHECK;
void pq_ckpt_close(struct pq_ckpt *c);                                           /* NULL is fine */
const struct pq_stored *pq_ckpt_find(const struct pq_ckpt *c, const char *name); /* NULL if none */

/* The mapped file, and the offset in it, that borrowed bytes lie at; false for other memory. */
bool pq_ckpt_locate(const struct pq_ckpt *c, const void *p, const char **path, uint64_t *at);

#endif
