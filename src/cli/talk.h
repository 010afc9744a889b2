/* What run and chat share: a model ready to generate, from the options.
 * SPDX-License-Identifier: MIT */
#ifndef PQ_CLI_TALK_H
#define PQ_CLI_TALK_H

#include "cli/cli.h"
#include "infer/generate.h"
#include "tok/chat.h"

enum { PQ_TALK_MAX_TEXT = 1 << 28 };

struct pq_talk {
    const struct pq_args *a;
    struct pq_model *m;
    struct pq_tokenizer *t;
    struct pq_session *s;
    struct pq_sampler *sampler;
};
int pq_talk_open(struct pq_talk *t, const struct pq_args *a, struct pq_err *e);
void pq_talk_close(struct pq_talk *t);

/* Appends a file's content. */
int pq_talk_file(struct pq_buf *out, const char *path, struct pq_err *e);
/* The conversation of --chat: JSON itself, or a file that holds it. */
int pq_talk_conversation(const struct pq_args *a, json_t **out, struct pq_err *e);
/* A generation by the options, not yet begun: on_text is called with ctx. */
struct pq_generation pq_talk_generation(const struct pq_talk *t,
                                        int (*on_text)(void *ctx, const char *text, size_t n),
                                        void *ctx);

#endif
