"""Choosing the reader of a file, and saying why it cannot read one."""

import pathlib
import stat
from collections.abc import Callable, Mapping

import numpy as np

from ssd_jax.weight_files import caffemodel, keras_h5, npz, safetensors, torch_file
from ssd_jax.weight_files.budget import Budget

Reader = Callable[[pathlib.Path, Budget], dict[str, np.ndarray]]

FORMATS: Mapping[str, Reader] = {
    "npz": npz.read,
    "safetensors": safetensors.read,
    "torch": torch_file.read,
    "caffe": caffemodel.read,
    "keras": keras_h5.read,
}
_SUFFIXES = {
    ".npz": "npz",
    ".safetensors": "safetensors",
    ".pth": "torch",
    ".pt": "torch",
    ".caffemodel": "caffe",
    ".h5": "keras",
    ".hdf5": "keras",
}
# What a download leaves in place of a file.
_NO_WEIGHTS = {
    b"version https://git-lfs": "it is a pointer of Git LFS; fetch the file with git lfs pull",
    b"<!DOCTYPE": "it is a web page; download the file itself",
    b"<html": "it is a web page; download the file itself",
}
_MOST_SAID = 600  # characters of a reader's error


def read(path: pathlib.Path, file_format: str = "") -> dict[str, np.ndarray]:
    """Returns the arrays of a file by their names; they can be views that cannot be written.

    Args:
        path: of the file.
        file_format: one of FORMATS; "" goes by the file's suffix.

    Raises:
        ValueError: where the file is missing, of another kind, damaged, would run code, or would
            take more memory than its size explains (see `budget`).
    """
    size = _size(path)
    name = file_format or _SUFFIXES.get(path.suffix.lower(), "")
    if name not in FORMATS:
        raise ValueError(
            f"pretrained: expected a file that ends in one of {', '.join(_SUFFIXES)}, or its "
            f"format among {', '.join(FORMATS)}; got {file_format or path}"
        )
    try:
        _check_beginning(path)
        arrays = FORMATS[name](path, Budget(size))
        if not arrays:
            raise ValueError("it holds no arrays of numbers")
        return arrays
    except (MemoryError, RecursionError):
        raise ValueError(f"pretrained: {path} cannot be read as {name}: too large") from None
    # Whatever it is, the file's content made the reader or its library raise it.
    except Exception as error:
        kind = "" if isinstance(error, ValueError | OSError) else f"{type(error).__name__}: "
        said = f"{kind}{error}"
        said = said if len(said) <= _MOST_SAID else f"{said[:_MOST_SAID]} ..."
        raise ValueError(f"pretrained: {path} cannot be read as {name}: {said}") from error


def _size(path: pathlib.Path) -> int:
    """Returns a regular file's size: anything else could be endless, or wait for ever."""
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"pretrained: expected a file, {path} is none: {reason}") from None
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe, a device or a socket"
        raise ValueError(f"pretrained: expected a file, {path} is none: it is {kind}")
    if not status.st_size:
        raise ValueError(f"pretrained: {path} is empty")
    return status.st_size


def _check_beginning(path: pathlib.Path) -> None:
    with path.open("rb") as file:
        beginning = file.read(32)
    for known, what in _NO_WEIGHTS.items():
        if beginning.lower().startswith(known.lower()):
            raise ValueError(what)
