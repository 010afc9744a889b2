#!/bin/sh
# Installs what building phiq (default), testing it (`setup.sh tests`) or testing it for aarch64 as
# well (`setup.sh cross`) needs on Debian, Ubuntu and their kin. Quick and silent when nothing is missing. SPDX-License-Identifier: MIT
set -eu

build_packages="cmake ninja-build gcc g++ pkg-config libexpat1-dev libjansson-dev libpcre2-dev
libedit-dev protobuf-c-compiler libprotobuf-c-dev"
test_packages="libcmocka-dev python3 python3-venv git clang"
# Wanted by some tests, which are left out where the distribution lacks them.
optional_packages="clang-format-14 libclang-rt-dev chromium"
cross_packages="gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static protobuf-c-compiler
libexpat1-dev:arm64 libjansson-dev:arm64 libpcre2-dev:arm64 libedit-dev:arm64 libcmocka-dev:arm64
libprotobuf-c-dev:arm64"

say() {
    printf 'setup: %s\n' "$*"
}

installed() {
    dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q 'install ok installed'
}

missing_of() {
    for package in "$@"; do
        installed "$package" || printf '%s ' "$package"
    done
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        env DEBIAN_FRONTEND=noninteractive "$@"
    else
        sudo -n env DEBIAN_FRONTEND=noninteractive "$@"
    fi
}

can_be_root() {
    [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null
}

# The package lists of a fresh image are empty: fetch them only when a package is not known.
known() {
    apt-cache show "$1" >/dev/null 2>&1
}

refresh_lists() {
    for package in "$@"; do
        if ! known "$package"; then
            say "fetching the package lists"
            as_root apt-get update -qq </dev/null
            return
        fi
    done
}

install_packages() {
    say "installing: $*"
    as_root apt-get install -y -qq --no-install-recommends "$@" </dev/null >/dev/null
}

case "${1:-build}" in
build) wanted=$build_packages optional= ;;
tests) wanted="$build_packages $test_packages" optional=$optional_packages ;;
cross) wanted="$build_packages $cross_packages" optional= ;;
*)
    echo "usage: scripts/setup.sh [build|tests|cross]" >&2
    exit 2
    ;;
esac

if ! command -v apt-get >/dev/null; then
    say "no apt-get here. Needed: a C17 compiler, CMake >= 3.25, Ninja, pkg-config, Jansson >= 2.13,"
    say "Expat, PCRE2, libedit, protobuf-c with its compiler"
    say "(and for the tests: cmocka, Python >= 3.10 with venv, git, clang). Going on without."
    exit 0
fi

# shellcheck disable=SC2086 # lists of words
missing=$(missing_of $wanted)
# shellcheck disable=SC2086
missing_optional=$(missing_of $optional)
if [ -n "$missing$missing_optional" ] && ! can_be_root; then
    if [ -z "$missing" ]; then
        say "some tests will be left out without: $missing_optional"
        exit 0
    fi
    say "these packages are missing, and installing them takes root. Please run:"
    say "    sudo apt-get update && sudo apt-get install -y $missing$missing_optional"
    exit 1
fi
if [ -n "$missing" ]; then
    if [ "${1:-build}" = cross ] && ! dpkg --print-foreign-architectures | grep -qx arm64; then
        as_root dpkg --add-architecture arm64
    fi
    # shellcheck disable=SC2086
    refresh_lists $missing
    # shellcheck disable=SC2086
    install_packages $missing
fi
for package in $missing_optional; do
    refresh_lists "$package"
    if ! known "$package" || ! install_packages "$package"; then
        say "$package cannot be had here: tests that need it are left out"
    fi
done
