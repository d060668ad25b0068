"""Keras's .h5: the datasets of an HDF5 file. Needs h5py, of the extra `keras`."""

import pathlib
from typing import Any

import numpy as np


def read(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Returns the numeric datasets by their paths; see `files.read`."""
    try:
        import h5py
    except ImportError:
        raise ValueError("this needs h5py: pip install 'ssd_jax[keras]'") from None
    arrays: dict[str, np.ndarray] = {}

    def visit(name: str, item: Any) -> None:
        if not isinstance(item, h5py.Dataset) or item.dtype.kind not in "fiub":
            return
        if item.external or item.is_virtual:
            raise ValueError(f"{name} lies in another file")
        # Compressed or never written, it would grow beyond the file.
        if item.nbytes > item.id.get_storage_size():
            raise ValueError(f"{name} is compressed, or shorter than its shape {item.shape} says")
        arrays[name] = np.asarray(item[()])

    try:
        # Links, to other files too, are not followed.
        with h5py.File(path, "r") as file:
            file.visititems(visit)
    except RuntimeError as error:
        raise ValueError(str(error)) from None
    return arrays
