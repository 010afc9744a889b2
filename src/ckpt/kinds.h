/*
 * What the kinds of checkpoint share: the table of kinds, the mapped files, and adding a tensor
 * with its size checked. SPDX-License-Identifier: MIT
 */
#ifndef PQ_CKPT_KINDS_H
#define PQ_CKPT_KINDS_H

#include "ckpt/ckpt.h"

#include <jansson.h>

/* What is known of a path before a kind is chosen. */
struct pq_ckpt_source {
    const char *path;
    bool folder;
    uint8_t head[16]; /* first bytes of a file, zeros beyond its end */
};

struct pq_ckpt_kind {
    const char *name;
    bool (*probe)(const struct pq_ckpt_source *s);
    int (*open)(struct pq_ckpt *c, bool folder, struct pq_err *e); /* adds all tensors */
    bool names_repeat; /* arrays are told apart by other means: one of each name is kept */
};

extern const struct pq_ckpt_kind pq_ckpt_kind_safetensors, pq_ckpt_kind_torch, pq_ckpt_kind_gguf,
    pq_ckpt_kind_onnx, pq_ckpt_kind_ov;

/* Maps a file of the checkpoint; the checkpoint closes it. m->path lives as long as c. */
int pq_ckpt_map(struct pq_ckpt *c, const char *path, struct pq_map *m, struct pq_err *e);

/* Bytes that shape and scheme of t need; path is for messages. */
int pq_ckpt_need(const struct pq_stored *t, const char *path, uint64_t *bytes, struct pq_err *e);
/* Adds a copy of t; its strings must live as long as c. */
int pq_ckpt_add(struct pq_ckpt *c, const struct pq_stored *t, struct pq_err *e);

/* Opens the shards that an index file {"weight_map": {tensor: file}} names, each through add_file.
 * When all is open, the index and the shards are held against each other. */
int pq_ckpt_open_index(struct pq_ckpt *c, const char *name,
                       int (*add_file)(struct pq_ckpt *c, const char *path, struct pq_err *e),
                       struct pq_err *e);
int pq_ckpt_check_index(const struct pq_ckpt *c, const char *path, const json_t *map,
                        struct pq_err *e);

bool pq_ckpt_ends_with(const char *s, const char *end);
bool pq_ckpt_folder_has(const char *folder, const char *name);

/* Behind pq_ckpt.priv. */
struct pq_ckpt_files {
    struct pq_map *map;
    size_t n_maps, map_cap, tensor_cap;
    json_t *index; /* the whole index document, or NULL */
    const char *index_path;
};

#endif
