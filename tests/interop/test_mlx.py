"""Our MLX folders in the unmodified mlx-lm: every architecture at float32, every named scheme,
mixed recipes, both kinds of LongRoPE folder, and equality with the peer's own conversion.
SPDX-License-Identifier: MIT"""

import json
import unittest

import numpy as np

from common import (NAMES, SAMPLE, Golden, InteropTest, checkpoint, quantize, read_config,
                    read_safetensors, read_weights, recipes)
from mlx_runtime import Mlx, convert
from reference import Phi, Rule

# The runtime is float32 here, so what remains is the order of its sums (measured: below 5e-5).
TOLERANCE = 1e-3


def long_rope(config):
    return bool(config.get("rope_scaling"))


def runtime_rule(config, context="long"):
    """What mlx-lm computes: no window, one set of rope factors, those that the folder gives it."""
    return Rule(window=False, rope=context if long_rope(config) else "auto")


def right_positions(config, n, context="long"):
    """How many leading positions of an n-token prompt mlx-lm computes as Hugging Face does."""
    long_by_length = n > config.get("original_max_position_embeddings", n)
    if long_rope(config) and long_by_length != (context == "long"):
        return 0
    return min(n, config.get("sliding_window") or n)


class Float32(InteropTest):
    def check(self, name, context):
        folder, golden = checkpoint(name), Golden(name)
        config = read_config(folder)
        phi, rule = Phi(config, read_weights(folder)), runtime_rule(config, context)
        model = Mlx(quantize(folder, self.tmp / f"{name}-{context}", "mlx", "--precision", "fp32",
                             "--context", context))
        for n, ids in golden.prompts.items():
            got, right = model.logits(ids), right_positions(config, n, context)
            if right:
                self.assert_close(golden.logits[n][:right], got[:right], TOLERANCE, name)
            if right < n:
                self.assert_close(phi.logits(ids, rule), got, TOLERANCE, f"{name}, own rule")
        ids = golden.prompts[golden.shortest]
        got = model.greedy(ids, golden.new_tokens)
        self.assertEqual(got, phi.greedy(ids, golden.new_tokens, rule))
        if right_positions(config, len(ids), context) == len(ids) and not long_rope(config):
            self.assertEqual(got, golden.greedy)

    def test_every_architecture(self):
        for name in (*NAMES, "sample"):
            with self.subTest(name):
                self.check(name, "long")

    def test_short_context_folders_are_right_for_short_prompts(self):
        for name in ("phi3-mini-128k-sharded", "phi4-mini"):
            self.assertEqual(right_positions(read_config(checkpoint(name)), 48, "short"), 48)
            with self.subTest(name):
                self.check(name, "short")

    def test_the_peers_own_conversion_computes_the_same(self):
        """Also where mlx-lm is wrong about a model: then ours is wrong in the same way."""
        for name in (*NAMES, "sample"):
            folder, golden = checkpoint(name), Golden(name)
            convert(folder, self.tmp / f"{name}-peer", dtype="float32")
            theirs = Mlx(self.tmp / f"{name}-peer")
            ours = Mlx(quantize(folder, self.tmp / name, "mlx", "--precision", "fp32"))
            for n, ids in golden.prompts.items():
                with self.subTest(name, n=n):
                    np.testing.assert_array_equal(ours.logits(ids), theirs.logits(ids))


class Schemes(InteropTest):
    def test_every_recipe_on_every_architecture(self):
        """The runtime against the oracle on the weights that mx.dequantize gives."""
        for name in (*NAMES, "sample"):
            config, golden = read_config(checkpoint(name)), Golden(name)
            for recipe in recipes("mlx"):
                with self.subTest(name, recipe=recipe):
                    folder = quantize(checkpoint(name), self.tmp / f"{name}-{recipe}", "mlx",
                                      "--scheme", recipe)
                    model = Mlx(folder)
                    phi = Phi(config, model.weights())
                    for n, ids in golden.prompts.items():
                        oracle = phi.logits(ids, runtime_rule(config))
                        self.assert_close(oracle, model.logits(ids), TOLERANCE, f"at {n}")

    def test_16_bit_arithmetic_works_as_well(self):
        """As users run it, without widening: near enough to name the same next tokens mostly."""
        golden = Golden("sample")
        ids = golden.prompts[golden.shortest]
        for recipe in ("bf16", "affine8g64"):
            model = Mlx(quantize(SAMPLE, self.tmp / recipe, "mlx", "--scheme", recipe), False)
            agree = model.logits(ids).argmax(-1) == golden.logits[golden.shortest].argmax(-1)
            self.assertGreater(np.mean(agree), 0.9, recipe)


class Files(InteropTest):
    def test_overrides_of_a_mixed_recipe_are_honoured(self):
        folder = quantize(SAMPLE, self.tmp, "mlx", "--scheme", "mixed_3_6")
        config, packed = read_config(folder), Mlx(folder).quantized()
        bits = {path: b for path, (b, _, _) in packed.items()}
        self.assertEqual(set(bits.values()), {3, 6})
        self.assertEqual(bits["lm_head"], 6)
        self.assertEqual(config["quantization"]["bits"], 3)
        named = {k: v["bits"] for k, v in config["quantization"].items() if isinstance(v, dict)}
        self.assertEqual(named, {path: b for path, b in bits.items() if b != 3 or path in named})
        self.assertEqual(config["quantization"], config["quantization_config"])

    def test_overrides_by_pattern_reach_the_runtime(self):
        folder = quantize(SAMPLE, self.tmp, "mlx", "--scheme", "affine4g64", "--tensor",
                          "*down_proj*=affine8g32", "--embed", "bf16")
        packed = Mlx(folder).quantized()
        self.assertNotIn("model.embed_tokens", packed)
        for path, (bits, group, _) in packed.items():
            self.assertEqual((bits, group), (8, 32) if "down_proj" in path else (4, 64), path)

    def test_the_peers_mixed_recipes_place_bits_alike(self):
        for recipe in ("mixed_2_6", "mixed_3_4", "mixed_3_6", "mixed_4_6"):
            convert(SAMPLE, self.tmp / f"peer-{recipe}", quantize=True, quant_predicate=recipe,
                    q_group_size=64)
            theirs = Mlx(self.tmp / f"peer-{recipe}").quantized()
            ours = Mlx(quantize(SAMPLE, self.tmp / recipe, "mlx", "--scheme", recipe)).quantized()
            with self.subTest(recipe):
                self.assertEqual(ours, theirs)

    def test_index_names_every_tensor(self):
        folder = quantize(SAMPLE, self.tmp, "mlx", "--precision", "int4")
        index = json.loads((folder / "model.safetensors.index.json").read_text())
        stored = {name: path.name for path in sorted(folder.glob("*.safetensors"))
                  for name in read_safetensors(path)}
        self.assertEqual(index["weight_map"], stored)

    def test_tokenizer_goes_along(self):
        """mlx-lm's tokenizer of our folder and of the checkpoint give the same ids."""
        text = "Once upon a time <|user|>\nWhat?<|end|>\n<|assistant|>\n \u4f60\u597d"
        for name in ("sample", "phi4", "phi2"):
            convert(checkpoint(name), self.tmp / f"{name}-peer", dtype="bfloat16")
            theirs = Mlx(self.tmp / f"{name}-peer").tokenizer
            ours = Mlx(quantize(checkpoint(name), self.tmp / name, "mlx")).tokenizer
            with self.subTest(name):
                self.assertEqual(ours.encode(text), theirs.encode(text))
                self.assertEqual(ours.eos_token_ids, theirs.eos_token_ids)
                self.assertEqual(ours.chat_template, theirs.chat_template)


if __name__ == "__main__":
    unittest.main()
