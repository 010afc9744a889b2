#!/usr/bin/env python3
"""What rounding with feedback costs: `phiq calibrate --products` and `phiq quantize --solver gptq`
against NNCF's GPTQ, on the synthetic checkpoint of Phi-3.5-mini's shape, from the same tokens, to
the same OpenVINO form (4 bits with zero points, groups of 64). Tracing the checkpoint, which NNCF
needs first, is shown by itself and not counted. SPDX-License-Identifier: MIT"""

import argparse
import shutil
import sys
from pathlib import Path

import duel
from measure import Cost, measure

import common
import loss_make
from loss_rows import STEPS

TEXT = common.SHARED / "data" / "text" / "calibration.txt"


def checkpoint(a):
    folder = duel.ROOT / "build" / "bench" / f"phi-3.5-mini-{a.layers}l"
    if not (folder / "generation_config.json").exists():
        measure([sys.executable, loss_make.HERE / "make_checkpoint.py", folder, "--layers",
                 a.layers])
    return folder


def phiq(a, source):
    """Both commands as one cost, and each by itself."""
    program, stats = common.phiq_program(), a.work / "stats.gguf"
    learn = measure([program, "calibrate", source, "--text", a.calibration, "--window", a.window,
                     "--windows", a.windows, "--products", "-o", stats, "--quiet"])
    write = measure([program, "quantize", source, "--to", "openvino", "--scheme", "uint4g64",
                     "--solver", "gptq", "--imatrix", stats, "-o", a.work / "phiq", "--force",
                     "--quiet"])
    stats.unlink()
    both = Cost(learn.seconds + write.seconds, learn.cpu + write.cpu, max(learn.peak, write.peak),
                max(learn.peak_private, write.peak_private), "")
    return {"phiq calibrate": learn, "phiq quantize": write, "phiq, both": both}


def nncf(a, source):
    traced, python = a.work / "traced", loss_make.PEERS / "bin" / "python"
    words = {"source": source, "out": traced, "optimum": python.with_name("optimum-cli")}
    command = next(s.command for s in STEPS if s.name == "traced")
    trace = measure([str(x).format(**words) for x in command])
    work = measure([python, loss_make.HERE / "loss_tools.py", "nncf", source, traced,
                    a.work / "nncf", a.calibration, "INT4_ASYM", 64, f"samples={a.windows}",
                    f"length={a.window}", "gptq"])
    return {"optimum, tracing": trace, "NNCF GPTQ": work}


def main():
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--layers", type=int, default=8)
    p.add_argument("--windows", type=int, default=128)
    p.add_argument("--window", type=int, default=256)
    p.add_argument("--calibration", type=Path, default=TEXT)
    p.add_argument("--work", type=Path, default=duel.ROOT / "build" / "loss" / "speed")
    a = p.parse_args()
    if not a.calibration.exists():
        p.error(f"no {a.calibration}: name a text with --calibration")
    loss_make.peers_venv()
    source = checkpoint(a)
    shutil.rmtree(a.work, ignore_errors=True)
    a.work.mkdir(parents=True)
    costs = phiq(a, source) | nncf(a, source)
    ours, theirs = costs["phiq, both"], costs["NNCF GPTQ"]
    print(f"layers of Phi-3.5-mini's shape: {a.layers}; {a.windows} windows of {a.window} tokens\n\n"
          "| | seconds | CPU seconds | peak MB | unmapped MB |\n|---|---:|---:|---:|---:|")
    for name, c in costs.items():
        print(f"| {name} | {c.seconds:.0f} | {c.cpu:.0f} | {c.peak / 1e6:.0f} | "
              f"{c.peak_private / 1e6:.0f} |")
    print(f"\nNNCF / phiq: {theirs.seconds / ours.seconds:.1f} x the seconds, "
          f"{theirs.cpu / ours.cpu:.1f} x the CPU seconds, {theirs.peak / ours.peak:.1f} x the "
          f"memory, {theirs.peak_private / ours.peak_private:.1f} x without mapped pages")
    shutil.rmtree(a.work)


if __name__ == "__main__":
    sys.exit(main())
