"""numpy's .npz: a zip of arrays. Objects, which are pickles, are refused."""

import io
import logging
import math
import pathlib
import zipfile

import numpy as np
from numpy.lib import format as npy

from ssd_jax.weight_files.budget import Budget
from ssd_jax.weight_files.zip_members import open_zip

log = logging.getLogger(__name__)

_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def read(path: pathlib.Path, budget: Budget) -> dict[str, np.ndarray]:
    """Returns the arrays of numbers by their names; see `read.read`."""
    arrays: dict[str, np.ndarray] = {}
    methods = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
    with open_zip(path, budget, methods=methods) as members:
        for member in members:
            name = member.removesuffix(".npy")
            if name in arrays:
                raise ValueError(f"it has two arrays called {name}")
            array = _array(member, members.read(member))
            if array.dtype.kind in "fiub":
                arrays[name] = array
            else:
                log.info("%s: %s holds no numbers and is left out", path, name)
    return arrays


def _array(name: str, content: bytes) -> np.ndarray:
    file = io.BytesIO(content)
    version = npy.read_magic(file)
    if version not in _HEADERS:
        raise ValueError(f"{name} has version {version} of numpy's format")
    shape, fortran, dtype = _HEADERS[version](file)
    if dtype.hasobject:
        raise ValueError(f"{name} holds Python objects")
    begin, size = file.tell(), math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or size != len(content) - begin:
        raise ValueError(f"{name} has {len(content) - begin:,} bytes for the shape {shape}")
    if not size:
        return np.zeros(shape if dtype.itemsize else 0, dtype)
    values = np.frombuffer(content, dtype, offset=begin)
    return values.reshape(shape, order="F" if fortran else "C")
