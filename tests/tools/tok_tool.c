/*
 * tok_tool SOURCE N_VOCAB MODE [FLAGS]: the tokenizer of a folder (N_VOCAB rows) or of a GGUF file,
 * driven by records, for test_tokenizer_ids.py. A record is a count (32 bits, little-endian) and as
 * many items: bytes of text, or ids of 32 bits.
 *
 *     encode    texts in, ids out; FLAGS of pq_tokenizer_encode
 *     decode    ids in, bytes out; FLAGS of pq_tokenizer_decode
 *     stream    ids in, what the streaming detokenizer says after each, as one text
 *     chat      JSON requests of pq_chat_render in, "+" and the text or "-" and the error out;
 * their member "template" is the template's source, "named" its name, else the checkpoint's time
 * seconds to load and to make the tokenizer, in words
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/num.h"
#include "base/sys.h"
#include "load_vocab.h"
#include "tok/chat.h"
#include "tok/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>

struct tool {
    struct pq_vocab v;
    struct pq_tokenizer *t;
    unsigned flags;
    struct pq_buf in, out;
    struct pq_err e;
};

typedef int mode_fn(struct tool *x); /* x->in to x->out */

static int encode(struct tool *x)
{
    struct pq_ids ids = {0};
    int rc = pq_tokenizer_encode(x->t, (const char *)x->in.data, x->in.len, x->flags, &ids, &x->e);
    for (size_t i = 0; i < ids.n; i++)
        pq_buf_le32(&x->out, ids.id[i]);
    pq_ids_free(&ids);
    return rc;
}

static int decode(struct tool *x)
{
    struct pq_ids ids = {0};
    int rc = PQ_OK;
    for (size_t i = 0; i < x->in.len; i += 4)
        if (!pq_ids_put(&ids, pq_le32(x->in.data + i)))
            rc = PQ_ENOMEM;
    if (rc == PQ_OK)
        rc = pq_tokenizer_decode(x->t, ids.id, ids.n, x->flags, &x->out, &x->e);
    pq_ids_free(&ids);
    return rc;
}

static int stream(struct tool *x)
{
    struct pq_detok d;
    int rc = PQ_OK;
    pq_detok_begin(&d, x->t, x->flags);
    for (size_t i = 0; i < x->in.len && rc == PQ_OK; i += 4)
        rc = pq_detok_put(&d, pq_le32(x->in.data + i), &x->out, &x->e);
    return rc < 0 ? rc : pq_detok_end(&d, &x->out, &x->e);
}

static int render(struct tool *x, const json_t *request, struct pq_buf *text)
{
    struct pq_chat *c = NULL;
    const char *source = json_string_value(json_object_get(request, "template"));
    const char *named = json_string_value(json_object_get(request, "named"));
    int rc;
    PQ_TRY(source ? pq_chat_new(&c, source, &x->e) : pq_chat_choose(&c, &x->v, named, &x->e));
    PQ_TRY(pq_chat_render(c, &x->v, request, text, &x->e));
out:
    pq_chat_free(c);
    return rc;
}

static int chat(struct tool *x)
{
    json_t *request = NULL;
    struct pq_buf text = {0};
    x->e = (struct pq_err){0};
    int rc = pq_json_parse(&request, (const char *)x->in.data, x->in.len, "request", &x->e);
    if (rc == PQ_OK)
        rc = render(x, request, &text);
    pq_buf_puts(&x->out, rc < 0 ? "-" : "+");
    if (rc < 0)
        pq_buf_puts(&x->out, x->e.msg);
    else if (text.len)
        pq_buf_put(&x->out, text.data, text.len);
    pq_buf_free(&text);
    json_decref(request);
    return PQ_OK;
}

static const struct mode {
    const char *name;
    mode_fn *fn;
    size_t in, out; /* bytes of an item */
} modes[] = {{"encode", encode, 1, 4},
             {"decode", decode, 4, 1},
             {"stream", stream, 4, 1},
             {"chat", chat, 1, 1}};

static bool read_record(struct pq_buf *b, size_t item)
{
    uint8_t count[4];
    b->len = 0;
    if (fread(count, 4, 1, stdin) != 1)
        return false;
    size_t size = pq_le32(count) * item;
    pq_buf_zero(b, size);
    return !b->failed && fread(b->data, 1, size, stdin) == size;
}

static int run(struct tool *x, const struct mode *m)
{
    int rc = PQ_OK;
    while (rc == PQ_OK && read_record(&x->in, m->in)) {
        uint8_t count[4];
        x->out.len = 0;
        rc = m->fn(x);
        pq_put_le32(count, (uint32_t)(x->out.len / m->out));
        fwrite(count, 4, 1, stdout);
        fwrite(x->out.data, 1, x->out.len, stdout);
    }
    return rc;
}

int main(int argc, char **argv)
{
    struct tool x = {0};
    struct pq_arena a = {0};
    int rc;
    if (argc < 4)
        return fprintf(stderr, "usage: tok_tool SOURCE N_VOCAB MODE [FLAGS]\n"), 2;
    double t0 = pq_now();
    PQ_TRY(load_vocab(&x.v, &a, argv[1], strtoul(argv[2], NULL, 10), &x.e));
    double t1 = pq_now();
    PQ_TRY(pq_tokenizer_new(&x.t, &x.v, &x.e));
    if (!strcmp(argv[3], "time"))
        printf("read %.1f ms, made %.1f ms\n", 1e3 * (t1 - t0), 1e3 * (pq_now() - t1));
    x.flags = argc > 4 ? (unsigned)strtoul(argv[4], NULL, 10) : 0;
    for (size_t i = 0; i < PQ_LEN(modes); i++)
        if (!strcmp(argv[3], modes[i].name))
            PQ_TRY(run(&x, &modes[i]));
out:
    if (rc < 0)
        fprintf(stderr, "tok_tool: %s\n", x.e.msg);
    pq_tokenizer_free(x.t);
    pq_buf_free(&x.in);
    pq_buf_free(&x.out);
    pq_arena_free(&a);
    return rc < 0;
}
