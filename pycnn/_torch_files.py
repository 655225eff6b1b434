"""PyTorch's `.pt` and `.pth` files, read and written without PyTorch and, unless asked for whole objects, without
running anything.

The present format is a zip archive, uncompressed: `data.pkl` (protocol 2) with the structure, `data/KEY` with the
elements of each storage, `byteorder`. The legacy one is four pickles (a magic number, the protocol, system, value), a
fifth with the keys of the storages, and then each storage's count and elements.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import pickle
import struct
import threading
import zipfile
import zlib
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from typing import IO, Any, NamedTuple

import numpy as np

from pycnn import _core
from pycnn._core import Size, Tensor
from pycnn._restricted_pickle import CONTAINERS, Builder, Machine, RefusedName

_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
_LARGEST = 2**62
# In archives of whole objects: the name of an entry that says so, and of what stands for tensors in the pickle.
_OBJECTS = "pycnn.objects"
# Tensors may overlap in their storage, so a small file could ask for much memory; it gets this many times its size.
_GROWTH = 4
_ALLOWANCE = 64 << 20

# torch's class of storage, our dtype, and the NumPy type that carries its bits.
_STORAGES = {
    "DoubleStorage": ("float64", "f8"),
    "FloatStorage": ("float32", "f4"),
    "HalfStorage": ("float16", "f2"),
    "BFloat16Storage": ("bfloat16", "u2"),
    "LongStorage": ("int64", "i8"),
    "IntStorage": ("int32", "i4"),
    "ShortStorage": ("int16", "i2"),
    "CharStorage": ("int8", "i1"),
    "ByteStorage": ("uint8", "u1"),
    "BoolStorage": ("bool", "u1"),
}
_STORAGE_OF = {name: storage for storage, (name, _) in _STORAGES.items()}


class _Kind(NamedTuple):
    """What a class of storage stands for."""

    name: str
    bits: str


class _Storage(NamedTuple):
    """The part of a storage that a persistent identifier describes: `extent` elements from `start` on."""

    key: str
    kind: _Kind
    start: int
    extent: int


def _natural(value: Any, what: str) -> int:
    if type(value) is not int or not 0 <= value < _LARGEST:
        raise ValueError(f"{what} is no natural number")
    return value


def _naturals(values: Any, what: str) -> tuple[int, ...]:
    if not isinstance(values, (tuple, list)):
        raise ValueError(f"{what} is no tuple")
    return tuple(_natural(value, what) for value in values)


def _strided(elements: np.ndarray[Any, Any], shape: tuple[int, ...], strides: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """A row-major array of elements that lie so far apart; the memory itself where they lie row-major."""
    count = math.prod(shape)
    if count == 0:
        return np.empty(shape, elements.dtype)
    # Dimensions of size 1 may claim any stride.
    steps = [elements.itemsize * step if extent > 1 else 0 for extent, step in zip(shape, strides, strict=True)]
    array = np.lib.stride_tricks.as_strided(elements, shape, steps, writeable=False)
    return elements[:count].reshape(shape) if array.flags.c_contiguous else array.copy(order="C")


def _is_empty(value: Any) -> bool:
    """Whether there are no hooks, or no further attributes of a tensor."""
    return value is None or (isinstance(value, (dict, tuple)) and len(value) == 0)


class _Reader:
    """Builds the value of a file. `elements` gives a whole storage as an array of its bits, or None for a first look
    that only notes which storages there are (`storages`: kind and count by key)."""

    def __init__(self, elements: Callable[[str, _Kind, int], np.ndarray[Any, Any]] | None, budget: int) -> None:
        self.storages: dict[str, tuple[_Kind, int]] = {}
        self._elements = elements
        self._budget = budget
        self._read: dict[str, np.ndarray[Any, Any]] = {}
        self._names: dict[tuple[str, str], Any] = {
            **CONTAINERS,
            ("torch._utils", "_rebuild_tensor"): Builder(self._tensor),
            ("torch._utils", "_rebuild_tensor_v2"): Builder(self._tensor_v2),
            ("torch._utils", "_rebuild_parameter"): Builder(self._parameter),
            ("torch", "Size"): Builder(lambda sizes: Size(_naturals(sizes, "a size"))),
            ("torch", "device"): Builder(self._device),
        }
        for storage, (name, bits) in _STORAGES.items():
            self._names["torch", storage] = _Kind(name, bits)
            self._names["torch", name] = getattr(_core, name)

    def read(self, data: bytes, start: int = 0) -> tuple[Any, int]:
        machine = Machine(data, self._names, self._storage, start)
        return machine.run(), machine.position

    def _storage(self, identifier: Any) -> _Storage:
        """("storage", class, key, location, count), in legacy files with a sixth: None or (key, start, count)."""
        name = identifier[0] if type(identifier) is tuple and len(identifier) in (5, 6) else None
        if type(name) is not str or name != "storage":
            found = repr(name[:40]) if isinstance(name, str) else type(identifier).__name__
            raise ValueError(f"a persistent identifier {found} is refused")
        _, kind, key, location, count = identifier[:5]
        if not isinstance(kind, _Kind) or not isinstance(key, str) or not isinstance(location, str):
            raise ValueError("a storage that is not described as torch does")
        if location == "meta":
            raise ValueError("a tensor on the device 'meta', which has no elements")
        count = _natural(count, "a storage's size")
        if self.storages.setdefault(key, (kind, count)) != (kind, count):
            raise ValueError(f"storage {key[:40]!r} is described twice, differently")
        view = identifier[5] if len(identifier) == 6 else None
        if view is None:
            return _Storage(key, kind, 0, count)
        if type(view) is not tuple or len(view) != 3:
            raise ValueError("a view of a storage that is not described as torch does")
        start, part = _natural(view[1], "a view's start"), _natural(view[2], "a view's size")
        if start + part > count:
            raise ValueError(f"a view of elements {start} to {start + part} of a storage of {count}")
        return _Storage(key, kind, start, part)

    def _tensor(self, storage: Any, offset: Any, size: Any, stride: Any) -> Tensor | None:
        if not isinstance(storage, _Storage):
            raise ValueError("a tensor without a storage")
        offset, shape = _natural(offset, "an offset"), _naturals(size, "a tensor's size")
        strides = _naturals(stride, "a tensor's stride")
        described = f"a tensor of shape {shape} and strides {strides} from element {offset} on"
        if len(shape) != len(strides) or len(shape) > 8:
            raise ValueError(f"{described}: as many strides as sizes are expected, at most 8")
        count = math.prod(shape)
        last = offset + sum((extent - 1) * step for extent, step in zip(shape, strides, strict=True))
        if offset > storage.extent or (count > 0 and last >= storage.extent):
            raise ValueError(f"{described} lies outside of its storage of {storage.extent} elements")
        kind = storage.kind
        bits = np.dtype(kind.bits)
        self._budget -= count * bits.itemsize
        if max(count, *shape, 0) * bits.itemsize >= _LARGEST or self._budget < 0:
            raise ValueError(f"{described}: together the tensors take far more memory than the file has")
        if self._elements is None:
            return None
        if storage.key not in self._read:
            self._read[storage.key] = self._elements(storage.key, kind, self.storages[storage.key][1])
        elements = self._read[storage.key][storage.start + offset :]
        array = _strided(elements, shape, strides)
        if kind.name == "bfloat16":
            device = str(_core._get_creation_device())
            return _core._rebuild_tensor(Tensor, array.tobytes(), _core.bfloat16, shape, False, device=device)
        if kind.name == "bool":
            array = array.astype(np.bool_)
        array.setflags(write=False)
        return _core.from_numpy(array).to(_core._get_creation_device())

    def _tensor_v2(
        self, storage: Any, offset: Any, size: Any, stride: Any, requires_grad: Any, hooks: Any, metadata: Any = None
    ) -> Tensor | None:
        if type(requires_grad) is not bool or not _is_empty(hooks) or not _is_empty(metadata):
            raise ValueError("a tensor with hooks or a conjugate or negative view is refused")
        tensor = self._tensor(storage, offset, size, stride)
        if requires_grad and not storage.kind.bits.startswith("f") and storage.kind.name != "bfloat16":
            raise ValueError(f"a gradient for a tensor of {storage.kind.name}")
        return None if tensor is None else tensor.requires_grad_(requires_grad)

    def _parameter(self, data: Any, requires_grad: Any, hooks: Any) -> Tensor | None:
        from pycnn.nn.parameter import Parameter

        if type(requires_grad) is not bool or not _is_empty(hooks):
            raise ValueError("a parameter with hooks is refused")
        if self._elements is None:
            return None
        if not isinstance(data, Tensor) or (requires_grad and not data.is_floating_point()):
            raise ValueError("a parameter that is not made of a tensor of floats")
        return Parameter(data.detach(), requires_grad)

    def _device(self, kind: Any, index: Any = None) -> Any:
        if not isinstance(kind, str) or not (index is None or type(index) is int):
            raise ValueError("a device that is not described as torch does")
        try:
            return _core.device(kind if index is None else f"{kind}:{index}")
        except (RuntimeError, TypeError) as error:
            raise ValueError(str(error)) from None


# -- the zip format ----------------------------------------------------------------------------------------------------
class _Archive:
    """The uncompressed entries of a zip archive, by name without the archive's own folder."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.size = file.seek(0, os.SEEK_END)
        try:
            with zipfile.ZipFile(file) as archive:
                entries = archive.infolist()
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OverflowError, OSError, struct.error) as error:
            raise ValueError(f"a damaged zip archive ({error})") from None
        pickles = [entry.filename for entry in entries if entry.filename.partition("/")[2] == "data.pkl"]
        if len(pickles) != 1:
            raise ValueError(f"a zip archive with {len(pickles)} files data.pkl, so not one of torch.save")
        folder = pickles[0].partition("/")[0] + "/"
        self._entries = {entry.filename[len(folder) :]: entry for entry in entries if entry.filename.startswith(folder)}
        if "constants.pkl" in self._entries:
            raise ValueError("a TorchScript archive is a program and refused; save its state_dict() instead")

    def size_of(self, name: str) -> int:
        if name not in self._entries:
            raise ValueError(f"the archive has no {name[:60]!r}")
        return self._entries[name].file_size

    def read(self, name: str) -> bytes:
        size = self.size_of(name)
        entry = self._entries[name]
        if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != size or entry.flag_bits & 1:
            raise ValueError(f"{name[:60]!r} is compressed or encrypted, which torch.save never does")
        start = self._data_start(entry, name)
        if start + size > self.size:
            raise ValueError(f"{name[:60]!r} ends outside of the file")
        self._file.seek(start)
        content = self._file.read(size)
        # torch.serialization.set_crc32_options(False) leaves the checksums 0.
        if entry.CRC != 0 and zlib.crc32(content) != entry.CRC:
            raise ValueError(f"{name[:60]!r} is damaged: its checksum differs")
        return content

    def _data_start(self, entry: zipfile.ZipInfo, name: str) -> int:
        """Behind the entry's own header, whose extra field differs from the directory's."""
        if not 0 <= entry.header_offset <= self.size - 30:
            raise ValueError(f"{name[:60]!r} begins outside of the file")
        self._file.seek(entry.header_offset)
        header = self._file.read(30)
        if header[:4] != b"PK\x03\x04":
            raise ValueError(f"{name[:60]!r} has no header")
        return entry.header_offset + 30 + sum(struct.unpack("<HH", header[26:30]))


class UnpicklingError(pickle.UnpicklingError, ValueError):
    """A file that cannot be read, or has what is refused."""


def _read_zip(file: IO[bytes], weights_only: bool) -> Any:
    archive = _Archive(file)
    if weights_only and _OBJECTS in archive._entries:
        raise ValueError(
            "Weights only load failed: the file holds pickled objects, and reading them runs what they say; if you "
            "trust it, load it with weights_only=False"
        )
    order = archive.read("byteorder") if "byteorder" in archive._entries else b"little"
    if order not in (b"little", b"big"):
        raise ValueError(f"a byte order {order[:20]!r}")

    def elements(key: str, kind: _Kind, count: int) -> np.ndarray[Any, Any]:
        bits = np.dtype(kind.bits).newbyteorder("<" if order == b"little" else ">")
        if archive.size_of(f"data/{key}") != count * bits.itemsize:
            raise ValueError(f"storage {key[:40]!r} has not the size of {count} elements of {kind.name}")
        return np.frombuffer(archive.read(f"data/{key}"), bits).astype(bits.newbyteorder("="), copy=False)

    reader = _Reader(elements, _GROWTH * archive.size + _ALLOWANCE)
    data = archive.read("data.pkl")
    return reader.read(data)[0] if weights_only else _Unpickler(data, reader).load()


class _Unpickler(pickle.Unpickler):
    """Python's own, which imports and calls what the file names; tensors come from the archive."""

    def __init__(self, data: bytes, reader: _Reader) -> None:
        super().__init__(io.BytesIO(data))
        self._reader = reader
        self._tensors: dict[str, Tensor | None] = {}

    def find_class(self, module: str, name: str) -> Any:
        if module != "torch" and not module.startswith("torch."):
            return super().find_class(module, name)
        known = self._reader._names.get((module, name))
        if known is None:
            raise ValueError(f"{module}.{name} is not known here")
        return known.build if isinstance(known, Builder) else known

    def persistent_load(self, identifier: Any) -> Any:
        if type(identifier) is not tuple or identifier[0] != _OBJECTS:
            return self._reader._storage(identifier)
        _, name, key, shape, requires_grad, is_parameter = identifier
        if key not in self._tensors:
            strides = [math.prod(shape[d + 1 :]) for d in range(len(shape))]
            kind = _Kind(name, _STORAGES[_STORAGE_OF[name]][1])
            storage = self._reader._storage(("storage", kind, key, "cpu", math.prod(shape)))
            tensor = self._reader._tensor_v2(
                storage, 0, shape, tuple(strides), requires_grad and not is_parameter, None
            )
            self._tensors[key] = self._reader._parameter(tensor, requires_grad, None) if is_parameter else tensor
        return self._tensors[key]


# -- the legacy format -------------------------------------------------------------------------------------------------
def _read_legacy(data: bytes) -> Any:
    def plain(start: int) -> tuple[Any, int]:
        def refuse(identifier: Any) -> Any:
            raise ValueError("a storage before the value")

        machine = Machine(data, {}, refuse, start)
        return machine.run(), machine.position

    magic, position = plain(0)
    if magic != _MAGIC:
        raise ValueError("a pickle that torch.save did not write")
    protocol, position = plain(position)
    if protocol != _LEGACY_PROTOCOL:
        raise ValueError(f"version {str(protocol)[:40]} of the legacy format is not known")
    system, position = plain(position)
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise ValueError("a file of a big-endian machine")
    budget = _GROWTH * len(data) + _ALLOWANCE
    # The elements lie behind the pickle that refers to them: read it once to find them, once more to use them.
    scan = _Reader(None, budget)
    try:
        _, after = scan.read(data, position)
    except RefusedName as error:
        raise ValueError(
            f"{error.name} is refused: only tensors, numbers, strings and containers are read from a file of the "
            "legacy format, whatever weights_only; PyTorch 1.6 or later saves it anew as a zip archive"
        ) from None
    keys, start = plain(after)
    if not isinstance(keys, list) or any(not isinstance(key, str) for key in keys):
        raise ValueError("the keys of the storages are no list of strings")
    places: dict[str, int] = {}
    for key in keys:
        if key not in scan.storages or key in places:
            raise ValueError(f"storage {key[:40]!r} belongs to no tensor")
        kind, count = scan.storages[key]
        end = start + 8 + count * np.dtype(kind.bits).itemsize
        if end > len(data):
            raise ValueError(f"the file ends within storage {key[:40]!r}")
        if struct.unpack_from("<q", data, start)[0] != count:
            raise ValueError(f"storage {key[:40]!r} has not the size of {count} elements of {kind.name}")
        places[key] = start + 8
        start = end

    def elements(key: str, kind: _Kind, count: int) -> np.ndarray[Any, Any]:
        if key not in places:
            raise ValueError(f"storage {key[:40]!r} is not there")
        bits = np.dtype(kind.bits).newbyteorder("<")
        content = data[places[key] : places[key] + count * bits.itemsize]  # a copy, so aligned
        return np.frombuffer(content, bits).astype(bits.newbyteorder("="), copy=False)

    return _Reader(elements, budget).read(data, position)[0]


def is_torch_file(start: bytes) -> bool:
    """Whether a file that starts so (16 bytes) is a zip archive or a pickle, and no safetensors file, whose length of
    the header may happen to look the same."""
    return start[8:9] != b"{" and (start[:4] == b"PK\x03\x04" or (start[:1] == b"\x80" and start[1:2] in b"\2\3\4\5"))


# What a damaged file raises, in Python's own reader of pickles or in ours.
_DAMAGE = (
    ValueError, TypeError, OverflowError, RecursionError, MemoryError,
    EOFError, LookupError, AttributeError, pickle.UnpicklingError,
)  # fmt: skip


def read(path: str, weights_only: bool = True) -> Any:
    """The value in a file of `torch.save`, all tensors on the default device.

    Tensors that share a storage become tensors of their own; one tensor in two places stays one. Without
    `weights_only`, what a zip archive says is imported and called; a legacy file is read as with it in any case.

    Errors: OSError if it cannot be read; UnpicklingError, with the file's name, for a damaged one and for what is
    refused. Its cause is the error that was raised while reading, also by what a whole object calls.
    """
    try:
        with open(path, "rb") as file:
            if file.read(2) == b"PK":
                return _read_zip(file, weights_only)
            file.seek(0)
            return _read_legacy(file.read())
    except _DAMAGE as error:
        raise UnpicklingError(f"{path}: not a readable file of PyTorch: {error}") from error


# -- writing -----------------------------------------------------------------------------------------------------------
class _Writer:
    """Writes a value as a pickle of protocol 2, collecting the elements of its tensors."""

    def __init__(self) -> None:
        self.storages: list[bytes] = []
        self._parts: list[bytes] = [b"\x80\x02"]
        self._memo: dict[int, int] = {}
        self._kept: list[Tensor] = []  # so that no address is used twice

    def pickle(self, value: Any) -> bytes:
        self._value(value, ())
        return b"".join([*self._parts, b"."])

    def _write(self, *parts: bytes) -> None:
        self._parts += parts

    def _value(self, value: Any, path: tuple[str, ...]) -> None:
        from pycnn.serialization import is_numpy_number, not_stored

        if isinstance(value, Tensor):
            self._tensor(value)
        elif value is None or isinstance(value, bool):
            self._write({None: b"N", True: b"\x88", False: b"\x89"}[value])
        elif isinstance(value, str):
            text = value.encode("utf-8", "surrogatepass")
            self._write(b"X", struct.pack("<I", len(text)), text)
        elif type(value) is int:
            self._integer(value)
        elif isinstance(value, float):
            self._write(b"G", struct.pack(">d", value))
        elif isinstance(value, _core.dtype):
            self._global("torch", str(value).rpartition(".")[2])
        elif isinstance(value, Size):
            self._global("torch", "Size")
            self._tuple((tuple(value),), path)
            self._write(b"R")
        elif type(value) is tuple:
            self._tuple(value, path)
        elif type(value) is list:
            self._write(b"](")
            for index, member in enumerate(value):
                self._value(member, (*path, str(index)))
            self._write(b"e")
        elif type(value) in (dict, OrderedDict, Counter):
            self._mapping(value, path)
        elif is_numpy_number(value):
            self._value(value.item(), path)
        else:
            raise not_stored(value, path)

    def _integer(self, value: int) -> None:
        if -(2**31) <= value < 2**31:
            self._write(b"J", struct.pack("<i", value))
            return
        content = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
        short = len(content) < 256
        self._write(b"\x8a" if short else b"\x8b", struct.pack("<B" if short else "<i", len(content)), content)

    def _global(self, module: str, name: str) -> None:
        self._write(f"c{module}\n{name}\n".encode())

    def _tuple(self, value: tuple[Any, ...], path: tuple[str, ...]) -> None:
        self._write(b"(")
        for index, member in enumerate(value):
            self._value(member, (*path, str(index)))
        self._write(b"t")

    def _members(self, *values: Any) -> None:
        for value in values:
            self._value(value, ())

    def _mapping(self, value: Mapping[Any, Any], path: tuple[str, ...]) -> None:
        from pycnn.serialization import checked_key

        counted = isinstance(value, Counter)
        if counted or isinstance(value, OrderedDict):
            self._global("collections", type(value).__name__)
        self._write(b"(}(" if counted else b")R(" if isinstance(value, OrderedDict) else b"}(")
        for key, member in value.items():
            self._value(checked_key(key, path), path)
            self._value(member, (*path, str(key)))
        self._write(b"utR" if counted else b"u")
        if isinstance(value, OrderedDict) and isinstance(getattr(value, "_metadata", None), dict):
            self._write(b"}")
            self._value("_metadata", path)
            self._value(value._metadata, path)  # type: ignore[attr-defined]
            self._write(b"sb")

    def _tensor(self, tensor: Tensor) -> None:
        from pycnn.nn.parameter import Parameter

        if id(tensor) in self._memo:
            self._write(b"j", struct.pack("<I", self._memo[id(tensor)]))
            return
        content: bytes = tensor.detach().__reduce_ex__(2)[1][1]  # row-major
        shape = tuple(tensor.shape)
        strides, step = [], 1
        for extent in reversed(shape):
            strides.append(step)
            step *= max(extent, 1)
        is_parameter = isinstance(tensor, Parameter)
        if is_parameter:
            self._global("torch._utils", "_rebuild_parameter")
            self._write(b"(")
        self._global("torch._utils", "_rebuild_tensor_v2")
        self._write(b"((")
        self._value("storage", ())
        self._global("torch", _STORAGE_OF[str(tensor.dtype).rpartition(".")[2]])
        self._members(str(len(self.storages)), "cpu", math.prod(shape))
        self._write(b"tQ")
        requires_grad = tensor.requires_grad and not is_parameter
        self._members(0, shape, tuple(reversed(strides)), requires_grad, OrderedDict())
        self._write(b"tR")
        if is_parameter:
            self._members(tensor.requires_grad, OrderedDict())
            self._write(b"tR")
        self._memo[id(tensor)] = len(self._memo)
        self._kept.append(tensor)
        self._write(b"r", struct.pack("<I", self._memo[id(tensor)]))
        self.storages.append(content)


def _add(archive: zipfile.ZipFile, name: str, content: bytes, alignment: int = 64) -> None:
    """An entry whose content begins at a multiple of `alignment`, so that it can be mapped into memory."""
    assert archive.fp is not None
    entry = zipfile.ZipInfo(name)
    padding = -(archive.fp.tell() + 30 + len(name.encode()) + 4) % alignment
    entry.extra = b"FB" + struct.pack("<H", padding) + b"Z" * padding
    entry.file_size = len(content)
    with archive.open(entry, "w") as file:
        file.write(content)


class _ObjectPickler(pickle.Pickler):
    """Python's own for anything but tensors, whose elements go to the archive."""

    def __init__(self, file: IO[bytes], protocol: int) -> None:
        super().__init__(file, protocol)
        self.storages: list[bytes] = []
        self._keys: dict[int, int] = {}
        self._kept: list[Tensor] = []  # so that no address is used twice

    def persistent_id(self, value: Any) -> Any:
        from pycnn.nn.parameter import Parameter

        if type(value) not in (Tensor, Parameter):
            return None
        if id(value) not in self._keys:
            self._keys[id(value)] = len(self.storages)
            self.storages.append(value.detach().__reduce_ex__(2)[1][1])
            self._kept.append(value)
        name = str(value.dtype).rpartition(".")[2]
        key = str(self._keys[id(value)])
        return (_OBJECTS, name, key, tuple(value.shape), value.requires_grad, isinstance(value, Parameter))


def write_objects(path: str, value: Any, protocol: int = 2) -> None:
    """Writes any value that Python's pickle can, for `load(path, weights_only=False)`: the whole file or nothing.

    Errors: those of pickle; OSError if writing fails.
    """
    structure = io.BytesIO()
    pickler = _ObjectPickler(structure, protocol)
    pickler.dump(value)
    _write_archive(path, structure.getvalue(), pickler.storages, {_OBJECTS: b"1"})


def write(path: str, value: Any) -> None:
    """Writes a value as `torch.save` does, for `torch.load(path, weights_only=True)`: the whole file or nothing.

    Errors: TypeError that names the place of what cannot be stored; OSError if writing fails.
    """
    writer = _Writer()
    structure = writer.pickle(value)
    _write_archive(path, structure, writer.storages, {})


def _write_archive(path: str, structure: bytes, storages: list[bytes], others: dict[str, bytes]) -> None:
    stem = os.path.splitext(os.path.basename(path))[0]
    temporary = f"{path}.tmp-{os.getpid()}-{threading.get_ident()}"
    try:
        with open(temporary, "xb") as file:
            with zipfile.ZipFile(file, "w") as archive:
                _add(archive, f"{stem}/data.pkl", structure)
                _add(archive, f"{stem}/byteorder", b"little")
                for key, content in enumerate(storages):
                    _add(archive, f"{stem}/data/{key}", content)
                for name, content in others.items():
                    _add(archive, f"{stem}/{name}", content)
                _add(archive, f"{stem}/version", b"3\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
