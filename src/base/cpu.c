/* SPDX-License-Identifier: MIT */
#include "base/cpu.h"

#if defined __aarch64__ && defined __linux__
#include <asm/hwcap.h>
#include <sys/auxv.h>

bool pq_arm_has(enum pq_arm_feature f)
{
    return f == PQ_ARM_DOTPROD ? (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0
                               : (getauxval(AT_HWCAP2) & HWCAP2_I8MM) != 0;
}

#else

bool pq_arm_has(enum pq_arm_feature f)
{
    (void)f;
    return false;
}

#endif
