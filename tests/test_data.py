"""Data sets, samplers and DataLoader; IDX files, also hostile ones."""

from __future__ import annotations

import gzip
import struct
from typing import NamedTuple

import numpy as np
import pytest
from idx_files import idx_bytes, write_folder

import pycnn
from pycnn import datasets
from pycnn.utils.data import (
    BatchSampler,
    ChainDataset,
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
    random_split,
)


class Squares(Dataset):
    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        if not 0 <= index < self.count:
            raise IndexError(index)
        return np.float32(index**2), index


def rows(count=10):
    x = pycnn.arange(3 * count).reshape(count, 3)
    return TensorDataset(x, pycnn.arange(count))


def order(loader):
    return [batch[1].tolist() for batch in loader]


# -- data sets ---------------------------------------------------------------------------------------------------------
def test_tensor_dataset():
    data = rows()
    x, y = data[4]
    assert len(data) == 10 and x.tolist() == [12, 13, 14] and y.item() == 4
    with pytest.raises(AssertionError, match="Size mismatch"):
        TensorDataset(pycnn.zeros(2), pycnn.zeros(3))


def test_concat_and_subset():
    data = ConcatDataset([Squares(2), Squares(3)])
    assert len(data) == 5 and [data[i][1] for i in (0, 1, 2, 4, -1)] == [0, 1, 0, 2, 2]
    assert [pair[1] for pair in Subset(Squares(9), [7, 2])] == [7, 2]
    assert len(Squares(1) + Squares(2)) == 3
    with pytest.raises(IndexError):
        data[5]


def test_random_split():
    parts = random_split(Squares(10), [7, 3], generator=pycnn.Generator().manual_seed(4))
    assert [len(part) for part in parts] == [7, 3]
    assert sorted(i for part in parts for i in part.indices) == list(range(10))
    again = random_split(Squares(10), [7, 3], generator=pycnn.Generator().manual_seed(4))
    assert [part.indices for part in again] == [part.indices for part in parts]
    assert [len(part) for part in random_split(Squares(10), [0.25, 0.75])] == [3, 7]
    with pytest.raises(ValueError, match="Sum of input lengths"):
        random_split(Squares(10), [3, 3])


# -- samplers ----------------------------------------------------------------------------------------------------------
def test_samplers():
    data = Squares(6)
    assert list(SequentialSampler(data)) == list(range(6))
    generator = pycnn.Generator().manual_seed(1)
    assert sorted(RandomSampler(data, generator=generator)) == list(range(6))
    assert len(list(RandomSampler(data, num_samples=14))) == 14
    assert set(RandomSampler(data, replacement=True, num_samples=100)) == set(range(6))
    assert sorted(SubsetRandomSampler([5, 3, 1])) == [1, 3, 5]
    batches = BatchSampler(SequentialSampler(data), 4, False)
    assert list(batches) == [[0, 1, 2, 3], [4, 5]] and len(batches) == 2
    assert list(BatchSampler(SequentialSampler(data), 4, True)) == [[0, 1, 2, 3]]
    with pytest.raises(ValueError, match="positive integer"):
        BatchSampler(SequentialSampler(data), 0, False)


def test_weighted_sampler():
    generator = pycnn.Generator().manual_seed(1)
    sampler = WeightedRandomSampler([0, 1, 3], 4000, generator=generator)
    drawn = np.bincount(list(sampler), minlength=3)
    assert len(sampler) == 4000 and drawn[0] == 0 and 0.7 < drawn[2] / 4000 < 0.8
    assert sorted(WeightedRandomSampler(pycnn.tensor([0.5, 0.0, 2.0]).numpy(), 2, replacement=False)) == [0, 2]
    for weights, count in (([[1]], 1), ([1], 0)):
        with pytest.raises(ValueError):
            WeightedRandomSampler(weights, count)
    for weights, count, replacement in (
        ([1, -1], 1, True), ([0, 0], 1, True), ([1, float("nan")], 1, True), ([1, 0], 2, False),
    ):  # fmt: skip
        with pytest.raises(RuntimeError):
            list(WeightedRandomSampler(weights, count, replacement))


# -- DataLoader --------------------------------------------------------------------------------------------------------
def test_batches_in_order():
    loader = DataLoader(rows(), batch_size=4)
    assert len(loader) == 3 and order(loader) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert next(iter(loader))[0].tolist()[1] == [3, 4, 5]
    assert order(DataLoader(rows(), batch_size=4, drop_last=True)) == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_shuffle_is_seeded_and_new_every_epoch():
    pycnn.manual_seed(7)
    loader = DataLoader(rows(50), batch_size=16, shuffle=True)
    first, second = order(loader), order(loader)
    assert sorted(sum(first, [])) == list(range(50)) and first != second
    pycnn.manual_seed(7)
    assert [order(loader), order(loader)] == [first, second]
    own = [order(DataLoader(rows(50), 16, True, generator=pycnn.Generator().manual_seed(2))) for _ in range(2)]
    assert own[0] == own[1]


def test_fast_path_equals_items_one_by_one():
    data = Subset(Subset(rows(20), range(1, 19, 2)), [8, 0, 3, 3, 5])
    fast = list(DataLoader(data, batch_size=2))
    slow = list(DataLoader(data, batch_size=2, collate_fn=lambda items: default_collate(items)))
    assert [[part.tolist() for part in batch] for batch in fast] == [
        [part.tolist() for part in batch] for batch in slow
    ]
    assert [part.dtype for part in fast[0]] == [part.dtype for part in slow[0]]


def test_items_are_collated():
    first, second = next(iter(DataLoader(Squares(5), batch_size=3)))
    assert first.dtype == pycnn.float32 and first.tolist() == [0, 1, 4]
    assert second.dtype == pycnn.int64 and second.tolist() == [0, 1, 2]
    assert [item[1] for item in DataLoader(Squares(3), batch_size=None)] == [0, 1, 2]
    assert list(DataLoader(Squares(4), batch_size=2, collate_fn=len)) == [2, 2]
    assert order(DataLoader(rows(), batch_sampler=[[3, 1], [2]])) == [[3, 1], [2]]
    assert order(DataLoader(rows(), batch_size=2, sampler=[9, 8, 7])) == [[9, 8], [7]]


def test_collating_structures():
    class Pair(NamedTuple):
        image: np.ndarray
        name: str

    batch = default_collate([{"x": Pair(np.zeros(2), "a"), "y": 1.5}, {"x": Pair(np.ones(2), "b"), "y": 2.5}])
    assert (
        batch["x"].image.shape == (2, 2) and batch["x"].image.dtype == pycnn.float64 and batch["x"].name == ("a", "b")
    )
    assert batch["y"].dtype == pycnn.float64 and batch["y"].tolist() == [1.5, 2.5]
    assert default_collate([True, False]).dtype == pycnn.bool
    with pytest.raises(TypeError, match="batch must contain"):
        default_collate([object()])
    with pytest.raises(RuntimeError, match="equal size"):
        default_collate([[1], [1, 2]])


def test_streams():
    class Count(IterableDataset):
        def __iter__(self):
            return iter(range(5))

    assert [batch.tolist() for batch in DataLoader(Count(), batch_size=2)] == [[0, 1], [2, 3], [4]]
    assert len(list(DataLoader(Count(), batch_size=2, drop_last=True))) == 2
    assert list(ChainDataset([Count(), Count()])) == [0, 1, 2, 3, 4] * 2
    with pytest.raises(ValueError, match="IterableDataset"):
        DataLoader(Count(), shuffle=True)


def test_bad_loader_arguments():
    with pytest.raises(ValueError, match="mutually exclusive"):
        DataLoader(rows(), shuffle=True, sampler=[1])
    with pytest.raises(ValueError, match="mutually exclusive"):
        DataLoader(rows(), batch_size=2, batch_sampler=[[1]])
    with pytest.raises(ValueError, match="positive integer"):
        DataLoader(rows(), batch_size=0)


# -- IDX files ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("dtype", "code"), [(">u1", 0x08), (">i2", 0x0B), (">i4", 0x0C), (">f4", 0x0D)])
def test_read_idx(tmp_path, packed, dtype, code):
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    content = idx_bytes(array, code)
    path = tmp_path / "values"
    path.write_bytes(gzip.compress(content) if packed else content)
    read = datasets.read_idx(path)
    assert np.array_equal(read, array) and read.dtype == np.dtype(dtype).newbyteorder("=") and read.flags.writeable


GOOD = idx_bytes(np.arange(6, dtype=np.uint8).reshape(2, 3))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0\0",
        b"hello, this is text",
        GOOD[:6],
        GOOD[:-1],
        GOOD + b"x",
        b"\0\0\x08\0",
        b"\0\0\x07\x01" + struct.pack(">I", 1) + b"x",
        b"\0\0\x08\x02" + struct.pack(">II", 2**32 - 1, 2**32 - 1),
        b"\0\0\x08\x01" + struct.pack(">I", 2**31) + b"abc",
        gzip.compress(GOOD)[:-9],
        gzip.compress(GOOD)[:12] + b"\xff" * 20,
        gzip.compress(GOOD[:-2]),
    ],
)
def test_damaged_idx_names_the_file(tmp_path, content):
    path = tmp_path / "broken-idx"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="broken-idx"):
        datasets.read_idx(path)


def test_idx_folder(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (6, 5, 4), np.uint8)
    labels = np.array([0, 1, 2, 2, 1, 0], np.uint8)
    folder = write_folder(tmp_path / "data", images, labels)
    (folder / "t10k-labels-idx1-ubyte").rename(folder / "t10k-labels.idx1-ubyte")
    data = datasets.idx_folder(folder)
    assert np.array_equal(data.train_images, images) and data.test_labels.tolist() == labels.tolist()
    assert data.classes == ("0", "1", "2") and data.maximum == 255
    with pytest.raises(FileNotFoundError, match="train-images"):
        datasets.idx_folder(tmp_path)
    with pytest.raises(NotADirectoryError):
        datasets.idx_folder(tmp_path / "none")
    write_folder(folder, images, labels[:-1])
    with pytest.raises(ValueError, match=r"train-labels.*5 labels for 6 images"):
        datasets.idx_folder(folder)
    write_folder(folder, labels, labels)
    with pytest.raises(ValueError, match="train-images"):
        datasets.idx_folder(folder)
    write_folder(folder, images, labels, images[:, :2])
    (folder / "t10k-labels.idx1-ubyte").unlink()
    with pytest.raises(ValueError, match="differ in size"):
        datasets.idx_folder(folder)


def test_bilinear_resize():
    constant = np.full((2, 3, 3), 7.0)
    assert np.allclose(datasets.resize_bilinear(constant, 5, 9), 7)
    ramp = np.arange(4.0).reshape(1, 1, 4)
    assert np.allclose(datasets.resize_bilinear(ramp, 1, 8)[0, 0], [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3])
    same = np.random.default_rng(0).random((2, 4, 6)).astype(np.float32)
    assert np.allclose(datasets.resize_bilinear(same, 4, 6), same)


def test_bilinear_resize_equals_pytorch():
    torch = pytest.importorskip("torch", reason="compares with PyTorch, which is not installed")
    images = np.random.default_rng(2).random((3, 8, 8)).astype(np.float32)
    expected = torch.nn.functional.interpolate(torch.tensor(images)[:, None], (28, 28), mode="bilinear")[:, 0]
    assert np.allclose(datasets.resize_bilinear(images, 28, 28), expected.numpy(), atol=1e-6)
