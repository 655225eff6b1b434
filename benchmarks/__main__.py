"""The command line: `python -m benchmarks COMMAND`."""

from __future__ import annotations

import argparse
import importlib
import sys

from benchmarks.outcomes import WrongAnswer

COMMANDS = ("train", "infer", "ops", "overhead", "memory", "epoch", "smoke", "passes", "report")


def main() -> int:
    description = importlib.import_module("benchmarks").__doc__
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=description)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in COMMANDS:
        module = importlib.import_module(f"benchmarks.{name}")
        summary = (module.__doc__ or "").strip()
        command = commands.add_parser(name, help=summary.splitlines()[0], description=summary)
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
