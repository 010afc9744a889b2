/* What run and chat share: a model ready to generate, from the options.
 * SPDX-License-Identifier: MIT */
#ifndef PQ_CLI_TALK_H
#define PQ_CLI_TALK_H

#include "cli/cli.h"
#include "infer/generator.h"

enum { PQ_TALK_MAX_TEXT = 1 << 28 };

struct pq_talk {
    struct pq_model *m;
    struct pq_generator *g;
    struct pq_generate_options how; /* on_text and its ctx are the caller's to set */
};
/* Reading a prompt and, by on_text's return, generating end with pq_interrupted. */
int pq_talk_open(struct pq_talk *t, const struct pq_args *a, struct pq_err *e);
void pq_talk_close(struct pq_talk *t);

/* Appends a file's content. */
int pq_talk_file(struct pq_buf *out, const char *path, struct pq_err *e);
/* A conversation: JSON itself, or a file that holds it. */
int pq_talk_conversation(const char *what, json_t **out, struct pq_err *e);

#endif
