#!/usr/bin/env python3
"""Validates a software bill of materials with the official CycloneDX 1.5 JSON schema.

What:    reads FILE: the output of `promptmix bundle sbom`, or sbom.cdx.json of a bundle unpacked with
         `tar --zstd -xf`. Prints "valid", or the first fault (exit code 1).
Needs:   pip install 'cyclonedx-python-lib[json-validation]', which contains the schema; no network.
Example: promptmix bundle sbom > sbom.json && python scripts/airgap/check_sbom.py sbom.json
"""

import argparse
import json
import pathlib
import sys

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=pathlib.Path)
    text = parser.parse_args().file.read_text()
    fault = JsonStrictValidator(SchemaVersion.V1_5).validate_str(text)
    if fault is not None:
        sys.exit(f"not valid: {fault}")
    bill = json.loads(text)
    kinds: dict[str, int] = {}
    for component in bill["components"]:
        kinds[component["type"]] = kinds.get(component["type"], 0) + 1
    print(f"valid CycloneDX 1.5: {kinds}, {len(bill['dependencies'])} entries in the dependency graph")


if __name__ == "__main__":
    main()
