/* AArch64, whose baseline has NEON. SPDX-License-Identifier: MIT */
#include "kern/level_body.h"

PQ_KERN_TABLE(neon);
