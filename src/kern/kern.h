/*
 * Compute kernels behind one table. A level ("c", "avx2", "avx512", "neon") fills in what it has
 * over the C reference; every level gives the same bytes, so files do not depend on the machine.
 * Kernels see pointers and counts: they never allocate, log, lock or fail.
 * SPDX-License-Identifier: MIT
 */
#ifndef PQ_KERN_KERN_H
#define PQ_KERN_KERN_H

#include "base/dtype.h"
#include <stdbool.h>
#include <stdint.h>

/* One row to encode. Groups run along the columns. */
struct pq_encode_in {
    const float *x;          /* [cols] */
    const float *importance; /* [cols] mean squared input of each column (imatrix), or NULL */
    uint64_t cols;           /* a multiple of the scheme's block */
    bool search;             /* weighted search; otherwise round to nearest as the container's own
                                runtime does */
    /* Copied from the scheme's row, for encoders that serve several rows of the table. */
    int bits;
    uint64_t group;    /* weights per scale; equals cols for per-channel schemes */
    enum pq_dtype aux; /* type in which scales (and offsets) are stored */
    bool symmetric;
};

/* Writes each part of the encoded row; see enum pq_encoder for what the parts are. */
typedef void pq_encode_fn(const struct pq_encode_in *in, void *const part[]);

/* One encoder per line: name, and what the parts hold. The scheme table names the encoder. */
#define PQ_ENCODERS(X)                                                       \
    X(F32)                                                                   \
    X(F16)                                                                   \
    X(BF16)                                                                  \
    X(Q4_0)                                                                  \
    X(Q4_1)                                                                  \
    X(Q5_0)                                                                  \
    X(Q5_1)                                                                  \
    X(Q8_0)                                                                  \
    X(Q2_K)                                                                  \
    X(Q3_K)                                                                  \
    X(Q4_K)                                                                  \
    X(Q5_K)                                                                  \
    X(Q6_K)                                                                  \
    X(IQ4_NL)                                                                \
    X(IQ4_XS)                                                                \
    X(AFFINE) /* MLX affine: codes (LSB-first bit stream), scales, biases */ \
    X(MXFP4)  /* codes, E8M0 scales */                                       \
    X(MXFP8)  /* codes, E8M0 scales */                                       \
    X(NVFP4)  /* codes, E4M3 scales */                                       \
    X(NF4)    /* codes, scales */                                            \
    X(INT)    /* neutral INT4/INT8: codes, scales, zero points (none when symmetric) */

enum pq_encoder {
#define PQ_X(name) PQ_ENC_##name,
    PQ_ENCODERS(PQ_X)
#undef PQ_X
        PQ_N_ENCODERS,
    PQ_ENC_NONE = PQ_N_ENCODERS /* schemes that are only read */
};

struct pq_kern {
    const char *level;
    pq_encode_fn *encode[PQ_N_ENCODERS];
    void (*widen_bf16)(const uint16_t *h, uint64_t n, float *x);
    void (*widen_f16)(const uint16_t *h, uint64_t n, float *x);
    bool (*all_finite)(const float *x, uint64_t n);
};

/* Levels that this build has and this CPU can run, best last; "c" is always the first.
 * `limit` (a level's name, or NULL for none) caps the choice; unknown names return NULL. */
const struct pq_kern *pq_kern_best(const char *limit);
/* The i-th runnable level, NULL past the end: tests loop over it. */
const struct pq_kern *pq_kern_level(int i);

#endif
