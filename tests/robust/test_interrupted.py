"""Outputs appear whole or not at all: killed at random moments, interrupted, out of space. And the
bytes do not depend on the number of threads. SPDX-License-Identifier: MIT

PQ_KILLS sets how often the run is killed (default 100); the moments are drawn from PQ_SEED."""

import hashlib
import os
import random
import resource
import signal
import subprocess
import sys
import time
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "interop"))

from common import ROOT, SAMPLE, InteropTest, phiq, phiq_program  # noqa: E402
from gguf_file import GgufFile  # noqa: E402

KILLS = int(os.environ.get("PQ_KILLS", "100"))
SEED = int(os.environ.get("PQ_SEED", "1"))
# About 40 MB of weights: long enough to be hit in every stage.
SHAPE = {"layers": 2, "hidden": 768, "ff": 2048, "heads": 12, "vocab": 4096}
EXIT_IO, EXIT_CANCELLED = 2, 6


def files(folder):
    return sorted(p for p in Path(folder).rglob("*") if p.is_file())


def digests(folder):
    """{relative name: SHA-256} of every file below, unfinished ones included."""
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
            for p in files(folder)}


def finished(all_files):
    """Those under names that a user would open: not in or under a name that ends in .part."""
    return {name: digest for name, digest in all_files.items() if ".part" not in name}


def start(*args, **kw):
    return subprocess.Popen([phiq_program(), *map(str, args)], stdin=subprocess.DEVNULL,
                            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, **kw)


class Interrupted(InteropTest):
    @classmethod
    def setUpClass(cls):
        cls.source = ROOT / "build" / "robust-checkpoint"
        if not (cls.source / "generation_config.json").exists():  # the last one written
            options = [f"--{k}={v}" for k, v in SHAPE.items()]
            subprocess.run([sys.executable, ROOT / "bench" / "make_checkpoint.py", cls.source,
                            *options], check=True, stdout=subprocess.DEVNULL)

    def arguments(self, out, solver="search", *more):
        return ("quantize", self.source, "--to", "gguf,mlx", "-o", out, "--solver", solver,
                "--threads", 4, "--quiet", *more)

    def undisturbed(self, solver):
        """What a run writes when it is left alone, and how long that takes."""
        out, began = self.tmp / f"whole-{solver}", time.monotonic()
        phiq(*self.arguments(out, solver))
        return digests(out), time.monotonic() - began

    def disturb(self, arguments, moment, number):
        with start(*arguments) as child:
            time.sleep(moment)
            child.send_signal(number)
            words = child.stderr.read()
        return child.returncode, words


class Killed(Interrupted):
    def unit(self, name):
        """What must be whole by itself: a GGUF file, or the MLX folder."""
        return "mlx" if name.startswith("mlx/") else name

    def assert_whole(self, found, allowed):
        """Each finished unit is, file by file, that of one of the allowed runs."""
        for unit in {self.unit(name) for name in found}:
            part = {n: d for n, d in found.items() if self.unit(n) == unit}
            whole = [{n: d for n, d in run.items() if self.unit(n) == unit} for run in allowed]
            self.assertIn(part, whole, f"{unit} is not what any run writes")

    def test_into_an_empty_folder(self):
        whole, seconds = self.undisturbed("search")
        rng, killed, runs = random.Random(SEED), 0, 0
        while killed < KILLS and runs < 4 * KILLS:
            out, runs = self.tmp / f"kill-{runs}", runs + 1
            # Every other time near the end, where outputs are verified and renamed.
            moment = rng.uniform(0.75 if runs % 2 else 0, 1.05) * seconds
            status, _ = self.disturb(self.arguments(out), moment, signal.SIGKILL)
            hit = status == -signal.SIGKILL
            killed += hit
            seconds *= 1.01 if hit else 0.97  # the machine's speed changes under other load
            self.assert_whole(finished(digests(out)), [whole])
            if runs % 10 == 0:  # what a killed run leaves behind is in nobody's way
                phiq(*self.arguments(out, "search", "--force"))
                self.assertEqual(digests(out), whole)
            subprocess.run(["rm", "-rf", out], check=True)
        print(f"killed {killed} of {runs} runs before they ended")
        self.assertEqual(killed, KILLS)

    def test_while_replacing(self):
        """An existing output stays until the new one takes its place."""
        old, _ = self.undisturbed("rtn")
        new, seconds = self.undisturbed("search")
        self.assertNotEqual(old, new)
        rng, out = random.Random(SEED + 1), self.tmp / "whole-rtn"
        for _ in range(max(10, KILLS // 5)):
            self.disturb(self.arguments(out, "search", "--force"),
                         rng.uniform(0.5 * seconds, 1.1 * seconds), signal.SIGKILL)
            found = finished(digests(out))
            self.assertEqual(found.keys(), old.keys())
            self.assert_whole(found, [old, new])

    def test_finished_outputs_are_what_readers_accept(self):
        out = self.tmp / "out"
        phiq(*self.arguments(out))
        for path in (*(out / "gguf").iterdir(), out / "mlx"):
            phiq("info", path)
        [gguf] = (out / "gguf").iterdir()
        self.assertGreater(len(GgufFile(gguf).weights()), 10)


class Cancelled(Interrupted):
    def test_nothing_is_left(self):
        whole, seconds = self.undisturbed("search")
        rng, cancelled = random.Random(SEED + 2), 0
        for i in range(max(10, KILLS // 5)):
            out = self.tmp / f"cancel-{i}"
            number = signal.SIGINT if i % 2 else signal.SIGTERM
            # Not in the first moments: before the handler is there the process just dies.
            status, words = self.disturb(self.arguments(out), rng.uniform(0.1, seconds), number)
            if status == 0:
                self.assertEqual(digests(out), whole)
                continue
            cancelled += 1
            self.assertEqual(status, EXIT_CANCELLED, words)
            self.assertEqual(files(out), [], "left behind")
        print(f"cancelled {cancelled} runs")
        self.assertGreater(cancelled, 3)


class OutOfSpace(Interrupted):
    def assert_refused(self, out, status, words):
        self.assertEqual(status, EXIT_IO, words)
        self.assertEqual(files(out), [], "left behind")
        self.assertRegex(words.lower(), "space|large|full")
        self.assertRegex(words, r"gguf|mlx")

    def test_file_size_limit(self):
        """A file that may not grow past a megabyte: writes fail in the midst of it."""
        def limit():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
        out = self.tmp / "limited"
        with start(*self.arguments(out), preexec_fn=limit) as child:
            words = child.stderr.read()
        self.assert_refused(out, child.returncode, words)

    def test_full_disk(self):
        disk = self.tmp / "disk"
        disk.mkdir()
        mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "phiq-test", disk],
                               capture_output=True, text=True)
        if mount.returncode != 0:
            self.skipTest(f"cannot mount a small disk: {mount.stderr.strip()}")
        self.addCleanup(subprocess.run, ["umount", disk], check=True)
        with start(*self.arguments(disk / "out")) as child:
            words = child.stderr.read()
        self.assert_refused(disk / "out", child.returncode, words)


class Threads(Interrupted):
    def test_same_bytes(self):
        for source in (self.source, SAMPLE):
            runs = []
            for n in (1, 2, 7):
                out = self.tmp / f"{source.name}-{n}"
                phiq("quantize", source, "--to", "gguf,mlx", "-o", out, "--threads", n, "--quiet")
                runs.append(digests(out))
            self.assertEqual(runs[0], runs[1])
            self.assertEqual(runs[0], runs[2])


if __name__ == "__main__":
    unittest.main()
