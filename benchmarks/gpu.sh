#!/usr/bin/env bash
# Builds pycnn with its plug-in for NVIDIA GPUs, tests it and measures it beside PyTorch, within a time limit and without
# a network: needs nvcc 13, CMake, ninja, a C++ compiler, and a python3 with NumPy, pytest, hypothesis and PyTorch.
# Everything is in benchmarks/gpu.py; `benchmarks/gpu.sh --help` says what there is to choose.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec "${PYTHON:-python3}" -m benchmarks.gpu "$@"
