#!/usr/bin/env python3
"""Opens a saved student in `transformers` and compares its probabilities with ours, text by text.

PREDICTIONS is JSONL as `promptmix predict` writes it: {"text": ..., "probabilities": {label: share, ...}}.
Students with mean pooling or a linear head cannot be compared: transformers pools the first token and has its own head.

needs: torch, transformers (pip)
example: promptmix predict student/ texts.txt > out.jsonl && python3 scripts/check_transformers.py student/ out.jsonl
"""
import json
import sys

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

TOLERANCE = 1e-4


def main(folder, predictions):
    config = json.load(open(f"{folder}/config.json"))
    if config.get("promptmix_head", "mlp") != "mlp":
        sys.exit(f"{folder}: has a linear head, which transformers does not support; nothing was compared")
    if config.get("promptmix_pooling", "first") != "first":
        sys.exit(f"{folder}: uses mean pooling, which transformers does not support; nothing was compared")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model, info = AutoModelForSequenceClassification.from_pretrained(folder, output_loading_info=True)
    model.eval()
    for fault in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if info[fault]:
            sys.exit(f"{folder}: {fault}: {sorted(info[fault])}")
    rows = [json.loads(line) for line in open(predictions) if line.strip()]
    worst, length = 0.0, config.get("promptmix_max_length", 128)
    for at in range(0, len(rows), 32):
        batch = rows[at : at + 32]
        tokens = tokenizer([r["text"] for r in batch], padding=True, truncation=True, max_length=length, return_tensors="pt")
        with torch.no_grad():
            shares = model(**tokens).logits.softmax(-1)
        for row, theirs in zip(batch, shares.tolist()):
            for number, share in enumerate(theirs):
                ours = row["probabilities"][model.config.id2label[number]]
                worst = max(worst, abs(ours - share))
    print(f"{len(rows)} texts, {type(model).__name__}, largest difference {worst:.1e}")
    sys.exit(worst > TOLERANCE or not rows)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
