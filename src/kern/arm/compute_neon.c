/* The forward pass on AArch64. SPDX-License-Identifier: MIT */
#include "kern/compute_body.h"

PQ_COMPUTE_TABLE(neon);
