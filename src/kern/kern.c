/* Which levels this build has and this CPU can run. SPDX-License-Identifier: MIT */
#include "kern/kern.h"
#include "kern/level.h"

#include <stddef.h>
#include <string.h>

static bool always(void)
{
    return true;
}

#ifdef __x86_64__
/* These builtins also ask the operating system whether it saves the wide registers. Every CPU with
 * AVX2 and FMA has F16C. */
static bool has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

static bool has_avx512(void)
{
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}
#endif

/* Best last. */
static const struct {
    const struct pq_kern *kern;
    bool (*runs)(void);
} levels[] = {
    {&pq_kern_level_c, always},
#ifdef __x86_64__
    {&pq_kern_level_avx2, has_avx2},
    {&pq_kern_level_avx512, has_avx512},
#endif
#ifdef __aarch64__
    {&pq_kern_level_neon, always},
#endif
};

const struct pq_kern *pq_kern_level(int i)
{
    for (size_t l = 0; i >= 0 && l < sizeof levels / sizeof *levels; l++)
        if (levels[l].runs() && i-- == 0)
            return levels[l].kern;
    return NULL;
}

const struct pq_kern *pq_kern_best(const char *limit)
{
    const struct pq_kern *best = NULL;
    for (size_t l = 0; l < sizeof levels / sizeof *levels; l++) {
        if (levels[l].runs())
            best = levels[l].kern;
        if (limit && !strcmp(limit, levels[l].kern->level))
            return best;
    }
    return limit ? NULL : best;
}
