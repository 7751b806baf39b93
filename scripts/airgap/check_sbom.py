#!/usr/bin/env python3
"""Validates a bill of materials with the official CycloneDX 1.5 JSON schema.

What:    reads FILE, or what `promptmix bundle sbom` prints, or the bill inside a bundle unpacked by
         `tar --zstd -xf`, and says "valid", or what is not (exit code 1).
Needs:   pip install 'cyclonedx-python-lib[json-validation]'; the schema is in there, no network.
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
    print(f"valid CycloneDX 1.5: {kinds}, {len(bill['dependencies'])} entries of the graph")


if __name__ == "__main__":
    main()
