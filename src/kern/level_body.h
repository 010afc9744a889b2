/*
 * The body of a level: every encoder, instantiated on the lanes that the including file's flags
 * select. A new template adds its include and its PQ_ROWS_... here and nowhere else.
 * SPDX-License-Identifier: MIT
 */
#include "kern/lanes.h"
#include "kern/level.h"

#include "kern/enc_affine.h"
#include "kern/enc_float.h"
#include "kern/enc_fp.h"
#include "kern/enc_ggml.h"
#include "kern/enc_int.h"
#include "kern/enc_kline.h"
#include "kern/enc_kscale.h"
#include "kern/enc_nf4.h"

#define PQ_KERN_TABLE(name)                                                                    \
    const struct pq_kern pq_kern_level_##name = {                                              \
        .level = #name,                                                                        \
        .encode = {PQ_ROWS_FLOAT, PQ_ROWS_GGML, PQ_ROWS_KLINE, PQ_ROWS_KSCALE, PQ_ROWS_AFFINE, \
                   PQ_ROWS_FP, PQ_ROWS_NF4, PQ_ROWS_INT},                                      \
        .widen_bf16 = widen_bf16,                                                              \
        .widen_f16 = widen_f16,                                                                \
        .all_finite = all_finite,                                                              \
    }
