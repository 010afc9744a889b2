/*
 * Containers: a document that names tensors, plus a blob with offsets. A writer plans every size
 * and offset and builds the whole document before a weight is read; the convert room fills the
 * blob. SPDX-License-Identifier: MIT
 */
#ifndef PQ_CONTAINER_CONTAINER_H
#define PQ_CONTAINER_CONTAINER_H

#include "container/model.h"
#include "quant/feedback.h"

enum pq_precision { PQ_FP32, PQ_FP16, PQ_PBF16, PQ_INT8, PQ_INT4, PQ_PRECISIONS };
const char *pq_precision_name(enum pq_precision p); /* "fp32", "fp16", "bf16", "int8", "int4" */

/* A named placement of schemes over the tensors of a network ("q4_k_m", "affine4g64"). */
struct pq_recipe {
    const char *name;  /* as users write it; NULL ends a list */
    const char *about; /* one line for help */
    const char *base;  /* the scheme that gives it its name */
    int file_type;     /* general.file_type of GGUF; -1 elsewhere */
};

/* What the user asked of one target. */
struct pq_request {
    const struct pq_recipe *recipe;
    const char *embed_scheme, *head_scheme; /* override the recipe; NULL = recipe's choice */
    struct pq_rule {
        const char *pattern; /* glob (* and ?) on the network's tensor names */
        const char *scheme;
    } const *rule; /* first match wins, before embed/head/recipe */
    size_t n_rules;
    enum { PQ_CONTEXT_AUTO, PQ_CONTEXT_SHORT, PQ_CONTEXT_LONG } context; /* LongRoPE prompts */
    const char *provider;           /* ONNX: "cpu", "cuda", ...; NULL = cpu */
    uint64_t split_max_bytes;       /* GGUF shards; 0 = one file */
    const float *const *importance; /* [n_tensors], each [cols] or NULL; NULL = no imatrix */
    double ratio;                   /* of weights that stay 4-bit; recorded in the file; 0 = all */
    const char *imatrix_name;       /* recorded in the file; NULL = none */
    uint32_t imatrix_entries, imatrix_chunks;
    const char *imatrix_dataset;
    const char *model_name; /* overrides the model's own name in metadata; NULL = its own */
    enum pq_solver solver;  /* recorded in metadata */
    const char *mix;        /* of a choice for a target, what is expected: recorded; NULL = none */
};

/* One stored array set to write: a network tensor in a scheme, or literal bytes. */
struct pq_item {
    const struct pq_tensor *tensor; /* NULL for literal data */
    size_t tensor_index;            /* into the network, for importance */
    const struct pq_scheme *scheme;
    const char *name; /* in the container, for messages and the table */
    uint32_t file;    /* index into pq_plan.file */
    int n_parts;
    uint64_t at[PQ_MAX_PARTS];    /* offset of each part in the file */
    uint64_t bytes[PQ_MAX_PARTS]; /* of each part, all rows */
    const void *literal;          /* bytes[0] bytes, when tensor is NULL */
};

struct pq_out_file {
    const char *name;  /* relative to the plan's root */
    struct pq_buf doc; /* written at offset 0; the whole content of a side file */
    uint64_t size;     /* of the file */
};

/* Everything about an output before it is written. Zero-initialise; pq_plan_free releases. */
struct pq_plan {
    struct pq_arena arena;
    const struct pq_container *container;
    const char *dir;   /* folder of this target under OUT: "gguf", "mlx" */
    bool whole_folder; /* the folder appears by one rename (mlx); else file by file (gguf) */
    struct pq_out_file *file;
    size_t n_files;
    struct pq_item *item;
    size_t n_items;
    const char *note[4]; /* lines to tell the user, e.g. which prompts a LongRoPE folder suits */
    int n_notes;
};
void pq_plan_free(struct pq_plan *p);
uint64_t pq_plan_bytes(const struct pq_plan *p); /* of all files */

struct pq_container {
    const char *name, *about;
    /* Reading. probe is cheap and never fails: can this path be one of mine? */
    bool (*probe)(const char *path);
    int (*read)(struct pq_model *m, struct pq_err *e); /* m->path, arena are set */
    /* Writing; plan is NULL for sources only. */
    bool (*holds)(const struct pq_scheme *s);
    const struct pq_recipe *recipes;
    const char *usual[PQ_PRECISIONS]; /* recipe per precision */
    /* The recipe's scheme for tensor i (rules and embed/head overrides are not its business). */
    const struct pq_scheme *(*place)(const struct pq_recipe *r, const struct pq_network *net,
                                     size_t i, bool have_imatrix);
    /* The form in which this container stores tensor i when s was chosen for it: the type of its
     * scales, and what replaces a scheme whose blocks do not tile the row. NULL when none fits. */
    const struct pq_scheme *(*fit)(const struct pq_scheme *s, const struct pq_recipe *r,
                                   const struct pq_network *net, size_t i);
    int (*plan)(struct pq_plan *p, const struct pq_model *m, const struct pq_request *r,
                const struct pq_scheme *const *choice, struct pq_err *e);
};

extern const struct pq_container *const pq_containers[]; /* NULL-ended; the order of probing */
const struct pq_container *pq_container_find(const char *name); /* writers only; NULL if unknown */
const struct pq_recipe *pq_recipe_find(const struct pq_container *c, const char *name);

/* Decides a scheme for every tensor: rules, then embed/head, then the recipe; vectors and norms as
 * the container wants them. Shapes that a scheme cannot hold fall back as the container's own tool
 * does, or are refused in words when the user named the scheme. choice is [n_tensors]. */
int pq_choose(const struct pq_container *c, const struct pq_model *m, const struct pq_request *r,
              const struct pq_scheme **choice, struct pq_err *e) PQ_MUST_CHECK;

/* Did the user name this tensor's scheme, by a rule or with embed or head? */
bool pq_container_is_named(const struct pq_request *r, const struct pq_network *net,
                           const struct pq_tensor *t);
void pq_container_note(struct pq_plan *p, const char *text); /* NULL and a full list are fine */

/* What a mix may choose from for matrix `tensor`: the schemes that c holds, in the form in which it
 * stores them there, each grid once; of element types the source's own 16-bit one (or f16). Every
 * matrix of a network is an array of its own in every container, so each is chosen by itself.
 * Returns how many. */
enum { PQ_MAX_CANDIDATES = 48 };
size_t pq_candidates(const struct pq_container *c, const struct pq_network *net, size_t tensor,
                     const struct pq_scheme *out[PQ_MAX_CANDIDATES]);

/* llama.cpp's imatrix in its GGUF form, per tensor of the network ([n_tensors], entries NULL where
 * the file has none). Values are mean squared inputs. */
struct pq_imatrix {
    const float **importance;
    uint32_t n_entries, n_chunks, chunk_size;
    const char *dataset;
    /* phiq's own addition, [n_tensors]: sums of products; NULL: the file has none. They lie in the
     * mapped file, which pq_imatrix_close lets go. */
    struct pq_products *products;
    struct pq_ckpt *file;
};
int pq_imatrix_load(struct pq_imatrix *im, struct pq_arena *a, const char *path,
                    const struct pq_network *net, struct pq_err *e) PQ_MUST_CHECK;
void pq_imatrix_close(struct pq_imatrix *im);

/* One being written, tensor by tensor in any order. Begin with zeros; finish or abandon it. */
struct pq_imatrix_out {
    struct pq_whole file;
    struct pq_arena arena;
    struct pq_imatrix_plan *plan;
    uint64_t data_at;
    bool products;
};
/* Is it in the file: does it multiply activations? Every matrix, the embedding if it is the head.
 */
bool pq_imatrix_has(const struct pq_network *net, size_t tensor);
/* `about` gives dataset, n_chunks and chunk_size. With o->products set, there is room for products
 * of every matrix whose inputs are its own (pq_network_inputs_of). */
int pq_imatrix_create(struct pq_imatrix_out *o, const char *path, const struct pq_network *net,
                      const struct pq_imatrix *about, struct pq_err *e) PQ_MUST_CHECK;
/* Sums of squared inputs [cols] over `rows` rows. */
int pq_imatrix_put(const struct pq_imatrix_out *o, size_t tensor, const double *sum2, uint64_t rows,
                   struct pq_err *e) PQ_MUST_CHECK;
/* The lower triangle of their products, row by row. */
int pq_imatrix_put_products(const struct pq_imatrix_out *o, size_t tensor, const float *lower,
                            struct pq_err *e) PQ_MUST_CHECK;
int pq_imatrix_finish(struct pq_imatrix_out *o, struct pq_err *e) PQ_MUST_CHECK;
void pq_imatrix_abandon(struct pq_imatrix_out *o);

#endif
