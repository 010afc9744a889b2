#!/usr/bin/env python3
"""Our arrays in MLX. For every scheme of MLX that the table holds: what mx.dequantize makes of our
bytes must be our decoder's values to the last bit, for encoded weights and for random bytes; and
round-to-nearest must choose what mx.quantize on the CPU chooses.

    mlx_bytes.py path/to/encode_rows

mx.dequantize computes affine groups in the type of the scales, rounding the product and then the
sum; our decoder computes in float32, as MLX's matrix kernels do. So float32 is compared directly,
and for 16-bit scales the two roundings are also redone here on our codes.
SPDX-License-Identifier: MIT"""
import sys

import mlx.core as mx
import numpy as np

from mlx_rows import Layout
from schemes import Tool, matrices


def differ(a, b):
    return int(((a.view(np.uint32) != b.view(np.uint32)) & ~(np.isnan(a) & np.isnan(b))).sum())


def rounded(x, dtype):
    return np.array(mx.array(x).astype(dtype).astype(mx.float32))


def random_rows(tool, name, layout, cols):
    """Random codes and bits of scales; E8M0's 255 is left out: NaN for OCP and us, not for MLX."""
    rng = np.random.default_rng(len(name))
    size = tool.encode(name, np.zeros((1, cols), np.float32)).shape[1]
    rows = rng.integers(0, 256, (64, size), dtype=np.uint8)
    if layout.mode in ("mxfp4", "mxfp8"):
        scales = rows[:, cols * layout.bits // 8:]
        scales[scales == 255] = 254
    return rows


def check_decode(tool, name, layout, rows, cols):
    parts, ours = layout.split(rows, cols), tool.decode(name, rows, cols)
    bad = differ(ours, layout.dequantize(parts))
    if layout.mode == "affine" and layout.dtype != mx.float32:
        # the product of a code and a 16-bit scale is exact in float32, so undo and redo it
        scales = np.array(parts[1].astype(mx.float32)).repeat(layout.group, 1)
        biases = np.array(parts[2].astype(mx.float32)).repeat(layout.group, 1)
        codes = np.array(mx.dequantize(parts[0], mx.ones_like(parts[1]), mx.zeros_like(parts[2]),
                                       group_size=layout.group, bits=layout.bits)
                         .astype(mx.float32))
        with np.errstate(all="ignore"):
            twice = rounded(rounded(scales * codes, layout.dtype) + biases, layout.dtype)
        bad += differ(twice, layout.dequantize(parts, layout.dtype))
    return bad


def check_rtn(tool, name, layout, x):
    """Groups of which any byte differs from mx.quantize."""
    if layout.mode == "affine":
        x = rounded(x, layout.dtype)
    ours = layout.split(tool.encode(name, x, solver="rtn"), x.shape[1])
    theirs = layout.quantize(x)
    shape = (x.shape[0], x.shape[1] // layout.group, -1)
    same = np.ones(shape[:2], bool)
    for a, b in zip(ours, theirs):
        if a is not None:
            a, b = (np.array(t.view(mx.uint8)).reshape(shape) for t in (a, b))
            same &= (a == b).all(axis=2)
    return int((~same).sum()), same.size


def worst_rows():
    rng = np.random.default_rng(3)
    x = (rng.standard_normal((16, 256)) * 0.02).astype(np.float32)
    x[1], x[2], x[3] = 0, 0.25, -0.3
    x[4] = np.where(np.arange(256) % 77 == 0, 3.0, 0.0)
    x[5] *= 1e-30
    x[6] *= 1e4
    x[7], x[8] = np.abs(x[7]), -np.abs(x[8])
    x[9] = np.round(x[9] * 400) / 400
    x[10] = np.arange(256) % 16
    return x


def main():
    tool = Tool(sys.argv[1])
    data = [worst_rows()] + [x for _, x in matrices(48) if x.shape[1] % 128 == 0]
    failed = 0
    for name, _, _, _ in tool.schemes():
        try:
            layout = Layout(name)
        except KeyError:
            continue
        bad = check_decode(tool, name, layout, random_rows(tool, name, layout, 256), 256)
        groups = other = 0
        for x in data:
            for solver in ("rtn", "search"):
                bad += check_decode(tool, name, layout, tool.encode(name, x, solver), x.shape[1])
            d, n = check_rtn(tool, name, layout, x)
            other, groups = other + d, groups + n
        failed += bad > 0 or other > groups / 1000
        print(f"{name:14} decode: {'equal' if not bad else str(bad) + ' differ':12} "
              f"rtn: {other} of {groups} groups differ", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
