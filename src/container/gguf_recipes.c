/*
 * GGUF's named mixes: which tensors a recipe lifts above its base scheme. The placement is that of
 * llama.cpp since its type selection was rewritten in 2026: a fused attn_qkv is treated as attn_v.
 * Source: llama.cpp src/llama-quant.cpp. Before that, attn_qkv had a rule of its own (Q4_K_M gave
 * it Q5_K in every layer), so older files of the same name differ. SPDX-License-Identifier: MIT
 */
#include "container/common.h"

#include <string.h>

/* LLAMA_FTYPE numbers: llama.cpp include/llama.h. */
const struct pq_recipe pq_gguf_recipes[] = {
    {"f32", "single precision", "f32", 0},
    {"f16", "half precision", "f16", 1},
    {"bf16", "bfloat16", "bf16", 32},
    {"q8_0", "8-bit blocks of 32, head and embedding too", "q8_0", 7},
    {"q4_0", "4-bit blocks of 32 without offset; 6-bit head", "q4_0", 2},
    {"q4_1", "4-bit blocks of 32 with offset; 6-bit head", "q4_1", 3},
    {"q5_0", "5-bit blocks of 32 without offset; 6-bit head", "q5_0", 8},
    {"q5_1", "5-bit blocks of 32 with offset; 6-bit head", "q5_1", 9},
    {"q2_k", "2-bit K blocks, most of the layer at 3 bits", "q2_k", 10},
    {"q3_k_s", "3-bit K blocks", "q3_k", 11},
    {"q3_k_m", "3-bit K blocks, attention and down projection at 4 and 5 bits", "q3_k", 12},
    {"q3_k_l", "3-bit K blocks, attention and down projection at 5 bits", "q3_k", 13},
    {"q4_k_s", "4-bit K blocks, first layers at 5 bits", "q4_k", 14},
    {"q4_k_m", "4-bit K blocks, half of attention and down projection at 6 bits", "q4_k", 15},
    {"q5_k_s", "5-bit K blocks", "q5_k", 16},
    {"q5_k_m", "5-bit K blocks, half of attention and down projection at 6 bits", "q5_k", 17},
    {"q6_k", "6-bit K blocks", "q6_k", 18},
    {"iq4_nl", "4-bit non-linear blocks of 32", "iq4_nl", 25},
    {"iq4_xs", "4-bit non-linear blocks of 256", "iq4_xs", 30},
    {"pure-q4_0", "every matrix in q4_0", "q4_0", 2},
    {"pure-q4_1", "every matrix in q4_1", "q4_1", 3},
    {"pure-q5_0", "every matrix in q5_0", "q5_0", 8},
    {"pure-q5_1", "every matrix in q5_1", "q5_1", 9},
    {"pure-q2_k", "every matrix in q2_k", "q2_k", 10},
    {"pure-q3_k", "every matrix in q3_k", "q3_k", 11},
    {"pure-q4_k", "every matrix in q4_k", "q4_k", 14},
    {"pure-q5_k", "every matrix in q5_k", "q5_k", 16},
    {"pure-iq4_nl", "every matrix in iq4_nl", "iq4_nl", 25},
    {"pure-iq4_xs", "every matrix in iq4_xs", "iq4_xs", 30},
    {NULL, NULL, NULL, -1},
};

enum kind { OTHER, VALUE, OUT, DOWN }; /* what the mixes tell apart inside a layer */

enum when {
    ALL,
    FIRST_2,
    FIRST_4,
    FIRST_16TH,
    FIRST_8TH,
    FIRST_8TH_BLIND,  /* without an imatrix */
    FIRST_8TH_GUIDED, /* with one */
    MORE,             /* pq_container_more_bits */
    SHARED_HEADS      /* four or more query heads per key head */
};

struct lift {
    enum kind kind;
    enum when when;
    const char *scheme;
};

#define MAX_LIFTS 5

/* First match wins; a recipe that is not here keeps its base in every layer. */
static const struct mix {
    const char *recipe;
    struct lift lift[MAX_LIFTS];
} mixes[] = {
    {"q2_k",
     {{VALUE, SHARED_HEADS, "q4_k"},
      {VALUE, ALL, "q3_k"},
      {OUT, ALL, "q3_k"},
      {DOWN, ALL, "q3_k"}}},
    {"q3_k_m",
     {{VALUE, FIRST_2, "q5_k"},
      {VALUE, ALL, "q4_k"},
      {OUT, ALL, "q4_k"},
      {DOWN, FIRST_16TH, "q5_k"},
      {DOWN, ALL, "q4_k"}}},
    {"q3_k_l", {{VALUE, ALL, "q5_k"}, {OUT, ALL, "q5_k"}, {DOWN, ALL, "q5_k"}}},
    {"q4_k_s", {{VALUE, FIRST_4, "q5_k"}, {DOWN, FIRST_8TH, "q5_k"}}},
    {"q4_k_m", {{VALUE, MORE, "q6_k"}, {DOWN, MORE, "q6_k"}}},
    {"q5_k_m", {{VALUE, MORE, "q6_k"}, {DOWN, MORE, "q6_k"}}},
    {"q4_0", {{DOWN, FIRST_8TH_GUIDED, "q4_1"}}},
    {"q5_0", {{DOWN, FIRST_8TH_GUIDED, "q5_1"}}},
    {"iq4_nl", {{VALUE, SHARED_HEADS, "q5_k"}, {DOWN, FIRST_8TH_BLIND, "q5_k"}}},
    {"iq4_xs", {{VALUE, SHARED_HEADS, "q5_k"}, {DOWN, FIRST_8TH_BLIND, "q5_k"}}},
};

static bool applies(enum when when, const struct pq_hparams *hp, int layer, bool imatrix)
{
    int n = (int)hp->n_layers;
    switch (when) {
    case ALL:
        return true;
    case FIRST_2:
        return layer < 2;
    case FIRST_4:
        return layer < 4;
    case FIRST_16TH:
        return layer < n / 16;
    case FIRST_8TH:
        return layer < n / 8;
    case FIRST_8TH_BLIND:
        return layer < n / 8 && !imatrix;
    case FIRST_8TH_GUIDED:
        return layer < n / 8 && imatrix;
    case MORE:
        return pq_container_more_bits(layer, hp->n_layers);
    case SHARED_HEADS:
        return hp->n_heads / hp->n_kv_heads >= 4;
    }
    return false;
}

static enum kind kind_of(enum pq_role r)
{
    switch (r) {
    case PQ_ROLE_ATTN_QKV:
    case PQ_ROLE_ATTN_V:
        return VALUE;
    case PQ_ROLE_ATTN_OUT:
        return OUT;
    case PQ_ROLE_FFN_DOWN:
        return DOWN;
    default:
        return OTHER;
    }
}

static const char *lifted(const struct pq_recipe *r, const struct pq_network *net,
                          const struct pq_tensor *t, bool imatrix)
{
    for (size_t i = 0; i < PQ_LEN(mixes); i++) {
        if (strcmp(mixes[i].recipe, r->name))
            continue;
        for (const struct lift *l = mixes[i].lift; l < mixes[i].lift + MAX_LIFTS && l->scheme; l++)
            if (l->kind == kind_of(t->role) && applies(l->when, &net->hp, t->layer, imatrix))
                return l->scheme;
    }
    return r->base;
}

/* The head gets 6 bits whatever the base, unless the base is finer or the recipe is pure. */
static const char *head_scheme(const struct pq_recipe *r)
{
    const struct pq_scheme *base = pq_scheme_find(r->base);
    bool keep = !strncmp(r->name, "pure-", 5) || (base && base->bits >= 8);
    return keep ? r->base : "q6_k";
}

const struct pq_scheme *pq_gguf_place(const struct pq_recipe *r, const struct pq_network *net,
                                      size_t i, bool have_imatrix)
{
    const struct pq_tensor *t = &net->tensor[i];
    if (!pq_role_is_matrix(t->role))
        return pq_scheme_find("f32");
    if (t->role == PQ_ROLE_HEAD || (t->role == PQ_ROLE_EMBED && net->hp.tied))
        return pq_scheme_find(head_scheme(r));
    return pq_scheme_find(t->layer < 0 ? r->base : lifted(r, net, t, have_imatrix));
}

/* What llama.cpp takes when a row is not a multiple of the block: first something with blocks of
 * 32, then half precision. */
static const char *const narrower[][2] = {
    {"q2_k", "q4_0"}, {"q3_k", "q4_0"}, {"q4_k", "q5_0"},
    {"q5_k", "q5_1"}, {"q6_k", "q8_0"}, {"iq4_xs", "iq4_nl"},
};

const struct pq_scheme *pq_gguf_fit(const struct pq_scheme *s, const struct pq_recipe *r,
                                    const struct pq_network *net, size_t i)
{
    const uint64_t cols = net->tensor[i].cols;
    (void)r;
    for (size_t k = 0; k < PQ_LEN(narrower) && cols % s->block; k++)
        if (!strcmp(s->name, narrower[k][0]))
            s = pq_scheme_find(narrower[k][1]);
    return cols % s->block ? pq_scheme_find("f16") : s;
}
