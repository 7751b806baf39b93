"""Everything the pocket models are trained on: single texts and whole conversations, made from the two grammars.

What:    `Corpus(seed)` draws tickets and mixes through one guard, disturbs some with unknown words, and builds the
         conversations of the teacher: the method's own prompts and those of its rivals. Item i of a stream depends on
         (seed, i) and the shares alone, so check_leak.py can make the same items again.
Needs:   tickets.py, mixes.py, prompts/*.j2, models/pocket/demo/*.jsonl (for the guard only).
Example: python corpus.py           # prints a conversation of each kind
"""
import random
import re
from typing import NamedTuple

import prompting as chat
from mixes import mix
from tickets import CLASSES, ticket

PERCENTS = list(range(50, 101, 5))


class Shares(NamedTuple):
    """What the conversations ask for."""

    mixup: float         # of the method's own conversations, those for mixups; the others relabel
    rivals: float = 0.0  # of all conversations, those with a rival's prompt
    bare: float = 0.0    # of the class lists, those without examples or without descriptions


# Among the rivals' conversations; a label is scored in one token, a text takes a hundred.
RIVALS = {"plain": 0.34, "continuation": 0.22, "gpt3mix": 0.28, "gpt3mix_label": 0.16}
# Words that say nothing about the class, and syllables for names nobody has seen: they teach the models that an
# unknown word is no evidence.
FILLERS = """lumen Kestrel Bergmann Lisbon canteen sofa aunt annex Thursday quarter folder window seminar supplier auditor
neighbour cafe noon desk badge parking lunch kids green Miro plane somehow simply really actually maybe again still just
already perhaps totally apparently since though exactly before without other another every same whole little big old
please thanks hi hello team urgent weird strange honestly unfortunately suddenly meanwhile today tomorrow""".split()
SYLLABLES = "ba ke lo mi ru ten san dor el vi gra pon st ar zu ni fo hal wex qui tra mo ge pla ri".split()


def normal(text):
    """The form in which two texts count as the same: lower case, letters and digits only."""
    return re.sub(r"[^a-z0-9]+", "", text.lower())


class Guard:
    """Drops, and counts, any text that is a sentence of the demonstration's test set or one of its seeds."""

    def __init__(self):
        files = sorted(chat.DEMO.glob("*.jsonl"))
        self.forbidden = {normal(row["text"]) for f in files for row in chat.read_jsonl(f)}
        self.passed = self.dropped = 0

    def lets(self, text):
        ok = normal(text) not in self.forbidden
        self.passed += ok
        self.dropped += not ok
        return ok


def unknown_word(rng):
    if rng.random() < 0.5:
        return rng.choice(FILLERS)
    return "".join(rng.choice(SYLLABLES) for _ in range(rng.choice([2, 2, 3])))


def disturb(text, rng):
    """Half the texts stay; the others lose a word or two, or get unknown ones (inside, instead of one, or around)."""
    kind, words = rng.random(), text.split()
    if kind < 0.5:
        return text
    if kind < 0.65 and len(words) > 5:
        for _ in range(rng.choice([1, 1, 2])):
            words.pop(rng.randrange(len(words)))
    elif kind < 0.8:
        for _ in range(rng.choice([1, 2, 3])):
            words.insert(rng.randrange(len(words) + 1), unknown_word(rng))
    elif kind < 0.9:
        for _ in range(rng.choice([1, 2])):
            words[rng.randrange(len(words))] = unknown_word(rng)
    else:
        extra = [unknown_word(rng) for _ in range(rng.choice([2, 3, 4]))]
        words = extra + words if rng.random() < 0.5 else words + extra
    return " ".join(words)


def lines(rng):
    """How many texts a request asks for."""
    return rng.choices([3, 1, 2, 4, 5], [95, 1, 1.5, 1.5, 1])[0]


def numbered(texts):
    return "\n".join(f"{k}. {t}" for k, t in enumerate(texts, 1))


def others(rng, name, k):
    return rng.sample([n for n in chat.NAMES if n != name], k)


class Corpus:
    def __init__(self, seed):
        self.seed, self.guard = seed, Guard()

    def rng(self, stream, i):
        return random.Random(f"{self.seed}/{stream}/{i}")

    def guarded(self, draw):
        """Calls `draw()` until the guard lets its text through. All generated text comes this way."""
        while True:
            text = " ".join(draw().split())
            if text and self.guard.lets(text):
                return text

    def ticket(self, rng, label, noise, disturbed=False):
        return self.guarded(lambda: disturb(ticket(label, rng, noise), rng) if disturbed else ticket(label, rng, noise))

    def mix(self, rng, major, minor, percent, disturbed=False):
        if not disturbed:
            return self.guarded(lambda: mix(major, minor, percent, rng))
        return self.guarded(lambda: disturb(mix(major, minor, percent, rng), rng))

    # ---- single texts, for the student's encoder and both tokenizers -------------------------------------------
    def text(self, i):
        rng = self.rng("text", i)
        label = rng.choice(chat.NAMES)
        if rng.random() < 0.65:
            return self.ticket(rng, label, rng.uniform(0.3, 1.2), disturbed=True)
        return self.mix(rng, label, others(rng, label, 1)[0], rng.choice(PERCENTS), disturbed=True)

    # ---- conversations, for the teacher ------------------------------------------------------------------------
    def _example(self, rng, name):
        return self.ticket(rng, name, rng.uniform(0.2, 0.8))

    def _classes(self, rng, names, bare=0.0):
        count, described = rng.choices([2, 1, 0], [85, 10, 5])[0], None
        if bare and rng.random() < bare:
            described = rng.random() < 0.5
            # Five of each fit beside a question where few classes are shown.
            count = 0 if described else rng.choices([2, 1, 3 if len(names) > 4 else 5], [80, 10, 10])[0]
        examples = {n: [self._example(rng, n) for _ in range(count)] for n in names}
        if described is None:
            described = rng.random() < 0.95 or count == 0
        return chat.class_list(names, CLASSES if described else {}, examples)

    def _different(self, draw, count, known=()):
        """Up to `count` texts of `draw(place)`, no two the same and none of `known`."""
        texts, seen = [], {normal(t) for t in known}
        for _ in range(20 * count):
            text = draw(len(texts))
            if normal(text) not in seen:
                seen.add(normal(text))
                texts.append(text)
            if len(texts) == count:
                break
        return texts

    def _mixup(self, rng, names):
        """(arguments for the prompt, reply)"""
        major, minor = rng.sample(names, 2)
        percent, count = rng.choice(PERCENTS), lines(rng)
        texts = self._different(lambda _: self.mix(rng, major, minor, percent), count)
        return (len(texts), major, minor, percent), numbered(texts)

    def _tickets(self, rng, labels, known):
        """One tidy ticket for each of `labels`, as a language model would write them."""
        return self._different(lambda k: self.ticket(rng, labels[k], rng.choice([0.0, 0.0, 0.3])), len(labels), known)

    def _relabel(self, rng, names):
        """(text, class name)"""
        label = rng.choice(names)
        if rng.random() < 0.85:
            return self.ticket(rng, label, rng.uniform(0.5, 1.2), disturbed=True), label
        minor = others(rng, label, 1)[0]
        return self.mix(rng, label, minor, rng.choice([85, 90, 95, 100]), disturbed=True), label

    def _plain(self, rng, bare):
        """Turns for texts of one class each, sometimes for a mixup under the same class list."""
        names = rng.sample(chat.NAMES, 4)
        classes = self._classes(rng, names, bare)
        head, known = chat.header(classes), [t for c in classes for t in c["examples"]]
        for n in range(9):
            if n and rng.random() < 0.15:
                arguments, reply = self._mixup(rng, names)
                prompt = chat.mixup(classes, *arguments)
            else:
                label = rng.choice(names)
                texts = self._tickets(rng, [label] * lines(rng), known)
                prompt, reply = chat.plain(classes, len(texts), label), numbered(texts)
            yield (prompt if n == 0 else prompt[len(head):].strip()), reply

    def _continuation(self, rng):
        """Turns that each show examples of one class and want more of them."""
        for _ in range(7):
            label, count = rng.choice(chat.NAMES), rng.choices([2, 1, 3, 5, 10], [75, 6, 6, 7, 6])[0]
            examples = [self._example(rng, label) for _ in range(count)]
            texts = self._tickets(rng, [label] * lines(rng), examples)
            yield chat.continuation(label, examples, len(texts)), numbered(texts)

    def _gpt3mix(self, rng, first):
        """Turns that show labelled examples of four classes and want more of them, or the class of a text."""
        names = rng.sample(chat.NAMES, 4)
        count = rng.choices([2, 1, 3, 5], [80, 7, 7, 6])[0]
        examples = [(self._example(rng, n), n) for n in names for _ in range(count)]
        rng.shuffle(examples)
        head, kind = chat.labelled_header(names, examples), first
        for n in range(12):
            if kind == "gpt3mix":
                labels = [rng.choice(names) for _ in range(lines(rng))]
                texts = self._tickets(rng, labels, [t for t, _ in examples])
                prompt = chat.gpt3mix(names, examples, len(texts))
                reply = numbered([f"{t} (class: {label})" for t, label in zip(texts, labels)])
            else:
                text, reply = self._relabel(rng, names)
                prompt = chat.gpt3mix_label(names, examples, text)
            yield (prompt if n == 0 else prompt[len(head):].strip()), reply
            kind = first if rng.random() < 0.8 else rng.choice(["gpt3mix", "gpt3mix_label"])

    def conversation(self, i, shares):
        """A list of (user text, reply) turns. The first is exactly what the program sends; the later ones mostly
        repeat only the question, to spare what all of them have in common."""
        rng = self.rng("conversation", i)
        if shares.rivals and rng.random() < shares.rivals:
            kind = rng.choices(list(RIVALS), RIVALS.values())[0]
            if kind == "plain":
                return list(self._plain(rng, shares.bare))
            return list(self._continuation(rng) if kind == "continuation" else self._gpt3mix(rng, kind))
        if rng.random() < shares.mixup:  # four classes, as the program shows for a mixup
            names, first = rng.sample(chat.NAMES, 4), "mixup"
        else:
            names, first = rng.sample(chat.NAMES, 6 if rng.random() < 0.8 else 5), "relabel"
        classes = self._classes(rng, names, shares.bare)
        head = chat.header(classes)
        turns, kind = [], first
        for n in range(9):
            if kind == "mixup":
                arguments, reply = self._mixup(rng, names)
                prompt = chat.mixup(classes, *arguments)
            else:
                text, reply = self._relabel(rng, names)
                prompt = chat.relabel(classes, text)
            turns.append((prompt if n == 0 else prompt[len(head):].strip(), reply))
            # Later turns mostly keep to the kind of the first: the deployed pairing of question and class count.
            kind = first if rng.random() < 0.8 else ("mixup" if rng.random() < shares.mixup else "relabel")
        return turns


if __name__ == "__main__":
    corpus = Corpus("show")
    rng = corpus.rng("show", 0)
    own = [corpus.conversation(i, Shares(float(i))) for i in range(2)]
    for turns in [*own, corpus._plain(rng, 0.5), corpus._continuation(rng), corpus._gpt3mix(rng, "gpt3mix")]:
        for user, reply in list(turns)[:3]:
            print(f"[user] {user}\n[assistant] {reply}")
        print("=" * 60)
