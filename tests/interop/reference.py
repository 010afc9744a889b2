"""Phi-3 and Phi, computed in float64 from their description alone: the oracle of the interop tests.

It takes any weights (a checkpoint's own, or those that a quantized file decodes to) and can follow
a runtime's rule where that runtime is known to compute something else than Hugging Face does:
`window=False` ignores the sliding window (llama.cpp, mlx-lm) and `rope="long"` takes the long rope
factors whatever the length (mlx-lm always; llama.cpp when its context is above the original one).
SPDX-License-Identifier: MIT"""

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Rule:
    window: bool = True
    rope: str = "auto"  # "auto": by length, as Hugging Face; "short"; "long"


HUGGING_FACE = Rule()


def _positive(value):
    return value is not None and value > 0


class Config:
    """The few numbers of config.json that the arithmetic needs."""

    def __init__(self, c):
        self.phi3 = c["model_type"] == "phi3"
        self.layers = c["num_hidden_layers"]
        self.heads = c["num_attention_heads"]
        self.kv_heads = c.get("num_key_value_heads") or self.heads
        self.head_dim = c.get("head_dim") or c["hidden_size"] // self.heads
        self.tied = c.get("tie_word_embeddings", False)
        self.eps = c["rms_norm_eps"] if self.phi3 else c["layer_norm_eps"]
        self.window = c["sliding_window"] if _positive(c.get("sliding_window")) else None
        self.theta = c["rope_theta"]
        fraction = c.get("partial_rotary_factor", 1.0 if self.phi3 else 0.5)
        self.rotated = int(self.head_dim * fraction)
        self.original = c.get("original_max_position_embeddings", c["max_position_embeddings"])
        self.stretch = c["max_position_embeddings"] / self.original
        scaling = c.get("rope_scaling")
        self.factors = scaling and {k: scaling[f"{k}_factor"] for k in ("short", "long")}

    def attention_factor(self):
        if not self.factors or self.stretch <= 1:
            return 1.0
        return math.sqrt(1 + math.log(self.stretch) / math.log(self.original))


def _rms_norm(x, w, _, eps):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * w


def _layer_norm(x, w, b, eps):
    x = x - x.mean(-1, keepdims=True)
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * w + b


def _silu(x):
    return x / (1 + np.exp(-x))


def _gelu_tanh(x):
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x ** 3)))


def _softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


class Phi:
    """weights: {Hugging Face tensor name: array}."""

    def __init__(self, config, weights):
        self.c = Config(config)
        self.w = {k: np.asarray(v, np.float64) for k, v in weights.items()}
        self.inputs = {}  # of the linears, as of the last call of logits

    def _product(self, x, name):
        self.inputs[name] = x
        return x @ self.w[name].T

    def _linear(self, x, name):
        y = self._product(x, f"{name}.weight")
        bias = self.w.get(f"{name}.bias")
        return y if bias is None else y + bias

    def _norm(self, x, name):
        f = _rms_norm if self.c.phi3 else _layer_norm
        return f(x, self.w[f"{name}.weight"], self.w.get(f"{name}.bias"), self.c.eps)

    def _angles(self, n, rope):
        c = self.c
        freq = c.theta ** (-np.arange(0, c.rotated, 2) / c.rotated)
        if c.factors:
            if rope == "auto":
                rope = "long" if n > c.original else "short"
            freq = freq / np.asarray(c.factors[rope])
        return np.outer(np.arange(n), freq)

    def _rotate(self, x, angles):
        """x: [heads, n, head_dim]; the two halves of the rotated part are the two coordinates."""
        half = self.c.rotated // 2
        cos, sin = (f(angles) * self.c.attention_factor() for f in (np.cos, np.sin))
        a, b, rest = x[..., :half], x[..., half:2 * half], x[..., 2 * half:]
        return np.concatenate([a * cos - b * sin, b * cos + a * sin, rest], -1)

    def _qkv(self, x, prefix):
        c, n = self.c, len(x)
        if c.phi3:
            q, kv = c.heads * c.head_dim, c.kv_heads * c.head_dim
            parts = np.split(self._linear(x, f"{prefix}.qkv_proj"), [q, q + kv], -1)
        else:
            parts = [self._linear(x, f"{prefix}.{p}_proj") for p in "qkv"]
        return [p.reshape(n, -1, c.head_dim).transpose(1, 0, 2) for p in parts]

    def _mask(self, n, window):
        i, j = np.mgrid[:n, :n]
        seen = j <= i
        if window and self.c.window:
            seen &= i - j < self.c.window
        return np.where(seen, 0.0, -np.inf)

    def _attention(self, x, prefix, angles, mask):
        q, k, v = self._qkv(x, prefix)
        q, k = self._rotate(q, angles), self._rotate(k, angles)
        share = self.c.heads // self.c.kv_heads
        k, v = k.repeat(share, 0), v.repeat(share, 0)
        p = _softmax(q @ k.transpose(0, 2, 1) / math.sqrt(self.c.head_dim) + mask)
        y = (p @ v).transpose(1, 0, 2).reshape(len(x), -1)
        return self._linear(y, f"{prefix}.o_proj" if self.c.phi3 else f"{prefix}.dense")

    def _mlp(self, x, prefix):
        if not self.c.phi3:
            return self._linear(_gelu_tanh(self._linear(x, f"{prefix}.fc1")), f"{prefix}.fc2")
        gate, up = np.split(self._linear(x, f"{prefix}.gate_up_proj"), 2, -1)
        return self._linear(up * _silu(gate), f"{prefix}.down_proj")

    def _layer(self, h, prefix, angles, mask):
        x = self._norm(h, f"{prefix}.input_layernorm")
        attention = self._attention(x, f"{prefix}.self_attn", angles, mask)
        if not self.c.phi3:  # both branches see the same input
            return h + attention + self._mlp(x, f"{prefix}.mlp")
        h = h + attention
        return h + self._mlp(self._norm(h, f"{prefix}.post_attention_layernorm"), f"{prefix}.mlp")

    def logits(self, ids, rule=HUGGING_FACE):
        """[len(ids), vocabulary]"""
        h = self.w["model.embed_tokens.weight"][np.asarray(ids)]
        angles, mask = self._angles(len(ids), rule.rope), self._mask(len(ids), rule.window)
        for i in range(self.c.layers):
            h = self._layer(h, f"model.layers.{i}", angles, mask)
        h = self._norm(h, "model.norm" if self.c.phi3 else "model.final_layernorm")
        if self.c.tied:
            return self._product(h, "model.embed_tokens.weight")
        return self._linear(h, "lm_head")

    def greedy(self, ids, n, rule=HUGGING_FACE):
        """ids and n more, each the likeliest; the whole sequence is computed anew for each token,
        as Hugging Face does when a LongRoPE model crosses its original context."""
        ids = list(ids)
        for _ in range(n):
            ids.append(int(self.logits(ids, rule)[-1].argmax()))
        return ids


def round_activations(x, block):
    """To 8 bits: the largest of each run of `block` columns becomes 127."""
    n, cols = x.shape
    padded = np.zeros((n, -(-cols // block) * block))
    padded[:, :cols] = x
    runs = padded.reshape(n, -1, block)
    scale = np.abs(runs).max(-1, keepdims=True) / 127
    rounded = np.rint(np.divide(runs, scale, out=np.zeros_like(runs), where=scale > 0)) * scale
    return rounded.reshape(n, -1)[:, :cols]


class Rounded(Phi):
    """What a runtime computes that rounds what goes into products with the weights `names`."""

    def __init__(self, config, weights, names, block):
        super().__init__(config, weights)
        self.names, self.block = names, block

    def _product(self, x, name):
        return super()._product(round_activations(x, self.block) if name in self.names else x, name)
