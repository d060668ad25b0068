"""What a pickle of tensors may name, none of which is alive.

A function or a class is a `Global`, which is a name, and a dict is a list of pairs, so that no key
is hashed. So a file can neither run code nor change anything that this process uses.

Files from before PyTorch 0.4 are known, too: they have other names of the same things, and
parameters in place of their tensors.
"""

import reprlib
from collections.abc import Callable
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from ssd_jax.weight_files.budget import MOST_DIMENSIONS

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


class Global(NamedTuple):
    """A function or a class that a pickle would import: its name alone."""

    name: str


class Parameter:
    """A tensor that was saved as a parameter, before 0.4; its own class, whose BUILD is ours."""

    __slots__ = ("data",)

    def __init__(self, data: Any = None, *_: Any) -> None:
        self.data = data

    def build(self, state: Any) -> None:
        """Takes the tensor, which the oldest files keep here; the rest is about gradients."""
        expect(type(state) is tuple and len(state) in (3, 5), "has an unknown parameter")
        if len(state) == 5:
            self.data = state[0]


class Pairs(list):
    """A dict as the pickle gives it: a list of its keys and values."""

    __slots__ = ()

    def by_name(self) -> dict[str, Any]:
        """Returns the values whose keys are strings; a ValueError where a key comes twice."""
        found: dict[str, Any] = {}
        for key, value in self:
            if type(key) is not str:
                continue
            if key in found:
                raise ValueError(f"it has {reprlib.repr(key)} twice")
            found[key] = value
        return found


def expect(condition: bool, what: str) -> None:
    """Raises a ValueError that says what a pickle does wrong, unless it is right."""
    if not condition:
        raise ValueError(f"it is no pickle of tensors: it {what}")


def expect_little_endian(system: Any) -> None:
    """Raises a ValueError where the system on which a file was written is big-endian."""
    if isinstance(system, Pairs) and not system.by_name().get("little_endian", True):
        raise ValueError("its numbers are big-endian")


def dtype_of(kind: Any) -> np.dtype | None:
    """Returns the numbers of a class of storages, None where it is no such class."""
    return _DTYPES.get(kind.name.removeprefix("torch.")) if isinstance(kind, Global) else None


def is_count(value: Any) -> bool:
    """Returns whether a value can be a size or a place."""
    return type(value) is int and 0 <= value < 2**63


def shown(value: Any) -> str:
    """Returns a short text: one of these can be longer than all memory when it is printed."""
    if type(value) is tuple:
        return f"({', '.join(map(_name, value[:6]))}{', ...' if len(value) > 6 else ''})"
    return _name(value)


def _name(value: Any) -> str:
    if isinstance(value, Global):
        return value.name
    if isinstance(value, str | int | float | bytes | None):
        return reprlib.repr(value)
    return f"a {type(value).__name__}"


def _ordered_dict(pairs: Any = (), *_: Any) -> Pairs:
    """Python 2 gives the pairs as an argument."""
    listed = type(pairs) in (list, tuple) and all(
        type(pair) in (list, tuple) and len(pair) == 2 for pair in pairs
    )
    expect(listed, "makes a dict of what are no pairs")
    return Pairs(map(tuple, pairs))


def _size(values: Any = (), *_: Any) -> tuple[Any, ...]:
    few = type(values) in (list, tuple) and len(values) <= MOST_DIMENSIONS
    expect(few, f"has a shape of {shown(values)}")
    return tuple(values)


def _rebuild_tensor(*arguments: Any) -> Tensor:
    """What comes after the strides is about gradients."""
    expect(len(arguments) >= 4, "makes a tensor of too few values")
    return Tensor(*arguments[:4])


_CALLS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _ordered_dict,
    "torch.Size": _size,
    "torch._utils._rebuild_tensor": _rebuild_tensor,  # before 0.4
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils._rebuild_parameter": lambda data=None, *_: data,
    "torch.nn.parameter.Parameter": Parameter,
    "torch.autograd.variable.Variable": Parameter,
}
# Old files name the class of each tensor, too.
_CLASSES = {
    f"{module}.{name}{kind}"
    for name in (storage.removesuffix("Storage") for storage in _DTYPES)
    for module, kind in (("torch", "Storage"), ("torch", "Tensor"), ("torch.cuda", "Tensor"))
}


def named(module: Any, name: Any) -> Global:
    """Returns what stands for a function or a class; a ValueError for one that tensors lack."""
    parts = [part[:60] if type(part) is str else _name(part) for part in (module, name)]
    full = ".".join(parts)
    if parts != [module, name] or not (full in _CALLS or full in _CLASSES):
        raise ValueError(
            f"it would call {full} when it is loaded; only tensors are read here: save the state "
            "dict alone, with torch.save(model.state_dict(), FILE)"
        )
    return Global(full)


def call(called: Any, arguments: Any) -> Any:
    """Returns what a call makes; a ValueError where it makes no tensor nor a part of one."""
    can_be_called = isinstance(called, Global) and called.name in _CALLS
    expect(can_be_called, f"calls {_name(called)}")
    expect(type(arguments) is tuple, f"calls {called.name} without arguments")
    return _CALLS[called.name](*arguments[:8])
