"""Our OpenVINO folders in the unmodified openvino and openvino.genai: every architecture at float32,
every recipe, the operators that the CPU plugin fuses, the stateful and the paged cache, strings in
and out, and the same codes as GGUF. SPDX-License-Identifier: MIT"""

import json
import unittest
from pathlib import Path

import numpy as np

from common import (NAMES, SAMPLE, Golden, InteropTest, checkpoint, crosses, mean_kld, phiq,
                    quantize, read_config, recipes)
from gguf_file import GgufFile, q4_0_rows
from openvino_file import OpenVinoFile
from openvino_runtime import GenAi, OpenVino
from reference import Phi

# Float32 arithmetic: what remains is the order of sums (measured: below 3e-5).
TOLERANCE = 1e-3


def folder_of(name, out, *options):
    return quantize(checkpoint(name), out, "openvino", *options)


class Float32(InteropTest):
    def check(self, name, folder):
        config, golden = read_config(checkpoint(name)), Golden(name)
        model = OpenVino(folder)
        for n, ids in golden.prompts.items():
            self.assert_close(golden.logits[n], model.logits(ids), TOLERANCE, f"{n}")
            steps = [n - 6, 1, 1, 4]
            self.assert_close(golden.logits[n], model.steps(ids, steps), TOLERANCE, f"{n} in steps")
        ids = golden.prompts[golden.shortest]
        if not crosses(config, golden):
            self.assertEqual(model.greedy(ids, golden.new_tokens), golden.greedy)
            for paged in (False, True):  # with the sliding window: PagedAttention's own
                self.assertEqual(GenAi(folder, paged).greedy(ids, golden.new_tokens),
                                 golden.greedy, f"paged: {paged}")

    def test_every_architecture(self):
        for name in (*NAMES, "sample"):
            with self.subTest(name):
                self.check(name, folder_of(name, self.tmp / name, "--precision", "fp32"))

    def test_a_switch_during_the_answer_is_told(self):
        """The cache keeps the keys of the short factors, as in optimum's exports."""
        for name in ("phi3-mini-128k-sharded", "phi4-mini"):
            golden = Golden(name)
            report = json.loads(phiq("quantize", checkpoint(name), "--to", "openvino", "-o",
                                     self.tmp / name, "-p", "fp32", "--json").stdout)["targets"][0]
            self.assertIn("grows past 64 tokens", " ".join(report["notes"]))
            got = OpenVino(report["path"]).greedy(golden.prompts[48], golden.new_tokens)
            self.assertEqual(got[:65], golden.greedy[:65])

    def test_one_context_only(self):
        golden = Golden("phi4-mini")
        for context, n in (("short", 48), ("long", 120)):
            folder = folder_of("phi4-mini", self.tmp / context, "-p", "fp32", "--context", context)
            self.assert_close(golden.logits[n], OpenVino(folder).logits(golden.prompts[n]),
                              TOLERANCE)

    def test_other_sources(self):
        """By way of GGUF and of an OpenVINO folder: the same weights."""
        for name in ("phi2", "phi4-mini"):
            a = folder_of(name, self.tmp / f"{name}-a", "-p", "fp32")
            gguf = quantize(checkpoint(name), self.tmp / f"{name}-g", "gguf", "-p", "fp32")
            for source in (gguf, a):
                b = quantize(source, self.tmp / f"{name}-b", "openvino", "-p", "fp32", "--force")
                self.assertEqual((a / "openvino_model.bin").read_bytes(),
                                 (b / "openvino_model.bin").read_bytes())
                self.check(name, b)


class Fused(InteropTest):
    """A graph whose patterns the plugin does not find would be right and slow."""

    def check(self, name, folder, weights):
        config = read_config(checkpoint(name))
        layers = config["num_hidden_layers"]
        model = OpenVino(folder)
        ops, phi = model.operators(), config["model_type"] == "phi"
        self.assertEqual(ops["RoPE"], 2 * layers)
        self.assertEqual(ops["ScaledDotProductAttention"], layers)
        self.assertEqual(ops["MemoryInput"], 2 * layers)
        self.assertEqual(ops["FullyConnected"], (6 if phi else 4) * layers + 1)
        self.assertEqual(ops["MVN" if phi else "RMS"], (1 if phi else 2) * layers + 1)
        self.assertEqual(ops["MatMul"], 1)  # positions times frequencies
        self.assertEqual(set(model.weight_types()), weights)

    def test_every_architecture(self):
        for name in (*NAMES, "sample"):
            for options, weights in ((("-p", "fp32"), {"f32"}), (("-p", "int8"), {"u8"}),
                                     (("-p", "int4"), {"u4", "u8"}),
                                     (("-s", "int4g32"), {"i4", "u8"})):
                with self.subTest(name, options=options):
                    self.check(name, folder_of(name, self.tmp / f"{name}{options[1]}", *options),
                               weights)


class Schemes(InteropTest):
    def check(self, name, recipe, *options):
        golden = Golden(name)
        folder = folder_of(name, self.tmp / f"{name}-{recipe}", "--scheme", recipe, *options)
        phi = Phi(read_config(checkpoint(name)), OpenVinoFile(folder).weights())
        model = OpenVino(folder)
        for n, ids in golden.prompts.items():
            self.assert_close(phi.logits(ids), model.logits(ids), TOLERANCE, f"{n}")
        return folder

    def test_every_recipe(self):
        """The runtime against the oracle on the weights that the codes stand for."""
        for name in ("phi2", "phi4-mini", "sample"):
            for recipe in recipes("openvino"):
                with self.subTest(name, recipe=recipe):
                    self.check(name, recipe)

    def test_every_architecture(self):
        for name in NAMES:
            for recipe in ("uint4g64", "int4g128"):
                with self.subTest(name, recipe=recipe):
                    self.check(name, recipe)

    def test_group_size_symmetry_and_ratio(self):
        folder = folder_of("sample", self.tmp, "-p", "int4", "--group-size", "128", "--sym",
                           "--ratio", "0.6")
        types = OpenVino(folder).weight_types()
        self.assertEqual(set(types), {"i4", "u8"})
        file = OpenVinoFile(folder)
        bits = {"i4": 0, "u8": 0}
        for node in file.of_type("MatMul"):
            if file.module(node).startswith("model.layers."):
                kind, codes = file.constant(file.chain(file.module(node))[0])
                bits[kind] += codes.size
        share = bits["i4"] / sum(bits.values())
        self.assertTrue(0.5 < share <= 0.6, share)
        words = {x.tag: x.get("value") for x in file.net.find("rt_info/nncf/weight_compression")}
        self.assertEqual((words["mode"], words["group_size"], words["ratio"]),
                         ("int4_sym", "128", "0.6"))

    def test_a_tied_head_shares_its_bytes(self):
        file = OpenVinoFile(folder_of("phi4-mini", self.tmp, "-p", "int4"))
        head = file.chain("lm_head")
        embed = next(x for x in file.of_type("Const")
                     if x.get("name") == "model.embed_tokens.weight")
        self.assertEqual(file.place(head[0]), file.place(embed))
        self.assertIsNot(head[0], embed)

    def test_search_beats_rounding(self):
        golden = Golden("sample")
        n, kld = golden.shortest, {}
        for solver in ("rtn", "search"):
            folder = folder_of("sample", self.tmp / solver, "-s", "uint4g64", "--solver",
                               solver)
            kld[solver] = mean_kld(golden.logits[n], OpenVino(folder).logits(golden.prompts[n]))
        self.assertLess(kld["search"], kld["rtn"])


class SameCodes(InteropTest):
    def test_symmetric_int4_is_q4_0(self):
        """One run, two containers: equal codes, equal scales."""
        for name in ("sample", "phi2", "phi4-mini"):
            report = json.loads(phiq("quantize", checkpoint(name), "--to", "gguf,openvino",
                                     "--scheme", "gguf:pure-q4_0,openvino:pure-int4g32", "-o",
                                     self.tmp / name, "--json").stdout)
            path = {t["target"]: t["path"] for t in report["targets"]}
            gguf, file = GgufFile(Path(path["gguf"])), OpenVinoFile(path["openvino"])
            compared = 0
            for node in file.of_type("MatMul"):
                module = file.module(node)
                if module == "model.rotary_emb":
                    continue
                codes, scales = (file.constant(c)[1] for c in file.chain(module))
                wanted = q4_0_rows(gguf, f"{module}.weight", *codes.shape[:2])
                np.testing.assert_array_equal(wanted[0].astype(int) - 8, codes, module)
                np.testing.assert_array_equal(wanted[1], scales[..., 0])
                compared += 1
            self.assertGreater(compared, 6)


class Pipeline(InteropTest):
    def test_from_string_to_string(self):
        """Both caches give the same text, streamed in the same pieces."""
        folder = folder_of("sample", self.tmp, "-p", "fp32")
        plain, paged = GenAi(folder, False), GenAi(folder, True)
        for prompt, chat in (("Once upon a time", False), ("Tell me a story.", True)):
            text, pieces = plain.text(prompt, 40, chat)
            self.assertGreater(len(text.split()), 5)
            self.assertEqual("".join(pieces), text)
            self.assertEqual(paged.text(prompt, 40, chat)[0], text)

    def test_the_answer_is_that_of_the_other_runtimes(self):
        folder = folder_of("sample", self.tmp, "-p", "fp32")
        golden = Golden("sample")
        ids = golden.prompts[golden.shortest]
        self.assertEqual(GenAi(folder, True).greedy(ids, golden.new_tokens), golden.greedy)


class Folder(InteropTest):
    def test_nothing_missing_nothing_extra(self):
        folder = folder_of("sample", self.tmp)
        graphs = {f"openvino_{g}.{x}" for g in ("model", "tokenizer", "detokenizer")
                  for x in ("xml", "bin")}
        sides = {p.name for p in SAMPLE.iterdir() if "token" in p.name or p.name in
                 ("chat_template.jinja", "generation_config.json")}
        self.assertEqual({p.name for p in folder.iterdir()},
                         graphs | sides | {"config.json", "openvino_config.json"})

    def test_constants_do_not_overlap_and_are_aligned(self):
        file = OpenVinoFile(folder_of("sample", self.tmp, "-p", "int4"))
        places = sorted({file.place(c) for c in file.of_type("Const")})
        for (at, n), (after, _) in zip(places, places[1:]):
            self.assertLessEqual(at + n, after)
            self.assertEqual(after % 8, 0)
        self.assertEqual(sum(places[-1]), len(file.blob))


if __name__ == "__main__":
    unittest.main()
