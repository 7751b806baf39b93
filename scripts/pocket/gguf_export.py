"""Writes the pocket teacher as one GGUF file.

What:    Q8_0 matrices and F32 norms under llama.cpp's names; query and key rows reordered from "first half against
         second half" to the neighbouring pairs of llama.cpp's Llama rotation; tokenizer, merges and chat template
         inside. The class names are user-defined tokens: one token wherever they stand.
Needs:   torch, tokenizers, gguf; WORK/teacher.pt, WORK/teacher-tokenizer.json.
Example: python gguf_export.py --work target/pocket --out models/pocket/teacher/pocket-teacher.gguf
"""
import argparse
import json
from pathlib import Path

import gguf
import numpy as np

import llama
import prompting as chat


def interleave(weight, heads):
    """Rows [heads, 2, half] -> [heads, half, 2]: from halves to neighbouring pairs."""
    rows, columns = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


def tensors(model):
    """(llama.cpp's name, float32 array [out, in]) of every tensor."""
    c = model.config
    yield "token_embd.weight", model.embed.weight.detach().numpy()
    yield "output_norm.weight", model.norm.weight.detach().numpy()
    for i, b in enumerate(model.blocks):
        q, k, v = (w.detach().numpy() for w in b.qkv.weight.chunk(3))
        gate, up = (w.detach().numpy() for w in b.gate_up.weight.chunk(2))
        parts = {
            "attn_norm": b.norm1.weight.detach().numpy(), "ffn_norm": b.norm2.weight.detach().numpy(),
            "attn_q": interleave(q, c.heads), "attn_k": interleave(k, c.heads), "attn_v": v,
            "attn_output": b.out.weight.detach().numpy(), "ffn_gate": gate, "ffn_up": up, "ffn_down": b.down.weight.detach().numpy(),
        }
        for name, w in parts.items():
            yield f"blk.{i}.{name}.weight", w


def token_types(tokens):
    kind = gguf.TokenType
    return [kind.CONTROL if t in chat.MARKERS else kind.USER_DEFINED if t in chat.NAMES else kind.NORMAL for t in tokens]


def write(model, tok_file, out):
    c = model.config
    data = json.loads(Path(tok_file).read_text())
    ids = dict(data["model"]["vocab"]) | {t["content"]: t["id"] for t in data["added_tokens"]}
    tokens = sorted(ids, key=ids.get)
    assert [ids[t] for t in tokens] == list(range(c.vocab))
    part = Path(f"{out}.part")
    w = gguf.GGUFWriter(part, "llama")
    w.add_name("promptmix pocket teacher")
    w.add_description("A toy help-desk teacher of six classes, trained from scratch on generated text; see scripts/pocket")
    w.add_license("Apache-2.0")
    w.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    w.add_quantization_version(gguf.GGML_QUANT_VERSION)
    w.add_vocab_size(c.vocab)
    w.add_context_length(c.context)
    w.add_embedding_length(c.dim)
    w.add_block_count(c.layers)
    w.add_feed_forward_length(c.ffn)
    w.add_head_count(c.heads)
    w.add_head_count_kv(c.heads)
    w.add_layer_norm_rms_eps(c.eps)
    w.add_rope_dimension_count(c.dim // c.heads)
    w.add_rope_freq_base(c.rope_base)
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("gpt-2")
    w.add_token_list(tokens)
    w.add_token_types(token_types(tokens))
    w.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in data["model"]["merges"]])
    w.add_bos_token_id(ids[chat.BEGIN])
    w.add_eos_token_id(ids[chat.END])
    w.add_pad_token_id(ids[chat.PAD])
    w.add_add_bos_token(False)  # the template writes it
    w.add_chat_template(chat.CHAT_TEMPLATE)
    for name, array in tensors(model):
        array = np.ascontiguousarray(array, dtype=np.float32)
        if array.ndim == 1:
            w.add_tensor(name, array)
        else:
            q8 = gguf.GGMLQuantizationType.Q8_0
            w.add_tensor(name, gguf.quants.quantize(array, q8), raw_dtype=q8)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    part.replace(out)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--work", type=Path, required=True)
    p.add_argument("--out", type=Path, required=True)
    a = p.parse_args()
    model, notes = llama.load(a.work / "teacher.pt")
    a.out.parent.mkdir(parents=True, exist_ok=True)
    write(model, a.work / "teacher-tokenizer.json", a.out)
    print(f"{a.out}: {a.out.stat().st_size / 1e6:.2f} MB, {notes}")


if __name__ == "__main__":
    main()
