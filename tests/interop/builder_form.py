"""Rewrites one of our folders as onnxruntime-genai's model builder lays out its own, so that reading
its form can be tested without the builder, which needs PyTorch: its names of nodes and weights,
float weights as [K, N], q, k and v of phi in one, LongRoPE's caches as constants in the branches of
an If, a tied embedding that reads the head, nothing of ours in the metadata; for dml q, k and v
apart and positions shifted by GreaterOrEqual. Layout: the builder's builders/base.py.
SPDX-License-Identifier: MIT"""

import shutil
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper


class _Form:
    def __init__(self, folder):
        self.model = onnx.load(str(Path(folder) / "model.onnx"))
        self.graph = self.model.graph
        self.arrays = {t.name: numpy_helper.to_array(t) for t in self.graph.initializer}
        self.nodes = {n.name: n for n in self.graph.node}
        self.layers = sum(n.op_type == "GroupQueryAttention" for n in self.graph.node)

    def replace(self, name, *nodes):
        """Puts nodes where one was."""
        at = [n.name for n in self.graph.node].index(name)
        kept = list(self.graph.node)
        del self.graph.node[:]
        self.graph.node.extend([*kept[:at], *nodes, *kept[at + 1:]])
        self.nodes = {n.name: n for n in self.graph.node}

    def matmuls(self):
        for node in self.graph.node:
            if node.op_type not in ("MatMulNBits", "FusedMatMul"):
                continue
            module = node.name.rsplit("/", 1)[0]
            base = module.lstrip("/").replace("/", ".") + ".MatMul.weight"
            if node.op_type == "FusedMatMul":
                self.arrays[base] = np.ascontiguousarray(self.arrays[node.input[1]].T)
                node.op_type, node.domain, node.name = "MatMul", "", f"{module}/MatMul"
                del node.attribute[:]
                node.input[1] = base
                continue
            for i, kind in zip((1, 2, 3), ("_Q4", "_scales", "_zero_points")):
                if i < len(node.input):
                    self.arrays[base + kind] = self.arrays[node.input[i]]
                    node.input[i] = base + kind
            node.name = f"{module}/MatMul_Q4"

    def norms(self):
        for node in self.graph.node:
            if node.name == "/model/norm/SkipLayerNorm":
                last = f"model.layers.{self.layers}.final_norm_layernorm"
                node.name = f"/model/layers.{self.layers}/final_norm_layernorm/SkipLayerNorm"
                for i, kind in enumerate(("weight", "bias")[:len(node.input) - 2]):
                    self.arrays[f"{last}.{kind}"] = self.arrays[node.input[2 + i]]
                    node.input[2 + i] = f"{last}.{kind}"
            elif len(node.input) > 1 and node.input[0] == node.input[1] and "Simpl" in node.op_type:
                eps = node.attribute[0].f / 4
                node.op_type, node.domain = "SimplifiedLayerNormalization", ""
                x, w = node.input[0], node.input[2]
                del node.input[:], node.attribute[:]
                node.input.extend([x, w])
                node.attribute.extend([helper.make_attribute("epsilon", eps),
                                       helper.make_attribute("axis", -1),
                                       helper.make_attribute("stash_type", 1)])

    def packed_attention(self):
        """phi: three projections and their biases become one."""
        for i in range(self.layers):
            path, parts = f"/model/layers.{i}/attn", []
            first = self.nodes[f"{path}/q_proj/Add"]
            for p in "qkv":
                mul = next(n for n in self.graph.node if n.name.startswith(f"{path}/{p}_proj/MatMul"))
                parts.append((mul, self.nodes[f"{path}/{p}_proj/Add"]))
            mul = onnx.NodeProto()
            mul.CopyFrom(parts[0][0])
            base = f"model.layers.{i}.attn.qkv_proj"
            axis = 1 if mul.op_type == "MatMul" else 0
            for k in range(1, len(mul.input)):
                new = mul.input[k].replace("q_proj", "qkv_proj")
                self.arrays[new] = np.concatenate([self.arrays[m.input[k]] for m, _ in parts], axis)
                mul.input[k] = new
            for a in mul.attribute:
                a.i *= 3 if a.name == "N" else 1
            mul.name = mul.name.replace("q_proj", "qkv_proj")
            mul.output[0] = f"{path}/qkv_proj/MatMul/output_0"
            self.arrays[f"{base}.Add.bias"] = np.concatenate([self.arrays[a.input[1]]
                                                              for _, a in parts])
            add = helper.make_node("Add", [mul.output[0], f"{base}.Add.bias"],
                                   [f"{path}/qkv_proj/Add/output_0"], f"{path}/qkv_proj/Add")
            for m, a in parts[1:]:
                self.replace(m.name)
                self.replace(a.name)
            self.replace(first.name, add)
            self.replace(parts[0][0].name, mul)
            gqa = self.nodes[f"{path}/GroupQueryAttention"]
            gqa.input[0], gqa.input[1], gqa.input[2] = add.output[0], "", ""

    def separate_attention(self):
        """Three projections instead of one that is split."""
        for i in range(self.layers):
            path = f"/model/layers.{i}/attn"
            split = self.nodes.get(f"{path}/Split")
            if split is None:
                continue
            mul = next(n for n in self.graph.node if n.name.startswith(f"{path}/qkv_proj/MatMul"))
            ends = np.cumsum(self.arrays[split.input[1]])
            axis, nodes = (1 if mul.op_type == "MatMul" else 0), []
            for letter, begin, end, out in zip("qkv", [0, *ends], ends, split.output):
                one = onnx.NodeProto()
                one.CopyFrom(mul)
                one.name, one.output[0] = mul.name.replace("qkv_proj", f"{letter}_proj"), out
                for k in range(1, len(mul.input)):
                    one.input[k] = mul.input[k].replace("qkv_proj", f"{letter}_proj")
                    rows = range(begin, end)
                    self.arrays[one.input[k]] = self.arrays[mul.input[k]].take(rows, axis)
                for a in one.attribute:
                    a.i = int(end - begin) if a.name == "N" else a.i
                nodes.append(one)
            self.replace(split.name)
            self.replace(mul.name, *nodes)

    def shift(self):
        """dml: positions compared by one operator."""
        if "/model/rope/Less" in self.nodes:
            self.replace("/model/rope/Not")
            node = self.nodes["/model/rope/Less"]
            node.op_type, node.output[0] = "GreaterOrEqual", "/model/rope/Not/output_0"

    def rope(self):
        """Slices of one table become an If over two constants."""
        if "/model/rope/cos" not in self.nodes:
            return
        split = int(self.arrays["/model/constants/original_context"][0])
        cos, sin = self.arrays["cos_cache"], self.arrays["sin_cache"]

        def branch(name, rows, size):
            names = [f"{k}_cache_{size}" for k in ("cos", "sin")]
            tensors = [numpy_helper.from_array(np.ascontiguousarray(t[rows]), n)
                       for t, n in zip((cos, sin), names)]
            nodes = [helper.make_node("Constant", [], [n], f"/{size}/{n}", value=t)
                     for t, n in zip(tensors, names)]
            kind = tensors[0].data_type
            return helper.make_graph(nodes, name, [], [helper.make_tensor_value_info(n, kind, None)
                                                       for n in names])

        self.replace("/model/rope/cos", helper.make_node(
            "If", ["/model/rope/Greater/output_0"], ["cos_chosen", "sin_chosen"],
            "/model/rope_caches_subgraph/If",
            then_branch=branch("large_rope_caches_graph", slice(split, None), "large"),
            else_branch=branch("small_rope_caches_graph", slice(0, split), "small")))
        for name in ("Cast", "Mul", "Add", "sin"):
            self.replace(f"/model/rope/{name}")
        for node in self.graph.node:
            if node.op_type == "GroupQueryAttention":
                node.input[7], node.input[8] = "cos_chosen", "sin_chosen"

    def attention_inputs(self):
        for node in self.graph.node:
            if node.op_type == "GroupQueryAttention":
                node.input.extend(["", "", ""])

    def tied(self):
        head = next(n for n in self.graph.node if n.name.startswith("/lm_head/MatMul"))
        gather = next(n for n in self.graph.node if n.name.startswith("/model/embed_tokens/Gather"))
        out = "/model/embed_tokens/turned"
        if head.op_type == "MatMul":
            node = helper.make_node("Transpose", [head.input[1]], [out], "/model/embed/Transpose")
        else:
            flat = self.arrays[head.input[1]]
            self.arrays["flat"] = np.array([flat.shape[0], -1], np.int64)
            node = helper.make_node("Reshape", [head.input[1], "flat"], [out], "/model/embed/Reshape")
            gather.input[2] = head.input[2]
        gather.input[0] = out
        self.replace(gather.name, node, gather)

    def save(self, folder):
        used = {x for n in self.graph.node for x in n.input}
        del self.graph.initializer[:], self.model.metadata_props[:]
        for name, x in self.arrays.items():
            if name in used:
                self.graph.initializer.append(numpy_helper.from_array(x, name))
        onnx.save(self.model, str(folder / "model.onnx"), save_as_external_data=True,
                  location="model.onnx.data", size_threshold=1024)


def rewrite(folder, out, tied=False):
    folder, out = Path(folder), Path(out)
    shutil.copytree(folder, out, ignore=shutil.ignore_patterns("model.onnx*"))
    form = _Form(folder)
    form.matmuls()
    form.norms()
    if "/model/layers.0/attn/q_rotary" in form.nodes:
        form.separate_attention()
        form.shift()
    elif "/model/layers.0/attn/q_proj/Add" in form.nodes:
        form.packed_attention()
    if "/model/layers.0/attn/o_proj/Add" in form.nodes:
        for node in form.graph.node:  # biases are called after their nodes
            if node.op_type == "Add" and node.input[1] in form.arrays:
                name = node.name.lstrip("/").replace("/", ".") + ".bias"
                form.arrays[name] = form.arrays[node.input[1]]
                node.input[1] = name
    form.rope()
    form.attention_inputs()
    if tied:
        form.tied()
    form.save(out)
    return out
