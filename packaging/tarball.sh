#!/usr/bin/env bash
# Packs STAGED (packaging/stage.sh) into OUT/promptmix-VERSION-ARCH-linux.tar.gz, which runs where it is
# unpacked. The same STAGED gives the same bytes.
#
# Needs:   GNU tar, gzip.
# Example: packaging/tarball.sh /tmp/promptmix-staged dist
set -euo pipefail
# shellcheck source=packaging/arguments.sh
. "$(dirname "${BASH_SOURCE[0]}")/arguments.sh"
expect_arguments 2 "$@"
staged=$1 out=$2
name=promptmix-$("$staged/bin/promptmix" --version | cut -d' ' -f2)-$(uname -m)-linux
mkdir -p "$out"
tar --create --directory "$staged" --transform "s,^\.,$name," --sort=name --format=ustar \
    --owner=0 --group=0 --numeric-owner . | gzip -9n >"$out/$name.tar.gz"
echo "$out/$name.tar.gz"
