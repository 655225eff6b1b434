"""Writes the table of networks into docs/networks.md, from the registry.

Run it after adding a network: `python tools/generate_network_table.py [--check]`.
"""

from __future__ import annotations

import argparse
import pathlib
import sys

import pycnn
from pycnn import models
from pycnn.nn import init

FILE = pathlib.Path(__file__).parent.parent / "docs" / "networks.md"
BEGIN, END = "<!-- table: tools/generate_network_table.py -->\n", "<!-- end of table -->\n"


def short(number: int) -> str:
    """Four digits and a unit."""
    for unit, size in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if number >= size:
            return f"{number / size:.4g} {unit}"
    return str(number)


def row(name: str) -> str:
    entry = models.entry(name)
    with init.skipped():
        model = models.create(name)
    table = pycnn.summary(model, entry.inputs, dtype=[getattr(pycnn, dtype) for dtype in entry.dtypes])
    inputs = ", ".join("×".join(map(str, shape)) for shape in entry.inputs)
    head = ", ".join(f"`{path}`" for path in model.head_names if path.split(".")[0] in model._modules) or "–"
    cells = [f"`{name}`", entry.task, inputs, f"{table.parameters:,}".replace(",", " "), short(table.multiply_adds)]
    return f"| {' | '.join([*cells, head, str(len(model.stage_names) or '–')])} |\n"


def table() -> str:
    header = "| network | task | input | parameters | multiply-adds | head | stages |\n|---|---|---|--:|--:|---|--:|\n"
    return header + "".join(row(name) for name in models.list())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say whether the file is as it should be")
    arguments = parser.parse_args()
    text = FILE.read_text(encoding="utf-8")
    start, rest = text.split(BEGIN)
    _, end = rest.split(END)
    wanted = start + BEGIN + table() + END + end
    if arguments.check:
        if text != wanted:
            print(f"{FILE} is out of date: run python tools/generate_network_table.py", file=sys.stderr)
        return int(text != wanted)
    FILE.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
