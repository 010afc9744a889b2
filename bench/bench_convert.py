#!/usr/bin/env python3
"""Conversion speed and memory against the peers, alternating in one run, on a synthetic checkpoint
of Phi-3.5-mini's shape. Ratios are between medians of the same run; absolute times are this
machine's. SPDX-License-Identifier: MIT"""

import argparse
import json
import os
import shutil
import statistics
import sys
from dataclasses import dataclass, field
from pathlib import Path

from measure import measure

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
# llama.cpp's numbers of its file types (enum llama_ftype).
Q4_0, Q8_0, Q4_K_M = 2, 7, 15


@dataclass
class Job:
    group: str   # jobs of one group make the same kind of output
    tool: str
    command: list
    inner: bool = False  # the program prints the seconds of its work, start-up left out
    costs: list = field(default_factory=list)
    bytes: int = 0

    def seconds(self):
        return statistics.median(float(c.output.split()[-1]) if self.inner else c.seconds
                                 for c in self.costs)

    def median(self, name):
        return statistics.median(getattr(c, name) for c in self.costs)


def size_of(path):
    files = [p for p in path.rglob("*") if p.is_file()] if path.is_dir() else [path]
    return sum(p.stat().st_size for p in files)


class Bench:
    def __init__(self, a):
        self.a, self.work = a, a.work
        self.scratch = self.work / "out"
        self.weights = sorted(a.checkpoint.glob("*.safetensors"))
        self.source_bytes = sum(p.stat().st_size for p in self.weights)
        self.bf16 = None

    def clean(self):
        shutil.rmtree(self.scratch, ignore_errors=True)
        self.scratch.mkdir(parents=True)

    def phiq(self, group, target, scheme, solver):
        command = [self.a.phiq, "quantize", self.a.checkpoint, "--to", target, "--scheme", scheme,
                   "--solver", solver, "-j", self.a.threads, "-o", self.scratch / "x", "--quiet"]
        return Job(group, f"phiq {solver}", command)

    def peer(self, group, tool, *arguments):
        return Job(group, {"llama": "llama-quantize", "mlx": "mlx_lm.convert"}[tool],
                   [sys.executable, HERE / "peers.py", tool, *arguments], inner=True)

    def copy(self, group):
        """Completed with the size of phiq's output once that is known."""
        return Job(group, "copy of the bytes", [sys.executable, HERE / "peers.py", "copy",
                                                self.scratch / "copy"], inner=True)

    def jobs(self):
        out = self.scratch / "peer"
        for name, number in (("Q4_0", Q4_0), ("Q8_0", Q8_0), ("Q4_K_M", Q4_K_M)):
            yield self.phiq(name, "gguf", name.lower(), "search")
            yield self.phiq(name, "gguf", name.lower(), "rtn")
            yield self.copy(name)
            yield self.peer(name, "llama", self.bf16, out, number, self.a.threads)
        name = "MLX 4 bit g64"
        yield self.phiq(name, "mlx", "affine4g64", "search")
        yield self.phiq(name, "mlx", "affine4g64", "rtn")
        yield self.copy(name)
        yield self.peer(name, "mlx", self.a.checkpoint, out, 4, 64)

    def make_bf16(self):
        """llama-quantize reads GGUF only: its users first write this file."""
        self.bf16 = self.work / "bf16.gguf"
        self.clean()
        cost = measure([self.a.phiq, "quantize", self.a.checkpoint, "--to", "gguf", "--precision",
                        "bf16", "-o", self.scratch / "x", "--quiet"])
        [made] = (self.scratch / "x" / "gguf").glob("*.gguf")
        made.replace(self.bf16)
        return cost.seconds

    def evict(self):
        """Forgets the source's pages, so that it is read from the disk."""
        for path in [*self.weights, self.bf16]:
            fd = os.open(path, os.O_RDONLY)
            os.fsync(fd)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(fd)

    def run_job(self, job, written):
        self.clean()
        command = list(job.command)
        if job.tool == "copy of the bytes":
            command += [written[job.group], *self.weights]
        if self.a.cold:
            self.evict()
        job.costs.append(measure(command))
        job.bytes = size_of(self.scratch)
        if job.tool.startswith("phiq"):
            written[job.group] = job.bytes
        os.sync()  # nobody pays for another's dirty pages

    def run(self):
        seconds = self.make_bf16()
        print(f"source: {self.source_bytes / 1e9:.2f} GB of safetensors, "
              f"{'cold' if self.a.cold else 'in the page cache'}; {self.a.threads} threads; "
              f"medians of {self.a.runs}")
        print(f"the bf16 GGUF that llama-quantize reads was made by phiq in {seconds:.2f} s, "
              "not counted below")
        jobs, written = list(self.jobs()), {}
        for turn in range(self.a.runs):
            for job in jobs:
                print(f"\r\033[Krun {turn + 1}: {job.group} {job.tool}", end="", file=sys.stderr)
                self.run_job(job, written)
        print("\r\033[K", end="", file=sys.stderr)
        self.bf16.unlink()
        shutil.rmtree(self.scratch)
        return jobs


def rows(jobs, source_bytes):
    """One dict per job; ratios are against the copy and against phiq's search of the same group."""
    first = {j.group: j for j in reversed(jobs) if j.tool == "phiq search"}
    copies = {j.group: j for j in jobs if j.tool == "copy of the bytes"}
    for j in jobs:
        s = j.seconds()
        yield {"output": j.group, "tool": j.tool, "seconds": s, "gb_per_s": source_bytes / 1e9 / s,
               "cpu_seconds": j.median("cpu"), "peak_rss_mb": j.median("peak") / 1e6,
               "beyond_mapped_mb": j.median("peak_private") / 1e6, "output_mb": j.bytes / 1e6,
               "times_copy": s / copies[j.group].seconds(),
               "times_phiq": s / first[j.group].seconds()}


COLUMNS = (("output", "{:<14}", "output"), ("tool", "{:<18}", "tool"),
           ("seconds", "{:>8.2f}", "seconds"), ("gb_per_s", "{:>6.2f}", "GB/s"),
           ("cpu_seconds", "{:>7.1f}", "CPU s"), ("peak_rss_mb", "{:>9.0f}", "peak MB"),
           ("beyond_mapped_mb", "{:>11.0f}", "not mapped"), ("output_mb", "{:>8.0f}", "out MB"),
           ("times_copy", "{:>7.2f}", "x copy"), ("times_phiq", "{:>7.2f}", "x phiq"))


def print_table(table):
    def line(cells):
        print(" ".join(cells))
    heads = []
    for _, form, head in COLUMNS:
        width = form[2:].split(".")[0].rstrip("}")
        heads.append(f"{head:{width}}")
    line(heads)
    previous = None
    for row in table:
        if previous not in (None, row["output"]):
            print()
        previous = row["output"]
        line(form.format(row[key]) for key, form, _ in COLUMNS)
    print("\nGB/s: of source bytes. peak MB: resident with mapped pages; not mapped: without.\n"
          "x copy: against reading the source and writing the output once (the storage limit).\n"
          "x phiq: against phiq's search. Peers: interpreter start not counted, outputs not\n"
          "synced (phiq and the copy sync theirs); llama-quantize needs the bf16 GGUF first.")


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--phiq", type=Path,
                   default=os.environ.get("PQ_PHIQ", ROOT / "build/release/src/cli/phiq"))
    p.add_argument("--work", type=Path, default=ROOT / "build" / "bench")
    p.add_argument("--checkpoint", type=Path, help="default: made under the work folder")
    p.add_argument("--layers", type=int, default=8, help="of the synthetic checkpoint")
    p.add_argument("--runs", type=int, default=3)
    p.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    p.add_argument("--cold", action="store_true", help="read the source from the disk each time")
    p.add_argument("--json", type=Path, help="also write the table here")
    a = p.parse_args()
    if not a.checkpoint:
        a.checkpoint = a.work / f"phi-3.5-mini-{a.layers}l"
        if not (a.checkpoint / "generation_config.json").exists():  # the last one written
            measure([sys.executable, HERE / "make_checkpoint.py", a.checkpoint, "--layers",
                     a.layers])
    bench = Bench(a)
    table = list(rows(bench.run(), bench.source_bytes))
    print_table(table)
    if a.json:
        a.json.write_text(json.dumps(table, indent=2) + "\n")


if __name__ == "__main__":
    main()
