/* The tables of the levels. Each is defined in a file of its own, compiled with the flags of its
 * instruction set, from the same templates (level_body.h). SPDX-License-Identifier: MIT */
#ifndef PQ_KERN_LEVEL_H
#define PQ_KERN_LEVEL_H

#include "kern/kern.h"

extern const struct pq_kern pq_kern_level_c;
extern const struct pq_kern pq_kern_level_avx2;
extern const struct pq_kern pq_kern_level_avx512;
extern const struct pq_kern pq_kern_level_neon;

#endif
