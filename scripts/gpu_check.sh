#!/usr/bin/env bash
# Checks a CUDA build of promptmix on a machine with an NVIDIA card: whether it starts under its own
# seccomp filter, whether the student's gradients on the card equal PyTorch's, how fast teacher and
# student are there (beside PyTorch on the same card), whether the demo comes out right, and whether
# too large a batch ends in an error message. Prints one JSON line for each check, `ok` true or false;
# a check that fails does not stop the others. The machine needs no Rust and no CUDA compiler: what
# was built elsewhere is copied there.
#
#   FOLDER/promptmix         the program, built with --features cuda
#   FOLDER/promptmix-tests   the unit tests of the same build (optional, for the gradients):
#                            target/release/deps/promptmix-<hash>
#   FOLDER/student           tests/data/student of this project, for the same
#   FOLDER/*.py              scripts/teacher/random_model.py, scripts/student/random_student.py
# The last two kinds are taken from this checkout where FOLDER does not have them. `gpu_check.sh --pack
# FOLDER` fills FOLDER from this checkout and its target folder.
#
# Needs:   bash, coreutils, python3 on the machine with the card; for the random models numpy, gguf,
#          safetensors and tokenizers; for the comparison torch and transformers. CUDA 13's shared
#          libraries, found where the loader looks, beside PyTorch, or in /usr/local/cuda.
# Example: scripts/gpu_check.sh --pack /tmp/gpu      then, there:   /tmp/gpu/gpu_check.sh /tmp/gpu
#          ONLY="doctor parity" scripts/gpu_check.sh /tmp/gpu
set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")
case ${1:-} in
    -h | --help)
        sed -n '2,/^set /{/^set /!s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"
        exit 0
        ;;
    --pack)
        set -e
        out=${2:?--pack wants a folder}
        mkdir -p "$out"
        target=${CARGO_TARGET_DIR:-$root/target}/release
        strip -o "$out/promptmix" "$target/promptmix"
        # The newest that answers as a test binary does.
        for tests in $(ls -t "$target"/deps/promptmix-*[0-9a-f]); do
            if [ -x "$tests" ] && grep -qa PROMPTMIX_TEST_DEVICE "$tests"; then
                strip -o "$out/promptmix-tests" "$tests"
                break
            fi
        done
        cp -r "$root/tests/data/student" "$out/"
        cp "$here/gpu_check.sh" "$here/teacher/random_model.py" "$here/student/random_student.py" "$out/"
        du -sh "$out"
        exit 0
        ;;
esac
folder=$(cd "${1:-$here}" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
program=$folder/promptmix
tests=$folder/promptmix-tests
# Measurements are kept here, not among the user's own files.
export PROMPTMIX_HOME=$work/home
if [ -d "$folder/site" ]; then export PYTHONPATH=$folder/site${PYTHONPATH:+:$PYTHONPATH}; fi

# The file $1 of FOLDER, or $2 of the checkout.
from() {
    if [ -e "$folder/$1" ]; then echo "$folder/$1"; else echo "$root/$2"; fi
}

wanted() {
    case " ${ONLY:-$1} " in *" $1 "*) return 0 ;; esac
    return 1
}

# say CHECK OK [KEY VALUE]...   prints the line; a VALUE that is JSON is passed on as it is.
say() {
    python3 - "$@" <<'END'
import json, sys
check, ok, *rest = sys.argv[1:]
def value(text):
    try:
        return json.loads(text)
    except ValueError:
        return text
print(json.dumps({"check": check, "ok": ok == "true"} | {k: value(v) for k, v in zip(rest[::2], rest[1::2])}, ensure_ascii=False), flush=True)
END
}

# attempt SECONDS COMMAND...   sets rc and took; the output is in $work/out and $work/err.
attempt() {
    local limit=$1 began
    shift
    began=$(date +%s.%N)
    timeout -k 5 "$limit" "$@" >"$work/out" 2>"$work/err"
    rc=$?
    took=$(python3 -c "import sys, time; print(round(time.time() - float(sys.argv[1]), 2))" "$began")
}

tail_of() {
    tail -c "${2:-600}" "$work/$1"
}

# ends_well [RC]   "true" where the last attempt ended with RC (0) and without a fault of the program's own.
ends_well() {
    if [ "$rc" -eq "${1:-0}" ] && ! grep -q 'fault of its own' "$work/err"; then echo true; else echo false; fi
}

# --- The card and the libraries -------------------------------------------------------------------

card=$(nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>/dev/null | head -1)
if [ -n "$card" ]; then
    has_card=true
    say card true name "$card" kernel "$(uname -r)" cores "$(nproc)"
else
    has_card=false
    say card false said "no NVIDIA card: nvidia-smi names none; what needs one is expected to fail"
fi

missing() {
    ldd "$1" 2>/dev/null | sed -n 's/^[ \t]*\([^ ]*\) => not found$/\1/p' | sort -u | tr '\n' ' '
}

# Folders in which CUDA's libraries may be: of Python's packages, of a toolkit, of a mounted driver.
candidates() {
    python3 - <<'END'
import glob, os, sys, sysconfig
roots = [sysconfig.get_paths()["purelib"], *sys.path]
for root in dict.fromkeys(roots):
    for folder in sorted(glob.glob(os.path.join(root, "nvidia", "*", "lib"))):
        print(folder)
for pattern in ("/usr/local/cuda/lib64", "/usr/local/cuda*/lib64", "/usr/local/cuda*/targets/*/lib", "/usr/local/nvidia/lib64"):
    for folder in sorted(glob.glob(pattern)):
        print(folder)
END
    echo "$folder/lib"
}

before=$(missing "$program")
if [ -n "$before" ]; then
    while read -r place; do
        for library in $(missing "$program"); do
            if [ -e "$place/$library" ]; then
                export LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$place
                break
            fi
        done
    done < <(candidates)
fi
still=$(missing "$program")
if [ -z "$still" ]; then found=true; else found=false; fi
say libraries $found not_on_the_usual_path "$before" missing "$still" LD_LIBRARY_PATH "${LD_LIBRARY_PATH:-}"

# --- (a) It starts, and sees the card within its filter --------------------------------------------

if wanted doctor; then
    attempt 120 "$program" doctor --json
    summary=$(python3 - "$work/out" <<'END'
import json, sys
try:
    told = json.load(open(sys.argv[1]))
    print(json.dumps({k: told.get(k) for k in ("features", "student_device", "sockets", "pocket_teacher", "pocket_student")}))
except ValueError:
    print(json.dumps("no JSON"))
END
    )
    ok=$(ends_well)
    if ! grep -q '"Cuda' <<<"$summary"; then ok=false; fi
    say doctor "$ok" rc "$rc" seconds "$took" told "$summary" stderr "$(tail_of err)"
fi

# --- (b) Gradients on the card against PyTorch's ---------------------------------------------------

if wanted parity && [ -x "$tests" ]; then
    PROMPTMIX_TEST_DATA=$(from student tests/data/student)
    export PROMPTMIX_TEST_DATA
    device=cuda
    if ! $has_card; then device=; fi
    for test in $("$tests" --list 2>"$work/err" | sed -n 's/^\(student::parity::.*\): test$/\1/p'); do
        if [ -n "$device" ]; then
            attempt 120 env PROMPTMIX_TEST_DEVICE=$device "$tests" --exact "$test" --nocapture
        else
            attempt 120 "$tests" --exact "$test" --nocapture
        fi
        say parity "$(ends_well)" test "${test##*::}" device "${device:-cpu}" rc "$rc" seconds "$took" \
            told "$(grep -h 'off by' "$work/out" "$work/err" | tr '\n' ';')" stderr "$($(ends_well) || tail_of err)"
    done
elif wanted parity; then
    say parity false said "there is no $tests"
fi

# --- (e) The whole road ----------------------------------------------------------------------------

if wanted demo; then
    attempt 240 "$program" demo --out "$work/demo"
    say demo "$(ends_well)" rc "$rc" seconds "$took" stdout "$(tail_of out 2500)" stderr "$($(ends_well) || tail_of err)"
fi

# --- (c) The teacher's speed -----------------------------------------------------------------------

# Of a report: what counts of each measure.
rates() {
    python3 - "$work/out" <<'END'
import json, sys
keep = ("kind", "slots", "items", "items_per_second", "prompt_tokens_per_second", "decode_tokens_per_second", "texts", "texts_per_second",
        "steps", "step_ms", "step_ms_median", "students", "tokenise_seconds", "seconds")  # fmt: skip
try:
    told = json.load(open(sys.argv[1]))
    measures = [{k: round(v, 3) if isinstance(v, float) else v for k, v in m.items() if k in keep} for m in told["measures"]]
    print(json.dumps({"model": told["model"], "gpu": told["gpu"], "threads": told["threads"], "peak_MB": told["peak_memory_bytes"] // 10**6, "measures": measures}))
except (ValueError, KeyError):
    print(json.dumps("no report"))
END
}

# bench CHECK SECONDS ARGUMENTS...
bench() {
    local check=$1 limit=$2
    shift 2
    attempt "$limit" "$program" bench --json "$@"
    say "$check" "$(ends_well)" arguments "$*" rc "$rc" seconds "$took" report "$(rates)" stderr "$($(ends_well) || tail_of err)"
}

if wanted teacher; then
    bench teacher 90 --teacher pocket
    bench teacher 90 --teacher pocket --items 512
fi
if wanted teacher_135m; then
    attempt 120 python3 "$(from random_model.py scripts/teacher/random_model.py)" "$work/random.gguf"
    if [ "$rc" -eq 0 ]; then
        bench teacher_135m 120 --teacher "$work/random.gguf"
        bench teacher_135m 120 --teacher "$work/random.gguf" --items 512
        bench teacher_135m 120 --teacher "$work/random.gguf" --items 512 --only generate,labels --set teacher.flash_attention=off
    else
        say teacher_135m false said "no random model" stderr "$(tail_of err)"
    fi
fi

# --- (d) The student's speed, beside PyTorch's -----------------------------------------------------

# PyTorch on the same card: random tokens, all texts equally long, F32 without TF32, fused AdamW.
peer() {
    attempt 150 python3 - "$work/student" "$@" <<'END'
import json, sys, time
import torch, transformers
folder, batch, length, steps, many = sys.argv[1], *map(int, sys.argv[2:])
transformers.logging.set_verbosity_error()
model = transformers.AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).cuda().train()
plain = lambda name: name.endswith(".bias") or "norm" in name.lower()
groups = [{"params": [p for n, p in model.named_parameters() if plain(n) == bare], "weight_decay": decay} for bare, decay in ((False, 0.01), (True, 0.0))]
optimizer = torch.optim.AdamW(groups, lr=4e-5, fused=True)
ids = lambda rows: torch.randint(5, model.config.vocab_size, (rows, length), device="cuda")
labels = torch.randint(0, model.config.num_labels, (batch,), device="cuda")
warm = 10
for step in range(warm + steps):
    if step == warm:
        torch.cuda.synchronize()
        began = time.perf_counter()
    model(input_ids=ids(batch), labels=labels).loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
torch.cuda.synchronize()
train = (time.perf_counter() - began) / steps
model.eval()
rates = {}
with torch.inference_mode():
    for rows in (40, 320):
        texts = ids(rows)
        for turn in range(3 + many):
            if turn == 3:
                torch.cuda.synchronize()
                began = time.perf_counter()
            model(input_ids=texts).logits.cpu()
        rates[rows] = round(rows * many / (time.perf_counter() - began), 1)
print(json.dumps({"torch": torch.__version__, "step_ms": round(1e3 * train, 3), "train_texts_per_second": round(batch / train, 1), "classify_texts_per_second_by_batch": rates}))
END
    say student_pytorch "$(ends_well)" arguments "batch, tokens, steps, turns: $*" rc "$rc" seconds "$took" report "$(tail_of out)" stderr "$($(ends_well) || tail_of err)"
}

if wanted student || wanted memory; then
    attempt 120 python3 "$(from random_student.py scripts/student/random_student.py)" "$work/student"
    if [ "$rc" -ne 0 ]; then say student false said "no random student" stderr "$(tail_of err)"; fi
fi
if wanted student && [ -e "$work/student/model.safetensors" ]; then
    bench student 120 --student "$work/student" --only train,classify --equal-length 50
    bench student 120 --student "$work/student" --only train,classify --equal-length 50 --batch 32 --rows 1280
    if $has_card; then
        peer 8 50 40 20
        peer 32 50 40 20
    else
        say student_pytorch false said "no card to compare on"
    fi
    bench student 120 --student pocket --only train,classify --batch 32 --rows 1280
fi

# --- (f) Too large ----------------------------------------------------------------------------------

if wanted memory && [ -e "$work/student/model.safetensors" ]; then
    # A CPU refuses it by its estimate, a card by what it cannot allocate.
    batch=${LARGE_BATCH:-384}
    attempt 120 "$program" bench --student "$work/student" --only train --equal-length 512 --batch "$batch" --rows "$batch" --steps 1
    if grep -q 'hint: ' "$work/err"; then hint=true; else hint=false; fi
    say memory "$(ends_well 2)" batch "$batch" rc "$rc" seconds "$took" hint $hint stderr "$(tail_of err)"
fi
