"""Our OpenVINO tokenizers in the unmodified runtimes: openvino_genai.Tokenizer and the compiled
graphs themselves give the ids and the text of the Hugging Face `tokenizers` library: books, special
tokens, seeded hostile strings; for the tokenizers that ship here, changed ones, and, where they lie
beside the repository, the real ones of the Phi family. And what genai does with the graphs: special
tokens, padding, truncation, chat templates. SPDX-License-Identifier: MIT

Environment: PQ_HOSTILE sets the number of hostile strings for each tokenizer."""

import json
import os
import random
import shutil
import unittest

import numpy as np
import openvino
import openvino_genai
import openvino_tokenizers  # noqa: F401 (registers its operations)
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

import test_tokenizer as base
import test_tokenizer_ids as ids
from common import NAMES, SHARED, InteropTest, checkpoint, quantize
from hostile import hostile

N_HOSTILE = int(os.environ.get("PQ_HOSTILE", 2000))
BROKEN = "\ufffd"


class Theirs(ids.Theirs):
    """With what the post-processor adds."""

    def encode(self, texts, add_special_tokens=True):
        batch = self.tokenizer.encode_batch(texts, add_special_tokens=add_special_tokens)
        return [e.ids for e in batch]


class Ours:
    def __init__(self, folder):
        self.tokenizer = openvino_genai.Tokenizer(str(folder))

    def encode(self, texts, **options):
        """One by one: a batch is padded."""
        return [self.tokenizer.encode(t, **options).input_ids.data[0].tolist() for t in texts]

    def decode(self, lists, skip):
        return [self.tokenizer.decode(i, skip_special_tokens=skip) for i in lists]


class OvTest(InteropTest):
    def same(self, texts, want, got, what):
        bad = [row for row in zip(texts, want, got, strict=True) if row[1] != row[2]]
        if bad:
            t, w, g = min(bad, key=lambda row: len(row[0]))
            self.fail(f"{what}: {len(bad)} of {len(texts)} differ\n{t!r}\nwant {w!r}\ngot  {g!r}")

    def folder(self, source):
        return quantize(source, self.tmp / "out" / source.name, "openvino", "--precision", "int8")

    def check(self, source, texts=(), decode=True, n_hostile=N_HOSTILE):
        """Returns the library's tokenizer, ours, and the folder of ours."""
        theirs = Theirs(ids.read(source))
        folder = self.folder(source)
        ours = Ours(folder)
        texts = [*base.PLAIN, *base.special_texts(theirs.added), *texts,
                 *hostile(n_hostile, theirs.added)]
        want = theirs.encode(texts)
        self.same(texts, want, ours.encode(texts), "ids")
        some = texts[::5]
        self.same(some, theirs.encode(some, add_special_tokens=False),
                  ours.encode(some, add_special_tokens=False), "ids without special tokens")
        lists = [i for i in want if i]
        for skip in (True, False) if decode else ():
            self.same(lists, theirs.decode(lists, skip), ours.decode(lists, skip),
                      f"text, skip_special_tokens={skip}")
        return theirs, ours, folder


class Shipped(OvTest):
    def test_each(self):
        for name in (*NAMES, "sample"):
            with self.subTest(name):
                theirs, ours, folder = self.check(checkpoint(name))
                self.check_random(theirs, ours)
                self.check_batch(theirs, ours, folder)
                self.check_specials(ours, checkpoint(name))
                self.check_template(ours, checkpoint(name))

    def check_random(self, theirs, ours):
        """Ids in no order. How many U+FFFD stand for broken bytes is not compared: the library's
        rules for them are not those of the operation UTF8Validate."""
        rng = random.Random(7)
        n = theirs.tokenizer.get_vocab_size() + 4
        lists = [[rng.randrange(n) for _ in range(rng.randrange(1, 12))] for _ in range(2000)]
        want = theirs.decode(lists, True)
        keep = [k for k, text in enumerate(want) if BROKEN not in text]
        self.assertGreater(len(keep), 300)
        self.same([lists[k] for k in keep], [want[k] for k in keep],
                  ours.decode([lists[k] for k in keep], True), "text of random ids")
        for k in set(range(len(want))) - set(keep):  # anything but a failure
            self.assertIsInstance(self.decode_loosely(ours, lists[k]), str)

    @staticmethod
    def decode_loosely(ours, tokens):
        """UTF8Validate lets surrogates through, which Python does not."""
        try:
            return ours.tokenizer.decode(tokens)
        except UnicodeDecodeError as e:
            return e.object.decode(errors="replace")

    def check_batch(self, theirs, ours, folder):
        texts = ["a", "", "Two words and more", "x <|end|> y", "\U0001f600" * 5]
        want = theirs.encode(texts)
        longest = max(map(len, want))
        pad = ours.tokenizer.get_pad_token_id()
        left = [[pad] * (longest - len(i)) + i for i in want]
        right = [i + [pad] * (longest - len(i)) for i in want]
        mask = [[0] * (longest - len(i)) + [1] * len(i) for i in want]
        got = ours.tokenizer.encode(texts)
        self.assertEqual(got.input_ids.data.tolist(), left)
        self.assertEqual(got.attention_mask.data.tolist(), mask)
        got = ours.tokenizer.encode(texts, padding_side="right")
        self.assertEqual(got.input_ids.data.tolist(), right)
        self.assertEqual(got.attention_mask.data.tolist(), [m[::-1] for m in mask])
        got = ours.tokenizer.encode(texts, max_length=3, truncation=True)
        self.assertEqual([[i for i, m in zip(*row) if m] for row in zip(
            got.input_ids.data.tolist(), got.attention_mask.data.tolist())], [i[:3] for i in want])
        got = ours.tokenizer.encode(["a"], max_length=7, pad_to_max_length=True)
        self.assertEqual(got.input_ids.data.shape, (1, 7))
        self.check_compiled(folder, texts, left, mask)

    def check_compiled(self, folder, texts, left, mask):
        """The graphs without genai; no truncation unless asked for."""
        core = openvino.Core()
        tokenizer = core.compile_model(folder / "openvino_tokenizer.xml", "CPU")
        got = tokenizer(openvino.Tensor(texts))
        self.assertEqual(got["input_ids"].tolist(), left)
        self.assertEqual(got["attention_mask"].tolist(), mask)
        long = tokenizer(openvino.Tensor(["ab " * 200_000]))["input_ids"]
        self.assertGreater(long.shape[1], 131072)
        detokenizer = core.compile_model(folder / "openvino_detokenizer.xml", "CPU")
        text = detokenizer(np.array([left[2]]))["string_output"][0]
        self.assertEqual(text, texts[2])

    def check_specials(self, ours, source):
        theirs = Theirs(ids.read(source))
        config = json.loads((source / "tokenizer_config.json").read_text())
        for name in ("bos", "eos", "pad"):
            text = config.get(f"{name}_token", config["eos_token"])
            token = theirs.tokenizer.token_to_id(text)
            self.assertEqual(getattr(ours.tokenizer, f"get_{name}_token_id")(), token)
            self.assertEqual(getattr(ours.tokenizer, f"get_{name}_token")(), text)
        vocab = ours.tokenizer.get_vocab()
        for text in theirs.added:
            self.assertEqual(vocab[text.encode()], theirs.tokenizer.token_to_id(text))

    def check_template(self, ours, source):
        """As Jinja renders it with transformers' settings."""
        config = json.loads((source / "tokenizer_config.json").read_text())
        template = config.get("chat_template")
        if not template:
            return
        chat = [{"role": "user", "content": "Who <b> & \"you\"?"},
                {"role": "assistant", "content": "I.\n"}, {"role": "user", "content": " \U0001f600"}]
        jinja = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True,
                                              extensions=[loopcontrols])
        want = jinja.from_string(template).render(
            messages=chat, add_generation_prompt=True, bos_token=config["bos_token"],
            eos_token=config["eos_token"])
        self.assertEqual(ours.tokenizer.apply_chat_template(chat, add_generation_prompt=True), want)
        self.assertEqual(ours.tokenizer.chat_template, template)


class Changed(OvTest):
    """Fixtures with a changed tokenizer.json."""

    def changed(self, name, change, **options):
        folder = self.tmp / name
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(checkpoint(name), folder)
        document = ids.read(folder)
        change(document)
        (folder / "tokenizer.json").write_text(json.dumps(document))
        shutil.rmtree(self.tmp / "out", ignore_errors=True)
        self.check(folder, n_hostile=1000, **options)

    def test_strip_flags(self):
        for name in ("phi2", "phi3-mini-4k", "phi4", "phi4-mini"):
            for flags in ({"lstrip": True}, {"rstrip": True}, {"lstrip": True, "rstrip": True},
                          {"special": False}):
                def change(document, flags=flags):
                    for i, t in enumerate(document["added_tokens"]):
                        t.update(flags if i % 3 else {"lstrip": True})
                with self.subTest(name, flags=flags):
                    self.changed(name, change)

    def test_odd_added_tokens(self):
        """Tokens inside one another, of blanks, in words."""
        words = ["  ", "    ", "ab", "abab", "Hello", "lo wor", "\n\n", "<|e"]

        def change(document):
            vocab = document["model"]["vocab"]
            free = max(t["id"] for t in document["added_tokens"]) + 1
            document["added_tokens"] += [
                {"id": i, "content": w, "special": i % 2 == 0, "lstrip": False, "rstrip": False,
                 "normalized": False, "single_word": False}
                for i, w in enumerate((w for w in words if w not in vocab), free) if i < 512]
        for name in ("phi2", "phi4", "phi4-mini"):
            with self.subTest(name):
                self.changed(name, change)

    def test_template(self):
        """A post-processor that puts tokens on both sides."""
        def change(document):
            token = {"SpecialToken": {"id": "<s>", "type_id": 0}}
            end = {"SpecialToken": {"id": "<|endoftext|>", "type_id": 0}}
            text = {"Sequence": {"id": "A", "type_id": 0}}
            document["post_processor"] = {
                "type": "TemplateProcessing", "single": [token, text, end], "pair": [text, text],
                "special_tokens": {t["content"]: {"id": t["content"], "ids": [t["id"]],
                                                  "tokens": [t["content"]]}
                                   for t in document["added_tokens"]
                                   if t["content"] in ("<s>", "<|endoftext|>")}}
        self.changed("phi3-mini-4k", change)

    def test_metaspace(self):
        """The newer form of Llama's normalizer."""
        for scheme in ("always", "first", "never"):
            def change(document, scheme=scheme):
                document["normalizer"] = None
                document["pre_tokenizer"] = {"type": "Metaspace", "replacement": "\u2581",
                                             "prepend_scheme": scheme, "split": False}
                if scheme == "never":
                    document["decoder"]["decoders"].pop()
            with self.subTest(scheme):
                self.changed("phi3-mini-4k", change)


class Real(OvTest):
    def setUp(self):
        super().setUp()
        self.tokenizers = SHARED / "data" / "tokenizers"
        if not self.tokenizers.is_dir():
            self.skipTest(f"no real tokenizers at {self.tokenizers}")

    def test_each(self):
        pages = []
        for path in sorted((SHARED / "data" / "text").glob("*.txt")):
            text = path.read_text()
            pages += [text[i:i + 2000] for i in range(0, len(text), 2000)]
        self.assertGreater(len(pages), 100)
        for name, n_vocab in ids.REAL.items():
            with self.subTest(name):
                self.check(base.Real.tiny_checkpoint(self, name, n_vocab), pages)


if __name__ == "__main__":
    unittest.main()
