#!/usr/bin/env bash
# Packs STAGED (packaging/stage.sh) into OUT/promptmix_VERSION_ARCH.deb, with the systemd units.
#
# Needs:   dpkg-deb and dpkg-shlibdeps (package dpkg-dev).
# Example: packaging/deb.sh /tmp/promptmix-staged dist
set -euo pipefail
# shellcheck source=packaging/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
begin_package "$@"
architecture=$(dpkg --print-architecture)
root=$work/debian/promptmix
mkdir -p "$root/DEBIAN"
lay_out_system "$root"
mv "$root/usr/share/doc/promptmix/LICENSE" "$root/usr/share/doc/promptmix/copyright"
gzip -9n "$root/usr/share/doc/promptmix/CHANGELOG.md"

# What it links outside of its own libraries, with Debian's least versions.
printf 'Source: promptmix\n\nPackage: promptmix\nArchitecture: any\n' >"$work/debian/control"
depends=$(cd "$work" && dpkg-shlibdeps -O --ignore-missing-info "-l$root/usr/lib/promptmix" \
    "$root/usr/bin/promptmix" "$root"/usr/lib/promptmix/*.so* | sed -n 's/^shlibs:Depends=//p')
cat >"$root/DEBIAN/control" <<EOF
Package: promptmix
Version: $version
Architecture: $architecture
Maintainer: promptmix developers <promptmix@localhost>
Section: science
Priority: optional
Installed-Size: $(du -sk "$root/usr" | cut -f1)
Depends: $depends
Description: few labelled examples in, a small private text classifier out
 A local large language model writes texts near the class boundaries and relabels
 them; a DistilBERT or BERT is trained on the result. Nothing leaves the machine.
EOF
find "$root" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
file=$out/promptmix_${version}_$architecture.deb
dpkg-deb --root-owner-group --build "$root" "$file" >/dev/null
echo "$file"
