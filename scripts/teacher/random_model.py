#!/usr/bin/env python3
"""Writes a GGUF with random weights and the architecture of a small Llama, to measure speed where no real model is
available. By default it has the shape of SmolLM2-135M (30 layers, hidden size 576, 9 heads, 3 key-value heads,
feed-forward size 1,536, vocabulary 49,152, tied embeddings): 135M parameters, Q4_0, 76 MB. The same arguments
write the same file.

The model's text means nothing, but every program can process it as text: the tokenizer is byte-level and can spell
any string; some hundred English words and the numbers up to 99 are single tokens, and the rest are invented words,
most of them with a space before. `<|im_end|>` ends a text, the chat template is ChatML. Logits have a standard
deviation of about 3, so the likeliest token has a probability of a few per cent, as after an ordinary prompt in a
trained model.

needs: gguf, numpy (pip install gguf numpy); about 1 GB of memory
example: python3 scripts/teacher/random_model.py target/random-135m.gguf
         python3 scripts/teacher/random_model.py target/random-152k.gguf --vocab 151936
"""
import argparse
import os
import random
import sys

try:
    import gguf
    import numpy as np
    from gguf import GGMLQuantizationType, TokenType
    from gguf.quants import quantize
except ModuleNotFoundError as e:
    sys.exit(f"random_model: there is no {e.name} here\nhint: pip install gguf numpy, in a venv if you like")

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
CHATML = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
WORDS = """the of and to a in is it you that he was for on are with as his they be at one have this from or had by
not but what some we can out other were all there when up use your how said an each she which do their time if
will way about many then them write would like so these her long make thing see him two has look more day could go
come did number sound no most people my over know water than call first who may down side been now find any new
work part take get place made live where after back little only round man year came show every good me give our
under name very through just form sentence great think say help low line differ turn cause much mean before move
right boy old too same tell does set three want air well also play small end put home read hand large spell add
even land here must big high such follow act why ask men change went light kind off need house picture try us again
animal point mother world near build self earth father text class label question answer example examples write
user system assistant between both label category topic news sport business science technology positive negative
opinion review film movie book product service price order ticket customer account payment card bank transfer
location person entity description abbreviation numeric share percent half mix mixed boundary short long message
language following classify choose given belongs reply only one word words number letters""".split()
PIECES = "in er on an re at en or es ed it is al ar st th he le ou ly ing ion ent and ter est ers the".split()
CONSONANTS = ["b", "c", "d", "f", "g", "h", "k", "l", "m", "n", "p", "r", "s", "t", "v", "w", "br", "ch", "st", "tr"]
VOWELS = ["a", "e", "i", "o", "u"]


def byte_alphabet():
    """GPT-2's name for each of the 256 bytes: itself if it is printable, else a character from U+0100 on."""
    prints = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    names, spare = {}, 256
    for byte in range(256):
        if byte in prints:
            names[byte] = chr(byte)
        else:
            names[byte] = chr(spare)
            spare += 1
    return names


def vocabulary(size, dice):
    """`size` tokens, and the merges that produce the real words among them."""
    names = byte_alphabet()
    space, newline = names[ord(" ")], names[ord("\n")]
    tokens, merges = SPECIAL + [names[b] for b in range(256)], []
    seen = set(tokens)

    def add(left, right):
        if left + right not in seen:
            seen.add(left + right)
            tokens.append(left + right)
            merges.append(f"{left} {right}")

    # A word grows letter by letter from its space. These merges rank first, so no other one interferes.
    for word in WORDS:
        for spelled in (space + word, space + word.capitalize()):
            for end in range(1, len(spelled)):
                add(spelled[:end], spelled[end])
    add(newline, newline)
    for number in range(10, 100):
        add(str(number)[0], str(number)[1])
    for piece in PIECES:
        for end in range(1, len(piece)):
            add(piece[:end], piece[end])

    # Invented words of 2 to 8 letters. They are drawn by number, so they need no merges.
    while len(tokens) < size:
        word = "".join(dice.choice(CONSONANTS) + dice.choice(VOWELS) for _ in range(dice.randint(1, 4)))[:8]
        word = word.capitalize() if dice.random() < 0.1 else word
        token = space + word if dice.random() < 0.7 else word
        if token not in seen:
            seen.add(token)
            tokens.append(token)
    return tokens, merges


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", help="the GGUF to write")
    parser.add_argument("--vocab", type=int, default=49152, help="tokens: 32000, 49152, 151936 are common (default 49152)")
    for name, value in dict(layers=30, hidden=576, heads=9, kv=3, ffn=1536, context=8192, seed=0).items():
        parser.add_argument(f"--{name}", type=int, default=value, help=f"default {value}")
    parser.add_argument("--type", choices=["Q4_0", "Q8_0", "F16"], default="Q4_0", help="of the matrices (default Q4_0)")
    a = parser.parse_args()
    kind = GGMLQuantizationType[a.type]
    head = a.hidden // a.heads
    if a.hidden % a.heads or a.heads % a.kv or a.hidden % 32 or a.ffn % 32:
        sys.exit("--hidden and --ffn must be multiples of 32, --hidden of --heads, --heads of --kv")
    rng = np.random.default_rng(a.seed)
    tokens, merges = vocabulary(a.vocab, random.Random(a.seed))
    if len(tokens) > a.vocab:
        sys.exit(f"--vocab {a.vocab}: the words of the tokenizer alone need {len(tokens)}\nhint: take 4096 or more")

    w = gguf.GGUFWriter(a.out, "llama")
    w.add_name(f"random {a.layers}x{a.hidden}")
    w.add_context_length(a.context)
    w.add_embedding_length(a.hidden)
    w.add_block_count(a.layers)
    w.add_feed_forward_length(a.ffn)
    w.add_head_count(a.heads)
    w.add_head_count_kv(a.kv)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_rope_freq_base(10000.0)
    w.add_rope_dimension_count(head)
    w.add_vocab_size(len(tokens))
    w.add_file_type({"F16": 1, "Q4_0": 2, "Q8_0": 7}[a.type])
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("gpt-2")
    w.add_token_list(tokens)
    w.add_token_types([TokenType.CONTROL if t in SPECIAL else TokenType.NORMAL for t in tokens])
    w.add_token_merges(merges)
    w.add_bos_token_id(1)
    w.add_eos_token_id(2)
    w.add_pad_token_id(0)
    w.add_add_bos_token(False)
    w.add_chat_template(CHATML)

    parameters = 0

    def matrix(name, rows, columns, scale=None):
        nonlocal parameters
        parameters += rows * columns
        x = rng.standard_normal((rows, columns), dtype=np.float32) * (scale or columns**-0.5)
        if kind == GGMLQuantizationType.F16:
            w.add_tensor(name, x.astype(np.float16))
        else:
            w.add_tensor(name, quantize(x, kind), raw_dtype=kind)

    def norm(name):
        w.add_tensor(name, np.ones(a.hidden, np.float32))

    # The last norm leaves a vector of length sqrt(hidden), so this scale gives the logits a deviation of 3.
    # The 30 layers add more than that; otherwise tied embeddings would repeat the last token forever.
    matrix("token_embd.weight", len(tokens), a.hidden, 3 * a.hidden**-0.5)
    norm("output_norm.weight")
    for i in range(a.layers):
        norm(f"blk.{i}.attn_norm.weight")
        norm(f"blk.{i}.ffn_norm.weight")
        matrix(f"blk.{i}.attn_q.weight", a.hidden, a.hidden)
        matrix(f"blk.{i}.attn_k.weight", head * a.kv, a.hidden)
        matrix(f"blk.{i}.attn_v.weight", head * a.kv, a.hidden)
        matrix(f"blk.{i}.attn_output.weight", a.hidden, a.hidden)
        matrix(f"blk.{i}.ffn_gate.weight", a.ffn, a.hidden)
        matrix(f"blk.{i}.ffn_up.weight", a.ffn, a.hidden)
        matrix(f"blk.{i}.ffn_down.weight", a.hidden, a.ffn)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    size = os.path.getsize(a.out) / 1e6
    print(f"{a.out}: {parameters / 1e6:.1f}M parameters, {size:.0f} MB, vocabulary {len(tokens)}, {len(merges)} merges")


if __name__ == "__main__":
    main()
