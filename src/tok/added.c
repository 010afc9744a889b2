/* Added tokens: added_tokens.json, then added_tokens_decoder of tokenizer_config.json, then
 * added_tokens of tokenizer.json; later files win, as in llama.cpp's converter.
 * SPDX-License-Identifier: MIT */
#include "tok/build.h"
#include "base/num.h"

#include <stddef.h>

#define ADDED_SCORE (-1000.0f) /* below every piece, so that no merge makes one */

static bool starts(const char *s, size_t len, const char *head)
{
    size_t n = strlen(head);
    return len >= n && !memcmp(s, head, n);
}

static bool ends(const char *s, size_t len, const char *tail)
{
    size_t n = strlen(tail);
    return len >= n && !memcmp(s + len - n, tail, n);
}

/* Some files mark <|tool|> and the like as not special; they must still never be spelled. */
static bool looks_special(const char *s, size_t len)
{
    return len > 4 && starts(s, len, "<|") && ends(s, len, "|>");
}

enum pq_token_type pq_tok_added_type(const char *text, size_t len, bool special)
{
    return special || looks_special(text, len) ? PQ_TOKEN_CONTROL : PQ_TOKEN_USER_DEFINED;
}

static int put_added(struct pq_tok *t, uint64_t id, const char *text, bool special,
                     const char *file)
{
    if (id >= t->n_vocab)
        return pq_fail(t->e, PQ_EFORMAT,
                       "%s: added token \"%s\" has id %llu, the embedding has %zu rows", file, text,
                       (unsigned long long)id, t->n_vocab);
    if (!*text)
        return pq_fail(t->e, PQ_EFORMAT, "%s: added token %llu is empty", file,
                       (unsigned long long)id);
    struct pq_token *tok = &t->v->token[id];
    size_t len = strlen(text);
    if (!tok->text || tok->len != len || memcmp(tok->text, text, len)) {
        tok->text = pq_arena_strndup(t->a, text, len);
        if (!tok->text)
            return pq_tok_no_memory(t->e);
        tok->len = (uint32_t)len;
        tok->type = PQ_TOKEN_NORMAL;
    }
    if (tok->type != PQ_TOKEN_UNKNOWN && tok->type != PQ_TOKEN_BYTE)
        tok->type = (uint8_t)pq_tok_added_type(text, len, special);
    tok->score = t->v->kind == PQ_VOCAB_SPM ? ADDED_SCORE : 0;
    tok->added = true;
    tok->special = special;
    return PQ_OK;
}

static int put_flags(struct pq_tok *t, struct pq_token *tok, const json_t *j, const char *file)
{
    static const struct {
        const char *key;
        size_t offset;
    } flags[] = {
        {"lstrip", offsetof(struct pq_token, lstrip)},
        {"rstrip", offsetof(struct pq_token, rstrip)},
        {"normalized", offsetof(struct pq_token, normalized)},
        {"single_word", offsetof(struct pq_token, single_word)},
    };
    for (size_t i = 0; i < PQ_LEN(flags); i++) {
        bool on = false;
        int rc = pq_json_bool(j, flags[i].key, &on, file, t->e);
        if (rc < 0)
            return rc;
        *(bool *)((char *)tok + flags[i].offset) = on;
    }
    return PQ_OK;
}

static int put_object(struct pq_tok *t, uint64_t id, const json_t *j, const char *file)
{
    const char *text = NULL;
    bool special = false;
    int rc;
    if (!json_is_object(j))
        return pq_fail(t->e, PQ_EFORMAT, "%s: added token %llu is not an object", file,
                       (unsigned long long)id);
    PQ_TRY(pq_json_str(j, "content", &text, file, t->e));
    PQ_TRY(pq_json_bool(j, "special", &special, file, t->e));
    if (!text)
        return pq_fail(t->e, PQ_EFORMAT, "%s: added token %llu has no content", file,
                       (unsigned long long)id);
    PQ_TRY(put_added(t, id, text, special, file));
    PQ_TRY(put_flags(t, &t->v->token[id], j, file));
out:
    return rc;
}

static int expect_object(const json_t *j, const char *what, const char *file, struct pq_err *e)
{
    if (!j || json_is_null(j) || json_is_object(j))
        return PQ_OK;
    return pq_fail(e, PQ_EFORMAT, "%s: %s is not an object", file, what);
}

static int from_added_tokens(struct pq_tok *t)
{
    int rc = expect_object(t->added, "the document", PQ_TOK_ADDED, t->e);
    const char *text;
    json_t *id;
    json_object_foreach(t->added, text, id)
    {
        if (rc < 0)
            break;
        if (!json_is_integer(id) || json_integer_value(id) < 0)
            return pq_fail(t->e, PQ_EFORMAT, "%s: the id of \"%s\" is not an integer", PQ_TOK_ADDED,
                           text);
        rc = put_added(t, (uint64_t)json_integer_value(id), text, false, PQ_TOK_ADDED);
    }
    return rc;
}

/* Decimal digits only, at most 9 of them. */
static bool parse_id(const char *s, uint64_t *id)
{
    size_t n = strspn(s, "0123456789");
    if (!n || n > 9 || s[n])
        return false;
    for (*id = 0; *s; s++)
        *id = *id * 10 + (uint64_t)(*s - '0');
    return true;
}

static int from_decoder(struct pq_tok *t)
{
    const json_t *list = json_object_get(t->config, "added_tokens_decoder");
    int rc = expect_object(list, "added_tokens_decoder", PQ_TOK_CONFIG, t->e);
    const char *key;
    json_t *j;
    json_object_foreach((json_t *)(uintptr_t)list, key, j)
    {
        uint64_t id;
        if (rc < 0)
            break;
        if (!parse_id(key, &id))
            return pq_fail(t->e, PQ_EFORMAT, "%s: added_tokens_decoder: \"%s\" is not an id",
                           PQ_TOK_CONFIG, key);
        rc = put_object(t, id, j, PQ_TOK_CONFIG);
    }
    return rc;
}

static int from_tokenizer(struct pq_tok *t)
{
    const json_t *list = json_object_get(t->tokenizer, "added_tokens");
    if (list && !json_is_null(list) && !json_is_array(list))
        return pq_fail(t->e, PQ_EFORMAT, "%s: added_tokens is not a list", PQ_TOK_JSON);
    size_t i;
    const json_t *j;
    json_array_foreach(list, i, j)
    {
        uint64_t id = UINT64_MAX;
        int rc = pq_json_u64(j, "id", &id, PQ_TOK_JSON, t->e);
        if (rc == PQ_OK && id == UINT64_MAX)
            rc = pq_fail(t->e, PQ_EFORMAT, "%s: added_tokens[%zu] has no id", PQ_TOK_JSON, i);
        if (rc == PQ_OK)
            rc = put_object(t, id, j, PQ_TOK_JSON);
        if (rc < 0)
            return rc;
    }
    return PQ_OK;
}

int pq_tok_added(struct pq_tok *t)
{
    int rc;
    PQ_TRY(from_added_tokens(t));
    PQ_TRY(from_decoder(t));
    PQ_TRY(from_tokenizer(t));
out:
    return rc;
}
