# shellcheck shell=bash
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
