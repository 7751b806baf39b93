"""How well the teacher answers the prompts of the method's rivals, with the demonstration's seeds as examples.

What:    for every prompt that asks for texts the share of well-formed replies (as many lines as asked, numbered,
         different, ended) and the share of texts that naive Bayes, which never saw the teacher, takes for the class
         asked for (of GPT3Mix: the class the teacher wrote behind it); for every prompt that asks for a class the
         accuracy on a JSONL file. Writes nothing.
Needs:   torch, tokenizers; WORK/teacher.pt, WORK/teacher-tokenizer.json.
Example: python check_rivals.py --work target/pocket --min-p 0.1 --samples 20
"""
import argparse
import random
import re
from collections import Counter
from pathlib import Path

import torch

import prompting as chat
from check_teacher import Teacher, lines_of
from naive_bayes import judge
from tickets import CLASSES

COUNT = 3  # texts in a request, the program's default


def ask(kind, major, rng):
    """A prompt of the kind for the class `major`."""
    seeds = chat.seeds()
    names = [major, *rng.sample([n for n in chat.NAMES if n != major], 3)]
    rng.shuffle(names)
    minor = rng.choice([n for n in names if n != major])
    classes = chat.class_list(names, {} if "undescribed" in kind else CLASSES, {} if "zero-shot" in kind else seeds)
    if kind == "continuation":
        return chat.continuation(major, seeds[major], COUNT)
    if kind == "gpt3mix":
        examples = [(t, n) for n in names for t in seeds[n]]
        rng.shuffle(examples)
        return chat.gpt3mix(names, examples, COUNT)
    if kind.startswith("plain"):
        return chat.plain(classes, COUNT, major)
    return chat.mixup(classes, COUNT, major, minor, 90)


def written(teacher, kind, prompts, copies, temperature, min_p):
    """[(class, text)] and the share of well-formed replies."""
    rng, noise = random.Random(f"rivals/{kind}"), torch.Generator().manual_seed(0)
    rows, good = [], 0
    for k in range(prompts):
        major = chat.NAMES[k % 6]
        for reply in teacher.say(ask(kind, major, rng), copies, temperature, noise, min_p=min_p):
            labels = [major] * COUNT
            if kind == "gpt3mix":
                labels = re.findall(r" \(class: (\w+)\)$", reply or "", re.MULTILINE)
                reply = re.sub(r" \(class: \w+\)$", "", reply or "", flags=re.MULTILINE)
            texts = lines_of(reply, COUNT) if len(labels) == COUNT and set(labels) <= set(chat.NAMES) else None
            good += texts is not None
            rows += zip(labels, texts or [])
    return rows, good / prompts / copies


def answered(teacher, kind, path):
    """Accuracy on the texts of a file."""
    rng, rows, right, seeds = random.Random(7), chat.read_jsonl(path), 0, chat.seeds()
    for row in rows:
        if kind == "gpt3mix_label":
            names = [row["label"], *rng.sample([n for n in chat.NAMES if n != row["label"]], 3)]
            rng.shuffle(names)
            examples = [(t, n) for n in names for t in seeds[n]]
            rng.shuffle(examples)
            scores = teacher.answer(chat.gpt3mix_label(names, examples, row["text"]), names)
        else:
            shown = ({} if "undescribed" in kind else CLASSES, {} if "zero-shot" in kind else seeds)
            scores = teacher.relabel(chat.class_list(rng.sample(chat.NAMES, 6), *shown), row["text"])
        right += max(scores, key=scores.get) == row["label"]
    return right / len(rows)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--work", type=Path, required=True)
    p.add_argument("--file", type=Path, default=chat.DEMO / "pool.jsonl")
    p.add_argument("--weights", default="teacher.pt")
    p.add_argument("--prompts", type=int, default=12)
    p.add_argument("--temperature", type=float, default=0.95)
    p.add_argument("--min-p", type=float, default=0.0)
    p.add_argument("--samples", type=int, default=0)
    a = p.parse_args()
    torch.set_num_threads(1)
    teacher, (label, _) = Teacher(a.work, a.weights), judge()
    for kind in ("plain", "plain zero-shot", "plain undescribed", "continuation", "gpt3mix", "mixup zero-shot", "mixup undescribed"):
        rows, good = written(teacher, kind, a.prompts, 8, a.temperature, a.min_p)
        agree = sum(label(t) == n for n, t in rows) / max(1, len(rows))
        print(f"{kind}: {a.prompts * 8} replies, {good:.3f} well formed; {len(set(rows))} different of {len(rows)} texts; "
              f"{agree:.3f} of the class by naive Bayes {dict(Counter(n for n, _ in rows)) if kind == 'gpt3mix' else ''}")
        for name, text in random.Random(1).sample(rows, min(a.samples, len(rows))):
            print(f"  {name}: {text}")
    for kind in ("relabel", "relabel zero-shot", "relabel undescribed", "gpt3mix_label"):
        print(f"{kind}: {answered(teacher, kind, a.file):.3f} right of {a.file.name}")


if __name__ == "__main__":
    main()
