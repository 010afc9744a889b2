#!/usr/bin/env bash
# Quantizes the model that the repository ships to every container, and shows the results running in
# the real runtimes. SPDX-License-Identifier: MIT
set -eu
cd "$(dirname "$0")/.."
phiq=build/release/src/cli/phiq
out=build/demo
model=models/phiq-sample
rm -rf "$out"

say() { printf '\n\033[1m$ %s\033[0m\n' "$*"; }
show() { say "phiq $*"; "$phiq" "$@"; }

show info "$model"
for precision in fp32 fp16 int8 int4; do
    show quantize "$model" --precision "$precision" -o "$out/$precision"
done
show compare "$model" "$(echo "$out"/int4/gguf/*.gguf)"
show plan "$model" --device phone

say "phiq itself runs and measures each of them"
for path in "$out"/int4/gguf/*.gguf "$out"/int4/mlx "$out"/int4/onnx "$out"/int4/openvino; do
    show run "$path" -p "Once upon a time" --max-tokens 30 --temperature 0
done
"$phiq" run "$model" -p "Once upon a time" -n 900 --temperature 1 --seed 1 --quiet >"$out/story.txt"
show eval "$(echo "$out"/int4/gguf/*.gguf)" --ref "$model" --text "$out/story.txt" --window 256 --quiet

scripts/venv.sh
say "the outputs in the unmodified runtimes"
build/venv/bin/python scripts/demo_run.py "$phiq" "$out"

say "phiq report $model -o report.html   # a page to look at: size against loss, in half a minute"
