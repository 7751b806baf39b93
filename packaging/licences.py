#!/usr/bin/env python3
"""Prints the licence texts of everything that a package contains: each crate that the program links, and llama.cpp
with what it carries. Crates that come with the same text are listed together.

Needs:   cargo; the sources of the crates, as after a build.
Example: packaging/licences.py . > THIRD-PARTY-LICENCES.txt
"""
import collections
import json
import os
import pathlib
import subprocess
import sys

NAMES = ("LICENSE*", "LICENCE*", "COPYING*", "COPYRIGHT*", "NOTICE*", "UNLICENSE*")


def linked(root):
    """The crates that a build for this machine links: neither those of tests nor those of build scripts."""
    words = ["cargo", "metadata", "--format-version=1", "--locked", "--features", "cpu-variants"]
    words += ["--filter-platform", host()]
    metadata = json.loads(subprocess.run(words, cwd=root, check=True, capture_output=True).stdout)
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    reached, todo = set(), [metadata["resolve"]["root"]]
    while todo:
        node = todo.pop()
        if node not in reached:
            reached.add(node)
            todo += [
                dependency["pkg"]
                for dependency in nodes[node]["deps"]
                if any(kind["kind"] is None for kind in dependency["dep_kinds"])
            ]
    crates = [packages[node] for node in reached if node != metadata["resolve"]["root"]]
    return sorted(crates, key=lambda crate: (crate["name"], crate["version"]))


def host():
    version = subprocess.run(["rustc", "-vV"], check=True, capture_output=True, text=True).stdout
    return next(line.removeprefix("host: ") for line in version.splitlines() if line.startswith("host: "))


def texts(folder):
    files = sorted({file for name in NAMES for file in folder.glob(name) if file.is_file()})
    return [file.read_text(encoding="utf-8", errors="replace").strip() for file in files]


def main():
    root = pathlib.Path(sys.argv[1])
    by_text = collections.defaultdict(list)
    print("promptmix contains the following software.\n")
    for crate in linked(root):
        title = f"{crate['name']} {crate['version']}"
        print(f"{title}: {crate['license'] or 'see its licence file'}; {crate['repository'] or 'crates.io'}")
        folder = pathlib.Path(crate["manifest_path"]).parent
        for text in texts(folder):
            by_text[text].append(title)
        if crate["name"] == "llama-cpp-sys-2":
            for text in texts(folder / "llama.cpp"):
                by_text[text].append("llama.cpp")
            for part in sorted((folder / "llama.cpp/vendor").rglob("LICENSE*")):
                by_text[part.read_text(encoding="utf-8").strip()].append(f"llama.cpp: {part.parent.name}")
    if os.environ.get("PROMPTMIX_GLIBC"):
        print("libc++, libc++abi, libunwind: Apache-2.0 WITH LLVM-exception; https://llvm.org")
    else:
        print("libgomp, libstdc++, libgcc_s: GPL-3.0-or-later WITH GCC-exception-3.1; https://gcc.gnu.org")
    for text, titles in by_text.items():
        print(f"\n{'=' * 100}\n{', '.join(titles)}\n{'=' * 100}\n\n{text}")


if __name__ == "__main__":
    main()
