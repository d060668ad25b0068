"""The pickles that torch.save writes, interpreted: tensors, their storages and plain values.

What they may name, and why it can do no harm, is in `torch_values`.
"""

import io
import pickletools
from collections.abc import Callable, Sequence
from typing import Any

from ssd_jax.weight_files import torch_values
from ssd_jax.weight_files.budget import Budget
from ssd_jax.weight_files.torch_values import Pairs, Parameter, Storage, expect, is_count, shown

_MOST_BITS = 4096  # of a whole number: the magic one of old files has 77

# The operations that put their argument on the stack.
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


class TensorUnpickler:
    """Reads the pickles of one file, one after the other.

    Attributes:
        storages: that they refer to, by their keys.
    """

    def __init__(
        self,
        file: io.BytesIO,
        budget: Budget,
        refer: Callable[[Any], Any] | None = None,  # what references stand for; default: storages
    ) -> None:
        self._file, self._budget = file, budget
        self._refer = refer or self._storage
        self.storages: dict[str, Storage] = {}

    def read(self) -> Any:
        """Returns what the next pickle holds, as `torch_values`.

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

        def taken(begin: int) -> list[Any]:
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
                expect(argument in memo, f"refers to number {argument}, which nothing has")
                stack.append(memo[argument])
            elif name == "MARK":
                marks.append(len(stack))
            elif name in _TUPLES:
                expect(len(stack) >= _TUPLES[name], "has a tuple that lacks values")
                stack.append(tuple(taken(len(stack) - _TUPLES[name])))
            elif name == "TUPLE":
                stack.append(tuple(taken(marks.pop())))
            elif name in ("EMPTY_LIST", "LIST"):
                stack.append(taken(marks.pop()) if name == "LIST" else [])
            elif name in ("EMPTY_DICT", "DICT"):
                stack.append(Pairs(_pairs(taken(marks.pop()) if name == "DICT" else [])))
            elif name in ("APPEND", "APPENDS"):
                values = taken(marks.pop()) if name == "APPENDS" else [stack.pop()]
                expect(type(stack[-1]) is list, "appends to what is no list")
                stack[-1].extend(values)
            elif name in ("SETITEM", "SETITEMS"):
                values = taken(marks.pop() if name == "SETITEMS" else len(stack) - 2)
                expect(type(stack[-1]) is Pairs, "sets a key of what is no dict")
                stack[-1].extend(_pairs(values))
            elif name == "POP":
                stack.pop()
            elif name == "POP_MARK":
                taken(marks.pop())
            elif name == "DUP":
                stack.append(stack[-1])
            elif name == "GLOBAL":
                stack.append(torch_values.named(*argument.split(" ", 1)))
            elif name == "STACK_GLOBAL":
                of, module = stack.pop(), stack.pop()
                stack.append(torch_values.named(module, of))
            elif name in ("REDUCE", "NEWOBJ"):
                arguments, called = stack.pop(), stack.pop()
                # One list can be the argument of many calls, each of which copies it.
                for argument in arguments if type(arguments) is tuple else ():
                    self._budget.step(len(argument) if isinstance(argument, list | tuple) else 0)
                stack.append(torch_values.call(called, arguments))
            elif name == "BUILD":
                # The attributes of a state dict, which are its modules' versions, are dropped.
                state = stack.pop()
                if type(stack[-1]) is Parameter:
                    stack[-1].build(state)
                expect(type(stack[-1]) in (Pairs, Parameter), "sets attributes of what is no dict")
            elif name == "BINPERSID":
                stack.append(self._refer(stack.pop()))
            else:
                raise ValueError(f"it uses {name}, which pickles of tensors do not")

    def _storage(self, said: Any) -> Storage:
        if type(said) is not tuple or len(said) not in (5, 6) or said[0] != "storage":
            raise ValueError(f"it refers to {shown(said)}, which is no storage")
        _, kind, key, _, count, *view = said
        dtype = torch_values.dtype_of(kind)
        if dtype is None or type(key) not in (str, int) or not is_count(count):
            raise ValueError(f"a storage is {shown(said)}")
        first, length = 0, count
        if view and view[0] is not None:
            part = view[0]
            if type(part) is not tuple or len(part) != 3 or not all(map(is_count, part[1:])):
                raise ValueError(f"a part of a storage is {shown(part)}")
            _, first, length = part
            expect(first + length <= count, "has a part of a storage that goes beyond it")
        whole = Storage(dtype, str(key), count, 0, count)
        if self.storages.setdefault(whole.key, whole) != whole:
            raise ValueError(f"the storage {shown(key)} has two sizes or types")
        return whole._replace(first=first, length=length)


def _pairs(values: Sequence[Any]) -> list[tuple[Any, Any]]:
    expect(len(values) % 2 == 0, "has a key without a value")
    return list(zip(values[::2], values[1::2], strict=True))
