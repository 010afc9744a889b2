/*
 * The table of schemes is made of one const array per family, each in its own file and each ended
 * by a row whose name is NULL. A new family adds one line here. SPDX-License-Identifier: MIT
 */
#ifndef PQ_QUANT_TABLE_H
#define PQ_QUANT_TABLE_H

#include "quant/scheme.h"

#define PQ_SCHEME_FAMILIES(X) \
    X(pq_schemes_float)       \
    X(pq_schemes_ggml)        \
    X(pq_schemes_mlx)         \
    X(pq_schemes_nf4)         \
    X(pq_schemes_int)

#define PQ_X(array) extern const struct pq_scheme array[];
PQ_SCHEME_FAMILIES(PQ_X)
#undef PQ_X

/* The values of 4-bit floats with two bits of exponent. */
extern const float pq_e2m1_values[16];

#endif
