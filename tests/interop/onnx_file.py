"""An ONNX folder's arrays, read with the onnx package, and what their codes stand for by the
definition of MatMulNBits and GatherBlockQuantized: (code - zero point) * scale.
SPDX-License-Identifier: MIT"""

from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper


def _nibbles(packed, n):
    """[rows, bytes] -> [rows, n], the low nibble first."""
    return np.stack([packed & 15, packed >> 4], -1).reshape(len(packed), -1)[:, :n]


class OnnxFile:
    def __init__(self, folder):
        self.model = onnx.load(str(Path(folder) / "model.onnx"))
        self.arrays = {t.name: numpy_helper.to_array(t) for t in self.model.graph.initializer}
        self.nodes = list(self.model.graph.node)

    @staticmethod
    def attributes(node):
        return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}

    def of_type(self, *types):
        return [n for n in self.nodes if n.op_type in types]

    def blocks(self, node):
        """codes [N, blocks, block], scales [N, blocks], zero points [N, blocks] of a node."""
        a = self.attributes(node)
        first = 0 if node.op_type == "GatherBlockQuantized" else 1
        names = [node.input[i] if i < len(node.input) else "" for i in (first, first + 1, first + 2)]
        if not first:  # the ids stand between codes and scales
            names = [node.input[0], node.input[2], node.input[3] if len(node.input) > 3 else ""]
        bits, block = a["bits"], a["block_size"]
        scales = self.arrays[names[1]]
        rows, n = scales.shape
        codes = self.arrays[names[0]].reshape(rows, -1)
        zeros = np.full((rows, n), 1 << (bits - 1), np.uint8)
        if names[2]:
            zeros = self.arrays[names[2]].reshape(rows, -1)
        if bits == 4:
            codes = _nibbles(codes, n * block)
            zeros = _nibbles(zeros, n) if names[2] else zeros
        return codes.reshape(rows, n, block), scales, zeros

    def _decoded(self, node):
        codes, scales, zeros = self.blocks(node)
        w = (codes.astype(np.float32) - zeros[..., None]) * scales.astype(np.float32)[..., None]
        return w.reshape(len(w), -1)

    def weights(self):
        """{Hugging Face tensor name: float32 array}; gate and up projection as one, like there."""
        out = {name: x.astype(np.float32) for name, x in self.arrays.items()
               if name.endswith((".weight", ".bias")) and x.dtype != np.uint8}
        for node in self.of_type("MatMulNBits"):
            out[node.input[1]] = self._decoded(node)
        for node in self.of_type("GatherBlockQuantized"):
            out[node.input[0]] = self._decoded(node)
        for name in [n for n in out if n.endswith("gate_proj.weight")]:
            up = out.pop(name.replace("gate_proj", "up_proj"))
            out[name.replace("gate_proj", "gate_up_proj")] = np.concatenate([out.pop(name), up])
        return out
