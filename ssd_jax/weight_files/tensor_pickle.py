"""The pickles that torch.save writes, interpreted: tensors, their storages and plain values.

Nothing that a pickle names is alive: a function or a class is a `_Global`, which is a name, and a
dict is a list of pairs, so that no key is hashed. So a file can neither run code nor change
anything that this process uses.

What PyTorch wrote before 0.4 is read, too: other names of the same things, and parameters in place
of their tensors.
"""

import io
import pickletools
import reprlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from ssd_jax.weight_files.budget import Budget

_DTYPES = {
    "DoubleStorage": np.dtype(np.float64),
    "FloatStorage": np.dtype(np.float32),
    "HalfStorage": np.dtype(np.float16),
    "BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "LongStorage": np.dtype(np.int64),
    "IntStorage": np.dtype(np.int32),
    "ShortStorage": np.dtype(np.int16),
    "CharStorage": np.dtype(np.int8),
    "ByteStorage": np.dtype(np.uint8),
    "BoolStorage": np.dtype(np.bool_),
}
# Old files name the class of each tensor.
_TENSOR_CLASSES = {
    f"{module}.{name.replace('Storage', 'Tensor')}"
    for module in ("torch", "torch.cuda")
    for name in _DTYPES
}
_PARAMETERS = ("torch.nn.parameter.Parameter", "torch.autograd.variable.Variable")
_MOST_DIMENSIONS = 32
_MOST_BITS = 4096  # of a whole number: the magic one of old files has 77

# What puts its argument on the stack.
_VALUES = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
}
# Of Python 2, where text was bytes.
_OLD_STRINGS = {"STRING", "BINSTRING", "SHORT_BINSTRING"}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_IGNORED = {"PROTO", "FRAME"}


class Storage(NamedTuple):
    """A row of numbers, or a part of one that PyTorch 0.3 shared."""

    dtype: np.dtype
    key: str
    count: int  # of the whole row
    first: int  # of the part
    length: int  # of the part


class Tensor(NamedTuple):
    """An array's place in a storage; unchecked."""

    storage: Any
    offset: Any
    shape: Any
    strides: Any


class Parameter:
    """A tensor that was saved as a parameter, before 0.4; its own class, whose BUILD is ours."""

    __slots__ = ("data",)

    def __init__(self, data: Any = None, *_: Any) -> None:
        self.data = data

    def build(self, state: Any) -> None:
        """Takes what the oldest files keep beside the class; the rest is about gradients."""
        _expect(type(state) is tuple and len(state) in (3, 5), "has an unknown parameter")
        if len(state) == 5:
            self.data = state[0]


class Pairs(list):
    """A dict as the pickle gives it: a list of its keys and values."""

    __slots__ = ()

    def by_name(self) -> dict[str, Any]:
        """Returns what is kept under a string.

        Raises:
          ValueError: where one has two values.
        """
        found: dict[str, Any] = {}
        for key, value in self:
            if type(key) is not str:
                continue
            if key in found:
                raise ValueError(f"it has {reprlib.repr(key)} twice")
            found[key] = value
        return found


class _Global:
    """What a pickle would import: its name alone."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


class Reader:
    """Reads the pickles of one file, one after the other.

    Attributes:
      storages: that they refer to, by their keys.
    """

    def __init__(
        self,
        file: io.BytesIO,
        budget: Budget,
        refer: Callable[[Any], Any] | None = None,
    ) -> None:
        """Begins where the file stands.

        Args:
          file: with the pickles.
          budget: of the file.
          refer: what a pickle's references stand for; by default storages.
        """
        self._file, self._budget = file, budget
        self._refer = refer or self._storage
        self.storages: dict[str, Storage] = {}

    def read(self) -> Any:
        """Returns what the next pickle holds.

        Raises:
          ValueError: where it is none, is cut short, or needs anything but tensors.
        """
        try:
            return self._read()
        except (IndexError, AttributeError) as error:
            raise ValueError(f"it is no pickle of tensors: {error}") from None

    def _read(self) -> Any:
        stack: list[Any] = []
        marks: list[int] = []
        memo: dict[int, Any] = {}
        operations = pickletools.genops(self._file)

        def next_operation() -> tuple[str, Any]:
            begin = self._file.tell()
            try:
                operation, argument, _ = next(operations)
            except ValueError as error:
                if not self._file.read(1):
                    raise ValueError("it is cut short: it ends within a pickle") from None
                raise ValueError(f"it is no pickle, from its byte {begin} on: {error}") from None
            return operation.name, argument

        def marked() -> list[Any]:
            begin = marks.pop()
            values = stack[begin:]
            del stack[begin:]
            return values

        while True:
            self._budget.step()
            name, argument = next_operation()
            if name in _IGNORED:
                continue
            if name == "STOP":
                return stack.pop()
            if name in _VALUES:
                if isinstance(argument, int) and argument.bit_length() > _MOST_BITS:
                    raise ValueError(f"it has a whole number of {argument.bit_length():,} bits")
                stack.append(argument)
            elif name in _OLD_STRINGS:
                stack.append(argument.encode("latin-1").decode(errors="replace"))
            elif name in _CONSTANTS:
                stack.append(_CONSTANTS[name])
            elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
                memo[argument] = stack[-1]
            elif name == "MEMOIZE":
                memo[len(memo)] = stack[-1]
            elif name in ("GET", "BINGET", "LONG_BINGET"):
                if argument not in memo:
                    raise ValueError(
                        f"it is no pickle of tensors: nothing has the number {argument}"
                    )
                stack.append(memo[argument])
            elif name == "MARK":
                marks.append(len(stack))
            elif name in _TUPLES:
                size = _TUPLES[name]
                if len(stack) < size:
                    raise IndexError("a tuple lacks values")
                values = tuple(stack[-size:])
                del stack[-size:]
                stack.append(values)
            elif name == "TUPLE":
                stack.append(tuple(marked()))
            elif name in ("EMPTY_LIST", "LIST"):
                stack.append(marked() if name == "LIST" else [])
            elif name in ("EMPTY_DICT", "DICT"):
                stack.append(Pairs(_pairs(marked() if name == "DICT" else [])))
            elif name in ("APPEND", "APPENDS"):
                values = marked() if name == "APPENDS" else [stack.pop()]
                _expect(type(stack[-1]) is list, "appends to what is no list")
                stack[-1].extend(values)
            elif name in ("SETITEM", "SETITEMS"):
                values = marked() if name == "SETITEMS" else [stack.pop(), stack.pop()][::-1]
                _expect(type(stack[-1]) is Pairs, "sets a key of what is no dict")
                stack[-1].extend(_pairs(values))
            elif name == "POP":
                stack.pop()
            elif name == "POP_MARK":
                marked()
            elif name == "DUP":
                stack.append(stack[-1])
            elif name == "GLOBAL":
                stack.append(_global(*argument.split(" ", 1)))
            elif name == "STACK_GLOBAL":
                of, module = stack.pop(), stack.pop()
                stack.append(_global(module, of))
            elif name in ("REDUCE", "NEWOBJ"):
                arguments, called = stack.pop(), stack.pop()
                stack.append(_call(called, arguments))
            elif name == "BUILD":
                # The attributes of a state dict, which are its modules' versions, are dropped.
                state = stack.pop()
                if type(stack[-1]) is Parameter:
                    stack[-1].build(state)
                _expect(type(stack[-1]) in (Pairs, Parameter), "sets attributes of what is no dict")
            elif name == "BINPERSID":
                stack.append(self._refer(stack.pop()))
            else:
                raise ValueError(f"it uses {name}, which pickles of tensors do not")

    def _storage(self, said: Any) -> Storage:
        if type(said) is not tuple or len(said) not in (5, 6) or said[0] != "storage":
            raise ValueError(f"it refers to {_shown(said)}, which is no storage")
        _, kind, key, _, count, *view = said
        dtype = dtype_of(kind)
        if dtype is None or type(key) not in (str, int) or not is_count(count):
            raise ValueError(f"a storage is {_shown(said)}")
        first, length = 0, count
        if view and view[0] is not None:
            part = view[0]
            if type(part) is not tuple or len(part) != 3 or not all(map(is_count, part[1:])):
                raise ValueError(f"a part of a storage is {_shown(part)}")
            _, first, length = part
            _expect(first + length <= count, "has a part of a storage that goes beyond it")
        whole = Storage(dtype, str(key), count, 0, count)
        if self.storages.setdefault(whole.key, whole) != whole:
            raise ValueError(f"the storage {_shown(key)} has two sizes or types")
        return whole._replace(first=first, length=length)


def _expect(condition: bool, what: str) -> None:
    if not condition:
        raise ValueError(f"it is no pickle of tensors: it {what}")


def dtype_of(kind: Any) -> np.dtype | None:
    """Returns the numbers of a class of storages, None where it is no such class."""
    return _DTYPES.get(kind.name.removeprefix("torch.")) if isinstance(kind, _Global) else None


def is_count(value: Any) -> bool:
    """Returns whether a value can be a size or a place."""
    return type(value) is int and 0 <= value < 2**63


def _shown(value: Any) -> str:
    """Returns a short text: one of these can be longer than all memory when it is printed."""
    if type(value) is tuple:
        return f"({', '.join(map(_name, value[:6]))}{', ...' if len(value) > 6 else ''})"
    return _name(value)


def _name(value: Any) -> str:
    if isinstance(value, _Global):
        return value.name
    if isinstance(value, str | int | float | bytes | None):
        return reprlib.repr(value)
    return f"a {type(value).__name__}"


def _pairs(values: Sequence[Any]) -> list[tuple[Any, Any]]:
    _expect(len(values) % 2 == 0, "has a key without a value")
    return list(zip(values[::2], values[1::2], strict=True))


def _global(module: Any, name: Any) -> _Global:
    known = (
        type(module) is str
        and type(name) is str
        and (
            f"{module}.{name}" in _CALLS
            or f"{module}.{name}" in _TENSOR_CLASSES
            or (module == "torch" and name in _DTYPES)
        )
    )
    if not known:
        raise ValueError(
            f"it would call {_plain(module)}.{_plain(name)} when it is loaded; only tensors are "
            "read here: save the state dict alone, with torch.save(model.state_dict(), FILE)"
        )
    return _Global(f"{module}.{name}")


def _plain(value: Any) -> str:
    return value[:60] if type(value) is str else _name(value)


def _call(called: Any, arguments: Any) -> Any:
    named = isinstance(called, _Global) and called.name in _CALLS
    _expect(named, f"calls {_name(called)}")
    _expect(type(arguments) is tuple, f"calls {called.name} without arguments")
    return _CALLS[called.name](*arguments[:8])


def _ordered_dict(pairs: Any = (), *_: Any) -> Pairs:
    """Python 2 gives the pairs as an argument."""
    listed = type(pairs) in (list, tuple) and all(
        type(pair) in (list, tuple) and len(pair) == 2 for pair in pairs
    )
    _expect(listed, "makes a dict of what are no pairs")
    return Pairs(map(tuple, pairs))


def _size(values: Any = (), *_: Any) -> tuple[Any, ...]:
    few = type(values) in (list, tuple) and len(values) <= _MOST_DIMENSIONS
    _expect(few, f"has a shape of {_shown(values)}")
    return tuple(values)


def _rebuild_tensor(*arguments: Any) -> Tensor:
    """What comes after the strides is about gradients."""
    _expect(len(arguments) >= 4, "makes a tensor of too few values")
    return Tensor(*arguments[:4])


def _rebuild_parameter(data: Any = None, *_: Any) -> Any:
    return data


_CALLS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _ordered_dict,
    "torch.Size": _size,
    "torch._utils._rebuild_tensor": _rebuild_tensor,  # before 0.4
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils._rebuild_parameter": _rebuild_parameter,
    **dict.fromkeys(_PARAMETERS, Parameter),
}
