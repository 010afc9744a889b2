/* The body of a level of the forward pass, on the lanes that the including file's flags select.
 * SPDX-License-Identifier: MIT */
#include "kern/compute_level.h"
#include "kern/lanes.h"

#include "kern/run_dots.h"
#include "kern/run_books.h"
#include "kern/run_codes.h"
#include "kern/run_int.h"
#include "kern/run_mix.h"
#include "kern/run_peak.h"
#include "kern/run_point.h"
#include "kern/run_stream.h"

#define PQ_COMPUTE_TABLE(name)                                                             \
    const struct pq_compute pq_compute_##name = {.level = #name,                           \
                                                 .dots = {PQ_ROWS_DOTS},                   \
                                                 .mix = {PQ_ROWS_MIX},                     \
                                                 .keep = {PQ_ROWS_KEEP},                   \
                                                 .spread = {PQ_ROWS_CODES, PQ_ROWS_BOOKS}, \
                                                 PQ_ROWS_INT,                              \
                                                 PQ_ROWS_STREAM,                           \
                                                 PQ_ROWS_POINT,                            \
                                                 PQ_ROWS_PEAK}
