#!/usr/bin/env python3
"""Makes a synthetic checkpoint of Phi-3.5-mini's shape (fewer layers by default), the same bytes on
every machine: bf16 weights from N(0, 0.02) with one in a thousand ten times as large, two or more
shards, the published config.json form, and the tokenizer of the sample model. It computes nonsense
and costs every tool exactly what the real model costs. SPDX-License-Identifier: MIT"""

import argparse
import json
import shutil
from pathlib import Path

import numpy as np

SAMPLE = Path(__file__).resolve().parents[1] / "models" / "phiq-sample"
SHARD = 1 << 30
# After the config.json of Phi-3.5-mini-instruct.
SHORT = ([1.0, 1.02, 1.03, 1.03] + [1.05] * 5 +
         [1.07, 1.1, 1.11, 1.16, 1.16, 1.17, 1.29, 1.34, 1.68, 1.79, 1.82, 1.85, 1.88, 1.91, 1.94,
          1.99] + [2.02] * 6 + [2.03] * 11 + [2.08, 2.09, 2.19, 2.22, 2.59, 2.73, 2.75, 2.84])[:48]
LONG = [1.08, 1.11, 1.14, 1.34, 1.59, 1.60, 1.62, 2.62, 3.23, 3.23, 4.79, 7.40, 7.70, 9.09, 12.20,
        17.67, 24.46, 28.57, 30.42, 30.84, 32.59, 32.93, 42.32, 44.96, 50.34, 50.45, 57.55, 57.93,
        58.21, 60.14, 62.61, 62.62, 62.71, 63.14, 63.14, 63.77, 63.93, 63.96, 63.97, 64.03, 64.07,
        64.08, 64.12, 64.41, 64.48, 64.51, 64.53, 64.84]


def config(a):
    half = a.hidden // a.heads // 2
    scaling = {"type": "longrope", "short_factor": SHORT, "long_factor": LONG}
    scaling = scaling if half == len(LONG) else None
    return {
        "architectures": ["Phi3ForCausalLM"], "model_type": "phi3", "torch_dtype": "bfloat16",
        "vocab_size": a.vocab, "hidden_size": a.hidden, "intermediate_size": a.ff,
        "num_hidden_layers": a.layers, "num_attention_heads": a.heads,
        "num_key_value_heads": a.heads, "hidden_act": "silu", "rms_norm_eps": 1e-5,
        "max_position_embeddings": 131072 if scaling else 4096,
        "original_max_position_embeddings": 4096, "rope_theta": 10000.0, "rope_scaling": scaling,
        "sliding_window": 262144, "tie_word_embeddings": False, "bos_token_id": 1,
        "eos_token_id": 4064, "pad_token_id": 4064,
    }


def tensors(a):
    """(name, shape) in the order of a published checkpoint; one dimension marks a norm."""
    yield "model.embed_tokens.weight", (a.vocab, a.hidden)
    for i in range(a.layers):
        layer = f"model.layers.{i}."
        yield layer + "input_layernorm.weight", (a.hidden,)
        yield layer + "self_attn.qkv_proj.weight", (3 * a.hidden, a.hidden)
        yield layer + "self_attn.o_proj.weight", (a.hidden, a.hidden)
        yield layer + "post_attention_layernorm.weight", (a.hidden,)
        yield layer + "mlp.gate_up_proj.weight", (2 * a.ff, a.hidden)
        yield layer + "mlp.down_proj.weight", (a.hidden, a.ff)
    yield "model.norm.weight", (a.hidden,)
    yield "lm_head.weight", (a.vocab, a.hidden)


def bf16(x):
    """Round to nearest even."""
    bits = x.view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")


def values(index, shape):
    """bf16 bits in pieces of a few million, from a stream of this tensor's own."""
    if len(shape) == 1:
        yield bf16(np.ones(shape, np.float32))
        return
    rng, left = np.random.default_rng([2026, index]), shape[0] * shape[1]
    while left:
        n = min(left, 1 << 22)
        x = rng.standard_normal(n, np.float32) * np.float32(0.02)
        x[rng.integers(0, n, n // 1000)] *= 10
        yield bf16(x)
        left -= n


def shards(a):
    """Lists of (index, name, shape), each list of at most SHARD bytes or one tensor."""
    out, size = [[]], 0
    for index, (name, shape) in enumerate(tensors(a)):
        n = 2 * int(np.prod(shape))
        if out[-1] and size + n > SHARD:
            out.append([])
            size = 0
        out[-1].append((index, name, shape))
        size += n
    return out


def write_shard(path, entries):
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for _, name, shape in entries:
        n = 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + n]}
        at += n
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(len(text).to_bytes(8, "little") + text)
        for index, _, shape in entries:
            for piece in values(index, shape):
                f.write(piece)


def make(a):
    a.out.mkdir(parents=True, exist_ok=True)
    parts, places, total = shards(a), {}, 0
    for i, entries in enumerate(parts, 1):
        name = f"model-{i:05}-of-{len(parts):05}.safetensors"
        write_shard(a.out / name, entries)
        for _, tensor, shape in entries:
            places[tensor] = name
            total += 2 * int(np.prod(shape))
    index = {"metadata": {"total_size": total}, "weight_map": places}
    (a.out / "model.safetensors.index.json").write_text(json.dumps(index, indent=2))
    (a.out / "config.json").write_text(json.dumps(config(a), indent=2))
    for name in ("tokenizer.json", "tokenizer.model", "tokenizer_config.json",
                 "generation_config.json"):
        shutil.copy(SAMPLE / name, a.out / name)
    return total


def main():
    p = argparse.ArgumentParser(description=__doc__.split(":")[0])
    p.add_argument("out", type=Path)
    p.add_argument("--layers", type=int, default=8)
    p.add_argument("--hidden", type=int, default=3072)
    p.add_argument("--ff", type=int, default=8192)
    p.add_argument("--heads", type=int, default=32)
    p.add_argument("--vocab", type=int, default=32064)
    total = make(p.parse_args())
    print(f"{total / 1e9:.2f} GB of weights")


if __name__ == "__main__":
    main()
