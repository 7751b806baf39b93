"""A yardstick: multinomial naive Bayes on the ticket grammar, tried on a JSONL file.

What:    counts the words of 6,000 generated tickets per class and prints the accuracy on FILE (all, and by class) and
         the share of FILE's words the grammar never made. Whatever this reaches, the grammar alone could teach. Not to
         be run on the test set while the grammars are still being written. Writes nothing.
Needs:   tickets.py; no packages but jinja2.
Example: python naive_bayes.py ../../models/pocket/demo/pool.jsonl
"""
import argparse
import math
import re
from collections import Counter

import prompting as chat
from corpus import Corpus


def words(text):
    return re.findall(r"[a-z0-9'-]+", text.lower())


def judge(tickets=6000):
    """`label(text)`, learnt from so many tickets of each class, and the words they know."""
    corpus = Corpus("naive-bayes")
    counts = {n: Counter() for n in chat.NAMES}
    for n in chat.NAMES:
        for i in range(tickets):
            counts[n].update(words(corpus.ticket(corpus.rng(n, i), n, 1.0)))
    known = set().union(*counts.values())
    total = {n: sum(c.values()) for n, c in counts.items()}

    def label(text):
        def score(n):
            return sum(math.log((counts[n][w] + 1) / (total[n] + len(known))) for w in words(text) if w in known)
        return max(chat.NAMES, key=score)

    return label, known


def main():
    p = argparse.ArgumentParser()
    p.add_argument("file")
    p.add_argument("--tickets", type=int, default=6000, help="per class")
    a = p.parse_args()
    label, known = judge(a.tickets)
    rows = chat.read_jsonl(a.file)
    right = Counter(r["label"] for r in rows if label(r["text"]) == r["label"])
    every = [w for r in rows for w in words(r["text"])]
    print(f"naive Bayes: {sum(right.values())} of {len(rows)} right ({sum(right.values()) / len(rows):.3f}); "
          f"{len(known)} known words, {sum(w not in known for w in every) / len(every):.3f} of the file's words unknown")
    for n in chat.NAMES:
        print(f"  {n}: {right[n]} of {sum(r['label'] == n for r in rows)}")


if __name__ == "__main__":
    main()
