"""How the program talks to a teacher, re-enacted in Python.

What:    the chat markers and chat template of the pocket teacher, and a renderer of the program's own templates
         (prompts/*.j2), so that the teacher is trained on exactly the prompts it will later be sent.
Needs:   jinja2.
Example: python prompting.py        # prints one prompt of each kind
"""
import json
from pathlib import Path
from types import SimpleNamespace

import jinja2

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "models/pocket/demo"
# The task's words; the class order is the one of the demonstration.
NAMES = ["password_reset", "account_locked", "vpn_access", "wifi_problem", "software_install", "hardware_fault"]
TASK = SimpleNamespace(item="ticket", items="tickets")  # no dict: Jinja would take its method `items`

PAD, BEGIN, END, USER, ASSISTANT = "<|pad|>", "<|begin|>", "<|end|>", "<|user|>", "<|assistant|>"
MARKERS = [PAD, BEGIN, END, USER, ASSISTANT]
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|{{ message.role }}|>{{ message.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)

# The same settings as the program's minijinja: blocks are not trimmed, one newline at a template's end is dropped.
_jinja = jinja2.Environment(
    loader=jinja2.FileSystemLoader(ROOT / "prompts"), trim_blocks=False, lstrip_blocks=False, keep_trailing_newline=False
)
_classes, _mixup, _plain, _relabel = (
    _jinja.get_template(f"{n}.j2") for n in ("classes", "paper_mixup", "paper_plain", "paper_relabel")
)
_continuation, _labelled, _gpt3mix, _gpt3mix_label = (
    _jinja.get_template(f"{n}.j2") for n in ("continuation", "labelled", "gpt3mix", "gpt3mix_label")
)


def class_list(names, descriptions, examples):
    """The classes as the templates see them: numbered from 1, `examples[name]` a list of texts."""
    return [
        {"number": i, "name": n, "description": descriptions.get(n), "examples": examples.get(n, [])}
        for i, n in enumerate(names, 1)
    ]


def header(classes):
    """The class list alone; the prompts of mixup, plain and relabel begin with it."""
    return _classes.render(task=TASK, classes=classes)


def mixup(classes, count, major, minor, percent):
    by_name = {c["name"]: c for c in classes}
    return _mixup.render(
        task=TASK, classes=classes, count=count, major=by_name[major], minor=by_name[minor],
        major_percent=percent, minor_percent=100 - percent,
    ).strip()


def plain(classes, count, major):
    chosen = next(c for c in classes if c["name"] == major)
    return _plain.render(task=TASK, classes=classes, count=count, major=chosen).strip()


def relabel(classes, text):
    return _relabel.render(task=TASK, classes=classes, text=text).strip()


def continuation(name, examples, count):
    return _continuation.render({"task": TASK, "class": {"name": name, "examples": examples}, "count": count}).strip()


def labelled_header(names, examples):
    """The labelled examples, (text, name) each; both prompts of GPT3Mix begin with them."""
    return _labelled.render(task=TASK, names=names, examples=[{"text": t, "name": n} for t, n in examples])


def gpt3mix(names, examples, count):
    pairs = [{"text": t, "name": n} for t, n in examples]
    return _gpt3mix.render(task=TASK, names=names, examples=pairs, count=count).strip()


def gpt3mix_label(names, examples, text):
    pairs = [{"text": t, "name": n} for t, n in examples]
    return _gpt3mix_label.render(task=TASK, names=names, examples=pairs, text=text).strip()


def opening(prompt):
    """A chat that begins with `prompt`, up to the place where the teacher speaks."""
    return f"{BEGIN}{USER}{prompt}{END}{ASSISTANT}"


def read_jsonl(path):
    return [json.loads(line) for line in Path(path).read_text().splitlines() if line.strip()]


def seeds():
    """The demonstration's seeds by class: the examples that the program shows."""
    out = {n: [] for n in NAMES}
    for row in read_jsonl(DEMO / "seeds.jsonl"):
        out[row["label"]].append(row["text"])
    return out


if __name__ == "__main__":
    from tickets import CLASSES

    shown = class_list(NAMES[:4], CLASSES, seeds())
    print(opening(mixup(shown, 3, NAMES[0], NAMES[1], 85)), end="\n=====\n")
    print(opening(plain(shown, 3, NAMES[0])), end="\n=====\n")
    print(opening(relabel(class_list(NAMES, CLASSES, seeds()), "My fan is loud.")), end="\n=====\n")
    print(opening(continuation(NAMES[0], seeds()[NAMES[0]], 3)), end="\n=====\n")
    labelled = [(t, n) for n in NAMES[:4] for t in seeds()[n]]
    print(opening(gpt3mix(NAMES[:4], labelled, 3)), end="\n=====\n")
    print(opening(gpt3mix_label(NAMES[:4], labelled, "My fan is loud.")))
