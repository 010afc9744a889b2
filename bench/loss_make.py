"""Makes what bench/loss_vs_peers.py compares, or finds it where an earlier run left it: one folder
per output, with what it cost. SPDX-License-Identifier: MIT"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from loss_rows import STEPS, Row, Step
from measure import measure

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PEERS = Path(os.environ.get("PQ_PEERS_VENV", ROOT / "build" / "peers"))
NOT_MADE = "not made yet"
FAILED = re.compile(r"error|not supported|refuse|fail|NYI|cannot|no module", re.I)

os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "DO_NOT_TRACK": "1",
               "OPENVINO_TELEMETRY_DISABLED": "1", "CUDA_VISIBLE_DEVICES": ""}


@dataclass
class Made:
    """An output on disk. `error` holds the tool's words where it failed."""
    path: str = ""
    cpu: float = 0.0
    seconds: float = 0.0
    peak: int = 0
    error: str = ""

    def after(self, other):
        """With the cost of what had to be made before."""
        return Made(self.path, self.cpu + other.cpu, self.seconds + other.seconds,
                    max(self.peak, other.peak), other.error or self.error)


def peers_venv():
    """build/peers, made when it is not there or its list has changed."""
    wanted = HERE / "peers-requirements.txt"
    stamp, want = PEERS / ".phiq-stamp", wanted.read_text()
    if not stamp.exists() or stamp.read_text() != want:
        print(f"making {PEERS}: PyTorch and the tools that need it, several GB", flush=True)
        subprocess.run([sys.executable, "-m", "venv", PEERS], check=True)
        subprocess.run([PEERS / "bin" / "pip", "install", "-q", "-r", wanted], check=True)
        stamp.write_text(want)


def digest(*parts):
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()


def digest_of_file(path):
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def model_in(folder):
    """What opens below a folder that a tool wrote: a GGUF file, or the folder of the weights."""
    for pattern in ("*.gguf", "openvino_model.xml", "model.onnx", "model*.safetensors"):
        for path in sorted(folder.rglob(pattern)):
            return path if path.suffix == ".gguf" else path.parent
    raise FileNotFoundError(f"no model below {folder}")


def last_words(text):
    """The line of a failing tool's output that says why."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if FAILED.search(line)]
    return (telling or lines or ["no words"])[-1][:200]


class Maker:
    """`kept`: peers are shown as far as earlier runs have made them."""

    def __init__(self, source, text, work, phiq, kept=False):
        self.kept = kept
        self.steps = {s.name: s for s in STEPS}
        self.work, self.known = work, {}
        self.words = {"source": source, "text": text, "here": HERE, "phiq": phiq,
                      "venv": sys.executable, "peers": PEERS / "bin" / "python",
                      "optimum": PEERS / "bin" / "optimum-cli"}
        weights = [digest_of_file(p) for p in sorted(Path(source).glob("*.safetensors"))]
        self.inputs = digest(*weights, digest_of_file(text))
        self.phiq_digest = digest_of_file(phiq)

    def make(self, what: Row | Step):
        """The output of a row or a step, its cost with that of the steps before it. Seconds are
        those of this machine when it was made."""
        name = what.name if isinstance(what, Step) else f"{what.container}-{what.maker}-{what.name}"
        if name not in self.known:
            self.known[name] = self._with_steps(name, what)
        return self.known[name]

    def _with_steps(self, name, what):
        used = {w for part in what.command for w in re.findall(r"\{(\w+)\}", str(part))}
        needs = [self.make(self.steps[w]) for w in sorted(used & self.steps.keys())]
        before = Made()
        for n in needs:
            before = before.after(n)
        if before.error:
            return before
        out = self.work / re.sub(r"[^\w.]+", "-", name)
        made = self._cached(out, what)
        if isinstance(what, Step) and not made.error:
            found = sorted(out.glob(what.result)) if what.result != "." else [out]
            made.path = self.words[what.name] = str(found[0])
        return made.after(before)

    def _cached(self, out, what):
        """Anew when the command, the checkpoint, the text or, for its own outputs, phiq changed."""
        mine = self.phiq_digest if "{phiq}" in what.command else ""
        stamp, note = digest(self.inputs, mine, *what.command), Path(f"{out}.json")
        if note.exists():
            old = json.loads(note.read_text())
            if old.pop("stamp") == stamp:
                return Made(**old)
        if self.kept and not mine:
            return Made(error=NOT_MADE)
        made = self._run(out, what)
        note.write_text(json.dumps(asdict(made) | {"stamp": stamp}))
        return made

    def _run(self, out, what):
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        command = [str(p).format(out=out, **self.words) for p in what.command]
        print(f"making {out.name}", flush=True)
        try:
            cost = measure(command)
            path = "" if isinstance(what, Step) else str(model_in(out))
        except (RuntimeError, FileNotFoundError) as e:
            Path(f"{out}.log").write_text(str(e))
            return Made(error=last_words(str(e)))
        return Made(path, cost.cpu, cost.seconds, cost.peak)
