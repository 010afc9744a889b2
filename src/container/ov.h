/*
 * What the OpenVINO files of this room share: the words in which graphs are written, the model, the
 * tokenizer. SPDX-License-Identifier: MIT
 */
#ifndef PQ_CONTAINER_OV_H
#define PQ_CONTAINER_OV_H

#include "container/common.h"
#include "wire/ir.h"

#define PQ_OV_MODEL "openvino_model"
#define PQ_OV_TOKENIZER "openvino_tokenizer"
#define PQ_OV_DETOKENIZER "openvino_detokenizer"

/* ---- ov_nodes.c: graphs under construction ---- */

/* A graph and the constants beside it. Zero-initialise; set `a` and `consts_at`. */
struct pq_ov {
    struct pq_arena *a;
    struct pq_ir ir;
    struct pq_buf consts; /* small constants, each stored once */
    uint64_t consts_at;   /* where they begin in the .bin file */
    size_t max_layers;
    struct pq_ov_const *known; /* what consts holds */
    size_t n_known, max_known;
    bool failed; /* memory */
};
void pq_ov_free(struct pq_ov *g);

typedef struct pq_ir_ref pq_ov_ref;

struct pq_ov_op {
    const char *type, *version, *name;
    pq_ov_ref in[20];          /* ended by one without a layer */
    struct pq_ir_attr attr[8]; /* ended by one without a key */
    struct pq_ir_value out[6]; /* ended by PQ_IR_NONE */
    bool decompression;
};
#define PQ_OV_F32(...) PQ_OV_VALUE(PQ_IR_F32, __VA_ARGS__)
#define PQ_OV_VALUE(t, ...)                                                                      \
    {                                                                                            \
        .type = t, .n_dims = (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), .dim = { \
            __VA_ARGS__                                                                          \
        }                                                                                        \
    }

/* Everything given is copied but strings. Returns the first output. */
pq_ov_ref pq_ov_add(struct pq_ov *g, const struct pq_ov_op *op);
/* Another output of the same layer. */
pq_ov_ref pq_ov_out(pq_ov_ref r, uint32_t port);
const struct pq_ir_value *pq_ov_value(const struct pq_ov *g, pq_ov_ref r);
__attribute__((format(printf, 2, 3))) const char *pq_ov_name(struct pq_ov *g, const char *fmt, ...);
void pq_ov_info(struct pq_ov *g, const char *key, const char *value);

/* A constant of the graph's own; v.dim must be sizes. */
pq_ov_ref pq_ov_const(struct pq_ov *g, const char *name, struct pq_ir_value v, const void *data,
                      size_t bytes);
/* A constant that lies in the .bin file already. */
pq_ov_ref pq_ov_const_at(struct pq_ov *g, const char *name, struct pq_ir_value v, uint64_t offset,
                         uint64_t bytes);
pq_ov_ref pq_ov_i64(struct pq_ov *g, const char *name, int64_t v);                   /* scalar */
pq_ov_ref pq_ov_i64s(struct pq_ov *g, const char *name, size_t n, const int64_t *v); /* [n] */
pq_ov_ref pq_ov_i32(struct pq_ov *g, const char *name, int32_t v);
pq_ov_ref pq_ov_f32(struct pq_ov *g, const char *name, float v);

/* ---- ov_tokenizer.c, ov_detokenizer.c ---- */

/* Adds openvino_tokenizer.{xml,bin} and openvino_detokenizer.{xml,bin} to the plan. */
int pq_ov_add_tokenizer(struct pq_plan *p, size_t capacity, const struct pq_model *m,
                        struct pq_err *e) PQ_MUST_CHECK;

#endif
