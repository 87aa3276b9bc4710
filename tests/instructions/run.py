#!/usr/bin/env python3
"""Counts the instructions that the engine executes for each packet, and compares them with
baseline.json: more than 3 % above that is a failure.

Times depend on the machine and on who else uses it; instructions hardly do. They are counted by
callgrind (valgrind) in a release build of `qpmux bench engine`, in the calls of the engine alone:
each case is a fixed run, and its recording is the same in every run.

    tests/instructions/run.py [--qpmux target/release/qpmux] [--renew] [CASE..]

A change that makes the engine execute more instructions on purpose renews the baseline with
--renew, in the same commit, and names the cause in CHANGELOG.md; so does one that makes it execute
fewer, lest the gain be lost again unnoticed. Another compiler may need it as well.
"""

import argparse
import json
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
BASELINE = HERE / "baseline.json"
MARGIN = 0.03
# The function in which calls are made that are measured (sim/src/bench/engine/passes.rs).
MEASURED = "*passes::Engines as*Work>::run"
RUN = "--packets 20000 --rounds 1 --frames hot --no-floors --json"
CASES = {
    "writes": "",
    "writes, 4096 connections": "--connections 4096",
    "writes, 1 server queue pair": "--connections 256 --server-qps 1",
    "writes, 8 threads a connection": "--threads 8",
    "writes, full verification": "--verify full",
    "writes, learning rights": "--trust observed",
    "writes, strangers": "--trust strangers",
    "all": "--map all",
    "none": "--map none",
}


def count(qpmux, options):
    """Instructions per packet of one case."""
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "callgrind.out"
        valgrind = ["valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={out}"]
        command = [*valgrind, f"--toggle-collect={MEASURED}", qpmux, "bench", "engine"]
        command += [*RUN.split(), *options.split()]
        run = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
        packets = json.loads(run.stdout)["engine"]["packets"]
        total = re.search(r"^(?:summary|totals): (\d+)", out.read_text(), re.MULTILINE)
    return round(int(total[1]) / packets, 1)


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    options.add_argument("--qpmux", default="target/release/qpmux")
    options.add_argument("--renew", action="store_true", help="write the baseline anew")
    options.add_argument("case", nargs="*", help="one of: " + "; ".join(CASES))
    options = options.parse_args()
    unknown = [case for case in options.case if case not in CASES]
    if unknown:
        sys.exit(f"no such case: {unknown[0]}")
    baseline = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
    failed = []
    print(f"{'instructions per packet':32}{'now':>9}{'baseline':>10}")
    for case in options.case or CASES:
        now, before = count(options.qpmux, CASES[case]), baseline.get(case)
        change = "" if before is None else f"{100 * (now / before - 1):+8.1f} %"
        print(f"{case:32}{now:9.1f}{before or 0:10.1f}{change}", flush=True)
        if before is None or now > before * (1 + MARGIN):
            failed.append(case)
        elif now < before * (1 - MARGIN):
            print("  fewer than the baseline: renew it, and say why in CHANGELOG.md")
        baseline[case] = now if options.renew else before
    if options.renew:
        BASELINE.write_text(json.dumps(baseline, indent=2) + "\n")
    elif failed:
        sys.exit(
            f"more instructions per packet than {100 * MARGIN:.0f} % above the baseline: "
            f"{', '.join(failed)}\nIf that is meant: {sys.argv[0]} --renew, and a line in "
            "CHANGELOG.md with the cause."
        )


if __name__ == "__main__":
    main()
