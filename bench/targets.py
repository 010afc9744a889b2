#!/usr/bin/env python3
"""Choices for a target against the standard recipes at equal bytes, by phiq eval: the table of
docs/targets.md. SPDX-License-Identifier: MIT"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

# Per target: options of quantize that stand for a recipe.
RECIPES = {
    "gguf": ("-s q3_k_m", "-s iq4_xs", "-s pure-q4_k", "-s q4_k_s", "-s q4_k_m"),
    "mlx": ("-s affine3g64", "-s mixed_3_6", "-s affine4g64", "-s mixed_4_6"),
    "onnx": ("-s int4g32", "-s int4_mixed", "-s uint4_down", "--ratio 0.6"),
    "openvino": ("-s int4g128", "-s uint4g64", "--ratio 0.8", "--ratio 0.6"),
}


class Bench:
    def __init__(self, args, tmp):
        self.args, self.tmp, self.reference = args, tmp, tmp / "reference.logits"
        self.statistics = []

    def phiq(self, *words):
        r = subprocess.run([self.args.phiq, *map(str, words), "-q"], capture_output=True, text=True,
                           check=False)
        if r.returncode:
            raise SystemExit(f"phiq {' '.join(map(str, words))}: {r.stderr}")
        return r.stdout

    def prepare(self, targets):
        a = self.args
        if a.solver == "gptq":
            self.statistics = ["--imatrix", self.tmp / "stats.gguf"]
            self.phiq("calibrate", a.model, "--text", a.calibration, "--windows", 64, "--products",
                      "-o", self.tmp / "stats.gguf")
        self.phiq("sensitivity", a.model, "--to", ",".join(targets), "--text", a.calibration,
                  "-o", self.tmp / "sens.json", *self.statistics)
        self.phiq("eval", a.model, "--text", a.evaluation, "--windows", a.windows,
                  "--save-logits", self.reference)

    def measure(self, target, *words):
        """(the report's target, mean KL divergence) of one output."""
        out = self.phiq("quantize", self.args.model, "--to", target, "-o", self.tmp / "out", "-f",
                        "--json", *self.statistics, *words)
        row = json.loads(out)["targets"][0]
        out = self.phiq("eval", row["path"], "--ref", self.reference, "--text",
                        self.args.evaluation, "--windows", self.args.windows, "--json")
        return row, json.loads(out)["kl_divergence"]["mean"]

    def pair(self, target, recipe):
        row, kld = self.measure(target, *recipe.split())
        mix, least = self.measure(target, "--target-size", row["bytes"], "--sensitivity",
                                  self.tmp / "sens.json")
        name = row["scheme"] + (f", {recipe[2:]}" if "ratio" in recipe else "")
        print(f"| {target} | {name} | {row['bytes']} | {kld:.5f} | {mix['bytes']} | "
              f"{least:.5f} | {least / kld:.2f} | {mix['mix']['expected_kld']:.5f} |", flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("phiq")
    p.add_argument("model")
    p.add_argument("calibration", help="text that sensitivity is measured on")
    p.add_argument("evaluation", help="another text, that nothing was chosen on")
    p.add_argument("--to", default=",".join(RECIPES))
    p.add_argument("--solver", default="search", choices=("search", "gptq"))
    p.add_argument("--windows", type=int, default=24, help="of the evaluation text")
    args = p.parse_args()
    targets = args.to.split(",")
    with tempfile.TemporaryDirectory(prefix="phiq-targets-") as tmp:
        b = Bench(args, Path(tmp))
        b.prepare(targets)
        print("| target | recipe | bytes | KLD | bytes chosen for | KLD | ratio | expected |\n"
              "|---|---|---|---|---|---|---|---|")
        for t in targets:
            for r in RECIPES[t]:
                b.pair(t, r)


if __name__ == "__main__":
    main()
