#!/usr/bin/env bash
# Packs STAGED (packaging/stage.sh) into OUT/promptmix-VERSION-ARCH-linux.tar.gz, which runs where it is
# unpacked. The same STAGED gives the same bytes.
#
# Needs:   GNU tar, gzip.
# Example: packaging/tarball.sh /tmp/promptmix-staged dist
set -euo pipefail
# shellcheck source=packaging/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
begin_package "$@"
name=promptmix-$version-$(uname -m)-linux
tar --create --directory "$staged" --transform "s,^\.,$name," --sort=name --format=ustar \
    --owner=0 --group=0 --numeric-owner . | gzip -9n >"$out/$name.tar.gz"
echo "$out/$name.tar.gz"
