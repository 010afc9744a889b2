/* x86-64 with avx512: the templates under this file's instruction set. SPDX-License-Identifier: MIT
 */
#include "kern/level_body.h"

PQ_KERN_TABLE(avx512);
