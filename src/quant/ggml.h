/* Blocks of GGUF tensors, within this room. SPDX-License-Identifier: MIT */
#ifndef PQ_QUANT_GGML_H
#define PQ_QUANT_GGML_H

#include <stddef.h>
#include <stdint.h>

/* One block to floats, by the same single-precision operations in the same order as the `gguf`
 * package's reference, so that values are equal to the last bit. */
typedef void pq_ggml_decode_fn(const uint8_t *b, float *x);

#define PQ_GGML_BLOCKS(X)   \
    X(q4_0, 2, 18, 32)      \
    X(q4_1, 3, 20, 32)      \
    X(q5_0, 6, 22, 32)      \
    X(q5_1, 7, 24, 32)      \
    X(q8_0, 8, 34, 32)      \
    X(q2_k, 10, 84, 256)    \
    X(q3_k, 11, 110, 256)   \
    X(q4_k, 12, 144, 256)   \
    X(q5_k, 13, 176, 256)   \
    X(q6_k, 14, 210, 256)   \
    X(iq2_xxs, 16, 66, 256) \
    X(iq2_xs, 17, 74, 256)  \
    X(iq3_xxs, 18, 98, 256) \
    X(iq1_s, 19, 50, 256)   \
    X(iq3_s, 21, 110, 256)  \
    X(iq2_s, 22, 82, 256)   \
    X(iq1_m, 29, 56, 256)   \
    X(iq4_nl, 20, 18, 32)   \
    X(iq4_xs, 23, 136, 256) \
    X(tq1_0, 34, 54, 256)   \
    X(tq2_0, 35, 66, 256)   \
    X(mxfp4, 39, 17, 32)

#define PQ_X(name, type, bytes, elems) pq_ggml_decode_fn pq_ggml_decode_##name;
PQ_GGML_BLOCKS(PQ_X)
#undef PQ_X

/* The 16 values of IQ4_NL and IQ4_XS. */
extern const int8_t pq_ggml_iq4_values[16];

#endif
