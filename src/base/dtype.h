/* Element types of stored arrays, as safetensors, PyTorch and GGUF name them.
 * SPDX-License-Identifier: MIT */
#ifndef PQ_BASE_DTYPE_H
#define PQ_BASE_DTYPE_H

#include <stddef.h>

enum pq_dtype {
    PQ_F32,
    PQ_F16,
    PQ_BF16,
    PQ_F64,
    PQ_F8_E4M3,
    PQ_F8_E5M2,
    PQ_F8_E8M0,
    PQ_I8,
    PQ_U8,
    PQ_I16,
    PQ_U16,
    PQ_I32,
    PQ_U32,
    PQ_I64,
    PQ_U64,
    PQ_BOOL,
    PQ_DTYPES /* count; also "none" */
};

size_t pq_dtype_size(enum pq_dtype t);              /* bytes per element */
const char *pq_dtype_name(enum pq_dtype t);         /* safetensors spelling, e.g. "BF16" */
enum pq_dtype pq_dtype_from_name(const char *name); /* PQ_DTYPES when unknown */

#endif
