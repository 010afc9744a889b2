/*
 * A Phi network as phiq sees it: hyperparameters and tensors with roles, whatever file they came
 * from. Names are those of the Hugging Face checkpoint. SPDX-License-Identifier: MIT
 */
#ifndef PQ_ARCH_NETWORK_H
#define PQ_ARCH_NETWORK_H

#include "ckpt/ckpt.h"
#include "wire/json.h"

enum pq_role {
    PQ_ROLE_EMBED,     /* [vocab, hidden] */
    PQ_ROLE_HEAD,      /* [vocab, hidden]; absent when tied */
    PQ_ROLE_HEAD_BIAS, /* [vocab] */
    PQ_ROLE_ATTN_NORM, /* [hidden] before attention (phi: feeds both branches) */
    PQ_ROLE_ATTN_NORM_BIAS,
    PQ_ROLE_ATTN_QKV, /* [(H + 2 KV) head_dim, hidden], rows Q then K then V */
    PQ_ROLE_ATTN_Q,   /* [H head_dim, hidden] */
    PQ_ROLE_ATTN_Q_BIAS,
    PQ_ROLE_ATTN_K,
    PQ_ROLE_ATTN_K_BIAS,
    PQ_ROLE_ATTN_V,
    PQ_ROLE_ATTN_V_BIAS,
    PQ_ROLE_ATTN_OUT, /* [hidden, H head_dim] */
    PQ_ROLE_ATTN_OUT_BIAS,
    PQ_ROLE_FFN_NORM,    /* [hidden] */
    PQ_ROLE_FFN_GATE_UP, /* [2 ff, hidden], rows gate then up */
    PQ_ROLE_FFN_UP,      /* [ff, hidden] (phi: fc1) */
    PQ_ROLE_FFN_UP_BIAS,
    PQ_ROLE_FFN_DOWN, /* [hidden, ff] (phi: fc2) */
    PQ_ROLE_FFN_DOWN_BIAS,
    PQ_ROLE_FINAL_NORM, /* [hidden] */
    PQ_ROLE_FINAL_NORM_BIAS,
    PQ_ROLES
};

const char *pq_role_name(enum pq_role r); /* "attn_qkv" */

/* Linear weights, embedding and head: the tensors that schemes apply to. Others stay float. */
bool pq_role_is_matrix(enum pq_role r);

#define PQ_MAX_SLICES 3

/* Rows [row0, row0 + rows) of a stored matrix. */
struct pq_slice {
    struct pq_view view;
    uint64_t row0, rows;
    const char *file, *stored; /* where it lies, for messages */
};

struct pq_tensor {
    const char *name; /* e.g. "model.layers.3.self_attn.qkv_proj.weight" */
    enum pq_role role;
    int layer;  /* -1 outside the layers */
    int n_dims; /* 1 (rows = 1) or 2 */
    uint64_t rows, cols;
    int n_slices; /* stacked top to bottom */
    struct pq_slice slice[PQ_MAX_SLICES];
};

enum pq_rope { PQ_ROPE_PLAIN, PQ_ROPE_LONGROPE };
enum pq_norm { PQ_NORM_RMS, PQ_NORM_LAYER };
enum pq_act { PQ_ACT_SILU, PQ_ACT_GELU_TANH };

#define PQ_MAX_EOS 16

struct pq_hparams {
    uint32_t n_layers, hidden, ff, n_heads, n_kv_heads, head_dim, vocab;
    uint32_t max_position, original_max_position; /* equal without LongRoPE */
    uint32_t rot_dims;                            /* dimensions of each head that rotate, even */
    uint32_t sliding_window; /* keys that a query sees, itself included; 0 = all */
    double rope_theta, norm_eps;
    enum pq_norm norm;
    enum pq_act act;
    bool parallel; /* phi: attention and feed-forward add to the same residual */
    bool tied;     /* the head is the embedding */
    enum pq_rope rope;
    float *long_factor, *short_factor; /* [rot_dims / 2] each with LongRoPE, else NULL */
    double attn_factor;      /* multiplies cos and sin at every length; 1 without LongRoPE */
    int64_t bos, pad;        /* -1 = none */
    int64_t eos[PQ_MAX_EOS]; /* union of config.json and generation_config.json, config's first */
    int n_eos;
    const char *dtype; /* torch_dtype of the checkpoint: "bfloat16", "float16", "float32" */
};

struct pq_arch;

struct pq_network {
    const struct pq_arch *arch;
    struct pq_hparams hp;
    struct pq_tensor *tensor; /* embedding, layers in order, final norm, head */
    size_t n_tensors;
};

/* One row per architecture. */
struct pq_arch {
    const char *name;           /* "phi3", "phi": the model_type of config.json */
    const char *about;          /* models that it covers */
    const char *const *classes; /* `architectures` entries, NULL-ended */
    /* Hyperparameters from config.json (both published and rope_parameters form). */
    int (*configure)(struct pq_hparams *hp, const json_t *config, struct pq_arena *a,
                     struct pq_err *e);
    /* Tensors of one layer, and those outside the layers (layer = -1). Roles with the shape that
     * hp gives; names with %d for the layer. */
    const struct pq_map_row *map;
};

struct pq_map_row {
    enum pq_role role;
    bool per_layer;
    const char *name; /* checkpoint's name, "model.layers.%d.self_attn.qkv_proj.weight" */
    const char *const
        *stacked; /* NULL-ended names that stacked give the same rows (split q, k, v) */
};

extern const struct pq_arch *const pq_archs[]; /* NULL-ended */

/* Finds the row for a config.json. Everything else named Phi is recognised and refused with what is
 * missing (for example "phi3small: block-sparse attention is not supported yet"). */
int pq_arch_find(const struct pq_arch **out, const json_t *config, struct pq_err *e) PQ_MUST_CHECK;

/* Expected shape of a role for these hyperparameters; rows = 1 for vectors. */
void pq_role_shape(enum pq_role r, const struct pq_hparams *hp, uint64_t *rows, uint64_t *cols,
                   int *n_dims);

/* Binds the stored tensors of a Hugging Face checkpoint. generation may be NULL. Missing, extra,
 * misshaped tensors each get their own words; rotary inv_freq buffers and a tied head that equals
 * the embedding's shape are passed over. */
int pq_network_bind(struct pq_network *net, struct pq_arena *a, const struct pq_ckpt *c,
                    const json_t *config, const json_t *generation, struct pq_err *e) PQ_MUST_CHECK;

/* config.json and generation_config.json in the published form, from hyperparameters: for sources
 * that have none (GGUF). The caller json_decref()s. */
json_t *pq_network_config(const struct pq_network *net);
json_t *pq_network_generation(const struct pq_network *net);

/* One row of a network's tensor as float32 [cols], through its slices. */
void pq_tensor_row(const struct pq_tensor *t, const struct pq_kern *k, uint64_t row, float *x);
/* Drops rows [row0, row0 + rows) of a mapped tensor from our memory (the page cache keeps them);
 * returns the bytes that they occupy. */
uint64_t pq_tensor_let_go(const struct pq_tensor *t, uint64_t row0, uint64_t rows);
const struct pq_tensor *pq_network_find(const struct pq_network *net, const char *name);
/* The matrix whose inputs are also those of t: q for k and v, and where attention and feed-forward
 * work side by side also for the latter; else t itself. */
const struct pq_tensor *pq_network_inputs_of(const struct pq_network *net,
                                             const struct pq_tensor *t);
uint64_t pq_tensor_bytes(const struct pq_tensor *t);       /* as stored, all slices */
uint64_t pq_network_bytes(const struct pq_network *net);   /* of all tensors, as stored */
uint64_t pq_network_weights(const struct pq_network *net); /* number of weights */

#endif
