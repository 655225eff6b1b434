"""Devices: there is one, the CPU."""

from __future__ import annotations

from typing import Any


class device:
    """Where tensors live. `device("cpu")` is the only one this build has.

    Errors: RuntimeError for any other.
    """

    type: str
    index: int | None

    def __init__(self, type: Any = "cpu", index: int | None = None) -> None:
        if isinstance(type, device):
            type, index = type.type, type.index
        name, _, number = str(type).partition(":")
        if name != "cpu" or (number and not number.isdigit()):
            raise RuntimeError(f'pycnn was built for the CPU only: device "{type}" is not available, use "cpu"')
        self.type = name
        self.index = int(number) if number else index

    def __repr__(self) -> str:
        return (
            f"device(type='{self.type}')" if self.index is None else f"device(type='{self.type}', index={self.index})"
        )

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __eq__(self, other: object) -> bool:
        if isinstance(other, str):
            return str(self) == other
        return isinstance(other, device) and (self.type, self.index) == (other.type, other.index)

    def __hash__(self) -> int:
        return hash((self.type, self.index))


def check_device(wanted: Any) -> None:
    """RuntimeError unless `wanted` is None or names the CPU."""
    if wanted is not None and not isinstance(wanted, device) and str(wanted).partition(":")[0] != "cpu":
        device(wanted)
