#!/usr/bin/env python3
"""Loss of phiq's outputs and of the peers' best, container by container: bytes, perplexity, KL
divergence and top-1 agreement of every file that was written, all decoded by one evaluator, `phiq
eval`. Peers run unmodified, on the same calibration text; bench/loss_rows.py lists them all.

Outputs are kept under build/loss: a second run makes phiq's outputs anew when the program has
changed, and the peers' only when their commands or the inputs have. build/peers is the environment
of the peers that need PyTorch, made from bench/peers-requirements.txt when it is missing.

Writes loss.json and loss.md there, and with --write the tables into a file of the documentation,
between its two markers. SPDX-License-Identifier: MIT"""

import argparse
import json
import sys
from pathlib import Path

import duel

import common
import loss_make
from loss_eval import Evaluator, Text
from loss_rows import peer_rows, phiq_rows
from loss_table import Contest, Result, contest_table, second_table, summary

TEXTS = common.SHARED / "data" / "text"
MARKS = "<!-- measured: begin -->\n", "<!-- measured: end -->\n"


def second_text(path, work):
    """The last third of a text of which the first windows are the first text."""
    words = Path(path).read_text()
    out = work / "second.txt"
    out.write_text(words[words.index("\n", 2 * len(words) // 3) + 1:])
    return out


class Comparison:
    """One checkpoint: everything made and measured."""

    def __init__(self, a, name):
        self.name, self.bits, self.only, self.without = name, a.bits, a.only, a.without
        self.solvers = a.solvers
        source, self.work = common.checkpoint(name).resolve(), a.work / name
        self.work.mkdir(parents=True, exist_ok=True)
        program = Path(common.phiq_program()).resolve()
        self.maker = loss_make.Maker(source, a.calibration.resolve(), self.work, program,
                                     a.kept)
        self.eval = Evaluator(program, source, a.work / "eval")
        self.first = Text("first", a.text, a.windows)
        self.second = Text("second", a.second or second_text(a.text, a.work), a.windows)

    def result(self, row):
        r = Result(row, self.maker.make(row))
        if not r.made.error:
            self._measure(r)
        words = r.made.error or f"{r.bits:.3f} bits, KLD {r.kld('first'):.5f}"
        print(f"{self.name} {row.container:<9}{r.name:<32} {words}", flush=True)
        return r

    def _measure(self, r):
        """What phiq cannot read is shown as a failure, not left out."""
        try:
            r.size = self.eval.size(r.made.path)
            r.loss["first"] = self.eval.loss(r.made.path, self.first)
        except RuntimeError as e:
            r.made.error = f"not read by phiq: {e}"

    def contests(self):
        rows = [r for r in (*peer_rows(), *phiq_rows(self.solvers)) if r.bits in self.bits
                and r.container in self.only and r.maker not in self.without]
        results = [self.result(r) for r in rows]
        keys = dict.fromkeys((r.container, r.bits) for r in sorted(rows, key=self._order))
        return [Contest(*k, [r for r in results if (r.row.container, r.row.bits) == k], "first")
                for k in keys]

    def _order(self, row):
        return self.bits.index(row.bits), self.only.index(row.container)

    def on_second(self, contests):
        for c in contests:
            for pair in c.shown_twice():
                for r in pair:
                    r.loss["second"] = self.eval.loss(r.made.path, self.second)

    def markdown(self, contests):
        shown = [c for c in contests if c.theirs]
        parts = [f"## {self.name}", summary(shown), "On the second text:",
                 second_table(shown, "second"), *map(contest_table, shown)]
        return "\n\n".join(parts) + "\n"


def write_between(path, text):
    head, _, rest = path.read_text().partition(MARKS[0])
    _, _, tail = rest.partition(MARKS[1])
    path.write_text(f"{head}{MARKS[0]}\n{text}\n{MARKS[1]}{tail}")


def main():
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--models", nargs="+", default=["sample", "phi3-medium"], metavar="NAME",
                   help="sample, or fixtures")
    p.add_argument("--bits", nargs="+", type=int, default=[4, 3, 8])
    p.add_argument("--only", nargs="+", default=["gguf", "mlx", "onnx", "openvino"],
                   metavar="CONTAINER")
    p.add_argument("--without", nargs="+", default=[], metavar="MAKER", help="such as AutoRound")
    p.add_argument("--solvers", nargs="+", default=[], metavar="NAME", help="of phiq's (all)")
    p.add_argument("--kept", action="store_true", help="make no peers, show those there are")
    p.add_argument("--calibration", type=Path, default=TEXTS / "calibration.txt")
    p.add_argument("--text", type=Path, default=TEXTS / "evaluation.txt")
    p.add_argument("--second", type=Path, help="default: the last third of --text")
    p.add_argument("--windows", type=int, default=32, help="of 512 tokens, of each text")
    p.add_argument("--work", type=Path, default=duel.ROOT / "build" / "loss")
    p.add_argument("--write", type=Path, help="a document with markers, such as docs/loss.md")
    a = p.parse_args()
    a.work = a.work.resolve()
    for path in (a.calibration, a.text):
        if not path.exists():
            p.error(f"no {path}: name a text with --calibration and --text")
    a.work.mkdir(parents=True, exist_ok=True)
    loss_make.peers_venv()
    pages, documents = [], {}
    for name in a.models:
        one = Comparison(a, name)
        contests = one.contests()
        one.on_second(contests)
        pages.append(one.markdown(contests))
        documents[name] = [r.document() for c in contests for r in (*c.results, *c.failed)]
    (a.work / "loss.json").write_text(json.dumps(documents, indent=1))
    (a.work / "loss.md").write_text("\n".join(pages))
    print("\n".join(pages))
    if a.write:
        write_between(a.write, "\n".join(pages))


if __name__ == "__main__":
    sys.exit(main())
