#!/usr/bin/env bash
# Builds the program from a bundle with sources (`promptmix bundle create --source DIR`) where there is no
# network: verifies the bundle, unpacks the sources into FOLDER (which must not exist), and compiles them in
# a network namespace without any interface. With --check it stops before the long part: cargo has then
# found every crate in the bundle, and none elsewhere (its home is an empty folder).
#
# Needs:   Linux with user namespaces (`unshare -rn`), a promptmix to verify with, and what no bundle
#          holds: the Rust toolchain of rust-toolchain.toml, a C++ compiler, make, cmake, libclang.
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
# The toolchain stays where it is; crates that lie in the usual home must not help.
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
time unshare -rn cargo build --release --offline --locked --no-default-features
unshare -rn env -i HOME="$home" target/release/promptmix --version
