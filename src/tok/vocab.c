/* A vocabulary from the files of a checkpoint. SPDX-License-Identifier: MIT */
#include "tok/build.h"
#include "base/fs.h"
#include "tok/utf8.h"

#include <string.h>

#define HOLE_SCORE (-10000.0f) /* below added tokens too */

enum { MAX_VOCAB = 1 << 24, MAX_TOKEN = 1 << 16, MAX_VOCAB_FILE = 256 << 20 };

int pq_tok_no_memory(struct pq_err *e)
{
    return pq_fail(e, PQ_ENOMEM, "out of memory for the tokenizer");
}

bool pq_tok_is_text(const char *s, size_t n)
{
    for (size_t i = 0, k; i < n; i += k)
        if (!s[i] || (k = (signed char)s[i] > 0 ? 1 : pq_utf8_len(s + i, n - i)) == 0)
            return false;
    return true;
}

int pq_tok_put(struct pq_tok *t, uint64_t id, const char *text, size_t len, float score,
               enum pq_token_type type, const char *file)
{
    if (id >= t->n_vocab)
        return pq_fail(
            t->e, PQ_EFORMAT, "%s: token \"%.*s\" has id %llu, the embedding has %zu rows", file,
            (int)(len < 64 ? len : 64), len ? text : "", (unsigned long long)id, t->n_vocab);
    if (!len || len > MAX_TOKEN || !pq_tok_is_text(text, len))
        return pq_fail(t->e, PQ_EFORMAT, "%s: token %llu is empty, too long or not UTF-8 text",
                       file, (unsigned long long)id);
    struct pq_token *tok = &t->v->token[id];
    if (tok->text && tok->len == len && !memcmp(tok->text, text, len))
        return PQ_OK;
    if (tok->text)
        return pq_fail(t->e, PQ_EFORMAT, "%s: token %llu is \"%.*s\", was \"%.64s\" before", file,
                       (unsigned long long)id, (int)(len < 64 ? len : 64), text, tok->text);
    tok->text = pq_arena_strndup(t->a, text, len);
    if (!tok->text)
        return pq_tok_no_memory(t->e);
    tok->len = (uint32_t)len;
    tok->score = score;
    tok->type = (uint8_t)type;
    return PQ_OK;
}

static int fill_hole(struct pq_tok *t, size_t id)
{
    struct pq_token *tok = &t->v->token[id];
    tok->text = pq_arena_printf(t->a, "[PAD%zu]", id);
    if (!tok->text)
        return pq_tok_no_memory(t->e);
    tok->len = (uint32_t)strlen(tok->text);
    tok->score = t->v->kind == PQ_VOCAB_SPM ? HOLE_SCORE : 0;
    tok->type = PQ_TOKEN_UNUSED;
    return PQ_OK;
}

int pq_tok_index(struct pq_tok *t)
{
    struct pq_vocab *v = t->v;
    int rc = pq_strmap_init(&t->ids, t->a, v->n_tokens);
    if (rc < 0)
        return pq_tok_no_memory(t->e);
    for (size_t i = 0; i < v->n_tokens; i++) {
        if (!v->token[i].text && (rc = fill_hole(t, i)) < 0)
            return rc;
        const struct pq_token *tok = &v->token[i];
        uint32_t other = pq_strmap_add(&t->ids, tok->text, tok->len, (uint32_t)i);
        if (other != PQ_STRMAP_NONE)
            return pq_fail(t->e, PQ_EFORMAT, "%s: tokens %u and %zu are both \"%.64s\"", t->dir,
                           other, i, tok->text);
    }
    return PQ_OK;
}

int64_t pq_tok_id(const struct pq_tok *t, const char *text)
{
    uint32_t id = pq_strmap_get(&t->ids, text, strlen(text));
    return id == PQ_STRMAP_NONE ? -1 : (int64_t)id;
}

static bool has_file(struct pq_tok *t, const char *name)
{
    char *path = pq_path_join(t->a, t->dir, name);
    return path && pq_path_kind(path) == PQ_PATH_FILE;
}

static int load_json(struct pq_tok *t, const char *name, json_t **out)
{
    char *path = pq_path_join(t->a, t->dir, name);
    if (!path)
        return pq_tok_no_memory(t->e);
    int rc = pq_json_load_optional(out, path, t->e);
    if (rc == PQ_OK && *out && !json_is_object(*out))
        return pq_fail(t->e, PQ_EFORMAT, "%s: not an object", path);
    return rc;
}

/* A slow byte-level tokenizer's merges.txt: an optional "#version" line, then "left right". */
static int read_merges_text(struct pq_tok *t)
{
    char *text = NULL, *path = pq_path_join(t->a, t->dir, "merges.txt");
    size_t size, n = 0;
    int rc = PQ_OK;
    if (!path)
        return pq_tok_no_memory(t->e);
    PQ_TRY(pq_file_read(path, MAX_VOCAB_FILE, &text, &size, t->e));
    for (const char *p = text; (p = strchr(p, '\n')) != NULL; p++)
        n++;
    PQ_TRY(pq_tok_room_for_merges(t, n + 1));
    for (char *line = text, *end; *line; line = end) {
        size_t len = strcspn(line, "\r\n");
        end = line + len + strspn(line + len, "\r\n");
        const char *space = (const char *)memchr(line, ' ', len);
        if (!len || (line == text && !strncmp(line, "#version", 8)))
            continue;
        if (!space)
            PQ_TRY(pq_fail(t->e, PQ_EFORMAT, "merges.txt: \"%.*s\" is not two words",
                           (int)(len < 64 ? len : 64), line));
        PQ_TRY(pq_tok_merge(t, line, (size_t)(space - line), space + 1,
                            len - (size_t)(space + 1 - line), "merges.txt"));
    }
out:
    pq_free(text);
    return rc;
}

/* vocab.json + merges.txt. The split pattern is not in them: the class must say. */
static int load_slow_bpe(struct pq_tok *t)
{
    char *path = pq_path_join(t->a, t->dir, "vocab.json");
    size_t size;
    const char *cls = "";
    int rc;
    PQ_TRY(pq_json_str(t->config, "tokenizer_class", &cls, PQ_TOK_CONFIG, t->e));
    if (strcmp(cls, "CodeGenTokenizer") && strcmp(cls, "CodeGenTokenizerFast"))
        PQ_TRY(pq_fail(t->e, PQ_EUNSUPPORTED,
                       "%s: vocab.json does not say how tokenizer_class \"%s\" splits text; "
                       "tokenizer.json is needed",
                       t->dir, cls));
    t->v->kind = PQ_VOCAB_BPE;
    t->v->pre = "phi-2";
    t->v->split = pq_pre_gpt2_pattern;
    PQ_TRY(path ? pq_file_read(path, MAX_VOCAB_FILE, &t->text, &size, t->e)
                : pq_tok_no_memory(t->e));
    PQ_TRY(pq_tok_read_vocab(t, (struct pq_scan){t->text, t->text + size}, "vocab.json"));
    PQ_TRY(pq_tok_added(t));
    PQ_TRY(pq_tok_index(t));
    PQ_TRY(read_merges_text(t));
out:
    return rc;
}

static int load_fast(struct pq_tok *t)
{
    int rc;
    PQ_TRY(pq_tok_json_kind(t));
    if (t->has_model && t->v->kind == PQ_VOCAB_SPM)
        PQ_TRY(pq_tok_read_model(t, false));
    PQ_TRY(pq_tok_json_pipeline(t));
    PQ_TRY(pq_tok_json_vocab(t));
    PQ_TRY(pq_tok_added(t));
    PQ_TRY(pq_tok_index(t));
    PQ_TRY(pq_tok_json_merges(t));
out:
    return rc;
}

static int load_model_only(struct pq_tok *t)
{
    int rc;
    t->v->kind = PQ_VOCAB_SPM;
    t->v->pre = "default";
    PQ_TRY(pq_tok_read_model(t, true));
    PQ_TRY(pq_tok_added(t));
    PQ_TRY(pq_tok_index(t));
out:
    return rc;
}

/* Byte fallback needs every byte; runtimes look them up without asking. */
static int check_bytes(const struct pq_tok *t)
{
    for (unsigned byte = 0; byte < 256 && t->v->kind == PQ_VOCAB_SPM; byte++) {
        static const char hex[] = "0123456789ABCDEF";
        const char piece[] = {'<', '0', 'x', hex[byte >> 4], hex[byte & 15], '>', 0};
        if (pq_tok_id(t, piece) < 0)
            return pq_fail(t->e, PQ_EUNSUPPORTED,
                           "%s: the tokenizer lacks %s, one of the 256 byte pieces", t->dir, piece);
    }
    return PQ_OK;
}

static int load_tokens(struct pq_tok *t)
{
    if (t->tokenizer)
        return load_fast(t);
    if (t->has_model)
        return load_model_only(t);
    if (has_file(t, "vocab.json") && has_file(t, "merges.txt"))
        return load_slow_bpe(t);
    return pq_fail(t->e, PQ_EIO,
                   "%s: no tokenizer: neither tokenizer.json nor tokenizer.model nor vocab.json "
                   "with merges.txt",
                   t->dir);
}

static int load_all(struct pq_tok *t)
{
    int rc;
    PQ_TRY(pq_tok_open_json(t));
    PQ_TRY(load_json(t, PQ_TOK_CONFIG, &t->config));
    PQ_TRY(load_json(t, PQ_TOK_ADDED, &t->added));
    PQ_TRY(load_json(t, PQ_TOK_SPECIAL, &t->special));
    t->has_model = has_file(t, PQ_TOK_MODEL);
    PQ_TRY(load_tokens(t));
    PQ_TRY(check_bytes(t));
    PQ_TRY(pq_tok_specials(t));
    PQ_TRY(pq_tok_chat_template(t));
out:
    return rc;
}

int pq_vocab_load(struct pq_vocab *v, struct pq_arena *a, const char *dir, size_t n_vocab,
                  struct pq_err *e)
{
    *v = (struct pq_vocab){.bos = -1, .eos = -1, .unk = -1, .pad = -1};
    if (!n_vocab || n_vocab > MAX_VOCAB)
        return pq_fail(e, PQ_EINVAL, "a vocabulary of %zu tokens", n_vocab);
    struct pq_tok t = {.v = v, .a = a, .e = e, .dir = dir, .n_vocab = n_vocab};
    v->n_tokens = n_vocab;
    v->token = (struct pq_token *)pq_arena_alloc(a, n_vocab, sizeof *v->token);
    int rc = v->token ? load_all(&t) : pq_tok_no_memory(e);
    pq_free(t.text);
    json_decref(t.tokenizer);
    json_decref(t.config);
    json_decref(t.added);
    json_decref(t.special);
    return rc;
}
