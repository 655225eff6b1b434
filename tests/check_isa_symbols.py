"""Fails if an object of one instruction-set level defines a symbol that other code could be linked against.

An inline function compiled with AVX-512 flags is a weak symbol; the linker keeps one copy for everybody, and a machine
without AVX-512 would run it. So every weak or global definition has to carry the namespace of its level in its name: it
lives there, or is an instantiation for a type that does.

    check_isa_symbols.py [--nm NM] LEVEL OBJECT…
"""

import argparse
import subprocess
import sys


def offending_symbols(nm: str, level: str, path: str) -> list[str]:
    """Mangled names that `path` defines outside namespace pycnn::cpu::<level>."""
    listing = subprocess.run([nm, "-P", path], check=True, capture_output=True, text=True).stdout
    namespace = f"{len(level)}{level}"  # as the mangling writes it; what stands before may be abbreviated
    offending = []
    for line in listing.splitlines():
        name, kind = line.split()[:2]
        # Lower-case kinds are local, except weak (v, w) and unique (u); U, and v or w without a value, are references.
        defined = len(line.split()) > 2 and (kind.isupper() or kind in "uvw") and kind != "U"
        if defined and namespace not in name:
            offending.append(name)
    return offending


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nm", default="nm")
    parser.add_argument("level")
    parser.add_argument("objects", nargs="+")
    arguments = parser.parse_args()
    failed = False
    for path in arguments.objects:
        for name in offending_symbols(arguments.nm, arguments.level, path):
            print(f"{path}: {name} is outside namespace pycnn::cpu::{arguments.level}")
            failed = True
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
