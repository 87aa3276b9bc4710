#!/usr/bin/env python3
"""Print the licences of all crates that are linked into a program of this project.

    live/packaging/third-party.py PACKAGE [FEATURES]

Crates are listed by name; a text that several have is printed once. Needs their sources, which
cargo has fetched if the program was built here.
"""

import json
import os
import re
import subprocess
import sys

LICENCE_FILE = re.compile(r"(?i)(un)?licen[cs]e|copying|copyright|notice")
RULE = "-" * 72


def metadata(features):
    """All packages, and which of them depends on which."""
    command = ["cargo", "metadata", "--locked", "--format-version", "1"]
    command += ["--filter-platform", "x86_64-unknown-linux-gnu"]
    if features:
        command += ["--features", features]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def linked(known, name):
    """The packages that are linked into the one of this name, by name and version."""
    packages = {each["id"]: each for each in known["packages"]}
    nodes = {each["id"]: each for each in known["resolve"]["nodes"]}
    members = set(known["workspace_members"])
    (first,) = [each for each in members if packages[each]["name"] == name]
    found, waiting = set(), [first]
    while waiting:
        package = waiting.pop()
        # Macros run in the compiler.
        is_macro = any("proc-macro" in target["kind"] for target in packages[package]["targets"])
        if package in found or is_macro:
            continue
        found.add(package)
        for edge in nodes[package]["deps"]:
            if any(kind["kind"] is None for kind in edge["dep_kinds"]):
                waiting.append(edge["pkg"])
    others = [packages[each] for each in found - members]
    return sorted(others, key=lambda each: (each["name"], each["version"]))


def texts(package):
    """The licence texts that come with a package."""
    folder = os.path.dirname(package["manifest_path"])
    names = {name for name in os.listdir(folder) if LICENCE_FILE.match(name)}
    if package["license_file"]:
        names.add(package["license_file"])
    for name in sorted(names):
        path = os.path.join(folder, name)
        if os.path.isfile(path) and not name.endswith(".rs"):
            with open(path, encoding="utf-8", errors="replace") as file:
                yield file.read().strip("\n")


def main():
    """Prints the list, then the texts."""
    name, features = (sys.argv[1:] + [""])[:2]
    packages = linked(metadata(features), name)
    owners = {}
    print(f"Crates that are linked into {name}, and their licences:\n")
    for package in packages:
        title = f"{package['name']} {package['version']}"
        print(f"  {title}: {package['license'] or 'see below'}")
        for text in texts(package):
            owners.setdefault(text, []).append(title)
    for text, titles in owners.items():
        print(f"\n{RULE}\n{', '.join(titles)}:\n\n{text}")


if __name__ == "__main__":
    main()
