/*
 * The key-value pairs of a GGUF file: what llama.cpp's loaders of phi3 and phi2 read, the
 * tokenizer, and where the file comes from. Nothing in it depends on the time, the machine or a
 * path. Source of keys: the GGUF specification and llama.cpp src/llama-arch.cpp.
 * SPDX-License-Identifier: MIT
 */
#include "container/common.h"

#include <stdio.h>
#include <string.h>

static void put_str(struct pq_gguf_meta *k, const char *key, const char *s)
{
    pq_gguf_put_str(&k->b, key, s, strlen(s));
    k->n++;
}

static void put_u32(struct pq_gguf_meta *k, const char *key, uint32_t v)
{
    pq_gguf_put_u32(&k->b, key, v);
    k->n++;
}

static void put_f32(struct pq_gguf_meta *k, const char *key, double v)
{
    pq_gguf_put_f32(&k->b, key, (float)v);
    k->n++;
}

static void put_bool(struct pq_gguf_meta *k, const char *key, bool v)
{
    pq_gguf_put_bool(&k->b, key, v);
    k->n++;
}

static void put_id(struct pq_gguf_meta *k, const char *key, int64_t id)
{
    if (id >= 0 && id <= UINT32_MAX)
        put_u32(k, key, (uint32_t)id);
}

/* "3.8B", "15B": at least two digits, as llama.cpp's converter labels sizes. */
static const char *size_label(struct pq_arena *a, uint64_t weights)
{
    static const char units[] = "KMBT";
    double v = (double)weights / 1e3;
    int u = 0;
    for (; v >= 1e3 && units[u + 1]; u++)
        v /= 1e3;
    return pq_arena_printf(a, v < 9.5 ? "%.1f%c" : "%.0f%c", v, units[u]);
}

/* Length of "phi-3" or "phi3" at s in any case, else 0. */
static size_t phi3_at(const char *s)
{
    if ((s[0] | 32) != 'p' || (s[1] | 32) != 'h' || (s[2] | 32) != 'i')
        return 0;
    return s[3] == '3' ? 4 : s[3] == '-' && s[4] == '3' ? 5 : 0;
}

static bool says_phi3(const char *name)
{
    while (*name && !phi3_at(name))
        name++;
    return *name;
}

static bool has_token(const struct pq_vocab *v, const char *text)
{
    for (size_t i = 0; i < v->n_tokens; i++)
        if (!strcmp(v->token[i].text, text))
            return true;
    return false;
}

/* Do the special tokens swallow the space after them? Those that llama.cpp never lets do so are
 * left out of the vote. It looks those up, and "</s>", without asking whether they exist: a
 * vocabulary that lacks one (Phi-4) would not load under such a name. */
static bool wants_rstrip(const struct pq_vocab *v)
{
    static const char *const never[] = {"<unk>", "<s>", "<|endoftext|>"};
    long votes = 0;
    for (size_t k = 0; k < PQ_LEN(never); k++)
        if (!has_token(v, never[k]))
            return false;
    if (!has_token(v, "</s>"))
        return false;
    for (size_t i = 0; i < v->n_tokens; i++) {
        const struct pq_token *t = &v->token[i];
        bool counts = t->added && t->special;
        for (size_t k = 0; k < PQ_LEN(never); k++)
            counts = counts && strcmp(t->text, never[k]);
        votes += counts ? (t->rstrip ? 1 : -1) : 0;
    }
    return votes > 0;
}

/* GGUF has no field for rstrip: llama.cpp gives it to all special tokens when general.name contains
 * "phi-3" or "phi3" (src/llama-vocab.cpp). So the name is made to say what the tokenizer does. */
static const char *general_name(struct pq_arena *a, const char *name, const struct pq_vocab *v)
{
    bool want = wants_rstrip(v), has = says_phi3(name);
    if (want == has)
        return name;
    if (want)
        return pq_arena_printf(a, "%s (Phi-3)", name);
    char *out = (char *)pq_arena_alloc(a, 2 * strlen(name) + 1, 1);
    for (char *o = out; out && *name;) {
        size_t n = phi3_at(name);
        if (!n) {
            *o++ = *name++;
            continue;
        }
        memcpy(o, name, 3);
        memcpy(o + 3, " 3", 2); /* "Phi-3.5" and "phi3" become "Phi 3.5" and "phi 3" */
        o += 5;
        name += n;
    }
    return out;
}

static void put_general(struct pq_gguf_meta *k, struct pq_arena *a, const struct pq_model *m,
                        const struct pq_request *r)
{
    const char *name = r->model_name ? r->model_name : m->name;
    name = general_name(a, name, &m->vocab);
    const char *label = size_label(a, pq_network_weights(&m->net));
    put_str(k, "general.architecture", pq_gguf_arch_name(m->net.arch->name));
    put_str(k, "general.type", "model");
    put_str(k, "general.name", name ? name : "");
    put_str(k, "general.size_label", label ? label : "");
    put_u32(k, "general.file_type", (uint32_t)r->recipe->file_type);
    put_u32(k, "general.quantization_version", 2);
}

/* Keys of the network carry its architecture in front. */
static void put_u32_of(struct pq_gguf_meta *k, const char *arch, const char *name, uint32_t v)
{
    char key[64];
    snprintf(key, sizeof key, "%s.%s", arch, name);
    put_u32(k, key, v);
}

static void put_f32_of(struct pq_gguf_meta *k, const char *arch, const char *name, double v)
{
    char key[64];
    snprintf(key, sizeof key, "%s.%s", arch, name);
    put_f32(k, key, v);
}

static void put_network(struct pq_gguf_meta *k, const struct pq_network *net)
{
    const struct pq_hparams *hp = &net->hp;
    const char *arch = pq_gguf_arch_name(net->arch->name);
    const bool rms = hp->norm == PQ_NORM_RMS;
    const struct {
        const char *name;
        uint32_t v;
    } numbers[] = {
        {"context_length", hp->max_position},   {"embedding_length", hp->hidden},
        {"feed_forward_length", hp->ff},        {"block_count", hp->n_layers},
        {"attention.head_count", hp->n_heads},  {"attention.head_count_kv", hp->n_kv_heads},
        {"rope.dimension_count", hp->rot_dims}, {"vocab_size", hp->vocab},
    };
    for (size_t i = 0; i < PQ_LEN(numbers); i++)
        put_u32_of(k, arch, numbers[i].name, numbers[i].v);
    put_f32_of(k, arch, "rope.freq_base", hp->rope_theta);
    put_f32_of(k, arch, rms ? "attention.layer_norm_rms_epsilon" : "attention.layer_norm_epsilon",
               hp->norm_eps);
    if (!rms) /* phi2 knows neither windows nor LongRoPE */
        return;
    put_u32_of(k, arch, "attention.sliding_window", hp->sliding_window);
    put_u32_of(k, arch, "rope.scaling.original_context_length", hp->original_max_position);
    if (hp->rope == PQ_ROPE_LONGROPE)
        put_f32_of(k, arch, "rope.scaling.attn_factor", hp->attn_factor);
}

static void put_tokens(struct pq_gguf_meta *k, const struct pq_vocab *v)
{
    struct pq_buf *b = &k->b;
    pq_gguf_put_array(b, "tokenizer.ggml.tokens", PQ_GGUF_STRING, v->n_tokens);
    for (size_t i = 0; i < v->n_tokens; i++)
        pq_gguf_put_item_str(b, v->token[i].text, v->token[i].len);
    pq_gguf_put_array(b, "tokenizer.ggml.token_type", PQ_GGUF_I32, v->n_tokens);
    for (size_t i = 0; i < v->n_tokens; i++)
        pq_buf_le32(b, v->token[i].type);
    k->n += 2;
    if (v->kind == PQ_VOCAB_SPM) {
        pq_gguf_put_array(b, "tokenizer.ggml.scores", PQ_GGUF_F32, v->n_tokens);
        for (size_t i = 0; i < v->n_tokens; i++)
            pq_buf_le32(b, pq_f32_bits(v->token[i].score));
        k->n++;
    } else {
        pq_gguf_put_array(b, "tokenizer.ggml.merges", PQ_GGUF_STRING, v->n_merges);
        for (size_t i = 0; i < v->n_merges; i++)
            pq_gguf_put_item_str(b, v->merge[i], strlen(v->merge[i]));
        k->n++;
    }
}

static void put_tokenizer(struct pq_gguf_meta *k, const struct pq_vocab *v,
                          const struct pq_hparams *hp)
{
    put_str(k, "tokenizer.ggml.model", v->kind == PQ_VOCAB_SPM ? "llama" : "gpt2");
    put_str(k, "tokenizer.ggml.pre", v->pre ? v->pre : "default");
    put_tokens(k, v);
    put_id(k, "tokenizer.ggml.bos_token_id", v->bos >= 0 ? v->bos : hp->bos);
    put_id(k, "tokenizer.ggml.eos_token_id", v->eos >= 0 || !hp->n_eos ? v->eos : hp->eos[0]);
    put_id(k, "tokenizer.ggml.unknown_token_id", v->unk);
    put_id(k, "tokenizer.ggml.padding_token_id", v->pad >= 0 ? v->pad : hp->pad);
    put_bool(k, "tokenizer.ggml.add_bos_token", v->add_bos);
    put_bool(k, "tokenizer.ggml.add_eos_token", v->add_eos);
    put_bool(k, "tokenizer.ggml.add_space_prefix", v->add_space_prefix);
    if (v->chat_template)
        put_str(k, "tokenizer.chat_template", v->chat_template);
}

/* What GGUF has no key for and phiq's reader wants back. */
static void put_own(struct pq_gguf_meta *k, const struct pq_hparams *hp, const struct pq_request *r)
{
    put_str(k, "phiq.version", PQ_VERSION_STRING);
    put_str(k, "phiq.scheme", r->recipe->name);
    put_str(k, "phiq.solver", pq_solver_name(r->solver));
    if (r->mix)
        put_str(k, "phiq.mix", r->mix);
    if (hp->dtype)
        put_str(k, "phiq.torch_dtype", hp->dtype);
    pq_gguf_put_array(&k->b, "phiq.eos_token_ids", PQ_GGUF_U32, (uint64_t)hp->n_eos);
    for (int i = 0; i < hp->n_eos; i++)
        pq_buf_le32(&k->b, (uint32_t)hp->eos[i]);
    k->n++;
    if (!r->importance)
        return;
    put_str(k, "quantize.imatrix.file", r->imatrix_name ? r->imatrix_name : "");
    put_str(k, "quantize.imatrix.dataset", r->imatrix_dataset ? r->imatrix_dataset : "");
    put_u32(k, "quantize.imatrix.entries_count", r->imatrix_entries);
    put_u32(k, "quantize.imatrix.chunks_count", r->imatrix_chunks);
}

int pq_gguf_put_meta(struct pq_gguf_meta *k, struct pq_arena *a, const struct pq_model *m,
                     const struct pq_request *r, struct pq_err *e)
{
    const struct pq_network *net = &m->net;
    if (!pq_gguf_arch_name(net->arch->name))
        return pq_fail(e, PQ_EUNSUPPORTED, "%s: llama.cpp has no architecture for '%s'", m->path,
                       net->arch->name);
    if (m->vocab.n_tokens != net->hp.vocab)
        return pq_fail(e, PQ_EFORMAT, "%s: the tokenizer has %zu tokens, the embedding %u rows",
                       m->path, m->vocab.n_tokens, net->hp.vocab);
    put_general(k, a, m, r);
    put_network(k, net);
    put_tokenizer(k, &m->vocab, &net->hp);
    put_own(k, &net->hp, r);
    return pq_buf_check(&k->b, e);
}
