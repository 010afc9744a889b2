/* What a file or folder holds. SPDX-License-Identifier: MIT */
#include "inspect/inspect.h"

static json_t *tensor_row(const struct pq_tensor *t)
{
    double bytes = (double)pq_tensor_bytes(t);
    return json_pack("{s:s, s:s, s:s, s:i, s:I, s:I, s:I, s:f, s:s}", "name", t->name, "role",
                     pq_role_name(t->role), "scheme", t->slice[0].view.scheme->name, "layer",
                     t->layer, "rows", (json_int_t)t->rows, "cols", (json_int_t)t->cols, "bytes",
                     (json_int_t)bytes, "bits_per_weight",
                     bytes * 8 / ((double)t->rows * (double)t->cols), "file", t->slice[0].file);
}

static json_t *rope_object(const struct pq_hparams *hp)
{
    return json_pack("{s:s, s:f, s:i, s:f, s:i}", "kind",
                     hp->rope == PQ_ROPE_LONGROPE ? "longrope" : "plain", "theta", hp->rope_theta,
                     "dims", (int)hp->rot_dims, "attention_factor", hp->attn_factor,
                     "original_context", (int)hp->original_max_position);
}

static json_t *network_object(const struct pq_network *net)
{
    const struct pq_hparams *hp = &net->hp;
    json_t *o = json_pack("{s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:b, s:s, s:o}",
                          "architecture", net->arch->name, "layers", (int)hp->n_layers, "hidden",
                          (int)hp->hidden, "feed_forward", (int)hp->ff, "heads", (int)hp->n_heads,
                          "kv_heads", (int)hp->n_kv_heads, "head_dim", (int)hp->head_dim,
                          "vocabulary", (int)hp->vocab, "context", (int)hp->max_position,
                          "sliding_window", (int)hp->sliding_window, "tied_head", hp->tied, "dtype",
                          hp->dtype, "rope", rope_object(hp));
    json_t *eos = json_array();
    for (int i = 0; i < hp->n_eos; i++)
        json_array_append_new(eos, json_integer(hp->eos[i]));
    json_object_set_new(o, "stop_tokens", eos);
    return o;
}

static json_t *vocab_object(const struct pq_vocab *v)
{
    size_t added = 0;
    for (size_t i = 0; i < v->n_tokens; i++)
        added += v->token[i].added;
    return json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:b, s:b}", "kind",
                     v->kind == PQ_VOCAB_SPM ? "sentencepiece bpe" : "byte-level bpe", "split",
                     v->pre, "tokens", (json_int_t)v->n_tokens, "added", (json_int_t)added,
                     "merges", (json_int_t)v->n_merges, "bos", (json_int_t)v->bos, "eos",
                     (json_int_t)v->eos, "adds_bos", v->add_bos, "chat_template",
                     v->chat_template != NULL);
}

int pq_inspect_info(json_t **out, const char *path, bool with_tensors, struct pq_err *e)
{
    struct pq_model *m;
    int rc = pq_model_load(&m, path, e);
    *out = NULL;
    if (rc < 0)
        return rc;
    double bytes = (double)pq_network_bytes(&m->net), weights = (double)pq_network_weights(&m->net);
    json_t *schemes = json_object(), *rows = json_array();
    for (size_t i = 0; i < m->net.n_tensors; i++) {
        const struct pq_tensor *t = &m->net.tensor[i];
        const char *scheme = t->slice[0].view.scheme->name;
        json_object_set_new(schemes, scheme,
                            json_integer(json_integer_value(json_object_get(schemes, scheme)) + 1));
        if (with_tensors)
            json_array_append_new(rows, tensor_row(t));
    }
    *out = json_pack("{s:s, s:s, s:s, s:I, s:I, s:f, s:o, s:I, s:o}", "path", path, "name", m->name,
                     "container", m->container->name, "file_bytes", (json_int_t)m->ckpt->file_bytes,
                     "weights", (json_int_t)weights, "bits_per_weight", bytes * 8 / weights,
                     "schemes", schemes, "tensor_count", (json_int_t)m->net.n_tensors, "network",
                     network_object(&m->net));
    if (*out && m->has_vocab)
        json_object_set_new(*out, "tokenizer", vocab_object(&m->vocab));
    if (*out && with_tensors)
        json_object_set(*out, "tensors", rows);
    json_decref(rows);
    pq_model_free(m);
    return *out ? PQ_OK : pq_fail(e, PQ_ENOMEM, "%s: out of memory for the description", path);
}
