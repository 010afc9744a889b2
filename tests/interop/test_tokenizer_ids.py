"""Our tokenizer's ids and text are those of the Hugging Face `tokenizers` library: books, pages of
other languages, seeded hostile strings; for the tokenizers that ship here and, where they lie beside
the repository, for the real ones of the Phi family and llama.cpp's test vectors.
SPDX-License-Identifier: MIT

    test_tokenizer_ids.py TOK_TOOL

TOK_TOOL is the program of tests/tools/tok_tool.c."""

import json
import random
import shutil
import sys
import tempfile
import unittest
from pathlib import Path

from tokenizers import Tokenizer

from common import NAMES, SHARED, checkpoint
from hostile import hostile
from tok_tool import ENDS, PLAIN_SPECIAL, SKIP_SPECIAL, TokTool

TOOL = None
N_HOSTILE = 20_000
CHECKPOINTS = (*NAMES, "phimoe", "sample")
REAL = {"phi-2": 51200, "phi-3": 32064, "phi-3-mini": 32064, "phi-3-medium": 32064,
        "phi-3-vision": 32064, "phi-4-base": 100352, "phi-4-mini": 200064}
TOKENIZERS = SHARED / "data" / "tokenizers"
LLAMA = TOKENIZERS / "llama.cpp"


class Theirs:
    """tokenizer.json in the library. Added tokens that the vocabulary lacks are put there, with the
    ids that the file declares: the library would number them anew where there are gaps."""

    def __init__(self, document):
        document = json.loads(json.dumps(document))
        for t in document["added_tokens"]:
            document["model"]["vocab"].setdefault(t["content"], t["id"])
        self.added = [t["content"] for t in document["added_tokens"]]
        self.spm = bool(document["model"].get("byte_fallback"))
        self.tokenizer = Tokenizer.from_str(json.dumps(document))

    def encode(self, texts, plain=False):
        self.tokenizer.encode_special_tokens = plain
        return [e.ids for e in self.tokenizer.encode_batch(texts, add_special_tokens=False)]

    def decode(self, lists, skip):
        return self.tokenizer.decode_batch(lists, skip_special_tokens=skip)


def read(folder):
    return json.loads((Path(folder) / "tokenizer.json").read_text())


class TokTest(unittest.TestCase):
    def same(self, texts, want, got, what):
        self.assertEqual(len(texts), len(got), what)
        bad = [(t, w, g) for t, w, g in zip(texts, want, got) if w != g]
        if bad:
            t, w, g = min(bad, key=lambda row: len(row[0]))
            self.fail(f"{what}: {len(bad)} of {len(texts)} differ\n{t!r}\nwant {w}\ngot  {g}")

    def check(self, ours, theirs, texts, what, decode=True):
        ids = theirs.encode(texts)
        self.same(texts, ids, ours.encode(texts), f"{what}, ids")
        self.same(texts, theirs.encode(texts, plain=True), ours.encode(texts, PLAIN_SPECIAL),
                  f"{what}, ids with special tokens as text")
        for flags in (0, SKIP_SPECIAL) if decode else ():
            want = theirs.decode(ids, bool(flags))
            for mode in ("decode", "stream"):
                got = [b.decode() for b in ours.decode(ids, flags, mode)]
                self.same(texts, want, got, f"{what}, {mode} with flags {flags}")

    def check_random_ids(self, ours, theirs, n_vocab, what):
        """Ids in no sensible order: broken characters everywhere."""
        rng = random.Random(7)
        known = theirs.tokenizer.id_to_token
        lists = [[rng.randrange(n_vocab) if rng.random() < .6 else rng.randrange(3, 259)
                  for _ in range(rng.randrange(1, 12))] for _ in range(3000)]
        want = theirs.decode(lists, False)
        raw = ours.decode(lists)
        if theirs.spm:  # there one broken byte spoils all bytes around it
            keep = [i for i, b in enumerate(raw) if b == b.decode(errors="ignore").encode()]
            self.assertGreater(len(keep), 300)
        else:
            keep = range(len(lists))
        texts = [[known(i) for i in lists[k]] for k in keep]
        self.same(texts, [want[k] for k in keep], [raw[k].decode(errors="replace") for k in keep],
                  f"{what}, random ids")
        self.same(lists, [b.decode(errors="replace") for b in raw],
                  [b.decode() for b in ours.stream(lists)], f"{what}, random ids streamed")

    def check_folder(self, folder, n_vocab, document=None, n_hostile=N_HOSTILE, decode=True):
        theirs = Theirs(document or read(folder))
        ours = TokTool(TOOL, folder, n_vocab)
        self.check(ours, theirs, list(hostile(n_hostile, theirs.added)), Path(folder).name, decode)
        if decode:
            self.check_random_ids(ours, theirs, n_vocab, Path(folder).name)
        return ours, theirs


class Shipped(TokTest):
    def test_checkpoints(self):
        for name in CHECKPOINTS:
            with self.subTest(name):
                folder = checkpoint(name)
                n_vocab = json.loads((folder / "config.json").read_text())["vocab_size"]
                self.check_folder(folder, n_vocab)

    def test_bytes_that_are_not_text(self):
        """Any bytes come back as they were."""
        rng = random.Random(3)
        lists = [rng.randbytes(rng.randrange(60)) for _ in range(2000)]
        lists += [t.encode()[1:-1] for t in hostile(2000, ["<|end|>"])]
        lists = [b for b in lists if b"<|" not in b]
        for name in ("phi2", "phi3-mini-4k", "phi4", "phi4-mini", "sample"):
            folder = checkpoint(name)
            n_vocab = json.loads((folder / "config.json").read_text())["vocab_size"]
            ours = TokTool(TOOL, folder, n_vocab)
            space = "▁".encode()
            want = [b.replace(space, b" ") if "phi3" in name or name == "sample" else b
                    for b in lists]
            self.same(lists, want, ours.decode(ours.encode(lists)), name)

    def test_ends(self):
        for name, bos in (("phi3-mini-4k", [1]), ("phi4", [])):
            folder = checkpoint(name)
            n_vocab = json.loads((folder / "config.json").read_text())["vocab_size"]
            ours = TokTool(TOOL, folder, n_vocab)
            texts = ["", "Hello", " x"]
            self.assertEqual(ours.encode(texts, ENDS), [bos + i for i in ours.encode(texts)])

    def variant(self, name, change, decode=True):
        """The hostile strings on a fixture's tokenizer.json after a change to it."""
        folder = checkpoint(name)
        document = read(folder)
        change(document)
        n_vocab = json.loads((folder / "config.json").read_text())["vocab_size"]
        with tempfile.TemporaryDirectory() as tmp:
            (Path(tmp) / "tokenizer.json").write_text(json.dumps(document))
            self.check_folder(tmp, n_vocab, document, 3000, decode)

    def test_strip_flags(self):
        for name in ("phi2", "phi3-mini-4k", "phi4", "phi4-mini"):
            for flags in ({"lstrip": True}, {"rstrip": True}, {"lstrip": True, "rstrip": True},
                          {"single_word": True}, {"normalized": True}, {"special": False},
                          {"normalized": True, "rstrip": True, "single_word": True}):
                def change(document, flags=flags):
                    for i, t in enumerate(document["added_tokens"]):
                        t.update(flags if i % 3 else {"lstrip": True})
                with self.subTest(name, flags=flags):
                    # the library also puts U+2581 before the text of such a token
                    odd = name == "phi3-mini-4k" and "normalized" in flags
                    self.variant(name, change, decode=not odd)

    def test_odd_added_tokens(self):
        """Tokens inside one another, of blanks, in words."""
        words = ["  ", "    ", "ab", "abab", "b", "Hello", "lo wor", "\n\n", "é", "▁", "<|", "<|e"]

        def change(document):
            first = max(t["id"] for t in document["added_tokens"]) + 1
            vocab = document["model"]["vocab"]
            document["added_tokens"] += [
                {"id": first + i, "content": w, "special": i % 2 == 0, "lstrip": i % 3 == 0,
                 "rstrip": i % 4 == 0, "normalized": i % 5 == 0, "single_word": i % 6 == 0}
                for i, w in enumerate(w for w in words if w not in vocab)]
            self.assertLess(document["added_tokens"][-1]["id"], 520)
        for name in ("phi2", "phi4"):
            with self.subTest(name):
                self.variant(name, change)

    def test_ignore_merges(self):
        self.variant("phi4", lambda d: d["model"].update(ignore_merges=True))

    def test_metaspace(self):
        """The newer form of Llama's normalizer."""
        for scheme in ("always", "first", "never"):
            def change(document, scheme=scheme):
                document["normalizer"] = None
                document["pre_tokenizer"] = {"type": "Metaspace", "replacement": "▁",
                                             "prepend_scheme": scheme, "split": False}
                if scheme == "never":
                    document["decoder"]["decoders"].pop()
            with self.subTest(scheme):
                self.variant("phi3-mini-4k", change)


class Real(TokTest):
    def test_each(self):
        found = [n for n in REAL if (TOKENIZERS / n / "tokenizer.json").exists()]
        if not found:
            self.skipTest(f"no real tokenizers under {TOKENIZERS}")
        for name in found:
            with self.subTest(name):
                ours, theirs = self.check_folder(TOKENIZERS / name, REAL[name])
                for path in sorted((SHARED / "data" / "text").glob("*.txt")):
                    text = path.read_text()
                    pages = [text[i:i + 5000] for i in range(0, len(text), 5000)]
                    self.check(ours, theirs, pages, f"{name} {path.name}")
                    self.same([path.name], theirs.encode([text]), ours.encode([text]), name)

    def test_model_alone(self):
        """tokenizer.model without tokenizer.json: merges come from scores."""
        folder = TOKENIZERS / "phi-3-mini"
        if not folder.is_dir() or not LLAMA.is_dir():
            self.skipTest(f"no {LLAMA}")
        with tempfile.TemporaryDirectory() as tmp:
            shutil.copy(LLAMA / "llama2-tokenizer.model", Path(tmp) / "tokenizer.model")
            shutil.copy(folder / "tokenizer_config.json", tmp)
            theirs = Theirs(read(folder))
            self.check(TokTool(TOOL, tmp, 32064), theirs, list(hostile(N_HOSTILE, theirs.added)),
                       "tokenizer.model")

    def test_llama_vectors(self):
        """The vocabularies inside GGUF files, against the ids that llama.cpp keeps beside them."""
        if not LLAMA.is_dir():
            self.skipTest(f"no {LLAMA}")
        for name in ("phi-3", "llama-spm", "gpt-2"):
            with self.subTest(name):
                stem = LLAMA / f"ggml-vocab-{name}.gguf"
                texts = Path(f"{stem}.inp").read_text().split("\n__ggml_vocab_test__\n")
                want = [[int(i) for i in line.split()]
                        for line in Path(f"{stem}.out").read_text().splitlines()]
                pairs = list(zip(texts, want))
                self.assertGreater(len(pairs), 20)
                self.same([t for t, _ in pairs], [w for _, w in pairs],
                          TokTool(TOOL, stem).encode([t for t, _ in pairs]), name)


if __name__ == "__main__":
    TOOL = sys.argv.pop(1)
    unittest.main()
