"""Proves that no training text is a sentence of the demonstration's test set (or one of its seeds).

What:    makes texts of the training streams again (every item depends on its seed and number alone) and
         compares each with every line of models/pocket/demo/*.jsonl, in lower case, letters and digits only. Prints
         counts, never sentences. Exit code 1 when one is found.
Needs:   the grammars.
Example: python check_leak.py --texts 20000 --conversations 1000 --first 6845   # from where a --resume went on
"""
import argparse
import re
import sys

import prompting as chat
from corpus import Corpus
from train_teacher import SHARES


def texts_of_conversation(turns):
    """Every generated ticket in a conversation: examples of a list, texts to relabel, lines of replies."""
    given = re.compile(r" \(class: \w+\)$")
    for user, reply in turns:
        yield from (given.sub("", line[2:]) for line in user.split("\n") if line.startswith("- "))
        if reply in chat.NAMES:
            yield user.rsplit("\n", 1)[1]
        else:
            yield from (given.sub("", re.sub(r"^\d+\. ", "", line)) for line in reply.split("\n"))


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--texts", type=int, default=20000)
    p.add_argument("--conversations", type=int, default=1000, help="each once with the early and once with the late shares")
    p.add_argument("--first", type=int, default=0, help="number of the first conversation")
    a = p.parse_args()
    # Read and normalised here anew, so that an error in the guard would show.
    def normal(text):
        return "".join(c for c in text.lower() if c.isascii() and c.isalnum())

    known = {normal(r["text"]): (f.name, k) for f in chat.DEMO.glob("*.jsonl") for k, r in enumerate(chat.read_jsonl(f), 1)}
    teacher, student = Corpus("teacher"), Corpus("student")
    seen = found = 0

    def look(text):
        nonlocal seen, found
        seen += 1
        if normal(text) in known:
            found += 1
            print("leak: a training text equals line {1} of {0}".format(*known[normal(text)]))

    for i in range(a.texts):
        look(student.text(i))
    for i in range(a.first, a.first + a.conversations):
        for shares in SHARES:
            for text in texts_of_conversation(teacher.conversation(i, shares)):
                look(text)
    dropped = teacher.guard.dropped + student.guard.dropped
    print(f"{seen} training texts against {len(known)} demonstration texts: {found} equal; the guard had dropped {dropped}")
    sys.exit(found > 0)


if __name__ == "__main__":
    main()
