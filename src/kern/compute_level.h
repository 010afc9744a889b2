/* The tables of the forward pass's levels, each from a file of its own, compiled with the flags of
 * its instruction set from the same templates (compute_body.h). SPDX-License-Identifier: MIT */
#ifndef PQ_KERN_COMPUTE_LEVEL_H
#define PQ_KERN_COMPUTE_LEVEL_H

#include "kern/compute.h"

extern const struct pq_compute pq_compute_c;
extern const struct pq_compute pq_compute_avx2;
extern const struct pq_compute pq_compute_avx512;
extern const struct pq_compute pq_compute_neon;
extern const struct pq_compute pq_compute_dotprod;
extern const struct pq_compute pq_compute_i8mm;

#endif
