/*
 * soak MODEL TURNS TOKENS LIMIT [LEAK]: a long chat through phiq.h alone, with resets, answers that
 * are cancelled, full contexts and generators made anew. Fails when the memory in use at the end
 * is more than LIMIT bytes above what it was after the first half (0: do not look). LEAK bytes
 * are lost in each turn, to show that this would be found. SPDX-License-Identifier: MIT
 */
#include <phiq.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_MESSAGES = 64, RESET_EVERY = 11, CANCEL_EVERY = 7, RENEW_EVERY = 30 };

struct soak {
    struct pq_model *model;
    struct pq_generator *g;
    struct pq_message message[MOST_MESSAGES];
    size_t n_messages;
    uint64_t seed, read, generated;
    unsigned turn, tokens, resets, full, cancelled;
    int pieces_left; /* until an answer is cancelled; below zero: never */
    struct pq_err e;
};

/* Bytes of memory in use but for pages of mapped files, of which ever more are looked at; 0 where
 * the system does not tell. */
static uint64_t resident(void)
{
    unsigned long long all = 0, pages = 0, shared = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f)
        return 0;
    if (fscanf(f, "%llu %llu %llu", &all, &pages, &shared) != 3)
        pages = shared = 0;
    fclose(f);
    return (pages - shared) * 4096;
}

static unsigned chance(struct soak *s, unsigned n)
{
    s->seed = s->seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(s->seed >> 33) % n;
}

static void forget(struct soak *s)
{
    while (s->n_messages)
        free((char *)(uintptr_t)s->message[--s->n_messages].text);
    s->resets++;
}

static int say(struct soak *s, const char *role, const char *text, size_t size)
{
    char *copy = (char *)malloc(size + 1);
    if (!copy)
        return PQ_ENOMEM;
    memcpy(copy, text, size);
    copy[size] = '\0';
    s->message[s->n_messages++] = (struct pq_message){role, copy};
    return PQ_OK;
}

/* Some words, sometimes many. */
static int ask(struct soak *s)
{
    static const char *const words[] = {
        "why", "the",    "sky", "story", "\xc3\xa9t\xc3\xa9", "house", "\xe6\x97\xa5\xe6\x9c\xac",
        "sea", "little", "he",  "\n",    "<|end|>",           "42"};
    char text[4096];
    size_t at = 0;
    const unsigned n = chance(s, 9) ? 1 + chance(s, 12) : 200;
    for (unsigned i = 0; i < n; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "%s ",
                               words[chance(s, sizeof words / sizeof *words)]);
    return say(s, "user", text, at);
}

static int on_text(void *ctx, const char *text, size_t size)
{
    struct soak *s = (struct soak *)ctx;
    (void)text;
    (void)size;
    return s->pieces_left >= 0 && s->pieces_left-- == 0;
}

/* A text as long as the context, and on to its end: memory has then grown as far as it may. */
static int fill(struct soak *s)
{
    struct pq_generate_options how;
    struct pq_generated got;
    uint32_t id[64];
    for (uint32_t i = 0; i < sizeof id / sizeof *id; i++)
        id[i] = 100 + 7 * i;
    pq_generate_options_default(&how);
    int rc = pq_generator_read_ids(s->g, id, 50, &s->e);
    while (rc >= 0)
        rc = pq_generator_append(s->g, id, sizeof id / sizeof *id, &s->e);
    if (rc != PQ_EINVAL || !strstr(s->e.msg, "do not fit the context"))
        return rc;
    s->e = (struct pq_err){0};
    rc = pq_generator_run(s->g, &how, &got, &s->e);
    s->full += rc >= 0 && !strcmp(got.finish, "context");
    return rc;
}

static int renew(struct soak *s)
{
    struct pq_generator_options o;
    pq_generator_options_default(&o);
    o.temperature = 0.9;
    o.top_p = 0.95;
    o.repeat_penalty = 1.1;
    o.seed = s->turn;
    pq_generator_free(s->g);
    int rc = pq_generator_new(&s->g, s->model, &o, &s->e);
    return rc < 0 ? rc : fill(s);
}

static int answer(struct soak *s)
{
    static const char *const stops[] = {"The end", "42 42"};
    struct pq_generate_options how;
    struct pq_generated got;
    size_t length;
    pq_generate_options_default(&how);
    how.max_tokens = s->tokens;
    how.on_text = on_text;
    how.ctx = s;
    how.stop = stops;
    how.n_stop = 2;
    s->pieces_left = s->turn % CANCEL_EVERY ? -1 : 3;
    int rc = pq_generator_read_messages(s->g, s->message, s->n_messages, &s->e);
    if (rc == PQ_EINVAL && strstr(s->e.msg, "do not fit the context")) {
        s->e = (struct pq_err){0};
        s->full++;
        forget(s);
        return PQ_OK;
    }
    if (rc >= 0)
        rc = pq_generator_run(s->g, &how, &got, &s->e);
    if (rc < 0)
        return rc;
    pq_generator_ids(s->g, &length);
    s->read = s->read > length ? s->read : length;
    s->generated += got.n_tokens;
    s->cancelled += !strcmp(got.finish, "cancelled");
    s->full += !strcmp(got.finish, "context");
    return say(s, "assistant", got.text, got.size);
}

static int turn(struct soak *s)
{
    int rc = s->turn % RENEW_EVERY ? PQ_OK : renew(s);
    if (s->n_messages + 2 > MOST_MESSAGES || chance(s, RESET_EVERY) == 0)
        forget(s);
    if (rc >= 0)
        rc = ask(s);
    return rc < 0 ? rc : answer(s);
}

/* All turns; *warm is the memory after the first half. */
static int turns(struct soak *s, unsigned n, size_t leak, uint64_t *warm)
{
    static void *volatile lost;
    for (; s->turn < n; s->turn++) {
        int rc = turn(s);
        if (rc < 0)
            return rc;
        if (leak && (lost = malloc(leak)))
            memset(lost, 1, leak);
        if (s->turn == n / 2)
            *warm = resident();
    }
    return PQ_OK;
}

int main(int argc, char **argv)
{
    struct soak s = {.seed = 1};
    uint64_t warm = 0;
    if (argc < 5) {
        fprintf(stderr, "usage: soak MODEL TURNS TOKENS LIMIT [LEAK]\n");
        return 2;
    }
    const uint64_t limit = strtoull(argv[4], NULL, 10);
    s.tokens = (unsigned)strtoul(argv[3], NULL, 10);
    int rc = pq_model_open(&s.model, argv[1], &s.e);
    if (rc >= 0)
        rc = turns(&s, (unsigned)strtoul(argv[2], NULL, 10),
                   argc > 5 ? strtoul(argv[5], NULL, 10) : 0, &warm);
    const uint64_t end = resident();
    if (rc < 0)
        fprintf(stderr, "turn %u: %s\n", s.turn, s.e.msg);
    printf("%u turns, %llu tokens generated, longest context %llu; %u resets, %u times a full "
           "context, %u answers cancelled\n",
           s.turn, (unsigned long long)s.generated, (unsigned long long)s.read, s.resets, s.full,
           s.cancelled);
    printf("memory: %llu bytes after a half, %llu at the end: %+lld\n", (unsigned long long)warm,
           (unsigned long long)end, (long long)end - (long long)warm);
    forget(&s);
    pq_generator_free(s.g);
    pq_model_close(s.model);
    const int grown = limit && warm && end > warm + limit;
    if (grown)
        fprintf(stderr, "memory has grown by more than %llu bytes\n", (unsigned long long)limit);
    return rc < 0 || grown || !s.full || !s.cancelled || s.resets < 3;
}
