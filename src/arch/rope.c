/*
 * Rotary positions: the published form (rope_theta, rope_scaling at the top level) and the form of
 * transformers 5 (everything inside rope_parameters). Rule and attention factor: the LongRoPE
 * section of modeling_rope_utils in transformers. SPDX-License-Identifier: MIT
 */
#include "arch/config.h"
#include "base/num.h"

#include <math.h>

/* The object that holds the scaling: rope_parameters or rope_scaling, or NULL. */
static int scaling_object(const json_t *config, const json_t **out, struct pq_err *e)
{
    static const char *const keys[] = {"rope_scaling", "rope_parameters"};
    *out = NULL;
    for (size_t i = 0; i < PQ_LEN(keys) && !*out; i++) {
        const json_t *j = json_object_get(config, keys[i]);
        if (!j || json_is_null(j))
            continue;
        if (!json_is_object(j))
            return pq_fail(e, PQ_EFORMAT, "%s: %s is not an object", PQ_CONFIG_FILE, keys[i]);
        *out = j;
    }
    return PQ_OK;
}

/* A number that may lie inside the scaling object or at the top level. */
static int rope_number(const json_t *config, const json_t *scaling, const char *key, double *v,
                       struct pq_err *e)
{
    int rc = pq_json_f64(config, key, v, PQ_CONFIG_FILE, e);
    if (rc < 0 || !scaling)
        return rc;
    return pq_json_f64(scaling, key, v, PQ_CONFIG_FILE, e);
}

static int read_kind(struct pq_hparams *hp, const json_t *scaling, const struct pq_config_rule *r,
                     struct pq_err *e)
{
    /* Phi's "su" and "yarn" are early names of the same rule. */
    static const char *const longrope[] = {"longrope", "su", "yarn"};
    const char *type = "default";
    int rc = pq_json_str(scaling, "type", &type, PQ_CONFIG_FILE, e);
    if (rc == PQ_OK)
        rc = pq_json_str(scaling, "rope_type", &type, PQ_CONFIG_FILE, e);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < PQ_LEN(longrope) && r->has_longrope; i++)
        if (!strcmp(type, longrope[i])) {
            hp->rope = PQ_ROPE_LONGROPE;
            return PQ_OK;
        }
    if (strcmp(type, "default"))
        return pq_fail(e, PQ_EUNSUPPORTED, "%s: rope_scaling of type \"%s\" is not supported",
                       PQ_CONFIG_FILE, type);
    if (json_object_get(scaling, "long_factor"))
        return pq_fail(e, PQ_EFORMAT, "%s: rope_scaling has long_factor but no type \"longrope\"",
                       PQ_CONFIG_FILE);
    return PQ_OK;
}

static int read_factors(const json_t *scaling, const char *key, uint32_t n, struct pq_arena *a,
                        float **out, struct pq_err *e)
{
    const json_t *list = json_object_get(scaling, key);
    if (!json_is_array(list))
        return pq_fail(e, PQ_EFORMAT, "%s: rope_scaling: %s is missing or not a list",
                       PQ_CONFIG_FILE, key);
    if (json_array_size(list) != n)
        return pq_fail(e, PQ_EFORMAT,
                       "%s: rope_scaling: %s has %zu numbers, expected %u (half of the rotated "
                       "dimensions)",
                       PQ_CONFIG_FILE, key, json_array_size(list), n);
    float *f = (float *)pq_arena_alloc(a, n, sizeof *f);
    if (!f)
        return pq_fail(e, PQ_ENOMEM, "out of memory");
    for (uint32_t i = 0; i < n; i++) {
        const json_t *j = json_array_get(list, i);
        f[i] = json_is_number(j) ? (float)json_number_value(j) : 0;
        if (!(f[i] > 0 && f[i] < INFINITY))
            return pq_fail(e, PQ_EFORMAT, "%s: rope_scaling: %s[%u] is not a positive number",
                           PQ_CONFIG_FILE, key, i);
    }
    *out = f;
    return PQ_OK;
}

/* original_max_position_embeddings lies at the top level (phi3) or inside (rope_parameters). */
static int read_original(struct pq_hparams *hp, const json_t *config, const json_t *scaling,
                         struct pq_err *e)
{
    static const char key[] = "original_max_position_embeddings";
    uint32_t original = 0;
    int rc = pq_config_u32(scaling, key, 2, 1u << 30, &original, e);
    if (rc == PQ_OK)
        rc = pq_config_u32(config, key, 2, 1u << 30, &original, e);
    if (rc < 0)
        return rc;
    if (!original)
        return pq_fail(e, PQ_EFORMAT, "%s: %s is missing, LongRoPE needs it", PQ_CONFIG_FILE, key);
    hp->original_max_position = original;
    return PQ_OK;
}

double pq_longrope_factor(const struct pq_hparams *hp)
{
    double max = hp->max_position, original = hp->original_max_position;
    return max > original ? sqrt(1 + log(max / original) / log(original)) : 1;
}

static int read_attn_factor(struct pq_hparams *hp, const json_t *scaling, struct pq_err *e)
{
    hp->attn_factor = pq_longrope_factor(hp);
    int rc = pq_json_f64(scaling, "attention_factor", &hp->attn_factor, PQ_CONFIG_FILE, e);
    if (rc < 0)
        return rc;
    if (!(hp->attn_factor > 0 && hp->attn_factor < 1e3))
        return pq_fail(e, PQ_EFORMAT, "%s: attention_factor is %g, expected a positive number",
                       PQ_CONFIG_FILE, hp->attn_factor);
    return PQ_OK;
}

static int read_longrope(struct pq_hparams *hp, const json_t *config, const json_t *scaling,
                         struct pq_arena *a, struct pq_err *e)
{
    int rc;
    PQ_TRY(read_factors(scaling, "long_factor", hp->rot_dims / 2, a, &hp->long_factor, e));
    PQ_TRY(read_factors(scaling, "short_factor", hp->rot_dims / 2, a, &hp->short_factor, e));
    PQ_TRY(read_original(hp, config, scaling, e));
    PQ_TRY(read_attn_factor(hp, scaling, e));
out:
    return rc;
}

static int read_plain(struct pq_hparams *hp, const json_t *config, const json_t *scaling,
                      const struct pq_config_rule *rule, struct pq_err *e)
{
    double partial = rule->partial_rotary;
    hp->rope_theta = 10000;
    int rc = rope_number(config, scaling, "rope_theta", &hp->rope_theta, e);
    if (rc == PQ_OK)
        rc = rope_number(config, scaling, "partial_rotary_factor", &partial, e);
    if (rc < 0)
        return rc;
    if (!(hp->rope_theta > 1 && hp->rope_theta < 1e12))
        return pq_fail(e, PQ_EFORMAT, "%s: rope_theta is %g, expected above 1", PQ_CONFIG_FILE,
                       hp->rope_theta);
    if (!(partial > 0 && partial <= 1))
        return pq_fail(e, PQ_EFORMAT,
                       "%s: partial_rotary_factor is %g, expected above 0 and at most 1",
                       PQ_CONFIG_FILE, partial);
    hp->rot_dims = (uint32_t)(hp->head_dim * partial);
    if (!hp->rot_dims || hp->rot_dims % 2)
        return pq_fail(e, PQ_EFORMAT,
                       "%s: partial_rotary_factor %g of head_dim %u rotates %u dimensions, "
                       "expected an even number",
                       PQ_CONFIG_FILE, partial, hp->head_dim, hp->rot_dims);
    return PQ_OK;
}

int pq_config_rope(struct pq_hparams *hp, const json_t *config, const struct pq_config_rule *rule,
                   struct pq_arena *a, struct pq_err *e)
{
    const json_t *scaling;
    int rc;
    hp->original_max_position = hp->max_position;
    hp->attn_factor = 1;
    PQ_TRY(scaling_object(config, &scaling, e));
    PQ_TRY(read_plain(hp, config, scaling, rule, e));
    if (!scaling)
        return PQ_OK;
    PQ_TRY(read_kind(hp, scaling, rule, e));
    if (hp->rope == PQ_ROPE_LONGROPE)
        PQ_TRY(read_longrope(hp, config, scaling, a, e));
out:
    return rc;
}
