"""Files of PyTorch: read and written without it, both ways; hostile ones are refused, by name, before anything runs."""

from __future__ import annotations

import io
import itertools
import pathlib
import pickle
import struct
import sys
import types
import zipfile
from collections import Counter, OrderedDict

import numpy as np
import pytest

import pycnn
from pycnn import _core, nn

DTYPES = ["float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"]


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


def same(mine, theirs) -> None:
    assert isinstance(mine, pycnn.Tensor)
    assert str(mine.dtype).rpartition(".")[2] == str(theirs.dtype).rpartition(".")[2]
    assert tuple(mine.shape) == tuple(theirs.shape) and mine.tolist() == theirs.tolist()
    assert mine.requires_grad == theirs.requires_grad


# -- a small pickle assembler, so that hostile files need no PyTorch ---------------------------------------------------
def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def number(value: int) -> bytes:
    return b"\x8a\x09" + value.to_bytes(9, "little", signed=True)


def sizes(values) -> bytes:
    return b"(" + b"".join(map(number, values)) + b"t"


def storage(key="0", count=6, kind="torch\nFloatStorage", location="cpu", tail=b"") -> bytes:
    return b"(" + text("storage") + f"c{kind}\n".encode() + text(key) + text(location) + number(count) + tail + b"tQ"


def tensor(base=None, offset=0, shape=(2, 3), stride=(3, 1), grad=b"\x89", hooks=b")") -> bytes:
    head = b"ctorch._utils\n_rebuild_tensor_v2\n("
    return (
        head
        + (storage() if base is None else base)
        + number(offset)
        + sizes(shape)
        + sizes(stride)
        + grad
        + hooks
        + b"tR"
    )


def program(body: bytes) -> bytes:
    return b"\x80\x02" + body + b"."


def archive(path, body: bytes, entries=None, byteorder=b"little", **options) -> None:
    with zipfile.ZipFile(path, "w", **options) as file:
        file.writestr("model/data.pkl", program(body))
        file.writestr("model/byteorder", byteorder)
        entries = {"data/0": np.arange(6, dtype="<f4").tobytes()} if entries is None else entries
        for name, content in entries.items():
            file.writestr(f"model/{name}", content)


def legacy(path, body: bytes, keys=("0",), data=None, magic=0x1950A86A20F9469CFC6C, version=1001, little=True) -> None:
    data = struct.pack("<q", 6) + np.arange(6, dtype="<f4").tobytes() if data is None else data
    parts = [pickle.dumps(x, 2) for x in (magic, version, {"little_endian": little})]
    path.write_bytes(b"".join([*parts, program(body), pickle.dumps(list(keys), 2), data]))


@pytest.mark.parametrize("write", [archive, legacy])
def test_one_tensor(tmp_path, write):
    write(tmp_path / "x.pt", tensor())
    x = pycnn.load(tmp_path / "x.pt")
    assert x.tolist() == [[0, 1, 2], [3, 4, 5]] and x.dtype == pycnn.float32 and not x.requires_grad
    x += 1  # it is nobody else's memory
    assert pycnn.load(tmp_path / "x.pt")[0, 0].item() == 0


def test_strides_offsets_and_big_endian(tmp_path):
    for shape, stride, offset, expected in [
        ((3, 2), (1, 3), 0, [[0, 3], [1, 4], [2, 5]]),
        ((2,), (2,), 1, [1, 3]),
        ((), (), 4, 4),
        ((2, 2), (0, 1), 3, [[3, 4], [3, 4]]),
        ((4, 3), (1, 1), 0, [[0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 5]]),
        ((0, 5), (2**40, 2**40), 6, []),
        ((1, 2), (2**60, 1), 4, [[4, 5]]),
    ]:
        archive(tmp_path / "x.pt", tensor(offset=offset, shape=shape, stride=stride))
        x = pycnn.load(tmp_path / "x.pt")
        assert x.tolist() == expected and tuple(x.shape) == shape
    archive(tmp_path / "x.pt", tensor(), {"data/0": np.arange(6, dtype=">f4").tobytes()}, byteorder=b"big")
    assert pycnn.load(tmp_path / "x.pt").sum().item() == 15


# -- both ways with PyTorch --------------------------------------------------------------------------------------------
def value_of(library):
    ten = library.arange(10)
    value = {name: ten.to(getattr(library, name)) for name in DTYPES}
    value |= {
        "permuted": library.arange(24.0).reshape(2, 3, 4).permute(2, 0, 1),
        "strided": library.arange(10.0)[1::3],
        "expanded": library.ones(3, 1).expand(3, 4),
        "scalar": library.tensor(2.5),
        "empty": library.zeros(0, 3),
        "gradient": library.ones(2, requires_grad=True),
        "parameter": library.nn.Parameter(library.zeros(3)),
        "frozen": library.nn.Parameter(library.zeros(2), requires_grad=False),
    }
    return value


PLAIN = {
    "numbers": [0, -1, 255, 256, 65536, -(2**31), 2**31, 2**70, -(2**300), 0.1, float("inf"), True, False, None],
    "text": "grün\ud800 \U0001f600",
    "nested": {1: (1, (2, [3, {}])), None: (), "ordered": OrderedDict(b=1, a=2), "counted": Counter({3: 2, 5: 1})},
}


@pytest.mark.parametrize("options", [{}, {"_use_new_zipfile_serialization": False}, {"pickle_protocol": 4}], ids=str)
def test_what_torch_saves(tmp_path, torch, options):
    value = {"tensors": value_of(torch), "plain": PLAIN, "size": torch.Size([2, 3]), "dtype": torch.float16}
    value |= {"set": {1, 2}, "bytes": b"a\xff", "complex": 1 + 2j, "device": torch.device("cpu")}
    torch.save(value, tmp_path / "theirs.pth", **options)
    again = pycnn.load(tmp_path / "theirs.pth")
    assert list(again) == list(value) and again["plain"] == PLAIN
    assert isinstance(again["plain"]["nested"]["ordered"], OrderedDict)
    assert isinstance(again["plain"]["nested"]["counted"], Counter)
    assert again["size"] == (2, 3) and isinstance(again["size"], pycnn.Size) and again["dtype"] == pycnn.float16
    assert again["set"] == {1, 2} and again["bytes"] == b"a\xff" and again["complex"] == 1 + 2j
    for name, theirs in value["tensors"].items():
        same(again["tensors"][name], theirs)
    assert isinstance(again["tensors"]["frozen"], nn.Parameter)
    with open(tmp_path / "theirs.pth", "rb") as file:
        assert pycnn.load(file)["plain"] == PLAIN


def test_what_torch_reads(tmp_path, torch):
    value = {"tensors": value_of(pycnn), "plain": PLAIN, "size": pycnn.Size([2, 3]), "dtype": pycnn.float16}
    pycnn.save(value, tmp_path / "mine.pt")
    for again in (torch.load(tmp_path / "mine.pt", weights_only=True), torch.load(tmp_path / "mine.pt", mmap=True)):
        assert again["plain"] == PLAIN and again["size"] == torch.Size([2, 3]) and again["dtype"] == torch.float16
        for name, mine in value["tensors"].items():
            same(mine, again["tensors"][name])
        assert isinstance(again["tensors"]["parameter"], torch.nn.Parameter)
    again = pycnn.load(tmp_path / "mine.pt")
    assert again["plain"] == PLAIN
    for name, mine in value["tensors"].items():
        same(again["tensors"][name], mine)


@pytest.mark.parametrize("name", ["state.pt", "state.pth"])
def test_state_dicts_cross_both_ways(tmp_path, torch, name):
    theirs, mine = (n.Sequential(n.Conv2d(1, 2, 3), n.BatchNorm2d(2)) for n in (torch.nn, nn))
    x = np.random.default_rng(0).standard_normal((4, 1, 5, 5)).astype(np.float32)
    theirs(torch.tensor(x))  # moves the running statistics
    torch.save(theirs.state_dict(), tmp_path / name)
    state = pycnn.load(tmp_path / name)
    assert state._metadata["1"] == {"version": 2} and list(state) == list(mine.state_dict())
    mine.load_state_dict(state)
    mine.eval(), theirs.eval()
    np.testing.assert_allclose(
        mine(pycnn.tensor(x)).detach().numpy(), theirs(torch.tensor(x)).detach().numpy(), 1e-5, 1e-6
    )
    mine[0].weight.data.mul_(2)
    pycnn.save(mine.state_dict(), tmp_path / name)
    loaded = torch.load(tmp_path / name, weights_only=True)
    assert loaded._metadata["0"] == {"version": 1}
    theirs.load_state_dict(loaded)
    for key, tensor in mine.state_dict().items():
        same(tensor, theirs.state_dict()[key])


def test_one_tensor_in_two_places_stays_one(tmp_path):
    x = nn.Parameter(pycnn.ones(2))
    pycnn.save([x, {"again": x}, x.detach()], tmp_path / "x.pt")
    again = pycnn.load(tmp_path / "x.pt")
    assert again[0] is again[1]["again"] and again[2] is not again[0] and again[2].tolist() == [1, 1]


def test_without_checksums_and_shared_storages(tmp_path, torch):
    torch.serialization.set_crc32_options(False)
    try:
        x = torch.arange(6.0)
        torch.save([x, x[2:], x.reshape(2, 3).t()], tmp_path / "x.pt")
    finally:
        torch.serialization.set_crc32_options(True)
    a, b, c = pycnn.load(tmp_path / "x.pt")
    assert a.tolist() == [0, 1, 2, 3, 4, 5] and b.tolist() == [2, 3, 4, 5] and c.tolist() == [[0, 3], [1, 4], [2, 5]]


def test_python_2_and_storage_views_of_legacy_files(tmp_path):
    view = b"(" + text("1") + number(2) + number(3) + b"t"
    base = storage(tail=view)
    body = b"}(U\x01a" + tensor(base, 1, (2,), (1,)) + b"U\x01b" + tensor(storage(tail=b"N"), 5, (), ()) + b"u"
    legacy(tmp_path / "old.pth", body)
    value = pycnn.load(tmp_path / "old.pth")
    assert value["a"].tolist() == [3, 4] and value["b"].item() == 5


# -- refusals ----------------------------------------------------------------------------------------------------------
HOSTILE = {
    "a call": (b"cos\nsystem\n(" + text("true") + b"tR", "os.system is refused"),
    "eval": (b"c__builtin__\neval\n(" + text("1") + b"tR", "__builtin__.eval is refused"),
    "getattr": (b"cbuiltins\ngetattr\n)R", "builtins.getattr is refused"),
    "an attribute's path": (b"ctorch\n_utils._rebuild_tensor_v2\n", "is refused"),
    "stack global": (b"\x8c\x02os\x8c\x06system\x93", "os.system is refused"),
    "a module": (b"ctorchvision.models.resnet\nResNet\n)\x81", "torchvision.models.resnet.ResNet is refused"),
    "NEWOBJ": (b"ccollections\nOrderedDict\n)\x81", "NEWOBJ is refused"),
    "INST": (b"(ios\nsystem\n", "INST is refused"),
    "OBJ": (b"(N)o", "OBJ is refused"),
    "EXT1": (b"\x82\x01", "EXT1 is refused"),
    "PERSID": (b"Pxyz\n", "PERSID is refused"),
    "a protocol 0 integer": (b"I1\n", "INT is refused"),
    "no opcode": (b"\xff", "0xff is no opcode"),
    "another protocol": (b"\x80\x07N", "protocol 7"),
    "BUILD of attributes": (b"ccollections\nOrderedDict\n)R}" + text("x") + b"Nsb", "_metadata are refused"),
    "BUILD of a list": (b"]}b", "adds members to list"),
    "a reduced string": (text("x") + b")R", "no function"),
    "a reduced dtype": (b"ctorch\nfloat32\n)R", "no function"),
    "too many arguments": (b"ctorch\nSize\n(NNtR", "wrong number of arguments"),
    "a size of strings": (b"ctorch\nSize\n((" + text("x") + b"ttR", "no natural number"),
    "sparse": (b"ctorch._utils\n_rebuild_sparse_tensor\n", "_rebuild_sparse_tensor is refused"),
    "complex elements": (tensor(storage(kind="torch\nComplexFloatStorage")), "ComplexFloatStorage is refused"),
    "an array of NumPy": (b"cnumpy.core.multiarray\n_reconstruct\n", "numpy.core.multiarray._reconstruct is refused"),
    "hooks": (tensor(hooks=b"](" + text("x") + b"e"), "hooks"),
    "meta": (tensor(storage(location="meta")), "meta"),
    "tensors where something else belongs": (
        b"](" + tensor() + b"0" + tensor(hooks=tensor()) + b"e", "hooks"
    ),
    "a tensor as identifier": (b"(" + tensor() + b"NNNNtQ", "identifier tuple is refused"),
    "a tensor as encoding": (b"c_codecs\nencode\n(" + text("x") + tensor() + b"tR", "latin1"),
    "an unknown identifier": (b"(" + text("module") + b"NNNNtQ", "'module' is refused"),
    "a storage as a tuple's member": (b"(" + text("storage") + b"NNNNtQ", "not described as torch does"),
    "another size": (tensor(storage(count=7)), "not the size of 7 elements"),
    "another dtype": (tensor(storage(kind="torch\nDoubleStorage")), "not the size"),
    "two dtypes": (b"](" + tensor() + tensor(storage(kind="torch\nIntStorage")) + b"e", "described twice"),
    "a storage that is missing": (tensor(storage("7")), "7"),
    "an offset outside": (tensor(offset=7, shape=(0,), stride=(1,)), "outside of its storage"),
    "outside": (tensor(offset=1), "outside of its storage"),
    "a stride outside": (tensor(stride=(4, 1)), "outside of its storage"),
    "a negative stride": (tensor(offset=5, stride=(-1, -1)), "no natural number"),
    "a negative offset": (tensor(offset=-1), "no natural number"),
    "a huge offset": (tensor(offset=2**64), "no natural number"),
    "fewer strides": (tensor(stride=(1,)), "as many strides"),
    "nine dimensions": (tensor(shape=(1,) * 9, stride=(1,) * 9), "at most 8"),
    "much memory": (tensor(shape=(2**30, 2**30), stride=(0, 0)), "far more memory"),
    "much memory by overlap": (tensor(shape=(2,) * 6 + (2**20, 6), stride=(0,) * 7 + (1,)), "far more memory"),
    "much memory by repetition": (b"](" + tensor(shape=(2**22, 2), stride=(0, 1)) * 3 + b"e", "far more memory"),
    "sizes that overflow": (tensor(shape=(2**61, 2**61), stride=(0, 0)), "far more memory"),
    "an overflow without elements": (tensor(shape=(2**61, 0), stride=(0, 0)), "far more memory"),
    "a gradient of integers": (
        tensor(storage(count=3, kind="torch\nLongStorage"), 0, (3,), (1,), b"\x88"), "gradient for a tensor of int64"
    ),
    "an empty stack": (b"", "empty stack"),
    "no mark": (b"Ne", "mark that is not there"),
    "no memo": (b"h\x05", "value 5, which is not there"),
    "members of a tuple": (b")(Ne", "adds members to tuple"),
    "half a pair": (b"}(Nu", "key without a value"),
    "an unhashable key": (b"}]Ns", "key of type list"),
    "a key that hashes deeply": (b"}" + b")" + b"\x85" * 100000 + b"Ns", "key of type tuple"),
    "a set that hashes deeply": (b"\x8f()" + b"\x85" * 100000 + b"\x90", "key of type tuple"),
    "a string that is too long": (b"X\xff\xff\xff\x7fabc", "ends within a value"),
    "a negative length": (b"\x8b\xff\xff\xff\xff", "ends within a value"),
    "no UTF-8": (b"X\x01\0\0\0\xff", "utf-8"),
    "a name that does not end": (b"c" + b"x" * 5000, "does not end"),
    "bytes in another encoding": (b"c_codecs\nencode\n(" + text("x") + text("rot13") + b"tR", "latin1"),
    "a bytearray of a size": (b"c__builtin__\nbytearray\n(J\xff\xff\xff\x7ftR", "not made of bytes"),
    "a counter of strings": (b"ccollections\nCounter\n(" + text("abc") + b"tR", "dictionary of integers"),
}  # fmt: skip


@pytest.mark.parametrize("write", [archive, legacy])
@pytest.mark.parametrize("name", HOSTILE)
def test_refusals(tmp_path, name, write):
    body, message = HOSTILE[name]
    write(tmp_path / "hostile.pt", body)
    with pytest.raises(ValueError, match=r"hostile\.pt: not a readable file of PyTorch") as error:
        pycnn.load(tmp_path / "hostile.pt")
    if write is archive or name not in ("a storage that is missing", "another size", "another dtype"):
        assert message in str(error.value)


def test_everything_opened_is_refused_before_it_runs(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "made"), "w"))

    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        (tmp_path / "evil.pt").write_bytes(pickle.dumps({"x": Evil()}, protocol))
        with pytest.raises(ValueError, match=r"evil\.pt"):
            pycnn.load(tmp_path / "evil.pt")
        with zipfile.ZipFile(tmp_path / "evil.pt", "w") as file:
            file.writestr("evil/data.pkl", pickle.dumps({"x": Evil()}, protocol))
        with pytest.raises(ValueError, match=r"evil\.pt"):
            pycnn.load(tmp_path / "evil.pt")
    assert not (tmp_path / "made").exists()


def test_archives_that_are_none(tmp_path):
    path = tmp_path / "x.pt"

    def refused(match: str) -> None:
        with pytest.raises(ValueError, match=rf"x\.pt.*{match}"):
            pycnn.load(path)

    archive(path, tensor(), compression=zipfile.ZIP_DEFLATED)
    refused("compressed")
    archive(path, tensor(), {"data/0": b"\0" * 24, "constants.pkl": b""})
    refused("TorchScript")
    archive(path, tensor(), {})
    refused("no 'data/0'")
    archive(path, tensor(), byteorder=b"middle")
    refused("byte order")
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("readme.txt", "hello")
    refused("0 files data.pkl")
    for content in (b"PK\x03\x04rest of a zip file", b"\x80\x02}q\x00.", b"\x80\x02", b"PK\x03\x04", b"\x80\x02."):
        path.write_bytes(content)
        refused("not a readable file of PyTorch")
    legacy(path, tensor(), magic=1)
    refused("torch.save did not write")
    legacy(path, tensor(), version=1000)
    refused("version 1000")
    legacy(path, tensor(), little=False)
    refused("big-endian")
    for keys, data in [
        ((), b""),
        (("0", "0"), None),
        (("1",), None),
        ((0,), None),
        (("0",), struct.pack("<q", 5) + b"\0" * 24),
    ]:
        legacy(path, tensor(), keys=keys, data=data)
        refused("storage")


@pytest.mark.parametrize("write", [archive, legacy])
def test_truncated_and_damaged_files(tmp_path, write):
    path = tmp_path / "cut.pt"
    write(path, tensor())
    content = path.read_bytes()
    for length in range(9, len(content) - 1, 3):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"cut\.pt"):
            pycnn.load(path)
    rng = np.random.default_rng(0)
    for position, value in itertools.product(range(0, len(content), 2), rng.integers(0, 256, 1)):
        damaged = bytearray(content)
        damaged[position] = value
        path.write_bytes(damaged)
        try:
            pycnn.load(path)
        except ValueError as error:
            assert "cut.pt" in str(error)


def test_safetensors_that_begin_like_a_pickle(tmp_path):
    """The length of a header may be 0x280 bytes, which is how a pickle of protocol 2 begins."""
    path = tmp_path / "x"
    for length in (0x0280, 0x0380, 0x10280):
        start = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'
        path.write_bytes(struct.pack("<Q", length) + start + b" " * (length - len(start) - 1) + b"}" + b"\0\0\x80\x3f")
        assert pycnn.load(path)["a"].tolist() == [1]


def test_what_cannot_be_saved(tmp_path):
    path = tmp_path / "x.pt"
    pycnn.save({"x": 1}, path)
    before = path.read_bytes()
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pycnn.save({"a": [1, {"b": lambda: 0}]}, path)
    with pytest.raises(ValueError, match="metadata"):
        pycnn.save({}, path, metadata={"a": "b"})
    with pytest.raises(OSError):
        pycnn.save({}, tmp_path / "no such folder" / "x.pt")
    assert path.read_bytes() == before and [entry.name for entry in tmp_path.iterdir()] == ["x.pt"]


def test_trusted_files_of_pytorch(tmp_path):
    """Python objects among the tensors, which only weights_only=False reads."""
    torch = pytest.importorskip("torch")
    x = torch.arange(6.0).reshape(2, 3)
    torch.save({"x": x, "p": torch.nn.Parameter(x), "place": pathlib.PurePosixPath("a/b")}, tmp_path / "x.pt")
    with pytest.raises(pickle.UnpicklingError, match="pathlib"):
        pycnn.load(tmp_path / "x.pt")
    again = pycnn.load(tmp_path / "x.pt", weights_only=False)
    assert again["x"].tolist() == x.tolist() and isinstance(again["p"], nn.Parameter)
    assert again["place"] == pathlib.PurePosixPath("a/b")


class Raising:
    """Whose state cannot be set again."""

    def __init__(self, error):
        self.error = error

    def __setstate__(self, state):
        raise state["error"]


@pytest.mark.parametrize("error", [ValueError("mine"), KeyError("mine"), AttributeError("mine"), EOFError("mine")])
def test_an_error_of_an_object_is_the_cause(tmp_path, error):
    pycnn.save(Raising(error), tmp_path / "x.pt")
    with pytest.raises(ValueError, match="x.pt.*mine") as raised:
        pycnn.load(tmp_path / "x.pt", weights_only=False)
    assert type(raised.value.__cause__) is type(error) and raised.value.__cause__.args == error.args


@pytest.mark.parametrize("body", [b"", b"\x80\x02", b"\x80\x02h\x05.", b"0.", b"\x80\x02cos\nno such\n.",
                                  b"\x80\x02cos\nsys", b"\x80\x02X\xff\0\0\0a", b"t."])  # fmt: skip
def test_damaged_pickles_of_trusted_files(tmp_path, body):
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as file:
        file.writestr("x/data.pkl", body)
    with pytest.raises(ValueError, match=r"x\.pt"):
        pycnn.load(tmp_path / "x.pt", weights_only=False)


def test_modules_whose_name_begins_like_torch(tmp_path, monkeypatch):
    module = types.ModuleType("torchlike")
    module.Thing = type("Thing", (), {"__module__": "torchlike"})
    monkeypatch.setitem(sys.modules, "torchlike", module)
    pycnn.save({"x": module.Thing()}, tmp_path / "x.pt")
    assert type(pycnn.load(tmp_path / "x.pt", weights_only=False)["x"]) is module.Thing


@pytest.mark.parametrize("weights_only", [True, False])
def test_legacy_files_are_never_run(tmp_path, weights_only):
    legacy(tmp_path / "old.pth", b"cos\nsystem\n(" + text("true") + b"tR")
    with pytest.raises(pickle.UnpicklingError, match="os.system is refused.*legacy format, whatever weights_only"):
        pycnn.load(tmp_path / "old.pth", weights_only=weights_only)


def test_entries_are_aligned_and_checked(tmp_path):
    pycnn.save({"a": pycnn.ones(3), "b": pycnn.zeros(5, dtype=pycnn.int8)}, tmp_path / "x.pt")
    content = (tmp_path / "x.pt").read_bytes()
    with zipfile.ZipFile(tmp_path / "x.pt") as file:
        assert file.testzip() is None
        for entry in file.infolist():
            name, extra = struct.unpack("<HH", content[entry.header_offset + 26 : entry.header_offset + 30])
            assert (entry.header_offset + 30 + name + extra) % 64 == 0
    damaged = content.replace(struct.pack("<3f", 1, 1, 1), struct.pack("<3f", 1, 1, 2))
    (tmp_path / "x.pt").write_bytes(damaged)
    with pytest.raises(ValueError, match="checksum"):
        pycnn.load(tmp_path / "x.pt")


def test_open_files_hold_safetensors(tmp_path):
    buffer = io.BytesIO()
    pycnn.save({"x": pycnn.ones(2)}, buffer)
    (tmp_path / "x").write_bytes(buffer.getvalue())
    assert list(_core.load_safetensors(str(tmp_path / "x"))[0]) == ["x"]


def test_arguments_of_torch(tmp_path):
    pycnn.save([1], tmp_path / "x.pt", pickle_protocol=2)
    assert pycnn.load(tmp_path / "x.pt", "cpu", weights_only=False, mmap=True) == [1]
