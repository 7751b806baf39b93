#!/usr/bin/env bash
# Builds promptmix for other machines and lays out in FOLDER, which must not exist, what every package
# installs under its prefix (`/usr`, a virtual environment, an unpacked archive):
#
#   bin/promptmix
#   lib/promptmix/       llama.cpp with a kernel library for each kind of CPU, of which the program loads the
#                        best; the compiler's run-time libraries that they need
#   share/man, share/bash-completion, share/zsh, share/fish
#   share/doc/promptmix  licences, software bill of materials, changelog
#
# With PROMPTMIX_GLIBC, such as 2.28, Zig compiles and links for systems with that glibc or a later one. The
# compiler's libraries are then inside the others, and llama.cpp's own threads take the place of OpenMP.
#
# No path of this machine gets into the files: the checkout is mounted on /mnt for the build, where the
# system allows user namespaces, and crates are named /crates.
#
# Needs:   Linux; as scripts/setup; python3; with PROMPTMIX_GLIBC `cargo zigbuild` (pip install ziglang
#          cargo-zigbuild). About 3 GB in target/package.
# Example: packaging/stage.sh /tmp/promptmix-staged
#          PROMPTMIX_GLIBC=2.28 packaging/stage.sh /tmp/promptmix-staged
set -euo pipefail

# shellcheck source=packaging/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
expect_arguments 1 "$@"

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
out=$(realpath -m "$1")
if [ -e "$out" ]; then
    echo "stage: $out exists; name a folder that does not" >&2
    exit 2
fi
# shellcheck source=scripts/setup
. "$root/scripts/setup" || exit 2

SOURCE_DATE_EPOCH=$(git -C "$root" log -1 --format=%ct)
crates=${CARGO_HOME:-$HOME/.cargo}/registry/src
export SOURCE_DATE_EPOCH LC_ALL=C TZ=UTC
export RUSTFLAGS="--remap-path-prefix=$crates=/crates"
export CFLAGS="-ffile-prefix-map=$crates=/crates" CXXFLAGS="-ffile-prefix-map=$crates=/crates"
export CARGO_PROFILE_RELEASE_STRIP=symbols CARGO_PROFILE_RELEASE_INCREMENTAL=false LDFLAGS=-s
options='--release --locked --bin promptmix --target-dir target/package'
if [ -n "${PROMPTMIX_GLIBC:-}" ]; then
    target=$(rustc -vV | sed -n 's/^host: //p')
    build="cargo zigbuild --target $target.$PROMPTMIX_GLIBC --no-default-features --features pull,remote,cpu-variants $options"
    release=$root/target/package/$target/release
else
    build="cargo build --features cpu-variants $options"
    release=$root/target/package/release
fi

mkdir -p "$root/target/package"
if unshare --user --map-root-user --mount true 2>/dev/null; then
    unshare --user --map-root-user --mount bash -c "mount --bind '$root' /mnt && cd /mnt && $build"
else
    echo 'stage: no user namespaces here; the files will name the folder of the checkout' >&2
    (cd "$root" && $build)
fi

libraries=$out/lib/promptmix
install -Dm755 "$release/promptmix" "$out/bin/promptmix"
mkdir -p "$libraries"
# The folder of the newest build; older ones stay in the target folder when a setting changes.
# shellcheck disable=SC2012
llama=$(ls -dt "$release"/build/llama-cpp-sys-2-*/out | head -1)
cp "$llama"/backends/*.so "$libraries"
for library in $(readelf -d "$release/promptmix" | sed -n 's/.*NEEDED.*\[\(lib\(llama\|ggml\).*\)\]/\1/p'); do
    cp -L "$llama/lib/$library" "$libraries/$library"
done
if [ -z "${PROMPTMIX_GLIBC:-}" ]; then
    for library in libgomp.so.1 libstdc++.so.6 libgcc_s.so.1; do
        cp -L "$("${CXX:-c++}" -print-file-name="$library")" "$libraries/$library"
    done
fi
chmod 644 "$libraries"/*

promptmix=$out/bin/promptmix
share=$out/share
mkdir -p "$share/man/man1" "$share/bash-completion/completions" "$share/zsh/site-functions" \
    "$share/fish/vendor_completions.d" "$share/doc/promptmix"
"$promptmix" man --to "$share/man/man1" --quiet
"$promptmix" completions bash >"$share/bash-completion/completions/promptmix"
"$promptmix" completions zsh >"$share/zsh/site-functions/_promptmix"
"$promptmix" completions fish >"$share/fish/vendor_completions.d/promptmix.fish"
"$promptmix" bundle sbom >"$share/doc/promptmix/sbom.cdx.json"
"$promptmix" bundle sbom --format spdx >"$share/doc/promptmix/sbom.spdx.json"
cp "$root/LICENSE" "$root/CHANGELOG.md" "$share/doc/promptmix/"
python3 "$root/packaging/licences.py" "$root" >"$share/doc/promptmix/THIRD-PARTY-LICENCES.txt"
find "$out" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
