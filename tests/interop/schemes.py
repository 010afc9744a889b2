"""What the tests of schemes share: the encoder tool, and the weights of safetensors files.
SPDX-License-Identifier: MIT"""
import json
import os
import struct
import subprocess
import tempfile

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Tool:
    """tests/tools/encode_rows: phiq's encoders and decoders by name."""

    def __init__(self, path):
        self.path = path

    def schemes(self):
        """(name, GGUF type or -1, block, can be written) of each row of the table."""
        text = subprocess.run([self.path, "list"], check=True, capture_output=True, text=True)
        rows = [line.split() for line in text.stdout.splitlines()]
        return [(r[0], int(r[1]), int(r[2]), r[3] == "1") for r in rows]

    def _run(self, args, data):
        return subprocess.run([self.path, *args], check=True, capture_output=True, input=data).stdout

    def encode(self, scheme, x, solver="search", level="best", importance=None):
        x = np.ascontiguousarray(x, dtype=np.float32)
        args = ["encode", scheme, solver, level, str(x.shape[1])]
        if importance is None:
            out = self._run(args, x.tobytes())
        else:
            with tempfile.NamedTemporaryFile() as f:
                f.write(np.ascontiguousarray(importance, dtype=np.float32).tobytes())
                f.flush()
                out = self._run([*args, f.name], x.tobytes())
        return np.frombuffer(out, dtype=np.uint8).reshape(x.shape[0], -1)

    def decode(self, scheme, data, cols):
        out = self._run(["decode", scheme, "-", "-", str(cols)], data.tobytes())
        return np.frombuffer(out, dtype=np.float32).reshape(-1, cols)


def tensors(path):
    """(name, float32 array) of each floating-point tensor of a safetensors file."""
    with open(path, "rb") as f:
        (n,) = struct.unpack("<Q", f.read(8))
        header = json.loads(f.read(n))
        base = 8 + n
        for name, info in header.items():
            if name == "__metadata__" or info["dtype"] not in ("BF16", "F16", "F32"):
                continue
            begin, end = info["data_offsets"]
            f.seek(base + begin)
            data = f.read(end - begin)
            if info["dtype"] == "BF16":
                x = (np.frombuffer(data, np.uint16).astype(np.uint32) << 16).view(np.float32)
            else:
                x = np.frombuffer(data, {"F16": np.float16, "F32": np.float32}[info["dtype"]])
            yield name, x.astype(np.float32).reshape(info["shape"])


def matrices(limit_rows=256):
    """Weight matrices of the sample model and of the fixtures, and synthetic ones, [rows, cols]."""
    data = os.path.join(ROOT, "tests", "data", "fixtures")
    paths = [os.path.join(ROOT, "models", "phiq-sample", "model.safetensors")]
    paths += [os.path.join(data, d, "model.safetensors") for d in sorted(os.listdir(data))]
    for path in paths:
        if os.path.exists(path):
            for name, x in tensors(path):
                if x.ndim == 2 and x.shape[1] % 32 == 0:
                    yield os.path.basename(os.path.dirname(path)) + ":" + name, x[:limit_rows]
    rng = np.random.default_rng(7)
    yield "normal", (rng.standard_normal((64, 1024)) * 0.02).astype(np.float32)
    yield "laplace", (rng.laplace(size=(64, 1024)) * 0.02).astype(np.float32)
    yield "student", (rng.standard_t(4, size=(64, 1024)) * 0.02).astype(np.float32)
