/* A GGUF file as a model: a status in words, or a network whose every row can be read.
 * SPDX-License-Identifier: MIT */
#include "scratch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!scratch_dir[0])
        scratch_make();
    scratch_write("x.gguf", data, size);
    scratch_load("/x.gguf");
    return 0;
}
