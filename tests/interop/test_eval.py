"""phiq eval against the same protocol over llama.cpp's own logits, and over OpenVINO's.
SPDX-License-Identifier: MIT"""

import json
import unittest

import numpy as np

from common import ROOT, SAMPLE, InteropTest, mean_kld, phiq, quantize
from llama_runtime import Llama
from openvino_runtime import OpenVino

TEXT = ROOT / "README.md"
WINDOW = 128


def evaluate(*args):
    return json.loads(phiq("eval", *args, "--text", TEXT, "--window", WINDOW, "--json").stdout)


def log_softmax(x):
    x = x.astype(np.float64)
    x -= x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def windows_of(path):
    """llama-perplexity's: the text's tokens in runs, each with the first one of a text."""
    with Llama(path, WINDOW) as m:
        ids = m.tokenize(TEXT.read_text(), parse_special=False, add_special=True)
        first = ids[0]
        fresh = m.meta("tokenizer.ggml.add_bos_token") == "true"
        found = [ids[i:i + WINDOW] for i in range(0, len(ids) - WINDOW + 1, WINDOW)]
        return [[first, *w[1:]] if fresh else w for w in found]


def perplexity(logits_of, windows):
    """(perplexity, its standard error over tokens) over the second half of each window."""
    nll = []
    for ids in windows:
        logp = log_softmax(logits_of(ids))
        nll += [-logp[i, ids[i + 1]] for i in range(WINDOW // 2, WINDOW - 1)]
    nll = np.array(nll)
    value = np.exp(nll.mean())
    spread = np.sqrt(((nll * nll).mean() - nll.mean() ** 2) / (len(nll) - 1))
    return value, value * spread, len(nll)


class Perplexity(InteropTest):
    def check(self, precision, digits):
        path = quantize(SAMPLE, self.tmp / precision, "gguf", "-p", precision)
        windows = windows_of(path)
        self.assertGreater(len(windows), 5)
        with Llama(path, WINDOW) as m:
            wanted, error, n = perplexity(m.logits, windows)
        got = evaluate(path)
        self.assertEqual(got["scored_tokens"], n)
        self.assertAlmostEqual(got["perplexity"]["token"] / wanted, 1, delta=digits)
        self.assertAlmostEqual(got["perplexity_token_error"] / error, 1, delta=20 * digits)

    def test_equals_llama_perplexity(self):
        self.check("fp32", 1e-5)

    def test_near_it_where_llama_rounds_activations(self):
        """llama.cpp multiplies quantized weights by activations in 8 bits, phiq eval does not."""
        self.check("int8", 3e-3)
        self.check("int4", 1e-2)


class Distance(InteropTest):
    def test_of_a_written_folder_is_what_its_runtime_shows(self):
        exact = quantize(SAMPLE, self.tmp / "exact", "openvino", "-p", "fp32")
        folder = quantize(SAMPLE, self.tmp / "int4", "openvino", "-p", "int4")
        gguf = quantize(SAMPLE, self.tmp / "g", "gguf", "-p", "fp32")
        a, b = OpenVino(exact), OpenVino(folder)
        half = slice(WINDOW // 2, WINDOW - 1)
        wanted = np.mean([mean_kld(a.logits(w)[half], b.logits(w)[half])
                          for w in windows_of(gguf)])
        for reference in (SAMPLE, exact, gguf):
            got = evaluate(folder, "--ref", reference)
            self.assertAlmostEqual(got["kl_divergence"]["mean"] / wanted, 1, delta=1e-3)

    def test_a_saved_reference_is_as_good(self):
        folder = quantize(SAMPLE, self.tmp, "mlx", "-p", "int4")
        saved = self.tmp / "logits"
        evaluate(SAMPLE, "--save-logits", saved)
        a, b = evaluate(folder, "--ref", SAMPLE), evaluate(folder, "--ref", saved)
        for key in ("kl_divergence", "top1_agreement", "flips", "reference_perplexity"):
            for k, v in a[key].items():
                self.assertAlmostEqual(b[key][k], v, delta=1e-6 * abs(v) + 1e-9, msg=f"{key} {k}")


if __name__ == "__main__":
    unittest.main()
