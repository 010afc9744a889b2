#!/usr/bin/env python3
"""Our search against llama.cpp's own quantizers at equal type: the ratio of weighted squared errors,
ours over theirs, must stay below one for every type, with and without an importance matrix. (With one,
neither side minimises plain squares: that ratio is printed but not held against anybody.)

    quant_vs_llama.py path/to/encode_rows [TYPE...]

Errors are measured as plain squares, as squares weighted with the importance where there is one,
and with the weights that our search minimises (importance times sqrt(2 mean x^2 + x^2)).
SPDX-License-Identifier: MIT"""
import ctypes
import glob
import os
import sys

import gguf
import numpy as np

from schemes import Tool, matrices

TYPES = ["q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "q2_k", "q3_k", "q4_k", "q5_k", "q6_k", "iq4_nl",
         "iq4_xs"]


def ggml():
    import importlib.util
    base = os.path.dirname(importlib.util.find_spec("llama_cpp").origin)
    for name in ("libggml-base", "libggml"):
        for path in sorted(glob.glob(os.path.join(base, "lib", name + ".*"))):
            lib = ctypes.CDLL(path)
            if hasattr(lib, "ggml_quantize_chunk"):
                lib.ggml_quantize_chunk.restype = ctypes.c_size_t
                lib.ggml_quantize_chunk.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p] + \
                    [ctypes.c_int64] * 3 + [ctypes.c_void_p]
                return lib
    sys.exit("no ggml library")


def theirs(lib, kind, x, h):
    block, size = gguf.GGML_QUANT_SIZES[kind]
    out = np.zeros((x.shape[0], x.shape[1] // block * size), np.uint8)
    lib.ggml_quantize_chunk(int(kind), x.ctypes.data, out.ctypes.data, 0, x.shape[0], x.shape[1],
                            h.ctypes.data if h is not None else None)
    return out


def ratios(tool, lib, name, kind, data, with_h):
    block = gguf.GGML_QUANT_SIZES[kind][0]
    sums = {"plain": [0.0, 0.0], "h": [0.0, 0.0], "own": [0.0, 0.0]}
    rng = np.random.default_rng(11)
    for _, x in data:
        if x.shape[1] % block:
            continue
        x = np.ascontiguousarray(x)
        h = np.exp(rng.standard_normal(x.shape[1])).astype(np.float32) if with_h else None
        g = x.reshape(-1, block).astype(np.float64)
        own = np.sqrt(2 * np.mean(g * g, axis=1, keepdims=True) + g * g).reshape(x.shape)
        own = own * (h if with_h else 1.0)
        norm = np.mean(x.astype(np.float64) ** 2) * x.size or 1.0
        for i, b in enumerate((tool.encode(name, x, importance=h), theirs(lib, kind, x, h))):
            e = (gguf.quants.dequantize(b, kind).reshape(x.shape).astype(np.float64) - x) ** 2
            sums["plain"][i] += e.sum() / norm
            sums["own"][i] += (e * own).sum() / (norm * np.mean(own))
            if with_h:
                sums["h"][i] += (e * h).sum() / norm
    return {k: a / b for k, (a, b) in sums.items() if b}


def main():
    tool, lib, data = Tool(sys.argv[1]), ggml(), list(matrices())
    print(f"{'type':8} {'imatrix':8} {'plain':>8} {'h':>8} {'own':>8}   ours / theirs")
    bad = 0
    for name in sys.argv[2:] or TYPES:
        kind = gguf.GGMLQuantizationType[name.upper()]
        for with_h in (False, True):
            r = ratios(tool, lib, name, kind, data, with_h)
            bad += any(not v < 1 for k, v in r.items() if k != "plain" or not with_h)
            cells = " ".join(f"{r[k]:8.4f}" if k in r else " " * 8 for k in ("plain", "h", "own"))
            print(f"{name:8} {'yes' if with_h else 'no':8} {cells}", flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
