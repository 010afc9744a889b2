/* Which levels of the forward pass this build has and this CPU can run.
 * SPDX-License-Identifier: MIT */
#include "base/cpu.h"
#include "kern/compute_level.h"
#include "kern/kern.h"

#include <string.h>

/* A level of the encoders with the instructions that this one needs? */
static bool runs(const char *level)
{
    const struct pq_kern *k;
#ifdef __x86_64__
    if (level == pq_compute_avx512.level && !__builtin_cpu_supports("avx512vnni"))
        return false;
#endif
#ifdef __aarch64__
    if (level == pq_compute_dotprod.level)
        return pq_arm_has(PQ_ARM_DOTPROD);
    if (level == pq_compute_i8mm.level)
        return pq_arm_has(PQ_ARM_DOTPROD) && pq_arm_has(PQ_ARM_I8MM);
#endif
    for (int i = 0; (k = pq_kern_level(i)); i++)
        if (!strcmp(k->level, level))
            return true;
    return false;
}

/* Best last. */
static const struct pq_compute *const levels[] = {
    &pq_compute_c,
#ifdef __x86_64__
    &pq_compute_avx2, &pq_compute_avx512,
#endif
#ifdef __aarch64__
    &pq_compute_neon, &pq_compute_dotprod, &pq_compute_i8mm,
#endif
};

enum { LEVELS = sizeof levels / sizeof *levels };

const struct pq_compute *pq_compute_level(int i)
{
    for (int l = 0; i >= 0 && l < LEVELS; l++)
        if (runs(levels[l]->level) && i-- == 0)
            return levels[l];
    return NULL;
}

const struct pq_compute *pq_compute_best(const char *limit)
{
    const struct pq_compute *best = NULL;
    for (int l = 0; l < LEVELS; l++) {
        if (runs(levels[l]->level))
            best = levels[l];
        if (limit && !strcmp(limit, levels[l]->level))
            return best;
    }
    return limit ? NULL : best;
}
