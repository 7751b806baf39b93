#!/usr/bin/env python3
"""Runs an exported `model.onnx` under onnxruntime and compares it, text by text, with `promptmix predict`
and, where the folder has its weights and pools the first token, with `transformers`. (`tests/onnx` does the same for
tiny models, with tract.)

FOLDER is the output of `promptmix export --format all` (or onnx), TEXTS a plain file with one text per line.
PROMPTMIX is the program's path (default: `promptmix` on PATH). For a folder that holds only ONNX, --student
names the folder that promptmix predicts with. Batches mix lengths, so that they contain padding.

needs: onnx, onnxruntime, tokenizers, numpy (pip); torch and transformers for the comparison with these
example: promptmix export run/ --to shared/ && python3 scripts/check_onnx.py shared/ texts.txt
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys

import numpy
import onnx
import onnxruntime
import tokenizers

TOLERANCE = 1e-4
BATCH = 8


def softmax(logits, temperature=1.0):
    logits = logits / temperature
    shares = numpy.exp(logits - logits.max(-1, keepdims=True))
    return shares / shares.sum(-1, keepdims=True)


def run_onnx(folder, texts, length):
    path = str(folder / "model.onnx")
    onnx.checker.check_model(path, full_check=True)
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(length)
    tokenizer.enable_padding()
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    rows = []
    for at in range(0, len(texts), BATCH):
        batch = tokenizer.encode_batch(texts[at : at + BATCH])
        rows.append(session.run(["logits"], {
            "input_ids": numpy.array([text.ids for text in batch], numpy.int64),
            "attention_mask": numpy.array([text.attention_mask for text in batch], numpy.int64),
        })[0])
    return numpy.concatenate(rows)


def run_promptmix(program, student, texts, labels):
    done = subprocess.run([program, "predict", "--model", str(student)], input="\n".join(texts) + "\n",
                          capture_output=True, encoding="utf-8")
    if done.returncode:
        sys.exit(f"{program} predict: {done.stderr}")
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["text"] for answer in answers] == texts
    return numpy.array([[answer["probabilities"][label] for label in labels] for answer in answers])


def run_transformers(folder, texts, length):
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    rows = []
    for at in range(0, len(texts), BATCH):
        batch = tokenizer(texts[at : at + BATCH], padding=True, truncation=True, max_length=length, return_tensors="pt")
        with torch.no_grad():
            rows.append(model(**batch).logits.numpy())
    return numpy.concatenate(rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("texts", type=pathlib.Path)
    parser.add_argument("--student", type=pathlib.Path, help="the folder that promptmix predicts with (default: FOLDER)")
    parser.add_argument("--promptmix", default=os.environ.get("PROMPTMIX", "promptmix"))
    args = parser.parse_args()

    config = json.loads((args.folder / "config.json").read_text())
    labels = [config["id2label"][str(number)] for number in range(len(config["id2label"]))]
    length = config.get("promptmix_max_length", config["max_position_embeddings"])
    texts = [line for line in args.texts.read_text(encoding="utf-8").split("\n") if line.strip()]
    if not texts:
        sys.exit(f"{args.texts} holds no texts")
    prompted = [config.get("promptmix_prompt", "") + text for text in texts]
    logits = run_onnx(args.folder, prompted, length)
    print(f"model.onnx: {onnxruntime.__version__}, {len(texts)} texts, {len(labels)} classes, check_model passed")

    worst = {}
    ours = run_promptmix(args.promptmix, args.student or args.folder, texts, labels)
    temperature = config.get("promptmix_temperature", 1.0)
    worst["promptmix predict, probabilities"] = abs(softmax(logits, temperature) - ours).max()
    if config.get("promptmix_head", "mlp") != "mlp":
        print("transformers: not compared, it does not support linear heads")
    elif config.get("promptmix_pooling", "first") != "first":
        print("transformers: not compared, it does not support mean pooling")
    elif not (args.folder / "model.safetensors").exists():
        print("transformers: not compared, the folder holds only ONNX")
    else:
        worst["transformers, logits"] = abs(run_transformers(args.folder, prompted, length) - logits).max()
    for name, difference in worst.items():
        print(f"largest difference to {name}: {difference:.1e}")
    # Comparisons with NaN are false, so NaN fails.
    sys.exit(not all(difference <= TOLERANCE for difference in worst.values()))


if __name__ == "__main__":
    main()
