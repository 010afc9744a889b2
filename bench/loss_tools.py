"""The peers' own quantizers on our calibration text, where their command lines do not take one;
each call in a process of its own. The peers' code runs as it is: what is given to it is the text.
SPDX-License-Identifier: MIT"""

import ctypes
import json
import shutil
import sys
from pathlib import Path

from loss_rows import SAMPLE, SAMPLES

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "interop"))


def encode(source, text, tokens):
    """The first so many tokens of a text, and how many characters they are."""
    from tokenizers import Tokenizer
    words = Path(text).read_text()[:16 * tokens]
    e = Tokenizer.from_file(f"{source}/tokenizer.json").encode(words)
    return e.ids[:tokens], e.offsets[min(tokens, len(e.ids)) - 1][1]


def windows(source, text, count, length):
    ids, _ = encode(source, text, count * length)
    return [ids[i:i + length] for i in range(0, len(ids) - length + 1, length)]


# --- the text as they want it ---------------------------------------------------------------------

def samples(text, out):
    """For AutoRound: a list of texts, each of more than enough tokens."""
    words, n = Path(text).read_text(), 8 * SAMPLE
    Path(out).write_text(json.dumps([words[i:i + n] for i in range(0, n * SAMPLES, n)]))


def home(source, text, out):
    """For mlx_lm.quant: the file that it would otherwise download into the user's home."""
    _, length = encode(source, text, SAMPLES * SAMPLE)
    Path(out).mkdir(parents=True)
    (Path(out) / "calibration_v5.txt").write_text(Path(text).read_text()[:length])


# --- llama.cpp ------------------------------------------------------------------------------------

def importance(path):
    """{tensor: mean squared inputs} of an imatrix in GGUF form, as llama-quantize reads it."""
    import gguf
    import numpy as np
    t = {x.name: np.array(x.data, np.float32) for x in gguf.GGUFReader(path).tensors}
    names = [n.removesuffix(".in_sum2") for n in t if n.endswith(".in_sum2")]
    return {n: (t[n + ".in_sum2"] / t[n + ".counts"].reshape(-1, 1)).ravel() for n in names}


def llama(source, out, kind, imatrix=None):
    """llama_model_quantize, with the importance matrix where there is one."""
    import gguf
    import llama_runtime
    from llama_cpp import llama_cpp as lib
    p = lib.llama_model_quantize_default_params()
    p.nthread, p.ftype = 2, int(gguf.LlamaFileType[f"MOSTLY_{kind}"])
    kept = importance(imatrix) if imatrix else {}
    if kept:
        table = (lib.llama_model_imatrix_data * (len(kept) + 1))()
        for entry, (name, values) in zip(table, kept.items()):
            entry.name, entry.size = name.encode(), values.size
            entry.data = values.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        p.imatrix = ctypes.cast(table, type(p.imatrix))
    Path(out).mkdir(parents=True, exist_ok=True)
    status = lib.llama_model_quantize(source.encode(), f"{out}/model.gguf".encode(),
                                      ctypes.byref(p))
    if status != 0:
        raise SystemExit(f"llama_model_quantize: {status}\n{llama_runtime.words()}")


# --- NNCF -----------------------------------------------------------------------------------------

def nncf(source, traced, out, text, mode, group, *methods):
    """nncf.compress_weights on optimum-intel's float32 graph. Methods are its flags, and for timing
    `samples=N` and `length=N`."""
    import nncf as tool
    import numpy as np
    import openvino as ov

    def inputs(ids):
        n = len(ids)
        return {"input_ids": np.array([ids]), "attention_mask": np.ones((1, n), np.int64),
                "position_ids": np.arange(n)[None], "beam_idx": np.zeros(1, np.int32)}

    shutil.copytree(traced, out, dirs_exist_ok=True,
                    ignore=shutil.ignore_patterns("openvino_model.*"))
    options = {}
    if not mode.startswith("INT8"):
        options = {"ratio": 1.0, "group_size": int(group)}
    sizes = dict(m.split("=") for m in methods if "=" in m)
    methods = [m for m in methods if "=" not in m]
    if methods:
        data = windows(source, text, int(sizes.get("samples", SAMPLES)),
                       int(sizes.get("length", SAMPLE)))
        options |= {m: True for m in methods}
        options |= {"dataset": tool.Dataset(data, inputs), "subset_size": len(data)}
    model = ov.Core().read_model(f"{traced}/openvino_model.xml")
    model = tool.compress_weights(model, mode=tool.CompressWeightsMode[mode], **options)
    ov.save_model(model, f"{out}/openvino_model.xml", compress_to_fp16=False)


# --- mlx-lm ---------------------------------------------------------------------------------------

def dwq(source, out, text, bits, group):
    """mlx_lm.quant.dwq; only where its samples come from is replaced. 1e-5 is the largest learning
    rate that its guide advises; the default of 1e-6 is meant for 2048 samples."""
    import mlx_lm.quant.dwq as tool
    data = windows(source, text, 4 * SAMPLES + 16, SAMPLE)
    pairs = [(ids, 0) for ids in data]
    tool.load_data = lambda *_, **__: (pairs[:4 * SAMPLES], pairs[4 * SAMPLES:])
    sys.argv = ["dwq", "--model", source, "--mlx-path", out, "--bits", bits, "--group-size", group,
                "--max-seq-length", str(SAMPLE), "--learning-rate", "1e-5"]
    tool.main()


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
