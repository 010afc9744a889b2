"""Our ONNX folders in the unmodified ONNX Runtime and its generate() API: every architecture at
float32, every named scheme, the sliding window, both sides of LongRoPE's switch, providers' graphs,
tokenizers, and the same codes as GGUF. SPDX-License-Identifier: MIT"""

import json
import os
import shutil
import unittest
from pathlib import Path

import numpy as np
import onnx
from tokenizers import Tokenizer

from builder_form import rewrite
from common import (FIXTURES, NAMES, SAMPLE, Golden, InteropTest, checkpoint, crosses, mean_kld,
                    phiq, quantize, read_config, read_weights, recipes, relative_error)
from gguf_file import GgufFile, q4_0_rows
from mlx_runtime import Mlx
from onnx_file import OnnxFile
from onnx_runtime import Onnx, Session, check
from real_builder import arguments, build_all
from reference import Phi

# Float32 arithmetic: what remains is the order of sums (measured: below 3e-5).
TOLERANCE = 1e-3
# accuracy_level 4 rounds activations to 8 bits per block: relative RMS error of the logits that this
# leaves (measured: at most 0.041 on the random models, at block 256; 0.011 on the trained one).
ROUNDING_8_BIT = 6e-2
# Half precision on the CPU (measured: at most 0.016 on logits of some 10).
HALF = 5e-2

TEXTS = ("Once upon a time <|user|>\nWhat?<|end|>\n<|assistant|>\n \u4f60\u597d",
         "def f(x):\n\treturn x + 1  # caf\u00e9 \U0001f600", " It's 12345 o'clock, isn't it?")


class Float32(InteropTest):
    def check(self, name, folder):
        config, golden = read_config(checkpoint(name)), Golden(name)
        check(folder)
        models = {"all": Session(folder), "none": Session(folder, "none"), "genai": Onnx(folder)}
        for n, ids in golden.prompts.items():
            for how, model in models.items():
                self.assert_close(golden.logits[n], model.logits(ids), TOLERANCE, f"{n} {how}")
        ids = golden.prompts[golden.shortest]
        self.assertEqual(models["all"].greedy(ids, golden.new_tokens), golden.greedy)
        if not crosses(config, golden):
            self.assertEqual(models["genai"].greedy(ids, golden.new_tokens), golden.greedy)

    def test_every_architecture(self):
        for name in (*NAMES, "sample"):
            with self.subTest(name):
                self.check(name, quantize(checkpoint(name), self.tmp / name, "onnx", "--precision",
                                          "fp32"))

    def test_narrow_weights_are_widened_while_loading(self):
        """16-bit weights on the CPU: the numbers of the rounded weights in float32 arithmetic."""
        for name in ("phi2", "phi4-mini", "sample"):
            golden = Golden(name)
            ids = golden.prompts[golden.shortest]
            for precision in ("fp16", "bf16"):
                folder = quantize(checkpoint(name), self.tmp / f"{name}-{precision}", "onnx",
                                  "--precision", precision)
                check(folder)
                oracle = Phi(read_config(checkpoint(name)), OnnxFile(folder).weights()).logits(ids)
                for level in ("all", "none"):
                    self.assert_close(oracle, Session(folder, level).logits(ids), TOLERANCE, name)

    def test_other_sources(self):
        """By way of our own GGUF and ONNX files: the same weights, the same ids for a text."""
        for name in ("phi2", "phi3-mini-4k", "phi4-mini"):
            a = quantize(checkpoint(name), self.tmp / f"{name}-a", "onnx", "--precision", "fp32")
            gguf = quantize(checkpoint(name), self.tmp / f"{name}-g", "gguf", "--precision", "fp32")
            b = quantize(gguf, self.tmp / f"{name}-b", "onnx", "--precision", "fp32")
            c = quantize(a, self.tmp / f"{name}-c", "onnx", "--precision", "fp32")
            self.assertEqual((a / "model.onnx.data").read_bytes(),
                             (c / "model.onnx.data").read_bytes())
            for other in (b, c):
                with self.subTest(name, other=other.parent.name):
                    self.check(name, other)
                    for text in TEXTS:
                        self.assertEqual(Onnx(a).tokenizer.encode(text).tolist(),
                                         Onnx(other).tokenizer.encode(text).tolist())


class Attention(InteropTest):
    def test_window_is_an_attribute_and_nothing_in_the_json(self):
        folder = quantize(checkpoint("phi3-mini-4k"), self.tmp, "onnx", "--precision", "fp32")
        nodes = OnnxFile(folder).of_type("GroupQueryAttention")
        for node in nodes:
            self.assertEqual(OnnxFile.attributes(node)["local_window_size"], 20)
            self.assertLessEqual(len(node.input), 9)
        self.assertTrue(nodes)
        self.assertNotIn("sliding_window", (folder / "genai_config.json").read_text())

    def test_no_window_no_attribute(self):
        """phi4-mini's window is larger than its context."""
        folder = quantize(checkpoint("phi4-mini"), self.tmp, "onnx", "--precision", "fp32")
        for node in OnnxFile(folder).of_type("GroupQueryAttention"):
            self.assertNotIn("local_window_size", OnnxFile.attributes(node))

    def stretched(self, original, longest):
        """The tiny LongRoPE checkpoint with another original context."""
        folder = self.tmp / "source"
        shutil.copytree(FIXTURES / "phi3-mini-128k-sharded", folder)
        config = read_config(folder)
        config["original_max_position_embeddings"] = original
        config["max_position_embeddings"] = longest
        (folder / "config.json").write_text(json.dumps(config))
        return folder

    def test_generation_across_the_switch_at_4096(self):
        """Where published models switch the runtime computes the cache anew, as Hugging Face
        does: equal to computing every token from nothing."""
        source = self.stretched(4096, 8192)
        folder = quantize(source, self.tmp / "auto", "onnx", "--precision", "fp32")
        ids = np.random.default_rng(5).integers(5, 490, 4091).tolist()
        for n in (5, 6, 7, 9):  # the last step sees 4095, 4096, 4097 and 4099 tokens
            got, logits = Onnx(folder).step_logits(ids, n)
            anew = Session(folder).logits(got[:-1])[-1]
            self.assert_close(anew, logits, TOLERANCE, f"{len(got) - 1} tokens")
        short = quantize(source, self.tmp / "short", "onnx", "--precision", "fp32", "--context",
                         "short")
        other = Session(short).logits(got[:-1])[-1]
        self.assertGreater(np.abs(other - anew).max(), 10 * TOLERANCE)

    def test_generation_across_another_switch_is_told(self):
        """At another length the runtime keeps the keys it has: the folder says so."""
        for name in ("phi3-mini-128k-sharded", "phi4-mini"):
            golden = Golden(name)
            report = json.loads(phiq("quantize", checkpoint(name), "--to", "onnx", "-o",
                                     self.tmp / name, "-p", "fp32", "--json").stdout)["targets"][0]
            self.assertIn("grows past 64 tokens", " ".join(report["notes"]))
            model = Onnx(report["path"])
            got = model.greedy(golden.prompts[48], golden.new_tokens)
            self.assertEqual(got[:65], golden.greedy[:65])
            ids, logits = model.step_logits(golden.prompts[48], golden.new_tokens)
            anew = Session(report["path"]).logits(ids[:-1])[-1]
            self.assertGreater(np.abs(logits - anew).max(), 10 * TOLERANCE)

    def test_one_context_only(self):
        """--context: one set of factors at every length."""
        name = "phi4-mini"
        golden = Golden(name)
        for context, n in (("short", 48), ("long", 120)):
            folder = quantize(checkpoint(name), self.tmp / context, "onnx", "--precision", "fp32",
                              "--context", context)
            self.assertFalse(OnnxFile(folder).of_type("Slice"))
            self.assert_close(golden.logits[n], Onnx(folder).logits(golden.prompts[n]), TOLERANCE)


class Schemes(InteropTest):
    def check(self, name, recipe, *options):
        config, golden = read_config(checkpoint(name)), Golden(name)
        folder = quantize(checkpoint(name), self.tmp / f"{name}-{recipe}", "onnx", "--scheme",
                          recipe, *options)
        check(folder)
        phi = Phi(config, OnnxFile(folder).weights())
        for n, ids in golden.prompts.items():
            oracle = phi.logits(ids)
            for level in ("all", "none"):
                exact = Session(folder, level, single=True).logits(ids)
                self.assert_close(oracle, exact, TOLERANCE, f"{n} {level}")
            rounded = Session(folder).logits(ids)
            self.assertLess(relative_error(oracle, rounded), ROUNDING_8_BIT)
        return folder

    def test_every_recipe(self):
        """The runtime against the oracle on the weights that the codes stand for."""
        for name in ("phi2", "phi4-mini", "sample"):
            for recipe in recipes("onnx"):
                with self.subTest(name, recipe=recipe):
                    self.check(name, recipe)

    def test_every_architecture(self):
        for name in NAMES:
            for recipe in ("int4g32", "uint4_mixed"):
                with self.subTest(name, recipe=recipe):
                    self.check(name, recipe)

    def test_schemes_by_name(self):
        folder = self.check("sample", "pure-uint4g32", "--head", "int8g32", "--embed", "f16",
                            "--tensor", "*layers.0.*down_proj*=int4g128")
        blocks = {n.input[1]: OnnxFile.attributes(n) for n in OnnxFile(folder).of_type("MatMulNBits")}
        self.assertEqual(blocks["lm_head.weight"]["bits"], 8)
        self.assertEqual(blocks["model.layers.0.mlp.down_proj.weight"]["block_size"], 128)
        self.assertEqual(blocks["model.layers.1.mlp.down_proj.weight"]["block_size"], 32)
        self.assertFalse(OnnxFile(folder).of_type("GatherBlockQuantized"))

    def test_what_embedding_and_head_take(self):
        """Recipes that are not pure are milder to them: (embedding bits, head bits, block)."""
        for name, recipe, wanted in (
                ("sample", "int4g32", (8, 8, 128)), ("sample", "pure-int4g32", (4, 4, 32)),
                ("sample", "int8g32", (16, 8, 32)), ("sample", "pure-int8g32", (8, 8, 32)),
                ("phi4-mini", "int8g32", (8, 8, 16)), ("phi4-mini", "f16", (16, 16, None))):
            file = OnnxFile(quantize(checkpoint(name), self.tmp / f"{name}-{recipe}", "onnx",
                                     "--scheme", recipe))
            blocks = {n.name: file.attributes(n) for n in file.model.graph.node}
            embedding = blocks.get("/model/embed_tokens/GatherBlockQuantized", {})
            head = blocks.get("/lm_head/MatMulNBits", {})
            self.assertEqual((embedding.get("bits", 16), head.get("bits", 16),
                              head.get("block_size")), wanted, f"{name} {recipe}")

    def test_a_tied_head_shares_its_bytes(self):
        folder = quantize(checkpoint("phi4-mini"), self.tmp, "onnx", "--precision", "int4")
        model = onnx.load(str(folder / "model.onnx"), load_external_data=False)
        place = {t.name: [(e.key, e.value) for e in t.external_data]
                 for t in model.graph.initializer}
        self.assertEqual(place["lm_head.weight"], place["model.embed_tokens.weight"])
        self.assertNotIn("lm_head.scales", place)

    def test_search_beats_rounding(self):
        golden = Golden("sample")
        n = golden.shortest
        kld = {}
        for solver in ("rtn", "search"):
            folder = quantize(SAMPLE, self.tmp / solver, "onnx", "--scheme", "pure-int4g32",
                              "--solver", solver)
            kld[solver] = mean_kld(golden.logits[n], Session(folder).logits(golden.prompts[n]))
        self.assertLess(kld["search"], kld["rtn"])


class SameCodes(InteropTest):
    def test_symmetric_int4_is_q4_0(self):
        """One run, two containers: equal codes, equal scales."""
        for name in ("sample", "phi2", "phi4-mini"):
            out = self.tmp / name
            report = json.loads(phiq("quantize", checkpoint(name), "--to", "gguf,onnx,mlx",
                                     "--scheme", "gguf:pure-q4_0,onnx:pure-int4g32", "-o", out,
                                     "--json").stdout)
            path = {t["target"]: t["path"] for t in report["targets"]}
            gguf, file = GgufFile(Path(path["gguf"])), OnnxFile(path["onnx"])
            compared = 0
            for node in file.of_type("MatMulNBits"):
                codes, scales, _ = file.blocks(node)
                blocks = q4_0_rows(gguf, node.input[1], len(codes), codes.shape[1])
                np.testing.assert_array_equal(blocks[0], codes, node.input[1])
                np.testing.assert_array_equal(blocks[1].astype(np.float32), scales)
                compared += 1
            self.assertGreater(compared, 6)


class Providers(InteropTest):
    """Graphs for other providers, which the CPU can compute too where it has their types."""

    def check(self, name, provider, recipe, tolerance):
        golden = Golden(name)
        folder = quantize(checkpoint(name), self.tmp / f"{name}-{provider}-{recipe}", "onnx",
                          "--scheme", recipe, "--provider", provider)
        check(folder)
        phi = Phi(read_config(checkpoint(name)), OnnxFile(folder).weights())
        for n, ids in golden.prompts.items():
            self.assert_close(phi.logits(ids), Session(folder).logits(ids), tolerance, f"{n}")
        return folder

    def test_half_precision(self):
        for name in NAMES:
            for provider in ("cuda", "dml", "webgpu"):
                with self.subTest(name, provider=provider):
                    folder = self.check(name, provider, "f16", HALF)
                    types = {x.dtype for x in OnnxFile(folder).arrays.values()}
                    self.assertEqual(types, {np.dtype(np.float16), np.dtype(np.int64)})
                    options = json.loads((folder / "genai_config.json").read_text())["model"]
                    options = options["decoder"]["session_options"]["provider_options"]
                    self.assertEqual([list(o) for o in options], [[provider]])

    def test_quantized(self):
        for name in ("phi2", "phi3-mini-4k", "phi4-mini"):
            self.check(name, "cuda", "int4g32", HALF)
            self.check(name, "dml", "pure-int4g32", HALF)

    def test_quantized_for_webgpu(self):
        """Activations in 8 bits, and half-precision scales. With optimizations only: without them
        the CPU (ONNX Runtime 1.32) widens the scales of a matrix between operators that it lacks
        in half precision, as phi2's fc2 between FastGelu and Add, and its MatMulNBits then loses
        scales that are no constants: its output is zero at accuracy_level 4, right at 1 and with
        session.disable_prepacking=1. In models that were written in single precision nothing is
        widened."""
        for name in ("phi2", "phi3-mini-4k", "phi4-mini"):
            for recipe in ("int4g32", "int8g32"):
                with self.subTest(name, recipe=recipe):
                    golden = Golden(name)
                    folder = quantize(checkpoint(name), self.tmp / f"{name}-{recipe}", "onnx",
                                      "--scheme", recipe, "--provider", "webgpu")
                    check(folder)
                    phi = Phi(read_config(checkpoint(name)), OnnxFile(folder).weights())
                    ids = golden.prompts[golden.shortest]
                    oracle = phi.logits(ids)
                    for level in ("all", "none"):
                        exact = Session(folder, level, single=True).logits(ids)
                        self.assert_close(oracle, exact, HALF, level)
                    self.assertLess(relative_error(oracle, Session(folder).logits(ids)),
                                    ROUNDING_8_BIT)

    def test_single_precision_on_webgpu(self):
        self.check("phi4-mini", "webgpu", "f32", TOLERANCE)

    def test_bfloat16_has_single_precision_logits(self):
        """The CPU cannot compute it: types and shapes only."""
        folder = quantize(checkpoint("phi4-mini"), self.tmp, "onnx", "--precision", "bf16",
                          "--provider", "cuda")
        check(folder)
        graph = OnnxFile(folder).model.graph
        kinds = {v.name: v.type.tensor_type.elem_type for v in (*graph.input, *graph.output)}
        self.assertEqual(kinds["logits"], onnx.TensorProto.FLOAT)
        self.assertEqual(kinds["past_key_values.0.key"], onnx.TensorProto.BFLOAT16)

    def test_what_they_cannot_do_is_said(self):
        for words, options in (
                ("does not compute in f32", ("--provider", "cuda", "-p", "fp32")),
                ("does not compute in bf16", ("--provider", "dml", "-p", "bf16")),
                ("4-bit weights only", ("--provider", "dml", "-p", "int8")),
                ("unknown provider", ("--provider", "npu"))):
            r = phiq("quantize", checkpoint("phi4"), "--to", "onnx", "-o", self.tmp, *options,
                     check=False)
            self.assertNotEqual(r.returncode, 0)
            self.assertIn(words, r.stderr)
            self.assertEqual(os.listdir(self.tmp), [])


class BuilderForm(InteropTest):
    """Folders laid out as the runtime's model builder lays out its own, as a source."""

    def check(self, name, recipe, provider="cpu"):
        ours = quantize(checkpoint(name), self.tmp / f"{name}-{recipe}", "onnx", "--scheme", recipe,
                        "--provider", provider)
        form = rewrite(ours, self.tmp / f"{name}-{recipe}-form", tied=name == "phi4-mini")
        golden = Golden(name)
        for ids in golden.prompts.values():  # the rewriting is faithful
            tolerance = TOLERANCE if recipe == "f32" else 0.5
            self.assert_close(Session(ours).logits(ids), Session(form).logits(ids), tolerance)
        a, b = (OnnxFile(quantize(f, self.tmp / f"{name}-{recipe}-{k}", "onnx", "-s", "f32")).arrays
                for k, f in enumerate((ours, form)))
        self.assertEqual(a.keys(), b.keys())
        for key in a:
            if key in ("cos_cache", "sin_cache"):  # from frequencies that were found in the cache
                atol = 2e-3 if provider != "cpu" else 1e-5  # half-precision caches
                np.testing.assert_allclose(b[key], a[key], rtol=0, atol=atol)
            else:
                np.testing.assert_array_equal(b[key], a[key], key)
        x, y = (json.loads(phiq("info", f, "--json").stdout) for f in (ours, form))
        for key in ("weights", "bits_per_weight", "schemes", "tensor_count"):
            self.assertEqual(x[key], y[key], key)
        for known in (x["network"], y["network"]):
            del known["dtype"]  # the checkpoint's, which the builder does not keep
            if known["sliding_window"] >= known["context"]:  # no window, so no attribute
                known["sliding_window"] = 0
            known["rope"] = {k: round(v, 5) if isinstance(v, float) else v
                             for k, v in known["rope"].items()}
        self.assertEqual(x["network"], y["network"])

    def test_quantized(self):
        for name in (*NAMES, "sample"):
            for recipe in ("pure-int4g32", "uint4g32", "int8g32"):
                with self.subTest(name, recipe=recipe):
                    self.check(name, recipe)

    def test_floats(self):
        for name in NAMES:
            with self.subTest(name):
                self.check(name, "f32")
        self.check("phi4-mini", "f16", "cuda")
        self.check("phi2", "f16", "cuda")

    def test_caches_of_a_rotary_operator(self):
        for name in NAMES:
            for recipe in ("f16", "pure-int4g32"):
                with self.subTest(name, recipe=recipe):
                    self.check(name, recipe, "dml")

    def test_embeddings_of_a_type_that_is_not_read(self):
        """The builder's op_types_to_quantize=MatMul/Gather: INT4, which is not the head's matrix."""
        form = rewrite(quantize(SAMPLE, self.tmp / "a", "onnx", "--scheme", "pure-int4g32"),
                       self.tmp / "b")
        model = onnx.load(str(form / "model.onnx"), load_external_data=False)
        gather, = (n for n in model.graph.node if n.op_type == "GatherBlockQuantized")
        codes, = (t for t in model.graph.initializer if t.name == gather.input[0])
        codes.data_type, codes.dims[1] = onnx.TensorProto.INT4, 2 * codes.dims[1]
        (form / "model.onnx").write_bytes(model.SerializeToString())
        r = phiq("info", form, check=False)
        self.assertNotEqual(r.returncode, 0)
        self.assertIn("a type that is not read", r.stderr)


class RealBuilder(InteropTest):
    """The model builder's own folders as a source. It needs PyTorch, and so a python of its own."""

    FORMS = (("fp32", "cpu"), ("fp16", "cuda"), ("fp16", "dml"), ("int8", "cpu"),
             ("int4", "cpu", "is_symmetric=true"), ("int4", "webgpu"), ("int4", "dml"),
             ("int4", "cpu", "algo_config=rtn", "is_symmetric=false"),
             ("int4", "cpu", "algo_config=k_quant", "matmul_mixed_precision=last_matmul:int8"))

    @unittest.skipUnless(os.environ.get("PQ_BUILDER_PYTHON"),
                         "PQ_BUILDER_PYTHON names no python with torch and onnxruntime-genai")
    def test_same_logits(self):
        """Of the builder's folder, and of what phiq reads in it."""
        cases = [(n, self.tmp / f"{n}-{i}", *f) for n in ("phi2", "phi4-mini", "sample")
                 for i, f in enumerate(self.FORMS)]
        build_all(os.environ["PQ_BUILDER_PYTHON"],
                  [arguments(checkpoint(name), out, precision, provider, options)
                   for name, out, precision, provider, *options in cases])
        for name, theirs, *form in cases:
            with self.subTest(name, form=form):
                ours = quantize(theirs, self.tmp / "ours", "onnx", "-s", "f32", "--force")
                tolerance = TOLERANCE if form[1] == "cpu" else HALF
                for ids in Golden(name).prompts.values():
                    self.assert_close(Session(theirs, single=True).logits(ids),
                                      Session(ours).logits(ids), tolerance)


class Folder(InteropTest):
    def test_nothing_missing_nothing_extra(self):
        folder = quantize(SAMPLE, self.tmp, "onnx")
        tokenizer = {p.name for p in SAMPLE.iterdir() if "token" in p.name or p.name in
                     ("chat_template.jinja", "merges.txt", "vocab.json")}
        self.assertEqual({p.name for p in folder.iterdir()},
                         tokenizer | {"model.onnx", "model.onnx.data", "genai_config.json"})
        for name in tokenizer:
            self.assertEqual((folder / name).read_bytes(), (SAMPLE / name).read_bytes(), name)

    def test_arrays_do_not_overlap_and_large_ones_can_be_mapped(self):
        """Small ones leave no gap between them to speak of."""
        folder = quantize(SAMPLE, self.tmp, "onnx", "--scheme", "uint4g32")
        model = onnx.load(str(folder / "model.onnx"), load_external_data=False)
        places = []
        for t in model.graph.initializer:
            e = {x.key: x.value for x in t.external_data}
            if e:
                places.append((int(e["offset"]), int(e["length"])))
        places = sorted(set(places))
        for (at, n), (after, size) in zip(places, places[1:]):
            self.assertLessEqual(at + n, after)
            align = 64 if size < 1 << 20 else 1 << 16
            self.assertEqual(after % align, 0)
            self.assertLess(after - at - n, align)
        self.assertEqual(sum(places[-1]), (folder / "model.onnx.data").stat().st_size)
        self.assertLess((folder / "model.onnx").stat().st_size, 1 << 18)

    def test_an_unknown_tokenizer_class_is_replaced(self):
        source = self.tmp / "source"
        shutil.copytree(checkpoint("phi4"), source)
        path = source / "tokenizer_config.json"
        config = json.loads(path.read_text())
        config["tokenizer_class"] = "TokenizersBackend"
        path.write_text(json.dumps(config))
        folder = quantize(source, self.tmp, "onnx")
        written = json.loads((folder / "tokenizer_config.json").read_text())
        self.assertEqual(written, config | {"tokenizer_class": "GPT2Tokenizer"})

    def test_ids_of_the_checkpoints_tokenizer_and_text_of_the_other_containers(self):
        folder = quantize(SAMPLE, self.tmp, "onnx", "--precision", "fp32")
        ours, theirs = Onnx(folder), Tokenizer.from_file(str(SAMPLE / "tokenizer.json"))
        for text in TEXTS:
            ids = ours.tokenizer.encode(text).tolist()
            self.assertIn(ids, (theirs.encode(text).ids,
                                theirs.encode(text, add_special_tokens=False).ids))
        start = ours.tokenizer.encode("Once upon a time").tolist()
        text = ours.tokenizer.decode(ours.greedy(start, 40))
        mlx = Mlx(quantize(SAMPLE, self.tmp, "mlx", "--precision", "fp32"))
        self.assertEqual(text.strip(), mlx.tokenizer.decode(mlx.greedy(start, 40),
                                                            skip_special_tokens=True).strip())

    def test_ends_and_lengths(self):
        for name in (*NAMES, "sample"):
            folder = quantize(checkpoint(name), self.tmp / name, "onnx")
            config = json.loads((folder / "genai_config.json").read_text())
            source = read_config(checkpoint(name))
            eos = config["model"]["eos_token_id"]
            eos = eos if isinstance(eos, list) else [eos]
            wanted = source["eos_token_id"]
            self.assertLessEqual(set(wanted if isinstance(wanted, list) else [wanted]), set(eos))
            self.assertEqual(config["model"]["context_length"], source["max_position_embeddings"])
            self.assertLessEqual(config["search"]["max_length"], 4096)


if __name__ == "__main__":
    unittest.main()
