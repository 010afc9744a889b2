/*
 * A scheme is a grid: which values a group of weights can take, and how they are packed.
 * One row of the table per scheme; a row of the matrix [rows, cols] is the unit of work.
 * SPDX-License-Identifier: MIT
 */
#ifndef PQ_QUANT_SCHEME_H
#define PQ_QUANT_SCHEME_H

#include "base/err.h"
#include "kern/kern.h"

enum pq_family {
    PQ_FAM_FLOAT,  /* stored element types, one part */
    PQ_FAM_GGML,   /* blocks of GGUF, one part of bytes */
    PQ_FAM_AFFINE, /* MLX affine: w = scale * q + bias */
    PQ_FAM_FP,     /* MLX mxfp4, mxfp8, nvfp4 */
    PQ_FAM_NF4,    /* OpenVINO NF4: w = scale * value[code] */
    PQ_FAM_INT     /* neutral integers: w = scale * (q - zero point); ONNX and OpenVINO pack them */
};

/* How codes are chosen. */
enum pq_solver {
    PQ_SOLVER_RTN,    /* round to nearest, as the container's own runtime or tool does */
    PQ_SOLVER_SEARCH, /* scale and offset minimise the weighted squared error */
    PQ_SOLVER_GPTQ    /* codes chosen with feedback on the grids of search (quant/feedback.h) */
};
const char *pq_solver_name(enum pq_solver s);
bool pq_solver_find(const char *name, enum pq_solver *out);

#define PQ_MAX_PARTS 3

/* One stored array of an encoded matrix: [rows, cols] elements of dtype. */
struct pq_part {
    const char *suffix; /* role within the scheme: "weight", "scales", "biases", "zeros" */
    enum pq_dtype dtype;
    uint64_t cols; /* elements per row */
};

#define PQ_NO_GGML_TYPE UINT32_MAX

struct pq_scheme {
    const char *name;  /* as users write it: "q4_k", "affine4g64", "int4g32", "bf16" */
    const char *about; /* one line for help */
    enum pq_family family;
    int bits;                /* of one code */
    uint32_t group;          /* weights per scale; 0 = the whole row */
    uint32_t block;          /* the row length must be a multiple of this */
    enum pq_dtype aux;       /* stored type of scales and offsets; PQ_DTYPES when there are none */
    bool symmetric;          /* no offset */
    bool signed_codes;       /* PQ_FAM_INT: half the range subtracted, two's complement */
    bool byte_zeros;         /* PQ_FAM_INT: 4-bit zero points take a byte each */
    uint32_t ggml_type;      /* id in GGUF files, or PQ_NO_GGML_TYPE */
    enum pq_encoder encoder; /* PQ_ENC_NONE: can be read only */
    enum pq_dtype dtype;     /* PQ_FAM_FLOAT: the element type; else PQ_DTYPES */
    double rms_bound; /* relative RMS error that search stays under on normal weights (tests) */
    /* Layout of a row of `cols` weights; returns the number of parts. */
    int (*parts)(const struct pq_scheme *s, uint64_t cols, struct pq_part out[PQ_MAX_PARTS]);
    /* One row back to float: exactly the value that the container's runtime computes in float32. */
    void (*decode)(const struct pq_scheme *s, const void *const part[], uint64_t cols, float *x);
};

/* The i-th row of the table, NULL past the end. Families keep their rows in files of their own
 * (quant/table.h lists them). */
const struct pq_scheme *pq_scheme_at(int i);

const struct pq_scheme *pq_scheme_find(const char *name); /* case-insensitive; NULL if unknown */
const struct pq_scheme *pq_scheme_of_dtype(enum pq_dtype t);
const struct pq_scheme *pq_scheme_of_ggml(uint32_t type);
/* The row with the same grid whose scales are stored as `aux`; s itself where it has no scales or
 * where they are part of its blocks; NULL where the table has no such row. */
const struct pq_scheme *pq_scheme_with_aux(const struct pq_scheme *s, enum pq_dtype aux);

/* The row with the same grid and scales whose codes, or whose zero points, are packed this way. */
const struct pq_scheme *pq_scheme_packed(const struct pq_scheme *s, bool signed_codes,
                                         bool byte_zeros);
/* The row with the same kind of codes and scales in groups of another size (0 = the whole row). */
const struct pq_scheme *pq_scheme_with_group(const struct pq_scheme *s, uint32_t group);

/* Bytes of one encoded row in part i, and in all parts. */
uint64_t pq_scheme_part_bytes(const struct pq_scheme *s, uint64_t cols, int i);
uint64_t pq_scheme_row_bytes(const struct pq_scheme *s, uint64_t cols);
/* Exact bits per weight for a row of `cols` weights, scales and offsets included. */
double pq_scheme_bpw(const struct pq_scheme *s, uint64_t cols);

/* Encodes one row. The caller has checked cols % s->block and provides part[i] with
 * pq_scheme_part_bytes(s, cols, i) bytes. importance is [cols] or NULL. */
void pq_scheme_encode(const struct pq_scheme *s, const struct pq_kern *k, enum pq_solver solver,
                      const float *x, const float *importance, uint64_t cols, void *const part[]);

/* A stored matrix in somebody else's memory (usually a mapped file). */
struct pq_view {
    const struct pq_scheme *scheme;
    const uint8_t *part[PQ_MAX_PARTS]; /* each [rows][pq_scheme_part_bytes] */
    uint64_t rows, cols;
    uint64_t turned;     /* 0; or plain elements lie column by column, each column this many long */
    bool own_zeros;      /* the zero points lie in the reader's memory, not in a mapped file */
    const float *factor; /* NULL; or [cols], what columns were divided by before they were stored */
};

/* Widens one stored row to float32. */
void pq_view_row(const struct pq_view *v, const struct pq_kern *k, uint64_t row, float *x);

#endif
