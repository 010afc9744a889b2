/* The forward pass on AArch64 with products of 8-bit matrices. SPDX-License-Identifier: MIT */
#include "kern/compute_body.h"

PQ_COMPUTE_TABLE(i8mm);
