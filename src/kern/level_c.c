/* The reference level: plain C. SPDX-License-Identifier: MIT */
#define PQ_LANES_PLAIN
#include "kern/level_body.h"

PQ_KERN_TABLE(c);
