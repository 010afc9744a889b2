"""phiq's own logits at quantized schemes: bit-equal for the same codes from every container, equal
to an oracle that rounds activations as phiq does, and within their rounding of activations from the
real runtimes. SPDX-License-Identifier: MIT

What rounding costs is not measured on what is tested but computed: the oracle (float64, weights
decoded by other packages) runs once with exact activations and once with activations rounded to 8
bits in blocks as long as the runtime's; the relative RMS difference of the two is `cost(block)`. So
far may a runtime be from exact activations; two that round independently are apart by the root of
the sum of squares. ROOM is for what the oracle does not model: 16-bit scales of activations, tables
instead of exp, the luck of one text (measured: 0.7 to 1.4 times the cost)."""

import json
import re
import shutil
import subprocess
import sys
import unittest

import numpy as np
from safetensors.numpy import save_file

from common import (SAMPLE, Golden, InteropTest, checkpoint, phiq, quantize, read_config,
                    read_safetensors, recipes, relative_error)
from gguf_file import GgufFile, named_blocks
from llama_runtime import Llama
from mlx_runtime import Mlx
from onnx_file import OnnxFile
from onnx_runtime import Session
from openvino_file import OpenVinoFile
from openvino_runtime import EXACT, OpenVino
from reference import Phi, Rounded

TOOL = sys.argv.pop(1) if len(sys.argv) > 1 else ""
PHIQ_BLOCK = 32
ROOM = 1.5
SINGLE = 2e-5  # relative: single against double precision (measured: below 3e-6)
LLAMA_FLOOR = 2e-3  # relative: llama.cpp without any rounding of activations (test_gguf's f32)
FLOATS = {"f32", "f16", "bf16"}
# Their prompts are computed alike by all runtimes: no sliding window, no LongRoPE.
NAMES = ("phi2", "phi4", "sample")


def ours(path, ids, how):
    """phiq's logits [n, vocabulary]; how: "fast" or "exact"."""
    r = subprocess.run([TOOL, str(path), how], input=np.array(ids, np.uint32).tobytes(),
                       capture_output=True, timeout=300)
    if r.returncode:
        raise AssertionError(r.stderr.decode())
    return np.frombuffer(r.stdout, np.float32).reshape(len(ids), -1)


def prompt(name):
    golden = Golden(name)
    return golden.prompts[max(golden.prompts)]


def rounded_names(path):
    """The weights whose products round activations."""
    tensors = json.loads(phiq("info", path, "--tensors", "--json").stdout)["tensors"]
    return {t["name"] for t in tensors if t["scheme"] not in FLOATS and t["rows"] > 1}


FILES = {"gguf": GgufFile, "onnx": OnnxFile, "openvino": OpenVinoFile, "mlx": Mlx}


def decoded(target, path):
    """{Hugging Face tensor name: float32 array}, by other code than phiq's."""
    return FILES[target](path).weights()


# --- the runtimes ---------------------------------------------------------------------------------

ROUNDS_32 = EXACT | {"DYNAMIC_QUANTIZATION_GROUP_SIZE": str(PHIQ_BLOCK)}


def llama(path, ids):
    with Llama(path) as m:
        return m.logits(ids)


# (target, scheme, the runtime, its block of rounded activations or None). llama.cpp: ggml's Q8_0
# beside the legacy types, Q8_K beside K blocks. ONNX Runtime: accuracy_level 4, blocks of the weights.
RUNTIMES = (
    ("gguf", "q4_0", llama, 256),  # with a Q6_K head
    ("gguf", "pure-q4_0", llama, 32),
    ("gguf", "q8_0", llama, 32),
    ("gguf", "q5_1", llama, 256),
    ("gguf", "q4_k_m", llama, 256),
    ("gguf", "q6_k", llama, 256),
    ("onnx", "int4g32", lambda p, ids: Session(p).logits(ids), 32),
    ("onnx", "int4g32", lambda p, ids: Session(p, single=True).logits(ids), None),
    ("onnx", "uint4g64", lambda p, ids: Session(p).logits(ids), 64),
    ("onnx", "int8g32", lambda p, ids: Session(p).logits(ids), 32),
    ("openvino", "int4g32", lambda p, ids: OpenVino(p).logits(ids), None),
    ("openvino", "int4g32", lambda p, ids: OpenVino(p, ROUNDS_32).logits(ids), 32),
    ("openvino", "uint4g64", lambda p, ids: OpenVino(p, ROUNDS_32).logits(ids), 32),
    ("openvino", "uint8c", lambda p, ids: OpenVino(p).logits(ids), None),
    ("mlx", "affine4g64", lambda p, ids: Mlx(p).logits(ids), None),
    ("mlx", "affine8g64", lambda p, ids: Mlx(p).logits(ids), None),
)


class AgainstRuntimes(InteropTest):
    def files(self):
        """(name, target, scheme, path, [(runtime, block)])"""
        kinds = dict.fromkeys((target, scheme) for target, scheme, *_ in RUNTIMES)
        for name in NAMES:
            for target, scheme in kinds:
                path = quantize(checkpoint(name), self.tmp / f"{name}-{target}-{scheme}", target,
                                "--scheme", scheme)
                yield name, target, scheme, path, [r[2:] for r in RUNTIMES
                                                   if r[:2] == (target, scheme)]

    def check(self, name, target, path, runtimes):
        config, ids, weights = read_config(checkpoint(name)), prompt(name), decoded(target, path)
        names = rounded_names(path)
        exact = Phi(config, weights).logits(ids)

        def rounded(block):
            return Rounded(config, weights, names, block).logits(ids)

        def cost(block):
            return relative_error(exact, rounded(block))

        own_exact, own_fast = ours(path, ids, "exact"), ours(path, ids, "fast")
        self.assertLess(relative_error(exact, own_exact), SINGLE)
        self.assertLess(relative_error(exact, own_fast), ROOM * cost(PHIQ_BLOCK))
        self.assertGreater(relative_error(exact, own_fast), cost(PHIQ_BLOCK) / ROOM)
        for runtime, block in runtimes:
            theirs = runtime(path, ids)
            if block is None:
                self.assertLess(relative_error(own_exact, theirs), SINGLE)
                self.assertLess(relative_error(own_fast, theirs), ROOM * cost(PHIQ_BLOCK))
                continue
            floor = LLAMA_FLOOR if target == "gguf" else SINGLE
            self.assertLess(relative_error(own_exact, theirs), ROOM * cost(block) + floor)
            self.assertLess(relative_error(own_fast, theirs),
                            ROOM * np.hypot(cost(block), cost(PHIQ_BLOCK)) + floor)

    def test_every_runtime(self):
        for name, target, scheme, path, runtimes in self.files():
            with self.subTest(name, target=target, scheme=scheme):
                self.check(name, target, path, runtimes)

    def test_rounding_is_what_the_oracle_does(self):
        """A value that lies between two codes may go either way, and changes what comes after it.
        Texts of one token are too short for that to happen to all of them: the best quarter has
        only the error of single precision."""
        for name, scheme in (("phi2", "q8_0"), ("phi4", "q4_k_m"), ("sample", "pure-q4_0")):
            path = quantize(checkpoint(name), self.tmp / name, "gguf", "--scheme", scheme)
            config, weights = read_config(checkpoint(name)), decoded("gguf", path)
            oracle = Rounded(config, weights, rounded_names(path), PHIQ_BLOCK)
            errors = [relative_error(oracle.logits([token]), ours(path, [token], "fast"))
                      for token in prompt(name)[:16]]
            self.assertLess(np.quantile(errors, 0.25), SINGLE, name)

    def test_the_bounds_mean_something(self):
        """They tell 4-bit weights from the original ones, and codes from their neighbours: a twelfth
        of one matrix off by one step is found."""
        for name in NAMES:
            config, ids = read_config(checkpoint(name)), prompt(name)
            path = quantize(checkpoint(name), self.tmp / name, "gguf", "--scheme", "pure-q4_0")
            weights, names = decoded("gguf", path), rounded_names(path)
            exact = Phi(config, weights).logits(ids)
            cost = relative_error(exact, Rounded(config, weights, names, 32).logits(ids))
            fast, own = ours(path, ids, "fast"), ours(path, ids, "exact")
            original = ours(checkpoint(name), ids, "exact")
            self.assertGreater(relative_error(original, fast), 2 * ROOM * cost)
            matrix = next(n for n in sorted(names) if n.endswith("down_proj.weight")
                          or n.endswith("fc2.weight"))
            wrong = dict(weights)
            wrong[matrix] = weights[matrix].copy()
            rows = len(wrong[matrix]) // 12
            wrong[matrix][:rows] += np.abs(weights[matrix][:rows]).max() / 8
            other = Phi(config, wrong).logits(ids)
            self.assertGreater(relative_error(other, own), 100 * SINGLE)
            self.assertGreater(relative_error(other, fast), cost / 4)


KINDS = {"gguf": r"pure-.*|q6_k|q8_0|f16|bf16",
         "mlx": r"affine\dg64|mxfp.|nvfp4|f16",
         "onnx": r"pure-.*|uint8g64|int4_down|f32",
         "openvino": r"u?int8c|uint4c|pure-uint4g64|mxfp4|nf4g64|bf16"}


# --- the same codes in every container ------------------------------------------------------------

class SameCodes(InteropTest):
    def hugging_face(self, name, weights, out):
        """A checkpoint that holds the decoded weights in single precision."""
        shutil.copytree(checkpoint(name), out, ignore=shutil.ignore_patterns("*.safetensors*"))
        save_file({k: np.ascontiguousarray(v, np.float32) for k, v in weights.items()},
                  out / "model.safetensors", {"format": "pt"})
        return out

    def mlx(self, name, gguf, scheme, out):
        """The MLX folder with the codes, scales and zero points of a GGUF file put in their place:
        an offset is minus the zero point times the scale, which is exact in half precision."""
        bits = {"q4_0": 4, "q8_0": 8}[scheme]
        folder = quantize(checkpoint(name), out, "mlx", "--scheme", f"affine{bits}g32")
        path = folder / "model.safetensors"
        arrays = {}
        for key, x in read_safetensors(path).items():
            arrays[key] = x if x.dtype == np.uint32 else x.astype(np.float32)
        for module, (codes, scales) in named_blocks(gguf, scheme).items():
            packed = codes.reshape(len(codes), -1, 32 // bits).astype(np.uint32)
            shifts = np.arange(0, 32, bits, dtype=np.uint32)
            arrays[f"{module}.weight"] = np.bitwise_or.reduce(packed << shifts, -1)
            arrays[f"{module}.scales"] = scales.astype(np.float16)
            arrays[f"{module}.biases"] = (scales * np.float16(-(1 << bits - 1))).astype(np.float16)
        save_file(arrays, path, {"format": "mlx"})
        return folder

    def check(self, paths, ids, how):
        first, *others = paths
        want = ours(first, ids, how)
        self.assertTrue(np.isfinite(want).all() and want.std() > 0)
        for path in others:
            np.testing.assert_array_equal(want, ours(path, ids, how), f"{how}: {path}, {first}")

    def check_offsets(self, path, with_offsets, ids):
        """An offset is another sum than a zero point's: the last bits differ, and with them some
        roundings of what comes later, by less than rounding itself costs."""
        exact, fast = ours(path, ids, "exact"), ours(path, ids, "fast")
        self.assertLess(relative_error(fast, ours(with_offsets, ids, "fast")),
                        relative_error(exact, fast))

    def test_five_readers_of_4_bit_codes(self):
        for name in ("phi2", "phi3-mini-4k", "phi4-mini", "phi4", "sample"):
            with self.subTest(name):
                out, ids = self.tmp / name, prompt(name)
                gguf = quantize(checkpoint(name), out / "g", "gguf", "--scheme", "pure-q4_0")
                coded = [gguf, *(quantize(checkpoint(name), out / t, t, "--scheme", "pure-int4g32")
                                 for t in ("onnx", "openvino"))]
                mlx = self.mlx(name, GgufFile(gguf), "q4_0", out / "m")
                floats = self.hugging_face(name, decoded("gguf", gguf), out / "hf")
                self.check([*coded, mlx, floats], ids, "exact")
                self.check(coded, ids, "fast")
                self.check_offsets(gguf, mlx, ids)

    def test_readers_of_8_bit_codes(self):
        for name in ("phi2", "phi4-mini", "sample"):
            with self.subTest(name):
                out, ids = self.tmp / name, prompt(name)
                gguf = quantize(checkpoint(name), out / "g", "gguf", "--scheme", "q8_0")
                mlx = self.mlx(name, GgufFile(gguf), "q8_0", out / "m")
                floats = self.hugging_face(name, decoded("gguf", gguf), out / "hf")
                self.check([gguf, mlx, floats], ids, "exact")
                self.check_offsets(gguf, mlx, ids)

    def test_every_kind_of_codes_and_its_decoded_weights(self):
        """The sample, from each container at each kind of codes that it has, and from a checkpoint
        of the floats that other packages decode from it."""
        ids = prompt("sample")
        for target, wanted in KINDS.items():
            found = [r for r in recipes(target) if re.fullmatch(wanted, r)]
            self.assertGreater(len(found), 5)
            for recipe in found:
                with self.subTest(target, recipe=recipe):
                    path = quantize(SAMPLE, self.tmp / f"{target}-{recipe}", target, "--scheme",
                                    recipe)
                    floats = self.hugging_face("sample", decoded(target, path),
                                               self.tmp / f"{target}-{recipe}-hf")
                    self.check([floats, path], ids, "exact")


if __name__ == "__main__":
    unittest.main()
