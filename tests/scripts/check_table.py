#!/usr/bin/env python3
"""Checks that results.parquet and results.jsonl of a folder say what results.csv says.

Parquet is read by Apache Arrow (pyarrow). A cell is equal if its text is, or, where Parquet has
numbers, if the number is to the last bit; an empty cell of the CSV is none in the others.
"""

import argparse
import csv
import json
import os
import sys

sys.dont_write_bytecode = True
import rocecap  # noqa: E402

CHECKS = ("parquet", "jsonl")
# Columns of JSON lines that are neither axes nor metrics.
FIXED = ("seed", "run", "status", "error")


def same(cell, value):
    """Whether a cell of the CSV says a value."""
    if value is None:
        return cell == ""
    if isinstance(value, (int, float)):
        return cell != "" and float(cell) == value
    return cell == value


def compare(report, check, names, cells, rows):
    """Compares all rows: lists of cells, and dictionaries with a value for each name."""
    if len(cells) != len(rows):
        report.fail(check, None, f"{len(rows)} rows, and {len(cells)} in the CSV")
    for number, (line, row) in enumerate(zip(cells, rows), 1):
        if sorted(row) != sorted(names):
            report.fail(check, None, f"row {number}: columns {sorted(row)}, not {sorted(names)}")
            continue
        for name, cell in zip(names, line):
            if not same(cell, row[name]):
                report.fail(check, None,
                            f"row {number}: {name} is {row[name]!r}, in the CSV {cell!r}")


def flat(line, names):
    """A line of JSON as a row: metrics that it has not are none."""
    row = dict.fromkeys(names)
    row.update(line["at"])
    row.update({name: line[name] for name in FIXED})
    row.update(line["metrics"])
    return row


def main():
    """The command line."""
    import pyarrow.parquet
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    folder = parser.parse_args().folder
    with open(os.path.join(folder, "results.csv"), newline="", encoding="utf-8") as file:
        names, *cells = csv.reader(file)
    table = pyarrow.parquet.read_table(os.path.join(folder, "results.parquet"))
    with open(os.path.join(folder, "results.jsonl"), encoding="utf-8") as file:
        lines = [flat(json.loads(line), names) for line in file]
    report = rocecap.Report(CHECKS)
    if table.column_names != names:
        report.fail("parquet", None, f"columns {table.column_names}, not {names}")
    compare(report, "parquet", names, cells, table.to_pylist())
    compare(report, "jsonl", names, cells, lines)
    types = {field.name: str(field.type) for field in table.schema}
    report.facts = {"rows": len(cells), "types": types}
    return report.finish()


if __name__ == "__main__":
    rocecap.run(main)
