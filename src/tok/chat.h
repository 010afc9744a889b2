/*
 * Chat templates: a conversation to the text that the model was trained on. A checkpoint's own
 * template, in Jinja, is the truth; where there is none, one can be chosen by name.
 * SPDX-License-Identifier: MIT
 */
#ifndef PQ_TOK_CHAT_H
#define PQ_TOK_CHAT_H

#include "tok/vocab.h"

struct pq_chat;
/* Reads a template. What it uses and we do not know is refused in words, with the line. */
int pq_chat_new(struct pq_chat **out, const char *source, struct pq_err *e) PQ_MUST_CHECK;
void pq_chat_free(struct pq_chat *c); /* NULL is fine */

/* The template `name` ("phi3", "phi4"...), or with NULL the checkpoint's own. */
int pq_chat_choose(struct pq_chat **out, const struct pq_vocab *v, const char *name,
                   struct pq_err *e) PQ_MUST_CHECK;

/* Appends the text of a conversation. `request` is a list of messages ({"role", "content"}) or an
 * object with "messages" and whatever else the template asks for: "tools", "add_generation_prompt"
 * (true unless it says otherwise)... The texts of special tokens come from the vocabulary. */
int pq_chat_render(const struct pq_chat *c, const struct pq_vocab *v, const json_t *request,
                   struct pq_buf *out, struct pq_err *e) PQ_MUST_CHECK;

/* Templates that can be chosen by name; ended by name NULL. */
struct pq_chat_named {
    const char *name, *about, *source;
};
extern const struct pq_chat_named pq_chat_names[];

#endif
