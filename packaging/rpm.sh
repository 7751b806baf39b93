#!/usr/bin/env bash
# Packs STAGED (packaging/stage.sh) into OUT/promptmix-VERSION-1.ARCH.rpm, with the systemd units. The same
# STAGED gives the same bytes.
#
# Needs:   rpmbuild (package rpm on Debian, rpm-build elsewhere).
# Example: packaging/rpm.sh /tmp/promptmix-staged dist
set -euo pipefail
# shellcheck source=packaging/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
begin_package "$@"
lay_out_system "$work/root"
cat >"$work/promptmix.spec" <<EOF
# What is staged is installed as it is: neither stripped nor compressed again.
%global __os_install_post %{nil}
%global debug_package %{nil}
%global _build_id_links none
# Libraries of its own, in a folder of its own.
%global __provides_exclude_from ^/usr/lib/promptmix/.*$
%global __requires_exclude ^lib(llama|ggml)
%global use_source_date_epoch_as_buildtime 1
%global clamp_mtime_to_source_date_epoch 1
%global _buildhost localhost
%global _binary_payload w6.xzdio

Name: promptmix
Version: $version
Release: 1
Summary: Few labelled examples in, a small private text classifier out
License: Apache-2.0

%description
A local large language model writes texts near the class boundaries and relabels them; a DistilBERT or BERT is
trained on the result. Nothing leaves the machine.

%install
cp -a $work/root/. %{buildroot}/

%files
/usr/bin/promptmix
/usr/lib/promptmix
/usr/lib/systemd/system/promptmix.*
/usr/share/bash-completion/completions/promptmix
/usr/share/fish/vendor_completions.d/promptmix.fish
/usr/share/zsh/site-functions/_promptmix
/usr/share/man/man1/promptmix*
%dir /usr/share/doc/promptmix
%license /usr/share/doc/promptmix/LICENSE
%doc /usr/share/doc/promptmix/*.*
EOF
find "$work/root" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
rpmbuild --quiet -bb --define "_topdir $work/rpm" --define "_rpmdir $work/made" "$work/promptmix.spec" >&2
cp "$work"/made/*/promptmix-*.rpm "$out"
ls "$out/promptmix-$version"-1.*.rpm
