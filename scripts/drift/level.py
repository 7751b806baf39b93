#!/usr/bin/env python3
"""How often `promptmix drift` raises an alarm, on real texts: without a change (its level), and when 5 or 10 % of 500 new
texts are of a class that the student does not know (its power).

For each class that is left out, a student is trained on real labels of the other classes: a head over the frozen encoder,
unless --set says otherwise. The texts of DATA/test.jsonl and those of DATA/train.jsonl that the student was not trained on
are split at random 200 times: one half is the reference, 500 texts of the other are new. The unit test
drift::level::alarms_on_real_texts compares them; each line of its output is the percentage of alarms at 5 %.

    scripts/drift/level.py data/trec6 --student all-MiniLM-L6-v2 --train 200 --leave-out NUM LOC
"""
import argparse
import collections
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
from rows import read, write  # noqa: E402


def train(promptmix, folder, rows, student, settings):
    """The folder of a student that is trained on `rows`."""
    task = folder / "task"
    task.mkdir()
    classes = sorted({row["label"] for row in rows})
    toml = "".join(f"[[class]]\nname = {json.dumps(name)}\ndescription = {json.dumps(name)}\n" for name in classes)
    (task / "task.toml").write_text(f'shots = 0\n{toml}[data]\nseeds = "seeds.jsonl"\n', encoding="utf-8")
    write(task / "seeds.jsonl", rows)
    # A run needs a text that is no seed.
    write(folder / "more.jsonl", [{"text": f"{rows[0]['text']} please", "major": rows[0]["label"], "relabel": rows[0]["label"]}])
    sets = [word for setting in settings for word in ("--set", setting)]
    out = folder / "run"
    common = ["--student", student, *sets]
    run = lambda *words: subprocess.run([promptmix, "--quiet", *words], check=True, stdout=subprocess.DEVNULL)
    run("import", task, folder / "more.jsonl", "--out", out, *common)
    run("filter", out)
    run("train", out)
    return out / "student"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=pathlib.Path, help="folder with train.jsonl and test.jsonl")
    parser.add_argument("--student", required=True, help="encoder: a folder or a name")
    parser.add_argument("--train", type=int, default=100, help="texts per class that the student is trained on")
    parser.add_argument("--leave-out", nargs="+", required=True, metavar="CLASS")
    parser.add_argument("--set", action="append", default=None, metavar="KEY=VALUE")
    parser.add_argument("--promptmix", default=str(ROOT / "target/release/promptmix"))
    parser.add_argument("--test", required=True, help="the program of the unit tests: cargo test --release --lib --no-run")
    args = parser.parse_args()
    settings = args.set or ["student.fine_tune=never", "student.head=linear"]
    rows, test = read(args.data / "train.jsonl"), read(args.data / "test.jsonl")
    random.Random(0).shuffle(rows)
    for left_out in args.leave_out:
        seen, trained, held_out = collections.Counter(), [], []
        others = [row for row in rows + test if row["label"] == left_out]
        if not others:
            sys.exit(f"no text of {args.data} has the label {left_out}")
        for row in (row for row in rows if row["label"] != left_out):
            seen[row["label"]] += 1
            (trained if seen[row["label"]] <= args.train else held_out).append(row)
        held_out += [row for row in test if row["label"] != left_out]
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            student = train(args.promptmix, folder, trained, args.student, settings)
            write(folder / "texts.jsonl", held_out)
            write(folder / "others.jsonl", others)
            environment = {
                **os.environ,
                "PROMPTMIX_DRIFT_STUDENT": str(student),
                "PROMPTMIX_DRIFT_TEXTS": str(folder / "texts.jsonl"),
                "PROMPTMIX_DRIFT_OTHERS": str(folder / "others.jsonl"),
            }
            words = [args.test, "drift::level", "--ignored", "--nocapture"]
            output = subprocess.run(words, check=True, env=environment, capture_output=True, text=True).stdout
        for line in output.splitlines():
            if line.startswith("{"):
                counts = {"left_out": left_out, "trained": len(trained), "held_out": len(held_out), "others": len(others)}
                print(json.dumps({**counts, **json.loads(line)}), flush=True)


if __name__ == "__main__":
    main()
