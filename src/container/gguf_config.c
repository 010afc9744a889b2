/* From a GGUF's metadata to a config.json. SPDX-License-Identifier: MIT */
#include "container/gguf_reader.h"

#include <string.h>

int pq_gguf_reader_no_memory(struct pq_gguf_reader *r)
{
    return pq_fail(r->e, PQ_ENOMEM, "%s: out of memory", r->file);
}

int pq_gguf_reader_u32(struct pq_gguf_reader *r, const char *name, bool required, uint32_t *v)
{
    const char *key = pq_arena_printf(&r->m->arena, "%s.%s", r->arch, name);
    uint64_t x = *v;
    if (!key)
        return pq_gguf_reader_no_memory(r);
    if (!pq_gguf_get_u64(r->g, key, &x)) {
        if (pq_gguf_find(r->g, key))
            return pq_fail(r->e, PQ_EFORMAT, "%s: %s is not a whole number", r->file, key);
        return required ? pq_fail(r->e, PQ_EFORMAT, "%s: %s is missing", r->file, key) : PQ_OK;
    }
    if (x > UINT32_MAX)
        return pq_fail(r->e, PQ_EFORMAT, "%s: %s is %llu, too large", r->file, key,
                       (unsigned long long)x);
    *v = (uint32_t)x;
    return PQ_OK;
}

int pq_gguf_reader_f64(struct pq_gguf_reader *r, const char *name, bool required, double *v)
{
    const char *key = pq_arena_printf(&r->m->arena, "%s.%s", r->arch, name);
    if (!key)
        return pq_gguf_reader_no_memory(r);
    if (pq_gguf_get_f64(r->g, key, v))
        return PQ_OK;
    if (pq_gguf_find(r->g, key))
        return pq_fail(r->e, PQ_EFORMAT, "%s: %s is not a number", r->file, key);
    return required ? pq_fail(r->e, PQ_EFORMAT, "%s: %s is missing", r->file, key) : PQ_OK;
}

static int read_sizes(struct pq_gguf_reader *r, struct pq_hparams *hp)
{
    int rc = PQ_OK;
    PQ_TRY(pq_gguf_reader_u32(r, "block_count", true, &hp->n_layers));
    PQ_TRY(pq_gguf_reader_u32(r, "embedding_length", true, &hp->hidden));
    PQ_TRY(pq_gguf_reader_u32(r, "feed_forward_length", true, &hp->ff));
    PQ_TRY(pq_gguf_reader_u32(r, "attention.head_count", true, &hp->n_heads));
    hp->n_kv_heads = hp->n_heads;
    PQ_TRY(pq_gguf_reader_u32(r, "attention.head_count_kv", false, &hp->n_kv_heads));
    PQ_TRY(pq_gguf_reader_u32(r, "context_length", true, &hp->max_position));
    PQ_TRY(pq_gguf_reader_u32(r, "attention.sliding_window", false, &hp->sliding_window));
    if (!hp->n_heads || !hp->hidden || hp->hidden % hp->n_heads)
        return pq_fail(r->e, PQ_EFORMAT,
                       "%s: embedding_length %u is not a multiple of attention.head_count %u",
                       r->file, hp->hidden, hp->n_heads);
    hp->head_dim = hp->hidden / hp->n_heads;
    hp->rot_dims = hp->head_dim;
    PQ_TRY(pq_gguf_reader_u32(r, "rope.dimension_count", false, &hp->rot_dims));
    if (!hp->rot_dims || hp->rot_dims > hp->head_dim || hp->rot_dims % 2)
        return pq_fail(r->e, PQ_EFORMAT,
                       "%s: rope.dimension_count is %u, expected an even number up to %u", r->file,
                       hp->rot_dims, hp->head_dim);
out:
    return rc;
}

/* llama.cpp's converter computes feed_forward_length of phi2 as 4 d and stores no vocabulary size:
 * the embedding has the rows. */
static int read_shapes(struct pq_gguf_reader *r, struct pq_hparams *hp)
{
    const struct pq_stored *embed = pq_ckpt_find(r->m->ckpt, "token_embd.weight");
    if (!embed || embed->n_dims != 2 || embed->dim[0] > UINT32_MAX)
        return pq_fail(r->e, PQ_EFORMAT, "%s: token_embd.weight is %s", r->file,
                       embed ? "not a matrix" : "missing");
    hp->vocab = (uint32_t)embed->dim[0];
    if (r->m->has_vocab && r->m->vocab.n_tokens != hp->vocab)
        return pq_fail(r->e, PQ_EFORMAT, "%s: %zu tokens, but token_embd.weight has %u rows",
                       r->file, r->m->vocab.n_tokens, hp->vocab);
    hp->tied = !pq_ckpt_find(r->m->ckpt, "output.weight");
    return PQ_OK;
}

static int read_factor(struct pq_gguf_reader *r, const char *name, uint32_t n, float **out)
{
    const struct pq_stored *s = pq_ckpt_find(r->m->ckpt, name);
    if (!s)
        return pq_fail(r->e, PQ_EFORMAT, "%s: tensor %s is missing", r->file, name);
    if (!s->scheme || s->scheme->dtype != PQ_F32 || s->n_dims != 1 || s->dim[0] != n)
        return pq_fail(r->e, PQ_EFORMAT,
                       "%s: %s must hold %u float32 numbers, half of rope.dimension_count", r->file,
                       name, n);
    *out = (float *)pq_arena_alloc(&r->m->arena, n, sizeof **out);
    if (!*out)
        return pq_gguf_reader_no_memory(r);
    for (uint32_t i = 0; i < n; i++)
        (*out)[i] = pq_bits_f32(pq_le32(s->data + 4 * (size_t)i));
    return PQ_OK;
}

static int read_rope(struct pq_gguf_reader *r, struct pq_hparams *hp)
{
    int rc = PQ_OK;
    hp->rope_theta = 10000;
    PQ_TRY(pq_gguf_reader_f64(r, "rope.freq_base", false, &hp->rope_theta));
    hp->original_max_position = hp->max_position;
    PQ_TRY(pq_gguf_reader_u32(r, "rope.scaling.original_context_length", false,
                              &hp->original_max_position));
    bool longrope =
        pq_ckpt_find(r->m->ckpt, PQ_GGUF_ROPE_LONG) || pq_ckpt_find(r->m->ckpt, PQ_GGUF_ROPE_SHORT);
    if (!longrope)
        return PQ_OK;
    hp->rope = PQ_ROPE_LONGROPE;
    PQ_TRY(read_factor(r, PQ_GGUF_ROPE_LONG, hp->rot_dims / 2, &hp->long_factor));
    PQ_TRY(read_factor(r, PQ_GGUF_ROPE_SHORT, hp->rot_dims / 2, &hp->short_factor));
out:
    return rc;
}

/* phiq lists every id; of others the tokenizer's, and what llama.cpp takes for end marks by text.
 */
static int read_eos(struct pq_gguf_reader *r, struct pq_hparams *hp)
{
    const struct pq_gguf_kv *own = pq_gguf_find(r->g, "phiq.eos_token_ids");
    if (own) {
        if (own->type != PQ_GGUF_ARRAY || own->item != PQ_GGUF_U32 || own->count > PQ_MAX_EOS)
            return pq_fail(r->e, PQ_EFORMAT, "%s: phiq.eos_token_ids must be up to %d u32", r->file,
                           PQ_MAX_EOS);
        for (uint64_t i = 0; i < own->count; i++)
            hp->eos[hp->n_eos++] = pq_le32(own->data + 4 * i);
        return PQ_OK;
    }
    static const char *const marks[] = {"<|endoftext|>", "<|end|>", "<|im_end|>"};
    const struct pq_vocab *v = &r->m->vocab;
    if (v->eos >= 0)
        hp->eos[hp->n_eos++] = v->eos;
    for (size_t i = 0; i < v->n_tokens && hp->n_eos < PQ_MAX_EOS; i++)
        for (size_t k = 0; k < PQ_LEN(marks); k++)
            if (v->token[i].type == PQ_TOKEN_CONTROL && (int64_t)i != v->eos &&
                !strcmp(v->token[i].text, marks[k]) && hp->n_eos < PQ_MAX_EOS)
                hp->eos[hp->n_eos++] = (int64_t)i;
    return PQ_OK;
}

/* The type that the checkpoint had: phiq writes it down; else matrices that are still floats tell.
 */
static const char *read_dtype(struct pq_gguf_reader *r)
{
    static const char *const known[] = {"float32", "float16", "bfloat16"};
    struct pq_gguf_str s;
    if (pq_gguf_get_str(r->g, "phiq.torch_dtype", &s))
        for (size_t i = 0; i < PQ_LEN(known); i++)
            if (strlen(known[i]) == s.len && !memcmp(known[i], s.s, (size_t)s.len))
                return known[i];
    const struct pq_stored *q = pq_ckpt_find(r->m->ckpt, "blk.0.attn_output.weight");
    enum pq_dtype t = q && q->scheme ? q->scheme->dtype : PQ_DTYPES;
    return t == PQ_F32 ? known[0] : t == PQ_F16 ? known[1] : known[2];
}

static const struct pq_arch *arch_of(const char *model_type)
{
    for (const struct pq_arch *const *a = pq_archs; *a; a++)
        if (!strcmp((*a)->name, model_type))
            return *a;
    return NULL;
}

static int read_arch(struct pq_gguf_reader *r, struct pq_network *net)
{
    struct pq_gguf_str s;
    if (!pq_gguf_get_str(r->g, "general.architecture", &s))
        return pq_fail(r->e, PQ_EFORMAT, "%s: general.architecture is missing", r->file);
    const char *type = pq_gguf_model_type(s.s, s.len);
    net->arch = type ? arch_of(type) : NULL;
    if (!net->arch)
        return pq_fail(r->e, PQ_EUNSUPPORTED,
                       "%s: architecture '%.*s' is not supported, expected phi3 or phi2", r->file,
                       (int)(s.len < 64 ? s.len : 64), s.s);
    r->arch = pq_gguf_arch_name(type);
    return PQ_OK;
}

int pq_gguf_read_config(struct pq_gguf_reader *r)
{
    int rc = PQ_OK;
    struct pq_network net = {0};
    struct pq_hparams *hp = &net.hp;
    PQ_TRY(read_arch(r, &net));
    bool phi3 = !strcmp(r->arch, "phi3");
    hp->norm = phi3 ? PQ_NORM_RMS : PQ_NORM_LAYER;
    hp->act = phi3 ? PQ_ACT_SILU : PQ_ACT_GELU_TANH;
    PQ_TRY(read_sizes(r, hp));
    PQ_TRY(pq_gguf_reader_f64(
        r, phi3 ? "attention.layer_norm_rms_epsilon" : "attention.layer_norm_epsilon", true,
        &hp->norm_eps));
    PQ_TRY(read_shapes(r, hp));
    PQ_TRY(read_rope(r, hp));
    PQ_TRY(read_eos(r, hp));
    hp->bos = r->m->has_vocab ? r->m->vocab.bos : -1;
    hp->pad = r->m->has_vocab ? r->m->vocab.pad : -1;
    hp->dtype = read_dtype(r);
    r->m->config = pq_network_config(&net);
    r->m->generation = pq_network_generation(&net);
    if (!r->m->config || !r->m->generation)
        rc = pq_gguf_reader_no_memory(r);
out:
    return rc;
}
