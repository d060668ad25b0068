"""numpy's .npz: a zip of arrays. Objects, which are pickles, are refused."""

import math
import pathlib
import zipfile

import numpy as np
from numpy.lib import format as npy

# Weights hardly compress; what grows by more than this is no file of weights.
_MOST_GROWTH = 16


def read(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Returns the arrays by their names; see `files.read`."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            total = sum(member.file_size for member in members)
            if total > _MOST_GROWTH * path.stat().st_size + 2**20:
                raise ValueError(f"it would unpack to {total:,} bytes")
            return {m.filename.removesuffix(".npy"): _array(archive, m) for m in members}
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise ValueError(str(error)) from None


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(member) as file:
        version = npy.read_magic(file)
        header = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
        if version not in header:
            raise ValueError(f"{member.filename} has version {version} of numpy's format")
        shape, fortran, dtype = header[version](file)
        if dtype.hasobject:
            raise ValueError(f"{member.filename} holds Python objects")
        size = math.prod(shape) * dtype.itemsize
        if min(shape, default=0) < 0 or size > member.file_size:
            raise ValueError(f"{member.filename} is shorter than its shape {shape} says")
        array = np.frombuffer(file.read(size), dtype)
        return array.reshape(shape, order="F" if fortran else "C").copy()
