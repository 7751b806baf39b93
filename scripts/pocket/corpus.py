"""Everything the pocket models are trained on: single texts and whole conversations, made from the two grammars.

What:    `Corpus(seed)` draws tickets and mixes through one guard, disturbs some with unknown words, and builds the
         conversations of the teacher. Item i of a stream depends on (seed, i) alone, so check_leak.py can make the
         same items again.
Needs:   tickets.py, mixes.py, prompts/*.j2, models/pocket/demo/*.jsonl (for the guard only).
Example: python corpus.py           # prints two conversations
"""
import random
import re

import prompting as chat
from mixes import mix
from tickets import CLASSES, ticket

PERCENTS = list(range(50, 101, 5))
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
    def _classes(self, rng, names):
        count = rng.choices([2, 1, 0], [85, 10, 5])[0]
        examples = {n: [self.ticket(rng, n, rng.uniform(0.2, 0.8)) for _ in range(count)] for n in names}
        described = rng.random() < 0.95 or count == 0
        return chat.class_list(names, CLASSES if described else {}, examples)

    def _mixup(self, rng, names):
        """(arguments for the prompt, reply)"""
        major, minor = rng.sample(names, 2)
        percent, count = rng.choice(PERCENTS), rng.choices([3, 1, 2, 4, 5], [95, 1, 1.5, 1.5, 1])[0]
        texts = []
        for _ in range(20 * count):
            text = self.mix(rng, major, minor, percent)
            if normal(text) not in {normal(t) for t in texts}:
                texts.append(text)
            if len(texts) == count:
                break
        count = len(texts)
        return (count, major, minor, percent), "\n".join(f"{k}. {t}" for k, t in enumerate(texts, 1))

    def _relabel(self, rng, names):
        """(text, class name)"""
        label = rng.choice(names)
        if rng.random() < 0.85:
            return self.ticket(rng, label, rng.uniform(0.5, 1.2), disturbed=True), label
        minor = others(rng, label, 1)[0]
        return self.mix(rng, label, minor, rng.choice([85, 90, 95, 100]), disturbed=True), label

    def conversation(self, i, mixup_share):
        """A list of (user text, reply) turns. The first is exactly what the program sends; the later ones repeat
        only the question, to spare the class list. `mixup_share` of the turns ask for mixups."""
        rng = self.rng("conversation", i)
        if rng.random() < mixup_share:  # four classes, as the program shows for a mixup
            names, first = rng.sample(chat.NAMES, 4), "mixup"
        else:
            names, first = rng.sample(chat.NAMES, 6 if rng.random() < 0.8 else 5), "relabel"
        classes = self._classes(rng, names)
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
            kind = first if rng.random() < 0.8 else ("mixup" if rng.random() < mixup_share else "relabel")
        return turns


if __name__ == "__main__":
    corpus = Corpus("show")
    for i in range(2):
        for user, reply in corpus.conversation(i, 0.5)[:4]:
            print(f"[user] {user}\n[assistant] {reply}")
        print("=" * 60)
