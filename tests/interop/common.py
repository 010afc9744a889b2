"""What every interop test shares: where things are, how phiq is run, how arrays are read and
compared. SPDX-License-Identifier: MIT

Environment: PQ_PHIQ names the phiq program (default: the first build that has one)."""

import json
import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "tests" / "data" / "fixtures"
SAMPLE = ROOT / "models" / "phiq-sample"
SHARED = Path(os.environ.get("PQ_SHARED", ROOT.parent / "shared"))

# phimoe is refused in words until it has its own architecture row.
NAMES = ("phi2", "phi3-mini-4k", "phi3-mini-128k-sharded", "phi3-medium", "phi4", "phi4-mini")


def checkpoint(name):
    """The folder of a fixture, or of the sample model that ships."""
    return SAMPLE if name == "sample" else FIXTURES / name


def phiq_program():
    named = os.environ.get("PQ_PHIQ")
    if named:
        return named
    for build in ("release", "debug"):
        p = ROOT / "build" / build / "src" / "cli" / "phiq"
        if p.exists():
            return str(p)
    raise RuntimeError("no phiq program: set PQ_PHIQ or build one")


def phiq(*args, check=True, **kw):
    """Runs phiq without a terminal; failing runs raise with phiq's own words."""
    r = subprocess.run([phiq_program(), *map(str, args)], stdin=subprocess.DEVNULL,
                       capture_output=True, text=True, timeout=600, **kw)
    if check and r.returncode != 0:
        raise AssertionError(f"phiq {' '.join(map(str, args))}\nexit {r.returncode}\n"
                             f"{r.stdout}{r.stderr}")
    return r


def quantize(source, out, target, *options):
    """One target. Returns what a runtime opens: the GGUF file (first shard) or the MLX folder."""
    r = phiq("quantize", source, "--to", target, "-o", out, "--json", *options)
    return Path(json.loads(r.stdout)["targets"][0]["path"])


def recipes(target):
    """Every named scheme of a target, as `phiq schemes --json` lists them."""
    table = json.loads(phiq("schemes", "--json").stdout)
    return [r["name"] for r in table["targets"][target]["recipes"]]


# --- safetensors, read without any package that the program under test could share a bug with ----

_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2",
           "I8": "i1", "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?"}


def _array(raw, dtype, shape):
    if dtype == "BF16":
        wide = np.frombuffer(raw, "<u2").astype(np.uint32) << 16
        return wide.view(np.float32).reshape(shape)
    return np.frombuffer(raw, _DTYPES[dtype]).reshape(shape)


def read_safetensors(path):
    """{name: array}; bfloat16 is widened to float32, which is exact."""
    data = Path(path).read_bytes()
    n = int.from_bytes(data[:8], "little")
    header = json.loads(data[8:8 + n])
    out = {}
    for name, t in header.items():
        if name != "__metadata__":
            begin, end = t["data_offsets"]
            out[name] = _array(data[8 + n + begin:8 + n + end], t["dtype"], t["shape"])
    return out


def read_weights(folder):
    """All weight shards of a checkpoint or MLX folder, merged."""
    out = {}
    for path in sorted(Path(folder).glob("model*.safetensors")):
        out.update(read_safetensors(path))
    return out


def read_config(folder):
    return json.loads((Path(folder) / "config.json").read_text())


class Golden:
    """reference.safetensors of a checkpoint: what the Hugging Face implementation computed."""

    def __init__(self, name):
        t = read_safetensors(checkpoint(name) / "reference.safetensors")
        self.prompts = {int(k.rsplit("_", 1)[1]): t[k].tolist() for k in t if "input_ids" in k}
        self.logits = {n: t[f"logits_{n}"] for n in self.prompts}
        self.shortest = min(self.prompts)
        self.greedy = t["greedy_ids"].tolist()
        self.new_tokens = len(self.greedy) - self.shortest


def crosses(config, golden):
    """Does the stored continuation pass the length at which LongRoPE switches?"""
    original = config.get("original_max_position_embeddings", 1 << 30)
    return bool(config.get("rope_scaling")) and golden.shortest <= original < len(golden.greedy)


# --- comparing logits -----------------------------------------------------------------------------

def _log_softmax(x):
    x = x.astype(np.float64)
    x = x - x.max(axis=-1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))


def kld_by_position(reference, other):
    """The Kullback-Leibler divergence at every position, in nats."""
    p, q = _log_softmax(reference), _log_softmax(other)
    return (np.exp(p) * (p - q)).sum(axis=-1)


def mean_kld(reference, other):
    return float(kld_by_position(reference, other).mean())


def relative_error(reference, other):
    d = other.astype(np.float64) - reference
    return float(np.sqrt((d * d).sum() / (reference.astype(np.float64) ** 2).sum()))


class InteropTest(unittest.TestCase):
    """A test case with a scratch folder of its own, removed afterwards."""

    def setUp(self):
        self.tmp = Path(tempfile.mkdtemp(prefix="phiq-interop-"))
        self.addCleanup(shutil.rmtree, self.tmp, ignore_errors=True)

    def assert_close(self, reference, other, atol, what=""):
        self.assertEqual(reference.shape, other.shape, what)
        self.assertTrue(np.isfinite(other).all(), f"{what}: not finite")
        worst = float(np.abs(reference.astype(np.float64) - other).max())
        self.assertLessEqual(worst, atol, f"{what}: largest logit difference")
