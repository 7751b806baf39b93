#!/usr/bin/env python3
"""Draws few-shot tasks from a labelled corpus, such as those that docs/recipe.md measures.

    scripts/recipe/draw.py data/trec6 --shots 2 --unlabelled 600 --draws 3 --out tasks/trec6
    promptmix run tasks/trec6/0 --out runs/0 --teacher GGUF --student all-MiniLM-L6-v2

DATA has train.jsonl and test.jsonl, a text and its label in each line. Draw N takes the labelled examples of each class
and the unlabelled texts of task N from train.jsonl, where each text counts once, and leaves out of test.jsonl what stands
in train.jsonl. Needs Python 3.9.
"""

import argparse
import json
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from rows import key, read, write  # noqa: E402


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--shots", type=int, default=2, help="labelled examples a class")
    parser.add_argument("--unlabelled", type=int, default=0, help="texts without labels")
    parser.add_argument("--test", type=int, help="test texts, drawn once for all tasks; all, unless given")
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--descriptions", type=Path, help="JSON object: class to description")
    parser.add_argument("--item", default="question", help="what prompts call a text")
    return parser.parse_args()


def task(args, draw, classes, train, test):
    order = random.Random(draw)
    rows = train[:]
    order.shuffle(rows)
    seeds = [row for name in classes for row in [r for r in rows if r["label"] == name][: args.shots]]
    taken = {key(row) for row in seeds}
    rest = [{"text": row["text"]} for row in rows if key(row) not in taken]
    folder = args.out / str(draw)
    folder.mkdir(parents=True, exist_ok=True)
    described = json.loads(args.descriptions.read_text(encoding="utf-8")) if args.descriptions else {}
    toml = lambda text: json.dumps(text, ensure_ascii=False)
    lines = [f"item = {toml(args.item)}", f"items = {toml(args.item + 's')}", f"shots = {args.shots}"]
    for name in classes:
        lines += ["", "[[class]]", f"name = {toml(name)}", f"description = {toml(described.get(name, ''))}"]
    lines += ["", "[data]", 'seeds = "seeds.jsonl"', 'test = "test.jsonl"']
    if args.unlabelled:
        lines.append('unlabelled = "unlabelled.jsonl"')
        write(folder / "unlabelled.jsonl", rest[: args.unlabelled])
    (folder / "task.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    write(folder / "seeds.jsonl", seeds)
    write(folder / "test.jsonl", test)
    return folder


def main():
    args = arguments()
    train, test = read(args.data / "train.jsonl"), read(args.data / "test.jsonl")
    seen = {key(row) for row in train}
    test = [row for row in test if key(row) not in seen]
    if args.test is not None and args.test < len(test):
        test = random.Random(0).sample(test, args.test)
    classes = sorted({row["label"] for row in train})
    for draw in range(args.draws):
        print(task(args, draw, classes, train, test))


if __name__ == "__main__":
    main()
