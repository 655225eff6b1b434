"""`python -m pycnn` and the command `pycnn`."""

import sys

from pycnn.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
