/*
 * PhiForCausalLM: one LayerNorm feeds attention and feed-forward side by side, biases everywhere
 * (the head too), partial rotation, tanh GELU without gating.
 * Tensor names: modeling_phi of transformers. SPDX-License-Identifier: MIT
 */
#include "arch/config.h"

static const struct pq_map_row map[] = {
    {PQ_ROLE_EMBED, false, "model.embed_tokens.weight", NULL},
    {PQ_ROLE_ATTN_NORM, true, "model.layers.%d.input_layernorm.weight", NULL},
    {PQ_ROLE_ATTN_NORM_BIAS, true, "model.layers.%d.input_layernorm.bias", NULL},
    {PQ_ROLE_ATTN_Q, true, "model.layers.%d.self_attn.q_proj.weight", NULL},
    {PQ_ROLE_ATTN_Q_BIAS, true, "model.layers.%d.self_attn.q_proj.bias", NULL},
    {PQ_ROLE_ATTN_K, true, "model.layers.%d.self_attn.k_proj.weight", NULL},
    {PQ_ROLE_ATTN_K_BIAS, true, "model.layers.%d.self_attn.k_proj.bias", NULL},
    {PQ_ROLE_ATTN_V, true, "model.layers.%d.self_attn.v_proj.weight", NULL},
    {PQ_ROLE_ATTN_V_BIAS, true, "model.layers.%d.self_attn.v_proj.bias", NULL},
    {PQ_ROLE_ATTN_OUT, true, "model.layers.%d.self_attn.dense.weight", NULL},
    {PQ_ROLE_ATTN_OUT_BIAS, true, "model.layers.%d.self_attn.dense.bias", NULL},
    {PQ_ROLE_FFN_UP, true, "model.layers.%d.mlp.fc1.weight", NULL},
    {PQ_ROLE_FFN_UP_BIAS, true, "model.layers.%d.mlp.fc1.bias", NULL},
    {PQ_ROLE_FFN_DOWN, true, "model.layers.%d.mlp.fc2.weight", NULL},
    {PQ_ROLE_FFN_DOWN_BIAS, true, "model.layers.%d.mlp.fc2.bias", NULL},
    {PQ_ROLE_FINAL_NORM, false, "model.final_layernorm.weight", NULL},
    {PQ_ROLE_FINAL_NORM_BIAS, false, "model.final_layernorm.bias", NULL},
    {PQ_ROLE_HEAD, false, "lm_head.weight", NULL},
    {PQ_ROLE_HEAD_BIAS, false, "lm_head.bias", NULL},
    {.name = NULL},
};

static const char *const must_be_false[] = {"qk_layernorm", NULL};

static const struct pq_config_rule rule = {
    .eps_key = "layer_norm_eps",
    .norm = PQ_NORM_LAYER,
    .act = PQ_ACT_GELU_TANH,
    .partial_rotary = 0.5,
    .must_be_false = must_be_false,
};

static int configure(struct pq_hparams *hp, const json_t *config, struct pq_arena *a,
                     struct pq_err *e)
{
    int rc = pq_config_read(hp, config, &rule, a, e);
    hp->parallel = true;
    return rc;
}

static const char *const classes[] = {"PhiForCausalLM", NULL};

const struct pq_arch pq_arch_phi = {
    .name = "phi",
    .about = "Phi-1, Phi-1.5, Phi-2",
    .classes = classes,
    .configure = configure,
    .map = map,
};
