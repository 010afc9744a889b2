/* What a CPU can do where the compiler cannot ask it. SPDX-License-Identifier: MIT */
#ifndef PQ_BASE_CPU_H
#define PQ_BASE_CPU_H

#include <stdbool.h>

/* Beyond the baseline of AArch64; false where nobody can tell. */
enum pq_arm_feature { PQ_ARM_DOTPROD, PQ_ARM_I8MM };
bool pq_arm_has(enum pq_arm_feature f);

#endif
