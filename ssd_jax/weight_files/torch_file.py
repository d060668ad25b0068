"""PyTorch's .pth: a pickle of tensors, in a zip, followed by their bytes (before 1.6), or in a tar.

How the pickle is read, and why it can do no harm, is in `tensor_pickle` and `torch_values`.
"""

import functools
import io
import math
import pathlib
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np

from ssd_jax.weight_files import torch_tar, torch_values
from ssd_jax.weight_files.budget import MOST_DIMENSIONS, Budget
from ssd_jax.weight_files.tensor_pickle import TensorUnpickler
from ssd_jax.weight_files.torch_values import Pairs, Parameter, Storage, Tensor, is_count
from ssd_jax.weight_files.zip_members import Members, open_zip

_MAGIC = 0x1950A86A20F9469CFC6C
# Where training scripts put the state dict of the network, and how deep.
_NESTED = ("state_dict", "model_state_dict", "model", "net", "weights")
_MOST_NESTED = 4
_STEPS_OF_A_TENSOR = 5

# From a storage's key to its bytes, None where the file lacks it.
Bytes = Callable[[str], bytes | memoryview | None]


def read(path: pathlib.Path, budget: Budget) -> dict[str, np.ndarray]:
    """Returns the tensors of a state dict by their names, as views; see `read.read`."""
    with path.open("rb") as file:
        begin = file.read(265)
        if begin[:4] == b"PK\3\4" or zipfile.is_zipfile(file):
            with open_zip(path, budget, methods=(zipfile.ZIP_STORED,)) as members:
                return _arrays(*_open(members, budget), budget)
        file.seek(0)
        opened = torch_tar.open_tar if begin[257:262] == b"ustar" else _open_legacy
        return _arrays(*opened(file.read(budget.size), budget), budget)


def _open(members: Members, budget: Budget) -> tuple[Any, Bytes]:
    """Returns the content of a zip, and what gives the bytes of a storage."""
    found = [name for name in members if name.split("/")[1:] == ["data.pkl"]]
    if len(found) != 1:
        raise ValueError("the zip has no data.pkl, so torch.save did not write it")
    folder = found[0].removesuffix("data.pkl")
    order = f"{folder}byteorder"
    if order in members and members.read(order) != b"little":
        raise ValueError("its numbers are big-endian")
    content = TensorUnpickler(io.BytesIO(members.read(found[0])), budget).read()

    @functools.cache
    def storage(key: str) -> bytes | None:
        name = f"{folder}data/{key}"
        return members.read(name) if name in members else None

    return content, storage


def _open_legacy(data: bytes, budget: Budget) -> tuple[Any, Bytes]:
    """Returns the content of a file before 1.6, and what gives the bytes of a storage."""
    file = io.BytesIO(data)
    reader = TensorUnpickler(file, budget)
    magic = reader.read()
    if type(magic) is not int or magic != _MAGIC:
        raise ValueError("it does not begin as torch.save's files do")
    reader.read()  # the protocol's version
    torch_values.expect_little_endian(reader.read())
    content = reader.read()
    keys = reader.read()
    if type(keys) is not list:
        raise ValueError("its storages have no list of keys")
    at, read = file.tell(), {}
    for key in keys:
        if type(key) is not str or key not in reader.storages or key in read:
            raise ValueError("it has a storage twice, or one that no tensor uses")
        known = reader.storages[key]
        begin = at + 8
        at = begin + known.count * known.dtype.itemsize
        if at > len(data):
            raise ValueError(
                f"it is cut short: its storages end at byte {at:,} or later, and it has "
                f"{len(data):,}"
            )
        count = int.from_bytes(data[begin - 8 : begin], "little", signed=True)
        if count != known.count:
            raise ValueError(f"storage {key} has {count} numbers where {known.count} were said")
        read[key] = memoryview(data)[begin:at]
    return content, read.get


def _arrays(content: Any, storages: Bytes, budget: Budget) -> dict[str, np.ndarray]:
    tensors = _state_dict(content, set(), _MOST_NESTED)
    if not tensors:
        raise ValueError("it holds no tensors by name")
    return {name: _array(name, x, storages, budget) for name, x in tensors.items()}


def _state_dict(content: Any, seen: set[int], depth: int) -> dict[str, Tensor]:
    """Returns the tensors of the first of _NESTED that has some, or of a dict itself."""
    if not isinstance(content, Pairs) or id(content) in seen or depth < 0:
        return {}
    seen.add(id(content))
    values = {
        name: x.data if isinstance(x, Parameter) else x for name, x in content.by_name().items()
    }
    for key in _NESTED:
        if inner := _state_dict(values.get(key), seen, depth - 1):
            return inner
    return {name: x for name, x in values.items() if isinstance(x, Tensor)}


def _array(name: str, tensor: Tensor, storages: Bytes, budget: Budget) -> np.ndarray:
    budget.step(_STEPS_OF_A_TENSOR)
    storage, offset, shape, strides = tensor
    fit = type(shape) is tuple and type(strides) is tuple and len(shape) == len(strides)
    fit = fit and isinstance(storage, Storage) and len(shape) <= MOST_DIMENSIONS
    if not (fit and all(map(is_count, (offset, *shape, *strides)))):
        raise ValueError(f"{name[:60]} is no tensor")
    count = math.prod(shape)
    last = offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
    # A stride of 0 repeats a number: more of them than there are would be a bomb.
    if count and (count > storage.length or last >= storage.length):
        raise ValueError(f"{name} {shape} goes beyond its storage of {storage.length} numbers")
    data, size = storages(storage.key), storage.dtype.itemsize
    if data is None:
        raise ValueError(f"it lacks the storage {storage.key[:60]}")
    if len(data) != storage.count * size:
        raise ValueError(
            f"the storage of {name} has {len(data):,} bytes for {storage.count:,} numbers"
        )
    if not count:
        return np.zeros(shape, storage.dtype)
    budget.take(count * size, name)
    values = np.frombuffer(data, storage.dtype, storage.length, storage.first * size)
    return np.lib.stride_tricks.as_strided(
        values[offset:], shape, [s * size for s in strides], writeable=False
    )
