"""Hugging Face's .safetensors: a JSON header and the bytes of the tensors."""

import json
import math
import pathlib
import reprlib
from typing import Any

import ml_dtypes
import numpy as np

from ssd_jax.weight_files.budget import MOST_DIMENSIONS, Budget

DTYPES = {
    "F64": np.dtype(np.float64),
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "I64": np.dtype(np.int64),
    "I32": np.dtype(np.int32),
    "I16": np.dtype(np.int16),
    "I8": np.dtype(np.int8),
    "U64": np.dtype(np.uint64),
    "U32": np.dtype(np.uint32),
    "U16": np.dtype(np.uint16),
    "U8": np.dtype(np.uint8),
    "BOOL": np.dtype(np.bool_),
}
_LENGTH = 8  # bytes that say how long the header is
# Python's objects are so much larger than their JSON: an empty object is three characters.
_GROWTH_OF_JSON = 40


def read(path: pathlib.Path, budget: Budget) -> dict[str, np.ndarray]:
    """Returns the tensors by their names; see `read.read`."""
    with path.open("rb") as file:
        return parse(file.read(budget.size), budget)


def parse(content: bytes, budget: Budget) -> dict[str, np.ndarray]:
    """Returns the tensors of a file's content, as views of it."""
    length = int.from_bytes(content[:_LENGTH], "little")
    if len(content) < _LENGTH or length > len(content) - _LENGTH:
        raise ValueError(
            f"it is cut short, or no .safetensors: its header is {length:,} bytes long, the file "
            f"{len(content):,}"
        )
    budget.take(_GROWTH_OF_JSON * length, "its header")
    header = json.loads(content[_LENGTH : _LENGTH + length].decode(), object_pairs_hook=_once)
    if not isinstance(header, dict):
        raise ValueError("its header is no JSON object")
    header.pop("__metadata__", None)
    begin = _LENGTH + length
    num_bytes = len(content) - begin
    arrays, end_of_last = {}, 0
    tensors = [(*_tensor(name, entry), name) for name, entry in header.items()]
    for start, end, shape, dtype, name in sorted(tensors, key=lambda tensor: tensor[:2]):
        if start != end_of_last:
            raise ValueError(
                f"{name} begins at byte {start:,} of the data, where {end_of_last:,} is free: "
                "tensors lie on each other or leave a gap"
            )
        if end > num_bytes:
            raise ValueError(
                f"it is cut short: {name} ends at byte {end:,} of the data, which has {num_bytes:,}"
            )
        end_of_last = end
        values = np.frombuffer(content, dtype, math.prod(shape), begin + start)
        arrays[name] = values.reshape(shape)
    if end_of_last != num_bytes:
        raise ValueError(f"{num_bytes - end_of_last:,} bytes at its end are no tensor's")
    return arrays


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"its header has {reprlib.repr(name)} twice")
        found[name] = value
    return found


def _tensor(name: str, entry: Any) -> tuple[int, int, list[int], np.dtype]:
    """Returns where a tensor begins and ends, its shape and its dtype."""
    if not isinstance(entry, dict) or not {"dtype", "shape", "data_offsets"} <= set(entry):
        raise ValueError(f"{name} is {reprlib.repr(entry)}, which is no tensor")
    kind, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(kind, str) or kind not in DTYPES:
        raise ValueError(f"{name} has the dtype {reprlib.repr(kind)}; known are {[*DTYPES]}")
    are_valid = _are_counts(shape) and _are_counts(offsets)
    if not (are_valid and len(offsets) == 2 and len(shape) <= MOST_DIMENSIONS):
        raise ValueError(
            f"{name} has the shape {reprlib.repr(shape)} at the bytes {reprlib.repr(offsets)}"
        )
    start, end = offsets
    if end - start != math.prod(shape) * DTYPES[kind].itemsize:
        raise ValueError(f"{name} has {end - start} bytes for the shape {reprlib.repr(shape)}")
    return start, end, shape, DTYPES[kind]


def _are_counts(values: Any) -> bool:
    return isinstance(values, list) and all(type(n) is int and 0 <= n < 2**63 for n in values)
