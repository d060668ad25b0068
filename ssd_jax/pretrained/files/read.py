"""Which reader takes which file."""

import pathlib
from collections.abc import Callable, Mapping

import numpy as np

from ssd_jax.pretrained.files import caffemodel, keras_h5, npz, safetensors, torch_file

Reader = Callable[[pathlib.Path], dict[str, np.ndarray]]

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


def read(path: pathlib.Path, file_format: str = "") -> dict[str, np.ndarray]:
    """Returns the arrays of a file by their names.

    Args:
      path: of the file.
      file_format: one of FORMATS; "": by the file's suffix.

    Raises:
      ValueError: where the file is missing, of another kind, damaged, or would run code.
    """
    if not path.is_file():
        raise ValueError(f"pretrained: expected a file, {path} is none")
    name = file_format or _SUFFIXES.get(path.suffix.lower(), "")
    if name not in FORMATS:
        raise ValueError(
            f"pretrained: expected a file that ends in one of {', '.join(_SUFFIXES)}, or its "
            f"format among {', '.join(FORMATS)}; got {file_format or path}"
        )
    try:
        return FORMATS[name](path)
    except (ValueError, OSError, EOFError, KeyError, IndexError, TypeError, OverflowError) as error:
        said = f"{type(error).__name__} {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"pretrained: {path} cannot be read as {name}: {said}") from None
    except (MemoryError, RecursionError):
        raise ValueError(f"pretrained: {path} cannot be read as {name}: too large") from None
