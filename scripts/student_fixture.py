#!/usr/bin/env python3
"""Writes tests/data/student/{distilbert,bert}: tiny random networks and what PyTorch computes with them.

Each folder holds a model as `transformers` saves it (config, weights, tokenizer) and expected.safetensors with
these tensors, computed without dropout (NAME is a parameter's full name):

  a batch of 7, 4 and 9 tokens, in f32
    ids, mask            [3, 9] i32; the classes are 0, 1, 2
    logits, loss         [3, 3], [1]
    hidden               [3, 9, width] last hidden states, zero in the padding
    grad.NAME            gradients of the loss
    norm                 [1] their global norm
    after.NAME           after one AdamW step: rate 1e-3, decay 0.01 (no biases, no norms), norm clipped to 0.05
  a batch of 1, 40 and 512 tokens, the shortest and longest possible, computed in f64 and rounded to f32
    long.ids, long.mask, long.targets    [3, 512], [3, 512], [3] i32
    long.logits, long.loss, long.hidden, long.grad.NAME, long.norm
  five AdamW steps from the same weights, computed in f64
    steps.batch          [5] i32: 0 = the first batch, 1 = the long one
    steps.rates          [5] f64: warm-up over 2 of 5 steps to 1e-3, then down
    steps.decay, steps.clip    [1] f64
    steps.losses, steps.norms  [5] f64; norms before clipping
    steps.after1.NAME, steps.after5.NAME    weights after the first and after the last step, f32
    steps.firm.NAME      u8, shaped as NAME: 0 where at some step the gradient was so small (but not zero) that its
                         sign may be rounding noise, which Adam amplifies to a whole step. Compare only where it is 1

It also prints how far PyTorch's own f32 results are from f64.

needs: torch, transformers, tokenizers, safetensors (pip)
example: python3 scripts/student_fixture.py
"""
import copy
import pathlib

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    PreTrainedTokenizerFast,
)

ROOT = pathlib.Path(__file__).resolve().parent.parent / "tests" / "data" / "student"
WORDS = (
    "[PAD] [UNK] [CLS] [SEP] [MASK] the a my is was not how why what when where do does can i you it to of in on for and "
    "card bank money account price refund order late lost broken screen app login password help train ticket plane city "
    "name who many much far old year people water dog cat red blue green fast slow new cheap . ? ! , ' ##s ##ed ##ing"
).split()
LABELS = ["money", "travel", "other"]
# Rows of 7, 4 and 9 tokens: padding in two of them.
TEXTS = ["where is my lost card ?", "cheap train", "why does the app not do what it was"]
TARGETS = [0, 1, 2]
RATE, DECAY, CLIP = 1e-3, 0.01, 0.05  # CLIP is below the norm, so that clipping happens
LONGEST = 512
LENGTHS, LONG_TARGETS = [1, 40, LONGEST], [2, 0, 1]
SHARES = [1 / 2, 1, 1, 2 / 3, 1 / 3]  # of RATE: warm-up over 2 of 5 steps, then down
BATCHES = [0, 1, 0, 1, 1]
FIRM = 1e-6  # the error of f32 gradients is below a tenth of this


def tokenizer():
    tok = Tokenizer(models.WordPiece({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    tok.normalizer = normalizers.BertNormalizer()
    tok.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tok.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tok.add_special_tokens(WORDS[:5])
    return PreTrainedTokenizerFast(
        tokenizer_object=tok, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]",
        sep_token="[SEP]", mask_token="[MASK]", model_max_length=LONGEST,
    )


def plain(key):
    return key.endswith(".bias") or "LayerNorm" in key or "layer_norm" in key


def adamw(model):
    groups = [
        {"params": [p for k, p in model.named_parameters() if not plain(k)], "weight_decay": DECAY},
        {"params": [p for k, p in model.named_parameters() if plain(k)], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=RATE)


def gradients(model, batch):
    """Runs `batch` forward and backward; returns the output and the gradients."""
    ids, mask, targets = batch
    model.zero_grad()
    out = model(input_ids=ids, attention_mask=mask, labels=targets, output_hidden_states=True)
    out.loss.backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
    return out, {key: parameter.grad.clone() for key, parameter in model.named_parameters()}


def long_batch():
    ids = torch.zeros(len(LENGTHS), LONGEST, dtype=torch.long)
    words = torch.randint(5, len(WORDS), ids.shape, generator=torch.Generator().manual_seed(2))
    for row, length in enumerate(LENGTHS):
        ids[row, :length] = words[row, :length]
        ids[row, 0] = 2
        if length > 1:
            ids[row, length - 1] = 3
    mask = torch.zeros_like(ids)
    for row, length in enumerate(LENGTHS):
        mask[row, :length] = 1
    return ids, mask, torch.tensor(LONG_TARGETS)


def five_steps(model, batches):
    """Losses and norms of the five steps, the weights after each, and where they are firm."""
    optimizer = adamw(model)
    losses, norms, weights = [], [], []
    firm = {key: torch.ones_like(p, dtype=torch.bool) for key, p in model.named_parameters()}
    for share, batch in zip(SHARES, BATCHES):
        out, grads = gradients(model, batches[batch])
        for key, grad in grads.items():
            firm[key] &= (grad == 0) | (grad.abs() >= FIRM)
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        assert norm > CLIP
        for group in optimizer.param_groups:
            group["lr"] = RATE * share
        optimizer.step()
        losses.append(out.loss.item())
        norms.append(norm.item())
        weights.append({key: p.detach().clone() for key, p in model.named_parameters()})
    return losses, norms, weights, firm


def make(name, model):
    tok = tokenizer()
    # Random norms and biases too: with the usual 1 and 0 a swapped pair would go unnoticed.
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3 if parameter.dim() == 1 else 0.15)
    for key, parameter in model.named_parameters():
        if "norm" in key.lower() and key.endswith("weight"):
            parameter.data += 1.0
    model.eval()
    folder = ROOT / name
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    tok.save_pretrained(folder)
    exact, single = copy.deepcopy(model).double(), copy.deepcopy(model)
    batch = tok(TEXTS, padding=True, return_tensors="pt")
    batches = [(batch["input_ids"], batch["attention_mask"], torch.tensor(TARGETS)), long_batch()]

    (ids, mask, _), (long_ids, long_mask, long_targets) = batches
    out, grads = gradients(model, batches[0])
    expected = {
        "ids": ids.int(), "mask": mask.int(), "logits": out.logits, "loss": out.loss.reshape(1),
        "hidden": out.hidden_states[-1] * mask[..., None],
    }
    expected |= {"grad." + key: grad for key, grad in grads.items()}
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
    assert norm > CLIP
    adamw(model).step()
    expected |= {"after." + key: parameter for key, parameter in model.named_parameters()}
    expected["norm"] = norm.reshape(1)

    long, long_grads = gradients(exact, batches[1])
    total = torch.stack([grad.square().sum() for grad in long_grads.values()]).sum().sqrt()
    expected |= {
        "long.ids": long_ids.int(), "long.mask": long_mask.int(), "long.targets": long_targets.int(),
        "long.logits": long.logits.float(), "long.loss": long.loss.reshape(1).float(),
        "long.hidden": (long.hidden_states[-1] * long_mask[..., None]).float(), "long.norm": total.reshape(1).float(),
    }
    expected |= {"long.grad." + key: grad.float() for key, grad in long_grads.items()}
    single_long, single_grads = gradients(copy.deepcopy(single), batches[1])

    losses, norms, weights, firm = five_steps(exact, batches)
    f64 = lambda values: torch.tensor(values, dtype=torch.float64)
    expected |= {
        "steps.batch": torch.tensor(BATCHES).int(), "steps.rates": f64([RATE * share for share in SHARES]),
        "steps.decay": f64([DECAY]), "steps.clip": f64([CLIP]), "steps.losses": f64(losses), "steps.norms": f64(norms),
    }
    single_steps = five_steps(single, batches)
    off = 0.0
    for key in firm:
        expected[f"steps.after1.{key}"] = weights[0][key].float()
        expected[f"steps.after5.{key}"] = weights[-1][key].float()
        expected[f"steps.firm.{key}"] = firm[key].to(torch.uint8)
        off = max(off, ((single_steps[2][-1][key] - weights[-1][key]).abs() * firm[key]).max().item())
    expected = {key: value.detach().contiguous() for key, value in expected.items()}
    save_file(expected, folder / "expected.safetensors")
    furthest = lambda a, b: max((a[key] - b[key]).abs().max().item() for key in a)
    print(name, f"loss {out.loss.item():.4f}, norm {norm.item():.3f},",
          sum(p.stat().st_size for p in folder.iterdir()) // 1024, "KiB")
    print(f"  long: loss {long.loss.item():.4f}, norm {total.item():.3f}; f32 is off by",
          f"{(single_long.logits - long.logits).abs().max().item():.1e} in the logits,",
          f"{furthest(single_grads, long_grads):.1e} in the gradients")
    print(f"  five steps: losses {[round(x, 4) for x in losses]}, norms {[round(x, 3) for x in norms]};",
          f"f32 is off by {off:.1e} where firm, which is",
          f"{sum(f.sum().item() for f in firm.values()) / sum(f.numel() for f in firm.values()):.1%}",
          f"(least of a tensor: {min((f.float().mean().item(), key) for key, f in firm.items())})")


labels = dict(id2label=dict(enumerate(LABELS)), label2id={label: i for i, label in enumerate(LABELS)})
torch.manual_seed(1)
make("distilbert", DistilBertForSequenceClassification(DistilBertConfig(
    vocab_size=len(WORDS), dim=16, n_layers=2, n_heads=2, hidden_dim=32, max_position_embeddings=LONGEST, **labels)))
make("bert", BertForSequenceClassification(BertConfig(
    vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
    max_position_embeddings=LONGEST, **labels)))
