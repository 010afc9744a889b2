/*
 * What each precision costs on disk and in memory, and which one a device should run. Bytes are
 * exact: they come from the plan that quantize would follow. Memory is bytes plus the key/value
 * cache (16-bit, as the runtimes keep it by default) plus room for activations.
 * SPDX-License-Identifier: MIT
 */
#include "base/num.h"
#include "inspect/inspect.h"

#include <stdio.h>
#include <string.h>

static const double GB = 1e9;

const struct pq_device pq_devices[] = {
    {"phone",
     "a phone or tablet",
     8e9,
     0.5,
     "gguf",
     {"int4"},
     "Phones run INT4: memory and battery go by bytes read per token."},
    {"iot",
     "a small board or edge device",
     4e9,
     0.6,
     "gguf",
     {"int4"},
     "IoT boards run INT4; keep the context short, the cache grows with it."},
    {"aipc",
     "an AI PC (CPU, integrated GPU or NPU)",
     16e9,
     0.6,
     "gguf",
     {"fp32", "fp16", "int8", "int4"},
     "AI PCs take the best precision that fits: FP32, FP16 or INT8, else INT4."},
    {"mac",
     "a Mac with unified memory",
     16e9,
     0.65,
     "mlx",
     {"bf16", "int8", "int4"},
     "On a Mac use the MLX folder; BF16 if it fits, else INT8, else INT4."},
    {"cuda",
     "a GPU with its own memory",
     8e9,
     0.9,
     "gguf",
     {"bf16", "int8", "int4"},
     "All layers must fit the GPU's memory together with the cache."},
    {0},
};

/* Keys and values of all layers for n tokens at 16 bits. */
static double cache_bytes(const struct pq_hparams *hp, double tokens)
{
    return tokens * 2 * 2 * (double)hp->n_layers * (double)hp->n_kv_heads * (double)hp->head_dim;
}

/* Scratch for one batch of 512 tokens: hidden state, feed-forward and logits of the last one. */
static double activation_bytes(const struct pq_hparams *hp)
{
    return 512.0 * 4 * (2.0 * hp->ff + 4.0 * hp->hidden) + 4.0 * hp->vocab;
}

static int plan_bytes(double *bytes, struct pq_model *m, const struct pq_container *c,
                      const struct pq_recipe *recipe, struct pq_err *e)
{
    int rc = PQ_OK;
    struct pq_plan plan = {0};
    struct pq_request q = {.recipe = recipe};
    const struct pq_scheme **choice =
        (const struct pq_scheme **)pq_calloc(m->net.n_tensors, sizeof *choice);
    if (!choice)
        return pq_fail(e, PQ_ENOMEM, "out of memory while planning");
    PQ_TRY(pq_choose(c, m, &q, choice, e));
    PQ_TRY(c->plan(&plan, m, &q, choice, e));
    *bytes = (double)pq_plan_bytes(&plan);
out:
    pq_plan_free(&plan);
    pq_free(choice);
    return rc;
}

/* A row per container and precision. */
static int rows_of(json_t *rows, struct pq_model *m, double cache, double limit, struct pq_err *e)
{
    for (size_t i = 0; pq_containers[i]; i++) {
        const struct pq_container *c = pq_containers[i];
        for (int p = 0; c->plan && p < PQ_PRECISIONS; p++) {
            double bytes = 0, ram;
            const struct pq_recipe *recipe = c->usual[p] ? pq_recipe_find(c, c->usual[p]) : NULL;
            int rc = recipe ? plan_bytes(&bytes, m, c, recipe, e) : PQ_OK;
            if (rc < 0)
                return rc;
            if (!recipe)
                continue;
            ram = bytes + cache + activation_bytes(&m->net.hp);
            json_t *row = json_pack("{s:s, s:s, s:s, s:I, s:f, s:I}", "target", c->name,
                                    "precision", pq_precision_name((enum pq_precision)p), "scheme",
                                    recipe->name, "bytes", (json_int_t)bytes, "bits_per_weight",
                                    bytes * 8 / (double)pq_network_weights(&m->net), "ram_bytes",
                                    (json_int_t)ram);
            if (limit > 0)
                json_object_set_new(row, "fits", json_boolean(ram <= limit));
            json_array_append_new(rows, row);
        }
    }
    return PQ_OK;
}

static const json_t *row_of(const json_t *rows, const char *target, const char *precision)
{
    size_t i;
    const json_t *row;
    json_array_foreach(rows, i, row)
    {
        if (!strcmp(json_string_value(json_object_get(row, "target")), target) &&
            !strcmp(json_string_value(json_object_get(row, "precision")), precision))
            return row;
    }
    return NULL;
}

/* The first precision in the device's order of preference that fits. */
static const json_t *best_row(const json_t *rows, const struct pq_device *d)
{
    for (size_t i = 0; i < PQ_LEN(d->precision) && d->precision[i]; i++) {
        const json_t *row = row_of(rows, d->container, d->precision[i]);
        if (row && json_is_true(json_object_get(row, "fits")))
            return row;
    }
    return NULL;
}

/* "7.6 GB", "310 MB" */
static const char *amount(double bytes, char buf[32])
{
    bool small = bytes < GB;
    snprintf(buf, 32, small ? "%.0f MB" : "%.1f GB", bytes / (small ? 1e6 : GB));
    return buf;
}

static json_t *advice(const json_t *rows, const struct pq_device *d, const struct pq_hparams *hp,
                      double limit, double tokens)
{
    char need_text[32], limit_text[32];
    const json_t *row = best_row(rows, d);
    amount(limit, limit_text);
    if (row)
        return json_sprintf(
            "%s Use --to %s --precision %s: about %s in memory with a context of %.0f tokens, of "
            "the %s that a model may take there.",
            d->advice, json_string_value(json_object_get(row, "target")),
            json_string_value(json_object_get(row, "precision")),
            amount(json_number_value(json_object_get(row, "ram_bytes")), need_text), tokens,
            limit_text);
    row = row_of(rows, d->container, "int4");
    double need = row ? json_number_value(json_object_get(row, "ram_bytes")) : 0;
    double cache = cache_bytes(hp, tokens);
    amount(need, need_text);
    if (need - cache < limit)
        return json_sprintf(
            "%s It does not fit with a context of %.0f tokens (INT4 needs %s of the %s), but does "
            "with up to about %.0f tokens.",
            d->advice, tokens, need_text, limit_text, (limit - need + cache) / cache_bytes(hp, 1));
    amount(need - cache, need_text);
    return json_sprintf("%s This model does not fit even at INT4 and without context (%s of the "
                        "%s): take a smaller Phi, a device with "
                        "more memory, or a smaller scheme such as gguf:q3_k_m or gguf:iq4_xs.",
                        d->advice, need_text, limit_text);
}

static int find_device(const struct pq_device **d, const char *name, struct pq_err *e)
{
    *d = NULL;
    for (const struct pq_device *p = pq_devices; name && p->name; p++)
        if (!strcmp(p->name, name))
            *d = p;
    return !name || *d
               ? PQ_OK
               : pq_fail(e, PQ_EINVAL,
                         "unknown device \"%s\": expected phone, iot, aipc, mac or cuda", name);
}

int pq_inspect_plan(json_t **out, const char *path, const char *device, uint64_t ram,
                    uint64_t context, struct pq_err *e)
{
    int rc = PQ_OK;
    struct pq_model *m = NULL;
    const struct pq_device *d;
    json_t *rows = json_array();
    *out = NULL;
    PQ_TRY(find_device(&d, device, e));
    PQ_TRY(pq_model_load(&m, path, e));
    const struct pq_hparams *hp = &m->net.hp;
    if (!d && ram)
        d = &pq_devices[2]; /* a plain amount of memory: a PC */
    double tokens = context ? (double)context : 4096;
    if (tokens > hp->max_position)
        tokens = hp->max_position;
    double limit = d ? (ram ? (double)ram : d->usual_ram) * d->share : 0;
    double cache = cache_bytes(hp, tokens);
    PQ_TRY(rows_of(rows, m, cache, limit, e));
    *out = json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:O}", "model", m->name, "architecture",
                     m->net.arch->name, "weights", (json_int_t)pq_network_weights(&m->net),
                     "context", (json_int_t)tokens, "cache_bytes", (json_int_t)cache,
                     "ram_limit_bytes", (json_int_t)limit, "choices", rows);
    if (*out && d) {
        json_object_set_new(*out, "device", json_string(d->name));
        json_object_set_new(*out, "advice", advice(rows, d, hp, limit, tokens));
    }
    if (!*out)
        rc = pq_fail(e, PQ_ENOMEM, "out of memory for the plan");
out:
    json_decref(rows);
    pq_model_free(m);
    return rc;
}
