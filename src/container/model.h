/*
 * An opened model: the network, its tokenizer and the small files beside it, from any container
 * that phiq reads. SPDX-License-Identifier: MIT
 */
#ifndef PQ_CONTAINER_MODEL_H
#define PQ_CONTAINER_MODEL_H

#include "arch/network.h"
#include "tok/vocab.h"

struct pq_container;

/* A small file that belongs to the model and is carried along as it is (tokenizer.json, ...). */
struct pq_side {
    const char *name;
    const char *data; /* whole content */
    size_t size;
};

struct pq_model {
    struct pq_arena arena;
    const struct pq_container *container;
    const char *path;
    const char *name; /* for display and file names: "Phi-3.5-mini-instruct" */
    struct pq_ckpt *ckpt;
    struct pq_network net;
    bool has_vocab;
    struct pq_vocab vocab;
    json_t *config, *generation; /* Hugging Face form; generation may be NULL */
    struct pq_side *side;        /* tokenizer files as found; none for GGUF */
    size_t n_sides;
};

/* Tries every container's probe, then reads. Words say what was looked for when none fits. */
int pq_model_load(struct pq_model **out, const char *path, struct pq_err *e) PQ_MUST_CHECK;
void pq_model_free(struct pq_model *m); /* NULL is fine */

#endif
