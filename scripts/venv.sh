#!/bin/sh
# Makes the Python environment of the interop tests and benchmarks: build/venv, or the folder that
# PQ_VENV names. Does nothing when it is there and up to date. The llama.cpp that it builds from
# source (about five minutes on two cores) is kept as a wheel in build/wheels.
# PQ_VENV_OPTIONAL=1, for developers without a network: failing to fetch packages is no failure.
# SPDX-License-Identifier: MIT
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
venv=${PQ_VENV:-$root/build/venv}
wheels=${PQ_WHEELS:-$root/build/wheels}
requirements=$root/tests/interop/requirements.txt
# What building llama-cpp-python needs, installed beside it because isolated builds fetch it anew.
builders="scikit-build-core==1.1.2 cmake==4.4.4 ninja==1.13.2"

say() {
    printf 'venv: %s\n' "$*"
}

fail() {
    say "$*"
    if [ "${PQ_VENV_OPTIONAL:-0}" = 1 ]; then
        say "PQ_VENV_OPTIONAL=1: going on without the interop tests"
        exit 0
    fi
    exit 1
}

# The first Python from 3.10 to 3.13 that can make environments.
find_python() {
    for python in ${PQ_PYTHON:-} python3 python3.13 python3.12 python3.11 python3.10; do
        if "$python" -c 'import sys, venv, ensurepip
sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
            echo "$python"
            return
        fi
    done
}

pip() {
    "$venv/bin/python" -m pip --disable-pip-version-check "$@" </dev/null
}

# pip wheel of a source package with the compilers of this machine.
build_llama() {
    spec=$1
    # shellcheck disable=SC2086 # a list of words
    pip install -q $builders || fail "pip cannot fetch the build tools"
    say "building $spec from source: about five minutes on two cores"
    mkdir -p "$wheels"
    PATH=$venv/bin:$PATH CMAKE_ARGS=${CMAKE_ARGS:--DGGML_NATIVE=ON} \
        pip wheel -q --no-deps --no-build-isolation --no-binary llama-cpp-python \
        -w "$wheels" "$spec" >"$wheels/build.log" 2>&1 || {
        tail -n 30 "$wheels/build.log"
        fail "$spec did not build: see $wheels/build.log"
    }
}

python=$(find_python)
[ -n "$python" ] || fail "no python3 from 3.10 to 3.13 with venv (see scripts/setup.sh)"

stamp=$( { "$python" -c 'import sys; print(sys.version)'; cat "$requirements" "$0"; } | sha256sum |
    cut -d' ' -f1)
if [ "$(cat "$venv/.phiq-stamp" 2>/dev/null)" = "$stamp" ]; then
    exit 0
fi

say "making $venv with $("$python" --version)"
rm -f "$venv/.phiq-stamp"
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv" || fail "python cannot make $venv"

llama=$(grep '^llama-cpp-python==' "$requirements")
others=$(mktemp)
trap 'rm -f "$others"' EXIT
grep -v '^llama-cpp-python==' "$requirements" >"$others"
pip install -q -r "$others" || fail "pip cannot fetch the packages of $requirements"

have=$("$venv/bin/python" -c 'from importlib.metadata import version
print(version("llama-cpp-python"))' 2>/dev/null) || have=
if [ "$have" != "${llama#*==}" ]; then
    wheel_name="llama_cpp_python-${llama#*==}-*.whl"
    # shellcheck disable=SC2086 # a pattern
    ls "$wheels"/$wheel_name >/dev/null 2>&1 || build_llama "$llama"
    # shellcheck disable=SC2086
    pip install -q "$wheels"/$wheel_name || fail "pip cannot install $llama"
fi
"$venv/bin/python" -c 'import gguf, llama_cpp, mlx_lm, numpy, onnx, onnxruntime_genai, sentencepiece, tokenizers' ||
    fail "the environment in $venv does not work"
echo "$stamp" >"$venv/.phiq-stamp"
say "ready"
