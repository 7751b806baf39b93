#!/usr/bin/env bash
# Installs each package in DIST where nothing else is, and runs the demo there without a network and without
# any variable of the caller: the archive in a temporary folder, the wheel in a virtual environment, the .deb and
# the .rpm in a new root each. Then the facts about the files: no library of CUDA, and the glibc that they need. Exits
# with 1 if a check fails.
#
# Needs:   Linux with user namespaces, readelf; python3 with venv for the wheel; mmdebstrap, root and Debian's
#          packages for the .deb and the .rpm (skipped otherwise), rpm for the latter.
# Example: packaging/check.sh dist

# Checks are run by name, and mmdebstrap expands its hooks.
# shellcheck disable=SC2016,SC2317
set -uo pipefail
# shellcheck source=packaging/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
expect_arguments 1 "$@"
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
dist=$(realpath "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

# Prints the verdict on check $1: whether the rest of the line succeeds.
check() {
    local name=$1
    shift
    if "$@" >"$work/log" 2>&1; then
        echo "ok      $name"
    else
        echo "FAILED  $name"
        sed 's/^/        /' "$work/log" | tail -20
        failed=1
    fi
}

# The demo by the program $1, in an empty home without a network.
demo() {
    mkdir -p "$work/home"
    env -i HOME="$work/home" PATH=/usr/bin:/bin unshare --user --map-root-user --net \
        "$1" demo --out "$work/home/demo-$RANDOM"
}

# The package whose name matches $1.
package() {
    find "$dist" -maxdepth 1 -name "$1" | grep . || {
        echo "check: there is no $1 in $dist" >&2
        return 2
    }
}

archive=$(package 'promptmix-*-linux.tar.gz') || exit
mkdir "$work/archive"
tar -xzf "$archive" -C "$work/archive" --strip-components=1
check 'archive: demo' demo "$work/archive/bin/promptmix"
# A kernel that another program made must not be loaded.
cp -a "$work/archive" "$work/damaged"
for kernel in "$work"/damaged/lib/promptmix/libggml-cpu-*.so; do
    printf 'x' >>"$kernel"
done
refuses() { "$1" doctor 2>&1 | grep -q 'is not the file that came with this program'; }
check 'archive: changed kernels are refused' refuses "$work/damaged/bin/promptmix"
cuda() { ! readelf -d "$work/archive/bin/promptmix" "$work"/archive/lib/promptmix/* | grep -iE 'NEEDED.*(cuda|cublas)'; }
check 'archive: no library of CUDA' cuda

wheel=$(package 'promptmix-*.whl') || exit
install_wheel() {
    python3 -m venv "$work/venv" && "$work/venv/bin/pip" install --quiet --no-index "$wheel"
}
check 'wheel: pip install --no-index' install_wheel
check 'wheel: demo' demo "$work/venv/bin/promptmix"

if [ "$(id -u)" = 0 ] && command -v mmdebstrap >/dev/null; then
    codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
    # The demo in the root $1. The loader finds the libraries beside the program by /proc/self/exe.
    demo_in() {
        unshare --mount --net sh -c 'mount -t proc proc "$0/proc" && exec chroot "$0" "$@"' "$1" \
            env -i HOME=/tmp PATH=/usr/bin:/bin promptmix demo --out /tmp/demo
    }
    deb=$(package 'promptmix_*.deb') || exit
    install_deb() {
        mmdebstrap --quiet --variant=apt --customize-hook="copy-in $deb /tmp" \
            --customize-hook='chroot "$1" sh -c "apt-get install --yes /tmp/promptmix_*.deb"' \
            "$codename" "$work/debian"
    }
    check '.deb: apt-get install in a new Debian' install_deb
    check '.deb: demo' demo_in "$work/debian"

    # Debian knows no packages that an .rpm could depend on, so they are named here.
    rpm=$(package 'promptmix-*.rpm') || exit
    install_rpm() {
        mmdebstrap --quiet --variant=apt --include=libgomp1,libstdc++6 "$codename" "$work/rpm" &&
            rpm --root "$work/rpm" --nodeps --install "$rpm"
    }
    check '.rpm: rpm --install in a new root' install_rpm
    check '.rpm: demo' demo_in "$work/rpm"
else
    echo 'SKIPPED .deb and .rpm: need root and mmdebstrap'
fi
echo "glibc   $("$here/glibc.sh" "$work/archive")"
exit $failed
