/* tokenizer.json and tokenizer_config.json for a vocabulary that came without them.
 * Form: the serialisation of the `tokenizers` library, as published with the Phi models.
 * SPDX-License-Identifier: MIT */
#include "tok/build.h"
#include "tok/merges.h"

static const char *text_of(const struct pq_vocab *v, int64_t id)
{
    return id >= 0 && (uint64_t)id < v->n_tokens ? v->token[id].text : NULL;
}

static json_t *added_token(const struct pq_token *tok, size_t id)
{
    return json_pack("{s:I, s:s, s:b, s:b, s:b, s:b, s:b}", "id", (json_int_t)id, "content",
                     tok->text, "single_word", tok->single_word, "lstrip", tok->lstrip, "rstrip",
                     tok->rstrip, "normalized", tok->normalized, "special", tok->special);
}

static json_t *added_tokens(const struct pq_vocab *v)
{
    json_t *list = json_array();
    for (size_t i = 0; i < v->n_tokens; i++)
        if (v->token[i].added)
            json_array_append_new(list, added_token(&v->token[i], i));
    return list;
}

/* Added tokens too: the library gives a token that is not in here the next free id, which is wrong
 * when there are holes (Phi-4-mini). */
static json_t *vocab_object(const struct pq_vocab *v)
{
    json_t *j = json_object();
    for (size_t i = 0; i < v->n_tokens; i++)
        if (v->token[i].type != PQ_TOKEN_UNUSED)
            json_object_set_new(j, v->token[i].text, json_integer((json_int_t)i));
    return j;
}

static json_t *bpe_merges(const struct pq_vocab *v)
{
    json_t *list = json_array();
    for (size_t i = 0; i < v->n_merges; i++)
        json_array_append_new(list, json_string(v->merge[i]));
    return list;
}

static int spm_merges(const struct pq_vocab *v, json_t **out, struct pq_err *e)
{
    struct pq_arena a = {0};
    struct pq_spm_merge *merge;
    size_t n;
    int rc = pq_spm_merges(v, &a, &merge, &n, e);
    if (rc == PQ_OK)
        *out = json_array();
    for (size_t i = 0; rc == PQ_OK && i < n; i++) {
        const struct pq_token *l = &v->token[merge[i].left], *r = &v->token[merge[i].right];
        json_array_append_new(*out, json_sprintf("%s %s", l->text, r->text));
    }
    pq_free(merge);
    pq_arena_free(&a);
    return rc;
}

static json_t *byte_level(bool use_regex)
{
    return json_pack("{s:s, s:b, s:b, s:b}", "type", "ByteLevel", "add_prefix_space", 0,
                     "trim_offsets", 1, "use_regex", use_regex);
}

static json_t *bpe_pre_tokenizer(const char *pattern)
{
    if (pattern == pq_pre_gpt2_pattern)
        return byte_level(true);
    return json_pack("{s:s, s:[{s:s, s:{s:s}, s:s, s:b}, o]}", "type", "Sequence", "pretokenizers",
                     "type", "Split", "pattern", "Regex", pattern, "behavior", "Isolated", "invert",
                     0, byte_level(false));
}

static json_t *replace(const char *from, const char *to)
{
    return json_pack("{s:s, s:{s:s}, s:s}", "type", "Replace", "pattern", "String", from, "content",
                     to);
}

static json_t *spm_normalizer(bool prefix)
{
    json_t *steps = json_array();
    if (prefix)
        json_array_append_new(steps,
                              json_pack("{s:s, s:s}", "type", "Prepend", "prepend", PQ_SPM_SPACE));
    json_array_append_new(steps, replace(" ", PQ_SPM_SPACE));
    return json_pack("{s:s, s:o}", "type", "Sequence", "normalizers", steps);
}

static json_t *spm_decoder(bool prefix)
{
    json_t *steps = json_array();
    json_array_append_new(steps, replace(PQ_SPM_SPACE, " "));
    json_array_append_new(steps, json_pack("{s:s}", "type", "ByteFallback"));
    json_array_append_new(steps, json_pack("{s:s}", "type", "Fuse"));
    if (prefix)
        json_array_append_new(steps, json_pack("{s:s, s:s, s:i, s:i}", "type", "Strip", "content",
                                               " ", "start", 1, "stop", 0));
    return json_pack("{s:s, s:o}", "type", "Sequence", "decoders", steps);
}

static void put_special(json_t *list, json_t *table, const struct pq_vocab *v, int64_t id, int type)
{
    const char *text = text_of(v, id);
    json_array_append_new(list,
                          json_pack("{s:{s:s, s:i}}", "SpecialToken", "id", text, "type_id", type));
    json_object_set_new(
        table, text,
        json_pack("{s:s, s:[I], s:[s]}", "id", text, "ids", (json_int_t)id, "tokens", text));
}

/* What surrounds one text ('A') or the two of a pair ('A', 'B'). */
static json_t *template_of(const struct pq_vocab *v, const char *sequences, json_t *table)
{
    json_t *list = json_array();
    for (int type = 0; sequences[type]; type++) {
        const char name[2] = {sequences[type], 0};
        if (v->add_bos && v->bos >= 0)
            put_special(list, table, v, v->bos, type);
        json_array_append_new(list,
                              json_pack("{s:{s:s, s:i}}", "Sequence", "id", name, "type_id", type));
        if (v->add_eos && v->eos >= 0)
            put_special(list, table, v, v->eos, type);
    }
    return list;
}

static json_t *post_processor(const struct pq_vocab *v)
{
    json_t *table = json_object();
    json_t *single = template_of(v, "A", table), *pair = template_of(v, "AB", table);
    return json_pack("{s:s, s:o, s:o, s:o}", "type", "TemplateProcessing", "single", single, "pair",
                     pair, "special_tokens", table);
}

static json_t *model(const struct pq_vocab *v, json_t *merges)
{
    bool spm = v->kind == PQ_VOCAB_SPM;
    return json_pack("{s:s, s:n, s:s?, s:n, s:n, s:b, s:b, s:b, s:o, s:o}", "type", "BPE",
                     "dropout", "unk_token", spm ? text_of(v, v->unk) : NULL,
                     "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk", spm,
                     "byte_fallback", spm, "ignore_merges", 0, "vocab", vocab_object(v), "merges",
                     merges);
}

static json_t *document(const struct pq_vocab *v, const char *pattern, json_t *merges)
{
    bool spm = v->kind == PQ_VOCAB_SPM;
    return json_pack("{s:s, s:n, s:n, s:o, s:o, s:o, s:o, s:o, s:o}", "version", "1.0",
                     "truncation", "padding", "added_tokens", added_tokens(v), "normalizer",
                     spm ? spm_normalizer(v->add_space_prefix) : json_null(), "pre_tokenizer",
                     spm ? json_null() : bpe_pre_tokenizer(pattern), "post_processor",
                     post_processor(v), "decoder",
                     spm ? spm_decoder(v->add_space_prefix) : byte_level(true), "model",
                     model(v, merges));
}

int pq_vocab_tokenizer_json(const struct pq_vocab *v, json_t **out, struct pq_err *e)
{
    const char *pattern = NULL;
    json_t *merges = NULL;
    int rc = PQ_OK;
    *out = NULL;
    if (v->kind == PQ_VOCAB_SPM) {
        rc = spm_merges(v, &merges, e);
    } else {
        pattern = pq_pre_pattern(v->pre);
        if (!pattern)
            return pq_fail(e, PQ_EUNSUPPORTED,
                           "the split pattern of tokenizer.ggml.pre \"%s\" is not known", v->pre);
        merges = bpe_merges(v);
    }
    if (rc < 0)
        return rc;
    *out = document(v, pattern, merges);
    return *out ? PQ_OK : pq_tok_no_memory(e);
}

int pq_vocab_tokenizer_config(const struct pq_vocab *v, json_t **out, struct pq_err *e)
{
    const struct {
        const char *key, *text;
    } rows[] = {
        {"bos_token", text_of(v, v->bos)},   {"eos_token", text_of(v, v->eos)},
        {"unk_token", text_of(v, v->unk)},   {"pad_token", text_of(v, v->pad)},
        {"chat_template", v->chat_template}, {"tokenizer_class", "PreTrainedTokenizerFast"},
    };
    *out = json_pack("{s:b, s:b, s:b}", "add_bos_token", v->add_bos, "add_eos_token", v->add_eos,
                     "clean_up_tokenization_spaces", 0);
    for (size_t i = 0; *out && i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].text && json_object_set_new(*out, rows[i].key, json_string(rows[i].text))) {
            json_decref(*out);
            *out = NULL;
        }
    return *out ? PQ_OK : pq_tok_no_memory(e);
}
