"""save and load: what goes in comes out; files are whole or absent; damaged ones are refused."""

from __future__ import annotations

import io
import json
import math
import os
import pickle
import struct
from collections import OrderedDict

import numpy as np
import pytest

import pycnn
from pycnn import _core, nn, optim


def equal(a, b) -> bool:
    if isinstance(a, pycnn.Tensor):
        return a.dtype == b.dtype and tuple(a.shape) == tuple(b.shape) and a.tolist() == b.tolist()
    if isinstance(a, dict):
        return type(a) is type(b) and list(a) == list(b) and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(equal(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, float) and math.isnan(a):
        return math.isnan(b)
    return type(a) is type(b) and a == b


VALUES = [
    3,
    2**80,
    "text",
    None,
    True,
    0.1,
    float("inf"),
    float("nan"),
    [],
    (),
    {},
    [1, (2, [3, {"a": (None,)}])],
    {"b": 1, "a": 2, 3: "three", None: 0},
    OrderedDict(z=1, a=[2]),
    {"tensor": "a string", "dict": 1},
]


@pytest.mark.parametrize("value", VALUES, ids=str)
def test_plain_values(tmp_path, value):
    pycnn.save(value, tmp_path / "value")
    assert equal(pycnn.load(tmp_path / "value"), value)


@pytest.mark.parametrize(
    "name", ["float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"]
)
def test_tensors_of_every_dtype(tmp_path, name):
    dtype = getattr(pycnn, name)
    value = {"matrix": pycnn.arange(6).reshape(2, 3).to(dtype), "scalar": pycnn.ones((), dtype=dtype), "kind": dtype}
    value["empty"] = pycnn.zeros((0, 4), dtype=dtype)
    pycnn.save(value, tmp_path / "value")
    again = pycnn.load(tmp_path / "value")
    assert again["kind"] == dtype
    assert all(equal(again[key], value[key]) for key in ("matrix", "scalar", "empty"))


def test_special_floats_survive(tmp_path):
    bits = np.array([0x7FC00001, 0xFF800000, 0x80000000, 0x00000001], np.uint32).view(np.float32)
    pycnn.save(pycnn.tensor(bits), tmp_path / "value")
    assert np.array_equal(np.array(pycnn.load(tmp_path / "value").numpy()).view(np.uint32), bits.view(np.uint32))


def test_checkpoint(tmp_path):
    net = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    optimizer = pycnn.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    net(pycnn.randn(4, 3)).sum().backward()
    optimizer.step()
    pycnn.save({"model": net.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3}, tmp_path / "checkpoint")
    loaded = pycnn.load(tmp_path / "checkpoint", map_location="cpu", weights_only=True)
    assert loaded["epoch"] == 3 and isinstance(loaded["model"], OrderedDict)
    assert list(loaded["model"]) == list(net.state_dict())
    other = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    resumed = pycnn.optim.SGD(other.parameters(), lr=0.5, momentum=0.1)
    other.load_state_dict(loaded["model"])
    resumed.load_state_dict(loaded["optimizer"])
    assert resumed.param_groups[0]["lr"] == 0.1
    for (name, tensor), (_, again) in zip(net.state_dict().items(), other.state_dict().items(), strict=True):
        assert equal(tensor, again), name
    for old, new in zip(net.parameters(), other.parameters(), strict=True):
        assert equal(optimizer.state[old]["momentum_buffer"], resumed.state[new]["momentum_buffer"])


def test_state_dict_has_plain_names_for_other_readers(tmp_path):
    net = nn.Linear(2, 1)
    pycnn.save(net.state_dict(), tmp_path / "net.safetensors", metadata={"note": "hello"})
    tensors, metadata = _core.load_safetensors(str(tmp_path / "net.safetensors"))
    assert sorted(tensors) == ["bias", "weight"] and metadata["note"] == "hello"


def test_files_of_others_are_flat_dictionaries(tmp_path):
    path = tmp_path / "theirs.safetensors"
    head = json.dumps({"a.b": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    path.write_bytes(struct.pack("<Q", len(head)) + head + np.array([1, 2], "<f4").tobytes())
    loaded = pycnn.load(path)
    assert list(loaded) == ["a.b"] and loaded["a.b"].tolist() == [1, 2]


def test_sharing_parameters_and_equal_paths(tmp_path):
    shared = pycnn.ones(2)
    value = {
        "a": shared,
        "b": [shared],
        "a.b": pycnn.zeros(1),
        "p": nn.Parameter(pycnn.ones(1)),
        "n": {"b": shared * 2},
    }
    value["a.b"].requires_grad_()
    value["n.b"] = shared * 3
    pycnn.save(value, tmp_path / "value")
    again = pycnn.load(tmp_path / "value")
    assert again["a"] is again["b"][0] and isinstance(again["p"], nn.Parameter) and again["p"].requires_grad
    assert again["a.b"].requires_grad and not again["a"].requires_grad
    assert again["n"]["b"].tolist() == [2, 2] and again["n.b"].tolist() == [3, 3]


def test_open_files(tmp_path):
    buffer = io.BytesIO()
    pycnn.save({"x": pycnn.ones(3)}, buffer)
    buffer.seek(0)
    assert pycnn.load(buffer)["x"].tolist() == [1, 1, 1]
    with open(tmp_path / "file", "wb") as file:
        pycnn.save([1, 2], file)
    assert pycnn.load(tmp_path / "file") == [1, 2]


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ({"a": [1, {"b": object()}]}, r"type object at \['a'\]\['1'\]\['b'\]"),
        (object(), "type object at the top"),
        ({(1, 2): 3}, "key of type tuple at the top"),
        ({"x": np.zeros(2)}, r"type ndarray at \['x'\]"),
        ([{1, 2}], r"type set at \['0'\]"),
    ],
)
def test_safetensors_refuse_unknown_types_with_their_place(tmp_path, value, place):
    with pytest.raises(TypeError, match=place):
        pycnn.save(value, tmp_path / "value.safetensors")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ending", ["safetensors", "pth"])
def test_numpys_numbers_are_stored_as_numbers(tmp_path, ending):
    path = tmp_path / f"numbers.{ending}"
    pycnn.save([np.float32(1.5), np.int64(7), np.bool_(True), np.float64(2.5)], path)
    read = pycnn.load(path)
    assert read == [1.5, 7, True, 2.5] and [type(x) for x in read] == [float, int, bool, float]


@pytest.mark.parametrize("value", [np.longdouble(1), np.datetime64(5, "ns"), np.timedelta64(5, "ns")])
def test_numpys_other_scalars_are_objects(tmp_path, value):
    with pytest.raises(TypeError, match=f"{type(value).__name__} at \\['x'\\]"):
        pycnn.save({"x": value}, tmp_path / "x.safetensors")
    for name in ("x", "x.pt"):
        pycnn.save({"x": value}, tmp_path / name)
        again = pycnn.load(tmp_path / name, weights_only=False)["x"]
        assert type(again) is type(value) and again == value


def test_safetensors_refuse_modules_with_a_hint(tmp_path):
    with pytest.raises(TypeError, match=r"Linear at \['net'\]; store what its state_dict\(\) gives"):
        pycnn.save({"net": nn.Linear(1, 1)}, tmp_path / "whole.safetensors")


@pytest.mark.parametrize("name", ["net.pt", "net", "net.pth.tar"])
def test_whole_modules(tmp_path, name):
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3))
    net[3].bias.requires_grad_(False)
    optimizer = optim.SGD([net[3].weight], lr=0.1, momentum=0.9)
    path = tmp_path / name
    pycnn.save({"net": net, "weight": net[3].weight, "optimizer": optimizer, "shapes": {(1, 2)}}, path)
    for options in ({}, {"weights_only": True}, {"weights_only": None}):
        with pytest.raises(pickle.UnpicklingError, match="weights_only=False"):
            pycnn.load(path, **options)
    again = pycnn.load(path, weights_only=False)
    x = pycnn.randn(2, 1, 4, 4)
    assert again["net"](x).tolist() == net(x).tolist() and again["shapes"] == {(1, 2)}
    weight = again["net"][3].weight
    assert weight is again["weight"] and weight is again["optimizer"].param_groups[0]["params"][0]
    assert isinstance(weight, nn.Parameter) and weight.requires_grad and not again["net"][3].bias.requires_grad
    again["net"](x).sum().backward()
    again["optimizer"].step()
    with io.BytesIO() as buffer:
        pycnn.save(net, buffer)
        buffer.seek(0)
        assert len(pycnn.load(buffer, weights_only=False)) == 4


def test_trusted_files_of_weights(tmp_path):
    for name in ("x", "x.pt"):
        pycnn.save({"x": pycnn.ones(2)}, tmp_path / name)
        assert pycnn.load(tmp_path / name, weights_only=False)["x"].tolist() == [1, 1]


def test_failed_save_leaves_the_old_file(tmp_path):
    path = tmp_path / "value"
    pycnn.save({"x": 1}, path)
    before = path.read_bytes()
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pycnn.save({"x": lambda: 0}, path)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["value"]
    with pytest.raises((OSError, RuntimeError)):
        pycnn.save({"x": 1}, tmp_path / "no such folder" / "value")


def test_missing_and_foreign_files(tmp_path):
    with pytest.raises(FileNotFoundError):
        pycnn.load(tmp_path / "missing")
    for content in (b"PK\x03\x04rest of a zip file", b"\x80\x02}q\x00."):
        (tmp_path / "pickle.pth").write_bytes(content)
        with pytest.raises(ValueError, match=r"pickle\.pth: not a readable file of PyTorch"):
            pycnn.load(tmp_path / "pickle.pth")


def test_truncated_files(tmp_path):
    path = tmp_path / "cut"
    pycnn.save({"x": pycnn.arange(100)}, path)
    content = path.read_bytes()
    for length in (0, 4, 8, 50, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match="cut"):
            pycnn.load(path)


@pytest.mark.parametrize(
    "structure",
    [
        "no JSON",
        "[]",
        '{"format": 2, "value": 1}',
        '{"format": 1}',
        '{"format": 1, "value": {"tensor": "y"}}',
        '{"format": 1, "value": {"tensor": ["x"]}}',
        '{"format": 1, "value": {"dict": [[1]]}}',
        '{"format": 1, "value": {"dict": [[[], 1]]}}',
        '{"format": 1, "value": {"python": "os.system"}}',
        '{"format": 1, "value": {"a": 1, "b": 2}}',
        '{"format": 1, "value": {"dtype": "Tensor"}}',
        '{"format": 1, "value": {"float": "1"}}',
        '{"format": 1, "value": {"tensor": "i", "requires_grad": true}}',
        '{"format": 1, "value": ' + "[" * 100000 + "]" * 100000 + "}",
    ],
)
def test_hostile_structure(tmp_path, structure):
    path = tmp_path / "hostile"
    tensors = {"x": pycnn.ones(1), "i": pycnn.zeros(1, dtype=pycnn.int64)}
    _core.save_safetensors(str(path), tensors, {"pycnn.structure": structure})
    with pytest.raises(ValueError, match="hostile"):
        pycnn.load(path)
