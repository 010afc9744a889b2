/*
 * What the files of this room share among themselves. SPDX-License-Identifier: MIT
 */
#ifndef PQ_CONTAINER_COMMON_H
#define PQ_CONTAINER_COMMON_H

#include "base/num.h"
#include "container/container.h"

extern const struct pq_container pq_container_hf, pq_container_gguf, pq_container_mlx,
    pq_container_onnx, pq_container_ov;

/* Shell-like: '*' any run, '?' any one byte, everything else itself. */
bool pq_container_glob(const char *pattern, const char *s);
bool pq_container_same_word(const char *a, const char *b); /* ASCII case does not matter */

/* Layers that llama.cpp's K_M mixes, and mlx-lm's mixed ones after it, give more bits: the first
 * and the last eighth and every third in between. */
bool pq_container_more_bits(int layer, uint32_t n_layers);

/* Moves the 4-bit matrices that lose most to the container's usual 8 bits, so that at most r->ratio
 * of the weights in 4-bit matrices stay. What is lost is measured on rows of each matrix: squared
 * error over squared weights (inputs weighted by the importance matrix where there is one) for each
 * weight, more in earlier layers. */
int pq_container_ratio(const struct pq_container *c, const struct pq_model *m,
                       const struct pq_request *r, const struct pq_scheme **choice,
                       struct pq_err *e) PQ_MUST_CHECK;

/* Sizes of a planned item from its tensor and scheme; its parts are not placed yet. */
void pq_container_measure(struct pq_item *it, const struct pq_tensor *t, size_t index,
                          const struct pq_scheme *s);

/* Adds a file whose whole content is data (copied). */
int pq_container_add_file(struct pq_plan *p, size_t capacity, const char *name, const void *data,
                          size_t size, struct pq_err *e) PQ_MUST_CHECK;

/* The same for a JSON document, whose reference it takes; NULL counts as out of memory. */
int pq_container_add_json(struct pq_plan *p, size_t capacity, const char *name, json_t *j,
                          struct pq_err *e) PQ_MUST_CHECK;

/* The source's small files as they are; what is missing of generation_config.json and the tokenizer
 * is written in the libraries' own form. At most n_sides + 3 files. */
int pq_container_add_sides(struct pq_plan *p, size_t capacity, const struct pq_model *m,
                           struct pq_err *e) PQ_MUST_CHECK;

/* Refusals and remarks that every writer for these runtimes has in common: a tokenizer must be
 * there, heads must tile the hidden size, a sliding window is not honoured. */
int pq_container_check_source(struct pq_plan *p, const struct pq_model *m, const char *runtime,
                              struct pq_err *e) PQ_MUST_CHECK;

/* A name for messages and files from a path and, where the path says nothing, from config.json. */
const char *pq_container_model_name(struct pq_arena *a, const char *path, const json_t *config);

bool pq_container_has_file(const char *dir, const char *name);
/* config.json and, where there is one, generation_config.json of the model's folder. */
int pq_container_read_configs(struct pq_model *m, struct pq_err *e) PQ_MUST_CHECK;
/* The small files of a folder that travel with a model, in a fixed order. */
int pq_container_read_sides(struct pq_model *m, const char *dir, struct pq_err *e) PQ_MUST_CHECK;
/* The tokenizer of a folder; none at all is no error, a broken one is. */
int pq_container_read_vocab(struct pq_model *m, const char *dir, struct pq_err *e) PQ_MUST_CHECK;

/* A checkpoint under other names: what a container calls or packs its own way, as the arrays that
 * pq_network_bind looks for. Entries borrow from the real one. */
struct pq_shadow {
    struct pq_ckpt ckpt;
    size_t capacity;
};
int pq_shadow_init(struct pq_shadow *s, const struct pq_model *m, size_t capacity,
                   struct pq_arena *a, struct pq_err *e) PQ_MUST_CHECK;
/* The next entry to fill; NULL when the capacity is used up. */
struct pq_stored *pq_shadow_add(struct pq_shadow *s);
/* Puts the entries into the order that pq_ckpt_find needs; two of one name are refused. */
int pq_shadow_sort(struct pq_shadow *s, struct pq_err *e) PQ_MUST_CHECK;

/* GGUF's name of a network tensor ("blk.3.attn_qkv.weight"), in the arena; NULL without memory. */
const char *pq_gguf_tensor_name(struct pq_arena *a, enum pq_role role, int layer);
/* llama.cpp's architecture for a model_type ("phi" -> "phi2") and back; NULL when there is none. */
const char *pq_gguf_arch_name(const char *model_type);
const char *pq_gguf_model_type(const char *arch, uint64_t len);

#define PQ_GGUF_ROPE_LONG "rope_factors_long.weight"
#define PQ_GGUF_ROPE_SHORT "rope_factors_short.weight"

/* Key-value pairs being written, counted. */
struct pq_gguf_meta {
    struct pq_buf b;
    uint64_t n;
};
int pq_gguf_put_meta(struct pq_gguf_meta *k, struct pq_arena *a, const struct pq_model *m,
                     const struct pq_request *r, struct pq_err *e) PQ_MUST_CHECK;

/* MLX: config.json's words for a scheme and back. Modes: "affine", "mxfp4", "mxfp8", "nvfp4". */
const char *pq_mlx_mode(const struct pq_scheme *s);
const struct pq_scheme *pq_mlx_scheme(const char *mode, uint64_t bits, uint64_t group,
                                      enum pq_dtype aux);
/* Element type for a torch_dtype ("bfloat16"), PQ_DTYPES when MLX does not compute in it; and back.
 */
enum pq_dtype pq_mlx_dtype(const char *torch_dtype);
const char *pq_mlx_dtype_name(enum pq_dtype t);
/* The type of everything that is not quantized, scales included. */
enum pq_dtype pq_mlx_floats(const struct pq_recipe *r, const struct pq_hparams *hp);

/* config.json of an MLX folder (the caller json_decref()s; NULL without memory), and what its
 * LongRoPE can and cannot do, in words. */
json_t *pq_mlx_config(const struct pq_model *m, const struct pq_request *r,
                      const struct pq_scheme *const *choice);
int pq_mlx_check_rope(struct pq_plan *p, const struct pq_model *m, const struct pq_request *r,
                      struct pq_err *e) PQ_MUST_CHECK;

/* Recipes of each container, and where they put schemes. */
extern const struct pq_recipe pq_gguf_recipes[], pq_mlx_recipes[];
const struct pq_scheme *pq_gguf_place(const struct pq_recipe *r, const struct pq_network *net,
                                      size_t i, bool have_imatrix);
const struct pq_scheme *pq_mlx_place(const struct pq_recipe *r, const struct pq_network *net,
                                     size_t i, bool have_imatrix);
const struct pq_scheme *pq_gguf_fit(const struct pq_scheme *s, const struct pq_recipe *r,
                                    const struct pq_network *net, size_t i);
const struct pq_scheme *pq_mlx_fit(const struct pq_scheme *s, const struct pq_recipe *r,
                                   const struct pq_network *net, size_t i);

int pq_gguf_plan(struct pq_plan *p, const struct pq_model *m, const struct pq_request *r,
                 const struct pq_scheme *const *choice, struct pq_err *e);
int pq_mlx_plan(struct pq_plan *p, const struct pq_model *m, const struct pq_request *r,
                const struct pq_scheme *const *choice, struct pq_err *e);

#endif
