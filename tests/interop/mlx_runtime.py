"""MLX and mlx-lm as they are, on the CPU: logits of all positions, greedy continuation, the peer's
own conversion. SPDX-License-Identifier: MIT"""

import contextlib
import io
import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")

import mlx.core as mx
import mlx_lm
import numpy as np
from mlx.utils import tree_flatten

mx.set_default_device(mx.cpu)


class Mlx:
    """A loaded MLX folder. The floats of the model (scales and offsets too) are widened to float32,
    which is exact: what remains of the runtime's rounding is that of float32 arithmetic. 16-bit
    floats would make the CPU kernels accumulate in 16 bits."""

    def __init__(self, folder, float32=True):
        self.model, self.tokenizer = mlx_lm.load(str(folder))
        if float32:
            self.model.set_dtype(mx.float32)
        mx.eval(self.model.parameters())

    def logits(self, ids):
        out = self.model(mx.array([list(ids)]))[0].astype(mx.float32)
        return np.array(out)

    def greedy(self, ids, n):
        """With the runtime's own cache, one token at a time after the prompt."""
        cache = mlx_lm.models.cache.make_prompt_cache(self.model)
        ids, feed = list(ids), list(ids)
        for _ in range(n):
            feed = [int(mx.argmax(self.model(mx.array([feed]), cache=cache)[0, -1]))]
            ids += feed
        return ids

    def weights(self):
        """{Hugging Face tensor name: float32 array}, quantized modules through mx.dequantize."""
        packed = {path: m for path, m in self.model.named_modules() if hasattr(m, "bits")}
        out = {f"{path}.weight": _dequantized(m) for path, m in packed.items()}
        for name, value in tree_flatten(self.model.parameters()):
            path, _, leaf = name.rpartition(".")
            if path not in packed or leaf == "bias":  # "biases" are the offsets of the grid
                out[name] = np.array(value.astype(mx.float32))
        return out

    def quantized(self):
        """{module path: (bits, group size, mode)}"""
        return {path: (m.bits, m.group_size, m.mode)
                for path, m in self.model.named_modules() if hasattr(m, "bits")}


def _dequantized(m):
    w = mx.dequantize(m.weight, m.scales, m.get("biases"), group_size=m.group_size, bits=m.bits,
                      mode=m.mode)
    return np.array(w.astype(mx.float32))


def convert(source, target, **options):
    """mlx_lm.convert, quietly."""
    with contextlib.redirect_stdout(io.StringIO()):
        mlx_lm.convert(str(source), str(target), **options)
