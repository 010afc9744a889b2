/*
 * Source "hf": a Hugging Face folder with config.json, weights and tokenizer files.
 * SPDX-License-Identifier: MIT
 */
#include "container/common.h"

#include <string.h>

/* No tokenizer file of a Phi model is larger than 16 MB. */
#define SIDE_LIMIT (64u << 20)

static const char *const side_names[] = {
    "added_tokens.json", "chat_template.jinja",     "generation_config.json",
    "merges.txt",        "special_tokens_map.json", "tokenizer.json",
    "tokenizer.model",   "tokenizer_config.json",   "vocab.json",
};

static int read_side(struct pq_model *m, const char *dir, const char *name, struct pq_err *e)
{
    char *path = pq_path_join(&m->arena, dir, name), *data = NULL;
    size_t size = 0;
    int rc = PQ_OK;
    if (!path)
        return pq_fail(e, PQ_ENOMEM, "%s: out of memory", name);
    if (pq_path_kind(path) != PQ_PATH_FILE)
        return PQ_OK;
    PQ_TRY(pq_file_read(path, SIDE_LIMIT, &data, &size, e));
    struct pq_side *s = &m->side[m->n_sides];
    *s = (struct pq_side){name, pq_arena_strndup(&m->arena, data, size), size};
    if (!s->data)
        PQ_TRY(pq_fail(e, PQ_ENOMEM, "%s: out of memory", path));
    m->n_sides++;
out:
    pq_free(data);
    return rc;
}

int pq_container_read_sides(struct pq_model *m, const char *dir, struct pq_err *e)
{
    m->side = (struct pq_side *)pq_arena_alloc(&m->arena, PQ_LEN(side_names), sizeof *m->side);
    if (!m->side)
        return pq_fail(e, PQ_ENOMEM, "%s: out of memory", dir);
    int rc = PQ_OK;
    for (size_t i = 0; rc >= 0 && i < PQ_LEN(side_names); i++)
        rc = read_side(m, dir, side_names[i], e);
    return rc;
}

int pq_container_read_vocab(struct pq_model *m, const char *dir, struct pq_err *e)
{
    struct pq_err own = {0};
    int rc = pq_vocab_load(&m->vocab, &m->arena, dir, m->net.hp.vocab, &own);
    m->has_vocab = rc >= 0;
    if (rc == PQ_EIO) /* none there: `info` and `plan` still have much to say */
        return PQ_OK;
    return rc < 0 ? pq_fail(e, rc, "%s", own.msg) : PQ_OK;
}

static bool hf_probe(const char *path)
{
    return pq_path_kind(path) == PQ_PATH_DIR && pq_container_has_file(path, "config.json");
}

static int hf_read(struct pq_model *m, struct pq_err *e)
{
    int rc = PQ_OK;
    PQ_TRY(pq_container_read_configs(m, e));
    m->name = pq_container_model_name(&m->arena, m->path, m->config);
    if (!m->name)
        PQ_TRY(pq_fail(e, PQ_ENOMEM, "%s: out of memory", m->path));
    PQ_TRY(pq_ckpt_open(&m->ckpt, m->path, e));
    PQ_TRY(pq_network_bind(&m->net, &m->arena, m->ckpt, m->config, m->generation, e));
    PQ_TRY(pq_container_read_vocab(m, m->path, e));
    PQ_TRY(pq_container_read_sides(m, m->path, e));
out:
    return rc;
}

const struct pq_container pq_container_hf = {
    .name = "hf",
    .about = "Hugging Face folder: config.json, safetensors or PyTorch weights, tokenizer files",
    .probe = hf_probe,
    .read = hf_read,
};
