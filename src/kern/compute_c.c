/* The reference level of the forward pass: plain C. SPDX-License-Identifier: MIT */
#define PQ_LANES_PLAIN
#include "kern/compute_body.h"

PQ_COMPUTE_TABLE(c);
