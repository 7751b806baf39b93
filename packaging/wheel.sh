#!/usr/bin/env bash
# Packs STAGED (packaging/stage.sh) into a wheel in OUT. `pip install` puts the program into the bin folder of
# the environment and its libraries into lib/promptmix beside it; it contains no Python. The same STAGED gives
# the same bytes.
#
# Needs:   readelf; python3 with the package `wheel`.
# Example: packaging/wheel.sh /tmp/promptmix-staged dist
set -euo pipefail
# shellcheck source=packaging/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
begin_package "$@"
glibc=$("$here/glibc.sh" "$staged")
data=$work/promptmix-$version.data
info=$work/promptmix-$version.dist-info
mkdir -p "$data/scripts" "$data/data" "$info"
cp -a "$staged/lib" "$staged/share" "$data/data/"
cp -a "$staged/bin/promptmix" "$data/scripts/"
cat >"$info/WHEEL" <<EOF
Wheel-Version: 1.0
Generator: promptmix packaging
Root-Is-Purelib: false
Tag: py3-none-manylinux_${glibc/./_}_$(uname -m)
EOF
cat >"$info/METADATA" <<EOF
Metadata-Version: 2.1
Name: promptmix
Version: $version
Summary: Few labelled examples in, a small private text classifier out: a local LLM writes and relabels the training data.
License: Apache-2.0
EOF
find "$work" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
python3 -m wheel pack "$work" --dest-dir "$out" >/dev/null
ls "$out"/promptmix-"$version"-py3-none-*.whl
