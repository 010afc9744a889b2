#!/usr/bin/env python3
"""phiq beside llama.cpp, ONNX Runtime GenAI and OpenVINO GenAI, on the same codes: one checkpoint,
quantized once by phiq to the same symmetric 4-bit codes in groups of 32 for each container, and to
Q4_K_M. Prefill of 128 and 512 tokens, and decoding of 64 after the 128.

Each contestant is a process of its own that has its model loaded and waits; in every round they
work one after the other, in an order that turns. A ratio is the median over the rounds of the
ratios within a round, which a busy machine disturbs least; absolute speeds are this machine's at
that hour. Runtimes have their own defaults but for the number of threads. phiq's figures are those
of `phiq bench`. SPDX-License-Identifier: MIT"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import duel

import numpy as np

import common

PREFILLS, DEEP, STEPS = (128, 512), 128, 64
ROWS = (*(f"prefill {n}" for n in PREFILLS), f"decode {STEPS} after {DEEP}")


# --- in the process of a contestant ---------------------------------------------------------------
# turn(ids, steps): seconds until the last token's logits are there, and of `steps` tokens after it

class LlamaCpp:
    def __init__(self, path, threads):
        from llama_cpp import llama_cpp as lib
        import llama_runtime  # keeps the log quiet
        self.lib, self.log = lib, llama_runtime
        p = lib.llama_model_default_params()
        p.n_gpu_layers = 0
        self.model = lib.llama_model_load_from_file(str(path).encode(), p)
        c = lib.llama_context_default_params()
        c.n_ctx = 1024
        c.n_threads = c.n_threads_batch = threads
        self.ctx = lib.llama_init_from_model(self.model, c)

    def _decode(self, ids):
        array = (self.lib.llama_token * len(ids))(*ids)
        if self.lib.llama_decode(self.ctx, self.lib.llama_batch_get_one(array, len(ids))):
            raise RuntimeError("llama_decode failed")
        self.lib.llama_get_logits_ith(self.ctx, -1)  # waits for it

    def turn(self, ids, steps):
        self.lib.llama_memory_clear(self.lib.llama_get_memory(self.ctx), True)
        began = time.monotonic()
        self._decode(ids)
        first = time.monotonic()
        for k in range(steps):
            self._decode([ids[k % len(ids)]])
        return first - began, time.monotonic() - first


class OnnxRuntime:
    def __init__(self, folder, threads):
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
        import onnxruntime_genai as og
        duel.set_onnx_threads(Path(folder), threads)
        self.og, self.model = og, og.Model(str(folder))

    def turn(self, ids, steps):
        params, n = self.og.GeneratorParams(self.model), len(ids) + steps + 1
        params.set_search_options(max_length=n, min_length=n, do_sample=False)
        g = self.og.Generator(self.model, params)
        began = time.monotonic()
        g.append_tokens(np.array([ids], np.int32))
        g.generate_next_token()  # picks one; the next call computes
        first = time.monotonic()
        for _ in range(steps):
            g.generate_next_token()
        return first - began, time.monotonic() - first


class OpenVino:
    def __init__(self, folder, threads):
        os.environ.setdefault("OPENVINO_TELEMETRY_DISABLED", "1")
        import openvino
        import openvino_genai
        self.ov, self.genai = openvino, openvino_genai
        self.pipeline = openvino_genai.LLMPipeline(str(folder), "CPU",
                                                   INFERENCE_NUM_THREADS=threads)

    def turn(self, ids, steps):
        config = self.genai.GenerationConfig()
        config.max_new_tokens, config.ignore_eos, config.do_sample = steps + 1, True, False
        array = np.array([ids], np.int64)
        inputs = self.genai.TokenizedInputs(self.ov.Tensor(array),
                                            self.ov.Tensor(np.ones_like(array)))
        metrics = self.pipeline.generate(inputs, config).perf_metrics
        after = sum(metrics.raw_metrics.m_durations[:steps]) / 1e6  # those after the first
        return metrics.get_ttft().mean / 1e3, after


RUNTIMES = {"llama.cpp": LlamaCpp, "onnxruntime": OnnxRuntime, "openvino": OpenVino}


def serve(runtime, path, threads):
    """Answers each line of standard input, [ids, steps], with a line."""
    model = RUNTIMES[runtime](path, threads)
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(model.turn(*json.loads(line))), flush=True)


# --- the contestants, from outside ----------------------------------------------------------------

class Peer:
    """A runtime that waits in its own process."""

    def __init__(self, runtime, path, threads):
        self.child = subprocess.Popen(
            [sys.executable, Path(__file__).resolve(), "--serve", runtime, path,
             "--threads", str(threads)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        if self._answer() != "ready":
            raise RuntimeError(f"{runtime} does not start with {path}")

    def _answer(self):
        for line in self.child.stdout:  # some libraries say something first
            if line.strip() == "ready" or line.startswith("["):
                return line.strip()
        raise RuntimeError("a runtime's process has ended")

    def _turn(self, ids, steps):
        self.child.stdin.write(json.dumps([ids, steps]) + "\n")
        self.child.stdin.flush()
        return json.loads(self._answer())

    def round(self, vocab_size, seed):
        rates = {}
        for k, n in enumerate(PREFILLS):
            steps = STEPS if n == DEEP else 1
            ids = duel.random_prompt(vocab_size, 100 * seed + k, n)[0].tolist()
            first, after = self._turn(ids, steps)
            rates[f"prefill {n}"] = n / first
            if n == DEEP:
                rates[ROWS[-1]] = steps / after
        return rates

    def close(self):
        self.child.stdin.close()
        self.child.wait()


class Phiq:
    def __init__(self, path, threads):
        self.path, self.threads = path, threads

    def round(self, _vocab_size, _seed):
        rates = {}
        for n in PREFILLS:
            steps = STEPS if n == DEEP else 1
            doc = json.loads(common.phiq("bench", self.path, "--prompts", n, "--generate", steps,
                                         "--repeat", 1, "-j", self.threads, "--json").stdout)
            rate = {t["test"]: t["tokens_per_second"]["median"] for t in doc["tests"]}
            rates[f"prefill {n}"] = rate["prompt"]
            if n == DEEP:
                rates[ROWS[-1]] = rate["generation"]
        return rates

    def close(self):
        pass


@dataclass
class Contestant:
    codes: str  # contestants of one kind of codes are compared
    name: str
    target: str  # whose file
    runtime: str  # "phiq", or a key of RUNTIMES
    rounds: list = field(default_factory=list)
    model: object = None


def contestants():
    same = "4-bit, groups of 32"
    for target, runtime in (("gguf", "llama.cpp"), ("onnx", "onnxruntime"),
                            ("openvino", "openvino")):
        yield Contestant(same, f"phiq, {target}", target, "phiq")
        yield Contestant(same, runtime, target, runtime)
    yield Contestant("Q4_K_M", "phiq, gguf", "q4_k_m", "phiq")
    yield Contestant("Q4_K_M", "llama.cpp", "q4_k_m", "llama.cpp")


def make_files(checkpoint, work, threads):
    """{target: path}, quantized when they are not there."""
    out = work / "same"
    if not (out / "openvino").exists():
        common.phiq("quantize", checkpoint, "--to", "gguf,onnx,openvino", "--scheme",
                    "gguf:pure-q4_0,onnx:pure-int4g32,openvino:pure-int4g32", "--solver", "rtn",
                    "-j", threads, "-o", out, "--quiet", "--force")
    k_quant = work / "q4_k_m"
    if not (k_quant / "gguf").exists():
        common.phiq("quantize", checkpoint, "--to", "gguf", "--scheme", "q4_k_m", "-j", threads,
                    "-o", k_quant, "--quiet", "--force")
    [gguf], [k] = (out / "gguf").glob("*.gguf"), (k_quant / "gguf").glob("*.gguf")
    return {"gguf": gguf, "onnx": out / "onnx", "openvino": out / "openvino", "q4_k_m": k}


def play(rivals, vocab_size, rounds):
    """A round before the first one warms up."""
    for r in range(rounds + 1):
        for k in range(len(rivals)):
            rival = rivals[(r + k) % len(rivals)]
            print(f"\r\033[Kround {r} of {rounds}: {rival.codes}, {rival.name}", end="",
                  file=sys.stderr)
            rates = rival.model.round(vocab_size, r)
            if r:
                rival.rounds.append(rates)
    print("\r\033[K", end="", file=sys.stderr)


# --- the result -----------------------------------------------------------------------------------

def summary(rivals):
    """One dict for each contestant and row; times_phiq is its speed by phiq's on the same codes,
    from its own container where that holds them."""
    for r in rivals:
        ours = next(x for x in rivals if (x.codes, x.target, x.runtime) ==
                    (r.codes, r.target, "phiq"))
        for row in ROWS:
            rates = [t[row] for t in r.rounds]
            yield {"codes": r.codes, "name": r.name, "row": row,
                   "median": statistics.median(rates), "min": min(rates), "max": max(rates),
                   "times_phiq": statistics.median(a[row] / b[row]
                                                   for a, b in zip(r.rounds, ours.rounds))}


def print_table(table):
    previous = None
    for row in sorted(table, key=lambda t: (t["codes"], ROWS.index(t["row"]))):
        head = (row["codes"], row["row"])
        if head != previous:
            print(f"\n{row['codes']}: {row['row']:<24} {'tokens/s':>9} {'min':>8} {'max':>8} "
                  f"{'x phiq':>7}")
            previous = head
        print(f"    {row['name']:<38} {row['median']:>9.2f} {row['min']:>8.2f} {row['max']:>8.2f} "
              f"{row['times_phiq']:>7.2f}")


def main():
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--checkpoint", type=Path, default=duel.ROOT / "build/bench/phi-3.5-mini-8l",
                   help="default: one of Phi-3.5-mini's shape with 8 layers, made when missing")
    p.add_argument("--work", type=Path, default=duel.ROOT / "build" / "bench" / "runtimes")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--only", nargs="+", metavar="RUNTIME", choices=["phiq", *RUNTIMES],
                   help="phiq and these")
    p.add_argument("--json", type=Path, help="also write the table here")
    p.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.serve:
        return serve(*a.serve, a.threads)
    checkpoint = duel.synthetic(a.checkpoint)
    a.work.mkdir(parents=True, exist_ok=True)
    paths, began = make_files(checkpoint, a.work, a.threads), os.getloadavg()
    wanted = {"phiq", *(a.only or RUNTIMES)}
    rivals = [r for r in contestants() if r.runtime in wanted and
              (r.runtime != "phiq" or _peer_of(r) in wanted or a.only == ["phiq"])]
    try:
        for r in rivals:
            path = str(paths[r.target])
            r.model = (Phiq(path, a.threads) if r.runtime == "phiq"
                       else Peer(r.runtime, path, a.threads))
        play(rivals, common.read_config(checkpoint)["vocab_size"], a.rounds)
    finally:
        for r in rivals:
            if r.model:
                r.model.close()
    table = list(summary(rivals))
    print(f"{checkpoint.name}, {a.threads} threads, medians of {a.rounds} rounds; load of the "
          f"machine before: {began[0]:.1f}")
    print_table(table)
    if a.json:
        a.json.write_text(json.dumps({"checkpoint": checkpoint.name, "threads": a.threads,
                                      "rounds": a.rounds, "load": began, "table": table,
                                      "samples": {f"{r.codes}: {r.name}": r.rounds
                                                  for r in rivals}}, indent=2) + "\n")


def _peer_of(ours):
    """The runtime that a file is written for."""
    return next(r.runtime for r in contestants()
                if r.target == ours.target and r.runtime != "phiq")


if __name__ == "__main__":
    sys.exit(main())
