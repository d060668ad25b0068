"""PyTorch's first format, of 0.1: a tar of the storages, the tensors and their names.

torchvision's first ResNets are of this kind.
"""

import io
import struct
from collections.abc import Callable
from typing import Any

from ssd_jax.weight_files import torch_values
from ssd_jax.weight_files.budget import MOST_DIMENSIONS, Budget
from ssd_jax.weight_files.tensor_pickle import TensorUnpickler
from ssd_jax.weight_files.torch_values import Storage, Tensor, expect, is_count

_MEMBERS = ("sys_info", "pickle", "tensors", "storages")
_MOST_MEMBERS = 16
_BLOCK = 512


def open_tar(data: bytes, budget: Budget) -> tuple[Any, Callable[[str], memoryview | None]]:
    """Returns what is pickled in a file's content, and what gives the bytes of a storage."""
    members = _members(data)
    torch_values.expect_little_endian(
        TensorUnpickler(io.BytesIO(members["sys_info"]), budget).read()
    )
    storages, read = _storages(members["storages"], budget)
    known: dict[int, Storage | Tensor] = storages | _tensors(members["tensors"], storages, budget)

    def refer(said: Any) -> Any:
        if type(said) not in (str, int) or len(str(said)) > 20 or int(said) not in known:
            raise ValueError("it refers to a tensor that it does not hold")
        return known[int(said)]

    content = TensorUnpickler(io.BytesIO(members["pickle"]), budget, refer).read()
    return content, read.get


def _members(data: bytes) -> dict[str, memoryview]:
    """Returns the parts of the archive, none of which is unpacked.

    Its headers are read here: tarfile's own reader takes far too long for one that means harm.
    """
    found: dict[str, memoryview] = {}
    at = 0
    for _ in range(_MOST_MEMBERS):
        header, at = data[at : at + _BLOCK], at + _BLOCK
        if len(header) < _BLOCK or not header[0]:
            break
        name = header[:100].rstrip(b"\0").decode(errors="replace")
        digits = header[124:136].strip(b" \0").decode(errors="replace")
        if not (digits.isascii() and digits.isdigit()):
            raise ValueError(f"the size of {name} in its tar archive is {digits!r}")
        size = int(digits, 8)
        if at + size > len(data):
            raise ValueError(f"it is cut short: {name} ends at byte {at + size:,}")
        # The others are extended headers, with times.
        if name in _MEMBERS and header[156:157] in (b"0", b"\0"):
            found[name] = memoryview(data)[at : at + size]
        at += -(-size // _BLOCK) * _BLOCK
    if missing := [name for name in _MEMBERS if name not in found]:
        raise ValueError(f"it is cut short, or torch.save did not write it: no {missing[0]}")
    return found


def _storages(data: memoryview, budget: Budget) -> tuple[dict[int, Storage], dict[str, memoryview]]:
    """Returns the storages by their numbers, parts of others among them, and their bytes."""
    file = io.BytesIO(data)
    reader = TensorUnpickler(file, budget)
    storages: dict[int, Storage] = {}
    read: dict[str, memoryview] = {}
    for _ in range(_count(reader.read())):
        key, _, kind = _tuple(reader.read(), 3)
        dtype = torch_values.dtype_of(kind)
        if not is_count(key) or dtype is None or key in storages:
            raise ValueError("a storage has no type, or a number twice")
        [count] = _numbers(file, "<q")
        begin = file.tell()
        end = begin + count * dtype.itemsize
        if not count >= 0 or end > len(data):
            raise ValueError(f"it is cut short: a storage has {count:,} numbers")
        storages[key] = Storage(dtype, str(key), count, 0, count)
        read[str(key)] = data[begin:end]
        file.seek(end)
    views = reader.read()
    expect(type(views) is list, "has parts of storages that are no list")
    for view in views:
        key, root, first, length = _tuple(view, 4)
        if not all(map(is_count, (key, root, first, length))) or root not in storages:
            raise ValueError("a part of a storage is of none that it holds")
        whole = storages[root]
        if first + length > whole.length:
            raise ValueError("a part of a storage goes beyond it")
        storages[key] = whole._replace(first=whole.first + first, length=length)
    return storages, read


def _tensors(data: memoryview, storages: dict[int, Storage], budget: Budget) -> dict[int, Tensor]:
    file = io.BytesIO(data)
    reader = TensorUnpickler(file, budget)
    tensors: dict[int, Tensor] = {}
    for _ in range(_count(reader.read())):
        key, storage, _ = _tuple(reader.read(), 3)
        # The number of dimensions has eight bytes, of which four count.
        dimensions, _ = _numbers(file, "<ii")
        if not is_count(key) or not 0 <= dimensions <= MOST_DIMENSIONS:
            raise ValueError(f"a tensor has {dimensions} dimensions")
        shape, strides = (_numbers(file, f"<{dimensions}q") for _ in range(2))
        [offset] = _numbers(file, "<q")
        # An empty tensor has no storage.
        known = storages.get(storage) if is_count(storage) else None
        tensors[key] = Tensor(known, offset, shape, strides)
    return tensors


def _numbers(file: io.BytesIO, layout: str) -> tuple[int, ...]:
    size = struct.calcsize(layout)
    content = file.read(size)
    if len(content) < size:
        raise ValueError("it is cut short: it ends within a number")
    return struct.unpack(layout, content)


def _count(value: Any) -> int:
    expect(is_count(value), "does not say how many storages or tensors it holds")
    return value


def _tuple(value: Any, length: int) -> tuple[Any, ...]:
    described = type(value) is tuple and len(value) == length
    expect(described, "describes a storage or a tensor in another way than PyTorch 0.1")
    return value
