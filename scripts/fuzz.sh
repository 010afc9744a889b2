#!/usr/bin/env bash
# Builds the libFuzzer targets and runs each on a copy of its corpus: PQ_FUZZ_SECONDS from a random seed
# (a search for new findings), or, without it, the same few thousand runs every time (a check).
# SPDX-License-Identifier: MIT
set -eu
cd "$(dirname "$0")/.."
if [ -n "${PQ_FUZZ_SECONDS:-}" ]; then
    limits=(-max_total_time="$PQ_FUZZ_SECONDS")
else
    limits=(-seed=1 -runs=20000)
fi
cmake --build --preset fuzz
found=0
for target in build/fuzz/tests/fuzz/fuzz_*; do
    [ -x "$target" ] && [ -f "$target" ] || continue
    name=$(basename "$target")
    work=build/fuzz/corpus/$name
    mkdir -p "$work"
    echo "fuzz: $name ${limits[*]}"
    if ! "$target" "${limits[@]}" -rss_limit_mb=2048 -print_final_stats=0 -verbosity=0 \
        -artifact_prefix="build/fuzz/$name-" "$work" "tests/fuzz/corpus/${name#fuzz_}" \
        >"build/fuzz/$name.log" 2>&1; then
        tail -n 40 "build/fuzz/$name.log"
        found=1
    fi
done
exit "$found"
