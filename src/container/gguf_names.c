/*
 * Names of a network's tensors in GGUF files. Source: llama.cpp's tensor table (src/llama-arch.cpp)
 * and its loaders of phi2 and phi3. SPDX-License-Identifier: MIT
 */
#include "container/common.h"

/* phi3's stacked gate and up go by the name of "up": its loader expects 2 ff rows there. */
static const char *const names[PQ_ROLES] = {
    [PQ_ROLE_EMBED] = "token_embd.weight",
    [PQ_ROLE_HEAD] = "output.weight",
    [PQ_ROLE_HEAD_BIAS] = "output.bias",
    [PQ_ROLE_ATTN_NORM] = "blk.%d.attn_norm.weight",
    [PQ_ROLE_ATTN_NORM_BIAS] = "blk.%d.attn_norm.bias",
    [PQ_ROLE_ATTN_QKV] = "blk.%d.attn_qkv.weight",
    [PQ_ROLE_ATTN_Q] = "blk.%d.attn_q.weight",
    [PQ_ROLE_ATTN_Q_BIAS] = "blk.%d.attn_q.bias",
    [PQ_ROLE_ATTN_K] = "blk.%d.attn_k.weight",
    [PQ_ROLE_ATTN_K_BIAS] = "blk.%d.attn_k.bias",
    [PQ_ROLE_ATTN_V] = "blk.%d.attn_v.weight",
    [PQ_ROLE_ATTN_V_BIAS] = "blk.%d.attn_v.bias",
    [PQ_ROLE_ATTN_OUT] = "blk.%d.attn_output.weight",
    [PQ_ROLE_ATTN_OUT_BIAS] = "blk.%d.attn_output.bias",
    [PQ_ROLE_FFN_NORM] = "blk.%d.ffn_norm.weight",
    [PQ_ROLE_FFN_GATE_UP] = "blk.%d.ffn_up.weight",
    [PQ_ROLE_FFN_UP] = "blk.%d.ffn_up.weight",
    [PQ_ROLE_FFN_UP_BIAS] = "blk.%d.ffn_up.bias",
    [PQ_ROLE_FFN_DOWN] = "blk.%d.ffn_down.weight",
    [PQ_ROLE_FFN_DOWN_BIAS] = "blk.%d.ffn_down.bias",
    [PQ_ROLE_FINAL_NORM] = "output_norm.weight",
    [PQ_ROLE_FINAL_NORM_BIAS] = "output_norm.bias",
};

const char *pq_gguf_tensor_name(struct pq_arena *a, enum pq_role role, int layer)
{
    const char *form = names[role], *hole = strchr(form, '%');
    if (!hole)
        return form;
    return pq_arena_printf(a, "%.*s%d%s", (int)(hole - form), form, layer, hole + 2);
}

/* model_type of config.json, and what llama.cpp calls the same. */
static const char *const archs[][2] = {{"phi3", "phi3"}, {"phi", "phi2"}};

const char *pq_gguf_arch_name(const char *model_type)
{
    for (size_t i = 0; i < PQ_LEN(archs); i++)
        if (!strcmp(archs[i][0], model_type))
            return archs[i][1];
    return NULL;
}

const char *pq_gguf_model_type(const char *arch, uint64_t len)
{
    for (size_t i = 0; i < PQ_LEN(archs); i++)
        if (strlen(archs[i][1]) == len && !memcmp(archs[i][1], arch, (size_t)len))
            return archs[i][0];
    return NULL;
}
