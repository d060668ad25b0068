"""PyTorch's .pth: a pickle of tensors, in a zip or (before 1.6) followed by their bytes.

The pickle is interpreted here and may name nothing but tensors, their storages and ordered dicts;
a file that names anything else is refused, so none can run code.
"""

import collections
import io
import math
import pathlib
import pickle
import reprlib
import struct
import zipfile
from collections.abc import Callable
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
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
# Where training scripts put the state dict of the network.
_NESTED = ("state_dict", "model_state_dict", "model", "net", "weights")


_REFUSED_OPCODES = {
    pickle.INST,
    pickle.OBJ,
    pickle.NEWOBJ,
    pickle.NEWOBJ_EX,
    pickle.EXT1,
    pickle.EXT2,
    pickle.EXT4,
    pickle.BYTEARRAY8,
    pickle.NEXT_BUFFER,
    pickle.READONLY_BUFFER,
}


class _Storage(NamedTuple):
    dtype: np.dtype
    key: str
    count: int


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Returns the tensors of a state dict by their names; see `files.read`."""
    try:
        content, storages = _read_zip(path) if zipfile.is_zipfile(path) else _read_legacy(path)
    except (pickle.UnpicklingError, AttributeError, struct.error, zipfile.BadZipFile) as error:
        raise ValueError(f"it is no pickle of tensors: {error}") from None
    except (NotImplementedError, RuntimeError) as error:
        raise ValueError(str(error)) from None
    tensors = _state_dict(content)
    if not tensors:
        raise ValueError("it holds no tensors by name")
    return {name: _array(name, tensor, storages) for name, tensor in tensors.items()}


def _read_zip(path: pathlib.Path) -> tuple[Any, Callable[[_Storage], bytes]]:
    size = path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        members = {member.filename: member for member in archive.infolist()}
        [pickled] = [name for name in members if name.split("/")[1:] == ["data.pkl"]] or [""]
        if not pickled:
            raise ValueError("the zip has no data.pkl, so torch.save did not write it")
        # As torch.save writes them; what is packed could unpack to anything.
        if any(
            m.compress_type != zipfile.ZIP_STORED or m.file_size > size for m in members.values()
        ):
            raise ValueError("a member of the zip is compressed, or longer than the file")
        if sum(member.file_size for member in members.values()) > size:
            raise ValueError("members of the zip lie on each other")
        folder = pickled.removesuffix("data.pkl")
        order = f"{folder}byteorder"
        if order in members and archive.read(order) != b"little":
            raise ValueError("its numbers are big-endian")
        content = _Unpickler(io.BytesIO(archive.read(pickled))).load()
        data = {
            name.removeprefix(f"{folder}data/"): archive.read(name)
            for name in members
            if name.startswith(f"{folder}data/")
        }

    def storage(wanted: _Storage) -> bytes:
        if wanted.key not in data:
            raise ValueError(f"it lacks the storage {wanted.key}")
        return data[wanted.key]

    return content, storage


def _read_legacy(path: pathlib.Path) -> tuple[Any, Callable[[_Storage], bytes]]:
    with io.BytesIO(path.read_bytes()) as file:
        if _Unpickler(file).load() != _LEGACY_MAGIC:
            raise ValueError("it does not begin as torch.save's files do")
        _Unpickler(file).load()  # the protocol's version
        information = _Unpickler(file).load()
        if isinstance(information, dict) and not information.get("little_endian", True):
            raise ValueError("its numbers are big-endian")
        unpickler = _Unpickler(file)
        content = unpickler.load()
        keys = _Unpickler(file).load()
        data = {}
        for key in keys:
            if not isinstance(key, str) or key not in unpickler.storages:
                raise ValueError(f"it has a storage {reprlib.repr(key)} that no tensor uses")
            count = int.from_bytes(file.read(8), "little", signed=True)
            known = unpickler.storages[key]
            if count != known.count:
                raise ValueError(f"storage {key} has {count} numbers where {known.count} were said")
            data[key] = file.read(count * known.dtype.itemsize)
    return content, lambda wanted: data[wanted.key]


class _Unpickler(pickle._Unpickler):  # in Python: the C one's memo can be made to take all memory
    """An interpreter of pickles that knows tensors and nothing else."""

    # Without what a state dict does not need: instances, extensions, buffers.
    dispatch = {  # noqa: RUF012
        code: load
        for code, load in pickle._Unpickler.dispatch.items()
        if bytes((code,)) not in _REFUSED_OPCODES
    }

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, encoding="utf-8")
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        """Returns what a global stands for; refuses all that tensors do not need."""
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        known = {
            ("collections", "OrderedDict"): collections.OrderedDict,
            ("torch", "Size"): tuple,
            ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
            ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
        }
        if (module, name) not in known:
            raise ValueError(
                f"it would call {module}.{name} when it is loaded; only tensors are read here"
            )
        return known[module, name]

    def persistent_load(self, pid: Any) -> _Storage:
        """Returns the description of a storage."""
        if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage":
            raise ValueError(f"it refers to {reprlib.repr(pid)}, which is no storage")
        _, dtype, key, _, count, *view = pid
        types = (dtype, np.dtype), (key, str | int), (count, int)
        if not all(isinstance(value, kind) for value, kind in types) or count < 0:
            raise ValueError(f"a storage is {reprlib.repr(pid)}")
        if any(part is not None for part in view):
            raise ValueError("a storage is a view of another, as only PyTorch 0.3 wrote them")
        storage = _Storage(dtype, str(key), count)
        self.storages[storage.key] = storage
        return storage


def _rebuild_tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> _Tensor:
    return _Tensor(storage, offset, tuple(shape), tuple(strides))


def _rebuild_parameter(data: Any, *_: Any) -> Any:
    return data


def _state_dict(content: Any) -> dict[str, _Tensor]:
    if isinstance(content, dict):
        for key in _NESTED:
            if isinstance(content.get(key), dict) and (inner := _state_dict(content[key])):
                return inner
        return {
            name: x
            for name, x in content.items()
            if isinstance(name, str) and isinstance(x, _Tensor)
        }
    return {}


def _array(name: str, tensor: _Tensor, storages: Callable[[_Storage], bytes]) -> np.ndarray:
    storage, offset, shape, strides = tensor
    numbers = (offset, *shape, *strides)
    if (
        len(shape) > 32
        or not isinstance(storage, _Storage)
        or not all(isinstance(n, int) and n >= 0 for n in numbers)
    ):
        raise ValueError(f"{name} is no tensor: {reprlib.repr(tensor)}")
    count = math.prod(shape)
    last = offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
    # A stride of 0 repeats a number: more of them than there are would be a bomb.
    if count and (count > storage.count or last >= storage.count):
        raise ValueError(f"{name} {shape} goes beyond its storage of {storage.count} numbers")
    data = storages(storage)
    if len(data) < storage.count * storage.dtype.itemsize:
        raise ValueError(f"the storage of {name} ends early")
    values = np.frombuffer(data, storage.dtype, storage.count)
    view = np.lib.stride_tricks.as_strided(
        values[offset:], shape, [s * storage.dtype.itemsize for s in strides], writeable=False
    )
    return view.copy()
