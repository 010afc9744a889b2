/* Opening a model from whatever container a path holds. SPDX-License-Identifier: MIT */
#include "container/common.h"

#include <string.h>

void pq_model_free(struct pq_model *m)
{
    if (!m)
        return;
    json_decref(m->config);
    json_decref(m->generation);
    pq_ckpt_close(m->ckpt);
    pq_arena_free(&m->arena);
    pq_free(m);
}

static int no_container(const char *path, struct pq_err *e)
{
    if (pq_path_kind(path) == PQ_PATH_NONE)
        return pq_fail(e, PQ_EIO, "%s: no such file or folder", path);
    return pq_fail(e, PQ_EFORMAT,
                   "%s: not a model that phiq reads: neither a GGUF file, nor a folder with "
                   "config.json beside *.safetensors or pytorch_model*.bin, nor one with "
                   "genai_config.json beside model.onnx, nor one with openvino_model.xml",
                   path);
}

int pq_model_load(struct pq_model **out, const char *path, struct pq_err *e)
{
    int rc = PQ_OK;
    *out = NULL;
    struct pq_model *m = (struct pq_model *)pq_calloc(1, sizeof *m);
    if (!m)
        return pq_fail(e, PQ_ENOMEM, "%s: out of memory", path);
    m->path = pq_arena_strdup(&m->arena, path);
    if (!m->path)
        PQ_TRY(pq_fail(e, PQ_ENOMEM, "%s: out of memory", path));
    for (const struct pq_container *const *c = pq_containers; *c && !m->container; c++)
        if ((*c)->probe(path))
            m->container = *c;
    if (!m->container)
        PQ_TRY(no_container(path, e));
    PQ_TRY(m->container->read(m, e));
    *out = m;
    m = NULL;
out:
    pq_model_free(m);
    return rc;
}

/* Folder names that say where a model lies, not which one it is. */
static bool says_nothing(const char *name)
{
    static const char *const generic[] = {"",    ".",    "..",       "gguf",
                                          "mlx", "onnx", "openvino", "model"};
    for (size_t i = 0; i < PQ_LEN(generic); i++)
        if (pq_container_same_word(name, generic[i]))
            return true;
    return strlen(name) == 40 && strspn(name, "0123456789abcdef") == 40; /* a hub snapshot */
}

/* "models--microsoft--phi-4" of the hub's cache, anywhere on the path. */
static char *hub_name(struct pq_arena *a, const char *path)
{
    const char *at = strstr(path, "models--");
    const char *end = at ? strchr(at, '/') : NULL;
    if (!at)
        return NULL;
    size_t n = end ? (size_t)(end - at) : strlen(at);
    size_t from = n;
    while (from > 2 && !(at[from - 1] == '-' && at[from - 2] == '-'))
        from--;
    return pq_arena_strndup(a, at + from, n - from);
}

static char *last_component(struct pq_arena *a, const char *path)
{
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        n--;
    size_t from = n;
    while (from > 0 && path[from - 1] != '/')
        from--;
    return pq_arena_strndup(a, path + from, n - from);
}

const char *pq_container_model_name(struct pq_arena *a, const char *path, const json_t *config)
{
    const char *name = last_component(a, path);
    if (!name || !says_nothing(name))
        return name;
    name = hub_name(a, path);
    if (name && !says_nothing(name))
        return name;
    const char *origin = json_string_value(json_object_get(config, "_name_or_path"));
    name = origin ? last_component(a, origin) : NULL;
    return name && !says_nothing(name) ? name : pq_arena_strdup(a, "model");
}
