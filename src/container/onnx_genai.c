/*
 * genai_config.json, in the keys that the oldest releases of onnxruntime-genai know: its parser
 * refuses what it does not know. Source: src/config.cpp of onnxruntime-genai.
 * SPDX-License-Identifier: MIT
 */
#include "container/onnx.h"

/* The cache is allocated for this many tokens at once: a model's whole context can take more
 * memory than the machine has. Callers may ask for more. */
#define MAX_LENGTH 4096

static json_t *ids(const struct pq_hparams *hp)
{
    if (hp->n_eos == 1)
        return json_integer(hp->eos[0]);
    json_t *list = json_array();
    for (int i = 0; i < hp->n_eos; i++)
        json_array_append_new(list, json_integer(hp->eos[i]));
    return list;
}

static json_t *provider_options(const struct pq_onnx_provider *p)
{
    json_t *list = json_array();
    if (p->options) {
        json_t *one = json_object();
        json_object_set_new(one, p->name, json_loads(p->options, 0, NULL));
        json_array_append_new(list, one);
    }
    return list;
}

static json_t *decoder(const struct pq_onnx_build *b)
{
    const struct pq_hparams *hp = &b->m->net.hp;
    json_t *in = json_pack("{s:s, s:s, s:s, s:s}", "input_ids", "input_ids", "attention_mask",
                           "attention_mask", "past_key_names", "past_key_values.%d.key",
                           "past_value_names", "past_key_values.%d.value");
    json_t *out = json_pack("{s:s, s:s, s:s}", "logits", "logits", "present_key_names",
                            "present.%d.key", "present_value_names", "present.%d.value");
    if (!b->provider->rotates)
        json_object_set_new(in, "position_ids", json_string("position_ids"));
    return json_pack("{s:{s:s, s:o}, s:s, s:i, s:i, s:i, s:i, s:i, s:o, s:o}", "session_options",
                     "log_id", "onnxruntime-genai", "provider_options",
                     provider_options(b->provider), "filename", PQ_ONNX_MODEL, "head_size",
                     (int)hp->head_dim, "hidden_size", (int)hp->hidden, "num_attention_heads",
                     (int)hp->n_heads, "num_hidden_layers", (int)hp->n_layers,
                     "num_key_value_heads", (int)hp->n_kv_heads, "inputs", in, "outputs", out);
}

static double setting(const struct pq_onnx_build *b, const char *key, double usual)
{
    const json_t *v = json_object_get(b->m->generation, key);
    return json_is_number(v) ? json_number_value(v) : usual;
}

static json_t *search(const struct pq_onnx_build *b)
{
    const struct pq_hparams *hp = &b->m->net.hp;
    const uint32_t length = hp->max_position < MAX_LENGTH ? hp->max_position : MAX_LENGTH;
    const bool sample = json_is_true(json_object_get(b->m->generation, "do_sample"));
    json_t *j =
        json_pack("{s:b, s:b, s:i, s:i, s:i, s:i, s:b}", "do_sample", sample, "early_stopping", 1,
                  "max_length", (int)length, "min_length", 0, "num_beams", 1,
                  "num_return_sequences", 1, "past_present_share_buffer", 1);
    json_object_set_new(j, "diversity_penalty", json_real(0));
    json_object_set_new(j, "length_penalty", json_real(1));
    json_object_set_new(j, "no_repeat_ngram_size", json_integer(0));
    json_object_set_new(j, "repetition_penalty", json_real(setting(b, "repetition_penalty", 1)));
    json_object_set_new(j, "temperature", json_real(setting(b, "temperature", 1)));
    json_object_set_new(j, "top_k", json_integer((json_int_t)setting(b, "top_k", 50)));
    json_object_set_new(j, "top_p", json_real(setting(b, "top_p", 1)));
    return j;
}

json_t *pq_onnx_genai(const struct pq_onnx_build *b)
{
    const struct pq_hparams *hp = &b->m->net.hp;
    const int64_t eos = hp->n_eos ? hp->eos[0] : 0;
    return json_pack("{s:{s:I, s:i, s:o, s:I, s:s, s:i, s:o}, s:o}", "model", "bos_token_id",
                     (json_int_t)(hp->bos < 0 ? eos : hp->bos), "context_length",
                     (int)hp->max_position, "eos_token_id", ids(hp), "pad_token_id",
                     (json_int_t)(hp->pad < 0 ? eos : hp->pad), "type", b->m->net.arch->name,
                     "vocab_size", (int)hp->vocab, "decoder", decoder(b), "search", search(b));
}
