"""Outputs whose schemes were chosen for a target, in the unmodified runtimes: they load, and their
divergence is the one that phiq eval sees in the file. SPDX-License-Identifier: MIT"""

import json
import tempfile
import unittest

import numpy as np

from common import ROOT, SAMPLE, InteropTest, mean_kld, phiq, quantize
from llama_runtime import Llama
from mlx_runtime import Mlx
from onnx_runtime import Onnx, Session
from openvino_runtime import OpenVino

TEXT = ROOT / "README.md"
WINDOW, WINDOWS = 128, 4
HALF = slice(WINDOW // 2, WINDOW - 1)


def windows_of(path):
    """llama-perplexity's: the text's tokens in runs, each with the first one of a text."""
    with Llama(path, WINDOW) as m:
        ids = m.tokenize(TEXT.read_text(), parse_special=False, add_special=True)
        runs = [ids[i * WINDOW:(i + 1) * WINDOW] for i in range(WINDOWS)]
        return [[ids[0], *r[1:]] for r in runs]


class Targets(InteropTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.scratch = tempfile.TemporaryDirectory(prefix="phiq-interop-")
        cls.addClassCleanup(cls.scratch.cleanup)
        cls.sensitivity = f"{cls.scratch.name}/sens.json"
        phiq("sensitivity", SAMPLE, "--to", "gguf,mlx,onnx,openvino", "--text", TEXT, "--window", 64,
             "--windows", 2, "-o", cls.sensitivity)
        gguf = quantize(SAMPLE, cls.scratch.name, "gguf", "-p", "fp32")
        cls.windows = windows_of(gguf)
        with Llama(gguf, WINDOW) as m:
            cls.exact = [m.logits(w)[HALF] for w in cls.windows]

    def written(self, target, *options):
        """(path, the report's words about the choice)"""
        r = phiq("quantize", SAMPLE, "--to", target, "-o", self.tmp, "--sensitivity",
                 self.sensitivity, "--json", *options)
        row = json.loads(r.stdout)["targets"][0]
        return row["path"], row["mix"]

    def check(self, target, logits_of, delta):
        path, mix = self.written(target, "--target-bpw", 4.75)
        self.assertGreater(len(mix["matrices"]), 2, "nothing is mixed")
        wanted = np.mean([mean_kld(a, logits_of(path, w)[HALF])
                          for a, w in zip(self.exact, self.windows)])
        r = phiq("eval", path, "--ref", SAMPLE, "--text", TEXT, "--window", WINDOW, "--windows",
                 WINDOWS, "--json")
        got = json.loads(r.stdout)["kl_divergence"]["mean"]
        self.assertAlmostEqual(got / wanted, 1, delta=delta)
        self.assertLess(got, 0.2)
        return path

    def test_gguf(self):
        def logits(path, ids):
            with Llama(path, WINDOW) as m:
                return m.logits(ids)
        path = self.check("gguf", logits, 0.15)  # llama.cpp rounds activations to 8 bits
        with Llama(path, WINDOW) as m:
            self.assertTrue(m.meta("phiq.mix").startswith("expected KL divergence"))

    def test_mlx(self):
        path = self.check("mlx", lambda path, ids: Mlx(path).logits(ids), 1e-2)
        self.assertGreater(len(set(Mlx(path).quantized().values())), 2)

    def test_onnx(self):
        path = self.check("onnx", lambda p, ids: Session(p, single=True).logits(ids), 1e-2)
        self.assertTrue(np.isfinite(Onnx(path).logits(self.windows[0])).all())

    def test_openvino(self):
        path = self.check("openvino", lambda p, ids: OpenVino(p).logits(ids), 1e-2)
        self.assertGreater(len(OpenVino(path).weight_types()), 1)


if __name__ == "__main__":
    unittest.main()
