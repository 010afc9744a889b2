#!/usr/bin/env bash
# Draws docs/demo.svg from what `make demo` prints. SPDX-License-Identifier: MIT
set -eu
cd "$(dirname "$0")/.."
scripts/demo.sh 2>/dev/null | awk '
    /^\033\[1m\$/ { keep = /int4|phone|unmodified/ && !/compare/ }
    keep' | python3 tools/term_svg.py >docs/demo.svg
