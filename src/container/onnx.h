/*
 * What the ONNX files of this room share: providers, rope caches, the graph, genai_config.json.
 * SPDX-License-Identifier: MIT
 */
#ifndef PQ_CONTAINER_ONNX_H
#define PQ_CONTAINER_ONNX_H

#include "container/common.h"

#define PQ_ONNX_MODEL "model.onnx"
#define PQ_ONNX_DATA "model.onnx.data"
#define PQ_ONNX_GENAI "genai_config.json"

/* Metadata that make reading back exact. */
#define PQ_ONNX_META_CONFIG "phiq.config"
#define PQ_ONNX_META_GENERATION "phiq.generation"

/* An execution provider of ONNX Runtime: what its kernels take. */
struct pq_onnx_provider {
    const char *name;        /* also the key in provider_options */
    const char *options;     /* JSON of provider_options' entry; NULL: none needed */
    unsigned floats;         /* bit per dtype: what attention computes in */
    enum pq_dtype usual;     /* floats beside quantized weights */
    bool widens;             /* narrower weights are widened while loading */
    bool eight_bits;         /* MatMulNBits takes 8-bit codes too */
    bool rotates;            /* attention applies the rotary embedding */
    bool multiplies_by_rows; /* has FusedMatMul: weights lie [N, K] as in the checkpoint */
    int accuracy;            /* accuracy_level of MatMulNBits; 0 = its default */
};

/* NULL means the usual one. */
int pq_onnx_provider_find(const struct pq_onnx_provider **out, const char *name,
                          struct pq_err *e) PQ_MUST_CHECK;
/* The type of activations, caches, norms and scales; refused in words where there is none. */
int pq_onnx_floats(enum pq_dtype *out, const struct pq_onnx_provider *p, const struct pq_recipe *r,
                   struct pq_err *e) PQ_MUST_CHECK;

/* Where arrays start in the data file. Large ones can be mapped: at pages, and at 64 KiB on Windows
 * (docs/ExternalData.md of onnx); the model builder's library draws the same line at 1 MiB. */
#define PQ_ONNX_MAPPED 65536u
#define PQ_ONNX_PACKED 64u
static inline uint64_t pq_onnx_align(uint64_t bytes)
{
    return bytes < 1u << 20 ? PQ_ONNX_PACKED : PQ_ONNX_MAPPED;
}

/* cos and sin of every position, as the first bytes of the data file. */
struct pq_onnx_rope {
    uint64_t rows, cols, cos_at, sin_at, bytes; /* of each */
    uint32_t split; /* LongRoPE with both tables: rows of the first, which suits short prompts */
};
int pq_onnx_put_rope(struct pq_onnx_rope *r, struct pq_buf *b, const struct pq_hparams *hp,
                     const struct pq_request *q, enum pq_dtype floats,
                     struct pq_err *e) PQ_MUST_CHECK;

/* Everything that a graph is made from. */
struct pq_onnx_build {
    struct pq_arena *a;
    const struct pq_model *m;
    const struct pq_request *r;
    const struct pq_onnx_provider *provider;
    enum pq_dtype floats;
    struct pq_onnx_rope rope;
    const struct pq_item *item; /* [n_tensors], placed in the data file */
    struct pq_onnx onnx;        /* the result */
    size_t max_nodes, max_tensors;
    bool failed; /* memory */
};
int pq_onnx_graph(struct pq_onnx_build *b, struct pq_err *e) PQ_MUST_CHECK;

/* ---- onnx_nodes.c: the words in which graphs are written ---- */

#define PQ_ONNX_MS "com.microsoft"

struct pq_onnx_op {
    const char *domain, *type, *name;
    const char *in[12], *out[4]; /* NULL-ended, "" = left out; no out: NAME/output_0 */
    struct pq_onnx_attr attr[8]; /* ended by one without a name */
};
#define PQ_ONNX_I(key, value)                                   \
    {                                                           \
        .name = key, .kind = PQ_ONNX_INT, .i = (int64_t)(value) \
    }
#define PQ_ONNX_F(key, value)                                   \
    {                                                           \
        .name = key, .kind = PQ_ONNX_FLOAT, .f = (float)(value) \
    }

bool pq_onnx_begin(struct pq_onnx_build *b);
/* Returns the first output. */
const char *pq_onnx_add(struct pq_onnx_build *b, const struct pq_onnx_op *op);
/* An int64 constant: a vector of n, or a scalar when n = 0. */
const char *pq_onnx_const(struct pq_onnx_build *b, const char *name, size_t n, const int64_t *v);
__attribute__((format(printf, 2, 3))) const char *pq_onnx_name(struct pq_onnx_build *b,
                                                               const char *fmt, ...);
void pq_onnx_value(struct pq_onnx_build *b, bool output, struct pq_onnx_value v);
struct pq_onnx_tensor *pq_onnx_new_tensor(struct pq_onnx_build *b);

/* ---- onnx_linear.c: weights ---- */

/* The planned item of a role, or NULL where the network has none. */
const struct pq_item *pq_onnx_item(const struct pq_onnx_build *b, enum pq_role role, int layer);
/* x W^T (+ bias) for rows [row0, row0 + rows) of an item; `module` names the weights, `node` the
 * nodes. */
struct pq_onnx_linear {
    const struct pq_item *weight, *bias;
    const char *module, *node;
    uint64_t row0, rows; /* rows = 0: all */
};
const char *pq_onnx_linear(struct pq_onnx_build *b, const struct pq_onnx_linear *l, const char *x);
const char *pq_onnx_embed(struct pq_onnx_build *b, const char *ids);
/* A vector: norm weights and biases; NULL for NULL. */
const char *pq_onnx_vector(struct pq_onnx_build *b, const struct pq_item *it);

/* ---- onnx_builder.c: folders of onnxruntime-genai's model builder ---- */

struct pq_onnx_names {
    bool phi, tied;
};
/* Fills m->config from genai_config.json and the graph. */
int pq_onnx_builder_config(struct pq_model *m, struct pq_onnx_names *look,
                           struct pq_err *e) PQ_MUST_CHECK;
/* The checkpoint's module that a node multiplies or normalises by; NULL for others. */
const char *pq_onnx_module(const struct pq_onnx_names *look, struct pq_arena *a, const char *node);

json_t *pq_onnx_genai(const struct pq_onnx_build *b); /* NULL without memory */

extern const struct pq_recipe pq_onnx_recipes[];
bool pq_onnx_holds(const struct pq_scheme *s);
const struct pq_scheme *pq_onnx_place(const struct pq_recipe *r, const struct pq_network *net,
                                      size_t i, bool have_imatrix);
const struct pq_scheme *pq_onnx_fit(const struct pq_scheme *s, const struct pq_recipe *r,
                                    const struct pq_network *net, size_t i);
int pq_onnx_plan(struct pq_plan *p, const struct pq_model *m, const struct pq_request *r,
                 const struct pq_scheme *const *choice, struct pq_err *e);

#endif
