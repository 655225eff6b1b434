"""Weights that were downloaded before: nothing is ever fetched from the network."""

from __future__ import annotations

import hashlib
import os
import re
from typing import Any
from urllib.parse import urlparse

from pycnn.serialization import load

__all__ = ["get_dir", "load_state_dict_from_url", "set_dir"]

_HASH = re.compile(r"-([a-f0-9]{8,})\.")
_chosen: str | None = None


def get_dir() -> str:
    """The folder of PyTorch's hub: as `set_dir` chose, or `hub` inside $TORCH_HOME, $XDG_CACHE_HOME/torch or
    ~/.cache/torch."""
    cache = os.environ.get("XDG_CACHE_HOME", os.path.join("~", ".cache"))
    home = os.environ.get("TORCH_HOME", os.path.join(cache, "torch"))
    return _chosen or os.path.join(os.path.expanduser(home), "hub")


def set_dir(d: str | os.PathLike[str]) -> None:
    """Chooses the folder of `get_dir`."""
    global _chosen
    _chosen = os.path.expanduser(os.fspath(d))


def load_state_dict_from_url(
    url: str,
    model_dir: str | os.PathLike[str] | None = None,
    map_location: Any = None,
    progress: bool = True,
    check_hash: bool = False,
    file_name: str | None = None,
    weights_only: bool = True,
) -> Any:
    """Reads the file of this name, if it was downloaded before, with `pycnn.load`.

    Args:
        url: where it came from; its last part is the file's name.
        model_dir: the folder; default: `checkpoints` inside `get_dir()`.
        map_location: as in `load`.
        weights_only: as in `load`; True here, where PyTorch has False and so runs whatever the file says.
        progress: accepted; there is nothing to show.
        check_hash: compares the file's SHA-256 with the digits in its name, as in resnet18-f37072fd.pth.
        file_name: another name than the URL's.

    Errors: FileNotFoundError, with the place where the file is looked for; RuntimeError for a wrong hash; those of
    `load`.
    """
    folder = os.path.join(get_dir(), "checkpoints") if model_dir is None else os.fspath(model_dir)
    name = file_name or os.path.basename(urlparse(url).path)
    path = os.path.join(folder, name)
    if not os.path.isfile(path):
        raise FileNotFoundError(f"{path} is not there, and pycnn downloads nothing: put the file of {url} there")
    wanted = _HASH.search(name)
    if check_hash and wanted:
        digest = hashlib.sha256()
        with open(path, "rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
        found = digest.hexdigest()
        if not found.startswith(wanted[1]):
            raise RuntimeError(f'invalid hash value (expected "{wanted[1]}", got "{found}")')
    return load(path, map_location, weights_only=weights_only)
