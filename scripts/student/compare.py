#!/usr/bin/env python3
"""Compares the student's speed and memory with PyTorch (transformers) and onnxruntime. Each repetition runs both
sides of every measure in direct succession, every second repetition in the opposite order, and each side in its own
process. Writes one JSON line per measure to stdout:

  {"measure", "ours", "theirs", "unit", "ratio", "spread", "aim", "aim_is", "met", ...}

ours and theirs are medians. ratio is the median over the repetitions of how many times faster ours is (for memory:
ours / theirs), spread its smallest and largest value. Writes a table to stderr, what was skipped and why, and the
load of the machine by other processes: on a busy machine the ratios mean little.

  step             one optimiser step, all texts of 50 tokens (no padding), batch 8, dropout 0.1
  epochs_dynamic   five epochs on 1,200 sentences of their true lengths, truncated to 50 tokens, against batches that
                   are grouped by length and padded to their longest text. Both sides run --steps steps on batches
                   sampled evenly from one epoch (sorted by length) and extrapolate to five epochs; with --full both
                   sides run all five epochs
  epochs_padded    the same against batches padded to 50 tokens
  train_memory     peak memory (VmHWM) of the processes of epochs_dynamic, including program, libraries and weights;
                   also the ratio without the memory of their loaded libraries
  classify_f32     probabilities of 3,080 sentences, against onnxruntime (batches of 32, sorted by length), the fastest
                   of several exports; tokenising is excluded on both sides (subtracted from ours)
  classify_int8    `--fast` against the same f32 model; also reports onnxruntime with a dynamically quantised model
  start_pocket, start_base
                   milliseconds from the start of `promptmix predict` to its first answer, files in the page cache
  students_10      10 students on the rows of --students, 5 epochs, several in parallel, against PyTorch's in sequence
                   with all threads, padded to the longest text of a batch; 2 of theirs are trained and scaled to 10

Models have random weights (random_student.py) unless given; the time does not depend on their values.

needs: a release build of promptmix; torch, transformers, tokenizers, safetensors, onnx, onnxscript, onnxruntime
       (pip, the CPU builds will do); sentences with labels as JSONL, such as Banking77 and the rows of a run.
       About 7 minutes a repetition on 2 cores, and 3 for the exports
example: python3 scripts/student/compare.py --train banking77/train.jsonl --test banking77/test.jsonl \\
             --students seeds.jsonl --students augmented.jsonl > target/student.jsonl
         python3 scripts/student/compare.py --train t.jsonl --test e.jsonl --only step,train_memory --repeat 3
         python3 scripts/student/compare.py --train t.jsonl --test e.jsonl --quick     # a smoke test; its figures mean nothing
"""
import argparse
import json
import os
import pathlib
import random
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
import random_student  # noqa: E402
from comparing import Skip, in_turn, last_words, report, say  # noqa: E402

# Runs of each measure: ours, theirs, and one that is only reported.
NEEDS = {
    "step": ["step", "torch_step"],
    "epochs_dynamic": ["epochs", "torch_dynamic"],
    "epochs_padded": ["epochs", "torch_padded"],
    "train_memory": ["epochs", "torch_dynamic"],
    "classify_f32": ["classify", "ort_f32"],
    "classify_int8": ["classify_fast", "ort_f32", "ort_int8"],
    "start_pocket": ["start_pocket"],
    "start_base": ["start_base"],
    "students_10": ["students", "torch_students"],
}
# The order of a repetition: the two sides of a measure are adjacent.
ORDER = ["torch_step", "step", "torch_dynamic", "epochs", "torch_padded", "ort_int8", "ort_f32", "classify",
         "classify_fast", "start_pocket", "start_base", "students", "torch_students"]  # fmt: skip
AIMS = {"step": (">=", 1.1), "epochs_dynamic": (">=", 1.3), "epochs_padded": (">=", 2), "train_memory": ("<=", 0.6),
        "classify_f32": (">=", 1.05), "classify_int8": (">=", 1.8), "start_pocket": ("<=", 50), "start_base": ("<=", 400),
        "students_10": (">=", 2)}  # fmt: skip
TOKENS, CLASSIFY_TOKENS = 50, 128


# ---- material ----------------------------------------------------------------------------------------------


class Material:
    """Models and texts in the folder --work, created once."""

    def __init__(self, a):
        self.a, self.work = a, pathlib.Path(a.work)
        self.work.mkdir(parents=True, exist_ok=True)
        self.made = {}
        self.length_of = None

    def once(self, key, make):
        if key not in self.made:
            self.made[key] = make()
        return self.made[key]

    def model(self, name):
        """The folder of a model: base (DistilBERT-base), small (MiniLM) or pocket."""
        given = {"base": self.a.model, "small": self.a.small, "pocket": self.a.pocket}[name]
        if given:
            return given
        shapes = {
            "base": {"texts": [self.a.train]},
            "small": {"kind": "bert", "hidden": 384, "ffn": 1536, "texts": [self.a.train, *self.a.students]},
            "pocket": {"like": str(HERE.parent.parent / "models" / "pocket" / "student"), "classes": 6},
        }

        def make():
            folder = self.work / f"random-{name}"
            random_student.write(str(folder), **shapes[name])
            return str(folder)

        return self.once(name, make)

    def lengths(self, texts):
        """Tokens of each text by the base's tokenizer, without truncation."""
        from tokenizers import Tokenizer

        tok = self.once("tokenizer", lambda: Tokenizer.from_file(os.path.join(self.model("base"), "tokenizer.json")))
        tok.no_padding()
        tok.no_truncation()
        return [len(e.ids) for e in tok.encode_batch(texts)]

    def write(self, name, rows):
        path = self.work / name
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        return str(path)

    def rows(self, paths):
        rows = [json.loads(line) for path in paths for line in open(path, encoding="utf-8") if line.strip()]
        # The rows of a run carry the label after relabelling.
        return [{"text": r["text"], "label": str(r.get("relabel", r.get("label")))} for r in rows]

    def train(self):
        """A fixed random sample of --rows sentences of --train."""

        def make():
            rows = self.rows([self.a.train])
            random.Random(0).shuffle(rows)
            return self.write("train.jsonl", rows[: self.a.rows])

        return self.once("train", make)

    def sample(self):
        """As many of them as our sampled steps need, evenly by length, so that the average batch matches theirs."""

        def make():
            rows = self.rows([self.train()])
            lengths = self.lengths([row["text"] for row in rows])
            order = sorted(range(len(rows)), key=lengths.__getitem__)
            wanted = (self.a.steps + 3) * self.a.batch
            chosen = [rows[order[int((i + 0.5) * len(rows) / wanted)]] for i in range(wanted)]
            random.Random(1).shuffle(chosen)
            return self.write("sample.jsonl", chosen)

        return self.once("sample", make)

    def equal(self):
        """Sentences joined until each row has at least 50 tokens; both sides truncate there."""

        def make():
            rows = self.rows([self.train()])
            out = []
            for at in range((self.a.steps + 3) * self.a.batch):
                row = dict(rows[at % len(rows)])
                following = at
                while self.lengths([row["text"]])[0] < TOKENS:
                    following += 1
                    row["text"] += " " + rows[following % len(rows)]["text"]
                out.append(row)
            return self.write("equal.jsonl", out)

        return self.once("equal", make)

    def test(self):
        return self.once("test", lambda: self.write("test.jsonl", self.rows([self.a.test])[: self.a.test_rows]))

    def students(self):
        def make():
            if not self.a.students:
                raise Skip("no --students: rows (text, label) to train them on")
            return self.write("students.jsonl", self.rows(self.a.students)[: self.a.student_rows])

        return self.once("students", make)

    def exports(self):
        def make():
            request = dict(model=self.model("base"), out=str(self.work / "onnx"), texts=self.test(), rows=self.a.test_rows,
                           batch=32, max_length=CLASSIFY_TOKENS, threads=self.a.threads, tries=8)  # fmt: skip
            found = peer(self.a, "export", request)
            say(f"  exports, texts/s: {found['f32_rates']}, 8-bit: {found['int8_rates']}")
            for name, fault in found["faults"].items():
                say(f"  {name}: {fault}")
            return found

        say("exporting for onnxruntime") if "exports" not in self.made else None
        return self.once("exports", make)


# ---- both sides --------------------------------------------------------------------------------------------


def answer(command, what, environment):
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
    except OSError as e:
        raise Skip(f"{command[0]}: {e}\nhint: cargo build --release, or --promptmix PATH") from e
    if done.returncode:
        raise Skip(f"{what}: exit {done.returncode}: {last_words(done.stderr)}")
    try:
        return json.loads(done.stdout)
    except ValueError as e:
        raise Skip(f"{what}: its output is not JSON: {e}") from e


def peer(a, name, request):
    environment = os.environ | {"OMP_NUM_THREADS": str(a.threads), "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
    return answer([sys.executable, str(HERE / "peers.py"), name, json.dumps(request)], f"peers.py {name}", environment)


def bench(a, kind, model, texts, **options):
    """The one measure of `promptmix bench --only kind`, and the report around it."""
    command = [a.promptmix, "bench", "--student", model, "--json", "--only", kind, "--texts", texts,
               "--batch", a.batch, "--threads", a.threads]  # fmt: skip
    for name, value in options.items():
        command += ["--" + name.replace("_", "-"), value]
    # A separate home, so that `plan` does not use these measurements.
    environment = os.environ | {"PROMPTMIX_HOME": str(pathlib.Path(a.work) / "home")}
    report = answer([str(c) for c in command], f"promptmix bench --only {kind}", environment)
    found = [m for m in report["measures"] if m["kind"] == kind]
    if not found:
        raise Skip(f"promptmix bench did not measure `{kind}`")
    return found[0] | {"peak_memory_bytes": report["peak_memory_bytes"]}


def start(a, model, text):
    """Milliseconds to the first line of output, the median of several starts; the first one warms the page cache."""
    times = []
    for _ in range(a.starts + 1):
        began = time.perf_counter()
        try:
            process = subprocess.Popen([a.promptmix, "predict", "--model", model, text], stdout=subprocess.PIPE,
                                       stderr=subprocess.PIPE, text=True)  # fmt: skip
        except OSError as e:
            raise Skip(f"{a.promptmix}: {e}\nhint: cargo build --release, or --promptmix PATH") from e
        line = process.stdout.readline()
        times.append(1e3 * (time.perf_counter() - began))
        _, errors = process.communicate()
        if process.returncode or not line:
            raise Skip(f"promptmix predict: exit {process.returncode}: {last_words(errors)}")
    return {"ms": statistics.median(times[1:]), "all": [round(t, 1) for t in times]}


def run(a, material, name):
    """The result of one run of a repetition."""
    base = material.model("base")
    torch = dict(model=base, batch=a.batch, max_length=TOKENS, threads=a.threads, epochs=1, padding="dynamic", grouped=False)
    if name == "step":
        options = dict(steps=a.steps, max_length=TOKENS, equal_length=TOKENS)
        return bench(a, "train", base, material.equal(), rows=(a.steps + 3) * a.batch, **options)
    if name == "torch_step":
        return peer(a, "train", torch | dict(texts=material.equal(), rows=(a.steps + 3) * a.batch, sample=0))
    if name == "epochs":
        if a.full:
            return bench(a, "train", base, material.train(), rows=a.rows, steps=0, epochs=a.epochs, max_length=TOKENS)
        rows = (a.steps + 3) * a.batch
        return bench(a, "train", base, material.sample(), rows=rows, steps=a.steps, max_length=TOKENS)
    if name in ("torch_dynamic", "torch_padded"):
        options = dict(padding="max") if name == "torch_padded" else dict(grouped=True)
        options |= dict(sample=0, epochs=a.epochs) if a.full else dict(sample=a.steps)
        return peer(a, "train", torch | options | dict(texts=material.train(), rows=a.rows))
    if name in ("classify", "classify_fast"):
        return bench(a, name, base, material.test(), rows=a.test_rows, max_length=CLASSIFY_TOKENS)
    if name.startswith("ort_"):
        onnx = material.exports()[name.removeprefix("ort_")]
        if not onnx:
            raise Skip(f"no model could be made: {material.exports()['faults']}")
        return peer(a, "classify", dict(model=base, onnx=onnx, texts=material.test(), rows=a.test_rows, batch=32,
                                        max_length=CLASSIFY_TOKENS, threads=a.threads))  # fmt: skip
    if name.startswith("start_"):
        return start(a, material.model(name.removeprefix("start_")), material.rows([material.test()])[0]["text"])
    small, texts = material.model("small"), material.students()
    if name == "students":
        return bench(a, "students", small, texts, rows=a.student_rows, steps=0, epochs=a.epochs, students=a.student_count, max_length=TOKENS)
    return peer(a, "students", torch | dict(model=small, texts=texts, rows=a.student_rows, epochs=a.epochs,
                                            students=min(2, a.student_count)))  # fmt: skip


# ---- the run -----------------------------------------------------------------------------------------------


def figure(a, measure, name, result):
    """The figure that runs are compared by: time, memory or texts per second."""
    if measure == "train_memory":
        return result["peak_memory_bytes"] / 1e6
    if name in ("step", "torch_step"):
        return result["step_ms_median"]
    if name in ("epochs", "torch_dynamic", "torch_padded"):
        return result["step_ms"] / 1e3 * a.epochs * -(-a.rows // a.batch)
    if name.startswith("classify"):
        return result["texts"] / (result["seconds"] - result["tokenise_seconds"])
    if name.startswith("ort_"):
        return result["texts_per_second"]
    if name.startswith("start_"):
        return result["ms"]
    return result["seconds"] / result["students"] * a.student_count


UNITS = {"step": "ms a step", "epochs_dynamic": "seconds for the epochs", "epochs_padded": "seconds for the epochs",
         "train_memory": "MB", "classify_f32": "texts/s", "classify_int8": "texts/s", "start_pocket": "ms",
         "start_base": "ms", "students_10": "seconds for all students"}  # fmt: skip


def details(a, measure, got):
    """Further figures of a measure; `got` holds a list of results for each of its runs."""
    middle = lambda run, key: round(statistics.median(r[key] for r in got[run]), 3)
    if measure == "step":
        return {"steps": middle("step", "steps"), "peak_memory_mb": [round(middle(r, "peak_memory_bytes") / 1e6) for r in ("step", "torch_step")]}
    if measure.startswith("epochs"):
        theirs = NEEDS[measure][1]
        return {"full": a.full, "steps_walked": [middle("epochs", "steps"), middle(theirs, "steps")],
                "steps_of_the_epochs": a.epochs * -(-a.rows // a.batch),
                "tokens_a_step": [round(statistics.median(r["tokens"] / r["steps"] for r in got["epochs"]), 1),
                                  round(statistics.median(r["tokens_with_padding"] / r["steps"] for r in got[theirs]), 1)],
                "tokens_are": "ours without padding, theirs with it"}  # fmt: skip
    if measure == "train_memory":
        libraries = middle("torch_dynamic", "libraries_bytes")
        bare = statistics.median(r["peak_memory_bytes"] - r["libraries_bytes"] for r in got["torch_dynamic"])
        return {"theirs_libraries_mb": round(libraries / 1e6), "theirs_before_training_mb": round(middle("torch_dynamic", "peak_before_training") / 1e6),
                "ratio_without_their_libraries": round(middle("epochs", "peak_memory_bytes") / bare, 3)}  # fmt: skip
    if measure.startswith("classify"):
        line = {"ours_with_tokenising": middle(NEEDS[measure][0], "texts_per_second"), "peer": got["ort_f32"][0]["onnx"]}
        if measure == "classify_int8":
            line |= {"onnxruntime_int8": middle("ort_int8", "texts_per_second"), "int8_peer": got["ort_int8"][0]["onnx"]}
        return line
    if measure == "students_10":
        return {"theirs_trained": middle("torch_students", "students"), "theirs_scaled_to": a.student_count,
                "rows": a.student_rows, "steps": [middle("students", "steps"), middle("torch_students", "steps")],
                "peak_memory_mb": [round(middle(r, "peak_memory_bytes") / 1e6) for r in ("students", "torch_students")]}  # fmt: skip
    return {}


def lines(a, chosen, got):
    """One dict per measure; `got` is {run: [result per repetition or Skip]}."""
    for name in chosen:
        sign, aim = AIMS[name]
        line = {"measure": name, "unit": UNITS[name], "aim": aim, "aim_is": sign}
        # Only the first two runs are required.
        needed = NEEDS[name][:2]
        faults = [f"{run}: {r}" for run in needed for r in got[run] if isinstance(r, Skip)]
        if faults:
            good = {run: [figure(a, name, run, r) for r in got[run] if not isinstance(r, Skip)] for run in needed}
            yield line | {"skipped": faults[0], "measured": {run: round(statistics.median(v), 3) for run, v in good.items() if v}}
            continue
        sides = [[figure(a, name, run, r) for r in got[run]] for run in needed]
        line["ours"] = round(statistics.median(sides[0]), 3)
        if len(sides) == 1:
            compared = line["ours"]
            line |= {"theirs": None, "ratio": None, "spread": [round(min(sides[0]), 3), round(max(sides[0]), 3)]}
        else:
            higher_is_better = name == "train_memory" or name.startswith("classify")
            ratios = [x / y if higher_is_better else y / x for x, y in zip(*sides)]
            compared = statistics.median(ratios)
            line |= {"theirs": round(statistics.median(sides[1]), 3), "ratio": round(compared, 3),
                     "spread": [round(min(ratios), 3), round(max(ratios), 3)]}  # fmt: skip
        line |= {"met": compared >= aim if sign == ">=" else compared <= aim, "repetitions": len(sides[0]), "threads": a.threads}
        try:
            line |= details(a, name, got)
        except (KeyError, TypeError):
            line["beside"] = "an additional run failed"
        yield line


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", required=True, metavar="JSONL", help="sentences (text, label) to train on")
    parser.add_argument("--test", required=True, metavar="JSONL", help="sentences to classify")
    parser.add_argument("--students", action="append", default=[], metavar="JSONL",
                        help="rows (text, and label or relabel) of the students, repeatable")  # fmt: skip
    parser.add_argument("--model", help="a classifier in the shape to measure (default: random, DistilBERT-base)")
    parser.add_argument("--small", help="the students' starting point (default: random, in the shape of MiniLM-L6)")
    parser.add_argument("--pocket", help="a small classifier for start_pocket (default: random, as models/pocket/student)")
    parser.add_argument("--work", default="target/student-compare", help="folder for models and texts (default %(default)s)")
    parser.add_argument("--promptmix", default="target/release/promptmix")
    parser.add_argument("--repeat", type=int, default=5, help="repetitions, 3 or more (default 5)")
    parser.add_argument("--threads", type=int, default=2, help="of either side (default 2)")
    parser.add_argument("--steps", type=int, default=40, help="optimiser steps of a training measure (default 40)")
    parser.add_argument("--rows", type=int, default=1200, help="sentences of an epoch (default 1200)")
    parser.add_argument("--epochs", type=int, default=5, help="default 5")
    parser.add_argument("--batch", type=int, default=8, help="texts of an optimiser step (default 8)")
    parser.add_argument("--test-rows", type=int, default=3080, help="sentences that are classified (default 3080)")
    parser.add_argument("--student-count", type=int, default=10, help="students of students_10 (default 10)")
    parser.add_argument("--student-rows", type=int, default=318, help="rows of a student (default 318)")
    parser.add_argument("--starts", type=int, default=5, help="starts a repetition (default 5)")
    parser.add_argument("--full", action="store_true", help="run all five epochs instead of --steps steps")
    parser.add_argument("--quick", action="store_true", help="a smoke test: tiny sizes, one repetition")
    parser.add_argument("--only", help=f"measures, comma-separated, of: {', '.join(NEEDS)}")
    a = parser.parse_args()
    chosen = a.only.split(",") if a.only else list(NEEDS)
    unknown = [name for name in chosen if name not in NEEDS]
    if unknown:
        parser.error(f"--only: no measure `{unknown[0]}`; there are {', '.join(NEEDS)}")
    for path in [a.train, a.test, *a.students]:
        if not os.path.isfile(path):
            parser.error(f"{path}: no such file")
    if a.quick:
        a.repeat, a.steps, a.rows, a.epochs, a.test_rows = 1, 4, 60, 1, 64
        a.student_count, a.student_rows, a.starts = 2, 32, 2
    elif a.repeat < 3:
        say(f"--repeat {a.repeat}: the spread of fewer than 3 repetitions is meaningless")

    material = Material(a)
    runs = [run for run in ORDER if any(run in NEEDS[name] for name in chosen)]
    measure = {run: next(name for name in chosen if run in NEEDS[name]) for run in runs}
    describe = lambda name, result: f"{figure(a, measure[name], name, result):.2f} {UNITS[measure[name]]}"
    got, busy = in_turn(runs, a.repeat, lambda name: run(a, material, name), describe, {})
    found = lines(a, chosen, got)
    report((line | {"quick": True} for line in found) if a.quick else found, busy)


if __name__ == "__main__":
    main()
