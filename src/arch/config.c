/* Hyperparameters from config.json, each range-checked in words. SPDX-License-Identifier: MIT */
#include "arch/config.h"
#include "base/num.h"

#include <math.h>
#include <stddef.h>

static const char *const silu[] = {"silu", "swish", NULL};
static const char *const gelu_tanh[] = {"gelu_new", "gelu_pytorch_tanh", NULL};
const char *const *const pq_act_names[] = {[PQ_ACT_SILU] = silu, [PQ_ACT_GELU_TANH] = gelu_tanh};

/* Bounds keep every product of two of them far below 2^64; real models are far below the bounds. */
static const struct size_row {
    const char *key;
    size_t offset;
    uint32_t min, max;
    bool required;
} sizes[] = {
    {"num_hidden_layers", offsetof(struct pq_hparams, n_layers), 1, 512, true},
    {"hidden_size", offsetof(struct pq_hparams, hidden), 1, 1u << 20, true},
    {"intermediate_size", offsetof(struct pq_hparams, ff), 1, 1u << 22, true},
    {"num_attention_heads", offsetof(struct pq_hparams, n_heads), 1, 4096, true},
    {"num_key_value_heads", offsetof(struct pq_hparams, n_kv_heads), 1, 4096, false},
    {"head_dim", offsetof(struct pq_hparams, head_dim), 1, 8192, false},
    {"vocab_size", offsetof(struct pq_hparams, vocab), 1, 1u << 24, true},
    {"max_position_embeddings", offsetof(struct pq_hparams, max_position), 1, 1u << 30, true},
    {"sliding_window", offsetof(struct pq_hparams, sliding_window), 0, 1u << 30, false},
};

int pq_config_u32(const json_t *obj, const char *key, uint32_t min, uint32_t max, uint32_t *v,
                  struct pq_err *e)
{
    uint64_t x = *v;
    int rc = pq_json_u64(obj, key, &x, PQ_CONFIG_FILE, e);
    if (rc < 0)
        return rc;
    const json_t *j = json_object_get(obj, key);
    if (j && !json_is_null(j) && (x < min || x > max))
        return pq_fail(e, PQ_EFORMAT, "%s: %s is %llu, expected %u to %u", PQ_CONFIG_FILE, key,
                       (unsigned long long)x, (unsigned)min, (unsigned)max);
    *v = (uint32_t)x;
    return PQ_OK;
}

static int read_sizes(struct pq_hparams *hp, const json_t *config, struct pq_err *e)
{
    for (size_t i = 0; i < PQ_LEN(sizes); i++) {
        const struct size_row *s = &sizes[i];
        const json_t *j = json_object_get(config, s->key);
        if (s->required && (!j || json_is_null(j)))
            return pq_fail(e, PQ_EFORMAT, "%s: %s is missing", PQ_CONFIG_FILE, s->key);
        uint32_t *v = (uint32_t *)(void *)((char *)hp + s->offset);
        int rc = pq_config_u32(config, s->key, s->min, s->max, v, e);
        if (rc < 0)
            return rc;
    }
    return PQ_OK;
}

static int read_heads(struct pq_hparams *hp, struct pq_err *e)
{
    if (!hp->n_kv_heads)
        hp->n_kv_heads = hp->n_heads;
    if (hp->n_heads % hp->n_kv_heads)
        return pq_fail(e, PQ_EFORMAT,
                       "%s: num_attention_heads %u is not a multiple of num_key_value_heads %u",
                       PQ_CONFIG_FILE, hp->n_heads, hp->n_kv_heads);
    if (hp->head_dim)
        return PQ_OK;
    if (hp->hidden % hp->n_heads)
        return pq_fail(e, PQ_EFORMAT,
                       "%s: hidden_size %u is not a multiple of num_attention_heads %u",
                       PQ_CONFIG_FILE, hp->hidden, hp->n_heads);
    hp->head_dim = hp->hidden / hp->n_heads;
    return PQ_OK;
}

static int read_act(struct pq_hparams *hp, const json_t *config, enum pq_act act, struct pq_err *e)
{
    const char *name = pq_act_names[act][0];
    int rc = pq_json_str(config, "hidden_act", &name, PQ_CONFIG_FILE, e);
    if (rc < 0)
        return rc;
    hp->act = act;
    for (const char *const *n = pq_act_names[act]; *n; n++)
        if (!strcmp(*n, name))
            return PQ_OK;
    return pq_fail(e, PQ_EUNSUPPORTED, "%s: hidden_act \"%s\" is not supported, expected \"%s\"",
                   PQ_CONFIG_FILE, name, pq_act_names[act][0]);
}

static int read_switches(const json_t *config, const char *const *must_be_false, struct pq_err *e)
{
    for (; *must_be_false; must_be_false++) {
        bool on = false;
        int rc = pq_json_bool(config, *must_be_false, &on, PQ_CONFIG_FILE, e);
        if (rc < 0)
            return rc;
        if (on)
            return pq_fail(e, PQ_EUNSUPPORTED, "%s: %s = true is not supported", PQ_CONFIG_FILE,
                           *must_be_false);
    }
    return PQ_OK;
}

static int read_dtype(struct pq_hparams *hp, const json_t *config, struct pq_err *e)
{
    static const char *const known[] = {"bfloat16", "float16", "float32"};
    const char *name = NULL;
    int rc = pq_json_str(config, "dtype", &name, PQ_CONFIG_FILE, e); /* transformers 5 */
    if (rc == PQ_OK && !name)
        rc = pq_json_str(config, "torch_dtype", &name, PQ_CONFIG_FILE, e);
    if (rc < 0 || !name)
        return rc;
    for (size_t i = 0; i < PQ_LEN(known); i++)
        if (!strcmp(name, known[i])) {
            hp->dtype = known[i];
            return PQ_OK;
        }
    return pq_fail(e, PQ_EUNSUPPORTED,
                   "%s: torch_dtype \"%s\" is not supported, expected bfloat16, float16 or float32",
                   PQ_CONFIG_FILE, name);
}

static int refuse_quantized(const json_t *config, struct pq_err *e)
{
    const json_t *q = json_object_get(config, "quantization_config");
    if (!q || json_is_null(q))
        return PQ_OK;
    const json_t *method = json_object_get(q, "quant_method");
    return pq_fail(e, PQ_EUNSUPPORTED,
                   "%s: the checkpoint is already quantized (quant_method \"%s\"); start from the "
                   "original weights",
                   PQ_CONFIG_FILE, json_is_string(method) ? json_string_value(method) : "unknown");
}

static int read_norm(struct pq_hparams *hp, const json_t *config, const struct pq_config_rule *rule,
                     struct pq_err *e)
{
    hp->norm = rule->norm;
    hp->norm_eps = 1e-5; /* the default of both classes in transformers */
    int rc = pq_json_f64(config, rule->eps_key, &hp->norm_eps, PQ_CONFIG_FILE, e);
    if (rc < 0)
        return rc;
    if (!(hp->norm_eps > 0 && hp->norm_eps <= 1))
        return pq_fail(e, PQ_EFORMAT, "%s: %s is %g, expected above 0 and at most 1",
                       PQ_CONFIG_FILE, rule->eps_key, hp->norm_eps);
    return PQ_OK;
}

int pq_config_read(struct pq_hparams *hp, const json_t *config, const struct pq_config_rule *rule,
                   struct pq_arena *a, struct pq_err *e)
{
    int rc;
    *hp = (struct pq_hparams){.bos = -1, .pad = -1};
    PQ_TRY(refuse_quantized(config, e));
    PQ_TRY(read_switches(config, rule->must_be_false, e));
    PQ_TRY(read_sizes(hp, config, e));
    PQ_TRY(read_heads(hp, e));
    PQ_TRY(read_act(hp, config, rule->act, e));
    PQ_TRY(read_norm(hp, config, rule, e));
    PQ_TRY(read_dtype(hp, config, e));
    PQ_TRY(pq_json_bool(config, "tie_word_embeddings", &hp->tied, PQ_CONFIG_FILE, e));
    PQ_TRY(pq_config_rope(hp, config, rule, a, e));
    PQ_TRY(pq_config_ids(hp, config, PQ_CONFIG_FILE, e));
out:
    return rc;
}

static int check_id(const json_t *j, const struct pq_hparams *hp, const char *key, const char *file,
                    int64_t *id, struct pq_err *e)
{
    if (!json_is_integer(j))
        return pq_fail(e, PQ_EFORMAT, "%s: %s is not an integer", file, key);
    *id = json_integer_value(j);
    if (*id < -1 || *id >= (int64_t)hp->vocab)
        return pq_fail(e, PQ_EFORMAT, "%s: %s is %lld, expected below vocab_size %u", file, key,
                       (long long)*id, hp->vocab);
    return PQ_OK;
}

static int read_id(const struct pq_hparams *hp, const json_t *obj, const char *key,
                   const char *file, int64_t *id, struct pq_err *e)
{
    const json_t *j = json_object_get(obj, key);
    if (!j || json_is_null(j) || *id >= 0)
        return PQ_OK;
    return check_id(j, hp, key, file, id, e);
}

static int add_eos(struct pq_hparams *hp, const json_t *j, const char *file, struct pq_err *e)
{
    int64_t id = 0;
    int rc = check_id(j, hp, "eos_token_id", file, &id, e);
    if (rc < 0 || id < 0)
        return rc;
    for (int i = 0; i < hp->n_eos; i++)
        if (hp->eos[i] == id)
            return PQ_OK;
    if (hp->n_eos == PQ_MAX_EOS)
        return pq_fail(e, PQ_EUNSUPPORTED, "%s: more than %d stop tokens", file, PQ_MAX_EOS);
    hp->eos[hp->n_eos++] = id;
    return PQ_OK;
}

int pq_config_ids(struct pq_hparams *hp, const json_t *obj, const char *file, struct pq_err *e)
{
    int rc;
    PQ_TRY(read_id(hp, obj, "bos_token_id", file, &hp->bos, e));
    PQ_TRY(read_id(hp, obj, "pad_token_id", file, &hp->pad, e));
    const json_t *eos = json_object_get(obj, "eos_token_id");
    if (!eos || json_is_null(eos))
        return PQ_OK;
    if (!json_is_array(eos))
        return add_eos(hp, eos, file, e);
    size_t i;
    const json_t *item;
    json_array_foreach(eos, i, item)
    {
        PQ_TRY(add_eos(hp, item, file, e));
    }
out:
    return rc;
}
