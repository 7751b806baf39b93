# shellcheck shell=bash disable=SC2034
# Sourced by the scripts beside it.

# Unless there are $1 arguments after it: prints the comment at the top of the script, and ends it. With
# `--help` that is no error.
expect_arguments() {
    local count=$1 status=2
    shift
    case ${1:-} in
        -h | --help) status=0 ;;
        *) if [ $# = "$count" ]; then return; fi ;;
    esac
    sed -n '2,$ { /^#/!q; s/^# \{0,1\}//p }' "$0" >&$((status == 0 ? 1 : 2))
    exit $status
}

# Begins a package from STAGED in OUT, the two arguments: sets `here`, `staged`, `out`, `version` and `work`, a
# temporary folder. Files in a package get the time of STAGED.
begin_package() {
    expect_arguments 2 "$@"
    here=$(cd "$(dirname "$0")" && pwd)
    staged=$1 out=$2
    version=$("$staged/bin/promptmix" --version | cut -d' ' -f2)
    SOURCE_DATE_EPOCH=$(stat -c %Y "$staged/bin/promptmix")
    export SOURCE_DATE_EPOCH
    mkdir -p "$out"
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
}

# Lays out under $1 what a package of a Linux distribution installs: STAGED in /usr, the systemd units, man pages
# compressed. The compiler's run-time libraries are those of the distribution.
lay_out_system() {
    local root=$1
    mkdir -p "$root/usr/lib/systemd/system"
    cp -a "$staged/." "$root/usr/"
    rm -f "$root"/usr/lib/promptmix/lib{gomp,stdc++,gcc_s}.so.*
    sed 's,/usr/local/bin,/usr/bin,' "$here/systemd/promptmix.service" >"$root/usr/lib/systemd/system/promptmix.service"
    cp "$here/systemd/promptmix.socket" "$root/usr/lib/systemd/system/"
    gzip -9n "$root"/usr/share/man/man1/*.1
}
