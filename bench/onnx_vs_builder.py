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

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from measure import measure

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT / "tests" / "interop"))

import numpy as np
import onnx

import common
import onnx_runtime
import real_builder

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


def bytes_of(folder):
    return sum((folder / name).stat().st_size for name in ("model.onnx", "model.onnx.data"))


# --- quality --------------------------------------------------------------------------------------

@dataclass
class Row:
    maker: str
    name: str
    bytes: int
    kld: np.ndarray  # one value per position of every stored prompt


def kld_by_position(folder, golden):
    session = onnx_runtime.Session(folder)
    parts = []
    for n, ids in sorted(golden.prompts.items()):
        got = session.logits(ids)
        parts += [common.mean_kld(r[None], g[None]) for r, g in zip(golden.logits[n], got)]
    return np.array(parts)


def row(maker, name, folder, golden):
    return Row(maker, name, bytes_of(folder), kld_by_position(folder, golden))


def compare(name, work):
    """[(the builder's row, ours)], [our rows without a peer]."""
    source, golden = common.checkpoint(name), common.Golden(name)
    met = [opponent(form, source) for form in FORMS]
    recipes = {*met, *OTHERS}
    ours = {r: row("phiq", " ".join(r), phiq_folder(source, work / name / f"phiq-{i}", r), golden)
            for i, r in enumerate(sorted(recipes))}
    pairs = []
    for i, (form, recipe) in enumerate(zip(FORMS, met)):
        folder = builder_folder(work, name, i)
        repair_window(folder, source)
        pairs.append((row("builder", form.name, folder, golden), ours[recipe]))
    return pairs, [ours[r] for r in OTHERS if r not in met]


def builder_folder(work, name, index):
    return work / name / f"builder-{index}"


def verdict(theirs, ours):
    """In words, and whether ours is at least as near and no larger."""
    if ours.bytes > theirs.bytes:
        return "phiq is larger", False
    difference = theirs.kld - ours.kld
    error = difference.std(ddof=1) / np.sqrt(len(difference))
    won = difference.mean() >= 0
    words = "phiq" if won else "builder"
    if abs(difference.mean()) < 2 * error:
        words += " (within 2 standard errors)"
    return words, bool(won)


def print_row(fixture, r, tail=""):
    print(f"{fixture:<23} {r.maker:<8} {r.name:<19} {r.bytes:>9} {r.kld.mean():>9.6f}  "
          f"{tail}".rstrip())


def quality(a, work):
    names = a.only or [*common.NAMES, "sample"]
    calls = []
    for name in names:
        (work / name).mkdir()
        calls += [builder_arguments(form, common.checkpoint(name), builder_folder(work, name, i))
                  for i, form in enumerate(FORMS)]
    real_builder.build_all(a.builder_python, calls)
    print(f"{'checkpoint':<23} {'maker':<8} {'form':<19} {'bytes':>9} {'mean KLD':>9}  nearer")
    lost = met = 0
    for name in names:
        pairs, others = compare(name, work)
        for theirs, ours in pairs:
            words, won = verdict(theirs, ours)
            print_row(name, theirs)
            print_row(name, ours, f"{words}, {ours.kld.mean() / theirs.kld.mean():.2f} x KLD, "
                                  f"{ours.bytes / theirs.bytes:.2f} x bytes")
            met, lost = met + 1, lost + (not won)
        for r in others:
            print_row(name, r)
        print(flush=True)
        shutil.rmtree(work / name)
    print(f"phiq is nearer with no more bytes in {met - lost} of {met} pairs.\n"
          "KLD: mean over all positions of all stored prompts, plain InferenceSession. The\n"
          "builder's attention gets the sliding window that it leaves out.")
    return lost == 0


# --- speed ----------------------------------------------------------------------------------------

PROMPT, NEW_TOKENS = 128, 48


def generation(model, ids):
    """Tokens per second of prefill and of decoding, the median step for the latter."""
    import onnxruntime_genai as og
    params = og.GeneratorParams(model)
    length = PROMPT + NEW_TOKENS
    params.set_search_options(max_length=length, min_length=length, do_sample=False)
    g = og.Generator(model, params)
    marks = [time.monotonic()]
    g.append_tokens(ids)
    for _ in range(NEW_TOKENS):
        g.generate_next_token()
        marks.append(time.monotonic())
    first, *steps = np.diff(marks)
    return {"prefill": PROMPT / first, "decode": 1 / statistics.median(steps)}


def time_folders(folders, turns):
    """In a process of its own: [turn][folder]; each turn begins with another folder."""
    import onnxruntime_genai as og
    # Whichever model a process loads first is some 10 % slower than its own second copy.
    spare, *models = [og.Model(str(f)) for f in (folders[0], *folders)]
    config = json.loads((folders[0] / "genai_config.json").read_text())
    ids = np.random.default_rng(1).integers(3, config["model"]["vocab_size"], (1, PROMPT),
                                            dtype=np.int32)
    result = []
    for turn in range(turns + 1):  # the first warms up
        order = [(turn + k) % len(models) for k in range(len(models))]
        times = {i: generation(models[i], ids) for i in order}
        result.append([times[i] for i in range(len(models))])
    del spare
    print(json.dumps(result[1:]))


def set_threads(folder, threads):
    path = folder / "genai_config.json"
    config = json.loads(path.read_text())
    config["model"]["decoder"].setdefault("session_options", {})["intra_op_num_threads"] = threads
    path.write_text(json.dumps(config, indent=2))


class Contestant:
    def __init__(self, name, command, folder):
        self.name, self.command, self.folder = name, command, folder
        self.costs, self.bytes = [], 0

    def convert(self, threads):
        shutil.rmtree(self.folder.parent, ignore_errors=True)
        self.folder.parent.mkdir()
        self.costs.append(measure(self.command))
        os.sync()  # nobody pays for another's dirty pages
        self.bytes = bytes_of(self.folder)
        set_threads(self.folder, threads)

    def result(self):
        cost = {k: statistics.median(getattr(c, k) for c in self.costs)
                for k, *_ in COST_COLUMNS[:-1]}
        return cost | {"bytes": self.bytes}


def contestants(a, source, work):
    out = work / "builder" / "onnx"
    form = FORMS[0]
    yield Contestant("builder -p int4", [a.builder_python, "-m", "onnxruntime_genai.models.builder",
                                         *builder_arguments(form, source, out)], out)
    for scheme, solver in (("int4g32", "search"), ("pure-int4g32", "search"),
                           ("pure-int4g32", "rtn")):
        out = work / f"{scheme}-{solver}"
        yield Contestant(f"{scheme} {solver}",
                         [common.phiq_program(), "quantize", source, "--to", "onnx", "--scheme",
                          scheme, "--solver", solver, "-j", a.threads, "-o", out, "--quiet"],
                         out / "onnx")


def speed(a, work):
    source = a.checkpoint
    if not (source / "generation_config.json").exists():  # the last one written
        measure([sys.executable, HERE / "make_checkpoint.py", source, "--layers", 8])
    rivals = list(contestants(a, source, work))
    for _ in range(a.runs):
        for r in rivals:
            r.convert(a.threads)
    out = measure([sys.executable, Path(__file__).resolve(), "--turns", a.turns, "--time",
                   *(r.folder for r in rivals)]).output
    print(f"\n{source.name}, {a.threads} threads, medians of {a.runs} conversions and of {a.turns} "
          "turns in the\nruntime; in brackets: the builder's figure divided by phiq's for costs, "
          "phiq's by the\nbuilder's for speed. Seconds are those of the whole command; the "
          "builder rounds to nearest.")
    print_speed(rivals, json.loads(out.splitlines()[-1]))


COST_COLUMNS = (("seconds", "seconds", 1), ("cpu", "CPU seconds", 1), ("peak", "peak MB", 1e6),
                ("peak_private", "unmapped MB", 1e6), ("bytes", "MB written", 1e6))
RATE_COLUMNS = (("prefill", f"prefill {PROMPT}/s"), ("decode", "decode/s"))


def print_speed(rivals, turns):
    heads = [c[1] for c in (*COST_COLUMNS, *RATE_COLUMNS)]
    print(f"{'':<20}" + "".join(f"{head:>19}" for head in heads))
    first = rivals[0].result()
    for i, r in enumerate(rivals):
        line, cost = f"{r.name:<20}", r.result()
        for key, _, unit in COST_COLUMNS:
            ratio = first[key] / cost[key] if cost[key] else float("inf")
            line += f"{cost[key] / unit:>10.2f} ({ratio:>5.2f}x)"
        for key, _ in RATE_COLUMNS:
            rate = statistics.median(t[i][key] for t in turns)
            ratio = statistics.median(t[i][key] / t[0][key] for t in turns)
            line += f"{rate:>10.2f} ({ratio:>5.2f}x)"
        print(line)


def main():
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--builder-python", metavar="PATH",
                   default=os.environ.get("PQ_BUILDER_PYTHON"),
                   help="python of a venv with torch, transformers==5.5.4, "
                        "onnxruntime-genai==0.18.0, onnx-ir (default: $PQ_BUILDER_PYTHON)")
    p.add_argument("--only", nargs="+", metavar="NAME", help="these fixtures, or sample")
    p.add_argument("--speed", action="store_true", help="conversion and runtime speed instead")
    p.add_argument("--checkpoint", type=Path, help="for --speed",
                   default=ROOT / "build" / "bench" / "phi-3.5-mini-8l")
    p.add_argument("--runs", type=int, default=3)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--work", type=Path, help="scratch files go here")
    p.add_argument("--turns", type=int, default=9, help="generations by each folder")
    p.add_argument("--time", type=Path, nargs="+", help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.time:
        return time_folders(a.time, a.turns)
    if not a.builder_python:
        p.error("--builder-python is needed: the builder does not run without PyTorch")
    with tempfile.TemporaryDirectory(prefix="phiq-builder-", dir=a.work) as work:
        if a.speed:
            return speed(a, Path(work))
        return 0 if quality(a, Path(work)) else 1


if __name__ == "__main__":
    sys.exit(main())
