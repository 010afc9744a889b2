/* The tokens of a text or of a conversation. SPDX-License-Identifier: MIT */
#include "inspect/inspect.h"
#include "tok/chat.h"
#include "tok/tokenizer.h"

#include <string.h>

struct job {
    struct pq_model *m;
    struct pq_tokenizer *t;
    struct pq_chat *c;
    json_t *request;
    struct pq_buf text;
    struct pq_ids ids;
};

/* The conversation's text, as the template has it. */
static int render(struct job *j, const struct pq_text *what, struct pq_err *e)
{
    int rc;
    PQ_TRY(pq_json_parse(&j->request, what->text, what->size, "conversation", e));
    PQ_TRY(pq_chat_choose(&j->c, &j->m->vocab, what->template_name, e));
    PQ_TRY(pq_chat_render(j->c, &j->m->vocab, j->request, &j->text, e));
out:
    return rc;
}

static json_t *token_row(const struct pq_vocab *v, uint32_t id)
{
    return json_pack("{s:I, s:s}", "id", (json_int_t)id, "piece", v->token[id].text);
}

static int document(const struct job *j, json_t **out, struct pq_err *e)
{
    json_t *tokens = json_array();
    for (size_t i = 0; i < j->ids.n; i++)
        json_array_append_new(tokens, token_row(&j->m->vocab, j->ids.id[i]));
    *out = json_pack("{s:s, s:I, s:o}", "path", j->m->path, "count", (json_int_t)j->ids.n, "tokens",
                     tokens);
    if (*out && j->c)
        json_object_set_new(*out, "text", json_stringn((const char *)j->text.data, j->text.len));
    return *out ? PQ_OK : pq_fail(e, PQ_ENOMEM, "out of memory for the report");
}

static int tokenize(struct job *j, const struct pq_text *what, json_t **out, struct pq_err *e)
{
    int rc;
    if (!j->m->has_vocab)
        return pq_fail(e, PQ_EINVAL, "%s: the model has no tokenizer", j->m->path);
    if (what->chat)
        PQ_TRY(render(j, what, e));
    else
        pq_buf_put(&j->text, what->text, what->size);
    PQ_TRY(pq_buf_check(&j->text, e));
    PQ_TRY(pq_tokenizer_new(&j->t, &j->m->vocab, e));
    /* a template writes the beginning of the text by itself */
    PQ_TRY(pq_tokenizer_encode(j->t, (const char *)j->text.data, j->text.len,
                               what->chat ? 0 : PQ_ENCODE_ENDS, &j->ids, e));
    PQ_TRY(document(j, out, e));
out:
    return rc;
}

int pq_inspect_tokenize(json_t **out, const char *path, const struct pq_text *what,
                        struct pq_err *e)
{
    struct job j = {0};
    *out = NULL;
    int rc = pq_model_load(&j.m, path, e);
    if (rc >= 0)
        rc = tokenize(&j, what, out, e);
    json_decref(j.request);
    pq_buf_free(&j.text);
    pq_ids_free(&j.ids);
    pq_chat_free(j.c);
    pq_tokenizer_free(j.t);
    pq_model_free(j.m);
    return rc;
}
