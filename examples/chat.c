/*
 * A program that talks with a model: every argument after the model is a message, answers go to
 * standard output as they come.
 *
 *     cc chat.c $(pkg-config --cflags --libs phiq) -o chat
 *     ./chat out/gguf/Phi-3.5-mini-instruct-Q4_K_M.gguf 'Why is the sky blue?' 'And at dusk?'
 *
 * SPDX-License-Identifier: MIT
 */
#include <phiq.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_TURNS = 32, ANSWER_TOKENS = 256 };

static int on_text(void *ctx, const char *text, size_t size)
{
    (void)ctx;
    fwrite(text, 1, size, stdout);
    fflush(stdout);
    return 0; /* anything else would end the answer */
}

/* Reads the conversation so far, of which only what is new is computed, and answers it. The caller
 * frees the answer; NULL with the reason in e. */
static char *answer(struct pq_generator *g, const struct pq_message *message, int n,
                    struct pq_err *e)
{
    struct pq_generate_options how;
    struct pq_generated got;
    pq_generate_options_default(&how);
    how.max_tokens = ANSWER_TOKENS;
    how.on_text = on_text;
    if (pq_generator_read_messages(g, message, (size_t)n, e) < 0 ||
        pq_generator_run(g, &how, &got, e) < 0)
        return NULL;
    putchar('\n');
    char *text = (char *)malloc(got.size + 1);
    if (text)
        memcpy(text, got.text, got.size + 1);
    return text;
}

static int talk(struct pq_generator *g, char **question, int n, struct pq_err *e)
{
    struct pq_message message[2 * MOST_TURNS];
    char *text[MOST_TURNS];
    int turn = 0;
    for (; turn < n && turn < MOST_TURNS; turn++) {
        message[2 * turn] = (struct pq_message){"user", question[turn]};
        text[turn] = answer(g, message, 2 * turn + 1, e);
        if (!text[turn])
            break;
        message[2 * turn + 1] = (struct pq_message){"assistant", text[turn]};
    }
    const int done = turn;
    while (turn-- > 0)
        free(text[turn]);
    return done == n ? 0 : -1;
}

int main(int argc, char **argv)
{
    struct pq_err e = {0};
    struct pq_model *model = NULL;
    struct pq_generator *generator = NULL;
    struct pq_generator_options options;
    if (argc < 3) {
        fprintf(stderr, "usage: %s MODEL MESSAGE...\n", argv[0]);
        return 2;
    }
    pq_generator_options_default(&options);
    int rc = pq_model_open(&model, argv[1], &e);
    if (rc >= 0)
        rc = pq_generator_new(&generator, model, &options, &e);
    if (rc >= 0)
        rc = talk(generator, argv + 2, argc - 2, &e);
    if (rc < 0)
        fprintf(stderr, "%s\n", e.msg);
    pq_generator_free(generator);
    pq_model_close(model);
    return rc < 0;
}
