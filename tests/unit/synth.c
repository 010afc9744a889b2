/* Networks with the shapes of real models, see synth.h. SPDX-License-Identifier: MIT */
#include "test.h"

#include "base/num.h"
#include "synth.h"

#include <math.h>

/* Published config.json of each model. */
const struct synth_shape synth_phi2 = {"phi-2", "phi", 32, 2560,  10240, 32,
                                       32,      51200, 32, false, false};
const struct synth_shape synth_phi35_mini = {
    "Phi-3.5-mini-instruct", "phi3", 32, 3072, 8192, 32, 32, 32064, 96, false, true};
const struct synth_shape synth_phi4 = {"phi-4", "phi3", 40,  5120,  17920, 40,
                                       10,      100352, 128, false, false};
const struct synth_shape synth_phi4_mini = {
    "Phi-4-mini-instruct", "phi3", 32, 3072, 8192, 24, 8, 200064, 96, true, true};

static const struct pq_arch *find_arch(const char *name)
{
    for (const struct pq_arch *const *a = pq_archs; *a; a++)
        if (!strcmp((*a)->name, name))
            return *a;
    fail_msg("no architecture %s", name);
    return NULL;
}

static void set_hparams(struct pq_hparams *hp, const struct synth_shape *s, struct pq_arena *a)
{
    const bool phi = !strcmp(s->arch, "phi");
    *hp = (struct pq_hparams){
        .n_layers = s->n_layers,
        .hidden = s->hidden,
        .ff = s->ff,
        .n_heads = s->n_heads,
        .n_kv_heads = s->n_kv_heads,
        .head_dim = s->hidden / s->n_heads,
        .vocab = s->vocab,
        .max_position = s->longrope ? 131072 : 4096,
        .original_max_position = 4096,
        .rot_dims = s->rot_dims,
        .rope_theta = 10000,
        .norm_eps = 1e-5,
        .norm = phi ? PQ_NORM_LAYER : PQ_NORM_RMS,
        .act = phi ? PQ_ACT_GELU_TANH : PQ_ACT_SILU,
        .parallel = phi,
        .tied = s->tied,
        .attn_factor = 1,
        .bos = 1,
        .pad = -1,
        .eos = {2},
        .n_eos = 1,
        .dtype = "bfloat16",
    };
    if (!s->longrope)
        return;
    hp->rope = PQ_ROPE_LONGROPE;
    hp->attn_factor = sqrt(1 + log(131072.0 / 4096) / log(4096.0));
    hp->long_factor = (float *)pq_arena_alloc(a, s->rot_dims / 2, sizeof(float));
    hp->short_factor = (float *)pq_arena_alloc(a, s->rot_dims / 2, sizeof(float));
    for (uint32_t i = 0; i < s->rot_dims / 2; i++) {
        hp->long_factor[i] = 1.5f + (float)i;
        hp->short_factor[i] = 1.0f + 0.125f * (float)i;
    }
}

static void add_tensor(struct pq_model *m, const struct pq_map_row *row, int layer)
{
    struct pq_tensor *t = &m->net.tensor[m->net.n_tensors++];
    const char *hole = strstr(row->name, "%d");
    t->name = hole ? pq_arena_printf(&m->arena, "%.*s%d%s", (int)(hole - row->name), row->name,
                                     layer, hole + 2)
                   : row->name;
    t->role = row->role;
    t->layer = layer;
    pq_role_shape(row->role, &m->net.hp, &t->rows, &t->cols, &t->n_dims);
}

static void add_layers(struct pq_model *m, const struct pq_map_row *first)
{
    for (int layer = 0; layer < (int)m->net.hp.n_layers; layer++)
        for (const struct pq_map_row *row = first; row->per_layer; row++)
            add_tensor(m, row, layer);
}

static void set_vocab(struct pq_model *m, uint32_t n)
{
    struct pq_vocab *v = &m->vocab;
    *v = (struct pq_vocab){.kind = PQ_VOCAB_SPM,
                           .pre = "default",
                           .n_tokens = n,
                           .bos = 1,
                           .eos = 2,
                           .unk = 0,
                           .pad = -1,
                           .add_bos = true};
    v->token = (struct pq_token *)pq_arena_alloc(&m->arena, n, sizeof *v->token);
    for (uint32_t i = 0; i < n; i++)
        v->token[i] = (struct pq_token){.text = "x", .len = 1, .type = PQ_TOKEN_NORMAL};
    static const char *const special[] = {"<unk>", "<s>", "</s>", "<|endoftext|>"};
    for (uint32_t i = 0; i < PQ_LEN(special); i++)
        v->token[i] = (struct pq_token){
            .text = special[i], .len = (uint32_t)strlen(special[i]), .type = PQ_TOKEN_CONTROL};
    m->has_vocab = true;
}

void synth_model(struct pq_model *m, const struct synth_shape *s)
{
    *m = (struct pq_model){.path = s->name, .name = s->name};
    m->net.arch = find_arch(s->arch);
    set_hparams(&m->net.hp, s, &m->arena);
    size_t most = (size_t)s->n_layers * PQ_ROLES + PQ_ROLES;
    m->net.tensor = (struct pq_tensor *)pq_arena_alloc(&m->arena, most, sizeof *m->net.tensor);
    for (const struct pq_map_row *row = m->net.arch->map; row->name;) {
        if (row->per_layer) {
            add_layers(m, row);
            while (row->per_layer)
                row++;
        } else {
            if (!(row->role == PQ_ROLE_HEAD && s->tied))
                add_tensor(m, row, -1);
            row++;
        }
    }
    set_vocab(m, s->vocab);
}
