/* model.onnx over a data file of zeros: a status in words, or a network whose every row can be
 * read. SPDX-License-Identifier: MIT */
#include "scratch.h"

enum { DATA_BYTES = 1 << 20 };

/* What folders of the model builder say beside the graph, for the seed of that form. */
static const char genai[] =
    "{\"model\": {\"bos_token_id\": 1, \"context_length\": 512, \"eos_token_id\": 480, "
    "\"pad_token_id\": 480, \"type\": \"phi3\", \"vocab_size\": 496, \"decoder\": "
    "{\"head_size\": 64, \"hidden_size\": 256, \"num_attention_heads\": 4, "
    "\"num_hidden_layers\": 2, \"num_key_value_heads\": 1}}}";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!scratch_dir[0]) {
        static const uint8_t zeros[DATA_BYTES];
        scratch_make();
        scratch_write("model.onnx.data", zeros, sizeof zeros);
        scratch_write("genai_config.json", genai, sizeof genai - 1);
    }
    scratch_write("model.onnx", data, size);
    scratch_load("");
    return 0;
}
