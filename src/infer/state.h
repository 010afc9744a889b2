/* Inside a session: bound layers, keys and values, and the memory of a pass.
 * SPDX-License-Identifier: MIT */
#ifndef PQ_INFER_STATE_H
#define PQ_INFER_STATE_H

#include "infer/linear.h"
#include "infer/session.h"
#include "tok/ids.h"

struct pq_norm_weights {
    const float *weight, *bias; /* [hidden]; bias NULL for RMS */
};

struct pq_layer {
    struct pq_norm_weights norm, ffn_norm;
    struct pq_linear qkv[3]; /* fused, or q, k and v apart: their rows follow one another */
    int n_qkv;
    struct pq_linear out, up, down; /* up: gate and up fused where there is a gate */
};

/* Attention takes this many tokens and keys at a time. */
enum { PQ_QUERY_BLOCK = 16, PQ_KEY_BLOCK = 256 };

/* Keys (rotated) and values: [layer][block of PQ_KEY_BLOCK tokens][kv head][token][head_bytes], so
 * that what attention reads at a time lies together. head_step is head_dim filled up with zeros to
 * whole lanes or blocks. */
struct pq_cache {
    enum pq_dense type;
    uint32_t head_step; /* elements */
    uint64_t heads, head_bytes;
    uint64_t cap;     /* tokens that there is room for */
    uint8_t **k, **v; /* [n_layers] */
};

struct pq_session {
    struct pq_arena arena;
    const struct pq_model *model;
    const struct pq_hparams *hp;
    struct pq_engine engine;
    struct pq_layer *layer;
    struct pq_norm_weights final_norm;
    struct pq_linear head;
    const struct pq_tensor *embed;
    struct pq_cache cache;
    uint32_t context, batch;
    struct pq_ids ids;
    bool long_rope;  /* the cache was computed with the long factors */
    float *inv_freq; /* [rot_dims / 2] of the factors in use */
    /* [batch][...] */
    float *h, *x, *qkv, *att, *up, *turn;
    uint64_t up_step;
    float *logits;
    float *attention; /* of all workers */
    void (*on_inputs)(void *ctx, const struct pq_inputs *in);
    void *inputs_ctx;
};

int pq_session_bind(struct pq_session *s, struct pq_err *e); /* layers from the network */

/* Positions: inverse frequencies for a context of this length, then cos and sin of n positions from
 * `first` on into s->turn, [n][rot_dims]: cosines, then sines. */
void pq_rope_begin(struct pq_session *s, bool long_factors);
void pq_rope_turns(const struct pq_session *s, uint64_t first, uint64_t n);
bool pq_rope_is_long(const struct pq_hparams *hp, uint64_t length);

int pq_cache_new(struct pq_session *s, enum pq_kv type, struct pq_err *e);
uint64_t pq_cache_at(const struct pq_cache *c, uint64_t token, uint64_t head); /* offset */
uint64_t pq_cache_token_bytes(const struct pq_cache *c); /* of keys or of values in a layer */
int pq_cache_room(struct pq_session *s, uint64_t tokens, struct pq_err *e);
void pq_cache_free(struct pq_session *s);

/* Rotates queries and keys of n tokens from `first` on, and puts keys and values into the cache. */
void pq_attention_append(const struct pq_session *s, int layer, uint64_t first, uint64_t n);
/* s->att from the queries in s->qkv and the cache. */
void pq_attention_run(const struct pq_session *s, int layer, uint64_t first, uint64_t n);
uint64_t pq_attention_floats(const struct pq_session *s); /* a worker's memory */

/* n <= batch tokens of s->ids from `first` on; logits of the last `n_logits` into `logits`. */
void pq_pass(struct pq_session *s, uint64_t first, uint64_t n, uint64_t n_logits, float *logits);
void pq_pass_embed(struct pq_session *s, uint64_t n, float *h); /* of s->ids, all n */

#endif
