# A short front for the CMake presets; see CMakePresets.json and CONTRIBUTING.md.
.PHONY: all demo test unit bench install clean setup asan fuzz arm64 format

all: build/release/build.ninja
	@cmake --build --preset release

build/%/build.ninja:
	@scripts/setup.sh build
	@cmake --preset $*

demo: all
	@scripts/setup.sh tests
	@scripts/demo.sh

# Everything: unit tests, and the outputs in the real runtimes.
test: build/ci/build.ninja
	@scripts/setup.sh tests
	@scripts/venv.sh
	@cmake --build --preset ci
	@ctest --preset ci

unit: build/ci/build.ninja
	@cmake --build --preset ci
	@ctest --preset ci -L 'unit|rules|fuzz'

asan clang tsan arm64: %: build/%/build.ninja
	@cmake --build --preset $@
	@ctest --preset $@

bench: all
	@scripts/setup.sh tests
	@scripts/venv.sh
	@build/venv/bin/python bench/bench_convert.py --phiq build/release/src/cli/phiq

fuzz: build/fuzz/build.ninja
	@scripts/fuzz.sh

install: all
	@cmake --install build/release

format:
	@clang-format -i $$(git ls-files '*.c' '*.h')

clean:
	@rm -rf build/release build/ci build/asan build/tsan build/clang build/fuzz build/arm64
