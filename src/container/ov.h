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

/* ---- ov_nodes.c: graphs under construction ----
 * One call a statement: layers are numbered in the order of the calls, and C leaves the order
 * within an expression to the compiler. */

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

/* ---- ov_ops.c: operators whose output shape follows from their inputs ---- */

pq_ov_ref pq_ov_unary(struct pq_ov *g, const char *type, const char *name, pq_ov_ref x);
/* Broadcast like numpy's; comparisons yield booleans. */
pq_ov_ref pq_ov_binary(struct pq_ov *g, const char *type, const char *name, pq_ov_ref x,
                       pq_ov_ref y);
pq_ov_ref pq_ov_convert(struct pq_ov *g, const char *name, pq_ov_ref x, enum pq_ir_type to);
/* The conversion that ends the way of compressed weights. */
pq_ov_ref pq_ov_decompress(struct pq_ov *g, const char *name, pq_ov_ref x);
/* 0 keeps a dimension when special_zero, -1 is what remains. */
pq_ov_ref pq_ov_reshape(struct pq_ov *g, const char *name, pq_ov_ref x, int n, const int64_t *dim,
                        bool special_zero);
pq_ov_ref pq_ov_transpose(struct pq_ov *g, const char *name, pq_ov_ref x, const int32_t *order);
/* [from, to) of an axis; to = INT64_MAX: its end. */
pq_ov_ref pq_ov_slice(struct pq_ov *g, const char *name, pq_ov_ref x, int axis, int64_t from,
                      int64_t to);
/* x in the shape that these vectors say one after the other. */
pq_ov_ref pq_ov_broadcast(struct pq_ov *g, const char *name, pq_ov_ref x, int n,
                          const pq_ov_ref *dim, struct pq_ir_value out);
pq_ov_ref pq_ov_concat(struct pq_ov *g, const char *name, int axis, size_t n, const pq_ov_ref *x);
pq_ov_ref pq_ov_unsqueeze(struct pq_ov *g, const char *name, pq_ov_ref x, int axis);
/* Rows `index` of x along its first dimension, or one dimension of a shape. */
pq_ov_ref pq_ov_gather(struct pq_ov *g, const char *name, pq_ov_ref x, pq_ov_ref index);
pq_ov_ref pq_ov_shape_of(struct pq_ov *g, const char *name, pq_ov_ref x);
/* x W^T for W [rows, cols], or x y. */
pq_ov_ref pq_ov_matmul(struct pq_ov *g, const char *name, pq_ov_ref x, pq_ov_ref w, bool turned);

/* ---- the model ---- */

/* Everything that a graph is made from. */
struct pq_ov_build {
    struct pq_ov g;
    const struct pq_model *m;
    const struct pq_request *r;
    const struct pq_item *item; /* [n_tensors], placed in the .bin file */
};

/* ov_linear.c: weights as float32, through the operators that undo their compression. */
const struct pq_item *pq_ov_item(const struct pq_ov_build *b, enum pq_role role, int layer);
pq_ov_ref pq_ov_weight(struct pq_ov_build *b, const struct pq_item *it, const char *name);
/* The path of the module that a weight belongs to, with which names of its operators begin. */
const char *pq_ov_module(struct pq_ov_build *b, const struct pq_item *it);
/* A vector as [1, 1, cols]. */
pq_ov_ref pq_ov_vector(struct pq_ov_build *b, const struct pq_item *it);
/* x W^T (+ bias); bias may be NULL. */
pq_ov_ref pq_ov_linear(struct pq_ov_build *b, const struct pq_item *w, const struct pq_item *bias,
                       pq_ov_ref x);
pq_ov_ref pq_ov_embed(struct pq_ov_build *b, pq_ov_ref ids);

/* ov_attention.c */
struct pq_ov_shared { /* what all layers read */
    pq_ov_ref batch;  /* [1] */
    pq_ov_ref beam, attention_mask, ids;
    pq_ov_ref cos, sin;        /* [B, 1, S, rotated] */
    pq_ov_ref mask, kv_length; /* made with the first layer's cache; kv_length is [1] */
};
/* ov_mask.c: from the cache of a layer as it was before this step. */
void pq_ov_mask(struct pq_ov_build *b, struct pq_ov_shared *s, pq_ov_ref cache);
void pq_ov_rotary(struct pq_ov_build *b, struct pq_ov_shared *s, pq_ov_ref positions);
pq_ov_ref pq_ov_attention(struct pq_ov_build *b, struct pq_ov_shared *s, int layer, pq_ov_ref x);

/* ov_graph.c: the whole. */
void pq_ov_graph(struct pq_ov_build *b);

extern const struct pq_recipe pq_ov_recipes[];
bool pq_ov_holds(const struct pq_scheme *s);
const struct pq_scheme *pq_ov_place(const struct pq_recipe *r, const struct pq_network *net,
                                    size_t i, bool have_imatrix);
const struct pq_scheme *pq_ov_fit(const struct pq_scheme *s, const struct pq_recipe *r,
                                  const struct pq_network *net, size_t i);
int pq_ov_plan(struct pq_plan *p, const struct pq_model *m, const struct pq_request *r,
               const struct pq_scheme *const *choice, struct pq_err *e);

/* ---- ov_tokenizer.c, ov_detokenizer.c ---- */

/* Adds openvino_tokenizer.{xml,bin} and openvino_detokenizer.{xml,bin} to the plan. */
int pq_ov_add_tokenizer(struct pq_plan *p, size_t capacity, const struct pq_model *m,
                        struct pq_err *e) PQ_MUST_CHECK;

#endif
