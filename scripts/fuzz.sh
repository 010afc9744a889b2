#!/usr/bin/env bash
# Builds the libFuzzer targets and runs each for PQ_FUZZ_SECONDS (default 10) on a copy of its corpus.
# SPDX-License-Identifier: MIT
set -eu
cd "$(dirname "$0")/.."
seconds=${PQ_FUZZ_SECONDS:-10}
cmake --build --preset fuzz
found=0
for target in build/fuzz/tests/fuzz/fuzz_*; do
    [ -x "$target" ] && [ -f "$target" ] || continue
    name=$(basename "$target")
    work=build/fuzz/corpus/$name
    mkdir -p "$work"
    echo "fuzz: $name for $seconds s"
    if ! "$target" -max_total_time="$seconds" -rss_limit_mb=2048 -print_final_stats=0 -verbosity=0 \
        -artifact_prefix="build/fuzz/$name-" "$work" "tests/fuzz/corpus/${name#fuzz_}" \
        >"build/fuzz/$name.log" 2>&1; then
        tail -n 40 "build/fuzz/$name.log"
        found=1
    fi
done
exit "$found"
