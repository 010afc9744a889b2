"""An OpenVINO folder read without phiq and without the runtime: layers of the XML, constants of the
.bin, weights by the module that multiplies by them. SPDX-License-Identifier: MIT"""

import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np

PLAIN = {"f32": "<f4", "f16": "<f2", "i64": "<i8", "i32": "<i4", "u8": "u1", "i8": "i1",
         "boolean": "?"}
F4 = np.array([0, .5, 1, 1.5, 2, 3, 4, 6, -0., -.5, -1, -1.5, -2, -3, -4, -6], np.float32)
NF4 = np.array([-1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453,
                -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0,
                0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
                0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1], np.float32)
TABLES = {"f4e2m1": F4, "nf4": NF4}


class OpenVinoFile:
    def __init__(self, folder):
        self.path = Path(folder) / "openvino_model.xml"
        self.blob = self.path.with_suffix(".bin").read_bytes()
        net = ET.parse(self.path).getroot()
        self.net = net
        self.layer = {x.get("id"): x for x in net.find("layers")}
        self.feeds = {(e.get("to-layer"), e.get("to-port")): e.get("from-layer")
                      for e in net.find("edges")}

    def of_type(self, kind):
        return [x for x in self.layer.values() if x.get("type") == kind]

    def inputs(self, layer):
        ports = layer.find("input")
        return [] if ports is None else [self.layer[self.feeds[layer.get("id"), p.get("id")]]
                                         for p in ports]

    def place(self, const):
        d = const.find("data")
        return int(d.get("offset")), int(d.get("size"))

    def constant(self, const):
        """(element type, array): 4-bit codes and numbers of 8 bits as they are."""
        d, (at, size) = const.find("data"), self.place(const)
        kind, raw = d.get("element_type"), np.frombuffer(self.blob, np.uint8, size, at)
        shape = [int(n) for n in d.get("shape").split(",") if n.strip()]
        if kind in ("u4", "i4", *TABLES):
            codes = np.stack([raw & 15, raw >> 4], -1).reshape(-1)[:int(np.prod(shape))]
            if kind == "i4":
                codes = (codes ^ 8).astype(np.int8) - np.int8(8)
            return kind, codes.reshape(shape)
        if kind == "bf16":
            return kind, (raw.view("<u2").astype(np.uint32) << 16).view(np.float32).reshape(shape)
        if kind == "f8e8m0":
            return kind, np.exp2(raw.astype(np.float32) - 127).reshape(shape)
        return kind, raw.view(PLAIN[kind]).reshape(shape)

    def value(self, layer):
        """What a chain of operators on constants computes, in single precision."""
        kind, ins = layer.get("type"), self.inputs(layer)
        if kind == "Const":
            name, x = self.constant(layer)
            return TABLES[name][x] if name in TABLES else x.astype(np.float32)
        x = [self.value(i) for i in ins]
        if kind == "Convert":
            return x[0]
        if kind == "Reshape":
            return x[0].reshape(x[1].astype(int))
        return {"Multiply": np.multiply, "Subtract": np.subtract}[kind](*x)

    def constants_only(self, layer):
        return layer.get("type") == "Const" or (
            layer.get("type") in ("Convert", "Reshape", "Multiply", "Subtract")
            and all(map(self.constants_only, self.inputs(layer))))

    @staticmethod
    def module(layer):
        return layer.get("name").removeprefix("__module.").split("/")[0]

    def chain(self, module):
        """The constants from which a module's weight is made: codes, zero points, scales."""
        def walk(layer):
            if layer.get("type") == "Const":
                return [layer]
            ins = self.inputs(layer)
            ins = ins[:1] if layer.get("type") == "Reshape" else ins
            return [c for i in ins for c in walk(i)]
        node = next(x for x in self.of_type("MatMul") if self.module(x) == module)
        return walk(self.inputs(node)[1])

    def weights(self):
        """{name as in the checkpoint: float32 array}"""
        out = {}
        for layer in self.layer.values():
            kind, ins, name = layer.get("type"), self.inputs(layer), self.module(layer)
            if name == "model.rotary_emb" or kind not in ("MatMul", "Gather", "Multiply", "Add"):
                continue
            made = [self.value(i) for i in ins[:2] if self.constants_only(i)]
            if len(made) != 1 or made[0].size < 2 or self.constants_only(layer):
                continue
            flat = made[0] if kind in ("MatMul", "Gather") else made[0].reshape(-1)
            if flat.ndim == (2 if kind in ("MatMul", "Gather") else 1):
                out[f"{name}.{'bias' if kind == 'Add' else 'weight'}"] = flat
        return out
