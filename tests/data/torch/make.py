"""Writes the PyTorch files of this folder with the real torch.save (they were made with torch 1.13).
SPDX-License-Identifier: MIT"""
import json
import os

import torch

HERE = os.path.dirname(os.path.abspath(__file__))


def ramp(dtype, *shape):
    n = 1
    for d in shape:
        n *= d
    return torch.arange(n).reshape(shape).to(dtype)


def save(value, name, **how):
    torch.save(value, os.path.join(HERE, name), **how)


linear = torch.nn.Linear(3, 4).half()
with torch.no_grad():
    linear.weight.copy_(ramp(torch.float16, 4, 3))
    linear.bias.copy_(ramp(torch.float16, 4))
state = linear.state_dict()  # an OrderedDict with the attribute _metadata
for name in "float32 bfloat16 float64 int64 int32 int16 int8 uint8 bool".split():
    state[name] = ramp(getattr(torch, name), 2)
state["scalar"] = torch.tensor(1.5)
state["empty"] = torch.zeros(0, 3)
state["parameter"] = torch.nn.Parameter(ramp(torch.float32, 2, 2))
state["view"] = ramp(torch.float32, 10)[2:6]  # four elements of a storage of ten
state["tied"] = state["view"]
save(state, "single/pytorch_model.bin")
save(state, "protocol4.bin", pickle_protocol=4)
save(state, "legacy.bin", _use_new_zipfile_serialization=False)
save({"w": ramp(torch.float32, 4, 3).t()}, "strided.bin")
save({"model": {"w": torch.zeros(1)}, "epoch": 3}, "training.bin")

shards = {"pytorch_model-00001-of-00002.bin": {"a": ramp(torch.float32, 2)},
          "pytorch_model-00002-of-00002.bin": {"b": ramp(torch.float16, 3)}}
for name, tensors in shards.items():
    save(tensors, "sharded/" + name)
with open(os.path.join(HERE, "sharded/pytorch_model.bin.index.json"), "w") as f:
    json.dump({"metadata": {"total_size": 14},
               "weight_map": {t: name for name, ts in shards.items() for t in ts}}, f, indent=1)
