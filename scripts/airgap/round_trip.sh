#!/usr/bin/env bash
# Takes a bundle through all its steps without a network: create, verify, import into an empty home, and
# run the demo's task with the imported program and models. Also shows that a flipped byte and a wrong key
# are refused. Works in a temporary folder and removes it at the end.
#
# Needs:   Linux with user namespaces (`unshare -rn`), a built promptmix, openssl.
# Example: scripts/airgap/round_trip.sh target/release/promptmix
#          scripts/airgap/round_trip.sh target/release/promptmix --set augment.per_class=12   (for the run)
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
program=$(realpath "${1:-$root/target/release/promptmix}")
shift || true
if [ "${PROMPTMIX_NO_NETWORK:-}" != inside ]; then
    # The rest runs in a new network namespace, in which not even the loopback interface is up.
    PROMPTMIX_NO_NETWORK=inside exec unshare -rn "$0" "$program" "$@"
fi

say() { printf '\n== %s\n' "$*"; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/here" "$work/there" "$work/home"
# Runs a command with an empty home and no other environment variables.
mix() { env -i HOME="$work/home" "$@"; }

say "interfaces that are up: $(awk -F: 'NR > 2 { print $1 }' /proc/net/dev | while read -r name; do
    [ "$(cat "/sys/class/net/$name/operstate" 2>/dev/null)" = up ] && echo "$name"; done | wc -l)"

say "keys by openssl"
openssl genpkey -algorithm ed25519 -out "$work/here/private.pem"
chmod 600 "$work/here/private.pem"
openssl pkey -in "$work/here/private.pem" -pubout -out "$work/there/public.pem"

say "create"
time mix "$program" bundle create "$work/here/carry.pmb" --key "$work/here/private.pem" \
    --teacher "$root/models/pocket/teacher/pocket-teacher.gguf" --student "$root/models/pocket/student"

# From here on only the two carried files and the task are used.
mv "$work/here/carry.pmb" "$work/there/"
rm -rf "$work/here" "$work/home" && mkdir "$work/home"
cp -r "$root/models/pocket/demo" "$work/there/task"
cd "$work/there"

say "verify"
time mix "$program" bundle verify carry.pmb --public-key public.pem

say "a flipped byte is found"
size=$(stat -c %s carry.pmb)
for at in $((size / 3)) $((size / 2)) $((size - 1000)) $((size - 50)); do
    cp carry.pmb flipped.pmb
    old=$(od -An -t u1 -j "$at" -N 1 flipped.pmb | tr -d ' ')
    # shellcheck disable=SC2059
    printf "\\x$(printf %02x $((old ^ 1)))" | dd of=flipped.pmb bs=1 seek="$at" conv=notrunc status=none
    code=0
    mix "$program" bundle verify flipped.pmb --public-key public.pem 2>refusal.txt || code=$?
    [ "$code" = 1 ] || { echo "byte $at: exit code $code"; exit 1; }
    echo "byte $at of $size:"
    cat refusal.txt
done
rm flipped.pmb

say "a wrong key is refused"
openssl genpkey -algorithm ed25519 | openssl pkey -pubout -out wrong.pem
code=0
mix "$program" bundle import carry.pmb --public-key wrong.pem || code=$?
[ "$code" = 1 ] && [ -z "$(ls -A "$work/home")" ]

say "import"
time mix "$program" bundle import carry.pmb --public-key public.pem --program-to "$work/there/promptmix"
rm carry.pmb

say "run: the program and the models that were imported"
time mix ./promptmix run task --out run --teacher pocket-teacher --student student "$@"
ls -l run
say "done"
