"""What the comparisons with one other tool share: rows and verdicts of quality, contestants and
their costs, turns in a runtime. Ratios of speed are the median of the ratios within a turn, which a
busy machine disturbs least; absolute times are this machine's. SPDX-License-Identifier: MIT"""

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from measure import measure

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT / "tests" / "interop"))

import numpy as np

import common

PROMPT, NEW_TOKENS = 128, 48  # of a timed generation


# --- quality --------------------------------------------------------------------------------------

@dataclass
class Row:
    maker: str
    name: str
    bytes: int
    kld: np.ndarray  # one value per position


def bytes_of(folder, files):
    return sum((folder / name).stat().st_size for name in files)


def stored_pieces(name):
    """[(ids, reference logits)] of the prompts stored with a checkpoint."""
    golden = common.Golden(name)
    return [(ids, golden.logits[n]) for n, ids in sorted(golden.prompts.items())]


def kld_of(logits, pieces):
    """By position, of a function from ids to logits."""
    return np.concatenate([common.kld_by_position(r, logits(ids)) for ids, r in pieces])


class Quality:
    """The table of all pairs, printed as they come."""

    def __init__(self, peer):
        self.peer, self.met, self.lost = peer, 0, 0
        print(f"{'checkpoint':<23} {'maker':<8} {'form':<19} {'bytes':>9} {'mean KLD':>9}  nearer")

    def row(self, checkpoint, r, tail=""):
        print(f"{checkpoint:<23} {r.maker:<8} {r.name:<19} {r.bytes:>9} {r.kld.mean():>9.6f}  "
              f"{tail}".rstrip(), flush=True)

    def verdict(self, theirs, ours):
        """In words, and whether ours is at least as near and no larger."""
        if ours.bytes > theirs.bytes:
            return "phiq is larger", False
        difference = theirs.kld - ours.kld
        error = difference.std(ddof=1) / np.sqrt(len(difference))
        won = difference.mean() >= 0
        words = "phiq" if won else self.peer
        if abs(difference.mean()) < 2 * error:
            words += " (within 2 standard errors)"
        return words, bool(won)

    def pair(self, checkpoint, theirs, ours):
        words, won = self.verdict(theirs, ours)
        self.met, self.lost = self.met + 1, self.lost + (not won)
        self.row(checkpoint, theirs)
        self.row(checkpoint, ours, f"{words}, {ours.kld.mean() / theirs.kld.mean():.2f} x KLD, "
                                   f"{ours.bytes / theirs.bytes:.2f} x bytes")

    def close(self):
        print(f"phiq is nearer with no more bytes in {self.met - self.lost} of {self.met} pairs.")
        return self.lost == 0


# --- speed ----------------------------------------------------------------------------------------

class Contestant:
    """A command that writes `files` into a folder of its own."""

    def __init__(self, name, command, folder, files):
        self.name, self.command, self.folder, self.files = name, command, folder, files
        self.costs, self.bytes = [], 0

    def convert(self):
        shutil.rmtree(self.folder.parent, ignore_errors=True)
        self.folder.parent.mkdir()
        self.costs.append(measure(self.command))
        os.sync()  # nobody pays for another's dirty pages
        self.bytes = bytes_of(self.folder, self.files)

    def result(self):
        cost = {k: statistics.median(getattr(c, k) for c in self.costs)
                for k, *_ in COST_COLUMNS[:-1]}
        return cost | {"bytes": self.bytes}


def synthetic(folder):
    """The checkpoint of Phi-3.5-mini's shape, made when it is not there."""
    if not (folder / "generation_config.json").exists():  # the last one written
        measure([sys.executable, HERE / "make_checkpoint.py", folder, "--layers", 8])
    return folder


def random_prompt(vocab_size, turn, n=PROMPT):
    """Another for each turn: runtimes remember prefixes."""
    return np.random.default_rng(turn).integers(3, vocab_size, (1, n))


def set_onnx_threads(folder, threads):
    path = folder / "genai_config.json"
    config = json.loads(path.read_text())
    config["model"]["decoder"].setdefault("session_options", {})["intra_op_num_threads"] = threads
    path.write_text(json.dumps(config, indent=2))


def rates(first, steps):
    """Tokens per second of prefill and of decoding, the median step for the latter."""
    return {"prefill": PROMPT / first, "decode": 1 / statistics.median(steps)}


def take_turns(models, generation, turns):
    """[turn][model] of generation(model, turn); each turn begins with another model, and a turn
    before them warms up."""
    result = []
    for turn in range(turns + 1):
        order = [(turn + k) % len(models) for k in range(len(models))]
        times = {i: generation(models[i], turn) for i in order}
        result.append([times[i] for i in range(len(models))])
    return result[1:]


COST_COLUMNS = (("seconds", "seconds", 1), ("cpu", "CPU seconds", 1), ("peak", "peak MB", 1e6),
                ("peak_private", "unmapped MB", 1e6), ("bytes", "MB written", 1e6))
RATE_COLUMNS = (("prefill", f"prefill {PROMPT}/s"), ("decode", "decode/s"))


def print_speed(rivals, turns):
    """The first is the peer. In brackets: its figure divided by phiq's for costs, phiq's by its for
    speed."""
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


# --- the command line -----------------------------------------------------------------------------

def parser(doc):
    p = argparse.ArgumentParser(description=doc,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--only", nargs="+", metavar="NAME", help="these fixtures, or sample",
                   default=[*common.NAMES, "sample"])
    p.add_argument("--speed", action="store_true", help="conversion and runtime speed instead")
    p.add_argument("--checkpoint", type=Path, help="for --speed",
                   default=ROOT / "build" / "bench" / "phi-3.5-mini-8l")
    p.add_argument("--runs", type=int, default=3)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--work", type=Path, help="scratch files go here")
    p.add_argument("--turns", type=int, default=9, help="generations by each folder")
    p.add_argument("--time", type=Path, nargs="+", help=argparse.SUPPRESS)
    return p


def run(a, quality, speed):
    """The exit status: 1 if phiq lost a pair."""
    with tempfile.TemporaryDirectory(prefix="phiq-duel-", dir=a.work) as work:
        if a.speed:
            return speed(a, Path(work))
        return 0 if quality(a, Path(work)) else 1
