#!/usr/bin/env bash
# Trains the two embedded models of models/pocket from scratch: teacher (GGUF) and student (Hugging Face folder).
#
# What:    tokenizers, then teacher and student in parallel (one CPU core each), GGUF, checks, sizes and sha256.
# Needs:   python 3.10+ with torch, tokenizers, transformers, safetensors, gguf, jinja2, numpy; a C++ compiler for
#          torch.compile. `--venv DIR` creates DIR and installs them (about 1 GB); nothing else needs a network.
# Example: scripts/pocket/make.sh --minutes-teacher 34 --minutes-finish 27 --minutes-student 26
#          scripts/pocket/make.sh --venv .venv --minutes-teacher 2 --minutes-finish 0 --minutes-student 2 --out /tmp/pocket   # a quick try
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
minutes_teacher=34 minutes_finish=27 minutes_student=26 work=$root/target/pocket out=$root/models/pocket venv="" python=${PYTHON:-python3}

while [ $# -gt 0 ]; do
  case $1 in
    --minutes-teacher) minutes_teacher=$2; shift 2 ;;
    --minutes-finish) minutes_finish=$2; shift 2 ;;   # second pass of the teacher at a small learning rate; 0: none
    --minutes-student) minutes_student=$2; shift 2 ;;
    --work) work=$2; shift 2 ;;          # tokenizers, checkpoints, logs
    --out) out=$2; shift 2 ;;            # gets teacher/ and student/
    --venv) venv=$2; shift 2 ;;
    -h | --help) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "make.sh: unknown flag $1 (see --help)" >&2; exit 2 ;;
  esac
done

if [ -n "$venv" ]; then
  [ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
  "$venv/bin/pip" install --quiet torch tokenizers transformers safetensors gguf jinja2 numpy
  python=$venv/bin/python
fi
mkdir -p "$work" "$out/teacher"
work=$(cd "$work" && pwd) out=$(cd "$out" && pwd)
case $python in */*) python=$(cd "$(dirname "$python")" && pwd)/$(basename "$python") ;; esac
cd "$here"
export PYTHONDONTWRITEBYTECODE=1

"$python" make_tokenizers.py --work "$work"
{
  "$python" train_teacher.py --work "$work" --minutes "$minutes_teacher"
  if [ "$minutes_finish" != 0 ]; then "$python" train_teacher.py --work "$work" --minutes "$minutes_finish" --resume; fi
} >"$work/teacher.log" 2>&1 &
teacher=$!
"$python" train_student.py --work "$work" --minutes "$minutes_student" >"$work/student.log" 2>&1 &
student=$!
echo "training; see $work/teacher.log and $work/student.log"
wait $teacher || { tail "$work/teacher.log" >&2; kill $student; exit 1; }
wait $student || { tail "$work/student.log" >&2; exit 1; }

"$python" check_leak.py  # makes the first texts of each stream again; more with --texts and --conversations
gguf=$out/teacher/pocket-teacher.gguf
"$python" gguf_export.py --work "$work" --out "$gguf"
"$python" gguf_check.py --work "$work" --gguf "$gguf"
rm -rf "$out/student.part"
cp -r "$work/student" "$out/student.part"
rm -rf "$out/student"
mv "$out/student.part" "$out/student"
"$python" check_teacher.py --work "$work" --samples 10
"$python" check_rivals.py --work "$work" --min-p 0.1 --samples 5
"$python" check_student.py --student "$out/student"
du -bc "$gguf" "$out"/student/* | awk '{printf "%9.2f kB  %s\n", $1 / 1000, $2}'
sha256sum "$gguf" "$out"/student/*
