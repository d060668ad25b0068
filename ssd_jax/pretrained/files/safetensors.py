"""Hugging Face's .safetensors: a JSON header and the bytes of the tensors."""

import json
import math
import pathlib

import ml_dtypes
import numpy as np

_DTYPES = {
    "F64": np.dtype(np.float64),
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "I64": np.dtype(np.int64),
    "I32": np.dtype(np.int32),
    "I16": np.dtype(np.int16),
    "I8": np.dtype(np.int8),
    "U8": np.dtype(np.uint8),
    "BOOL": np.dtype(np.bool_),
}


def read(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Returns the tensors by their names; see `files.read`."""
    with path.open("rb") as file:
        size = path.stat().st_size
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > size - 8:
            raise ValueError(f"its header is {length:,} bytes long, the file {size:,}")
        header = json.loads(file.read(length))
        if not isinstance(header, dict):
            raise ValueError("its header is no JSON object")
        header.pop("__metadata__", None)
        data = file.read()
    arrays, end_of_last = {}, 0
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        if entry["dtype"] not in _DTYPES:
            raise ValueError(f"{name} has the dtype {entry['dtype']!r}; known are {[*_DTYPES]}")
        dtype, shape = _DTYPES[entry["dtype"]], entry["shape"]
        start, end = entry["data_offsets"]
        if not all(isinstance(n, int) and n >= 0 for n in (*shape, start, end)):
            raise ValueError(f"{name} has the shape {shape} at {start} to {end}")
        # Tensors that share bytes would take more memory than the file.
        if start < end_of_last or end > len(data):
            raise ValueError(f"{name} lies at {start} to {end}, beyond the file or on another")
        if end - start != math.prod(shape) * dtype.itemsize:
            raise ValueError(f"{name} has {end - start} bytes for the shape {shape}")
        end_of_last = end
        arrays[name] = np.frombuffer(data[start:end], dtype).reshape(shape)
    return arrays
