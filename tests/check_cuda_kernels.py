"""Checks what nvcc made of the kernels for GPUs: no spills, bounded registers, tensor cores in the convolution.

usage: check_cuda_kernels.py --cuobjdump PROGRAM PLUG_IN BUILD_LOG
The log is that of a build with nvcc's -Xptxas=-v. Prints a table of the families of kernels.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass

# Kernels that training spends its time in: they keep everything in registers. The interpreter's register file is in
# local memory by design and counts as stack, not as spilled.
HOT = {"multiply_tile", "add_splits", "run_program_of_floats", "reduce_chunk<false, frequent>", "depthwise"}
# A few bytes across the call of the program, after the sums.
SPILL_ALLOWED = {"depthwise": 16}
REGISTERS = 128  # 256 threads, twice on a multiprocessor
# 128 threads three times on a multiprocessor; 256 threads once.
REGISTERS_OF = {"reduce_chunk<false, frequent>": 168, "depthwise": 168}
CONVOLUTION_OF = re.compile(r"multiply_tile<.*TensorCores<.*PixelRows")
CONVOLUTION_NEEDS = ("HMMA", "LDGSTS", "LDSM")


@dataclass
class Kernel:
    name: str
    architecture: str
    spilled: int = 0
    stack: int = 0
    registers: int = 0
    shared: int = 0

    @property
    def family(self) -> str:
        family = re.sub(r"<.*", "", self.name).split("::")[-1]
        if family == "reduce_chunk":
            wide, language = re.search(r"reduce_chunk<(\w+), [^)]*\)(\d)", self.name).groups()
            family += f"<{wide}, {'frequent' if language == '1' else 'whole'}>"
        return family


def demangled(text: str) -> str:
    return subprocess.run(["c++filt", "-p"], input=text, capture_output=True, text=True, check=True).stdout


def read_log(text: str) -> list[Kernel]:
    """The entry functions. What is said of functions that they call is added to theirs."""
    kernels: list[Kernel] = []
    for line in text.splitlines():
        if begin := re.search(r"Compiling entry function '(.*)' for '(\w+)'", line):
            kernels.append(Kernel(*begin.groups()))
        elif memory := re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", line):
            kernels[-1].stack += int(memory[1])
            kernels[-1].spilled += max(int(memory[2]), int(memory[3]))
        elif used := re.search(r"Used (\d+) registers", line):
            kernels[-1].registers = int(used[1])
            shared = re.search(r"(\d+) bytes smem", line)
            kernels[-1].shared = int(shared[1]) if shared else 0
    return kernels


def instructions(cuobjdump: str, plug_in: str) -> dict[str, set[str]]:
    """The opcodes of each kernel, of all architectures together."""
    found: dict[str, set[str]] = defaultdict(set)
    listing = subprocess.Popen([cuobjdump, "-sass", plug_in], stdout=subprocess.PIPE, text=True)
    assert listing.stdout is not None
    name = ""
    for line in listing.stdout:
        if function := re.match(r"\s*Function : (\S+)", line):
            name = function[1]
        elif opcode := re.match(r"\s*/\*[0-9a-f]{4,5}\*/\s+(?:@!?U?P\w+ )?([A-Z0-9_]+)", line):
            found[name].add(opcode[1])
    if listing.wait() != 0:
        sys.exit("cuobjdump fails")
    names = demangled("\n".join(found)).splitlines()
    return dict(zip(names, found.values(), strict=True))


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cuobjdump", required=True)
    parser.add_argument("plug_in")
    parser.add_argument("build_log")
    arguments = parser.parse_args()
    with open(arguments.build_log) as log:
        kernels = read_log(demangled(log.read()))
    failures = [] if kernels else ["the build log tells of no kernel: was it built with -Xptxas=-v?"]
    families = defaultdict(list)
    for kernel in kernels:
        families[kernel.family].append(kernel)
        spill_allowed = SPILL_ALLOWED.get(kernel.family, 0)
        if kernel.family in HOT and kernel.spilled > spill_allowed:
            failures.append(f"{kernel.name} for {kernel.architecture} spills {kernel.spilled} bytes")
        if kernel.registers > REGISTERS_OF.get(kernel.family, REGISTERS):
            failures.append(f"{kernel.name} for {kernel.architecture} takes {kernel.registers} registers")
    failures += [f"there is no kernel {name}" for name in sorted(HOT - families.keys())]

    print(f"{'kernels':32} {'number':>6} {'registers':>9} {'spilled':>7} {'stack':>6} {'static shared memory':>20}")
    for family, members in sorted(families.items()):
        most = [max(getattr(k, field) for k in members) for field in ("registers", "spilled", "stack", "shared")]
        hot = "*" if family in HOT else ""
        print(f"{family + hot:32} {len(members):6} {most[0]:9} {most[1]:7} {most[2]:6} {most[3]:20}")
    print("of all architectures, the largest of each family, in bytes; *: may not spill")

    opcodes = instructions(arguments.cuobjdump, arguments.plug_in)
    convolutions = {name: found for name, found in opcodes.items() if CONVOLUTION_OF.search(name)}
    if not convolutions:
        failures.append("cuobjdump shows no convolution")
    for name, found in convolutions.items():
        # A single 16-bit element is too narrow for an asynchronous copy.
        if missing := [opcode for opcode in CONVOLUTION_NEEDS if opcode not in found]:
            failures.append(f"{name} has no {', '.join(missing)}")
    print(f"{len(convolutions)} convolutions of tensor cores, {len(opcodes)} kernels")
    for failure in failures:
        print(failure, file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
