#!/usr/bin/env python3
"""Our search against mx.quantize at equal layout: the ratio of squared errors, ours over theirs,
over the sample model, the fixtures and synthetic weights must stay below one for every scheme of
MLX, with and without an importance of the columns. (mxfp8 may reach one: the error of a float is
relative, so no other power of two does better than the smallest that holds the group.)

    quant_vs_mlx.py path/to/encode_rows [SCHEME...]

Three measures: plain squares, squares weighted with the importance, and the weights that our
search minimises. MLX is given weights of the type that its scales have, as it would be.
SPDX-License-Identifier: MIT"""
import sys

import numpy as np

from mlx_rows import Layout
from schemes import Tool, matrices
from mlx_bytes import rounded


def add(sums, key, side, e, weight, norm):
    sums.setdefault(key, [0.0, 0.0])[side] += (e * weight).sum() / (norm * np.mean(weight))


def ratios(tool, name, data, with_h):
    """Sums of normalised errors [ours, theirs] by measure."""
    layout, sums, rng = Layout(name), {}, np.random.default_rng(11)
    for _, x in data:
        if layout.mode == "affine":
            x = rounded(x, layout.dtype)
        cols = x.shape[1]
        h = np.exp(rng.standard_normal(cols)).astype(np.float32) if with_h else None
        g = x.reshape(-1, layout.group).astype(np.float64)
        own = np.sqrt(2 * np.mean(g * g, axis=1, keepdims=True) + g * g).reshape(x.shape) + 1e-30
        own = own * (h if with_h else 1.0)
        norm = (x.astype(np.float64) ** 2).sum() or 1.0
        ours = layout.split(tool.encode(name, x, importance=h), cols)
        for side, parts in enumerate((ours, layout.quantize(x))):
            e = (layout.dequantize(parts).astype(np.float64) - x) ** 2
            add(sums, "plain", side, e, np.ones(1), norm)
            add(sums, "own", side, e, own, norm)
            if with_h:
                add(sums, "h", side, e, h, norm)
    return {k: a / b for k, (a, b) in sums.items()}


def main():
    tool = Tool(sys.argv[1])
    data = [(n, x) for n, x in matrices(96) if x.shape[1] % 128 == 0]
    names = sys.argv[2:] or [s[0] for s in tool.schemes()]
    print(f"{'scheme':16} {'imatrix':8} {'plain':>8} {'h':>8} {'own':>8}   ours / MLX's")
    bad = 0
    for name in names:
        try:
            Layout(name)
        except KeyError:
            continue
        for with_h in (False, True):
            r = ratios(tool, name, data, with_h)
            most = max(r.values())
            bad += not (most <= 1 if name == "mxfp8" else most < 1)
            cells = " ".join(f"{r[k]:8.4f}" if k in r else " " * 8 for k in ("plain", "h", "own"))
            print(f"{name:16} {'yes' if with_h else 'no':8} {cells}", flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
