"""Shows the outputs of `make demo` running: the loss of each, measured in its own runtime against the
float32 reference logits that come with the sample model, and a few words from each.
SPDX-License-Identifier: MIT"""

import json
import pathlib
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "interop"))

from common import Golden, mean_kld  # noqa: E402

PROMPT = "Once upon a time"
TOKENS = 40


def info(phiq, path):
    return json.loads(subprocess.run([phiq, "info", path, "--json"], check=True,
                                     capture_output=True, text=True).stdout)


def gguf(path, golden):
    from llama_runtime import Llama
    with Llama(path) as m:
        ids = golden.prompts[golden.shortest]
        kld = mean_kld(golden.logits[golden.shortest], m.logits(ids))
        start = m.tokenize(PROMPT)
        began = time.monotonic()
        out = m.greedy(start, TOKENS)
        return kld, TOKENS / (time.monotonic() - began), m.detokenize(out)


def mlx(path, golden):
    from mlx_runtime import Mlx
    m = Mlx(path)
    ids = golden.prompts[golden.shortest]
    kld = mean_kld(golden.logits[golden.shortest], m.logits(ids))
    start = m.tokenizer.encode(PROMPT)
    began = time.monotonic()
    out = m.greedy(start, TOKENS)
    return kld, TOKENS / (time.monotonic() - began), m.tokenizer.decode(out)


def onnx(path, golden):
    from onnx_runtime import Onnx
    m = Onnx(path)
    ids = golden.prompts[golden.shortest]
    kld = mean_kld(golden.logits[golden.shortest], m.logits(ids))
    start = m.tokenizer.encode(PROMPT).tolist()
    began = time.monotonic()
    out = m.greedy(start, TOKENS)
    return kld, TOKENS / (time.monotonic() - began), m.tokenizer.decode(out)


def openvino(path, golden):
    from openvino_runtime import GenAi, OpenVino
    ids = golden.prompts[golden.shortest]
    kld = mean_kld(golden.logits[golden.shortest], OpenVino(path).logits(ids))
    m = GenAi(path, paged=True)
    began = time.monotonic()
    text, _ = m.text(PROMPT, TOKENS)
    return kld, TOKENS / (time.monotonic() - began), PROMPT + " " + text


RUNTIMES = {"gguf": ("llama.cpp", gguf), "mlx": ("mlx-lm", mlx), "onnx": ("ONNX Runtime", onnx),
            "openvino": ("OpenVINO", openvino)}


def main():
    phiq, out = sys.argv[1], pathlib.Path(sys.argv[2])
    golden = Golden("sample")
    print(f"{'file':<34}{'bytes':>11}{'bits/weight':>13}{'KL divergence':>15}  runtime")
    texts = []
    for precision in ("fp32", "fp16", "int8", "int4"):
        for target, (runtime, run) in RUNTIMES.items():
            folder = out / precision / target
            path = next(folder.glob("*.gguf")) if target == "gguf" else folder
            size = sum(f.stat().st_size for f in folder.iterdir())
            kld, _, text = run(path, golden)
            bits = info(phiq, path)["bits_per_weight"]
            name = str(path.relative_to(out))
            print(f"{name:<34}{size:>11,}{bits:>13.3f}{max(kld, 0):>15.6f}  {runtime}")
            texts.append((name, " ".join(text.split())))
    print(f"\nWhat they write after \"{PROMPT}\":")
    for name, text in texts:
        print(f"  {name:<34} {text[:150]}")


if __name__ == "__main__":
    main()
