#!/usr/bin/env python3
"""Makes tests/data/student/{distilbert,bert}: what PyTorch computes on tiny random networks.

Each folder is a model that `transformers` saved (config, weights, tokenizer) and expected.safetensors:
a padded batch, its logits and hidden states, the loss, the gradient of every parameter, and the
parameters after one clipped AdamW step. The Rust student is held against these numbers.

needs: torch, transformers, tokenizers, safetensors (pip)
example: python3 scripts/student_fixture.py
"""
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
RATE, DECAY, CLIP = 1e-3, 0.01, 0.05  # a bound below the norm, so that clipping happens


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
        sep_token="[SEP]", mask_token="[MASK]", model_max_length=16,
    )


def make(name, model):
    tok = tokenizer()
    # Random norms and biases too: at their usual 1 and 0 a swapped pair would go unseen.
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
    batch = tok(TEXTS, padding=True, return_tensors="pt")
    ids, mask = batch["input_ids"], batch["attention_mask"]
    out = model(input_ids=ids, attention_mask=mask, labels=torch.tensor(TARGETS), output_hidden_states=True)
    out.loss.backward()
    expected = {
        "ids": ids.int(), "mask": mask.int(), "logits": out.logits, "loss": out.loss.reshape(1),
        "hidden": out.hidden_states[-1] * mask[..., None],
    }
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        expected["grad." + key] = parameter.grad.clone()
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
    assert norm > CLIP
    plain = lambda key: key.endswith(".bias") or "LayerNorm" in key or "layer_norm" in key
    groups = [
        {"params": [p for k, p in model.named_parameters() if not plain(k)], "weight_decay": DECAY},
        {"params": [p for k, p in model.named_parameters() if plain(k)], "weight_decay": 0.0},
    ]
    torch.optim.AdamW(groups, lr=RATE).step()
    for key, parameter in model.named_parameters():
        expected["after." + key] = parameter.detach()
    expected["norm"] = norm.reshape(1)
    expected = {key: value.detach().contiguous() for key, value in expected.items()}
    save_file(expected, folder / "expected.safetensors")
    print(name, f"loss {out.loss.item():.4f}, norm {norm.item():.3f},",
          sum(p.stat().st_size for p in folder.iterdir()) // 1024, "KiB")


labels = dict(id2label=dict(enumerate(LABELS)), label2id={label: i for i, label in enumerate(LABELS)})
torch.manual_seed(1)
make("distilbert", DistilBertForSequenceClassification(DistilBertConfig(
    vocab_size=len(WORDS), dim=16, n_layers=2, n_heads=2, hidden_dim=32, max_position_embeddings=16, **labels)))
make("bert", BertForSequenceClassification(BertConfig(
    vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
    max_position_embeddings=16, **labels)))
