"""IDX files for tests."""

from __future__ import annotations

import struct

import numpy as np


def idx_bytes(array: np.ndarray, code: int = 0x08) -> bytes:
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    return head + array.tobytes()


def write_folder(folder, images, labels, test_images=None, test_labels=None):
    parts = {
        "train-images-idx3-ubyte": images,
        "train-labels-idx1-ubyte": labels,
        "t10k-images-idx3-ubyte": images if test_images is None else test_images,
        "t10k-labels-idx1-ubyte": labels if test_labels is None else test_labels,
    }
    folder.mkdir(exist_ok=True)
    for name, array in parts.items():
        (folder / name).write_bytes(idx_bytes(array))
    return folder
