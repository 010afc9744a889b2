/*
 * A session: a model bound for computing, what it has read so far, and the logits of what comes
 * next. Any model that phiq opens will do. The reference is the Hugging Face implementation in
 * single precision. SPDX-License-Identifier: MIT
 */
#ifndef PQ_INFER_SESSION_H
#define PQ_INFER_SESSION_H

#include "base/pool.h"
#include "container/model.h"
#include "kern/compute.h"

struct pq_session;

/* How keys and values are kept: halves, singles, or blocks of 32 bytes with a scale. */
enum pq_kv { PQ_KV_F16, PQ_KV_F32, PQ_KV_INT8, PQ_KV_TYPES };
/* By name: "f16", "f32", "int8". */
int pq_kv_find(enum pq_kv *out, const char *name, struct pq_err *e) PQ_MUST_CHECK;

/* What goes into the product with a weight: n rows of weight->cols floats, `step` apart, in the
 * order of the text. Whoever looks may use the pool until it returns. */
struct pq_inputs {
    const struct pq_tensor *weight;
    const float *x;
    uint64_t step, n;
    struct pq_pool *pool;
};

struct pq_session_setup {
    uint32_t context; /* most tokens; 0 = the model's limit */
    int threads;      /* 0 = all CPUs */
    enum pq_kv kv;
    const char *cpu; /* cap of the kernels' level; NULL = none */
    bool fast;       /* quantized layers take activations rounded to 8 bits, as the runtimes do */
    uint32_t batch;  /* tokens of a prompt computed at once; 0 = usual */
    /* Called before every product, in the same order whatever the threads; NULL: nobody looks. */
    void (*on_inputs)(void *ctx, const struct pq_inputs *in);
    void *ctx;
};

/* Borrows the model, which must outlive it. */
int pq_session_new(struct pq_session **out, const struct pq_model *m,
                   const struct pq_session_setup *setup, struct pq_err *e) PQ_MUST_CHECK;
void pq_session_free(struct pq_session *s); /* NULL is fine */

const struct pq_hparams *pq_session_hparams(const struct pq_session *s);
uint32_t pq_session_context(const struct pq_session *s);
size_t pq_session_length(const struct pq_session *s); /* tokens read */
const uint32_t *pq_session_ids(const struct pq_session *s);

/* Reads n > 0 more tokens. Afterwards pq_session_logits has those of the last one; with `all`
 * (which may be NULL, else [n, vocabulary]) every one's are stored there too. A context that
 * outgrows the original length of a LongRoPE model is computed anew with the long factors, as
 * transformers does: the logits are always those of one forward pass over all tokens. On a failure
 * the session holds what it held before. */
int pq_session_read(struct pq_session *s, const uint32_t *id, size_t n, float *all,
                    struct pq_err *e) PQ_MUST_CHECK;
const float *pq_session_logits(const struct pq_session *s); /* [vocabulary] */

/* The same pass a layer at a time, for one text of n tokens from its beginning: h [n][hidden] is
 * what goes from layer to layer. After the last layer, pq_session_outputs shows what goes into the
 * head without computing it. The session reads nothing else meanwhile. */
int pq_session_embed(struct pq_session *s, const uint32_t *id, size_t n, float *h,
                     struct pq_err *e) PQ_MUST_CHECK;
void pq_session_layer(struct pq_session *s, uint32_t layer, size_t n, float *h);
void pq_session_outputs(struct pq_session *s, size_t n, const float *h);
/* Or that computes it: logits of n positions after the last layer, out [n][vocabulary]. */
void pq_session_predict(struct pq_session *s, size_t n, const float *h, float *out);

/* Matrix t of the model has the rows of `by`, of the same shape, from now on; by = t ends that. */
void pq_session_substitute(struct pq_session *s, const struct pq_tensor *t,
                           const struct pq_tensor *by);

/* Forgets all but the first n tokens. */
void pq_session_keep(struct pq_session *s, size_t n);

/* Bytes that one more token reads: weights, without keys and values. */
uint64_t pq_session_token_bytes(const struct pq_session *s);

#endif
