"""The tokenizer.json that phiq writes for a vocabulary gives the ids of the original one, and the
same text back. SPDX-License-Identifier: MIT

    check_tokenizer_emit.py VOCAB_TOOL

VOCAB_TOOL is the program of tests/tools/vocab_tool.c. Sources: the fixtures, the sample model and,
where present, real tokenizers and llama.cpp's vocabulary files."""

import json
import random
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from tokenizers import Tokenizer

from common import ROOT, SHARED, checkpoint

TOOL = None
CHECKPOINTS = ("phi2", "phi3-mini-4k", "phi3-medium", "phi4", "phi4-mini", "phimoe", "sample")
REAL = {"phi-2": 51200, "phi-3": 32064, "phi-3-mini": 32064, "phi-3-medium": 32064,
        "phi-3-vision": 32064, "phi-4-base": 100352, "phi-4-mini": 200064}
PHRASES = ["Hello, world!", "  two  spaces ", "tabs\tand\nnewlines\n\n", "I'm, you'RE, we'll",
           "3.14159 12345678", "naïve café — Ünïcödé", "分析 こんにちは 한국어", "😀👩‍👩‍👧", "\u0000\u0001\x7f",
           "def f(x):\n        return x ** 2\n", "www.example.com/a?b=c&d", "", " ", "\n", "▁▁x",
           "CamelCaseWords HTTPServer", "<0x41> <s> </s> <unk>", "a\u0301e\u0301", "\u00a0nbsp\u3000"]


def texts(tokenizer, seed):
    """Fixed phrases, phrases with added tokens between them, and random mixtures."""
    rng = random.Random(seed)
    added = sorted(t.content for t in tokenizer.get_added_tokens_decoder().values())
    yield from PHRASES
    for _ in range(300):
        parts = rng.choices(PHRASES, k=rng.randint(1, 4)) + rng.choices(added, k=rng.randint(0, 2))
        rng.shuffle(parts)
        yield rng.choice(["", " ", "\n"]).join(parts)
    for _ in range(200):
        yield "".join(chr(rng.choice([rng.randint(32, 126), rng.randint(0xA1, 0x2FFF),
                                      rng.randint(0x4E00, 0x9FFF), rng.randint(0x1F300, 0x1F6FF)]))
                      for _ in range(rng.randint(1, 40)))


def original(folder):
    """The folder's tokenizer.json, and the id that it puts before text (or None).

    The library numbers added tokens that the vocabulary lacks by itself, so they are put there, as
    in the published file of Phi-4-mini, whose ids have holes."""
    doc = json.loads((folder / "tokenizer.json").read_text())
    for t in doc["added_tokens"]:
        doc["model"]["vocab"].setdefault(t["content"], t["id"])
    tokenizer = Tokenizer.from_str(json.dumps(doc))
    config = json.loads((folder / "tokenizer_config.json").read_text())
    bos = config["bos_token"] if config.get("add_bos_token") else None
    return tokenizer, bos and tokenizer.token_to_id(bos)


def emitted(source, out, *args):
    subprocess.run([TOOL, str(source), str(out), *map(str, args)], check=True)
    return Tokenizer.from_file(str(Path(out) / "tokenizer.json"))


class Emit(unittest.TestCase):
    def assert_same(self, want, bos, got):
        for text in texts(want, 1):
            a = want.encode(text, add_special_tokens=False).ids
            b = got.encode(text, add_special_tokens=False).ids
            self.assertEqual(a, b, repr(text))
            self.assertEqual(([] if bos is None else [bos]) + a, got.encode(text).ids, repr(text))
            self.assertEqual(want.decode(a, skip_special_tokens=False),
                             got.decode(b, skip_special_tokens=False), repr(text))

    def check_folder(self, folder, n_vocab):
        want, bos = original(folder)
        with tempfile.TemporaryDirectory() as out:
            self.assert_same(want, bos, emitted(folder, out, n_vocab))

    def test_checkpoints(self):
        for name in CHECKPOINTS:
            with self.subTest(name):
                folder = checkpoint(name)
                config = json.loads((folder / "config.json").read_text())
                self.check_folder(folder, config["vocab_size"])

    def test_model_only(self):
        """tokenizer.model without tokenizer.json: merges come from scores."""
        llama = SHARED / "data/tokenizers/llama.cpp/llama2-tokenizer.model"
        cases = [(checkpoint("sample"), checkpoint("sample") / "tokenizer.model", 4096)]
        if llama.exists():
            cases.append((SHARED / "data/tokenizers/phi-3-mini", llama, 32064))
        for folder, model, n_vocab in cases:
            with self.subTest(folder.name), tempfile.TemporaryDirectory() as tmp:
                source = Path(tmp) / "source"
                source.mkdir()
                shutil.copy(model, source / "tokenizer.model")
                shutil.copy(folder / "tokenizer_config.json", source)
                want, bos = original(folder)
                self.assert_same(want, bos, emitted(source, Path(tmp) / "out", n_vocab))

    def test_real(self):
        found = [n for n in REAL if (SHARED / "data/tokenizers" / n / "tokenizer.json").exists()]
        if not found:
            self.skipTest(f"no real tokenizers under {SHARED}/data")
        for name in found:
            with self.subTest(name):
                self.check_folder(SHARED / "data/tokenizers" / name, REAL[name])

    def test_llama_vocab(self):
        """A GGUF vocabulary against the ids that llama.cpp itself keeps as test vectors."""
        folder = SHARED / "data/tokenizers/llama.cpp"
        if not folder.exists():
            self.skipTest(f"no {folder}")
        for name in ("phi-3", "llama-spm", "gpt-2"):
            with self.subTest(name), tempfile.TemporaryDirectory() as out:
                got = emitted(folder / f"ggml-vocab-{name}.gguf", out)
                stem = folder / f"ggml-vocab-{name}.gguf"
                inputs = Path(f"{stem}.inp").read_text().split("\n__ggml_vocab_test__\n")
                outputs = Path(f"{stem}.out").read_text().splitlines()
                pairs = list(zip(inputs, outputs))
                self.assertGreater(len(pairs), 20)
                for text, ids in pairs:
                    self.assertEqual(got.encode(text, add_special_tokens=False).ids,
                                     [int(i) for i in ids.split()], repr(text))


if __name__ == "__main__":
    TOOL = sys.argv.pop(1)
    unittest.main()
