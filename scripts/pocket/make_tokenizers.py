"""The tokenizers of the two pocket models.

What:    teacher-tokenizer.json: byte-level BPE with GPT-2's splitting, chat markers as control tokens, class names as
         single tokens. student-tokenizer.json: lower-casing WordPiece as BERT's.
Needs:   tokenizers; the grammars.
Example: python make_tokenizers.py --work target/pocket
"""
import argparse
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

import prompting as chat
from corpus import Corpus, Shares

TEACHER_VOCAB = 3072  # words of the grammar become one token or two; more would make the tied embedding the model
STUDENT_VOCAB = 7000  # an upper bound: training stops when no pair is frequent enough


def teacher(corpus, conversations):
    def lines():
        for i in range(conversations):
            for user, reply in corpus.conversation(i, Shares(mixup=0.5)):
                for line in f"{user}\n{reply}".split("\n"):
                    for name in chat.NAMES:
                        line = line.replace(name, "\n")
                    yield from line.split("\n")

    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tok.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=TEACHER_VOCAB - len(chat.NAMES), special_tokens=chat.MARKERS, min_frequency=3, max_token_length=16,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False,
    )
    tok.train_from_iterator(lines(), trainer)
    tok.add_tokens([AddedToken(n, normalized=False) for n in chat.NAMES])
    return tok


def student(corpus, texts):
    tok = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=100))
    tok.normalizer = normalizers.BertNormalizer(lowercase=True)
    tok.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tok.decoder = decoders.WordPiece()
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    printable = [chr(c) for c in range(33, 127) if not chr(c).isupper()]
    trainer = trainers.WordPieceTrainer(
        vocab_size=STUDENT_VOCAB, special_tokens=specials, min_frequency=2, initial_alphabet=printable, show_progress=False
    )
    tok.train_from_iterator((corpus.text(i) for i in range(texts)), trainer)
    tok.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(s, tok.token_to_id(s)) for s in ("[CLS]", "[SEP]")],
    )
    return tok


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--work", type=Path, required=True)
    p.add_argument("--conversations", type=int, default=3000)
    p.add_argument("--texts", type=int, default=60000)
    a = p.parse_args()
    a.work.mkdir(parents=True, exist_ok=True)
    corpus = Corpus("tokenizers")
    for name, tok in [("teacher", teacher(corpus, a.conversations)), ("student", student(corpus, a.texts))]:
        tok.save(str(a.work / f"{name}-tokenizer.json"))
        print(f"{name} tokenizer: {tok.get_vocab_size()} tokens")
    print(f"guard: {corpus.guard.dropped} of {corpus.guard.passed} texts dropped")


if __name__ == "__main__":
    main()
