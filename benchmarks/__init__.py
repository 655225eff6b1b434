"""How fast pycnn is, beside other libraries: `python -m benchmarks COMMAND`, run from the repository's folder."""
