/* model.onnx over a data file of zeros: a status in words, or a network whose every row can be
 * read. SPDX-License-Identifier: MIT */
#include "scratch.h"

enum { DATA_BYTES = 1 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!scratch_dir[0]) {
        static const uint8_t zeros[DATA_BYTES];
        scratch_make();
        scratch_write("model.onnx.data", zeros, sizeof zeros);
        scratch_write("genai_config.json", "{}", 2);
    }
    scratch_write("model.onnx", data, size);
    scratch_load("");
    return 0;
}
