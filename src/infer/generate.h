/*
 * Text after text: a session, a sampler and a tokenizer at work until there is a reason to stop.
 * SPDX-License-Identifier: MIT
 */
#ifndef PQ_INFER_GENERATE_H
#define PQ_INFER_GENERATE_H

#include "infer/sample.h"
#include "infer/session.h"
#include "tok/tokenizer.h"

enum pq_finish {
    PQ_FINISH_EOS,       /* the model said that it is done */
    PQ_FINISH_STOP,      /* a stop string came */
    PQ_FINISH_LENGTH,    /* max_tokens */
    PQ_FINISH_CONTEXT,   /* the context is full */
    PQ_FINISH_CANCELLED, /* on_text asked to stop */
};
const char *pq_finish_name(enum pq_finish f); /* "eos", "stop", ... */

struct pq_generation {
    struct pq_session *session;
    const struct pq_tokenizer *tokenizer;
    struct pq_sampler *sampler;
    uint64_t max_tokens;     /* 0 = as many as fit */
    const char *const *stop; /* text that ends it, itself not part of the result */
    size_t n_stop;
    bool special; /* the names of special tokens are text */
    /* Gets text as it comes, in whole characters and never the beginning of a stop string; a
     * non-zero return stops. May be NULL. */
    int (*on_text)(void *ctx, const char *text, size_t n);
    void *ctx;
    /* Results; zero them, and free with pq_generation_free. */
    struct pq_buf text;
    struct pq_choice *token; /* [n_tokens], the one that ended it included */
    size_t n_tokens, cap;
    enum pq_finish finish;
};

/* Goes on after what the session has read (at least one token). Every token but the last one has
 * been read into the session afterwards. */
int pq_generate(struct pq_generation *g, struct pq_err *e) PQ_MUST_CHECK;
void pq_generation_free(struct pq_generation *g);

#endif
