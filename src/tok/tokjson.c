/* tokenizer.json of the `tokenizers` library: the kind of model and the processing around it.
 * SPDX-License-Identifier: MIT */
#include "tok/build.h"
#include "base/num.h"

static const char *type_of(const json_t *j)
{
    const char *s = json_string_value(json_object_get(j, "type"));
    return s ? s : "";
}

static bool is_set(const json_t *j)
{
    return j && !json_is_null(j);
}

static const json_t *model_of(const struct pq_tok *t)
{
    return json_object_get(t->tokenizer, "model");
}

static int empty_string(const json_t *model, const char *key, struct pq_err *e)
{
    const char *s = "";
    int rc = pq_json_str(model, key, &s, PQ_TOK_JSON, e);
    if (rc == PQ_OK && *s)
        rc = pq_fail(e, PQ_EUNSUPPORTED, "%s: %s \"%s\" is not supported", PQ_TOK_JSON, key, s);
    return rc;
}

int pq_tok_json_kind(struct pq_tok *t)
{
    const json_t *model = model_of(t);
    bool byte_fallback = false;
    int rc;
    if (!json_is_object(model))
        return pq_fail(t->e, PQ_EFORMAT, "%s: model is missing", PQ_TOK_JSON);
    if (*type_of(model) && strcmp(type_of(model), "BPE"))
        return pq_fail(t->e, PQ_EUNSUPPORTED, "%s: a %s model, Phi's are BPE", PQ_TOK_JSON,
                       type_of(model));
    PQ_TRY(empty_string(model, "continuing_subword_prefix", t->e));
    PQ_TRY(empty_string(model, "end_of_word_suffix", t->e));
    PQ_TRY(pq_json_bool(model, "byte_fallback", &byte_fallback, PQ_TOK_JSON, t->e));
    PQ_TRY(pq_json_bool(model, "ignore_merges", &t->v->ignore_merges, PQ_TOK_JSON, t->e));
    t->v->kind = byte_fallback ? PQ_VOCAB_SPM : PQ_VOCAB_BPE;
out:
    return rc;
}

/* ---- what happens to text before the model: a list of steps, flattened ---- */

typedef int step_fn(struct pq_tok *t, const json_t *step, void *state);

/* Calls fn for each step of a normalizer, pre_tokenizer or post_processor. */
static int each_step(struct pq_tok *t, const json_t *j, const char *list_key, step_fn *fn,
                     void *state)
{
    if (!is_set(j))
        return PQ_OK;
    if (!json_is_object(j))
        return pq_fail(t->e, PQ_EFORMAT, "%s: a processing step is not an object", PQ_TOK_JSON);
    if (strcmp(type_of(j), "Sequence"))
        return fn(t, j, state);
    size_t i;
    const json_t *step;
    json_array_foreach(json_object_get(j, list_key), i, step)
    {
        int rc = fn(t, step, state);
        if (rc < 0)
            return rc;
    }
    return PQ_OK;
}

static int refuse_step(struct pq_tok *t, const char *where, const json_t *step)
{
    return pq_fail(t->e, PQ_EUNSUPPORTED, "%s: %s of type \"%s\" is not supported", PQ_TOK_JSON,
                   where, type_of(step));
}

struct split {
    const char *pattern;
    bool bytes; /* ByteLevel was seen */
};

static int byte_level_step(struct pq_tok *t, const json_t *step, struct split *s)
{
    bool prefix = true, regex = true; /* the library's defaults */
    int rc;
    PQ_TRY(pq_json_bool(step, "add_prefix_space", &prefix, PQ_TOK_JSON, t->e));
    PQ_TRY(pq_json_bool(step, "use_regex", &regex, PQ_TOK_JSON, t->e));
    if (prefix)
        return pq_fail(t->e, PQ_EUNSUPPORTED, "%s: add_prefix_space = true is not supported",
                       PQ_TOK_JSON);
    if (regex && s->pattern)
        return pq_fail(t->e, PQ_EUNSUPPORTED, "%s: text is split by two patterns", PQ_TOK_JSON);
    if (regex)
        s->pattern = pq_pre_gpt2_pattern;
    s->bytes = true;
out:
    return rc;
}

static int split_step(struct pq_tok *t, const json_t *step, struct split *s)
{
    const char *behavior = "", *regex = NULL;
    bool invert = false;
    int rc;
    PQ_TRY(pq_json_str(step, "behavior", &behavior, PQ_TOK_JSON, t->e));
    PQ_TRY(pq_json_bool(step, "invert", &invert, PQ_TOK_JSON, t->e));
    PQ_TRY(pq_json_str(json_object_get(step, "pattern"), "Regex", &regex, PQ_TOK_JSON, t->e));
    /* Both keep every match as one word and drop nothing, since the patterns match everything. */
    bool keeps =
        (!strcmp(behavior, "Isolated") && !invert) || (!strcmp(behavior, "Removed") && invert);
    if (!regex || !keeps || s->pattern || s->bytes)
        return pq_fail(t->e, PQ_EUNSUPPORTED,
                       "%s: a Split with behavior \"%s\" at this place is not supported",
                       PQ_TOK_JSON, behavior);
    s->pattern = regex;
out:
    return rc;
}

static int pre_step(struct pq_tok *t, const json_t *step, void *state)
{
    struct split *s = (struct split *)state;
    if (!strcmp(type_of(step), "ByteLevel"))
        return byte_level_step(t, step, s);
    if (!strcmp(type_of(step), "Split"))
        return split_step(t, step, s);
    return refuse_step(t, "pre_tokenizer", step);
}

static int no_normalizer(struct pq_tok *t, const json_t *step, void *state)
{
    (void)state;
    return refuse_step(t, "normalizer", step);
}

static int bpe_pipeline(struct pq_tok *t)
{
    struct split s = {0};
    int rc;
    PQ_TRY(each_step(t, json_object_get(t->tokenizer, "normalizer"), "normalizers", no_normalizer,
                     NULL));
    PQ_TRY(each_step(t, json_object_get(t->tokenizer, "pre_tokenizer"), "pretokenizers", pre_step,
                     &s));
    if (!s.bytes || !s.pattern)
        return pq_fail(t->e, PQ_EUNSUPPORTED, "%s: a BPE model without byte-level splitting",
                       PQ_TOK_JSON);
    t->v->pre = pq_pre_of_pattern(s.pattern);
    if (!t->v->pre)
        return pq_fail(t->e, PQ_EUNSUPPORTED, "%s: unknown split pattern %s", PQ_TOK_JSON,
                       s.pattern);
    t->v->split = pq_arena_strdup(t->a, s.pattern);
    if (!t->v->split)
        return pq_tok_no_memory(t->e);
out:
    return rc;
}

struct spaces {
    bool prefix, replaced, unless_space, first;
};

static int prepend_step(struct pq_tok *t, const json_t *step, struct spaces *s)
{
    const char *what = "";
    int rc = pq_json_str(step, "prepend", &what, PQ_TOK_JSON, t->e);
    if (rc == PQ_OK && strcmp(what, PQ_SPM_SPACE))
        rc = refuse_step(t, "normalizer", step);
    s->prefix = true;
    return rc;
}

static int replace_step(struct pq_tok *t, const json_t *step, struct spaces *s)
{
    const char *from = "", *to = "";
    int rc;
    PQ_TRY(pq_json_str(json_object_get(step, "pattern"), "String", &from, PQ_TOK_JSON, t->e));
    PQ_TRY(pq_json_str(step, "content", &to, PQ_TOK_JSON, t->e));
    if (strcmp(from, " ") || strcmp(to, PQ_SPM_SPACE))
        return refuse_step(t, "normalizer", step);
    s->replaced = true;
out:
    return rc;
}

static int spm_normalizer_step(struct pq_tok *t, const json_t *step, void *state)
{
    struct spaces *s = (struct spaces *)state;
    if (!strcmp(type_of(step), "Prepend"))
        return prepend_step(t, step, s);
    if (!strcmp(type_of(step), "Replace"))
        return replace_step(t, step, s);
    return refuse_step(t, "normalizer", step);
}

/* The newer form of the same: Metaspace that does not split. */
static int metaspace_step(struct pq_tok *t, const json_t *step, void *state)
{
    struct spaces *s = (struct spaces *)state;
    const char *replacement = PQ_SPM_SPACE, *scheme = "always";
    bool split = true, prefix = true;
    int rc;
    if (strcmp(type_of(step), "Metaspace"))
        return refuse_step(t, "pre_tokenizer", step);
    PQ_TRY(pq_json_str(step, "replacement", &replacement, PQ_TOK_JSON, t->e));
    PQ_TRY(pq_json_str(step, "prepend_scheme", &scheme, PQ_TOK_JSON, t->e));
    PQ_TRY(pq_json_bool(step, "add_prefix_space", &prefix, PQ_TOK_JSON, t->e));
    PQ_TRY(pq_json_bool(step, "split", &split, PQ_TOK_JSON, t->e));
    if (split || strcmp(replacement, PQ_SPM_SPACE))
        return refuse_step(t, "splitting pre_tokenizer", step);
    s->prefix = prefix && strcmp(scheme, "never");
    s->replaced = s->unless_space = true;
    s->first = !strcmp(scheme, "first");
out:
    return rc;
}

static int spm_pipeline(struct pq_tok *t)
{
    struct spaces s = {0};
    int rc;
    PQ_TRY(each_step(t, json_object_get(t->tokenizer, "normalizer"), "normalizers",
                     spm_normalizer_step, &s));
    PQ_TRY(each_step(t, json_object_get(t->tokenizer, "pre_tokenizer"), "pretokenizers",
                     metaspace_step, &s));
    if (!s.replaced)
        return pq_fail(t->e, PQ_EUNSUPPORTED,
                       "%s: spaces are not replaced by U+2581 before the model", PQ_TOK_JSON);
    t->v->add_space_prefix = s.prefix;
    t->v->prefix_unless_space = s.unless_space;
    t->v->prefix_first = s.first;
    t->v->pre = "default";
out:
    return rc;
}

int pq_tok_json_pipeline(struct pq_tok *t)
{
    return t->v->kind == PQ_VOCAB_SPM ? spm_pipeline(t) : bpe_pipeline(t);
}

/* ---- the post-processor ---- */

struct ends {
    bool *bos, *eos;
};

static int template_step(struct pq_tok *t, const json_t *step, void *state)
{
    struct ends *ends = (struct ends *)state;
    if (!strcmp(type_of(step), "ByteLevel"))
        return PQ_OK;
    if (strcmp(type_of(step), "TemplateProcessing"))
        return refuse_step(t, "post_processor", step);
    bool *side = ends->bos;
    size_t i;
    const json_t *j;
    json_array_foreach(json_object_get(step, "single"), i, j)
    {
        const json_t *special = json_object_get(j, "SpecialToken");
        if (!special) {
            side = ends->eos; /* past the text */
            continue;
        }
        const char *text = json_string_value(json_object_get(special, "id"));
        int64_t want = side == ends->bos ? t->v->bos : t->v->eos;
        if (!text || want < 0 || pq_tok_id(t, text) != want)
            return pq_fail(t->e, PQ_EUNSUPPORTED,
                           "%s: the post-processor adds \"%s\", which is not the %s token",
                           PQ_TOK_JSON, text ? text : "", side == ends->bos ? "bos" : "eos");
        *side = true;
    }
    return PQ_OK;
}

int pq_tok_json_template(struct pq_tok *t, bool *bos, bool *eos)
{
    struct ends ends = {bos, eos};
    return each_step(t, json_object_get(t->tokenizer, "post_processor"), "processors",
                     template_step, &ends);
}
