"""The teacher's architecture: a Llama, small enough for one CPU core.

What:    RMSNorm, rotary positions (first half against second half, as Hugging Face stores Llamas; gguf_export.py
         reorders for llama.cpp), SwiGLU, embedding tied to the output. Shapes: ids [batch, seq], hidden
         [batch, seq, dim], logits [.., vocab].
Needs:   torch.
"""
import math
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn as nn
import torch.nn.functional as F


@dataclass
class Config:
    vocab: int
    dim: int = 192
    layers: int = 4
    heads: int = 6
    ffn: int = 512
    context: int = 1024
    eps: float = 1e-5
    rope_base: float = 10000.0


class RmsNorm(nn.Module):
    def __init__(self, dim, eps):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(dim)), eps

    def forward(self, x):
        return F.rms_norm(x, (x.shape[-1],), self.weight, self.eps)


class Block(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.heads = c.heads
        self.norm1, self.norm2 = RmsNorm(c.dim, c.eps), RmsNorm(c.dim, c.eps)
        self.qkv = nn.Linear(c.dim, 3 * c.dim, bias=False)
        self.out = nn.Linear(c.dim, c.dim, bias=False)
        self.gate_up = nn.Linear(c.dim, 2 * c.ffn, bias=False)
        self.down = nn.Linear(c.ffn, c.dim, bias=False)

    def forward(self, x, cos, sin, cache):
        batch, seq, dim = x.shape
        half = dim // self.heads // 2
        q, k, v = self.qkv(self.norm1(x)).view(batch, seq, 3, self.heads, 2 * half).permute(2, 0, 3, 1, 4)
        q, k = (z * cos + torch.cat([-z[..., half:], z[..., :half]], -1) * sin for z in (q, k))
        if cache is not None:
            if cache:
                k, v = torch.cat([cache["k"], k], 2), torch.cat([cache["v"], v], 2)
            cache["k"], cache["v"] = k, v
        y = F.scaled_dot_product_attention(q, k, v, is_causal=seq > 1)
        x = x + self.out(y.transpose(1, 2).reshape(batch, seq, dim))
        gate, up = self.gate_up(self.norm2(x)).chunk(2, -1)
        return x + self.down(F.silu(gate) * up)


class Llama(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.config = c
        self.embed = nn.Embedding(c.vocab, c.dim)
        self.blocks = nn.ModuleList(Block(c) for _ in range(c.layers))
        self.norm = RmsNorm(c.dim, c.eps)
        head_dim = c.dim // c.heads
        freq = c.rope_base ** (-torch.arange(0, head_dim, 2).float() / head_dim)
        angle = torch.outer(torch.arange(c.context).float(), freq).repeat(1, 2)
        self.register_buffer("cos", angle.cos(), persistent=False)
        self.register_buffer("sin", angle.sin(), persistent=False)
        for name, p in self.named_parameters():
            if p.dim() == 2:
                last = name.endswith(("out.weight", "down.weight"))
                nn.init.normal_(p, 0, 0.02 / math.sqrt(2 * c.layers) if last else 0.02)

    def forward(self, ids, caches=None, past=0):
        """ids [batch, seq] -> hidden [batch, seq, dim]; `caches` (one dict per block) keep keys and values."""
        x = self.embed(ids)
        cos, sin = self.cos[past : past + ids.shape[1]], self.sin[past : past + ids.shape[1]]
        for i, block in enumerate(self.blocks):
            x = block(x, cos, sin, None if caches is None else caches[i])
        return self.norm(x)

    def logits(self, hidden):
        return F.linear(hidden, self.embed.weight)


def save(model, path, **notes):
    """Weights and notes in one file, put in place in one step."""
    part = Path(f"{path}.part")
    torch.save({"config": asdict(model.config), "weights": model.state_dict(), "notes": notes}, part)
    part.replace(path)


def load(path):
    saved = torch.load(path, weights_only=True)
    model = Llama(Config(**saved["config"]))
    model.load_state_dict(saved["weights"])
    return model.eval(), saved["notes"]
