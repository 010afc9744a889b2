/* openvino_model.xml over data of zeros behind a few shapes, of a network with one layer: a status
 * in words, or weights whose every row can be read. SPDX-License-Identifier: MIT */
#include "scratch.h"

enum { DATA_BYTES = 1 << 17 };

static const uint8_t rows[] = {16, 192, 64, 128}; /* of the matrices */

static const char config[] =
    "{\"architectures\": [\"Phi3ForCausalLM\"], \"model_type\": \"phi3\", \"hidden_size\": 64, "
    "\"intermediate_size\": 64, \"num_hidden_layers\": 1, \"num_attention_heads\": 1, "
    "\"num_key_value_heads\": 1, \"vocab_size\": 16, \"max_position_embeddings\": 64, "
    "\"original_max_position_embeddings\": 64, \"rms_norm_eps\": 1e-5, \"rope_theta\": 10000.0, "
    "\"hidden_act\": \"silu\", \"tie_word_embeddings\": true, \"torch_dtype\": \"float32\"}";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!scratch_dir[0]) {
        static uint8_t data_file[DATA_BYTES];
        for (size_t i = 0; i < sizeof rows; i++) { /* [rows, 64], as Reshape wants them */
            data_file[16 * i] = rows[i];
            data_file[16 * i + 8] = 64;
        }
        scratch_make();
        scratch_write("openvino_model.bin", data_file, sizeof data_file);
        scratch_write("config.json", config, sizeof config - 1);
    }
    scratch_write("openvino_model.xml", data, size);
    scratch_load("");
    return 0;
}
