/*
 * A quantized network that learns: what its reader decoded, as floats, with the gradient of a loss
 * and what Adam remembers. Matrices learn on the grids that their scales span: a latent weight
 * moves, the pass computes with the grid's nearest value, and the gradient goes straight through
 * the rounding. Scales, offsets and vectors (norms, biases) are rounded to the type that they are
 * stored in. SPDX-License-Identifier: MIT
 */
#ifndef PQ_REFINE_STUDENT_H
#define PQ_REFINE_STUDENT_H

#include "container/model.h"
#include "quant/rounding.h"
#include "refine/math.h"

#include <math.h>

#define PQ_ADAM_MEAN 0.9f
#define PQ_ADAM_SQUARE 0.95f

/* A stored scale or offset. */
struct pq_scale_param {
    float stored, latent, mean, square;
};

struct pq_param {
    const struct pq_tensor *t; /* of the quantized model */
    uint64_t rows, cols;
    float *w;    /* [rows][cols] what the pass computes with */
    float *grad; /* the rest is NULL where nothing is learned */
    float *latent;
    float *mean, *square; /* Adam: of the gradient and of its square */
    /* matrices: value = low + step level(code) */
    float *low, *step;
    uint8_t *code;
    struct pq_levels levels;
    float least, most, gap; /* levels, and what lies between two on the average; for vectors gap is
                               the mean size */
    struct pq_scales scales;
    struct pq_scale_param *scale; /* [rows][blocks][kinds] */
    uint64_t blocks;              /* of a row */
};

struct pq_student_layer {
    struct pq_param *norm, *norm_bias, *ffn_norm; /* those that a network has not are NULL */
    struct pq_param *qkv[3], *qkv_bias[3];
    int n_qkv;
    struct pq_param *out, *out_bias, *up, *up_bias, *down, *down_bias;
};

/* What is kept of a layer's way forward; [tokens][...] each. */
struct pq_layer_tape {
    float *h;   /* [hidden] into the layer */
    float *x;   /* [hidden] behind the norm */
    float *qkv; /* queries and keys rotated */
    float *att; /* [heads * head_dim] */
    float *mid; /* [hidden] behind attention; h in a parallel block */
    float *x2;  /* [hidden] behind the second norm; x in a parallel block */
    float *up;  /* before the activation, gate first where there is one */
    float *act; /* [ff] */
};

struct pq_student {
    struct pq_arena arena;
    const struct pq_model *model;
    const struct pq_hparams *hp;
    const struct pq_kern *kern;
    struct pq_math math;
    struct pq_param *param; /* [n_tensors] */
    struct pq_student_layer *layer;
    struct pq_param *embed, *final_norm, *final_bias, *head, *head_bias;
    uint32_t size, windows;     /* tokens of a window, windows of a batch */
    uint64_t tokens;            /* of a batch */
    uint64_t qkv_step, up_step; /* floats of a token */
    float *turn;                /* [size][rot_dims] cosines, then sines */
    struct pq_layer_tape *tape; /* [n_layers] */
    float *h, *x;               /* [tokens][hidden] behind the last layer, and its norm */
    /* memory of the way back */
    float *d_h, *d_x, *d_qkv, *d_att, *d_up, *d_act; /* [tokens][...] */
    float *turned[3]; /* operands turned round: of a weight, and two of a batch */
    float *stats;     /* [tokens][2] */
    float *attention; /* of all workers */
};

/* What a batch is. Learning takes about 30 bytes for each weight, and for each token of a batch
 * what pq_layer_tape holds of every layer. */
struct pq_student_setup {
    uint32_t size, windows;
    int threads;
    const char *cpu_level;
};

/* Borrows both; source is the checkpoint that the model was quantized from. */
int pq_student_new(struct pq_student **out, const struct pq_model *m, const struct pq_model *source,
                   const struct pq_student_setup *setup, struct pq_err *e) PQ_MUST_CHECK;
void pq_student_free(struct pq_student *s); /* NULL is fine */

/* From ids [windows][size] to s->x. */
void pq_student_forward(struct pq_student *s, const uint32_t *id, uint32_t windows);
/* From s->d_x, the gradient of what is behind the last norm, to all gradients but the head's, which
 * are added to. */
void pq_student_backward(struct pq_student *s, const uint32_t *id, uint32_t windows);
/* y = x w^T + bias, and the way back: gradients of w and bias added to, dx (or NULL) = or += dy w.
 */
void pq_student_linear(const struct pq_student *s, const struct pq_param *w,
                       const struct pq_param *bias, const struct pq_rows *x,
                       const struct pq_rows *y);
struct pq_linear_back {
    struct pq_param *w, *bias;
    struct pq_rows x, dy, dx; /* dx.at may be NULL */
    bool add;                 /* to dx */
};
void pq_student_linear_back(const struct pq_student *s, const struct pq_linear_back *b);

/* ---- lattice.c: learning of one parameter ---- */

/* Memory, and latent weights as near to the source's as the codes allow. */
int pq_param_begin(struct pq_param *p, const struct pq_student *s, const struct pq_tensor *source,
                   struct pq_err *e) PQ_MUST_CHECK;
void pq_param_end(struct pq_param *p);
/* One step of Adam, and w from the latent weights. rate: in gaps between codes, for vectors in
 * shares of their mean size; t counts from 1. Gradients become zero. */
struct pq_adam {
    double rate, vector_rate, scale_rate; /* of scales: in shares of themselves */
    uint32_t t;
};
void pq_param_step(struct pq_param *p, const struct pq_student *s, const struct pq_adam *a);

/* Rates with the correction of Adam's first steps. */
struct pq_adam_step {
    float rate, scale_rate;
    float correction; /* of the squares */
};
/* How far to go against a gradient. */
static inline float pq_adam_move(float *mean, float *square, float g, float rate,
                                 const struct pq_adam_step *a)
{
    *mean = PQ_ADAM_MEAN * *mean + (1 - PQ_ADAM_MEAN) * g;
    *square = PQ_ADAM_SQUARE * *square + (1 - PQ_ADAM_SQUARE) * g * g;
    const float size = sqrtf(*square * a->correction);
    return size > 0 ? rate * *mean / size : 0;
}

/* ---- scales.c ---- */

int pq_param_scales_begin(struct pq_param *p, struct pq_err *e) PQ_MUST_CHECK;
/* From and to the parts of an encoded row. */
void pq_param_scales_read(struct pq_param *p, uint64_t row, void *const part[]);
void pq_param_scales_put(const struct pq_param *p, uint64_t row, void *const part[]);
/* Scales of a row along the gradient of its weights, and the grid with them. */
void pq_param_scales_step(struct pq_param *p, uint64_t row, const struct pq_adam_step *a);

/* ---- attend.c ---- */

void pq_attend_forward(const struct pq_student *s, const struct pq_layer_tape *t, uint32_t windows);
/* s->d_qkv from s->d_att. */
void pq_attend_backward(const struct pq_student *s, const struct pq_layer_tape *t,
                        uint32_t windows);
uint64_t pq_attend_floats(const struct pq_student *s); /* a worker's memory */

/* ---- derive.c: norms and activations ---- */

struct pq_norm_job {
    const struct pq_student *s;
    struct pq_param *weight, *bias;
    const float *x; /* [n][hidden] into the norm */
    float *y;       /* forward: out of it; backward: its gradient */
    float *dx;      /* backward: added to */
    uint64_t n;
};
void pq_norm_forward(const struct pq_norm_job *j);
void pq_norm_backward(const struct pq_norm_job *j);
void pq_activate_forward(const struct pq_student *s, const struct pq_layer_tape *t, uint64_t n);
/* s->d_up from s->d_act. */
void pq_activate_backward(const struct pq_student *s, const struct pq_layer_tape *t, uint64_t n);

#endif
