"""Reading a trained detector from a run or from a file."""

import os
import pathlib

from ssd_jax import config
from ssd_jax.checkpoints import detector_file
from ssd_jax.checkpoints.detector_file import Trained
from ssd_jax.checkpoints.folders import load_variables


def load(path: str | os.PathLike, *, checkpoint: str = "latest") -> Trained:
    """Returns the detector of a run's workdir, or of a file of `launch.import_weights`.

    The checkpoint of a run is "latest", "best" (by mAP) or a step.

    Raises:
        ValueError: where there is none, it is damaged, or another version wrote it.
    """
    path = pathlib.Path(path)
    if not path.exists():
        raise ValueError(
            f"there is no {path}; expected the workdir of a run, or a file that "
            "launch.import_weights wrote"
        )
    if path.is_dir():
        experiment = config.load(path / config.FILE)
        return Trained(experiment, load_variables(path, which=checkpoint))
    return detector_file.load(path)
