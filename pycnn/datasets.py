"""Images to learn from: the bundled digits, folders of IDX files, resizing. Everything here is NumPy on the host."""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

__all__ = [
    "Array",
    "ImageData",
    "Preprocessing",
    "digits",
    "idx_folder",
    "read_idx",
    "resize_bilinear",
]

Array = np.ndarray[Any, Any]

_DATA = Path(__file__).parent / "data"
# The type byte of an IDX file; elements are big-endian.
_IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_IDX_MAX_BYTES = 2**32


@dataclass(frozen=True)
class ImageData:
    """Grey images with classes, split for training and testing.

    Attributes:
        train_images, test_images: (N, H, W), numbers from 0 to `maximum`.
        train_labels, test_labels: (N,), int64, positions in `classes`.
        classes: names.
        maximum: the largest value an element may have (ink, or white).
    """

    train_images: Array
    train_labels: Array
    test_images: Array
    test_labels: Array
    classes: tuple[str, ...]
    maximum: float


def read_idx(path: str | os.PathLike[str]) -> Array:
    """Reads an IDX file, plain or gzipped, into an array of its dtype (in the machine's byte order).

    Errors: OSError if it cannot be opened, ValueError (with the file's name) if it is damaged, too short or too long.
    """
    name = os.fspath(path)
    with open(name, "rb") as raw:
        compressed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        if not compressed:
            return _read_idx_stream(raw, name)
        try:
            with gzip.GzipFile(fileobj=raw) as file:
                return _read_idx_stream(file, name)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(f"{name}: damaged gzip data ({error})") from None


def _read_idx_stream(file: IO[bytes] | gzip.GzipFile, name: str) -> Array:
    header = file.read(4)
    if len(header) < 4 or header[:2] != b"\0\0" or header[2] not in _IDX_TYPES or header[3] == 0:
        raise ValueError(f"{name}: not an IDX file (it starts with {header.hex() or 'nothing'})")
    sizes = file.read(4 * header[3])
    if len(sizes) < 4 * header[3]:
        raise ValueError(f"{name}: an IDX file that ends within its header")
    shape = struct.unpack(f">{header[3]}I", sizes)
    dtype = np.dtype(_IDX_TYPES[header[2]])
    length = math.prod(shape) * dtype.itemsize
    if length > _IDX_MAX_BYTES:
        raise ValueError(f"{name}: an IDX file that claims {length} bytes of elements, shape {shape}")
    # Reading in steps: what a hostile header claims is never allocated before it is there.
    content = bytearray()
    while len(content) <= length:
        piece = file.read(min(length + 1 - len(content), 1 << 20))
        if not piece:
            break
        content += piece
    if len(content) != length:
        found = "more" if len(content) > length else str(len(content))
        raise ValueError(f"{name}: an IDX file of shape {shape} needs {length} bytes of elements, found {found}")
    return np.frombuffer(bytes(content), dtype).reshape(shape).astype(dtype.newbyteorder("="))


def digits() -> ImageData:
    """The bundled UCI optical digits: 1 797 images of 8x8 with values 0 to 16, ten classes.

    Of every class each fifth image is for testing, so the split is stratified and fixed: 1 442 and 355 images.
    """
    images = read_idx(_DATA / "digits-images-idx3-ubyte.gz")
    labels = read_idx(_DATA / "digits-labels-idx1-ubyte.gz").astype(np.int64)
    test = np.zeros(len(labels), bool)
    for label in range(10):
        test[np.flatnonzero(labels == label)[4::5]] = True
    return ImageData(
        images[~test], labels[~test], images[test], labels[test], tuple(str(label) for label in range(10)), 16.0
    )


def idx_folder(folder: str | os.PathLike[str]) -> ImageData:
    """A folder with the four IDX files of MNIST and its kin, plain or gzipped.

    They are `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte`, `t10k-labels-idx1-ubyte`,
    images (N, H, W) uint8. Classes are named by number.

    Errors: OSError if a file is missing, ValueError (with the file's name) if one is damaged or they do not fit.
    """
    parts = []
    for split in ("train", "t10k"):
        image_path = _find_idx(folder, f"{split}-images", "idx3-ubyte")
        label_path = _find_idx(folder, f"{split}-labels", "idx1-ubyte")
        images, labels = read_idx(image_path), read_idx(label_path)
        if images.ndim != 3 or images.dtype != np.uint8 or images.size == 0:
            raise ValueError(f"{image_path}: expected uint8 images (N, H, W), got {images.dtype} {images.shape}")
        if labels.ndim != 1 or labels.dtype != np.uint8:
            raise ValueError(f"{label_path}: expected uint8 labels (N,), got {labels.dtype} {labels.shape}")
        if len(images) != len(labels):
            raise ValueError(f"{label_path}: {len(labels)} labels for {len(images)} images")
        parts += [images, labels.astype(np.int64)]
    train_images, train_labels, test_images, test_labels = parts
    if train_images.shape[1:] != test_images.shape[1:]:
        raise ValueError(
            f"{os.fspath(folder)}: training images {train_images.shape[1:]} and test images {test_images.shape[1:]} "
            "differ in size"
        )
    count = int(max(train_labels.max(), test_labels.max())) + 1
    classes = tuple(str(label) for label in range(count))
    return ImageData(train_images, train_labels, test_images, test_labels, classes, 255.0)


def _find_idx(folder: str | os.PathLike[str], stem: str, kind: str) -> Path:
    if not os.path.isdir(folder):
        raise NotADirectoryError(f"{os.fspath(folder)}: not a folder of IDX files")
    for separator in ("-", "."):
        for ending in ("", ".gz"):
            path = Path(folder) / f"{stem}{separator}{kind}{ending}"
            if path.is_file():
                return path
    raise FileNotFoundError(f"{os.fspath(folder)}: no file {stem}-{kind} (or .gz) in this folder")


def resize_bilinear(images: Array, height: int, width: int) -> Array:
    """(N, H, W) to (N, height, width), float32, bilinear with pixel centres at half-integers and clamped borders."""

    def weights(size: int, wanted: int) -> Array:
        position = np.clip((np.arange(wanted) + 0.5) * (size / wanted) - 0.5, 0, size - 1)
        low = np.floor(position).astype(np.int64)
        high = np.minimum(low + 1, size - 1)
        share = position - low
        matrix = np.zeros((wanted, size))
        matrix[np.arange(wanted), low] += 1 - share
        matrix[np.arange(wanted), high] += share
        return matrix

    rows, columns = weights(images.shape[1], height), weights(images.shape[2], width)
    return (rows @ images.astype(np.float64) @ columns.T).astype(np.float32)


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes the network's input: resize, scale to 0..1, subtract the mean, divide by the deviation.

    Attributes:
        height, width: size of the network's input, in elements.
        mean, std: over the training images after scaling.
    """

    height: int
    width: int
    mean: float
    std: float

    @staticmethod
    def fit(images: Array, maximum: float, height: int, width: int) -> Preprocessing:
        """The one that gives training images (N, H, W) mean 0 and deviation 1."""
        resized = resize_bilinear(images, height, width) / maximum
        std = float(resized.std(dtype=np.float64))
        return Preprocessing(height, width, float(resized.mean(dtype=np.float64)), std if std > 0 else 1.0)

    def __call__(self, images: Array, maximum: float) -> Array:
        """(N, H, W) with values 0..maximum to (N, 1, height, width), float32."""
        if images.shape[1:] != (self.height, self.width):
            images = resize_bilinear(images, self.height, self.width)
        scaled = (images.astype(np.float32) / np.float32(maximum) - np.float32(self.mean)) / np.float32(self.std)
        return np.ascontiguousarray(scaled[:, None])
