#!/usr/bin/env python3
"""Renders our chat templates with Hugging Face transformers and writes the results as golden files.

What:    tests/data/chat/NAME.txt (a plain question) and NAME.odd.txt (odd white space, quotes, Jinja
         and HTML in the text) for each prompts/chat/NAME.j2, and tests/data/chat/features.txt. The
         tests of src/teacher/chat compare with them byte by byte, so our own code is never the reference.
         With --compare the folder's *.jinja are rendered with the plain question into OUT instead, to
         check templates that are not in the repository (`every_template_of_a_folder` in the tests).
Needs:   transformers >= 5 and jinja2 >= 3.1.6; no model, no network.
Example: python scripts/chat_golden.py
         python scripts/chat_golden.py --compare FOLDER OUT
"""

import argparse
import datetime
import pathlib

from transformers.utils import chat_template_utils

ROOT = pathlib.Path(__file__).resolve().parents[1]
DATA = ROOT / "tests/data/chat"
PLAIN = "Which class is this text?"
ODD = "  Which \"class\"?\n\n\tIt's <b>5 % & {{ more }}</b> \\n \\ größer 😀 {% raw %}\r\nend \n\n"
# Efforts below "low", used if the template names one (src/teacher/chat/thinking.rs).
EFFORTS = ("none", "no_think", "minimal")


class FixedDate(datetime.datetime):
    """Always the date that the program gives to templates."""

    @classmethod
    def now(cls, tz=None):
        return cls(2024, 7, 26, 12, 0, 0)


def render(source: str, user: str) -> str:
    named = [effort for effort in EFFORTS if f"'{effort}'" in source or f'"{effort}"' in source]
    texts, _ = chat_template_utils.render_jinja_template(
        [[{"role": "user", "content": user}]],
        chat_template=source,
        add_generation_prompt=True,
        bos_token="<s>",
        eos_token="</s>",
        enable_thinking=False,
        thinking=False,
        thinking_mode="disabled",
        thinking_budget=0,
        reasoning=False,
        reasoning_effort=(named or ["low"])[0],
    )
    return texts[0]


def write(path: pathlib.Path, text: str) -> None:
    path.write_bytes(text.encode())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--compare", nargs=2, metavar=("FOLDER", "OUT"), type=pathlib.Path)
    arguments = parser.parse_args()
    chat_template_utils.datetime = FixedDate
    if arguments.compare:
        folder, out = arguments.compare
        out.mkdir(parents=True, exist_ok=True)
        for path in sorted(folder.glob("*.jinja")):
            try:
                text = render(path.read_bytes().decode(), PLAIN)
            except Exception as error:  # a template may refuse; then ours must refuse too
                text = f"ERROR {error}"
            write(out / f"{path.stem}.txt", text)
        return
    for path in sorted((ROOT / "prompts/chat").glob("*.j2")):
        source = path.read_bytes().decode()
        write(DATA / f"{path.stem}.txt", render(source, PLAIN))
        write(DATA / f"{path.stem}.odd.txt", render(source, ODD))
    write(DATA / "features.txt", render((DATA / "features.j2").read_bytes().decode(), PLAIN))


if __name__ == "__main__":
    main()
