"""A GGUF's weights under Hugging Face names, decoded by the gguf package. The names are those of
llama.cpp's converter (gguf-py's TensorNameMap), written out for Phi.
SPDX-License-Identifier: MIT"""

import re

import numpy as np
from gguf import GGUFReader
from gguf.quants import dequantize

_OUTSIDE = {"token_embd": "model.embed_tokens", "output": "lm_head"}
_LAYER = {"attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
          "attn_norm": "input_layernorm"}
_PHI3 = {"attn_qkv": "self_attn.qkv_proj", "attn_output": "self_attn.o_proj",
         "ffn_up": "mlp.gate_up_proj", "ffn_down": "mlp.down_proj",
         "ffn_norm": "post_attention_layernorm", "output_norm": "model.norm"}
_PHI2 = {"attn_qkv": "attn_qkv", "attn_output": "self_attn.dense", "ffn_up": "mlp.fc1",
         "ffn_down": "mlp.fc2", "output_norm": "model.final_layernorm"}


def _name(name, architecture):
    """token_embd.weight -> model.embed_tokens.weight; None for rope factors."""
    table = {**_OUTSIDE, **_LAYER, **(_PHI3 if architecture == "phi3" else _PHI2)}
    m = re.fullmatch(r"(?:blk\.(\d+)\.)?(\w+)\.(weight|bias)", name)
    layer, part, kind = m.groups()
    if part.startswith("rope_factors"):
        return None
    return (f"model.layers.{layer}." if layer else "") + f"{table[part]}.{kind}"


def _split_qkv(weights):
    """phi2 files may hold q, k and v as one matrix, three equal bands of rows."""
    for name in [n for n in weights if ".attn_qkv." in n]:
        for part, rows in zip("qkv", np.split(weights.pop(name), 3)):
            weights[name.replace("attn_qkv", f"self_attn.{part}_proj")] = rows
    return weights


class GgufFile:
    """One file, or the first of a split set."""

    def __init__(self, path):
        shards = sorted(path.parent.glob(re.sub(r"-00001-of-(\d+)", r"-*-of-\1", path.name)))
        self.readers = [GGUFReader(p) for p in shards or [path]]
        self.architecture = self.field("general.architecture")

    def field(self, name):
        """A value of the metadata; None when absent."""
        field = self.readers[0].fields.get(name)
        return field and field.contents()

    def tensors(self):
        return [t for reader in self.readers for t in reader.tensors]

    def weights(self):
        named = ((_name(t.name, self.architecture), t) for t in self.tensors())
        return _split_qkv({name: dequantize(t.data, t.tensor_type) for name, t in named if name})

    def key(self, name):
        """A key of the architecture's own."""
        return self.field(f"{self.architecture}.{name}")

    def types(self):
        return {t.name: t.tensor_type.name for t in self.tensors()}


def named_blocks(gguf, scheme):
    """{Hugging Face module: (codes above zero [rows, cols], scales [rows, blocks])} of the matrices
    in a type of 32 codes with a 16-bit scale: q4_0 or q8_0."""
    size, out = {"q4_0": 18, "q8_0": 34}[scheme], {}
    for t in gguf.tensors():
        name = _name(t.name, gguf.architecture)
        if t.tensor_type.name.lower() != scheme:
            continue
        raw = np.asarray(t.data).reshape(len(t.data), -1, size)
        scales = np.ascontiguousarray(raw[..., :2]).view(np.float16)[..., 0]
        if scheme == "q4_0":
            codes = np.concatenate([raw[..., 2:] & 15, raw[..., 2:] >> 4], -1)
        else:
            codes = raw[..., 2:] ^ 128  # two's complement to offset binary
        out[name] = (codes.reshape(len(codes), -1), scales)
    codes, scales = ({k: v[i] for k, v in out.items()} for i in (0, 1))
    codes, scales = _split_qkv(codes), _split_qkv(scales)
    return {k.removesuffix(".weight"): (codes[k], scales[k]) for k in codes}


def q4_0_rows(gguf, name, rows, n_blocks):
    """codes and scales of the tensor that a module's name stands for"""
    table = {"qkv_proj": "attn_qkv", "o_proj": "attn_output", "gate_up_proj": "ffn_up",
             "gate_proj": "ffn_up", "up_proj": "ffn_up", "down_proj": "ffn_down",
             "q_proj": "attn_q", "k_proj": "attn_k", "v_proj": "attn_v", "dense": "attn_output",
             "fc1": "ffn_up", "fc2": "ffn_down"}
    parts = name.split(".")
    stored = {t.name: t for t in gguf.tensors()}
    if parts[0] == "lm_head":
        t = stored.get("output.weight", stored["token_embd.weight"])
    else:
        t = stored[f"blk.{parts[2]}.{table[parts[-2]]}.weight"]
    raw = np.asarray(t.data).reshape(-1, n_blocks, 18)
    if parts[-2] == "up_proj":  # the second half of the fused projection
        raw = raw[rows:]
    raw = raw[:rows]
    scales = np.ascontiguousarray(raw[..., :2]).view(np.float16)[..., 0]
    low, high = raw[..., 2:] & 15, raw[..., 2:] >> 4
    return np.concatenate([low, high], -1), scales
