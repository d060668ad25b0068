"""Caffe's .caffemodel: a NetParameter in protobuf's wire format, old V1 layers included.

Field numbers are those of the released caffe.proto.
"""

import math
import pathlib
from collections.abc import Iterator

import numpy as np

from ssd_jax.weight_files.budget import MOST_DIMENSIONS, Budget

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED_LENGTHS = {_FIXED64: 8, _FIXED32: 4}
_LAYER, _V1_LAYER = 100, 2
# Of a layer and of a V1 layer: name, blobs.
_FIELDS = {_LAYER: (1, 7), _V1_LAYER: (4, 6)}
_OLD_SHAPE = (1, 2, 3, 4)  # num, channels, height, width
_DATA, _SHAPE, _DOUBLE_DATA = 5, 7, 8
# The dtype of each, and how one number is written where they are not packed.
_NUMBERS = {_DATA: ("<f4", _FIXED32), _DOUBLE_DATA: ("<f8", _FIXED64)}
# A field becomes a few objects of Python, and a blob some more: see budget.Budget.
_STEPS_OF_A_FIELD, _STEPS_OF_A_BLOB = 3, 5


def read(path: pathlib.Path, budget: Budget) -> dict[str, np.ndarray]:
    """Returns the blobs as "LAYER/INDEX": 0 is a kernel, 1 its bias; see `read.read`."""
    arrays: dict[str, np.ndarray] = {}
    with path.open("rb") as file:
        content = memoryview(file.read(budget.size))
    layers = [
        (_FIELDS[field], value)
        for field, kind, value in _fields(content, budget)
        if field in _FIELDS and kind == _BYTES
    ]
    if not layers:
        raise ValueError("it has no layers")
    for (name_field, blob_field), layer in layers:
        name, blobs = "", []
        for field, kind, value in _fields(layer, budget):
            if field == name_field and kind == _BYTES:
                name = bytes(value).decode()
            elif field == blob_field and kind == _BYTES:
                budget.step(_STEPS_OF_A_BLOB)
                blobs.append(value)
        for index, blob in enumerate(blobs):
            key = f"{name}/{index}"
            budget.take(len(key), "a layer's name")
            if key in arrays:
                raise ValueError(f"two layers are called {name!r}")
            arrays[key] = _blob(key, blob, budget)
    return arrays


def _blob(name: str, content: memoryview, budget: Budget) -> np.ndarray:
    old, shape = {}, None
    parts: dict[int, list[memoryview]] = {_DATA: [], _DOUBLE_DATA: []}
    for field, kind, value in _fields(content, budget):
        if field in _OLD_SHAPE and kind == _VARINT:
            old[field] = value
        elif field == _SHAPE and kind == _BYTES:
            shape = _dimensions(value, budget)
        elif field in parts and kind in (_BYTES, _NUMBERS[field][1]):
            parts[field].append(value)
    if parts[_DATA] and parts[_DOUBLE_DATA]:
        raise ValueError(f"{name} has numbers in single and in double precision")
    field = _DOUBLE_DATA if parts[_DOUBLE_DATA] else _DATA
    dtype = np.dtype(_NUMBERS[field][0])
    # Packed, as Caffe writes them, they are one part, of which the array is a view.
    data = parts[field][0] if len(parts[field]) == 1 else b"".join(parts[field])
    if len(data) % dtype.itemsize:
        raise ValueError(f"{name} ends within a number")
    budget.take(len(data), name)
    values = np.frombuffer(data, dtype) if len(data) else np.zeros(0, dtype)
    if shape is None:
        shape = [old.get(field, 1) for field in _OLD_SHAPE] if old else [len(values)]
    # Negative numbers are huge ones in this format.
    if math.prod(shape) != len(values):
        raise ValueError(f"{name} has {len(values)} numbers for the shape {tuple(shape)}")
    with np.errstate(over="ignore"):
        single = values.astype(np.float32, copy=False)
    if field == _DOUBLE_DATA and np.isinf(single[np.isfinite(values)]).any():
        raise ValueError(f"{name} holds numbers beyond float32")
    return single.reshape(shape)


def _dimensions(content: memoryview, budget: Budget) -> list[int]:
    shape: list[int] = []
    for field, kind, value in _fields(content, budget):
        at = 0
        if field == 1 and kind == _VARINT:
            shape.append(value)
        while field == 1 and kind == _BYTES and at < len(value) and len(shape) <= MOST_DIMENSIONS:
            number, at = _varint(value, at)
            shape.append(number)
        if len(shape) > MOST_DIMENSIONS:
            raise ValueError(f"a blob has more than {MOST_DIMENSIONS} dimensions")
    return shape


def _fields(data: memoryview, budget: Budget) -> Iterator[tuple[int, int, int | memoryview]]:
    """Yields field number, wire type and value of a message."""
    at = 0
    while at < len(data):
        budget.step(_STEPS_OF_A_FIELD)
        tag, at = _varint(data, at)
        number, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            value, at = _varint(data, at)
            yield number, kind, value
            continue
        if kind == _BYTES:
            length, at = _varint(data, at)
        elif kind in _FIXED_LENGTHS:
            length = _FIXED_LENGTHS[kind]
        else:
            raise ValueError(f"byte {at} has the wire type {kind}, which protobuf does not use")
        if length > len(data) - at:
            raise ValueError(
                f"it is cut short or damaged: a field is {length:,} bytes long where "
                f"{len(data) - at:,} are left"
            )
        yield number, kind, data[at : at + length]
        at += length


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """Returns a number and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise ValueError("it ends within a number")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number is longer than ten bytes")
