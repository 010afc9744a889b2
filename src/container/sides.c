/* The small files that travel with a model, as a folder wants them. SPDX-License-Identifier: MIT */
#include "container/common.h"

#include <string.h>

bool pq_container_has_file(const char *dir, const char *name)
{
    struct pq_arena a = {0};
    const char *path = pq_path_join(&a, dir, name);
    bool found = path && pq_path_kind(path) == PQ_PATH_FILE;
    pq_arena_free(&a);
    return found;
}

int pq_container_read_configs(struct pq_model *m, struct pq_err *e)
{
    const char *config = pq_path_join(&m->arena, m->path, "config.json");
    const char *generation = pq_path_join(&m->arena, m->path, "generation_config.json");
    if (!config || !generation)
        return pq_fail(e, PQ_ENOMEM, "%s: out of memory", m->path);
    int rc = pq_json_load(&m->config, config, e);
    return rc < 0 ? rc : pq_json_load_optional(&m->generation, generation, e);
}

static bool has_side(const struct pq_model *m, const char *name)
{
    for (size_t i = 0; i < m->n_sides; i++)
        if (!strcmp(m->side[i].name, name))
            return true;
    return false;
}

/* A vocabulary that came without files (GGUF) is written in the library's own form. */
static int add_vocab_files(struct pq_plan *p, size_t capacity, const struct pq_model *m,
                           struct pq_err *e)
{
    json_t *j = NULL;
    int rc = pq_vocab_tokenizer_json(&m->vocab, &j, e);
    if (rc >= 0)
        rc = pq_container_add_json(p, capacity, "tokenizer.json", j, e);
    j = NULL;
    if (rc >= 0)
        rc = pq_vocab_tokenizer_config(&m->vocab, &j, e);
    return rc < 0 ? rc : pq_container_add_json(p, capacity, "tokenizer_config.json", j, e);
}

int pq_container_add_sides(struct pq_plan *p, size_t capacity, const struct pq_model *m,
                           struct pq_err *e)
{
    static const char generation[] = "generation_config.json";
    int rc = PQ_OK;
    for (size_t i = 0; rc >= 0 && i < m->n_sides; i++)
        rc = pq_container_add_file(p, capacity, m->side[i].name, m->side[i].data, m->side[i].size,
                                   e);
    if (rc >= 0 && !has_side(m, generation))
        rc = pq_container_add_json(p, capacity, generation, pq_network_generation(&m->net), e);
    const bool has = has_side(m, "tokenizer.json") || has_side(m, "tokenizer.model") ||
                     has_side(m, "vocab.json");
    return rc < 0 || has ? rc : add_vocab_files(p, capacity, m, e);
}
