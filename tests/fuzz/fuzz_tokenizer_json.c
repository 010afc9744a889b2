/* tokenizer.json: a status or a vocabulary that can be written. SPDX-License-Identifier: MIT */
#include "vocab_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    load_vocab_file("tokenizer.json", data, size);
    return 0;
}
