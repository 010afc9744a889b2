# A short front for the CMake presets; see CMakePresets.json and CONTRIBUTING.md.
.PHONY: all demo test unit asan clang tsan arm64 fuzz bench bench-onnx bench-openvino bench-loss bench-run soak install format clean

all: build/release/build.ninja
	@cmake --build --preset release

build/release/build.ninja:
	@scripts/setup.sh build
	@cmake --preset release

build/arm64/build.ninja:
	@scripts/setup.sh cross
	@cmake --preset arm64

build/%/build.ninja:
	@scripts/setup.sh tests
	@cmake --preset $*

# Quantizes the model in this repository to every container and shows it running.
demo: all
	@scripts/setup.sh tests
	@scripts/demo.sh

# Everything: unit tests, and the outputs in the real runtimes.
test: build/ci/build.ninja
	@scripts/venv.sh
	@cmake --build --preset ci
	@ctest --preset ci

# What needs no Python environment.
unit: build/ci/build.ninja
	@cmake --build --preset ci
	@ctest --preset ci -L 'unit|rules|fuzz'

asan clang tsan arm64: %: build/%/build.ninja
	@cmake --build --preset $@
	@ctest --preset $@

# As many turns and tokens as an hour with Phi-3.5-mini at 4 bits on two cores (14 tokens a second):
# memory must not grow.
soak: build/ci/build.ninja
	@cmake --build --preset ci --target soak
	@build/ci/tests/tools/soak models/phiq-sample 400 128 65536

fuzz: build/fuzz/build.ninja
	@scripts/fuzz.sh

bench: all
	@scripts/setup.sh tests
	@scripts/venv.sh
	@build/venv/bin/python bench/bench_convert.py --phiq build/release/src/cli/phiq

# Prefill and decoding beside llama.cpp, ONNX Runtime and OpenVINO on the same codes, in turn.
bench-run: all
	@scripts/setup.sh tests
	@scripts/venv.sh
	@build/venv/bin/python bench/runtimes.py

# Against the builder of onnxruntime-genai, which needs PyTorch: PQ_BUILDER_PYTHON names its python.
bench-onnx: all
	@scripts/venv.sh
	@build/venv/bin/python bench/onnx_vs_builder.py

# Against optimum-intel, which needs PyTorch: PQ_OPTIMUM_PYTHON names the python of its venv.
bench-openvino: all
	@scripts/venv.sh
	@build/venv/bin/python bench/openvino_vs_optimum.py

# Loss of phiq's outputs beside that of all peers at their best; SPEED=1: what learning from a text
# costs. Peers that need PyTorch go into build/peers (several GB).
bench-loss: all
	@scripts/venv.sh
	@build/venv/bin/python bench/loss_$(if $(SPEED),speed,vs_peers).py

install: all
	@cmake --install build/release

format:
	@clang-format -i $$(git ls-files '*.c' '*.h')

clean:
	@rm -rf build/release build/ci build/asan build/tsan build/clang build/fuzz build/arm64
