/*
 * Phi3ForCausalLM: RMSNorm before each branch, fused q|k|v and gate|up, SiLU gating, no biases;
 * optional LongRoPE, partial rotation, grouped keys and a tied head.
 * Tensor names: modeling_phi3 of transformers. SPDX-License-Identifier: MIT
 */
#include "arch/config.h"

static const char *const split_qkv[] = {
    "model.layers.%d.self_attn.q_proj.weight",
    "model.layers.%d.self_attn.k_proj.weight",
    "model.layers.%d.self_attn.v_proj.weight",
    NULL,
};
static const char *const split_gate_up[] = {
    "model.layers.%d.mlp.gate_proj.weight",
    "model.layers.%d.mlp.up_proj.weight",
    NULL,
};

static const struct pq_map_row map[] = {
    {PQ_ROLE_EMBED, false, "model.embed_tokens.weight", NULL},
    {PQ_ROLE_ATTN_NORM, true, "model.layers.%d.input_layernorm.weight", NULL},
    {PQ_ROLE_ATTN_QKV, true, "model.layers.%d.self_attn.qkv_proj.weight", split_qkv},
    {PQ_ROLE_ATTN_OUT, true, "model.layers.%d.self_attn.o_proj.weight", NULL},
    {PQ_ROLE_FFN_NORM, true, "model.layers.%d.post_attention_layernorm.weight", NULL},
    {PQ_ROLE_FFN_GATE_UP, true, "model.layers.%d.mlp.gate_up_proj.weight", split_gate_up},
    {PQ_ROLE_FFN_DOWN, true, "model.layers.%d.mlp.down_proj.weight", NULL},
    {PQ_ROLE_FINAL_NORM, false, "model.norm.weight", NULL},
    {PQ_ROLE_HEAD, false, "lm_head.weight", NULL},
    {.name = NULL},
};

static const char *const must_be_false[] = {"attention_bias", "mlp_bias", "lm_head_bias",
                                            "qk_layernorm", NULL};

static const struct pq_config_rule rule = {
    .eps_key = "rms_norm_eps",
    .norm = PQ_NORM_RMS,
    .act = PQ_ACT_SILU,
    .partial_rotary = 1,
    .has_longrope = true,
    .must_be_false = must_be_false,
};

static int configure(struct pq_hparams *hp, const json_t *config, struct pq_arena *a,
                     struct pq_err *e)
{
    return pq_config_read(hp, config, &rule, a, e);
}

static const char *const classes[] = {"Phi3ForCausalLM", NULL};

const struct pq_arch pq_arch_phi3 = {
    .name = "phi3",
    .about = "Phi-3-mini, Phi-3-medium, Phi-3.5-mini, Phi-4, Phi-4-reasoning, Phi-4-mini",
    .classes = classes,
    .configure = configure,
    .map = map,
};
