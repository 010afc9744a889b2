/* What a fuzz target includes. SPDX-License-Identifier: MIT */
#ifndef PQ_FUZZ_H
#define PQ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A promise of the reader that must hold for any input. */
#define REQUIRE(x)            \
    do {                      \
        if (!(x))             \
            __builtin_trap(); \
    } while (0)

#endif
