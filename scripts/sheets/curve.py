#!/usr/bin/env python3
"""Accuracy against the number of texts that a person labelled: `promptmix suggest` against random choice.

    scripts/sheets/curve.py --student FOLDER-OF-MINILM --data FOLDER --out FOLDER

The labels of `train.jsonl` in --data play the person. For each seed, a pool of its texts is drawn and a few labelled
ones are taken out; from there, both ways of choosing label the same number of texts a step, with the real program:
`suggest`, `import-labels`, `train`, `predict`. The student is a logistic regression on the frozen encoder.
Needs Python 3.9. Finished steps are kept in --out and not done again.
"""

import argparse
import csv
import io
import json
import random
import shutil
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from rows import read, write  # noqa: E402

# Student's t for 95 % with 1 to 10 degrees of freedom.
T95 = [12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default="target/release/promptmix")
    parser.add_argument("--student", required=True, help="folder of a sentence encoder")
    parser.add_argument("--data", required=True, type=Path, help="folder of train.jsonl and test.jsonl")
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--shots", type=int, default=2, help="labelled examples a class to start with")
    parser.add_argument("--pool", type=int, default=2000, help="unlabelled texts to choose from")
    parser.add_argument("--step", type=int, default=10, help="texts that are labelled at a time")
    parser.add_argument("--jobs", type=int, default=1, help="seeds that are worked on at a time")
    parser.add_argument("--ways", nargs="+", default=["random", "suggest"], choices=["random", "suggest"])
    parser.add_argument("--most", type=int, default=100, help="texts that are labelled in all")
    return parser.parse_args()


class Program:
    def __init__(self, program, run):
        self.program, self.run = str(Path(program).resolve()), run

    def __call__(self, command, *args):
        args = [self.program, command, *map(str, args), "--quiet"]
        done = subprocess.run(args, capture_output=True, text=True, encoding="utf-8")
        if done.returncode:
            raise SystemExit(f"{' '.join(args)}\n{done.stderr}")
        return done.stdout

    def suggest(self, count):
        """The ids of texts to label, with the texts."""
        sheet = self("suggest", self.run, "-n", count, "--to", "csv").removeprefix("\ufeff")
        return [(row["promptmix_id"], row["text"]) for row in csv.DictReader(io.StringIO(sheet, newline=""))]

    def label(self, chosen, truth):
        with open(self.run.with_suffix(".csv"), "w", newline="") as file:
            out = csv.writer(file)
            out.writerow(["promptmix_id", "label", "text"])
            out.writerows((id, truth[id], text) for id, text in chosen)
        self("import-labels", self.run, file.name)

    def accuracy(self, test):
        self("train", self.run)
        answers = self("predict", "--model", self.run, "--file", test).splitlines()
        answers = [json.loads(answer) for answer in answers]
        return 100 * statistics.mean(row["label"] == row["input_label"] for row in answers)


def start(args, program, seed):
    """Trains a run on the first examples. Its texts to label, the class of each, and the accuracy."""
    folder = program.run.parent
    draw = random.Random(seed)
    # Of equal texts the program asks about one.
    train = read(args.data / "train.jsonl")
    draw.shuffle(train)
    classes = sorted({row["label"] for row in train})
    of_class = {name: [row for row in train if row["label"] == name] for name in classes}
    seeds = [row for name in classes for row in of_class[name][: args.shots]]
    # `import` needs a text that is not a seed: one more of the first class.
    first = of_class[classes[0]][args.shots]
    rest = [row for row in train if row not in seeds and row != first]
    task = folder / "task"
    task.mkdir(parents=True)
    write(task / "seeds.jsonl", seeds)
    write(task / "pool.jsonl", [{"text": row["text"]} for row in rest[: args.pool]])
    write(task / "first.jsonl", [{"text": first["text"], "major": first["label"], "relabel": first["label"]}])
    lines = [f'shots = {args.shots}', '[data]', 'seeds = "seeds.jsonl"', 'unlabelled = "pool.jsonl"']
    lines += [f'[[class]]\nname = {json.dumps(name)}\ndescription = ""' for name in classes]
    (task / "task.toml").write_text("\n".join(lines) + "\n")
    settings = [f"--student={Path(args.student).resolve()}", "--set=student.fine_tune=never", "--set=run.seeds=1"]
    program("import", task, task / "first.jsonl", "--out", program.run, *settings)
    program("filter", program.run)
    accuracy = program.accuracy(args.data / "test.jsonl")
    known = {row["text"]: row["label"] for row in [first, *rest]}
    offered = program.suggest(args.pool)
    # A cell that looks like a formula or a number has an apostrophe in front.
    truth = {id: known.get(text) or known[text.removeprefix("'")] for id, text in offered}
    return offered, truth, accuracy


def curve(args, seed, way):
    """The accuracy after each step."""
    folder = args.out / f"seed-{seed}"
    done = folder / f"{way}.json"
    if done.exists():
        return json.loads(done.read_text())
    program = Program(args.program, folder / "start")
    begun = folder / "start.json"
    if not begun.exists():
        shutil.rmtree(folder, ignore_errors=True)
        offered, truth, accuracy = start(args, program, seed)
        begun.write_text(json.dumps([offered, truth, accuracy]))
    offered, truth, accuracy = json.loads(begun.read_text())
    random.Random(seed).shuffle(offered)
    ours = Program(args.program, folder / way)
    shutil.rmtree(ours.run, ignore_errors=True)
    shutil.copytree(program.run, ours.run)
    found = [accuracy]
    for number in range(0, args.most, args.step):
        chosen = offered[number : number + args.step] if way == "random" else ours.suggest(args.step)
        ours.label(chosen, truth)
        found.append(ours.accuracy(args.data / "test.jsonl"))
        print(f"seed {seed} {way} {number + args.step}: {found[-1]:.1f}", flush=True)
    done.write_text(json.dumps(found))
    return found


def labels_for(accuracy, curve, step):
    """How many labels a mean curve needs for an accuracy, between two steps in proportion."""
    for at in range(1, len(curve)):
        if curve[at] >= accuracy:
            low, high = curve[at - 1], curve[at]
            return step * (at - (high - accuracy) / (high - low) if high > low else at)
    return None


def main():
    args = arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(args.jobs) as pool:
        curves = {way: list(pool.map(lambda seed: curve(args, seed, way), range(args.seeds))) for way in args.ways}
    if len(curves) < 2:
        return
    means = {way: [statistics.mean(at) for at in zip(*of)] for way, of in curves.items()}
    print("\n| labels | random | `suggest` | difference (95 %) | labels for the accuracy of random |\n|---|---|---|---|---|")
    for at, (by_chance, by_us) in enumerate(zip(means["random"], means["suggest"])):
        differences = [ours[at] - chance[at] for ours, chance in zip(curves["suggest"], curves["random"])]
        mean = statistics.mean(differences)
        half = 0.0
        if args.seeds > 1:
            half = T95[args.seeds - 2] * statistics.stdev(differences) / args.seeds ** 0.5
        needed = labels_for(by_chance, means["suggest"], args.step) if at else None
        fewer = f"{needed:.0f} ({100 * needed / (at * args.step) - 100:+.0f} %)" if needed is not None else "-"
        interval = f"{mean:+.1f} ({mean - half:+.1f} to {mean + half:+.1f})" if at else "-"
        print(f"| {at * args.step} | {by_chance:.1f} | {by_us:.1f} | {interval} | {fewer} |")


if __name__ == "__main__":
    main()
