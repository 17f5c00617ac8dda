"""Tensors out of a torch checkpoint of the old format, without unpickling: its pickles are read as data.

    magic, protocol, machine     three pickles
    {name: tensor}               a pickle; tensors are views of storages, which are named
    names of the storages        a pickle: a list
    the storages in that order   each an int64 count and its numbers, little-endian

A pickle is a program. Here a small machine runs a closed list of its instructions, `pickletools` taking them apart,
over values that are nothing but numbers, strings, tuples, dicts and our own records; the globals that a checkpoint
names are looked up in a table of words and never imported. Any other instruction, global, call or size is refused.
"""

import io
import math
import pickletools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np
import torch

from app.ml.checkpoint import Tensors
from app.ml.errors import WeightsError
from app.ml.interfaces import Shape

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
MOST_INSTRUCTIONS = 200_000
MOST_DIMENSIONS = 8
_CALLS = {"collections OrderedDict": "dict", "torch._utils _rebuild_tensor_v2": "tensor"}
_STORAGES = {"torch FloatStorage": "<f4", "torch LongStorage": "<i8"}
_MARK = object()


class _RefusedError(ValueError):
    """What the machine does not do; the message says what it met."""


def _refuse(what: str) -> NoReturn:
    raise _RefusedError(what)


@dataclass(frozen=True, slots=True)
class _Global:
    """One of the known globals, as a word."""

    word: str


@dataclass(frozen=True, slots=True)
class _Storage:
    """`count` numbers under a name."""

    name: str
    dtype: str
    count: int


@dataclass(frozen=True, slots=True)
class _View:
    """A tensor: its place in a storage."""

    storage: _Storage
    offset: int
    shape: Shape
    strides: Shape


@dataclass
class _Machine:
    """The stack and the memo of one pickle."""

    stack: list[Any] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def run(self, file: io.BytesIO) -> Any:
        """Run one pickle to its end and return its value."""
        for count, (instruction, argument, _) in enumerate(pickletools.genops(file)):
            if count > MOST_INSTRUCTIONS:
                _refuse("more instructions than any model needs")
            if instruction.name == "STOP":
                break
            self._step(instruction.name, argument)
        value = self._pop()
        if self.stack:
            _refuse("values are left over at its end")
        return value

    def _step(self, name: str, argument: Any) -> None:
        if name in _PUSHES:
            self.stack.append(argument)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name]())
        elif name in _STEPS:
            _STEPS[name](self, argument)
        elif name != "PROTO":
            _refuse(f"the instruction {name}")

    def _pop(self) -> Any:
        if not self.stack or self.stack[-1] is _MARK:
            _refuse("a value that is not there")
        return self.stack.pop()

    def _since_mark(self) -> list[Any]:
        found: list[Any] = []
        while self.stack and self.stack[-1] is not _MARK:
            found.append(self.stack.pop())
        if not self.stack:
            _refuse("a mark that is not there")
        self.stack.pop()
        return found[::-1]

    def put(self, place: int) -> None:
        """Remember the top of the stack."""
        value = self._pop()
        self.memo[place] = value
        self.stack.append(value)

    def get(self, place: int) -> None:
        """Put what was remembered on the stack."""
        if place not in self.memo:
            _refuse("a memory that is not there")
        self.stack.append(self.memo[place])

    def tuple_of(self, count: int | None) -> None:
        """Make a tuple of so many values, or of those since the mark."""
        values = self._since_mark() if count is None else [self._pop() for _ in range(count)][::-1]
        self.stack.append(tuple(values))

    def set_items(self, pairs: list[Any]) -> None:
        """Give a dict some items; keys are strings."""
        target = self._pop()
        if not isinstance(target, dict) or len(pairs) % 2 or not all(isinstance(key, str) for key in pairs[::2]):
            _refuse("items that are none of a dict")
        target.update(zip(pairs[::2], pairs[1::2], strict=True))
        self.stack.append(target)

    def append(self, values: list[Any]) -> None:
        """Lengthen a list."""
        target = self._pop()
        if not isinstance(target, list):
            _refuse("values appended to what is no list")
        target.extend(values)
        self.stack.append(target)

    def look_up(self, name: str) -> None:
        """A global, as a word."""
        if name not in _CALLS and name not in _STORAGES:
            _refuse(f"the global {name[:80]!r}")
        self.stack.append(_Global(name))

    def call(self) -> None:
        """One of the two calls that are known."""
        arguments, called = self._pop(), self._pop()
        kind = _CALLS.get(called.word) if isinstance(called, _Global) else None
        if kind == "dict" and arguments == ():
            self.stack.append({})
        elif kind == "tensor" and isinstance(arguments, tuple):
            self.stack.append(_view(arguments))
        else:
            _refuse("a call of something else")

    def build(self) -> None:
        """The state that an object is given: of an ordered dict, its attributes. Nobody needs them."""
        self._pop()
        if not isinstance(self.stack[-1] if self.stack else None, dict):
            _refuse("a state for what is no dict")

    def persistent(self) -> None:
        """A storage by its name."""
        self.stack.append(_storage(self._pop()))


_PUSHES = frozenset({"BININT", "BININT1", "BININT2", "LONG1", "BINUNICODE"})
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "MARK": lambda: _MARK,
}
_STEPS: dict[str, Callable[[_Machine, Any], None]] = {
    "BINPUT": lambda machine, place: machine.put(place),
    "LONG_BINPUT": lambda machine, place: machine.put(place),
    "BINGET": lambda machine, place: machine.get(place),
    "LONG_BINGET": lambda machine, place: machine.get(place),
    "TUPLE": lambda machine, _: machine.tuple_of(None),
    "TUPLE1": lambda machine, _: machine.tuple_of(1),
    "TUPLE2": lambda machine, _: machine.tuple_of(2),
    "TUPLE3": lambda machine, _: machine.tuple_of(3),
    "SETITEM": lambda machine, _: machine.set_items([machine._pop(), machine._pop()][::-1]),  # noqa: SLF001 - its own
    "SETITEMS": lambda machine, _: machine.set_items(machine._since_mark()),  # noqa: SLF001 - the same
    "APPEND": lambda machine, _: machine.append([machine._pop()]),  # noqa: SLF001 - the same
    "APPENDS": lambda machine, _: machine.append(machine._since_mark()),  # noqa: SLF001 - the same
    "GLOBAL": lambda machine, name: machine.look_up(name),
    "REDUCE": lambda machine, _: machine.call(),
    "BUILD": lambda machine, _: machine.build(),
    "BINPERSID": lambda machine, _: machine.persistent(),
}


def read_legacy(content: bytes) -> Tensors:
    """The tensors of a checkpoint {name: tensor}. Raises `WeightsError`; nothing of the file is ever run."""
    file = io.BytesIO(content)
    try:
        if (_Machine().run(file), _Machine().run(file)) != (MAGIC, PROTOCOL):
            _refuse("another format than torch's old one")
        _Machine().run(file)
        views = _Machine().run(file)
        names = _Machine().run(file)
        if not isinstance(views, dict) or not all(isinstance(one, _View) for one in views.values()):
            _refuse("something else than tensors by name")
        wanted = {view.storage.name: view.storage for view in views.values()}
        if any(view.storage != wanted[view.storage.name] for view in views.values()):
            _refuse("two storages of one name")
        storages = dict(_stored(file, names, wanted))
        return {name: _tensor(view, storages[view.storage.name]) for name, view in views.items()}
    except (
        ValueError,
        KeyError,
        TypeError,
        OverflowError,
        EOFError,
    ) as error:  # pickletools' too, for what is no pickle
        what = str(error) if isinstance(error, _RefusedError) else "bytes that are no pickle, or are cut short"
        msg = f"the checkpoint holds {what}; it is not the published file, or damaged"
        raise WeightsError([(("file",), msg)], code="damaged_weights") from None


def _view(arguments: tuple[Any, ...]) -> _View:
    """(storage, offset, shape, strides, ...) of a tensor that lies in one piece, its axes in any order."""
    storage, offset, shape, strides = (*arguments, None, None, None, None)[:4]
    numbers = all(
        isinstance(one, tuple) and len(one) <= MOST_DIMENSIONS and all(map(_whole, one)) for one in (shape, strides)
    )
    if not (isinstance(storage, _Storage) and numbers and _whole(offset) and _dense(shape, strides)):
        _refuse("a tensor that does not lie in one piece")
    if offset + math.prod(shape) > storage.count:
        _refuse("a tensor that is longer than its storage")
    return _View(storage, offset, shape, strides)


def _dense(shape: Shape, strides: Shape) -> bool:
    """Whether every place is there once: from the finest axis on, each strides over all that is finer."""
    if len(shape) != len(strides):
        return False
    reach = 1
    for stride, size in sorted((stride, size) for stride, size in zip(strides, shape, strict=True) if size != 1):
        if stride != reach:
            return False
        reach *= size
    return True


def _whole(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**40


def _storage(named: Any) -> _Storage:
    """("storage", kind, name, "cpu", count, None)."""
    if not (isinstance(named, tuple) and len(named) == 6 and (named[0], named[3]) == ("storage", "cpu")):  # noqa: PLR2004
        _refuse("a storage of an unknown form")
    _, kind, name, _, count, _ = named
    dtype = _STORAGES.get(kind.word) if isinstance(kind, _Global) else None
    if dtype is None or not isinstance(name, str) or not _whole(count):
        _refuse("a storage of an unknown kind")
    return _Storage(name, dtype, count)


def _stored(
    file: io.BytesIO, names: Any, wanted: dict[str, _Storage]
) -> Iterator[tuple[str, np.ndarray[Any, np.dtype[Any]]]]:
    """The numbers of every storage, which fill the rest of the file exactly."""
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        _refuse("a list of storages that is none")
    if len(set(names)) < len(names) or set(names) != wanted.keys():
        _refuse("other storages than its tensors need")
    for name in names:
        storage = wanted[name]
        dtype = np.dtype(storage.dtype)
        head, body = file.read(8), file.read(storage.count * dtype.itemsize)
        if int.from_bytes(head, "little") != storage.count or len(body) != storage.count * dtype.itemsize:
            _refuse("a storage that is cut short")
        yield name, np.frombuffer(bytearray(body), dtype)
    if file.read(1):
        _refuse("something behind its storages")


def _tensor(view: _View, numbers: np.ndarray[Any, np.dtype[Any]]) -> torch.Tensor:
    return torch.from_numpy(numbers).as_strided(view.shape, view.strides, view.offset).contiguous()
