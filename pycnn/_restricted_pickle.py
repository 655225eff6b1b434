"""A reader of pickles that runs nothing: a stack machine over a whitelist of opcodes and of names.

A pickle is a program. This machine knows the opcodes that build numbers, strings and containers; a name in the file
("GLOBAL") must be a key of the table that the caller gives, and only a `Builder` out of that table is ever called.
Opcodes that could reach anything else (NEWOBJ, INST, OBJ, EXT, buffers, text protocols) are refused by name.
"""

from __future__ import annotations

import pickle
import struct
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

_NAMES = {code[0]: name for name, code in vars(pickle).items() if isinstance(code, bytes) and len(code) == 1}
_KEYS = (str, int, float, bytes, bool, type(None))


class RefusedName(ValueError):
    """A name in the file that the caller's table does not have."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name} is refused: only tensors, numbers, strings and containers are read unless weights_only=False, "
            "which runs what the file says"
        )
        self.name = name


class Builder:
    """A function that a pickle may call (REDUCE) with arguments from the file, which it checks itself."""

    def __init__(self, build: Callable[..., Any]) -> None:
        self.build = build


def _checked_key(key: Any) -> Any:
    """Keys and members of sets must hash in one step: a tuple in a tuple in a tuple ... would overflow C's stack."""
    if isinstance(key, _KEYS) or (type(key) is tuple and all(isinstance(member, _KEYS) for member in key)):
        return key
    raise ValueError(f"a key of type {type(key).__name__}")


def _set_of(kind: Callable[[Any], Any]) -> Builder:
    def build(members: Any = ()) -> Any:
        if not isinstance(members, (list, tuple)):
            raise ValueError("a set that is not made of a list")
        return kind([_checked_key(member) for member in members])

    return Builder(build)


def _ordered_dict(items: Any = ()) -> Any:
    result: OrderedDict[Any, Any] = OrderedDict()
    if not isinstance(items, (list, tuple)):
        raise ValueError("an OrderedDict that is not made of a list")
    for item in items:
        if not isinstance(item, (list, tuple)) or len(item) != 2:
            raise ValueError("an OrderedDict whose items are not pairs")
        result[_checked_key(item[0])] = item[1]
    return result


def _counter(counts: Any = None) -> Any:
    counts = {} if counts is None else counts
    if type(counts) is not dict or any(type(count) is not int for count in counts.values()):
        raise ValueError("a Counter that is not made of a dictionary of integers")
    return Counter(counts)


def _complex(real: Any, imaginary: Any = 0.0) -> complex:
    if type(real) is not float or type(imaginary) is not float:
        raise ValueError("a complex number that is not made of two floats")
    return complex(real, imaginary)


def _encode(text: Any, encoding: Any) -> bytes:
    """How protocol 2 writes bytes."""
    if type(text) is not str or type(encoding) is not str or encoding != "latin1":
        raise ValueError("bytes that are not a string in latin1")
    return text.encode("latin1")


def _bytes(content: Any = b"") -> bytes:
    if type(content) is not bytes:
        raise ValueError("bytes that are not made of bytes")
    return content


CONTAINERS: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): Builder(_ordered_dict),
    ("collections", "Counter"): Builder(_counter),
    ("_codecs", "encode"): Builder(_encode),
}
for _module in ("builtins", "__builtin__"):
    CONTAINERS[_module, "set"] = _set_of(set)
    CONTAINERS[_module, "frozenset"] = _set_of(frozenset)
    CONTAINERS[_module, "bytes"] = Builder(_bytes)
    CONTAINERS[_module, "bytearray"] = Builder(lambda content=b"": bytearray(_bytes(content)))
    CONTAINERS[_module, "complex"] = Builder(_complex)


class Machine:
    """Reads one pickle.

    Args:
        data: the bytes; what follows the pickle is left alone.
        names: what (module, name) in the file stands for; a `Builder`, or a value.
        persistent: gets a persistent identifier (for torch a tuple that describes a storage) and gives its value.
        start: where the pickle begins, in bytes.
    """

    def __init__(
        self,
        data: bytes,
        names: Mapping[tuple[str, str], Any],
        persistent: Callable[[Any], Any],
        start: int = 0,
    ) -> None:
        self.position = start
        self._data = data
        self._names = names
        self._persistent = persistent
        self._stack: list[Any] = []
        self._marked: list[list[Any]] = []
        self._memo: dict[int, Any] = {}

    def run(self) -> Any:
        """The value; `position` then is the first byte behind it. ValueError says what is wrong or refused."""
        while True:
            code = self._take(1)[0]
            if code == pickle.STOP[0]:
                return self._pop()
            handler = _HANDLERS.get(code)
            if handler is None:
                name = _NAMES.get(code)
                raise ValueError(f"the pickle opcode {name} is refused" if name else f"byte {code:#04x} is no opcode")
            handler(self)

    # -- bytes, stack, memo ------------------------------------------------------------------------------------------
    def _take(self, count: int) -> bytes:
        end = self.position + count
        if count < 0 or end > len(self._data):
            raise ValueError("the pickle ends within a value")
        piece = self._data[self.position : end]
        self.position = end
        return piece

    def _number(self, layout: str) -> Any:
        return struct.unpack(layout, self._take(struct.calcsize(layout)))[0]

    def _line(self) -> str:
        end = self._data.find(b"\n", self.position)
        if not 0 <= end - self.position <= 1000:
            raise ValueError("a name that does not end")
        return self._take(end + 1 - self.position)[:-1].decode("ascii")

    def _pop(self) -> Any:
        if not self._stack:
            raise ValueError("the pickle takes a value from an empty stack")
        return self._stack.pop()

    def _drop(self) -> None:
        self._pop()

    def _frame(self) -> None:
        self._take(8)  # its length, which says nothing that is needed

    def _top(self, *kinds: type) -> Any:
        if not self._stack or type(self._stack[-1]) not in kinds:
            found = type(self._stack[-1]).__name__ if self._stack else "nothing"
            raise ValueError(f"the pickle adds members to {found}")
        return self._stack[-1]

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _since_mark(self) -> list[Any]:
        if not self._marked:
            raise ValueError("the pickle refers to a mark that is not there")
        members, self._stack = self._stack, self._marked.pop()
        return members

    def _mark(self) -> None:
        self._marked.append(self._stack)
        self._stack = []

    def _get(self, index: int) -> None:
        if index not in self._memo:
            raise ValueError(f"the pickle refers to value {index}, which is not there")
        self._push(self._memo[index])

    def _put(self, index: int) -> None:
        if not self._stack:
            raise ValueError("the pickle remembers a value of an empty stack")
        self._memo[index] = self._stack[-1]

    # -- numbers, strings --------------------------------------------------------------------------------------------
    def _long(self, layout: str) -> None:
        self._push(int.from_bytes(self._take(self._number(layout)), "little", signed=True))

    def _text(self, layout: str) -> None:
        self._push(self._take(self._number(layout)).decode("utf-8", "surrogatepass"))

    # -- containers --------------------------------------------------------------------------------------------------
    def _tuple(self, count: int) -> None:
        members = [self._pop() for _ in range(count)]
        self._push(tuple(reversed(members)))

    def _set_items(self, items: list[Any]) -> None:
        target = self._top(dict, OrderedDict)
        if len(items) % 2:
            raise ValueError("a dictionary with a key without a value")
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[_checked_key(key)] = value

    def _set_item(self) -> None:
        value, key = self._pop(), self._pop()
        self._set_items([key, value])

    def _append(self) -> None:
        value = self._pop()
        self._top(list).append(value)

    def _append_all(self) -> None:
        members = self._since_mark()
        self._top(list).extend(members)

    def _add_all(self) -> None:
        members = self._since_mark()
        self._top(set).update(_checked_key(member) for member in members)

    # -- names and what is built of them -----------------------------------------------------------------------------
    def _global(self, module: Any, name: Any) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise ValueError("a name that is no string")
        if (module, name) not in self._names:
            raise RefusedName(f"{module}.{name}")
        self._push(self._names[module, name])

    def _stack_global(self) -> None:
        name, module = self._pop(), self._pop()
        self._global(module, name)

    def _reduce(self) -> None:
        arguments, builder = self._pop(), self._pop()
        if not isinstance(builder, Builder) or type(arguments) is not tuple:
            raise ValueError("the pickle calls what is no function")
        try:
            self._push(builder.build(*arguments))
        except TypeError:
            raise ValueError(f"a wrong number of arguments, {len(arguments)}, for what the pickle builds") from None

    def _build(self) -> None:
        """Only for what torch attaches to a state dict: the versions of its modules."""
        state = self._pop()
        target = self._top(OrderedDict)
        if type(state) is not dict or set(state) != {"_metadata"} or not isinstance(state["_metadata"], dict):
            raise ValueError("attributes of an OrderedDict other than a state dict's _metadata are refused")
        target._metadata = state["_metadata"]

    def _protocol(self) -> None:
        protocol = self._number("<B")
        if not 2 <= protocol <= 5:
            raise ValueError(f"pickle protocol {protocol} is refused, 2 to 5 are read")


_HANDLERS: dict[int, Callable[[Machine], None]] = {
    code[0]: handler
    for code, handler in {
        pickle.PROTO: Machine._protocol,
        pickle.FRAME: Machine._frame,
        pickle.MARK: Machine._mark,
        pickle.POP: Machine._drop,
        pickle.NONE: lambda m: m._push(None),
        pickle.NEWTRUE: lambda m: m._push(True),
        pickle.NEWFALSE: lambda m: m._push(False),
        pickle.BININT: lambda m: m._push(m._number("<i")),
        pickle.BININT1: lambda m: m._push(m._number("<B")),
        pickle.BININT2: lambda m: m._push(m._number("<H")),
        pickle.LONG1: lambda m: m._long("<B"),
        pickle.LONG4: lambda m: m._long("<i"),
        pickle.BINFLOAT: lambda m: m._push(m._number(">d")),
        pickle.BINUNICODE: lambda m: m._text("<I"),
        pickle.SHORT_BINUNICODE: lambda m: m._text("<B"),
        pickle.BINUNICODE8: lambda m: m._text("<Q"),
        pickle.SHORT_BINSTRING: lambda m: m._text("<B"),  # what Python 2 wrote for a str
        pickle.BINSTRING: lambda m: m._text("<i"),
        pickle.BINBYTES: lambda m: m._push(m._take(m._number("<I"))),
        pickle.SHORT_BINBYTES: lambda m: m._push(m._take(m._number("<B"))),
        pickle.BINBYTES8: lambda m: m._push(m._take(m._number("<Q"))),
        pickle.BYTEARRAY8: lambda m: m._push(bytearray(m._take(m._number("<Q")))),
        pickle.EMPTY_TUPLE: lambda m: m._push(()),
        pickle.TUPLE1: lambda m: m._tuple(1),
        pickle.TUPLE2: lambda m: m._tuple(2),
        pickle.TUPLE3: lambda m: m._tuple(3),
        pickle.TUPLE: lambda m: m._push(tuple(m._since_mark())),
        pickle.EMPTY_LIST: lambda m: m._push([]),
        pickle.APPEND: Machine._append,
        pickle.APPENDS: Machine._append_all,
        pickle.EMPTY_DICT: lambda m: m._push({}),
        pickle.SETITEM: Machine._set_item,
        pickle.SETITEMS: lambda m: m._set_items(m._since_mark()),
        pickle.EMPTY_SET: lambda m: m._push(set()),
        pickle.ADDITEMS: Machine._add_all,
        pickle.FROZENSET: lambda m: m._push(frozenset(_checked_key(member) for member in m._since_mark())),
        pickle.BINGET: lambda m: m._get(m._number("<B")),
        pickle.LONG_BINGET: lambda m: m._get(m._number("<I")),
        pickle.BINPUT: lambda m: m._put(m._number("<B")),
        pickle.LONG_BINPUT: lambda m: m._put(m._number("<I")),
        pickle.MEMOIZE: lambda m: m._put(len(m._memo)),
        pickle.GLOBAL: lambda m: m._global(m._line(), m._line()),
        pickle.STACK_GLOBAL: Machine._stack_global,
        pickle.REDUCE: Machine._reduce,
        pickle.BUILD: Machine._build,
        pickle.BINPERSID: lambda m: m._push(m._persistent(m._pop())),
    }.items()
}
