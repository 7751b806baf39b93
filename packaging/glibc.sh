#!/usr/bin/env bash
# Prints the glibc that the programs and libraries in STAGED (packaging/stage.sh) need, such as 2.34.
#
# Needs:   readelf.
# Example: packaging/glibc.sh /tmp/promptmix-staged
set -euo pipefail
# shellcheck source=packaging/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
expect_arguments 1 "$@"
find "$1/bin" "$1/lib" -type f -exec readelf --wide --dyn-syms {} + 2>/dev/null |
    grep -oE '@@?GLIBC_[0-9.]+' | tr -d '@' | cut -d_ -f2 | sort -Vu | tail -1
