#!/usr/bin/env python3
"""Writes what Label Studio and Argilla make of our sheets, for the tests of `src/sheet`.

    python3 -m venv venv && venv/bin/pip install label-studio-sdk==2.1.2 argilla==2.8.0
    PROMPTMIX_BLESS=1 cargo test --release --lib sheet::tests::what_the    # the sheets that they are given
    venv/bin/python scripts/sheets/fixtures.py

Every file is written by the tools' own code: tasks and regions by `LabelInterface`, exports by `Converter`,
records by `Record` and `JsonIO`. The people in them are made up.
"""

import json
import runpy
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path
from uuid import UUID

FOLDER = Path(__file__).resolve().parents[2] / "tests/data/sheets"
NONE = "none of these"

# For each text the answers of (annotator, label, corrected text); `None` for a label skips the text.
ANSWERS = [
    [(1, 0, None), (2, 0, None)],
    [(1, NONE, None)],
    [(1, 0, None), (2, 1, None)],
    [(1, None, None)],
    [(2, 1, "error 404")],
    [],
]


def label_studio():
    from label_studio_sdk.converter import Converter
    from label_studio_sdk.label_interface import LabelInterface
    from label_studio_sdk.label_interface.objects import AnnotationValue, TaskValue

    config = (FOLDER / "label-studio.in.xml").read_text()
    interface = LabelInterface(config)
    interface.validate()
    classes = list(interface.get_control("label").labels)
    assert classes[-1] == NONE, classes
    tasks = json.loads((FOLDER / "label-studio.in.json").read_text())
    exported = []
    for number, (task, answers) in enumerate(zip(tasks, ANSWERS, strict=True), 1):
        for prediction in task["predictions"]:
            faults = interface.validate_prediction(prediction, return_errors=True)
            assert not faults, faults
        annotations = []
        for user, label, text in answers:
            values = {}
            if label is not None:
                values["label"] = label if label == NONE else classes[label]
            if text is not None:
                values["edited"] = [text]
            regions = interface.create_regions(values)
            annotation = AnnotationValue(completed_by=user, was_cancelled=label is None, result=regions)
            annotation = annotation.model_dump()
            assert label is None or interface.validate_annotation(annotation)
            annotations.append(annotation | {"id": 10 * number + user})
        # Checks that the task, as it was imported, is one.
        TaskValue(**task)
        exported.append({"id": number, "annotations": annotations} | task)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        raw = folder / "raw"
        raw.mkdir()
        for task in exported:
            (raw / f"{task['id']}.json").write_text(json.dumps(task))
        converter = Converter(config, str(folder))
        converter.convert_to_json(str(raw), str(folder / "json"))
        converter.convert_to_json_min(str(raw), str(folder / "min"))
        converter.convert_to_csv(str(raw), str(folder / "csv"), is_dir=True, sep=",", header=True)
        for made, name in [("json/result.json", ""), ("min/result.json", ".min"), ("csv/result.csv", "")]:
            shutil.copy(folder / made, FOLDER / f"label-studio{name}{Path(made).suffix}")
    print("label-studio-sdk", version("label-studio-sdk"))


def argilla():
    import argilla as rg
    from argilla._api import APIClient
    from argilla.records._io import JsonIO

    # Settings ask for a client; none of what follows talks to a server.
    APIClient._validate_connection = lambda self: None
    rg.Argilla(api_url="http://127.0.0.1:9", api_key="none")
    settings = runpy.run_path(str(FOLDER / "argilla.in.py"))["settings"]
    settings.validate()
    classes = settings.questions["label"].labels
    assert classes[-1] == NONE, classes
    users = {number: UUID(int=number) for number in (1, 2)}
    records = JsonIO._records_from_json(FOLDER / "argilla.in.json")
    dataset = rg.Dataset(name="tickets", settings=settings)
    for record, answers in zip(records, ANSWERS, strict=True):
        record.dataset = dataset
        for user, label, text in answers:
            if label is None:
                continue
            value = label if label == NONE else classes[label]
            record.responses.add(rg.Response("label", value, users[user], status="submitted"))
            if text is not None:
                record.responses.add(rg.Response("edited", text, users[user], status="submitted"))
        # Fails if the record is not one of the dataset.
        record.api_model()
    path = FOLDER / "argilla.json"
    path.unlink(missing_ok=True)
    JsonIO.to_json(records, path)
    print("argilla", version("argilla"))


if __name__ == "__main__":
    label_studio()
    argilla()
