"""What bench/loss_vs_peers.py compares, as tables: each container's peers at their best, and phiq's
schemes and solvers. A new solver, scheme or peer is a line here. SPDX-License-Identifier: MIT

Words in braces are filled in by loss_make.py: {source} the checkpoint, {out} the folder to write,
and the steps by their names."""

from dataclasses import dataclass

# Calibration: the same text for all, from its start.
WINDOWS, WINDOW = 256, 512      # what phiq and llama.cpp read
SAMPLES, SAMPLE = 128, 256      # what NNCF, AutoRound and mlx-lm read, in PyTorch or in 16 bits


@dataclass(frozen=True)
class Step:
    """Something made once and used by several rows; its cost is part of theirs."""
    name: str
    command: tuple
    result: str = ""   # pattern below {out}; {name} in later commands


@dataclass(frozen=True)
class Row:
    container: str
    bits: int          # 4, 3 or 8: which contest it is in
    maker: str
    name: str
    command: tuple


PHIQ, PEERS = ("{phiq}", "quantize", "{source}", "-o", "{out}", "--quiet"), ("{peers}",)
TOOLS = ("{here}/loss_tools.py",)

STEPS = (
    Step("bf16", (*PHIQ, "--to", "gguf", "-p", "bf16"), "gguf/*.gguf"),
    Step("imatrix", ("{phiq}", "calibrate", "{source}", "--text", "{text}", "--windows", WINDOWS,
                     "-o", "{out}/imatrix.gguf", "--quiet"), "imatrix.gguf"),
    Step("stats", ("{phiq}", "calibrate", "{source}", "--text", "{text}", "--windows", WINDOWS,
                   "--products", "-o", "{out}/stats.gguf", "--quiet"), "stats.gguf"),
    Step("samples", ("{venv}", *TOOLS, "samples", "{text}", "{out}/samples.json"), "samples.json"),
    # mlx_lm.quant reads its calibration text from a fixed place in the home folder.
    Step("home", ("{venv}", *TOOLS, "home", "{source}", "{text}", "{out}/.cache/mlx-lm"), "."),
    Step("traced", ("{optimum}", "export", "openvino", "-m", "{source}", "--task",
                    "text-generation-with-past", "--weight-format", "fp32", "{out}"), "."),
)

# --- phiq -----------------------------------------------------------------------------------------

SOLVERS = (  # name, options, the contests it is in
    ("rtn", ("--solver", "rtn"), (4,)),
    ("search", (), (4, 3, 8)),
    ("search, imatrix", ("--imatrix", "{imatrix}"), (4, 3)),
    ("gptq", ("--solver", "gptq", "--imatrix", "{stats}"), (4, 3, 8)),
)

SCHEMES = {  # container: (contest, scheme, further options)
    "gguf": ((4, "q4_0"), (4, "q4_k_s"), (4, "q4_k_m"), (4, "iq4_xs"), (3, "q3_k_m"), (8, "q8_0")),
    "mlx": ((4, "affine4g64"), (4, "affine4g32"), (3, "affine3g64"), (8, "affine8g64"),
            (4, "affine4g64", "--embed", "affine6g64"),
            (4, "affine4g64", "--embed", "affine8g64", "--head", "affine8g64"),
            (4, "affine4g64", "--embed", "bf16", "--head", "bf16")),
    "onnx": ((4, "int4g32"), (4, "uint4g32"), (4, "uint4_mixed"), (8, "int8g32")),
    "openvino": ((4, "uint4g64"), (4, "int4g128"), (8, "uint8c"), (8, "int8c")),
}


def phiq_rows(solvers=()):
    """Of these solvers, or of all."""
    for solver, options, contests in SOLVERS:
        for container, schemes in SCHEMES.items():
            for bits, *scheme in schemes:
                if bits in contests and (not solvers or solver in solvers):
                    yield Row(container, bits, "phiq", f"{' '.join(scheme)} {solver}",
                              (*PHIQ, "--to", container, "--scheme", *scheme, *options))


# --- the peers ------------------------------------------------------------------------------------

LLAMA = (("Q4_0", 4), ("Q4_K_S", 4), ("Q4_K_M", 4), ("IQ4_XS", 4), ("Q3_K_M", 3), ("Q8_0", 8))
AUTOROUND = (("gguf", 4, "gguf:q4_k_s", ()), ("gguf", 4, "gguf:q4_0", ()),
             ("gguf", 3, "gguf:q3_k_m", ()), ("gguf", 4, "gguf:q4_k_m", ()),
             ("mlx", 4, "mlx", ("--bits", 4, "--group_size", 64, "--asym")))
BUILDER = (("default", ("is_symmetric=true",)),
           ("rtn asym", ("algo_config=rtn", "is_symmetric=false")),
           ("k_quant asym", ("algo_config=k_quant", "is_symmetric=false")),
           ("k_quant_last", ("algo_config=k_quant_last",)),
           ("k_quant_mixed", ("algo_config=k_quant_mixed",)))
NNCF_MODES = (("INT4_ASYM", 64), ("INT4_SYM", 128))
NNCF_METHODS = (("no data", ()), ("AWQ + SE", ("awq", "scale_estimation")), ("GPTQ", ("gptq",)),
                ("GPTQ + SE", ("gptq", "scale_estimation")))
MLX_PLAIN = ((4, 64), (4, 32), (3, 64), (8, 64))
MLX_LEARNED = (("dynamic_quant", 4, ()), ("awq", 4, ("--bits", 4, "--num-samples", SAMPLES)),
               ("gptq", 4, ("--bits", 4)))
MLX_DWQ = ((4, 64), (3, 64))


def llama_rows():
    for kind, bits in LLAMA:
        common = ("{venv}", *TOOLS, "llama", "{bf16}", "{out}", kind)
        yield Row("gguf", bits, "llama.cpp", kind, common)
        yield Row("gguf", bits, "llama.cpp", f"{kind} imatrix", (*common, "{imatrix}"))


def autoround_rows():
    for container, bits, form, options in AUTOROUND:
        yield Row(container, bits, "AutoRound", form.rpartition(":")[2].upper(),
                  (*PEERS, "-m", "auto_round", "--model", "{source}", "--format", form,
                   "--iters", 200, "--nsamples", SAMPLES, "--seqlen", SAMPLE, "--dataset",
                   "{samples}", "--output_dir", "{out}", "--device", "cpu", *options))


def builder_rows():
    common = (*PEERS, "-m", "onnxruntime_genai.models.builder", "-i", "{source}", "-o", "{out}",
              "-e", "cpu", "-c", "{out}/cache", "-p")
    for name, options in BUILDER:
        yield Row("onnx", 4, "ORT builder", name,
                  (*common, "int4", "--extra_options", "block_size=32", *options))
    yield Row("onnx", 8, "ORT builder", "int8",
              (*common, "int8", "--extra_options", "block_size=32", "is_symmetric=true"))


def nncf_rows():
    common = (*PEERS, *TOOLS, "nncf", "{source}", "{traced}", "{out}", "{text}")
    for mode, group in NNCF_MODES:
        for name, options in NNCF_METHODS:
            short = f"{mode[:4].lower()} {mode[5:].lower()} g{group} {name}"
            yield Row("openvino", 4, "NNCF", short, (*common, mode, group, *options))
    for mode in ("INT8_ASYM", "INT8_SYM"):
        yield Row("openvino", 8, "NNCF", f"int8 {mode[5:].lower()}", (*common, mode, -1))


def mlx_rows():
    for bits, group in MLX_PLAIN:
        yield Row("mlx", bits, "mlx-lm", f"{bits} bit g{group}",
                  ("{venv}", "-m", "mlx_lm", "convert", "--hf-path", "{source}", "--mlx-path",
                   "{out}/mlx", "-q", "--q-bits", bits, "--q-group-size", group))
    for method, bits, options in MLX_LEARNED:
        yield Row("mlx", bits, "mlx-lm", method,
                  ("env", "-C", "{out}", "HOME={home}", "{venv}", "-m", "mlx_lm", method, "--model",
                   "{source}", "--mlx-path", "{out}/mlx", *options))
    for bits, group in MLX_DWQ:
        yield Row("mlx", bits, "mlx-lm", f"DWQ {bits} bit g{group}",
                  ("{venv}", *TOOLS, "dwq", "{source}", "{out}/mlx", "{text}", bits, group))


def peer_rows():
    for rows in (llama_rows, builder_rows, nncf_rows, mlx_rows, autoround_rows):
        yield from rows()
