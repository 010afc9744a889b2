/* tokenizer_config.json: special tokens, what is added around text, and the chat template.
 * SPDX-License-Identifier: MIT */
#include "tok/build.h"
#include "base/fs.h"
#include "base/num.h"

#include <stddef.h>

enum { MAX_TEMPLATE = 16 << 20 };

/* "bos_token" is a string or an object with `content`. */
static int special_text(const json_t *obj, const char *key, const char *file, const char **text,
                        struct pq_err *e)
{
    const json_t *j = json_object_get(obj, key);
    if (json_is_object(j))
        return pq_json_str(j, "content", text, file, e);
    return pq_json_str(obj, key, text, file, e);
}

int pq_tok_specials(struct pq_tok *t)
{
    static const struct {
        const char *key;
        size_t offset;
    } rows[] = {
        {"bos_token", offsetof(struct pq_vocab, bos)},
        {"eos_token", offsetof(struct pq_vocab, eos)},
        {"unk_token", offsetof(struct pq_vocab, unk)},
        {"pad_token", offsetof(struct pq_vocab, pad)},
    };
    int rc = PQ_OK;
    for (size_t i = 0; i < PQ_LEN(rows); i++) {
        const char *text = NULL;
        PQ_TRY(special_text(t->special, rows[i].key, PQ_TOK_SPECIAL, &text, t->e));
        PQ_TRY(special_text(t->config, rows[i].key, PQ_TOK_CONFIG, &text, t->e));
        if (text)
            *(int64_t *)(void *)((char *)t->v + rows[i].offset) = pq_tok_id(t, text);
    }
    /* LlamaTokenizer adds bos unless told otherwise; a tokenizer.json tells. */
    t->v->add_bos = !t->tokenizer && t->v->kind == PQ_VOCAB_SPM;
    PQ_TRY(pq_tok_json_template(t, &t->v->add_bos, &t->v->add_eos));
    t->v->template_bos = t->v->add_bos;
    t->v->template_eos = t->v->add_eos;
    PQ_TRY(pq_json_bool(t->config, "add_bos_token", &t->v->add_bos, PQ_TOK_CONFIG, t->e));
    PQ_TRY(pq_json_bool(t->config, "add_eos_token", &t->v->add_eos, PQ_TOK_CONFIG, t->e));
    if (!t->tokenizer) {
        t->v->template_bos = t->v->add_bos;
        t->v->template_eos = t->v->add_eos;
    }
out:
    return rc;
}

static int keep_template(struct pq_tok *t, const char *s)
{
    t->v->chat_template = pq_arena_strdup(t->a, s);
    return t->v->chat_template ? PQ_OK : pq_tok_no_memory(t->e);
}

static int template_file(struct pq_tok *t, const char *path)
{
    char *text = NULL;
    size_t size;
    int rc;
    PQ_TRY(pq_file_read(path, MAX_TEMPLATE, &text, &size, t->e));
    if (memchr(text, 0, size))
        PQ_TRY(pq_fail(t->e, PQ_EFORMAT, "%s: not text", path));
    PQ_TRY(keep_template(t, text));
out:
    pq_free(text);
    return rc;
}

/* [{"name": "default", "template": "..."}, ...] */
static int template_list(struct pq_tok *t, const json_t *list)
{
    size_t i;
    const json_t *j;
    json_array_foreach(list, i, j)
    {
        const char *name = "", *text = NULL;
        int rc = pq_json_str(j, "name", &name, PQ_TOK_CONFIG, t->e);
        if (rc == PQ_OK)
            rc = pq_json_str(j, "template", &text, PQ_TOK_CONFIG, t->e);
        if (rc < 0)
            return rc;
        if (text && !strcmp(name, "default"))
            return keep_template(t, text);
    }
    return PQ_OK;
}

int pq_tok_chat_template(struct pq_tok *t)
{
    char *path = pq_path_join(t->a, t->dir, "chat_template.jinja");
    if (!path)
        return pq_tok_no_memory(t->e);
    if (pq_path_kind(path) == PQ_PATH_FILE)
        return template_file(t, path);
    const json_t *j = json_object_get(t->config, "chat_template");
    if (json_is_array(j))
        return template_list(t, j);
    const char *text = NULL;
    int rc = pq_json_str(t->config, "chat_template", &text, PQ_TOK_CONFIG, t->e);
    return rc == PQ_OK && text ? keep_template(t, text) : rc;
}
