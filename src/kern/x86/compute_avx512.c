/* The forward pass on x86-64 with avx512. SPDX-License-Identifier: MIT */
#include "kern/compute_body.h"

PQ_COMPUTE_TABLE(avx512);
