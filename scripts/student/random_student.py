#!/usr/bin/env python3
"""Writes a Hugging Face folder of a DistilBERT or BERT classifier with random weights, for measuring speed where no
real model is available. By default it has the shape of distilbert-base-uncased (6 layers, hidden size 768, 12 heads,
intermediate size 3,072, a vocabulary of 30,522): 67 million parameters, 268 MB. The output is deterministic.

Its predictions are meaningless, but its tokens are realistic: the vocabulary of the uncased WordPiece tokenizer
consists of the words of --texts (those that occur once are split into pieces, like other rare words) and invented
ones. The classes are the labels of --texts, or --classes many.

  --like FOLDER   uses config.json and tokenizer.json of that model, with random weights

needs: numpy, safetensors, tokenizers (pip install numpy safetensors tokenizers)
example: python3 scripts/student/random_student.py target/random-distilbert --texts train.jsonl
         python3 scripts/student/random_student.py target/random-minilm --kind bert --hidden 384 --ffn 1536
         python3 scripts/student/random_student.py target/random-pocket --like models/pocket/student
"""
import argparse
import collections
import json
import os
import random
import re
import shutil
import sys

try:
    import numpy as np
    from safetensors.numpy import save_file
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
except ModuleNotFoundError as e:
    sys.exit(f"random_student: there is no {e.name} here\nhint: pip install numpy safetensors tokenizers, in a venv if you like")

CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~£€°–—’“”…"
SUFFIXES = 2000
CONSONANTS = ["b", "c", "d", "f", "g", "h", "k", "l", "m", "n", "p", "r", "s", "t", "v", "w", "br", "ch", "st", "tr"]
VOWELS = ["a", "e", "i", "o", "u"]


def read(paths):
    """The texts of JSONL files, and their labels if there are any."""
    rows = [json.loads(line) for path in paths for line in open(path, encoding="utf-8") if line.strip()]
    labels = dict.fromkeys(str(row["label"]) for row in rows if row.get("label") is not None)
    return [row["text"] for row in rows], list(labels)


def vocabulary(texts, size, dice):
    """`size` WordPiece entries: special tokens at BERT's ids, characters, words and endings of `texts`, invented words."""
    words = ["[PAD]", *(f"[unused{n}]" for n in range(99)), "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words += list(CHARACTERS) + ["##" + c for c in CHARACTERS]
    known = set(words)

    def add(word):
        if word not in known and len(words) < size:
            known.add(word)
            words.append(word)

    counts = collections.Counter(w for text in texts for w in re.findall(r"[a-z]+|[0-9]+", text.lower()))
    endings = collections.Counter()
    for word, count in counts.items():
        for length in range(2, min(len(word), 6)):
            endings["##" + word[-length:]] += count
    for word, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        if count > 1:
            add(word)
    for ending, _ in sorted(endings.items(), key=lambda item: (-item[1], item[0]))[:SUFFIXES]:
        add(ending)
    while len(words) < size:
        word = "".join(dice.choice(CONSONANTS) + dice.choice(VOWELS) for _ in range(dice.randint(1, 4)))
        add(word if dice.random() < 0.8 else "##" + word)
    return words


def tokenizer(words):
    tok = Tokenizer(models.WordPiece({word: at for at, word in enumerate(words)}, unk_token="[UNK]"))
    tok.normalizer = normalizers.BertNormalizer(lowercase=True)
    tok.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    cls, sep = words.index("[CLS]"), words.index("[SEP]")
    tok.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", cls), ("[SEP]", sep)])  # fmt: skip
    tok.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    return tok


def shapes(config):
    """Full name and shape of every tensor of the classifier that `config` describes."""
    bert = config["model_type"] == "bert"
    get = lambda a, b: config[a if bert else b]
    width, ffn = get("hidden_size", "dim"), get("intermediate_size", "hidden_dim")
    out = {}

    def dense(name, outputs, inputs):
        out[name + ".weight"], out[name + ".bias"] = [outputs, inputs], [outputs]

    def norm(name):
        out[name + ".weight"], out[name + ".bias"] = [width], [width]

    root = "bert" if bert else "distilbert"
    out[f"{root}.embeddings.word_embeddings.weight"] = [config["vocab_size"], width]
    out[f"{root}.embeddings.position_embeddings.weight"] = [config["max_position_embeddings"], width]
    if bert:
        out["bert.embeddings.token_type_embeddings.weight"] = [config["type_vocab_size"], width]
    norm(f"{root}.embeddings.LayerNorm")
    for at in range(get("num_hidden_layers", "n_layers")):
        if bert:
            layer = f"bert.encoder.layer.{at}."
            parts = ["attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense",
                     "attention.output.LayerNorm", "intermediate.dense", "output.dense", "output.LayerNorm"]  # fmt: skip
        else:
            layer = f"distilbert.transformer.layer.{at}."
            parts = ["attention.q_lin", "attention.k_lin", "attention.v_lin", "attention.out_lin",
                     "sa_layer_norm", "ffn.lin1", "ffn.lin2", "output_layer_norm"]  # fmt: skip
        for part in parts[:4]:
            dense(layer + part, width, width)
        norm(layer + parts[4])
        dense(layer + parts[5], ffn, width)
        dense(layer + parts[6], width, ffn)
        norm(layer + parts[7])
    dense("bert.pooler.dense" if bert else "pre_classifier", width, width)
    dense("classifier", len(config["id2label"]), width)
    return out


def write(folder, *, kind="distilbert", layers=6, hidden=768, heads=12, ffn=3072, vocab=30522, positions=512,
          texts=(), classes=6, like=None, seed=0):  # fmt: skip
    """Writes the folder; the arguments are those of the command line."""
    lines, labels = read(texts)
    labels = labels or [f"class {n}" for n in range(classes)]
    os.makedirs(folder, exist_ok=True)
    if like:
        config = json.load(open(os.path.join(like, "config.json"), encoding="utf-8"))
        shutil.copyfile(os.path.join(like, "tokenizer.json"), os.path.join(folder, "tokenizer.json"))
    else:
        words = vocabulary(lines, vocab, random.Random(seed))
        if len(words) > vocab:
            raise SystemExit(f"--vocab {vocab}: the characters alone need {len(words)}\nhint: take 1000 or more")
        tokenizer(words).save(os.path.join(folder, "tokenizer.json"))
        if kind == "bert":
            config = dict(model_type="bert", hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads,
                          intermediate_size=ffn, hidden_act="gelu", hidden_dropout_prob=0.1, type_vocab_size=2,
                          attention_probs_dropout_prob=0.1, layer_norm_eps=1e-12)  # fmt: skip
        else:
            config = dict(model_type="distilbert", dim=hidden, n_layers=layers, n_heads=heads, hidden_dim=ffn,
                          activation="gelu", dropout=0.1, attention_dropout=0.1, seq_classif_dropout=0.1,
                          sinusoidal_pos_embds=False)  # fmt: skip
        config |= dict(vocab_size=vocab, max_position_embeddings=positions, pad_token_id=0, initializer_range=0.02)
    bert = config["model_type"] == "bert"
    config["architectures"] = ["BertForSequenceClassification" if bert else "DistilBertForSequenceClassification"]
    config["id2label"] = {str(at): label for at, label in enumerate(labels)}
    config["label2id"] = {label: at for at, label in enumerate(labels)}
    config["torch_dtype"] = "float32"
    rng = np.random.default_rng(seed)
    tensors = {}
    for name, shape in shapes(config).items():
        values = rng.standard_normal(shape, dtype=np.float32) * np.float32(0.02)
        if "norm" in name.lower() and name.endswith(".weight"):
            values += np.float32(1.0)
        tensors[name] = values
    save_file(tensors, os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})
    dump = lambda name, value: json.dump(value, open(os.path.join(folder, name), "w", encoding="utf-8"), indent=1, ensure_ascii=False)
    dump("config.json", config)
    dump("tokenizer_config.json", dict(
        tokenizer_class="PreTrainedTokenizerFast", model_max_length=config["max_position_embeddings"], pad_token="[PAD]",
        unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]", mask_token="[MASK]"))  # fmt: skip
    return sum(t.size for t in tensors.values())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", help="the folder to write")
    parser.add_argument("--kind", choices=["distilbert", "bert"], default="distilbert")
    for name, value in dict(layers=6, hidden=768, heads=12, ffn=3072, vocab=30522, positions=512, classes=6, seed=0).items():
        parser.add_argument(f"--{name}", type=int, default=value, help=f"default {value}")
    parser.add_argument("--texts", action="append", default=[], metavar="JSONL", help="rows with `text` and optionally `label`, repeatable")
    parser.add_argument("--like", metavar="FOLDER", help="use the shape and tokenizer of this model")
    a = parser.parse_args()
    if a.hidden % a.heads:
        sys.exit("--hidden must be a multiple of --heads")
    options = vars(a)
    folder = options.pop("out")
    parameters = write(folder, **options)
    print(f"{folder}: {parameters / 1e6:.1f} million parameters")


if __name__ == "__main__":
    main()
