"""Reads the GGUF back and compares it with the trained model.

What:    a second forward pass, in numpy and in llama.cpp's conventions (rotation of neighbouring pairs), from the
         file's own tensors; its logits on a real prompt must lie within Q8_0's error of the torch model's.
         Exit code 1 otherwise.
Needs:   torch, tokenizers, gguf, numpy.
Example: python gguf_check.py --work target/pocket --gguf models/pocket/teacher/pocket-teacher.gguf
"""
import argparse
import sys
from pathlib import Path

import gguf
import numpy as np
import torch
from tokenizers import Tokenizer

import llama
import prompting as chat
from tickets import CLASSES

TOLERANCE = 0.02  # of the logits' standard deviation, root mean square; a wrong row order gives about 1


def forward(reader, ids):
    """ids [seq] -> logits [seq, vocab], float32."""
    field = {k: f.contents() for k, f in reader.fields.items()}
    w = {t.name: gguf.quants.dequantize(t.data, t.tensor_type) for t in reader.tensors}
    heads, eps = field["llama.attention.head_count"], field["llama.attention.layer_norm_rms_epsilon"]
    size = field["llama.rope.dimension_count"]

    def norm(x, name):
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * w[name]

    angle = np.outer(np.arange(len(ids)), field["llama.rope.freq_base"] ** (-np.arange(0, size, 2) / size))[:, None]

    def rotate(x):  # [seq, heads, size]
        even, odd = x[..., 0::2], x[..., 1::2]
        out = np.empty_like(x)
        out[..., 0::2] = even * np.cos(angle) - odd * np.sin(angle)
        out[..., 1::2] = even * np.sin(angle) + odd * np.cos(angle)
        return out

    x = w["token_embd.weight"][ids]
    hide = np.triu(np.full((len(ids), len(ids)), -np.inf, np.float32), 1)
    for i in range(field["llama.block_count"]):
        b = f"blk.{i}."
        h = norm(x, b + "attn_norm.weight")
        q, k, v = ((h @ w[f"{b}attn_{n}.weight"].T).reshape(len(ids), heads, size) for n in "qkv")
        scores = np.einsum("qhs,khs->hqk", rotate(q), rotate(k)) / np.sqrt(size) + hide
        p = np.exp(scores - scores.max(-1, keepdims=True))
        p /= p.sum(-1, keepdims=True)
        x = x + np.einsum("hqk,khs->qhs", p, v).reshape(len(ids), -1) @ w[b + "attn_output.weight"].T
        h = norm(x, b + "ffn_norm.weight")
        gate = h @ w[b + "ffn_gate.weight"].T
        x = x + (gate / (1 + np.exp(-gate)) * (h @ w[b + "ffn_up.weight"].T)) @ w[b + "ffn_down.weight"].T
    return norm(x, "output_norm.weight") @ w["token_embd.weight"].T


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--work", type=Path, required=True)
    p.add_argument("--gguf", type=Path, required=True)
    a = p.parse_args()
    tok = Tokenizer.from_file(str(a.work / "teacher-tokenizer.json"))
    model, _ = llama.load(a.work / "teacher.pt")
    prompt = chat.opening(chat.relabel(chat.class_list(chat.NAMES, CLASSES, chat.seeds()), "The fan of my laptop is loud."))
    ids = tok.encode(prompt).ids
    with torch.no_grad():
        ours = model.logits(model(torch.tensor([ids])))[0].numpy()
    theirs = forward(gguf.GGUFReader(a.gguf), ids)
    error = float(np.sqrt(((ours - theirs) ** 2).mean()) / ours.std())
    same = float((ours.argmax(-1) == theirs.argmax(-1)).mean())
    print(f"{len(ids)} tokens; error {error:.4f} of the logits' spread (at most {TOLERANCE}); same best token {same:.3f}")
    sys.exit(error > TOLERANCE)


if __name__ == "__main__":
    main()
