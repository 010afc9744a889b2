"""phiq calibrate against inputs computed in float64, and its file as llama.cpp's tools have it.
SPDX-License-Identifier: MIT"""

import json
import re
import unittest

import gguf
import numpy as np

from common import InteropTest, ROOT, checkpoint, phiq, quantize, read_config, read_weights
from llama_runtime import Llama
from reference import Phi

TEXT = ROOT / "README.md"
WINDOW, WINDOWS = 64, 3

# llama.cpp's names (gguf-py/gguf/constants.py) for those of the checkpoint.
NAMES = [(r"model\.layers\.(\d+)\.self_attn\.qkv_proj", r"blk.\1.attn_qkv"),
         (r"model\.layers\.(\d+)\.self_attn\.([qkv])_proj", r"blk.\1.attn_\2"),
         (r"model\.layers\.(\d+)\.self_attn\.(o_proj|dense)", r"blk.\1.attn_output"),
         (r"model\.layers\.(\d+)\.mlp\.(gate_up_proj|fc1)", r"blk.\1.ffn_up"),
         (r"model\.layers\.(\d+)\.mlp\.(down_proj|fc2)", r"blk.\1.ffn_down"),
         (r"lm_head", "output"), (r"model\.embed_tokens", "token_embd")]


def llama_name(name):
    for pattern, to in NAMES:
        if re.match(pattern + r"\.weight$", name):
            return re.sub(pattern, to, name)
    raise KeyError(name)


def windows_of(path):
    """llama-imatrix's: the text's tokens in runs, each with the first one of a text."""
    with Llama(path, vocab_only=True) as m:
        ids = m.tokenize(TEXT.read_text(), parse_special=False, add_special=True)
        fresh = m.meta("tokenizer.ggml.add_bos_token") == "true"
    runs = [ids[i:i + WINDOW] for i in range(0, WINDOW * WINDOWS, WINDOW)]
    return [[ids[0], *w[1:]] if fresh else w for w in runs]


def products(name, path):
    """{llama.cpp's name: X^T X of its inputs} over the windows."""
    model, sums = Phi(read_config(checkpoint(name)), read_weights(checkpoint(name))), {}
    for ids in windows_of(path):
        model.logits(ids)
        for k, x in model.inputs.items():
            k = llama_name(k)
            sums[k] = sums.get(k, 0) + x.T @ x
    return sums


def loss(path):
    out = phiq("eval", path, "--ref", checkpoint("sample"), "--text", TEXT, "--window", WINDOW,
               "--json").stdout
    return json.loads(out)["kl_divergence"]["mean"]


class Statistics(InteropTest):
    def calibrate(self, name, *options):
        out = self.tmp / f"{name}.gguf"
        phiq("calibrate", checkpoint(name), "--text", TEXT, "--window", WINDOW, "--windows",
             WINDOWS, "-o", out, "-q", *options)
        return out

    def test_equal_to_the_oracle(self):
        for name in ("sample", "phi2", "phi3-medium", "phi4-mini"):
            with self.subTest(name):
                wanted = products(name, quantize(checkpoint(name), self.tmp / name, "gguf",
                                                 "-p", "fp32"))
                wanted = {k: v.diagonal() for k, v in wanted.items()}
                r = gguf.GGUFReader(self.calibrate(name))
                got = {t.name: np.array(t.data) for t in r.tensors}
                self.assertEqual(sorted(got), sorted(f"{k}.{end}" for k in wanted
                                                     for end in ("in_sum2", "counts")))
                for k, v in wanted.items():
                    self.assertEqual(got[f"{k}.counts"].tolist(), [[WINDOW * WINDOWS]])
                    found = got[f"{k}.in_sum2"]
                    self.assertEqual(found.shape, (1, len(v)))
                    worst = np.abs(found[0] - v).max() / v.max()
                    self.assertLess(worst, 2e-5, k)

    def test_products_equal_to_the_oracle(self):
        """Of every matrix, those of q for k and v; phi2's feed-forward has q's too."""
        for name, n in (("sample", 6 * 4 + 1), ("phi2", 2 * 3 + 1)):
            with self.subTest(name):
                wanted = products(name, quantize(checkpoint(name), self.tmp / name, "gguf",
                                                 "-p", "fp32"))
                r = gguf.GGUFReader(self.calibrate(name, "--products"))
                got = {t.name.removesuffix(".in_products"): np.array(t.data).ravel()
                       for t in r.tensors if t.name.endswith(".in_products")}
                self.assertEqual(len(got), n)
                for k, found in got.items():
                    v = wanted[k][np.tril_indices(len(wanted[k]))]
                    self.assertEqual(found.shape, v.shape)
                    self.assertLess(np.abs(found - v).max() / np.abs(v).max(), 2e-5, k)

    def test_written_as_llama_imatrix_writes(self):
        r = gguf.GGUFReader(self.calibrate("sample"))
        fields = {k: f for k, f in r.fields.items() if not k.startswith("GGUF.")}
        self.assertEqual(list(fields), ["general.type", "imatrix.datasets", "imatrix.chunk_count",
                                        "imatrix.chunk_size"])
        self.assertEqual(fields["general.type"].contents(), "imatrix")
        self.assertEqual(fields["imatrix.datasets"].contents(), [str(TEXT)])
        self.assertEqual(fields["imatrix.chunk_count"].contents(), WINDOWS)
        self.assertEqual(fields["imatrix.chunk_size"].contents(), WINDOW)
        for key in ("chunk_count", "chunk_size"):
            self.assertEqual(fields[f"imatrix.{key}"].types, [gguf.GGUFValueType.UINT32])
        names = [t.name for t in r.tensors]
        weights = sorted({n.rsplit(".", 1)[0] for n in names})
        self.assertEqual(names, [f"{w}.{end}" for w in weights for end in ("in_sum2", "counts")])

    def test_weighs_what_is_quantized(self):
        """Less is lost where inputs are large: the output's error falls, the weights' rises."""
        plain = quantize(checkpoint("sample"), self.tmp / "a", "gguf", "-s", "q4_k_m")
        weighed = quantize(checkpoint("sample"), self.tmp / "b", "gguf", "-s", "q4_k_m",
                           "--imatrix", self.calibrate("sample"))
        self.assertNotEqual(plain.read_bytes(), weighed.read_bytes())

        self.assertLess(loss(weighed), loss(plain))

    def test_feedback_loses_less(self):
        """In every container, by far, on other text than what was measured."""
        statistics = self.tmp / "statistics.gguf"
        phiq("calibrate", checkpoint("sample"), "--text", ROOT / "docs" / "ARCHITECTURE.md",
             "--products", "--window", WINDOW, "-o", statistics, "-q")
        for target in ("gguf", "mlx", "onnx", "openvino"):
            with self.subTest(target):
                plain, fed = (quantize(checkpoint("sample"), self.tmp / f"{target}-{solver}",
                                       target, "--imatrix", statistics, "--solver", solver)
                              for solver in ("search", "gptq"))
                self.assertLess(loss(fed), 0.8 * loss(plain))


if __name__ == "__main__":
    unittest.main()
