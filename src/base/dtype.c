/* SPDX-License-Identifier: MIT */
#include "base/dtype.h"

#include <string.h>

static const struct {
    const char *name;
    size_t size;
} types[PQ_DTYPES] = {
    [PQ_F32] = {"F32", 4},         [PQ_F16] = {"F16", 2},         [PQ_BF16] = {"BF16", 2},
    [PQ_F64] = {"F64", 8},         [PQ_F8_E4M3] = {"F8_E4M3", 1}, [PQ_F8_E5M2] = {"F8_E5M2", 1},
    [PQ_F8_E8M0] = {"F8_E8M0", 1}, [PQ_I8] = {"I8", 1},           [PQ_U8] = {"U8", 1},
    [PQ_I16] = {"I16", 2},         [PQ_U16] = {"U16", 2},         [PQ_I32] = {"I32", 4},
    [PQ_U32] = {"U32", 4},         [PQ_I64] = {"I64", 8},         [PQ_U64] = {"U64", 8},
    [PQ_BOOL] = {"BOOL", 1},
};

size_t pq_dtype_size(enum pq_dtype t)
{
    return t < PQ_DTYPES ? types[t].size : 0;
}

const char *pq_dtype_name(enum pq_dtype t)
{
    return t < PQ_DTYPES ? types[t].name : "none";
}

enum pq_dtype pq_dtype_from_name(const char *name)
{
    for (int t = 0; t < PQ_DTYPES; t++)
        if (!strcmp(types[t].name, name))
            return (enum pq_dtype)t;
    return PQ_DTYPES;
}
