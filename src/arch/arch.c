/* The table of architectures, and words for those that are not in it. SPDX-License-Identifier: MIT
 */
#include "arch/config.h"
#include "base/num.h"

const struct pq_arch *const pq_archs[] = {&pq_arch_phi3, &pq_arch_phi, NULL};

/* Phi models by class or model_type that phiq knows of and cannot read yet. */
static const struct refusal {
    const char *name; /* an `architectures` entry or a model_type */
    const char *lacks;
} refusals[] = {
    {"PhiMoEForCausalLM", "mixture of experts is not supported yet"},
    {"PhimoeForCausalLM", "mixture of experts is not supported yet"},
    {"GRINMoEForCausalLM", "mixture of experts is not supported yet"},
    {"phimoe", "mixture of experts is not supported yet"},
    {"grinmoe", "mixture of experts is not supported yet"},
    {"phixtral", "mixture of experts is not supported yet"},
    {"Phi3SmallForCausalLM", "block-sparse attention is not supported yet"},
    {"phi3small", "block-sparse attention is not supported yet"},
    {"Phi3VForCausalLM", "the vision encoder is not supported yet"},
    {"phi3_v", "the vision encoder is not supported yet"},
    {"Phi4ForCausalLMV", "the vision encoder is not supported yet"},
    {"phi4-siglip", "the vision encoder is not supported yet"},
    {"Phi4MMForCausalLM", "vision, speech and their LoRA parts are not supported yet"},
    {"Phi4MultimodalForCausalLM", "vision, speech and their LoRA parts are not supported yet"},
    {"phi4mm", "vision, speech and their LoRA parts are not supported yet"},
    {"phi4_multimodal", "vision, speech and their LoRA parts are not supported yet"},
    {"Phi4FlashForCausalLM", "state-space layers and differential attention are not supported yet"},
    {"phi4flash", "state-space layers and differential attention are not supported yet"},
    {"MixFormerSequentialForCausalLM", "this layout of 2023 was replaced by PhiForCausalLM; "
                                       "take the current revision of the model"},
    {"mixformer-sequential", "this layout of 2023 was replaced by PhiForCausalLM; take the current "
                             "revision of the model"},
    {"phi-msft", "this layout of 2023 (transformer.h.N.mixer.Wqkv) was replaced by PhiForCausalLM; "
                 "take the current revision of the model"},
    {"LlamaForCausalLM", "not a Phi class. A \"llamafied\" Phi is read when its config.json says "
                         "Phi3ForCausalLM and model_type phi3; the split q, k, v are accepted"},
};

static const char *model_type(const json_t *config)
{
    const char *s = json_string_value(json_object_get(config, "model_type"));
    return s ? s : "";
}

/* The names that the config gives itself: model_type first, then the classes. */
static const char *name_at(const json_t *config, size_t i)
{
    if (i == 0)
        return model_type(config);
    const char *s =
        json_string_value(json_array_get(json_object_get(config, "architectures"), i - 1));
    return s ? s : "";
}

static size_t n_names(const json_t *config)
{
    return 1 + json_array_size(json_object_get(config, "architectures"));
}

static int refuse_known(const json_t *config, struct pq_err *e)
{
    for (size_t i = 0; i < n_names(config); i++)
        for (size_t k = 0; k < PQ_LEN(refusals); k++)
            if (!strcmp(name_at(config, i), refusals[k].name))
                return pq_fail(e, PQ_EUNSUPPORTED, "%s: %s: %s", PQ_CONFIG_FILE, refusals[k].name,
                               refusals[k].lacks);
    return PQ_OK;
}

static bool has_class(const struct pq_arch *arch, const char *name)
{
    for (const char *const *c = arch->classes; *c; c++)
        if (!strcmp(*c, name))
            return true;
    return false;
}

static const struct pq_arch *by_class(const json_t *config)
{
    for (size_t i = 1; i < n_names(config); i++)
        for (const struct pq_arch *const *a = pq_archs; *a; a++)
            if (has_class(*a, name_at(config, i)))
                return *a;
    return NULL;
}

static const struct pq_arch *by_type(const json_t *config)
{
    for (const struct pq_arch *const *a = pq_archs; *a; a++)
        if (!strcmp((*a)->name, model_type(config)))
            return *a;
    return NULL;
}

static bool names_phi(const char *s)
{
    for (; *s; s++)
        if ((s[0] | 32) == 'p' && (s[1] | 32) == 'h' && (s[2] | 32) == 'i')
            return true;
    return false;
}

static int refuse_unknown(const json_t *config, struct pq_err *e)
{
    const char *type = model_type(config), *cls = n_names(config) > 1 ? name_at(config, 1) : "";
    if (!*type && !*cls)
        return pq_fail(e, PQ_EFORMAT, "%s: neither architectures nor model_type", PQ_CONFIG_FILE);
    if (by_type(config))
        return pq_fail(e, PQ_EUNSUPPORTED,
                       "%s: architectures [%s] with model_type %s is not a causal language model",
                       PQ_CONFIG_FILE, cls, type);
    if (names_phi(type) || names_phi(cls))
        return pq_fail(e, PQ_EUNSUPPORTED,
                       "%s: architectures [%s], model_type %s: a kind of Phi that is not known yet",
                       PQ_CONFIG_FILE, cls, type);
    return pq_fail(e, PQ_EUNSUPPORTED, "%s: not a Phi model: architectures [%s], model_type %s",
                   PQ_CONFIG_FILE, cls, type);
}

int pq_arch_find(const struct pq_arch **out, const json_t *config, struct pq_err *e)
{
    if (!json_is_object(config))
        return pq_fail(e, PQ_EFORMAT, "%s: not an object", PQ_CONFIG_FILE);
    int rc = refuse_known(config, e);
    if (rc < 0)
        return rc;
    *out = n_names(config) > 1 ? by_class(config) : by_type(config);
    return *out ? PQ_OK : refuse_unknown(config, e);
}
