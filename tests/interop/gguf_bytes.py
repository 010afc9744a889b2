#!/usr/bin/env python3
"""Decoders against the `gguf` package on random bytes, and round-to-nearest encoders against its
reference quantizers: both must be equal to the last bit.

    gguf_bytes.py path/to/encode_rows
SPDX-License-Identifier: MIT"""
import sys

import gguf
import numpy as np

from schemes import Tool, matrices

RTN = ["q4_0", "q4_1", "q5_0", "q5_1", "q8_0"]  # what the package can write


def kind_of(number):
    return next((k for k in gguf.GGMLQuantizationType if int(k) == number), None)


def random_blocks(kind, rows, cols, rng):
    """Random bytes: scales may be anything, infinities, NaN and subnormals included."""
    block, size = gguf.GGML_QUANT_SIZES[kind]
    return rng.integers(0, 256, (rows, cols // block * size), dtype=np.uint8)


def check_decode(tool, name, kind):
    rng = np.random.default_rng(int(kind))
    data = random_blocks(kind, 512, 1024, rng)
    with np.errstate(all="ignore"):
        want = gguf.quants.dequantize(data, kind)
    got = tool.decode(name, data, 1024)
    same = (got.view(np.uint32) == want.view(np.uint32)) | (np.isnan(got) & np.isnan(want))
    return int((~same).sum())


def worst_rows(rng):
    """Rows that break careless encoders. The reference's own division by a scale that underflows
    is undefined, so magnitudes stay above 1e-36 where they are not zero."""
    x = (rng.standard_normal((64, 1024)) * 0.02).astype(np.float32)
    x[1] = 0
    x[2] = 0.25
    x[3] = -0.25
    x[4] = np.where(np.arange(1024) % 77 == 0, 3.0, 0.0)
    x[5] = x[5] * 1e-30
    x[6] = x[6] * 1e4
    x[7, ::2] = -x[7, 1::2]  # equal magnitudes of both signs
    x[8] = np.abs(x[8])
    x[9] = -np.abs(x[9])
    x[10] = np.round(x[10] * 400) / 400  # many ties
    x[11] = np.arange(1024) % 15
    x[12] = x[12] * 1e-6  # scales that are subnormal halves
    return x


def check_rtn(tool, name, kind):
    rng = np.random.default_rng(5)
    bad = 0
    for x in [worst_rows(rng)] + [m for _, m in matrices(64)]:
        with np.errstate(all="ignore"):
            want = gguf.quants.quantize(np.ascontiguousarray(x), kind)
        for level in ("c", "best"):
            bad += int((tool.encode(name, x, "rtn", level) != want).sum())
    return bad


def main():
    tool = Tool(sys.argv[1])
    bad = 0
    for name, number, _, _ in tool.schemes():
        kind = kind_of(number)
        if kind not in gguf.quants._type_traits:
            continue
        wrong = check_decode(tool, name, kind)
        line = f"{name:16} decode: {wrong or 'equal'}"
        bad += wrong
        if name in RTN:
            wrong = check_rtn(tool, name, kind)
            line += f"   rtn bytes: {wrong or 'equal'}"
            bad += wrong
        print(line, flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
