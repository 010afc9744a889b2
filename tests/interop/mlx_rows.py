"""Rows that tests/tools/encode_rows writes, as the arrays that MLX takes, and back.
SPDX-License-Identifier: MIT"""
import re

import mlx.core as mx
import numpy as np

AUX = {"": mx.bfloat16, "_bf16": mx.bfloat16, "_f16": mx.float16, "_f32": mx.float32}
FP = {"mxfp4": (4, 32), "mxfp8": (8, 32), "nvfp4": (4, 16)}


class Layout:
    """What a scheme of MLX stores: mode, bits, group and the type of scales."""

    def __init__(self, name):
        m = re.fullmatch(r"affine(\d)g(\d+)(_f16|_f32|)", name)
        if m:
            self.mode, self.bits, self.group = "affine", int(m[1]), int(m[2])
            self.dtype = AUX[m[3]]
        elif name in FP:
            self.mode, self.dtype = name, None
            self.bits, self.group = FP[name]
        else:
            raise KeyError(name)

    def split(self, rows, cols):
        """(weight, scales, biases or None) of encoded rows, as mx.dequantize takes them."""
        n, groups = cols * self.bits // 8, cols // self.group
        weight = mx.array(np.ascontiguousarray(rows[:, :n]).view(np.uint32))
        if self.mode != "affine":
            return weight, mx.array(np.ascontiguousarray(rows[:, n:])), None
        size = groups * self.dtype.size
        parts = [np.ascontiguousarray(rows[:, n + i * size:n + (i + 1) * size]) for i in (0, 1)]
        return weight, *(mx.array(p).view(self.dtype) for p in parts)

    def join(self, weight, scales, biases=None):
        parts = [weight.view(mx.uint8), scales.view(mx.uint8)]
        parts += [biases.view(mx.uint8)] if biases is not None else []
        return np.concatenate([np.array(p) for p in parts], axis=1)

    def dequantize(self, parts, dtype=mx.float32):
        """MLX's own values, computed in `dtype`, as float32."""
        weight, scales, biases = parts
        if self.mode == "affine":
            x = mx.dequantize(weight, scales.astype(dtype), biases.astype(dtype),
                              group_size=self.group, bits=self.bits)
        else:
            x = mx.dequantize(weight, scales, group_size=self.group, bits=self.bits,
                              mode=self.mode, dtype=dtype)
        return np.array(x.astype(mx.float32))

    def quantize(self, x):
        """MLX's own choice for weights of the type that its scales have."""
        w = mx.array(x)
        if self.mode == "affine":
            return mx.quantize(w.astype(self.dtype), group_size=self.group, bits=self.bits)
        return (*mx.quantize(w, group_size=self.group, bits=self.bits, mode=self.mode)[:2], None)
