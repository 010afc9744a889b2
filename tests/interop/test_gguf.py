"""Our GGUF files in the unmodified llama.cpp: every architecture at fp32, every named scheme,
metadata, split sets. SPDX-License-Identifier: MIT"""

import json
import shutil
import unittest

import numpy as np

from common import (NAMES, SAMPLE, Golden, InteropTest, checkpoint, mean_kld, quantize, read_config,
                    read_weights, recipes, relative_error)
from gguf_file import GgufFile
from llama_runtime import Llama
from reference import HUGGING_FACE, Phi, Rule

N_CTX = 256  # the least that llama.cpp makes
# phi2's GELU is a 16-bit table in llama.cpp.
FP32_TOLERANCE = {"phi2": 3e-3}

# llama.cpp rounds activations to the partner type of the weights before it multiplies: 16-bit
# floats, or 8-bit integers per 32 or 256. Bounds on the relative RMS error of the logits that this
# leaves (measured: at most 0.0010, 0.0072 and 0.037 on these two-layer random models).
ROUNDING = {"f32": 2e-3, "f16": 2e-3, "bf16": 1.2e-2}
ROUNDING_8_BIT = 5e-2


def runtime_rule(config, n_ctx=N_CTX):
    """What llama.cpp computes: no window, rope factors by the size of the context."""
    original = config.get("original_max_position_embeddings", config["max_position_embeddings"])
    return Rule(window=False, rope="long" if n_ctx > original else "short")


def right_positions(config, n, n_ctx=N_CTX):
    """How many leading positions of an n-token prompt llama.cpp computes as Hugging Face does."""
    long_by_length = n > config.get("original_max_position_embeddings", n)
    takes_long = runtime_rule(config, n_ctx).rope == "long"
    if config.get("rope_scaling") and takes_long != long_by_length:
        return 0
    return min(n, config.get("sliding_window") or n)


class Fp32(InteropTest):
    def check(self, name, folder, n_ctx=N_CTX):
        config, golden = read_config(folder), Golden(name)
        phi, rule = Phi(config, read_weights(folder)), runtime_rule(config, n_ctx)
        tolerance = FP32_TOLERANCE.get(name, 1e-3)
        path = quantize(folder, self.tmp / name, "gguf", "--precision", "fp32")
        with Llama(path, n_ctx) as model:
            for n, ids in golden.prompts.items():
                got, right = model.logits(ids), right_positions(config, n, n_ctx)
                if right:
                    self.assert_close(golden.logits[n][:right], got[:right], tolerance, name)
                if right < n:
                    self.assert_close(phi.logits(ids, rule), got, tolerance, f"{name}, own rule")
                self.assertEqual(model.greedy(ids, golden.new_tokens),
                                 phi.greedy(ids, golden.new_tokens, rule))
            ids = golden.prompts[golden.shortest]
            if all(right_positions(config, n, n_ctx) == n for n in (len(ids), len(golden.greedy))):
                self.assertEqual(model.greedy(ids, golden.new_tokens), golden.greedy)

    def test_every_architecture(self):
        for name in (*NAMES, "sample"):
            with self.subTest(name):
                self.check(name, checkpoint(name))

    def test_most_of_it_is_compared_with_hugging_face(self):
        """The exceptions are those measured, no more."""
        wrong = {(name, n) for name in (*NAMES, "sample") for n in Golden(name).prompts
                 if right_positions(read_config(checkpoint(name)), n) < n}
        self.assertEqual(wrong, {("phi3-mini-4k", 48), ("phi3-mini-128k-sharded", 48),
                                 ("phi4-mini", 48)})

    def test_short_factors_are_carried_too(self):
        """With an original context above llama.cpp's own, the short factors are the ones in use."""
        for name in ("phi3-mini-128k-sharded", "phi4-mini"):
            folder = self.tmp / "source" / name
            shutil.copytree(checkpoint(name), folder)
            config = read_config(folder)
            config["original_max_position_embeddings"] = N_CTX
            (folder / "config.json").write_text(json.dumps(config))
            phi, ids = Phi(config, read_weights(folder)), Golden(name).prompts[120]
            path = quantize(folder, self.tmp / name, "gguf", "--precision", "fp32")
            with self.subTest(name), Llama(path) as model:
                self.assert_close(phi.logits(ids, HUGGING_FACE), model.logits(ids), 1e-3, name)


class Schemes(InteropTest):
    def check(self, name, recipe, exact):
        """The runtime on our file against the oracle on the weights that the gguf package decodes
        from it. Where quantization costs much more than the runtime's own rounding, the runtime is
        also plainly nearer to those weights than to the original ones."""
        config, ids = read_config(checkpoint(name)), Golden(name).prompts[Golden(name).shortest]
        path = quantize(checkpoint(name), self.tmp / f"{name}-{recipe}", "gguf", "--scheme", recipe)
        oracle = Phi(config, GgufFile(path).weights()).logits(ids, runtime_rule(config))
        with Llama(path) as model:
            got = model.logits(ids)
        bound, error = ROUNDING.get(recipe, ROUNDING_8_BIT), relative_error(oracle, got)
        self.assertTrue(np.isfinite(got).all())
        self.assertLess(error, bound)
        self.assertLess(mean_kld(oracle, got), 2e-3)
        if relative_error(exact, oracle) > 2 * bound:
            self.assertLess(error, relative_error(exact, got) / 2)

    def test_every_recipe_on_every_architecture(self):
        for name in (*NAMES, "sample"):
            config, golden = read_config(checkpoint(name)), Golden(name)
            exact = Phi(config, read_weights(checkpoint(name))).logits(
                golden.prompts[golden.shortest], runtime_rule(config))
            for recipe in recipes("gguf"):
                with self.subTest(name, recipe=recipe):
                    self.check(name, recipe, exact)


class Files(InteropTest):
    def test_metadata(self):
        for name in NAMES:
            with self.subTest(name):
                path = quantize(checkpoint(name), self.tmp / name, "gguf", "--precision", "int8")
                self.check_metadata(GgufFile(path), read_config(checkpoint(name)))

    def check_metadata(self, file, config):
        phi3 = config["model_type"] == "phi3"
        self.assertEqual(file.architecture, "phi3" if phi3 else "phi2")
        head_dim = config["hidden_size"] // config["num_attention_heads"]
        expected = {
            "context_length": config["max_position_embeddings"],
            "embedding_length": config["hidden_size"],
            "feed_forward_length": config["intermediate_size"],
            "block_count": config["num_hidden_layers"],
            "attention.head_count": config["num_attention_heads"],
            "attention.head_count_kv": config["num_key_value_heads"],
            "rope.dimension_count": int(head_dim * config["partial_rotary_factor"]),
        }
        if phi3:
            expected |= {"attention.sliding_window": config["sliding_window"] or 0,
                         "rope.scaling.original_context_length":
                             config["original_max_position_embeddings"]}
            self.assertAlmostEqual(file.key("rope.freq_base"), config["rope_theta"])
        self.assertEqual({k: file.key(k) for k in expected}, expected)
        self.assertEqual(file.field("general.quantization_version"), 2)
        self.assertEqual(file.field("general.file_type"), 7)  # mostly Q8_0
        n = config["vocab_size"]
        self.assertEqual(len(file.field("tokenizer.ggml.tokens")), n)
        self.assertEqual(len(file.field("tokenizer.ggml.token_type")), n)
        self.check_factors(file, config)

    def check_factors(self, file, config):
        stored = {t.name: t.data for t in file.tensors() if t.name.startswith("rope_factors")}
        scaling = config.get("rope_scaling") or {}
        self.assertEqual(len(stored), 2 if scaling else 0)
        for kind in ("long", "short") if scaling else ():
            np.testing.assert_array_equal(stored[f"rope_factors_{kind}.weight"],
                                          np.float32(scaling[f"{kind}_factor"]))

    def test_every_tensor_of_the_checkpoint_is_there(self):
        for name in (*NAMES, "sample"):
            path = quantize(checkpoint(name), self.tmp / name, "gguf", "--precision", "fp32")
            ours, source = GgufFile(path).weights(), read_weights(checkpoint(name))
            with self.subTest(name):
                self.assertEqual(sorted(ours), sorted(source))
                for tensor, values in source.items():
                    np.testing.assert_array_equal(ours[tensor].reshape(values.shape), values)

    def test_split_set_loads_and_computes_the_same(self):
        golden = Golden("sample")
        ids = golden.prompts[golden.shortest]
        one = quantize(SAMPLE, self.tmp / "one", "gguf", "--precision", "fp16")
        many = quantize(SAMPLE, self.tmp / "many", "gguf", "--precision", "fp16",
                        "--split-max-size", "4M")
        self.assertGreater(len(list(many.parent.glob("*.gguf"))), 2)
        self.assertTrue(all(p.stat().st_size <= 4_000_000 for p in many.parent.glob("*.gguf")))
        with Llama(one) as a, Llama(many) as b:
            np.testing.assert_array_equal(a.logits(ids), b.logits(ids))

    def test_stop_tokens_end_generation(self):
        """Tokens of generation_config.json end a turn in llama.cpp as well."""
        path = quantize(SAMPLE, self.tmp, "gguf", "--precision", "int8")
        stops = json.loads((SAMPLE / "generation_config.json").read_text())["eos_token_id"]
        with Llama(path, vocab_only=True) as model:
            self.assertEqual([t for t in stops if not model.is_eog(t)], [])


if __name__ == "__main__":
    unittest.main()
