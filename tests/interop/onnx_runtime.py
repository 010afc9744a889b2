"""ONNX Runtime and its generate() API as they are, on the CPU: logits of all positions, greedy
continuation, and a folder's weights. SPDX-License-Identifier: MIT"""

import json
import os
from pathlib import Path

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import numpy as np
import onnx
import onnxruntime as ort
import onnxruntime_genai as og


class Onnx:
    """A folder in the generate() API."""

    def __init__(self, folder):
        self.model = og.Model(str(folder))
        self.tokenizer = og.Tokenizer(self.model)

    def _generator(self, length):
        params = og.GeneratorParams(self.model)
        params.set_search_options(max_length=length, do_sample=False, batch_size=1)
        return og.Generator(self.model, params)

    def logits(self, ids):
        g = self._generator(len(ids) + 1)
        g.append_tokens(np.array([ids], dtype=np.int32))
        return g.get_output("logits")[0].astype(np.float32)

    def greedy(self, ids, n):
        """With the runtime's own cache and search; end tokens do not stop it here."""
        g = self._generator(len(ids) + n)
        g.append_tokens(np.array([ids], dtype=np.int32))
        while len(g.get_sequence(0)) < len(ids) + n:
            if g.is_done():  # an end token: go on with it as with any other
                last = [int(g.get_sequence(0)[-1])]
                g = self._generator(len(ids) + n)
                g.append_tokens(np.array([[*ids, *last]], dtype=np.int32))
            g.generate_next_token()
        return [int(t) for t in g.get_sequence(0)]

    def step_logits(self, ids, n):
        """n more tokens: all ids, and the logits from which the last one was taken."""
        g = self._generator(len(ids) + n)
        g.append_tokens(np.array([ids], dtype=np.int32))
        for _ in range(n):
            g.generate_next_token()
        logits = g.get_output("logits")[0, -1].astype(np.float32)
        return [int(t) for t in g.get_sequence(0)], logits


LEVELS = {"all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
          "none": ort.GraphOptimizationLevel.ORT_DISABLE_ALL}


def _in_single_precision(folder):
    """The same model with kernels that do not round activations to 8 bits."""
    model = onnx.load(str(Path(folder) / "model.onnx"), load_external_data=False)
    for node in model.graph.node:
        for a in node.attribute:
            if a.name == "accuracy_level":
                a.i = 1
    path = Path(folder) / "single.onnx"
    path.write_bytes(model.SerializeToString())
    return path


class Session:
    """model.onnx in ONNX Runtime itself, without the generate() API."""

    def __init__(self, folder, level="all", single=False):
        options = ort.SessionOptions()
        options.graph_optimization_level = LEVELS[level]
        options.log_severity_level = 3
        path = _in_single_precision(folder) if single else Path(folder) / "model.onnx"
        self.session = ort.InferenceSession(str(path), options,
                                            providers=["CPUExecutionProvider"])
        self.inputs = {i.name: i for i in self.session.get_inputs()}
        config = json.loads((Path(folder) / "genai_config.json").read_text())
        self.head_size = config["model"]["decoder"]["head_size"]

    def _empty(self, value):
        """The model builder gives the size of a head a name."""
        kind = {"tensor(float)": np.float32, "tensor(float16)": np.float16}[value.type]
        return np.zeros((1, value.shape[1], 0, self.head_size), kind)

    def logits(self, ids):
        n = len(ids)
        feed = {"input_ids": [ids], "attention_mask": [[1] * n], "position_ids": [list(range(n))]}
        feed = {k: np.array(v, np.int64) for k, v in feed.items() if k in self.inputs}
        feed |= {k: self._empty(v) for k, v in self.inputs.items() if k.startswith("past")}
        return self.session.run(["logits"], feed)[0][0].astype(np.float32)

    def greedy(self, ids, n):
        """Without a cache: everything computed anew for each token."""
        ids = list(ids)
        for _ in range(n):
            ids.append(int(self.logits(ids)[-1].argmax()))
        return ids


def check(folder):
    """onnx.checker with external data, types and shapes; raises."""
    onnx.checker.check_model(str(Path(folder) / "model.onnx"), full_check=True)
