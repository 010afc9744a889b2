/* config.json and generation_config.json in the published form, for sources that have none.
 * SPDX-License-Identifier: MIT */
#include "arch/config.h"

#include <stdio.h>
#include <stdlib.h>

/* The shortest decimal that gives the same float32; doubles that are not float32 stay as they are.
 * GGUF stores float32, and 1e-05 reads better than 9.999999747378752e-06. */
static json_t *number(double x)
{
    char text[32];
    if ((double)(float)x != x)
        return json_real(x);
    for (int digits = 1; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, x);
        if (strtof(text, NULL) == (float)x)
            break;
    }
    return json_real(strtod(text, NULL));
}

static json_t *factors(const float *f, uint32_t n)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < n; i++)
        json_array_append_new(list, number(f[i]));
    return list;
}

static json_t *scaling(const struct pq_hparams *hp)
{
    if (hp->rope != PQ_ROPE_LONGROPE)
        return json_null();
    json_t *j = json_object();
    json_object_set_new(j, "type", json_string("longrope"));
    json_object_set_new(j, "long_factor", factors(hp->long_factor, hp->rot_dims / 2));
    json_object_set_new(j, "short_factor", factors(hp->short_factor, hp->rot_dims / 2));
    /* The usual value stays unsaid: transformers 4 accepts no fourth member. 0 is "not known yet".
     */
    if (hp->attn_factor > 0 && (float)hp->attn_factor != (float)pq_longrope_factor(hp))
        json_object_set_new(j, "attention_factor", number(hp->attn_factor));
    return j;
}

static json_t *id_or_null(int64_t id)
{
    return id < 0 ? json_null() : json_integer(id);
}

static void put_ids(json_t *j, const struct pq_hparams *hp)
{
    json_object_set_new(j, "bos_token_id", id_or_null(hp->bos));
    json_object_set_new(j, "pad_token_id", id_or_null(hp->pad));
    if (hp->n_eos <= 1) {
        json_object_set_new(j, "eos_token_id", id_or_null(hp->n_eos ? hp->eos[0] : -1));
        return;
    }
    json_t *list = json_array();
    for (int i = 0; i < hp->n_eos; i++)
        json_array_append_new(list, json_integer(hp->eos[i]));
    json_object_set_new(j, "eos_token_id", list);
}

static void put_sizes(json_t *j, const struct pq_hparams *hp)
{
    json_object_set_new(j, "num_hidden_layers", json_integer(hp->n_layers));
    json_object_set_new(j, "hidden_size", json_integer(hp->hidden));
    json_object_set_new(j, "intermediate_size", json_integer(hp->ff));
    json_object_set_new(j, "num_attention_heads", json_integer(hp->n_heads));
    json_object_set_new(j, "num_key_value_heads", json_integer(hp->n_kv_heads));
    if ((uint64_t)hp->head_dim * hp->n_heads != hp->hidden)
        json_object_set_new(j, "head_dim", json_integer(hp->head_dim));
    json_object_set_new(j, "vocab_size", json_integer(hp->vocab));
    json_object_set_new(j, "max_position_embeddings", json_integer(hp->max_position));
    json_object_set_new(j, "sliding_window",
                        hp->sliding_window ? json_integer(hp->sliding_window) : json_null());
}

/* The rotated share as a fraction that gives rot_dims back: floor(head_dim * share). */
static double rotated_share(const struct pq_hparams *hp)
{
    double share = (double)hp->rot_dims / hp->head_dim;
    while ((uint32_t)(hp->head_dim * share) < hp->rot_dims)
        share += 1e-9;
    return share;
}

static void put_rope(json_t *j, const struct pq_network *net)
{
    const struct pq_hparams *hp = &net->hp;
    json_object_set_new(j, "rope_theta", number(hp->rope_theta));
    json_object_set_new(j, "partial_rotary_factor", json_real(rotated_share(hp)));
    json_object_set_new(j, "rope_scaling", scaling(hp));
    if (net->arch == &pq_arch_phi3) /* Phi-3 has it always, Phi never */
        json_object_set_new(j, "original_max_position_embeddings",
                            json_integer(hp->original_max_position));
}

json_t *pq_network_config(const struct pq_network *net)
{
    const struct pq_hparams *hp = &net->hp;
    json_t *j = json_object();
    json_object_set_new(j, "architectures", json_pack("[s]", net->arch->classes[0]));
    json_object_set_new(j, "model_type", json_string(net->arch->name));
    json_object_set_new(j, "hidden_act", json_string(pq_act_names[hp->act][0]));
    json_object_set_new(j, hp->norm == PQ_NORM_RMS ? "rms_norm_eps" : "layer_norm_eps",
                        number(hp->norm_eps));
    json_object_set_new(j, "tie_word_embeddings", json_boolean(hp->tied));
    json_object_set_new(j, "torch_dtype", json_string(hp->dtype ? hp->dtype : "bfloat16"));
    json_object_set_new(j, "use_cache", json_true());
    put_sizes(j, hp);
    put_rope(j, net);
    put_ids(j, hp);
    return j;
}

json_t *pq_network_generation(const struct pq_network *net)
{
    json_t *j = json_object();
    json_object_set_new(j, "_from_model_config", json_true());
    put_ids(j, &net->hp);
    return j;
}
