"""How well the student's encoder serves a classifier trained on few texts.

What:    fine-tunes it (mean over the words, one linear layer) on the demonstration's 12 seeds alone, and on the seeds
         and 240 texts of the mixup grammar, and prints the accuracy on a JSONL file, mean of several tries. A check of
         the encoder, not the program's own training. Writes nothing.
Needs:   torch, transformers; a student folder (train_student.py).
Example: python check_student.py --student target/pocket/student --file ../../models/pocket/demo/pool.jsonl
"""
import argparse
import random
import statistics
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from transformers import AutoModel

import prompting as chat
from corpus import PERCENTS, Corpus, others


def encode(tok, texts):
    rows = [tok.encode(t).ids[:128] for t in texts]
    ids = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long)
    for i, r in enumerate(rows):
        ids[i, : len(r)] = torch.tensor(r)
    return ids, ids != 0


def mean(encoder, ids, present):
    hidden = encoder(input_ids=ids, attention_mask=present).last_hidden_state
    return (hidden * present[..., None]).sum(1) / present.sum(1, keepdim=True)


def accuracy(folder, tok, train, test, seed, rate=7e-4):
    torch.manual_seed(seed)
    rng = random.Random(seed)
    encoder = AutoModel.from_pretrained(folder, dtype=torch.float32)
    head = torch.nn.Linear(encoder.config.dim, len(chat.NAMES))
    opt = torch.optim.AdamW([*encoder.parameters(), *head.parameters()], lr=rate, weight_decay=0.01)
    steps, queue = max(60, min(130, len(train) // 2)), []
    encoder.train()
    for step in range(steps):
        for group in opt.param_groups:
            group["lr"] = rate * min(1, (step + 1) / 10) * (1 - step / steps)
        if len(queue) < 16:
            queue += rng.sample(train, len(train))
        batch, queue = queue[:16], queue[16:]
        ids, present = encode(tok, [r["text"] for r in batch])
        want = torch.tensor([chat.NAMES.index(r["label"]) for r in batch])
        F.cross_entropy(head(mean(encoder, ids, present)), want, label_smoothing=0.05).backward()
        opt.step()
        opt.zero_grad()
    encoder.eval()
    with torch.no_grad():
        guess = head(mean(encoder, *encode(tok, [r["text"] for r in test]))).argmax(-1)
    return sum(chat.NAMES[g] == r["label"] for g, r in zip(guess, test)) / len(test)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--student", type=Path, required=True)
    p.add_argument("--file", type=Path, default=chat.DEMO / "pool.jsonl")
    p.add_argument("--tries", type=int, default=3)
    a = p.parse_args()
    torch.set_num_threads(1)
    tok = Tokenizer.from_file(str(a.student / "tokenizer.json"))
    test, seeds = chat.read_jsonl(a.file), chat.read_jsonl(chat.DEMO / "seeds.jsonl")
    corpus, few, many = Corpus("student-check"), [], []
    for t in range(a.tries):
        mixes = []
        for i in range(240):
            rng = corpus.rng(t, i)
            major = chat.NAMES[i % 6]
            mixes.append({"text": corpus.mix(rng, major, others(rng, major, 1)[0], rng.choice(PERCENTS[3:])), "label": major})
        few.append(accuracy(a.student, tok, seeds * 2, test, t))
        many.append(accuracy(a.student, tok, mixes + seeds * 3, test, t))
    for name, values in (("12 seeds", few), ("seeds + 240 mixes", many)):
        print(f"{name}: {statistics.mean(values):.3f} ({', '.join(f'{v:.3f}' for v in values)})")


if __name__ == "__main__":
    main()
