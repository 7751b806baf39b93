"""Pre-trains the pocket student, a small DistilBERT, on masked words, on one CPU core.

What:    texts of corpus.py with a fifth of their words hidden, which the encoder must guess; and, as its mean over the
         words is what a classifier will read, that mean must also guess which words the sentence has. No class label is
         ever shown. Writes WORK/student/ as a Hugging Face folder: config.json, model.safetensors (F16, the encoder
         alone), tokenizer.json, tokenizer_config.json.
Needs:   torch, transformers, safetensors; WORK/student-tokenizer.json (make_tokenizers.py).
Example: python train_student.py --work target/pocket --minutes 22
"""
import argparse
import json
import shutil
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from tokenizers import Tokenizer
from transformers import DistilBertConfig, DistilBertForMaskedLM

from corpus import Corpus

SHAPES = {20: 48, 36: 24, 128: 8}  # row length -> rows: few fixed shapes, so that torch.compile compiles few times
HIDDEN = 0.17             # share of a batch's places that are hidden: about 22 % of its words
LONG_SHARE = 0.04         # of the rows are several texts in a row, so that every position learns something
PEAK_RATE = 1e-3
WARM_UP = 100
DECAY_FROM = 0.4
BAG_WEIGHT = 0.3            # of the loss on the words of the sentence, read from its mean


def config(tok, dim, layers):
    return DistilBertConfig(
        vocab_size=tok.get_vocab_size(), max_position_embeddings=128, dim=dim, n_layers=layers, n_heads=dim // 32,
        hidden_dim=4 * dim, dropout=0.0, attention_dropout=0.0, activation="gelu", sinusoidal_pos_embds=False,
        pad_token_id=tok.token_to_id("[PAD]"), tie_word_embeddings=True,
    )


class Batches:
    """Endless batches of ids [rows, length]; each row is one text with its [CLS] and [SEP]."""

    def __init__(self, tok, corpus):
        self.tok, self.corpus, self.texts = tok, corpus, 0
        self.waiting = {length: [] for length in SHAPES}

    def __next__(self):
        while True:
            for length, rows in SHAPES.items():
                if len(self.waiting[length]) >= rows:
                    batch, self.waiting[length] = self.waiting[length][:rows], self.waiting[length][rows:]
                    return torch.tensor([ids + [0] * (length - len(ids)) for ids in batch])
            long = self.corpus.rng("long", self.texts).random() < LONG_SHARE
            text = " ".join(self.corpus.text(self.texts + k) for k in range(6 if long else 1))
            self.texts += 6 if long else 1
            ids = self.tok.encode(text).ids
            length = next((k for k in SHAPES if len(ids) <= k), max(SHAPES))
            self.waiting[length].append(ids[:length])


def hide(ids, tok):
    """Chooses the hidden places; 80 % become [MASK], 10 % another word, 10 % stay."""
    places = (ids.flatten() > tok.token_to_id("[MASK]")).nonzero()[:, 0]
    count = int(ids.numel() * HIDDEN)
    places = places[torch.randperm(len(places))[:count]]
    if len(places) < count:  # a batch of very short texts: some places count twice
        places = places.repeat(2)[:count]
    wanted, shown, luck = ids.flatten()[places], ids.flatten().clone(), torch.rand(count)
    shown[places[luck < 0.8]] = tok.token_to_id("[MASK]")
    other = (luck >= 0.8) & (luck < 0.9)
    shown[places[other]] = torch.randint(tok.token_to_id("[MASK]") + 1, tok.get_vocab_size(), (int(other.sum()),))
    return shown.view_as(ids), places, wanted


def export(model, tok, tok_file, folder):
    """The folder is put in place in one step, so that a reader never sees half of it."""
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    weights = {f"distilbert.{n}": w.detach().to(torch.float16).contiguous() for n, w in model.distilbert.state_dict().items()}
    save_file(weights, part / "model.safetensors", metadata={"format": "pt"})
    (part / "model.safetensors").chmod(0o644)
    settings = model.config.to_dict() | {"dropout": 0.1, "attention_dropout": 0.1}  # for fine-tuning; here data is endless
    keep = ("vocab_size", "max_position_embeddings", "dim", "n_layers", "n_heads", "hidden_dim", "dropout", "attention_dropout",
            "activation", "sinusoidal_pos_embds", "pad_token_id", "initializer_range", "qa_dropout", "seq_classif_dropout",
            "tie_word_embeddings")
    described = {"architectures": ["DistilBertModel"], "model_type": "distilbert", **{k: settings[k] for k in keep}, "torch_dtype": "float16"}
    (part / "config.json").write_text(json.dumps(described, indent=2) + "\n")
    shutil.copy(tok_file, part / "tokenizer.json")
    (part / "tokenizer_config.json").write_text(json.dumps({
        "tokenizer_class": "DistilBertTokenizer", "do_lower_case": True, "model_max_length": 128, "pad_token": "[PAD]",
        "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]",
    }, indent=2) + "\n")
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--work", type=Path, required=True)
    p.add_argument("--minutes", type=float, default=22)
    p.add_argument("--dim", type=int, default=192)
    p.add_argument("--layers", type=int, default=4)
    p.add_argument("--bag", type=float, default=BAG_WEIGHT)
    p.add_argument("--no-compile", action="store_true", help="where no C++ compiler is at hand; slower")
    p.add_argument("--out", default="student")
    a = p.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    tok_file = a.work / "student-tokenizer.json"
    tok = Tokenizer.from_file(str(tok_file))
    corpus = Corpus("student")
    batches = Batches(tok, corpus)
    model = DistilBertForMaskedLM(config(tok, a.dim, a.layers))
    print(f"{sum(p.numel() for p in model.distilbert.parameters()) / 1e6:.2f} M parameters", flush=True)
    matrices = [p for p in model.parameters() if p.dim() == 2]
    vectors = [p for p in model.parameters() if p.dim() < 2]
    groups = [{"params": matrices, "weight_decay": 0.05}, {"params": vectors, "weight_decay": 0.0}]
    opt = torch.optim.AdamW(groups, lr=PEAK_RATE, betas=(0.9, 0.98), fused=True)

    def words_of(hidden):
        return model.vocab_projector(model.vocab_layer_norm(model.activation(model.vocab_transform(hidden))))

    def losses(shown, places, wanted, ids):
        present = shown != 0
        hidden = model.distilbert(input_ids=shown, attention_mask=present).last_hidden_state
        masked = F.cross_entropy(words_of(hidden.flatten(0, 1)[places]), wanted)
        mean = (hidden * present[..., None]).sum(1) / present.sum(1, keepdim=True)
        log_words = model.vocab_projector(mean).log_softmax(-1)
        real = ids > 4
        bag = -(log_words.gather(1, ids) * real).sum() / real.sum()
        return masked, bag

    if not a.no_compile:
        losses = torch.compile(losses, dynamic=False)
    model.train()
    start = saved = time.time()
    step = 0
    smooth = None
    while (done := (time.time() - start) / 60 / a.minutes) < 1:
        ids = next(batches)
        rate = PEAK_RATE * min(1.0, (step + 1) / WARM_UP) * (1.0 if done < DECAY_FROM else max(0.02, (1 - done) / (1 - DECAY_FROM)))
        for group in opt.param_groups:
            group["lr"] = rate
        masked, bag = losses(*hide(ids, tok), ids)
        (masked + a.bag * bag).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        opt.zero_grad()
        step += 1
        now = torch.tensor([masked.item(), bag.item()])
        smooth = now if smooth is None else 0.99 * smooth + 0.01 * now
        if step % 250 == 0:
            speed = batches.texts / (time.time() - start)
            print(f"step {step}  done {done:.2f}  masked {smooth[0]:.3f}  bag {smooth[1]:.3f}  {speed:.0f} texts/s", flush=True)
        if time.time() - saved > 180:
            export(model, tok, tok_file, a.work / a.out)
            saved = time.time()
    export(model, tok, tok_file, a.work / a.out)
    guard = corpus.guard
    print(f"{step} steps, {batches.texts} texts; guard: {guard.dropped} of {guard.passed + guard.dropped} texts dropped")


if __name__ == "__main__":
    main()
