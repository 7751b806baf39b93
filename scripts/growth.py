#!/usr/bin/env python3
"""Time and memory of each stage as the number of texts grows, with a recording as the teacher.

    scripts/growth.py --out FOLDER [--program PROGRAM] [--sizes 1000 10000 100000 1000000] [--classes 20]
                      [--last STAGE]

For each size a file of so many invented sentences with classes and labels is written, and generate, relabel, filter, train
and eval run on it with the pocket student, each in a process of its own. Prints seconds and peak memory, and the growth of
the seconds over linear from the size before (1: linear). Needs Python 3.9 and nothing else.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

STAGES = ["generate", "relabel", "filter", "train", "eval"]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default="target/release/promptmix")
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--classes", type=int, default=20)
    parser.add_argument("--last", choices=STAGES, default=STAGES[-1], help="the last stage to run")
    parser.add_argument("--set", action="append", default=[], help="as of promptmix")
    return parser.parse_args()


def words(rng, count):
    sounds = [c + v for c in "bdfgklmnprstvw" for v in "aeiou"]
    made = set()
    while len(made) < count:
        made.add("".join(rng.choice(sounds) for _ in range(rng.randint(2, 4))))
    return sorted(made)


def write_task(folder, size, classes):
    """A task, and the file `texts.jsonl` with what the teacher writes."""
    rng = random.Random(size)
    common, own = words(rng, 3000), words(rng, 20 * classes)
    names = [f"class_{at}" for at in range(classes)]

    def text(at):
        some = [rng.choice(own[20 * at : 20 * at + 20]) for _ in range(3)]
        some += [rng.choice(common) for _ in range(rng.randint(4, 12))]
        rng.shuffle(some)
        return " ".join(some)

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    toml = 'item = "text"\nitems = "texts"\n'
    for name in names:
        toml += f'[[class]]\nname = "{name}"\ndescription = "texts of the {name.replace("_", " ")}"\n'
    toml += '[data]\nseeds = "seeds.jsonl"\ntest = "test.jsonl"\n[student]\nmodel = "pocket"\n'
    (folder / "task.toml").write_text(toml)

    def rows(count):
        return "".join(json.dumps({"text": text(at % classes), "label": names[at % classes]}) + "\n" for at in range(count))

    (folder / "seeds.jsonl").write_text(rows(2 * classes))
    (folder / "test.jsonl").write_text(rows(max(200, 2 * classes)))
    with open(folder / "texts.jsonl", "w") as file:
        for at in range(size):
            name = names[at % classes]
            row = {"text": text(at % classes), "major": name, "relabel": name, "p": round(rng.uniform(0.5, 1), 3)}
            file.write(json.dumps(row) + "\n")


def timed(command, log):
    start = time.monotonic()
    with open(log, "a") as file:
        child = subprocess.Popen(command, stdout=file, stderr=file)
        _, status, usage = os.wait4(child.pid, 0)
    if status:
        sys.exit(f"{' '.join(command)} failed; see {log}")
    return time.monotonic() - start, usage.ru_maxrss / 1024


def main():
    args = arguments()
    print("| stage | texts | seconds | MB | growth over linear |\n|---|---|---|---|---|", flush=True)
    before = {}
    for size in args.sizes:
        folder = args.out / str(size)
        write_task(folder, size, args.classes)
        run, task = str(folder / "run"), str(folder)
        sets = [f"augment.per_class={size // args.classes}", "run.seeds=1", "student.fine_tune=never", "student.head=linear", *args.set]
        flags = [flag for setting in sets for flag in ("--set", setting)]
        for stage in STAGES[: STAGES.index(args.last) + 1]:
            command = [args.program, stage, run, "--quiet"]
            if stage == "generate":
                teacher = f"replay:{folder / 'texts.jsonl'}"
                command = [args.program, stage, task, "--out", run, "--teacher", teacher, "--quiet", *flags]
            seconds, memory = timed(command, folder / "log")
            growth = "-"
            if stage in before:
                less, took = before[stage]
                growth = f"{seconds / took / (size / less):.2f}"
            before[stage] = (size, seconds)
            print(f"| {stage} | {size:,} | {seconds:.1f} | {memory:.0f} | {growth} |", flush=True)


if __name__ == "__main__":
    main()
