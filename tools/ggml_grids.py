#!/usr/bin/env python3
"""Writes src/quant/ggml_grids.h: the code books of GGUF's IQ1, IQ2 and IQ3 types, which are data of
the format, taken from the `gguf` package. One 16-bit word per entry, elements from the low bits up.
SPDX-License-Identifier: MIT"""
import gguf.quants as q

print("/* Code books of GGUF's IQ types, written by tools/ggml_grids.py. One word per entry; its fields,")
print(" * low bits first, index the values of the type. SPDX-License-Identifier: MIT */")
print("#ifndef PQ_QUANT_GGML_GRIDS_H\n#define PQ_QUANT_GGML_GRIDS_H\n\n#include <stdint.h>\n")
print("/* clang-format off */")
for name in ("IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ1_S"):
    data = bytes.fromhex(getattr(q, name).grid_hex.decode())
    words = [data[i] | data[i + 1] << 8 for i in range(0, len(data), 2)]
    print(f"static const uint16_t {name.lower()}_grid[{len(words)}] = {{")
    for i in range(0, len(words), 12):
        print("    " + " ".join(f"0x{w:04x}," for w in words[i:i + 12]))
    print("};\n")
print("/* clang-format on */\n\n#endif")
