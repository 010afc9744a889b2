#!/usr/bin/env python3
"""OpenVINO folders of phiq and of optimum-intel, whose weights NNCF quantizes without data, side by
side in the same runtime. SPDX-License-Identifier: MIT

Quality (without --speed): for every fixture and the trained sample, mean KL divergence and bytes of
openvino_model.xml + .bin, at the same mode, group size and ratio. The stored prompts, measured
against their reference logits, have only 16 to 168 positions: too few where 8-bit forms differ by a
few hundredths. So all read more, against phiq's own float32 folder: random ids, and for the sample
windows of a book (of PQ_SHARED, where present). Arithmetic is in float32.
The exit status is 1 if phiq is further from the reference or larger.

Speed (--speed): conversion time, peak memory and bytes on the synthetic checkpoint of
Phi-3.5-mini's shape, then prefill and decoding of the folders in LLMPipeline with its defaults,
taking turns in one process.

optimum needs PyTorch, so it runs in an environment of its own, named by --optimum-python: the
python of a venv with torch, transformers==5.5.4, nncf==3.4.0, optimum-intel==2.2.0 and
openvino==2026.4.1. All else runs in build/venv. SPDX-License-Identifier: MIT"""

import json
import os
import shutil
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path

import duel
from measure import measure

import numpy as np
import openvino_genai as genai
from tokenizers import Tokenizer

import common
import openvino_runtime
import real_optimum

FILES = ("openvino_model.xml", "openvino_model.bin")
BOOK = common.SHARED / "data" / "text" / "evaluation.txt"
WINDOWS, WINDOW = 40, 256
POSITIONS = 2560


@dataclass(frozen=True)
class Form:
    """The same mode, group size and share of 4-bit weights for both."""
    bits: int
    sym: bool
    group: int = -1
    ratio: float = 1.0
    floats: bool = False

    @property
    def name(self):
        if self.floats:
            return "mxfp4"
        mode = f"int{self.bits} {'sym' if self.sym else 'asym'}"
        if self.bits == 8:
            return mode
        share = f" {self.ratio}" if self.ratio < 1 else ""
        return f"{mode} {'g' + str(self.group) if self.group > 0 else 'row'}{share}"

    def optimum(self):
        """Arguments of OVWeightQuantizationConfig."""
        if self.bits == 8:
            return {"bits": 8, "sym": self.sym}
        kind = {"dtype": "mxfp4"} if self.floats else {"sym": self.sym}
        return kind | {"bits": 4, "group_size": self.group, "ratio": self.ratio}

    def cli(self):
        """Options of optimum-cli."""
        return ["--weight-format", "int4", *(["--sym"] if self.sym else []),
                "--group-size", self.group, "--ratio", self.ratio]

    def phiq(self):
        if self.floats:
            return ["--scheme", "mxfp4"]
        options = ["-p", f"int{self.bits}", "--sym" if self.sym else "--asym"]
        if self.bits == 4:
            options += ["--group-size", self.group]
        return options + (["--ratio", self.ratio] if self.ratio < 1 else [])


FORMS = (Form(8, False), Form(8, True), Form(4, False, 64), Form(4, True, 64), Form(4, False, 128),
         Form(4, True, 128), Form(4, True, 128, 0.6), Form(4, False, 64, 0.6), Form(4, True, -1),
         Form(4, False, -1), Form(4, True, 32, floats=True))
TIMED = Form(4, True, 128, 0.6)


# --- quality --------------------------------------------------------------------------------------

def exact_logits(folder):
    return openvino_runtime.OpenVino(folder).logits


def more_ids(name, golden):
    """Windows of a book for the sample, random ids in the stored lengths for the fixtures, whose
    weights are random."""
    source = common.checkpoint(name)
    if name != "sample":
        vocab, r = common.read_config(source)["vocab_size"], np.random.default_rng(1)
        return [r.integers(3, vocab, n).tolist()
                for n in golden.prompts for _ in range(POSITIONS // len(golden.prompts) // n)]
    if not BOOK.exists():
        print(f"SKIP windows of a book: no {BOOK}")
        return []
    ids = Tokenizer.from_file(str(source / "tokenizer.json")).encode(BOOK.read_text()).ids
    starts = np.linspace(0, len(ids) - WINDOW, WINDOWS).astype(int)
    return [ids[i:i + WINDOW] for i in starts]


def pieces_of(name, work):
    golden, source = common.Golden(name), common.checkpoint(name)
    logits = exact_logits(common.quantize(source, work / "f32", "openvino", "-p", "fp32"))
    return duel.stored_pieces(name) + [(ids, logits(ids)) for ids in more_ids(name, golden)]


def compare(name, table, work):
    source, pieces = common.checkpoint(name), pieces_of(name, work)
    for i, form in enumerate(FORMS):
        ours = common.quantize(source, work / f"phiq-{i}", "openvino", *form.phiq())
        table.pair(name, *(duel.Row(maker, form.name, duel.bytes_of(folder, FILES),
                                    duel.kld_of(exact_logits(folder), pieces))
                           for maker, folder in (("optimum", optimum_folder(work, i)),
                                                 ("phiq", ours))))
    print()


def optimum_folder(work, index):
    return work / f"optimum-{index}"


def quality(a, work):
    calls = [(common.checkpoint(name), work / name / "plain",
              [(optimum_folder(work / name, i), form.optimum()) for i, form in enumerate(FORMS)])
             for name in a.only]
    real_optimum.export_all(a.optimum_python, calls)
    table = duel.Quality("optimum")
    for name in a.only:
        compare(name, table, work / name)
        shutil.rmtree(work / name)
    print("KLD: mean over all positions. `row`: one scale for each row. A last number: the share\n"
          "of 4-bit weights, the rest in 8 bits. Embedding and head have 8 bits in all forms.")
    return table.close()


# --- speed ----------------------------------------------------------------------------------------

def generation(pipeline, vocab_size, turn):
    config = genai.GenerationConfig()
    config.max_new_tokens, config.ignore_eos, config.do_sample = duel.NEW_TOKENS, True, False
    ids = duel.random_prompt(vocab_size, turn)
    inputs = genai.TokenizedInputs(openvino_runtime.ov.Tensor(ids),
                                   openvino_runtime.ov.Tensor(np.ones_like(ids)))
    metrics = pipeline.generate(inputs, config).perf_metrics
    steps = [us / 1e6 for us in metrics.raw_metrics.m_durations]  # after the first token
    return duel.rates(metrics.get_ttft().mean / 1e3, steps)


def time_folders(folders, turns):
    """In a process of its own; the first folder once more at the end: how much two copies differ
    says what the other ratios mean."""
    spare, *models = [genai.LLMPipeline(str(f), "CPU") for f in (folders[0], *folders, folders[0])]
    vocab_size = common.read_config(folders[0])["vocab_size"]
    print(json.dumps(duel.take_turns(models, lambda m, turn: generation(m, vocab_size, turn),
                                     turns)))
    del spare


def contestants(a, source, work):
    out = work / "optimum" / "openvino"
    yield duel.Contestant("optimum-cli",
                          real_optimum.command(a.optimum_python, source, out, TIMED.cli()), out,
                          FILES)
    for solver in ("search", "rtn"):
        out = work / solver
        yield duel.Contestant(f"phiq {solver}",
                              [common.phiq_program(), "quantize", source, "--to", "openvino",
                               *TIMED.phiq(), "--solver", solver, "-j", a.threads, "-o", out,
                               "--quiet"], out / "openvino", FILES)


def speed(a, work):
    source = duel.synthetic(a.checkpoint)
    rivals = list(contestants(a, source, work))
    for _ in range(a.runs):
        for r in rivals:
            r.convert()
    out = measure([sys.executable, Path(__file__).resolve(), "--turns", a.turns, "--time",
                   *(r.folder for r in rivals)]).output
    print(f"\n{source.name}, {TIMED.name}, {a.threads} threads, medians of {a.runs} conversions "
          f"and of\n{a.turns} turns in the runtime; in brackets: optimum's figure divided by phiq's"
          " for costs,\nphiq's by optimum's for speed. Seconds are those of the whole command; "
          "NNCF rounds to\nnearest.")
    turns = json.loads(out.splitlines()[-1])
    duel.print_speed(rivals, turns)
    again = [statistics.median(t[-1][k] / t[0][k] for t in turns) for k, _ in duel.RATE_COLUMNS]
    print("optimum's folder loaded once more: prefill {:.2f}x, decode {:.2f}x".format(*again))
    for r in rivals:
        print(f"{r.name:<20}{dict(openvino_runtime.OpenVino(r.folder, {}).operators())}")


def main():
    p = duel.parser(__doc__)
    p.add_argument("--optimum-python", metavar="PATH",
                   default=os.environ.get("PQ_OPTIMUM_PYTHON"),
                   help="python of a venv with torch, transformers==5.5.4, nncf==3.4.0, "
                        "optimum-intel==2.2.0, openvino==2026.4.1 (default: $PQ_OPTIMUM_PYTHON)")
    a = p.parse_args()
    if a.time:
        return time_folders(a.time, a.turns)
    if not a.optimum_python:
        p.error("--optimum-python is needed: optimum does not run without PyTorch")
    return duel.run(a, quality, speed)


if __name__ == "__main__":
    sys.exit(main())
