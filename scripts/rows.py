"""Shared by the scripts that make tasks of a labelled corpus: rows of JSON Lines, each with a text and a label."""
import json


def key(row):
    """A task refuses two texts with the same key: they differ in case or white space alone."""
    return " ".join(row["text"].lower().split())


def read(path):
    """The rows of `path`, each text once."""
    with open(path, encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines if line.strip()]
    return list({key(row): row for row in rows}.values())


def write(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
