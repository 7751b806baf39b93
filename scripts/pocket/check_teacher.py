"""How well the teacher plays its part, in the program's own prompts with the demonstration's seeds as examples.

What:    accuracy of relabelling a JSONL file (six classes, shuffled), and the share of mixup replies that are well
         formed (as many lines as asked, numbered, different, ended), with samples. Writes nothing.
Needs:   torch, tokenizers; WORK/teacher.pt, WORK/teacher-tokenizer.json.
Example: python check_teacher.py --work target/pocket --file ../../models/pocket/demo/pool.jsonl --samples 10
"""
import argparse
import random
import re
from collections import Counter
from pathlib import Path

import torch
from tokenizers import Tokenizer

import llama
import prompting as chat
from tickets import CLASSES


class Teacher:
    def __init__(self, work, weights="teacher.pt"):
        self.tok = Tokenizer.from_file(str(work / "teacher-tokenizer.json"))
        self.model, self.notes = llama.load(work / weights)
        self.end = self.tok.token_to_id(chat.END)
        self.labels = {n: self.tok.token_to_id(n) for n in chat.NAMES}

    def relabel(self, classes, text):
        """log p(name<|end|>) of every class shown."""
        return self.answer(chat.relabel(classes, text), [c["name"] for c in classes])

    @torch.no_grad()
    def answer(self, prompt, names):
        """log p(name<|end|>) of every name."""
        ids = self.tok.encode(chat.opening(prompt)).ids
        replies = torch.tensor([ids + [self.labels[n]] for n in names])
        logp = self.model.logits(self.model(replies)[:, -2:]).log_softmax(-1)
        return {n: (logp[i, 0, self.labels[n]] + logp[i, 1, self.end]).item() for i, n in enumerate(names)}

    @torch.no_grad()
    def say(self, prompt, copies, temperature, rng, longest=220, min_p=0.0):
        """`copies` replies that begin with "1."; None for one that does not end. Drops the tokens that are less than
        `min_p` times as probable as the best."""
        begin = self.tok.encode("1.").ids
        ids = self.tok.encode(chat.opening(prompt)).ids + begin
        caches = [{} for _ in self.model.blocks]
        hidden = self.model(torch.tensor([ids] * copies), caches)
        out, ended, past = [list(begin) for _ in range(copies)], [False] * copies, len(ids)
        for _ in range(longest):
            logits = self.model.logits(hidden[:, -1])
            p = logits.softmax(-1)
            logits[p < min_p * p.amax(-1, keepdim=True)] = -torch.inf
            new = torch.multinomial((logits / temperature).softmax(-1), 1, generator=rng)
            for i in range(copies):
                if not ended[i]:
                    ended[i] = new[i, 0].item() == self.end
                    out[i] += [] if ended[i] else [new[i, 0].item()]
            if all(ended):
                break
            hidden = self.model(new, caches, past)
            past += 1
        return [self.tok.decode(o, skip_special_tokens=False) if e else None for o, e in zip(out, ended)]


def lines_of(reply, count):
    """The texts of a well-formed reply, or None."""
    lines = (reply or "").split("\n")
    texts = [re.fullmatch(rf"{k}\. (\S.{{10,}})", line) for k, line in enumerate(lines, 1)]
    if len(lines) != count or not all(texts):
        return None
    texts = [t[1].strip() for t in texts]
    bad = any("<|" in t or any(n in t for n in chat.NAMES) for t in texts)
    return None if bad or len(set(texts)) < count else texts


def relabel_file(teacher, path, orders=1):
    rng, seeds = random.Random(7), chat.seeds()
    wrong, rows = [], chat.read_jsonl(path)
    for row in rows:
        for _ in range(orders):
            scores = teacher.relabel(chat.class_list(rng.sample(chat.NAMES, 6), CLASSES, seeds), row["text"])
            best = max(scores, key=scores.get)
            if best != row["label"]:
                wrong.append((row["label"], best, row["text"]))
    return 1 - len(wrong) / len(rows) / orders, wrong


def mixups(teacher, prompts, copies, temperature, seed=0):
    """[(major, minor, percent, text)] and the share of well-formed replies."""
    rng, noise = random.Random(f"mixups/{seed}"), torch.Generator().manual_seed(seed)
    seeds, rows, good = chat.seeds(), [], 0
    for k in range(prompts):
        names = rng.sample(chat.NAMES, 4)
        major, minor = chat.NAMES[k % 6], None
        if major not in names:
            names[0] = major
        minor = rng.choice([n for n in names if n != major])
        rng.shuffle(names)
        percent = rng.choice(range(50, 100, 5))
        prompt = chat.mixup(chat.class_list(names, CLASSES, seeds), 3, major, minor, percent)
        for reply in teacher.say(prompt, copies, temperature, noise):
            texts = lines_of(reply, 3)
            good += texts is not None
            rows += [(major, minor, percent, t) for t in texts or []]
    return rows, good / prompts / copies


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--work", type=Path, required=True)
    p.add_argument("--file", type=Path, default=chat.DEMO / "pool.jsonl")
    p.add_argument("--weights", default="teacher.pt")
    p.add_argument("--prompts", type=int, default=24)
    p.add_argument("--temperature", type=float, default=0.95)
    p.add_argument("--samples", type=int, default=0)
    p.add_argument("--wrong", action="store_true", help="print the wrong answers; not for a test set")
    a = p.parse_args()
    torch.set_num_threads(1)
    teacher = Teacher(a.work, a.weights)
    print(teacher.notes)
    accuracy, wrong = relabel_file(teacher, a.file)
    print(f"relabelling {a.file.name}: {accuracy:.3f}", dict(Counter(w[0] for w in wrong)))
    for truth, best, text in wrong if a.wrong else []:
        print(f"  {truth} -> {best}: {text}")
    rows, good = mixups(teacher, a.prompts, 8, a.temperature)
    texts = [r[3] for r in rows]
    pairs = [p for t in texts for p in zip(t.lower().split(), t.lower().split()[1:])]
    print(f"{a.prompts * 8} mixup replies at {a.temperature}: {good:.3f} well formed; {len(set(texts))} different of {len(texts)}; "
          f"distinct-2 {len(set(pairs)) / max(1, len(pairs)):.2f}")
    for major, minor, percent, text in random.Random(1).sample(rows, min(a.samples, len(rows))):
        print(f"  {percent}% {major} / {minor}: {text}")


if __name__ == "__main__":
    main()
