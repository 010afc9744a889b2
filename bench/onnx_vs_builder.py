#!/usr/bin/env python3
"""ONNX folders of phiq and of onnxruntime-genai's model builder, side by side in the same runtime.
SPDX-License-Identifier: MIT

Quality (without --speed): for every fixture and the trained sample, mean KL divergence from the
reference logits and bytes of model.onnx + model.onnx.data, at block size 32. Each form of the
builder meets one recipe, the same for all checkpoints, whose codes have no fewer bits than the
builder's, the embedding apart (f32 there; 8 bits in our int4 recipes, f16 in int8).
The exit status is 1 if a recipe is further from the reference or larger than its peer.

Speed (--speed): conversion time, peak memory and bytes on the synthetic checkpoint of
Phi-3.5-mini's shape, then prefill and decoding of the folders in the generate() API. There they
take turns in one process, and each ratio is the median of the ratios within a turn, which a busy
machine disturbs least; absolute times are this machine's.

The builder needs PyTorch, so it runs in an environment of its own, named by --builder-python: the
python of a venv with torch, transformers==5.5.4, onnxruntime-genai==0.18.0 and onnx-ir. All else
runs in build/venv. SPDX-License-Identifier: MIT"""

import json
import os
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import duel
from measure import measure

import numpy as np
import onnx

import common
import onnx_runtime
import real_builder

FILES = ("model.onnx", "model.onnx.data")

BLOCK = 32


@dataclass(frozen=True)
class Form:
    """One way to call the builder. Its option names with an `int4_` prefix have no effect."""
    name: str
    precision: str
    options: tuple
    ours: tuple  # the recipe that meets it, and its further options
    tied: tuple  # the same where embedding and head are one matrix


# The builder keeps an embedding in f32 and rounds the head as all else; a tied matrix it writes
# once, in 4 bits, and in 8 bits beside an embedding in f32.
FORMS = (
    Form("int4 default", "int4", ("is_symmetric=true",), ("int4g32",), ("pure-int4g32",)),
    Form("int4 rtn asym", "int4", ("algo_config=rtn", "is_symmetric=false"), ("uint4g32",),
         ("pure-uint4g32",)),
    Form("int4 k_quant asym", "int4", ("algo_config=k_quant", "is_symmetric=false"),
         ("uint4g32",), ("pure-uint4g32",)),
    Form("int8", "int8", ("is_symmetric=true",), ("int8g32",), ("int8g32",)),
)
# Shown where they meet none of the builder's forms.
OTHERS = (("pure-int4g32",), ("pure-uint4g32",), ("int4g32",), ("uint4g32",), ("pure-int8g32",))


def opponent(form, source):
    return form.tied if common.read_config(source).get("tie_word_embeddings") else form.ours


# --- making the folders ---------------------------------------------------------------------------

def builder_arguments(form, source, out):
    return real_builder.arguments(source, out, form.precision,
                                  options=(f"block_size={BLOCK}", *form.options))


def repair_window(folder, source):
    """The builder's graph ignores a sliding window (and its genai_config.json then fails at run
    time); with the window in the graph what is left to compare is the rounding."""
    window = common.read_config(source).get("sliding_window")
    if not window:
        return
    path = folder / "model.onnx"
    model = onnx.load(str(path), load_external_data=False)
    for node in model.graph.node:
        if node.op_type == "GroupQueryAttention":
            kept = [a for a in node.attribute if a.name != "local_window_size"]
            del node.attribute[:]
            node.attribute.extend([*kept, onnx.helper.make_attribute("local_window_size", window)])
    path.write_bytes(model.SerializeToString())


def phiq_folder(source, out, recipe):
    scheme, *options = recipe
    return common.quantize(source, out, "onnx", "--scheme", scheme, *options)


# --- quality --------------------------------------------------------------------------------------

def row(maker, name, folder, pieces):
    session = onnx_runtime.Session(folder)
    return duel.Row(maker, name, duel.bytes_of(folder, FILES),
                    duel.kld_of(session.logits, pieces))


def compare(name, work):
    """[(the builder's row, ours)], [our rows without a peer]."""
    source, pieces = common.checkpoint(name), duel.stored_pieces(name)
    met = [opponent(form, source) for form in FORMS]
    recipes = {*met, *OTHERS}
    ours = {r: row("phiq", " ".join(r), phiq_folder(source, work / name / f"phiq-{i}", r), pieces)
            for i, r in enumerate(sorted(recipes))}
    pairs = []
    for i, (form, recipe) in enumerate(zip(FORMS, met)):
        folder = builder_folder(work, name, i)
        repair_window(folder, source)
        pairs.append((row("builder", form.name, folder, pieces), ours[recipe]))
    return pairs, [ours[r] for r in OTHERS if r not in met]


def builder_folder(work, name, index):
    return work / name / f"builder-{index}"


def quality(a, work):
    calls = []
    for name in a.only:
        (work / name).mkdir()
        calls += [builder_arguments(form, common.checkpoint(name), builder_folder(work, name, i))
                  for i, form in enumerate(FORMS)]
    real_builder.build_all(a.builder_python, calls)
    table = duel.Quality("builder")
    for name in a.only:
        pairs, others = compare(name, work)
        for theirs, ours in pairs:
            table.pair(name, theirs, ours)
        for r in others:
            table.row(name, r)
        print(flush=True)
        shutil.rmtree(work / name)
    print("KLD: mean over all positions of all stored prompts, plain InferenceSession. The\n"
          "builder's attention gets the sliding window that it leaves out.")
    return table.close()


# --- speed ----------------------------------------------------------------------------------------

def generation(model, vocab_size, turn):
    import onnxruntime_genai as og
    params = og.GeneratorParams(model)
    length = duel.PROMPT + duel.NEW_TOKENS
    params.set_search_options(max_length=length, min_length=length, do_sample=False)
    g = og.Generator(model, params)
    ids = duel.random_prompt(vocab_size, turn).astype(np.int32)
    marks = [time.monotonic()]
    g.append_tokens(ids)
    for _ in range(duel.NEW_TOKENS):
        g.generate_next_token()
        marks.append(time.monotonic())
    first, *steps = np.diff(marks)
    return duel.rates(first, steps)


def time_folders(folders, turns):
    """In a process of its own."""
    import onnxruntime_genai as og
    # Whichever model a process loads first is some 10 % slower than its own second copy.
    spare, *models = [og.Model(str(f)) for f in (folders[0], *folders)]
    config = json.loads((folders[0] / "genai_config.json").read_text())
    vocab_size = config["model"]["vocab_size"]
    print(json.dumps(duel.take_turns(models, lambda m, turn: generation(m, vocab_size, turn),
                                     turns)))
    del spare


def contestants(a, source, work):
    out = work / "builder" / "onnx"
    form = FORMS[0]
    yield duel.Contestant("builder -p int4",
                          [a.builder_python, "-m", "onnxruntime_genai.models.builder",
                           *builder_arguments(form, source, out)], out, FILES)
    for scheme, solver in (("int4g32", "search"), ("pure-int4g32", "search"),
                           ("pure-int4g32", "rtn")):
        out = work / f"{scheme}-{solver}"
        yield duel.Contestant(f"{scheme} {solver}",
                              [common.phiq_program(), "quantize", source, "--to", "onnx",
                               "--scheme", scheme, "--solver", solver, "-j", a.threads, "-o", out,
                               "--quiet"], out / "onnx", FILES)


def speed(a, work):
    source = duel.synthetic(a.checkpoint)
    rivals = list(contestants(a, source, work))
    for _ in range(a.runs):
        for r in rivals:
            r.convert()
    for r in rivals:
        duel.set_onnx_threads(r.folder, a.threads)
    out = measure([sys.executable, Path(__file__).resolve(), "--turns", a.turns, "--time",
                   *(r.folder for r in rivals)]).output
    print(f"\n{source.name}, {a.threads} threads, medians of {a.runs} conversions and of {a.turns} "
          "turns in the\nruntime; in brackets: the builder's figure divided by phiq's for costs, "
          "phiq's by the\nbuilder's for speed. Seconds are those of the whole command; the "
          "builder rounds to nearest.")
    duel.print_speed(rivals, json.loads(out.splitlines()[-1]))


def main():
    p = duel.parser(__doc__)
    p.add_argument("--builder-python", metavar="PATH",
                   default=os.environ.get("PQ_BUILDER_PYTHON"),
                   help="python of a venv with torch, transformers==5.5.4, "
                        "onnxruntime-genai==0.18.0, onnx-ir (default: $PQ_BUILDER_PYTHON)")
    a = p.parse_args()
    if a.time:
        return time_folders(a.time, a.turns)
    if not a.builder_python:
        p.error("--builder-python is needed: the builder does not run without PyTorch")
    return duel.run(a, quality, speed)


if __name__ == "__main__":
    sys.exit(main())
