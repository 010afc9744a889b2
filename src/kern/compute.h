/*
 * Kernels of the forward pass, in a table of their own: they may know instructions that the
 * encoders' levels do not have. Single-precision ones give the same bits at every level, for any
 * number of rows and tokens at once: a sum runs over sixteen lanes in the order of the columns and
 * is folded by a fixed tree. Kernels see pointers and counts: they never allocate, lock or fail.
 * SPDX-License-Identifier: MIT
 */
#ifndef PQ_KERN_COMPUTE_H
#define PQ_KERN_COMPUTE_H

#include "base/dtype.h"

#include <stdbool.h>
#include <stdint.h>

/* Q8: blocks of 32, a half-precision scale and 32 signed bytes (GGUF's Q8_0); rows are whole
 * blocks.
 */
enum pq_dense { PQ_DENSE_F32, PQ_DENSE_F16, PQ_DENSE_BF16, PQ_DENSE_Q8, PQ_DENSE_TYPES };
enum { PQ_Q8_BLOCK = 32, PQ_Q8_BYTES = 34 };

/* out[t * out_step + r] = row r of w times row t of x. w may lie at any address. */
struct pq_dots {
    const void *w;
    uint64_t w_step; /* bytes from row to row */
    uint64_t rows, cols;
    const float *x; /* [n] rows of cols */
    uint64_t x_step;
    uint64_t n;
    float *out;
    uint64_t out_step;
};

/* out[t][d] += the sum over i of p[t][i] v[i][d], i ascending; dims is a multiple of 16. */
struct pq_mix {
    const void *v;
    uint64_t v_step; /* bytes from row to row */
    uint64_t rows, dims;
    const float *p; /* [n] rows of p_step */
    uint64_t p_step;
    uint64_t n;
    float *out;
    uint64_t out_step;
};

/*
 * Integer products: codes of at most 8 bits times activations rounded to 8 bits in blocks of 32.
 * Rows of a stored matrix are spread out sixteen at a time (a strip), whatever their layout; what
 * follows is the same for all. Weight k of a row is scale[k / group] (q[k] - zero), or with offsets
 * scale[k / group] q[k] + offset[k / group]; group is 16 or 32.
 *
 * Sums over a group are exact integers; groups are added in order, with one rounding each. So the
 * result is the same at every level and for any number of tokens.
 */
enum {
    PQ_STRIP_ROWS = 16,
    PQ_ACT_BLOCK = 32,   /* activations per scale */
    PQ_STRIP_STEP = 512, /* rows of strips and activations have room for multiples of this */
    PQ_PANEL = 12        /* most tokens of a panel */
};

/* Layouts that can be spread out. */
enum pq_codes {
    PQ_CODES_Q4_0,
    PQ_CODES_Q4_1,
    PQ_CODES_Q5_0,
    PQ_CODES_Q5_1,
    PQ_CODES_Q8_0,
    PQ_CODES_IQ4_NL,
    PQ_CODES_MXFP4_GGUF,
    PQ_CODES_Q2_K,
    PQ_CODES_Q3_K,
    PQ_CODES_Q4_K,
    PQ_CODES_Q5_K,
    PQ_CODES_Q6_K,
    PQ_CODES_IQ4_XS,
    PQ_CODES_PAIRS, /* two in a byte, the lower nibble first; scales apart */
    PQ_CODES_BYTES, /* one in a byte; scales apart */
    PQ_CODES_BITS,  /* a stream of bits, the lowest first; scales apart */
    PQ_CODES_MXFP4, /* 4-bit floats two in a byte; powers of two apart */
    PQ_CODES_NVFP4, /* the same with 8-bit floats apart */
    PQ_CODES_TYPES
};

/* A stored row. What is below `cols` only matters where scales lie apart. */
struct pq_codes_in {
    const uint8_t *part[3]; /* codes, scales, and zero points or offsets (or NULL) */
    uint64_t cols;          /* a multiple of 32 */
    uint64_t per_scale;     /* weights per stored scale, 16 or a multiple of 32 */
    int bits;               /* of a code in a stream of bits: 2 to 7 */
    enum pq_dtype aux;      /* type of scales and offsets */
    bool flip;              /* codes are in two's complement */
    enum { PQ_ZERO_NONE, PQ_ZERO_NIBBLES, PQ_ZERO_BYTES, PQ_ZERO_OFFSETS } zeros;
    bool keep_zeros; /* zero points come out as they are, not as offsets */
};

struct pq_strip {
    uint64_t step; /* of q, a multiple of PQ_STRIP_STEP */
    uint64_t cols;
    uint32_t group;         /* 16 or 32 */
    int32_t zero;           /* of codes without offsets */
    bool has_offsets;       /* and then zero is 0 */
    bool offsets_are_zeros; /* a weight is scale (q - offset) */
    int bits;               /* codes are below 2^bits */
    uint8_t *q;             /* [16][step] */
    float *scale, *offset;  /* [16][step / group] */
};

/* The same sixteen rows turned round, for many tokens. */
struct pq_tile {
    uint8_t *q;            /* [step / 4][16][4] */
    float *scale, *offset; /* [step / group][16] */
};

/* Activations of `width` tokens: 1, 4 or PQ_PANEL. */
struct pq_panel {
    uint64_t width;
    int8_t *q;      /* [step / 4][width][4], zeros from cols on */
    float *scale;   /* [step / 32][width] */
    int32_t *start; /* [step / group][width]: minus zero times the sum of a group */
    int32_t *sum;   /* the sum itself */
    float *shift;   /* scale times sum, what an offset is multiplied with */
};

struct pq_compute {
    const char *level;
    void (*dots[PQ_DENSE_TYPES])(const struct pq_dots *d);
    void (*mix[PQ_DENSE_TYPES])(const struct pq_mix *m);
    /* Keeps n values, whole lanes or blocks, for dots and mix; NULL where nothing is kept so. */
    void (*keep[PQ_DENSE_TYPES])(const float *x, uint64_t n, uint8_t *to);
    void (*spread[PQ_CODES_TYPES])(const struct pq_codes_in *in, uint8_t *q, float *scale,
                                   float *offset);
    /* The first `rows` rows of a strip as floats [rows][cols]: exactly what their scheme decodes.
     */
    void (*widen)(const struct pq_strip *s, uint64_t rows, float *x);
    void (*turn)(const struct pq_strip *s, const struct pq_tile *t);
    /* x: rows of x_step, as many as the panel is wide. */
    void (*round_panel)(const struct pq_strip *s, const float *x, uint64_t x_step,
                        const struct pq_panel *p);
    /* One token's products with sixteen stored rows as they lie; false, and nothing done, where
     * this level has no way to do that. The strip's memory is for the kernel's use. */
    bool (*stream_dots)(enum pq_codes type, const struct pq_codes_in in[PQ_STRIP_ROWS],
                        const struct pq_strip *s, const struct pq_panel *p, float out[16]);
    void (*strip_dots)(const struct pq_strip *s, const struct pq_panel *p, float out[16]);
    /* out[token][16] */
    void (*tile_dots)(const struct pq_strip *s, const struct pq_tile *t, const struct pq_panel *p,
                      float *out);
    /* y = x / sqrt(mean(x^2) + eps) * weight */
    void (*norm_rms)(const float *x, uint64_t n, double eps, const float *weight, float *y);
    /* y = (x - mean) / sqrt(variance + eps) * weight + bias */
    void (*norm_layer)(const float *x, uint64_t n, double eps, const float *weight,
                       const float *bias, float *y);
    float (*largest)(const float *x, uint64_t n);               /* n > 0 */
    float (*exp_sum)(float *x, uint64_t n, float below);        /* x = e^(x - below); their sum */
    void (*silu_mul)(float *gate, const float *up, uint64_t n); /* gate = silu(gate) up */
    void (*gelu)(float *x, uint64_t n);                         /* the tanh form, in place */
    /* Multiplies 8-bit integers in registers and does nothing else; returns how many products that
     * were. *sink is any number, and becomes another. */
    uint64_t (*peak_macs)(uint64_t rounds, uint32_t *sink);
};

/* As pq_kern_best and pq_kern_level: the names are theirs. */
const struct pq_compute *pq_compute_best(const char *limit);
const struct pq_compute *pq_compute_level(int i);

#endif
