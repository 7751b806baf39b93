#!/usr/bin/env bash
# Builds promptmix offline from a bundle with sources (`promptmix bundle create --source DIR`): verifies
# the bundle, unpacks the sources into FOLDER (which must not exist) and compiles them in a network
# namespace without interfaces. With --check, stops before compiling, once cargo has found every crate in
# the bundle and none elsewhere (CARGO_HOME is an empty folder).
#
# Needs:   Linux with user namespaces (`unshare -rn`), a promptmix to verify with, and what a bundle does
#          not contain: the Rust toolchain of rust-toolchain.toml, a C++ compiler, make, cmake, libclang.
# Example: scripts/airgap/build_source.sh promptmix sources.pmb public.pem /tmp/built
set -euo pipefail

check=
if [ "${1:-}" = --check ]; then
    check=yes
    shift
fi
if [ $# != 4 ]; then
    echo "usage: $0 [--check] PROGRAM BUNDLE PUBLIC_KEY FOLDER" >&2
    exit 2
fi
program=$(realpath "$1")
"$program" bundle import "$2" --public-key "$3" --source-to "$4"
cd "$4"
# The toolchain stays in place; crates in the usual CARGO_HOME must not be found.
home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
export RUSTUP_HOME=${RUSTUP_HOME:-$HOME/.rustup} CARGO_HOME=$home
unset CARGO_TARGET_DIR
crates=$(unshare -rn cargo metadata --offline --locked --format-version 1 | grep -o '"manifest_path":"[^"]*"' |
    grep -c "$PWD/vendor/")
echo "cargo finds $crates crates in vendor/, with the network off"
if [ -n "$check" ]; then
    exit
fi
time unshare -rn cargo build --release --offline --locked --no-default-features --features openmp
unshare -rn env -i HOME="$home" target/release/promptmix --version
