"""The command line: `python -m benchmarks COMMAND`."""

from __future__ import annotations

import argparse
import importlib
import sys

from benchmarks import options
from benchmarks.peers import WrongAnswer

#: Command: rounds and seconds per turn.
COMMANDS = {"train": (7, 1.0), "infer": (9, 0.5), "ops": (7, 0.1)}


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=importlib.import_module("benchmarks").__doc__
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (rounds, seconds) in COMMANDS.items():
        module = importlib.import_module(f"benchmarks.{name}")
        summary = (module.__doc__ or "").strip()
        command = commands.add_parser(name, help=summary.splitlines()[0], description=summary)
        options.add_common(command, rounds, seconds)
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    arguments = parser.parse_args()
    try:
        arguments.run(arguments)
    except WrongAnswer as error:
        print(f"wrong answer: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
