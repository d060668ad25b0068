"""Keras's .h5: the datasets of an HDF5 file. Needs h5py, of the extra `keras`.

The HDF5 library can crash, hang or take all memory on a damaged file, so that it runs in a process
of its own, with limits: see `hdf5_process`.
"""

import importlib.util
import pathlib
import subprocess
import sys

import numpy as np

from ssd_jax.weight_files import safetensors
from ssd_jax.weight_files.budget import Budget

_PROCESS = pathlib.Path(__file__).with_name("hdf5_process.py")
# Where a process cannot limit its own: for the slowest disk and the busiest machine.
_MOST_SECONDS, _BYTES_A_SECOND = 30, 10e6


def read(path: pathlib.Path, budget: Budget) -> dict[str, np.ndarray]:
    """Returns the numeric datasets by their paths; see `read.read`."""
    if importlib.util.find_spec("h5py") is None:
        raise ValueError("this needs h5py: pip install 'ssd_jax[keras]'")
    # -P: the folder of the script has modules that are called like installed ones.
    command = [sys.executable, "-P", str(_PROCESS), str(path.absolute()), str(budget.size)]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_MOST_SECONDS + budget.size / _BYTES_A_SECOND,
        )
    except subprocess.TimeoutExpired:
        raise ValueError("it is damaged: the HDF5 library does not come to an end") from None
    if done.returncode == 1:
        raise ValueError(done.stderr.decode(errors="replace").strip())
    if done.returncode:
        raise ValueError(
            f"it is damaged or means harm: the HDF5 library fails on it (status {done.returncode})"
        )
    return safetensors.parse(done.stdout, budget)
