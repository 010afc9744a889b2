"""llama.cpp on our GGUF gives the ids that the Hugging Face `tokenizers` library gives on the
checkpoint's tokenizer.json: plain text, special tokens, hostile strings; on the tokenizers that
ship here and, where they lie beside the repository, on the real ones of the Phi family.
SPDX-License-Identifier: MIT"""

import json
import re
import shutil
import unittest

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer

from common import NAMES, SHARED, InteropTest, checkpoint, quantize, read_config
from llama_runtime import Llama

PLAIN = [
    "", " ", "  ", "   three spaces", "trailing  ", "\n", "\n\n", "a\nb\r\nc\n\n\nd",
    "\ttab\t\ttabs",
    "Hello", " Hello", "Hello, world!", "The quick brown fox jumps over the lazy dog.",
    "don't can't I'll we've you're she'd IT'S DON'T", "x = y + 1;  // comment",
    "def f(a, b):\n    return a  +  b\n\n\n\tif x:\n\t\tpass\n",
    "1 12 123 1234 12345 3.14159 1e-10",
    "CamelCaseWord snake_case_word SHOUTING", "a" * 300, "ab " * 100, "!!!???...---***",
    "http://example.com/a?b=c&d=%20#e", "<html><body class=\"x\">&amp;</body></html>",
    "caf\u00e9 na\u00efve \u00fcber stra\u00dfe",
    "\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440!",
    "\u4f60\u597d\uff0c\u4e16\u754c\u3002\u5206\u6790", "\u3053\u3093\u306b\u3061\u306f",
    "\u0645\u0631\u062d\u0628\u0627", "\U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "e\u0301 combining", "\u2581 a lower block \u2581\u2581", "\u00a0nbsp\u00a0 \u2003em",
    "mixed \u4e2d\u6587 and English 123",
    "\u0000nul", "<0x41> <unk> <s> </s> literal", "[PAD12] [CLS]", "\ufffd\ufeffbom", "\U0010ffff",
]


def special_texts(names):
    """Texts around each special token: alone, doubled, in words, before and after blanks."""
    names = names[:12]
    for s in names:
        yield from (s, s + s, f"a{s}b", f"{s} b", f"a {s}", f"{s}\nHello", f"{s}  Hello{s}\n")
    yield "".join(names)
    yield "\n".join(names)
    for s in names:
        yield s[:-1]
        yield s.replace("|", "| ")


class HuggingFace:
    """tokenizer.json in the `tokenizers` library, with the ids that the file declares: the library
    renumbers added tokens that leave a gap after the vocabulary."""

    def __init__(self, folder):
        path = folder / "tokenizer.json"
        self.tokenizer = Tokenizer.from_file(str(path))
        added = json.loads(path.read_text())["added_tokens"]
        self.declared = {self.tokenizer.token_to_id(t["content"]): t["id"] for t in added}
        self.special = [t["content"] for t in added if t["special"]]

    def encode(self, text):
        ids = self.tokenizer.encode(text, add_special_tokens=False).ids
        return [self.declared.get(i, i) for i in ids]

    def blank_beside_special(self, text):
        any_special = "|".join(map(re.escape, self.special))
        return re.search(rf"\s(?:{any_special})|(?:{any_special})\s", text) is not None


class TokenizerTest(InteropTest):
    def compare(self, folder, texts=(), strips=True):
        """strips=False: the tokenizer strips blanks beside special tokens, and llama.cpp cannot be
        told to (GGUF has no field; its rule by name needs Phi-3's vocabulary)."""
        theirs = HuggingFace(folder)
        path = quantize(folder, self.tmp / "out" / folder.name, "gguf", "--precision", "int8")
        texts = [t for t in (*PLAIN, *special_texts(theirs.special), *texts)
                 if strips or not theirs.blank_beside_special(t)]
        with Llama(path, vocab_only=True) as ours:
            different = [(t, theirs.encode(t), ours.tokenize(t)) for t in texts
                         if theirs.encode(t) != ours.tokenize(t)]
            self.assertEqual(different, [], f"{len(different)} of {len(texts)} texts differ")
            self.check_template(ours, folder)

    def check_template(self, model, folder):
        config = json.loads((folder / "tokenizer_config.json").read_text())
        jinja = folder / "chat_template.jinja"
        template = jinja.read_text() if jinja.exists() else config.get("chat_template")
        self.assertEqual(model.chat_template(), template)


class Fixtures(TokenizerTest):
    def test_each(self):
        for name in (*NAMES, "sample"):
            with self.subTest(name):
                self.compare(checkpoint(name))


# Folder under shared/data/tokenizers and the rows of the embedding of its model.
REAL = {"phi-2": 51200, "phi-3": 32064, "phi-3-mini": 32064, "phi-3-medium": 32064,
        "phi-4-base": 100352, "phi-4-mini": 200064}


class Real(TokenizerTest):
    def setUp(self):
        super().setUp()
        self.tokenizers = SHARED / "data" / "tokenizers"
        if not self.tokenizers.is_dir():
            self.skipTest(f"no real tokenizers at {self.tokenizers}")

    def tiny_checkpoint(self, name, n_vocab):
        """One layer of 32 channels around a real tokenizer."""
        folder = self.tmp / name
        shutil.copytree(self.tokenizers / name, folder)
        config = read_config(checkpoint("phi3-medium")) | {
            "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1,
            "num_attention_heads": 1, "num_key_value_heads": 1, "vocab_size": n_vocab,
            "bos_token_id": None, "eos_token_id": 0, "pad_token_id": None}
        (folder / "config.json").write_text(json.dumps(config))
        layer, shapes = "model.layers.0.", {
            "model.embed_tokens": (n_vocab, 32), "lm_head": (n_vocab, 32), "model.norm": (32,)}
        shapes |= {layer + k: v for k, v in {
            "input_layernorm": (32,), "post_attention_layernorm": (32,),
            "self_attn.qkv_proj": (96, 32), "self_attn.o_proj": (32, 32),
            "mlp.gate_up_proj": (64, 32), "mlp.down_proj": (32, 32)}.items()}
        save_file({f"{k}.weight": np.full(s, 0.01, np.float16) for k, s in shapes.items()},
                  folder / "model.safetensors")
        return folder

    def test_each(self):
        text = (SHARED / "data" / "text" / "evaluation.txt").read_text()[:200_000]
        pages = [text[i:i + 2000] for i in range(0, len(text), 2000)]
        for name, n_vocab in REAL.items():
            with self.subTest(name):
                self.compare(self.tiny_checkpoint(name, n_vocab), pages,
                             strips=not name.startswith("phi-4"))


if __name__ == "__main__":
    unittest.main()
