"""One evaluator for all: `phiq eval` on the file that was written, phiq's or a peer's. Results are
kept by what was read, so a run again measures only what is new. SPDX-License-Identifier: MIT"""

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from loss_make import digest, digest_of_file

WEIGHTS = ("*.gguf", "*.safetensors", "*.safetensors.index.json", "model.onnx", "model.onnx.data",
           "openvino_model.xml", "openvino_model.bin")


@dataclass
class Text:
    """What is predicted, from its start."""
    name: str
    path: Path
    windows: int


def files_of(model):
    """The files of the weights: a GGUF, which holds the tokenizer too, or some of a folder."""
    model = Path(model)
    if model.is_file():
        return [model]
    return sorted(p for pattern in WEIGHTS for p in model.glob(pattern))


def with_tokenizer(model, source, folder):
    """A folder of links to a model's files and the checkpoint's own tokenizer. What transformers 5
    writes for the ORT builder and optimum has lost `add_bos_token`: the ids would differ."""
    model, taken = Path(model), {"tokenizer.json", "tokenizer.model", "tokenizer_config.json"}
    if model.is_file():
        return model
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    files = [p for p in model.iterdir() if p.name not in taken]
    for p in (*files, *(Path(source) / name for name in taken)):
        if p.exists():
            (folder / p.name).symlink_to(p.resolve())
    return folder


class Evaluator:
    def __init__(self, phiq, source, work):
        self.phiq, self.source, self.work = str(phiq), str(source), Path(work)
        self.version = self._phiq("--version").strip()
        self.work.mkdir(parents=True, exist_ok=True)

    def _phiq(self, *arguments):
        r = subprocess.run([self.phiq, *map(str, arguments)], stdin=subprocess.DEVNULL, text=True,
                           capture_output=True)
        if r.returncode != 0:
            raise RuntimeError((r.stderr.strip() or r.stdout.strip()).splitlines()[-1])
        return r.stdout

    def _kept(self, key, compute):
        path = self.work / f"{key[:32]}.json"
        if not path.exists():
            path.write_text(json.dumps(compute()))
        return json.loads(path.read_text())

    def size(self, model):
        """Bytes of the files, and bits per weight of what is in them."""
        info = json.loads(self._phiq("info", model, "--json"))
        return {"bytes": sum(p.stat().st_size for p in files_of(model)),
                "bits_per_weight": info["bits_per_weight"]}

    def loss(self, model, text):
        """The document of `phiq eval` against the checkpoint."""
        reference = self._reference(text)
        key = digest(self.version, *map(digest_of_file, files_of(model)), *self._protocol(text))
        opened = with_tokenizer(model, self.source, self.work / "open")
        return self._kept(key, lambda: self._eval(opened, text, "--ref", reference))

    def _protocol(self, text):
        return digest_of_file(text.path), text.windows, self.source

    def _reference(self, text):
        path = self.work / f"{digest(self.version, *self._protocol(text))[:32]}.logits"
        if not path.exists():
            self._eval(self.source, text, "--save-logits", path)
        return path

    def _eval(self, model, text, *options):
        return json.loads(self._phiq("eval", model, "--text", text.path, "--windows", text.windows,
                                     "--json", "--quiet", *options))
