/* A vocabulary from tokenizer.ggml.* of a GGUF. Every array's type and length is checked before it
 * is read. SPDX-License-Identifier: MIT */
#include "tok/build.h"
#include "base/num.h"

#include <stdio.h>

struct source {
    const struct pq_gguf *g;
    const char *file;
    struct pq_tok *t;
};

static const struct pq_gguf_kv *array_of(const struct source *s, const char *key,
                                         enum pq_gguf_type item, uint64_t count, int *rc)
{
    const struct pq_gguf_kv *kv = pq_gguf_find(s->g, key);
    if (!kv)
        return NULL;
    if (kv->type != PQ_GGUF_ARRAY || kv->item != item)
        *rc = pq_fail(s->t->e, PQ_EFORMAT, "%s: %s is not an array of the expected type", s->file,
                      key);
    else if (count && kv->count != count)
        *rc = pq_fail(s->t->e, PQ_EFORMAT, "%s: %s has %llu entries, expected %llu", s->file, key,
                      (unsigned long long)kv->count, (unsigned long long)count);
    return kv;
}

static int read_tokens(const struct source *s)
{
    int rc = PQ_OK;
    struct pq_tok *t = s->t;
    const struct pq_gguf_kv *kv = array_of(s, "tokenizer.ggml.tokens", PQ_GGUF_STRING, 0, &rc);
    if (rc < 0)
        return rc;
    if (!kv || !kv->count || kv->count > 1u << 24)
        return pq_fail(t->e, PQ_EFORMAT, "%s: tokenizer.ggml.tokens is missing, empty or too long",
                       s->file);
    t->n_vocab = t->v->n_tokens = (size_t)kv->count;
    t->v->token = (struct pq_token *)pq_arena_alloc(t->a, t->n_vocab, sizeof *t->v->token);
    if (!t->v->token)
        return pq_tok_no_memory(t->e);
    for (size_t i = 0; i < t->n_vocab && rc == PQ_OK; i++)
        rc = pq_tok_put(t, i, kv->str[i].s, (size_t)kv->str[i].len, 0, PQ_TOKEN_NORMAL, s->file);
    return rc;
}

static int read_scores(const struct source *s)
{
    int rc = PQ_OK;
    struct pq_vocab *v = s->t->v;
    const struct pq_gguf_kv *kv =
        array_of(s, "tokenizer.ggml.scores", PQ_GGUF_F32, v->n_tokens, &rc);
    if (rc == PQ_OK && !kv && v->kind == PQ_VOCAB_SPM)
        return pq_fail(s->t->e, PQ_EFORMAT, "%s: tokenizer.ggml.scores is missing", s->file);
    for (size_t i = 0; rc == PQ_OK && kv && i < v->n_tokens; i++) {
        float x = pq_bits_f32(pq_le32(kv->data + 4 * i));
        if (!(x >= -3e38f && x <= 3e38f))
            return pq_fail(s->t->e, PQ_EFORMAT, "%s: the score of token %zu is not finite", s->file,
                           i);
        v->token[i].score = x;
    }
    return rc;
}

/* Older converters gave [PADn] the type of an unknown token. */
static bool is_pad_name(const struct pq_token *tok, size_t id)
{
    char name[32];
    snprintf(name, sizeof name, "[PAD%zu]", id);
    return !strcmp(tok->text, name);
}

static int read_types(const struct source *s)
{
    int rc = PQ_OK;
    struct pq_vocab *v = s->t->v;
    const struct pq_gguf_kv *kv =
        array_of(s, "tokenizer.ggml.token_type", PQ_GGUF_I32, v->n_tokens, &rc);
    for (size_t i = 0; rc == PQ_OK && kv && i < v->n_tokens; i++) {
        uint32_t type = pq_le32(kv->data + 4 * i);
        struct pq_token *tok = &v->token[i];
        if (type < PQ_TOKEN_NORMAL || type > PQ_TOKEN_BYTE)
            return pq_fail(s->t->e, PQ_EFORMAT, "%s: token %zu has type %u, expected 1 to 6",
                           s->file, i, type);
        tok->type = (uint8_t)type;
        if (type == PQ_TOKEN_UNKNOWN && is_pad_name(tok, i))
            tok->type = PQ_TOKEN_UNUSED;
        tok->special = tok->type == PQ_TOKEN_CONTROL || tok->type == PQ_TOKEN_UNKNOWN;
        tok->added = tok->special || tok->type == PQ_TOKEN_USER_DEFINED;
    }
    return rc;
}

static int read_merges(const struct source *s)
{
    int rc = PQ_OK;
    struct pq_tok *t = s->t;
    const struct pq_gguf_kv *kv = array_of(s, "tokenizer.ggml.merges", PQ_GGUF_STRING, 0, &rc);
    if (rc < 0 || t->v->kind != PQ_VOCAB_BPE)
        return rc;
    if (!kv || kv->count > SIZE_MAX / sizeof *t->v->pair)
        return pq_fail(t->e, PQ_EFORMAT, "%s: tokenizer.ggml.merges is missing", s->file);
    rc = pq_tok_room_for_merges(t, (size_t)kv->count);
    for (uint64_t i = 0; i < kv->count && rc == PQ_OK; i++) {
        const struct pq_gguf_str *m = &kv->str[i];
        const char *space = m->len ? (const char *)memchr(m->s, ' ', (size_t)m->len) : NULL;
        if (!space)
            return pq_fail(t->e, PQ_EFORMAT, "%s: merge %llu is not two words", s->file,
                           (unsigned long long)i);
        size_t left = (size_t)(space - m->s);
        rc = pq_tok_merge(t, m->s, left, space + 1, (size_t)m->len - left - 1, s->file);
    }
    return rc;
}

static int read_id(const struct source *s, const char *key, int64_t *id)
{
    uint64_t v;
    if (!pq_gguf_get_u64(s->g, key, &v))
        return PQ_OK;
    if (v >= s->t->n_vocab)
        return pq_fail(s->t->e, PQ_EFORMAT, "%s: %s is %llu, there are %zu tokens", s->file, key,
                       (unsigned long long)v, s->t->n_vocab);
    *id = (int64_t)v;
    return PQ_OK;
}

static int read_ids(const struct source *s)
{
    struct pq_vocab *v = s->t->v;
    int rc;
    PQ_TRY(read_id(s, "tokenizer.ggml.bos_token_id", &v->bos));
    PQ_TRY(read_id(s, "tokenizer.ggml.eos_token_id", &v->eos));
    PQ_TRY(read_id(s, "tokenizer.ggml.unknown_token_id", &v->unk));
    PQ_TRY(read_id(s, "tokenizer.ggml.padding_token_id", &v->pad));
    v->add_bos = v->add_space_prefix = v->kind == PQ_VOCAB_SPM; /* llama.cpp's defaults */
    pq_gguf_get_bool(s->g, "tokenizer.ggml.add_bos_token", &v->add_bos);
    pq_gguf_get_bool(s->g, "tokenizer.ggml.add_eos_token", &v->add_eos);
    v->template_bos = v->add_bos;
    v->template_eos = v->add_eos;
    pq_gguf_get_bool(s->g, "tokenizer.ggml.add_space_prefix", &v->add_space_prefix);
out:
    return rc;
}

static bool equals(const struct pq_gguf_str *s, const char *word)
{
    return s->len == strlen(word) && !memcmp(s->s, word, (size_t)s->len);
}

/* A text value as a C string in the arena, or NULL. */
static int copy_text(const struct source *s, const char *key, const char **out)
{
    struct pq_gguf_str v;
    *out = NULL;
    if (!pq_gguf_get_str(s->g, key, &v))
        return PQ_OK;
    if (!pq_tok_is_text(v.s, (size_t)v.len))
        return pq_fail(s->t->e, PQ_EFORMAT, "%s: %s is not text", s->file, key);
    *out = pq_arena_strndup(s->t->a, v.s, (size_t)v.len);
    return *out ? PQ_OK : pq_tok_no_memory(s->t->e);
}

static int read_kind(const struct source *s)
{
    struct pq_gguf_str model, arch;
    struct pq_vocab *v = s->t->v;
    if (!pq_gguf_get_str(s->g, "tokenizer.ggml.model", &model))
        return pq_fail(s->t->e, PQ_EFORMAT, "%s: tokenizer.ggml.model is missing", s->file);
    if (!equals(&model, "llama") && !equals(&model, "gpt2"))
        return pq_fail(s->t->e, PQ_EUNSUPPORTED,
                       "%s: tokenizer.ggml.model \"%.*s\" is not supported, expected llama or gpt2",
                       s->file, (int)(model.len < 64 ? model.len : 64), model.s);
    v->kind = equals(&model, "llama") ? PQ_VOCAB_SPM : PQ_VOCAB_BPE;
    int rc = copy_text(s, "tokenizer.ggml.pre", &v->pre);
    if (rc < 0)
        return rc;
    if (v->kind == PQ_VOCAB_SPM)
        v->pre = "default";
    else if (!v->pre && pq_gguf_get_str(s->g, "general.architecture", &arch) &&
             equals(&arch, "phi2"))
        v->pre = "phi-2"; /* files of 2023 have no tokenizer.ggml.pre */
    if (!v->pre)
        return pq_fail(s->t->e, PQ_EFORMAT, "%s: tokenizer.ggml.pre is missing", s->file);
    if (v->kind == PQ_VOCAB_BPE)
        v->split = pq_pre_pattern(v->pre);
    return PQ_OK;
}

static bool contains_phi3(const struct pq_gguf_str *name)
{
    char low[256];
    size_t n = name->len < sizeof low - 1 ? (size_t)name->len : sizeof low - 1;
    for (size_t i = 0; i < n; i++)
        low[i] = name->s[i] >= 'A' && name->s[i] <= 'Z' ? (char)(name->s[i] + 32) : name->s[i];
    low[n] = 0;
    return strstr(low, "phi-3") || strstr(low, "phi3");
}

/* GGUF does not carry strip flags. llama.cpp goes by the model's name: added tokens of Phi-3
 * swallow the white space after them, except these three (llama-vocab.cpp, Phi-3 attributes). */
static void guess_strip(const struct source *s)
{
    static const char *const keep[] = {"<unk>", "<s>", "<|endoftext|>"};
    struct pq_gguf_str name;
    if (!pq_gguf_get_str(s->g, "general.name", &name) || !contains_phi3(&name))
        return;
    for (size_t i = 0; i < s->t->v->n_tokens; i++)
        s->t->v->token[i].rstrip = s->t->v->token[i].added;
    for (size_t i = 0; i < PQ_LEN(keep); i++) {
        int64_t id = pq_tok_id(s->t, keep[i]);
        if (id >= 0)
            s->t->v->token[id].rstrip = false;
    }
}

int pq_vocab_from_gguf(struct pq_vocab *v, struct pq_arena *a, const struct pq_gguf *g,
                       const char *file, struct pq_err *e)
{
    *v = (struct pq_vocab){.bos = -1, .eos = -1, .unk = -1, .pad = -1};
    struct pq_tok t = {.v = v, .a = a, .e = e, .dir = file};
    const struct source s = {g, file, &t};
    int rc;
    PQ_TRY(read_kind(&s));
    PQ_TRY(read_tokens(&s));
    PQ_TRY(read_scores(&s));
    PQ_TRY(read_types(&s));
    PQ_TRY(pq_tok_index(&t));
    PQ_TRY(read_merges(&s));
    PQ_TRY(read_ids(&s));
    PQ_TRY(copy_text(&s, "tokenizer.chat_template", &v->chat_template));
    guess_strip(&s);
out:
    return rc;
}
