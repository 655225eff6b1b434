"""`save` and `load`: nested Python values with tensors, in safetensors files and in PyTorch's.

In safetensors files tensors are stored under their dotted paths, as other readers expect; the structure around them is
JSON in the file's metadata. Paths that end in `.pt` or `.pth` are written as `torch.save` does. Nothing in a file is
executed unless one asks for whole objects with `weights_only=False`.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import tempfile
from collections import Counter, OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np

from pycnn import _core, _torch_files
from pycnn._core import Size, Tensor

__all__ = ["load", "read", "save"]

_STRUCTURE = "pycnn.structure"
_FORMAT = 1
_MAPPINGS: dict[type, str] = {dict: "dict", OrderedDict: "ordered", Counter: "counter"}


class _Encoder:
    """Turns a value into JSON, collecting the tensors under unique names."""

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self._names: dict[int, str] = {}

    def encode(self, value: Any, path: tuple[str, ...]) -> Any:
        if isinstance(value, Tensor):
            return self._tensor(value, path)
        if value is None or isinstance(value, (bool, str)):
            return value
        if type(value) is int:
            return value
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else {"float": repr(float(value))}
        if isinstance(value, _core.dtype):
            return {"dtype": str(value).rpartition(".")[2]}
        if type(value) in _MAPPINGS:
            items = [[checked_key(key, path), self.encode(member, (*path, str(key)))] for key, member in value.items()]
            return {_MAPPINGS[type(value)]: items}
        if isinstance(value, Size):
            return {"size": list(value)}
        if type(value) in (list, tuple):
            members = [self.encode(member, (*path, str(i))) for i, member in enumerate(value)]
            return members if isinstance(value, list) else {"tuple": members}
        if is_numpy_number(value):
            return self.encode(value.item(), path)
        raise not_stored(value, path)

    def _tensor(self, tensor: Tensor, path: tuple[str, ...]) -> dict[str, Any]:
        from pycnn.nn.parameter import Parameter

        name = self._names.get(id(tensor))
        if name is None:
            base = name = ".".join(path) or "tensor"
            suffix = 2
            while name in self.tensors or name == "__metadata__":
                name = f"{base}#{suffix}"
                suffix += 1
            self._names[id(tensor)] = name
            self.tensors[name] = tensor.detach()
        encoded: dict[str, Any] = {"parameter" if isinstance(tensor, Parameter) else "tensor": name}
        if tensor.requires_grad:
            encoded["requires_grad"] = True
        return encoded


def checked_key(key: Any, path: tuple[str, ...]) -> Any:
    """A key that files can hold. Errors: TypeError that names the place of any other."""
    if isinstance(key, (str, bool)) or type(key) is int or key is None:
        return key
    raise TypeError(f"save: cannot store a dictionary key of type {type(key).__name__} at {place(path)}")


def is_numpy_number(value: Any) -> bool:
    """Whether this is a scalar of NumPy that a plain Python number replaces without loss."""
    if isinstance(value, np.timedelta64):  # to NumPy a kind of integer
        return False
    return isinstance(value, (np.bool_, np.integer)) or (isinstance(value, np.floating) and value.itemsize <= 8)


def not_stored(value: Any, path: tuple[str, ...]) -> TypeError:
    """The error for a value that files cannot hold."""
    hint = "; store what its state_dict() gives" if hasattr(value, "state_dict") else ""
    return TypeError(f"save: cannot store an object of type {type(value).__name__} at {place(path)}{hint}")


def place(path: tuple[str, ...]) -> str:
    """Where a value lies, for messages."""
    return "the top" if not path else "".join(f"[{part!r}]" for part in path)


class _Decoder:
    """The way back. Everything in the JSON may be wrong; ValueError says that it is."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        self.tensors = tensors
        self._made: dict[str, Tensor] = {}

    def decode(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self.decode(member) for member in value]
        if not isinstance(value, dict):
            return value
        if "tensor" in value or "parameter" in value:
            return self._tensor(value)
        if len(value) != 1:
            raise ValueError("an object with other than one member")
        kind, content = next(iter(value.items()))
        if kind == "float" and content in ("nan", "inf", "-inf"):
            return float(content)
        if kind == "dtype" and isinstance(content, str):
            found = getattr(_core, content, None)
            if isinstance(found, _core.dtype):
                return found
        if kind == "tuple" and isinstance(content, list):
            return tuple(self.decode(member) for member in content)
        if kind == "size" and isinstance(content, list) and all(type(extent) is int for extent in content):
            return Size(content)
        for mapping, name in _MAPPINGS.items():
            if kind == name and isinstance(content, list):
                return self._mapping(mapping(), content)
        raise ValueError(f"an unknown kind of value, {str(kind)[:40]!r}")

    def _mapping(self, result: dict[Any, Any], items: list[Any]) -> dict[Any, Any]:
        for item in items:
            if not isinstance(item, list) or len(item) != 2 or not isinstance(item[0], (str, int, type(None))):
                raise ValueError("a dictionary whose items are not pairs")
            result[item[0]] = self.decode(item[1])
        return result

    def _tensor(self, value: dict[str, Any]) -> Tensor:
        from pycnn.nn.parameter import Parameter

        kind = "parameter" if "parameter" in value else "tensor"
        name = value[kind]
        if not isinstance(name, str) or name not in self.tensors:
            raise ValueError(f"a tensor that is not there, {str(name)[:40]!r}")
        if name not in self._made:
            tensor = self.tensors[name]
            requires_grad = value.get("requires_grad") is True
            if requires_grad and not tensor.is_floating_point():
                raise ValueError(f"a gradient for integers, {name[:40]!r}")
            self._made[name] = (
                Parameter(tensor, requires_grad) if kind == "parameter" else tensor.requires_grad_(requires_grad)
            )
        return self._made[name]


def save(
    obj: Any,
    f: Any,
    pickle_module: Any = None,
    pickle_protocol: int = 2,
    _use_new_zipfile_serialization: bool = True,
    *,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Writes a value to a file: the whole file appears, or nothing changes.

    Args:
        obj: tensors, numbers, strings, None, dtypes, sizes, and dictionaries (also OrderedDict and Counter; keys:
            strings, integers, None), lists and tuples of them. Tensors that are one object stay one.
        f: a path, or a binary file open for writing. A path that ends in `.pt` or `.pth` becomes a zip archive as
            `torch.save` writes it, which `torch.load(f, weights_only=True)` reads; everything else is safetensors.
            Any other value (a module, an optimiser, ...) is pickled, which only `load(f, weights_only=False)` reads
            again, with pycnn alone; a path that ends in `.safetensors` refuses it.
        pickle_module: accepted for PyTorch's sake.
        pickle_protocol: of what is pickled.
        metadata: further strings for a safetensors file's metadata; keys that start with "pycnn." are taken.

    Errors: TypeError that names the place of what a safetensors file cannot store; pickle's errors for what cannot be
    pickled either; OSError or RuntimeError if writing fails; ValueError for metadata in a `.pt` or `.pth` file.
    """
    if hasattr(f, "write"):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "value")
            save(obj, path, pickle_protocol=pickle_protocol, metadata=metadata)
            with open(path, "rb") as file:
                shutil.copyfileobj(file, f)
        return
    path = os.fspath(f)
    if os.path.splitext(path)[1] in (".pt", ".pth"):
        if metadata:
            raise ValueError(f"save: {path}: PyTorch's files have no metadata")
        try:
            _torch_files.write(path, obj)
        except TypeError:
            _torch_files.write_objects(path, obj, pickle_protocol)
        return
    encoder = _Encoder()
    try:
        structure = {"format": _FORMAT, "value": encoder.encode(obj, ())}
    except TypeError:
        if metadata or os.path.splitext(path)[1] == ".safetensors":
            raise
        _torch_files.write_objects(path, obj, pickle_protocol)
        return
    strings = {str(key): str(value) for key, value in (metadata or {}).items()}
    _core.save_safetensors(path, encoder.tensors, {**strings, _STRUCTURE: json.dumps(structure)})


def read(path: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the metadata of a safetensors file. OSError if it cannot be opened, ValueError (with the file's
    name) for a damaged one."""
    with open(path, "rb"):
        pass
    tensors, metadata = _core.load_safetensors(path)
    return dict(tensors), dict(metadata)


def load(
    f: Any,
    map_location: Any = None,
    pickle_module: Any = None,
    *,
    weights_only: bool | None = None,
    mmap: bool | None = None,
    **pickle_load_args: Any,
) -> Any:
    """Reads what `save` wrote; from any other safetensors file, a dictionary of its tensors.

    Files of `torch.save`, zip and legacy, are read as well, without PyTorch: tensors, parameters, numbers, strings,
    dtypes, sizes and containers. All else (whole modules, TorchScript, NumPy arrays, ...) is refused by name, unless
    `weights_only=False`. What the file says then never decides what runs; memory is at most a few times its size.

    Args:
        f: a path, or a binary file open for reading.
        map_location: the device that tensors come to; None, functions and dictionaries stand for the CPU, wherever the
            tensors were.
        weights_only: False also reads pickled objects, such as whole modules. That imports and calls whatever the file
            names: only for files that you trust. None means True. Files of the legacy format (before PyTorch 1.6) are
            read as with True in any case.
        pickle_module, mmap, pickle_load_args: accepted for PyTorch's sake.

    Errors: OSError if it cannot be read; ValueError (with the file's name) if it is damaged, also a
    `pickle.UnpicklingError` in a file of PyTorch's format or if it has what is refused.
    """
    from pycnn._device import as_device

    named = not callable(map_location) and not isinstance(map_location, dict)
    device = (as_device(map_location) if named else None) or _core.device("cpu")
    if hasattr(f, "read"):
        with tempfile.TemporaryDirectory() as folder:
            copy = os.path.join(folder, "value")
            with open(copy, "wb") as file:
                shutil.copyfileobj(f, file)
            return load(copy, device, weights_only=weights_only)
    path = os.fspath(f)
    with open(path, "rb") as file:
        is_torch_file = _torch_files.is_torch_file(file.read(16))
    if is_torch_file:
        with device:
            return _torch_files.read(path, weights_only is not False)
    tensors, metadata = read(path)
    tensors = {name: tensor.to(device) for name, tensor in tensors.items()}
    text = metadata.get(_STRUCTURE)
    if text is None:
        return tensors
    try:
        structure = json.loads(text)
        if not isinstance(structure, dict) or structure.get("format") != _FORMAT or "value" not in structure:
            raise ValueError("a format that this version does not know")
        return _Decoder(tensors).decode(structure["value"])
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: its structure is damaged: {error}") from None
