/* Chat templates around the Jinja of jinja.h. SPDX-License-Identifier: MIT */
#include "tok/chat.h"
#include "base/num.h"
#include "tok/jinja.h"

struct pq_chat {
    struct pq_arena arena;
    const struct pq_jnode *body;
};

static int no_memory(struct pq_err *e)
{
    return pq_fail(e, PQ_ENOMEM, "out of memory for the chat template");
}

/* Shapes: the templates that Microsoft publishes with the models, and Phi-2's model card. */
#define ENDED_MESSAGES(newline)                                                                \
    "{% for m in messages %}{{ '<|' + m.role + '|>" newline "' + m.content + '<|end|>" newline \
    "' }}"

#define ASSISTANT_NEXT(newline)                               \
    "{% if add_generation_prompt %}{{ '<|assistant|>" newline \
    "' }}{% else %}{{ eos_token }}{% endif %}"

const struct pq_chat_named pq_chat_names[] = {
    {"phi2", "Phi-2: Instruct and Output",
     "{% for m in messages %}{% if m.role == 'user' %}{{ 'Instruct: ' + m.content + '\\nOutput:' }}"
     "{% elif m.role == 'assistant' %}{{ ' ' + m.content + '\\n' }}"
     "{% else %}{{ m.content + '\\n' }}{% endif %}{% endfor %}"},
    {"phi3", "Phi-3-mini, Phi-3.5, Phi-3.5-MoE",
     ENDED_MESSAGES("\\n") "{% endfor %}" ASSISTANT_NEXT("\\n")},
    {"phi3-medium", "Phi-3-medium and the first Phi-3: no system message",
     "{% for m in messages %}{% if m.role == 'user' %}"
     "{{ '<|user|>\\n' + m.content + '<|end|>\\n<|assistant|>\\n' }}"
     "{% elif m.role == 'assistant' %}{{ m.content + '<|end|>\\n' }}{% endif %}{% endfor %}"},
    {"phi3-small", "Phi-3-small",
     "{{ bos_token }}" ENDED_MESSAGES("\\n") "{% endfor %}" ASSISTANT_NEXT("\\n")},
    {"phi4", "Phi-4 (14B) and Phi-4-reasoning",
     "{% for m in messages %}{{ '<|im_start|>' + m.role + '<|im_sep|>' + m.content + '<|im_end|>' "
     "}}"
     "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant<|im_sep|>' }}{% endif "
     "%}"},
    {"phi4-mini", "Phi-4-mini; a system message may have tools",
     "{% for m in messages %}{% if m.role == 'system' and m.tools %}"
     "{{ '<|system|>' + m.content + '<|tool|>' + m.tools + '<|/tool|><|end|>' }}"
     "{% else %}{{ '<|' + m.role + '|>' + m.content + '<|end|>' }}{% endif %}{% endfor %}" //
     ASSISTANT_NEXT("")},
    {0},
};

int pq_chat_new(struct pq_chat **out, const char *source, struct pq_err *e)
{
    struct pq_chat *c = (struct pq_chat *)pq_calloc(1, sizeof *c);
    struct pq_jtoken *tokens = NULL;
    struct pq_err own = {0};
    int rc;
    *out = NULL;
    e = e ? e : &own; /* the parser tells of failures there only */
    if (!c)
        return no_memory(e);
    PQ_TRY(pq_jinja_lex(source, &c->arena, &tokens, e));
    struct pq_jparser p = {.tok = tokens, .a = &c->arena, .e = e};
    const struct pq_jnode *tree = pq_jinja_parse(&p);
    if (!tree) {
        rc = e->code;
        goto out;
    }
    c->body = tree->list;
    *out = c;
out:
    pq_free(tokens);
    if (rc < 0)
        pq_chat_free(c);
    return rc;
}

void pq_chat_free(struct pq_chat *c)
{
    if (c)
        pq_arena_free(&c->arena);
    pq_free(c);
}

static int unknown_name(const char *name, struct pq_err *e)
{
    struct pq_buf b = {0};
    for (const struct pq_chat_named *x = pq_chat_names; x->name; x++)
        pq_buf_printf(&b, "%s%s", x == pq_chat_names ? "" : ", ", x->name);
    pq_buf_u8(&b, 0);
    int rc = b.failed ? no_memory(e)
                      : pq_fail(e, PQ_EINVAL, "unknown chat template \"%.60s\": expected %s", name,
                                (const char *)b.data);
    pq_buf_free(&b);
    return rc;
}

int pq_chat_choose(struct pq_chat **out, const struct pq_vocab *v, const char *name,
                   struct pq_err *e)
{
    *out = NULL;
    for (const struct pq_chat_named *x = pq_chat_names; name && x->name; x++)
        if (!strcmp(x->name, name))
            return pq_chat_new(out, x->source, e);
    if (name)
        return unknown_name(name, e);
    if (!v->chat_template)
        return pq_fail(e, PQ_EINVAL,
                       "the model has no chat template: choose one by name (phi3, phi4...)");
    return pq_chat_new(out, v->chat_template, e);
}

/* ---- what a template sees ---- */

static int check_messages(const json_t *list, struct pq_err *e)
{
    size_t i;
    const json_t *m;
    if (!json_is_array(list))
        return pq_fail(e, PQ_EINVAL, "a conversation without a list of messages");
    json_array_foreach(list, i, m)
    {
        if (!json_is_string(json_object_get(m, "role")))
            return pq_fail(e, PQ_EINVAL, "message %zu of the conversation has no role", i);
    }
    return PQ_OK;
}

/* Takes the reference to `value`, also when the key is there already. */
static bool set_default(json_t *o, const char *key, json_t *value)
{
    if (json_object_get(o, key)) {
        json_decref(value);
        return true;
    }
    return json_object_set_new(o, key, value) == 0;
}

/* As apply_chat_template() of `transformers` has them: what is not given is none. */
static bool set_defaults(json_t *o, const struct pq_vocab *v)
{
    const struct {
        const char *key;
        int64_t id;
    } specials[] = {
        {"bos_token", v->bos}, {"eos_token", v->eos}, {"unk_token", v->unk}, {"pad_token", v->pad}};
    bool good = set_default(o, "tools", json_null()) && set_default(o, "documents", json_null()) &&
                set_default(o, "add_generation_prompt", json_true());
    for (size_t i = 0; i < PQ_LEN(specials) && good; i++) {
        int64_t id = specials[i].id;
        if (id >= 0 && (uint64_t)id < v->n_tokens)
            good = set_default(o, specials[i].key, json_string(v->token[id].text));
    }
    return good;
}

static json_t *variables(const struct pq_vocab *v, const json_t *request)
{
    json_t *shared = (json_t *)(uintptr_t)request; /* counted, not changed */
    json_t *o = json_is_array(request) ? json_pack("{s:O}", "messages", shared) : json_copy(shared);
    if (o && set_defaults(o, v))
        return o;
    json_decref(o);
    return NULL;
}

int pq_chat_render(const struct pq_chat *c, const struct pq_vocab *v, const json_t *request,
                   struct pq_buf *out, struct pq_err *e)
{
    struct pq_err own = {0};
    struct pq_jrun r = {.out = out, .e = e ? e : &own};
    int rc =
        check_messages(json_is_array(request) ? request : json_object_get(request, "messages"), e);
    if (rc < 0)
        return rc;
    json_t *globals = variables(v, request);
    if (!globals)
        return no_memory(e);
    r.globals = globals;
    rc = pq_jinja_run(&r, c->body);
    pq_arena_free(&r.a);
    json_decref(globals);
    return rc;
}
