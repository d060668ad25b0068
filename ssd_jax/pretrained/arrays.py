"""Reading a file of weights as a flat dict of numpy arrays."""

import pathlib
import zipfile

import numpy as np


def read(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Returns the arrays of a .npz file by their names; objects (pickles) are refused.

    Raises:
      ValueError: where the file is missing, of another kind or damaged, naming it.
    """
    if not path.is_file():
        raise ValueError(f"pretrained: expected a file, {path} is none")
    if path.suffix != ".npz":
        raise ValueError(f"pretrained: expected a .npz file, got {path}")
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"pretrained: {path} cannot be read as .npz: {error}") from None
