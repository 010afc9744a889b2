"""OpenVINO and OpenVINO GenAI as they are, on the CPU: logits of all positions, greedy
continuation, the operators that the plugin made of a graph. SPDX-License-Identifier: MIT"""

import os
from collections import Counter
from pathlib import Path

os.environ.setdefault("OPENVINO_TELEMETRY_DISABLED", "1")

import numpy as np
import openvino as ov
import openvino_genai as genai

# Arithmetic and cache in single precision, activations not rounded to 8 bits.
EXACT = {"INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "f32",
         "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"}


class OpenVino:
    """The model of a folder in the runtime itself, its state kept from step to step."""

    def __init__(self, folder, properties=EXACT):
        path = Path(folder) / "openvino_model.xml"
        self.compiled = ov.Core().compile_model(str(path), "CPU", properties)

    def operators(self):
        """How often each kind of operator is in the graph that runs."""
        return Counter(str(op.get_rt_info()["layerType"].value)
                       for op in self.compiled.get_runtime_model().get_ops())

    def weight_types(self):
        """The element types of the constants that the matrix products read."""
        found = Counter()
        for op in self.compiled.get_runtime_model().get_ops():
            if str(op.get_rt_info()["layerType"].value) == "FullyConnected":
                found[op.input_value(1).get_node().get_output_element_type(0).to_string()] += 1
        return found

    def steps(self, ids, sizes):
        """Logits of all positions, computed in steps of these sizes with the runtime's cache."""
        request, out, n = self.compiled.create_infer_request(), [], 0
        for size in sizes:
            feed = {"input_ids": np.array([ids[n:n + size]], np.int64),
                    "attention_mask": np.ones((1, n + size), np.int64),
                    "position_ids": np.arange(n, n + size, dtype=np.int64)[None],
                    "beam_idx": np.zeros(1, np.int32)}
            out.append(request.infer(feed)["logits"][0].astype(np.float32))
            n += size
        return np.concatenate(out)

    def logits(self, ids):
        return self.steps(ids, [len(ids)])

    def greedy(self, ids, n):
        """All ids; with the runtime's cache."""
        request, out = self.compiled.create_infer_request(), list(ids)
        fed = 0
        for _ in range(n):
            feed = {"input_ids": np.array([out[fed:]], np.int64),
                    "attention_mask": np.ones((1, len(out)), np.int64),
                    "position_ids": np.arange(fed, len(out), dtype=np.int64)[None],
                    "beam_idx": np.zeros(1, np.int32)}
            fed = len(out)
            out.append(int(request.infer(feed)["logits"][0, -1].argmax()))
        return out


class GenAi:
    """LLMPipeline; paged: with continuous batching, that is through PagedAttention."""

    def __init__(self, folder, paged, properties=EXACT):
        how = ({"scheduler_config": genai.SchedulerConfig()} if paged
               else {"ATTENTION_BACKEND": "SDPA"})
        self.pipeline = genai.LLMPipeline(str(folder), "CPU", **how, **properties)

    @staticmethod
    def _config(n):
        config = genai.GenerationConfig()
        config.max_new_tokens = n
        config.do_sample = False
        config.ignore_eos = True
        return config

    def greedy(self, ids, n):
        tokens = ov.Tensor(np.array([ids], np.int64))
        mask = ov.Tensor(np.ones((1, len(ids)), np.int64))
        result = self.pipeline.generate(genai.TokenizedInputs(tokens, mask), self._config(n))
        return [*ids, *result.tokens[0]]

    def text(self, prompt, n, chat=False):
        """The answer to a string, and the pieces in which it was streamed."""
        config, pieces = self._config(n), []
        config.apply_chat_template = chat
        config.ignore_eos = False
        answer = self.pipeline.generate(prompt, config, lambda piece: pieces.append(piece))
        return str(answer), pieces
