"""Trains the pocket teacher from scratch on one CPU core.

What:    conversations of corpus.py, packed to one fixed length; loss on every token, least on what is only read,
         most on the class name that answers a relabel question. Writes WORK/teacher.pt every few minutes.
Needs:   torch; WORK/teacher-tokenizer.json (make_tokenizers.py).
Example: python train_teacher.py --work target/pocket --minutes 34
"""
import argparse
import random
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

import llama
import prompting as chat
from corpus import Corpus, Shares

LENGTH = 640          # tokens of a packed conversation: the class list, then as many turns as fit
BATCH = 5             # conversations in a step
PEAK_RATE = 2.2e-3    # AdamW
RESUMED_RATE = 7e-4   # with --resume, falling nearly from the start: more unlearns the class names for a while
WARM_UP = 40          # steps
DECAY_FROM = 0.55     # share of the time after which the rate falls linearly
READ_WEIGHT = 0.4     # loss weight of tokens the teacher only reads (they teach it the language of tickets)
LABEL_WEIGHT = 5.0    # loss weight of the class name in a relabel reply
GIVEN_WEIGHT = 2.0    # loss weight of a class name that follows a text in a reply to GPT3Mix's prompt
TURN_WEIGHT = 3.0     # loss weight of what comes after a line of a mixup reply: the next line's number, or the end
# What the conversations ask for: before, and after the rate begins to fall. The rivals' prompts need little but the
# new question: the language of tickets is there by then.
SHARES = (Shares(mixup=0.4), Shares(mixup=0.6, rivals=0.3, bare=0.3))
SPLIT_SHARE = 0.3     # share of relabel texts whose words are split at random (BPE dropout), as unknown words will be


class Packer:
    """Conversations as (ids, loss weights), each LENGTH long."""

    def __init__(self, tok_file, corpus):
        self.tok, self.split = Tokenizer.from_file(str(tok_file)), Tokenizer.from_file(str(tok_file))
        self.split.model.dropout = 0.15
        self.corpus = corpus
        self.labels = {n: self.tok.token_to_id(n) for n in chat.NAMES}
        self.newline = self.tok.encode("\n").ids[0]
        self.id = {m: self.tok.token_to_id(m) for m in chat.MARKERS}

    def encode_user(self, user, relabel, rng):
        if relabel and rng.random() < SPLIT_SHARE:
            question, text = user.rsplit("\n", 1)
            return self.tok.encode(question + "\n").ids + self.split.encode(text).ids
        return self.tok.encode(user).ids

    def pack(self, i, shares):
        rng, given = random.Random(f"pack/{i}"), set(self.labels.values())
        ids, weights = [self.id[chat.BEGIN]], [0.0]
        for n, (user, reply) in enumerate(self.corpus.conversation(i, shares)):
            relabel = reply in self.labels
            read = [self.id[chat.USER], *self.encode_user(user, relabel, rng), self.id[chat.END], self.id[chat.ASSISTANT]]
            said = [self.labels[reply]] if relabel else self.tok.encode(reply).ids
            said.append(self.id[chat.END])
            if n and len(ids) + len(read) + len(said) > LENGTH:
                break
            ids += read + said
            weights += [READ_WEIGHT] * len(read)
            turn = (self.id[chat.END], self.newline)
            if relabel:
                weights += [LABEL_WEIGHT, 1.0]
            else:
                weights += [TURN_WEIGHT if t in turn else GIVEN_WEIGHT if t in given else 1.0 for t in said]
        fill = LENGTH - len(ids)
        return (ids + [self.id[chat.PAD]] * fill)[:LENGTH], (weights + [0.0] * fill)[:LENGTH]


def optimiser(model):
    matrices = [p for p in model.parameters() if p.dim() == 2]
    vectors = [p for p in model.parameters() if p.dim() < 2]
    groups = [{"params": matrices, "weight_decay": 0.05}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=PEAK_RATE, betas=(0.9, 0.97), fused=True)


def rate_at(step, done, peak, decay_from):
    """`done`: share of the time that is over, 0..1."""
    falling = 1.0 if done < decay_from else max(0.02, (1 - done) / (1 - decay_from))
    return peak * min(1.0, (step + 1) / WARM_UP) * falling


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--work", type=Path, required=True)
    p.add_argument("--minutes", type=float, default=34)
    p.add_argument("--dim", type=int, default=192)
    p.add_argument("--layers", type=int, default=4)
    p.add_argument("--seed", default="teacher")
    p.add_argument("--no-compile", action="store_true", help="where no C++ compiler is at hand; a third slower")
    p.add_argument("--resume", action="store_true", help="go on from WORK/teacher.pt with the next conversations")
    p.add_argument("--out", default="teacher.pt")
    a = p.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    corpus = Corpus(a.seed)
    packer = Packer(a.work / "teacher-tokenizer.json", corpus)
    documents = 0
    if a.resume:
        model, notes = llama.load(a.work / "teacher.pt")
        model.train()
        documents = notes["documents"]
    else:
        model = llama.Llama(llama.Config(
            vocab=packer.tok.get_vocab_size(), dim=a.dim, layers=a.layers, heads=a.dim // 32, ffn=a.dim * 8 // 3 // 32 * 32,
        ))
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters", flush=True)
    opt = optimiser(model)
    labels = torch.tensor(sorted(packer.labels.values()))

    def losses(ids):
        logits = model.logits(model(ids)[:, :-1]).flatten(0, 1)
        return F.cross_entropy(logits, ids[:, 1:].flatten(), reduction="none"), logits

    if not a.no_compile:
        losses = torch.compile(losses, dynamic=False)
    start = saved = time.time()
    step, first = 0, documents
    smooth = {}
    while True:
        done = (time.time() - start) / 60 / a.minutes
        if done >= 1:
            break
        rows = [packer.pack(documents + k, SHARES[a.resume or done >= DECAY_FROM]) for k in range(BATCH)]
        documents += BATCH
        ids, weights = torch.tensor([r[0] for r in rows]), torch.tensor([r[1] for r in rows])[:, 1:].flatten()
        for group in opt.param_groups:
            group["lr"] = rate_at(step, done, RESUMED_RATE if a.resume else PEAK_RATE, 0.1 if a.resume else DECAY_FROM)
        each, logits = losses(ids)
        loss = (each * weights).sum() / weights.sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        opt.zero_grad()
        step += 1
        with torch.no_grad():
            asked = weights == LABEL_WEIGHT
            guess = logits[asked][:, labels].argmax(-1)
            now = {
                "read": each[weights == torch.tensor(READ_WEIGHT)].mean().item(), "said": each[weights == 1].mean().item(),
                "label": each[asked].mean().item(), "right": (labels[guess] == ids[:, 1:].flatten()[asked]).float().mean().item(),
            }
        for k, v in now.items():
            smooth[k] = v if k not in smooth or v != v or smooth[k] != smooth[k] else 0.95 * smooth[k] + 0.05 * v
        if step % 25 == 0:
            figures = "  ".join(f"{k} {v:.3f}" for k, v in smooth.items())
            print(f"step {step}  done {done:.2f}  {figures}  {(documents - first) * LENGTH / (time.time() - start):.0f} tok/s", flush=True)
        if time.time() - saved > 100:
            llama.save(model, a.work / a.out, steps=step, documents=documents)
            saved = time.time()
    llama.save(model, a.work / a.out, steps=step, documents=documents, minutes=a.minutes, seed=a.seed)
    guard = corpus.guard
    print(f"{step} steps, {documents} conversations; guard: {guard.dropped} of {guard.passed + guard.dropped} texts dropped")


if __name__ == "__main__":
    main()
