/*
 * What phiq.h calls a generator, for the rooms above: a session with its tokenizer, sampler and
 * chat template. SPDX-License-Identifier: MIT
 */
#ifndef PQ_INFER_GENERATOR_H
#define PQ_INFER_GENERATOR_H

#include "infer/generate.h"
#include "tok/chat.h"

struct pq_generator {
    const struct pq_model *model;
    struct pq_tokenizer *tokenizer;
    struct pq_session *session;
    struct pq_sampler *sampler;
    const char *template_name; /* or NULL */
    struct pq_chat *chat;      /* once it was asked for */
    struct pq_generation last; /* what was generated */
    int (*on_read)(void *ctx, uint64_t done, uint64_t total);
    void *ctx;
    struct pq_arena arena;
};

/* Finds the chat template, which pq_generator_read_conversation otherwise does. */
int pq_generator_template(struct pq_generator *g, struct pq_err *e) PQ_MUST_CHECK;
/* pq_generator_read_chat of a document. */
int pq_generator_read_conversation(struct pq_generator *g, const json_t *request,
                                   struct pq_err *e) PQ_MUST_CHECK;

#endif
