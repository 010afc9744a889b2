/* The forward pass on x86-64 with avx2. SPDX-License-Identifier: MIT */
#include "kern/compute_body.h"

PQ_COMPUTE_TABLE(avx2);
