/* The forward pass on AArch64 with dot products. SPDX-License-Identifier: MIT */
#include "kern/compute_body.h"

PQ_COMPUTE_TABLE(dotprod);
