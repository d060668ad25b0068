"""A whole detector in one file: its config and its variables, as .npz."""

import pathlib
from collections.abc import Mapping
from typing import NamedTuple

import flax.traverse_util
import jax
import numpy as np
from jaxtyping import PyTree

from ssd_jax import config, detectors
from ssd_jax import weight_files as files
from ssd_jax.replacing import replacing

_CONFIG = "config.json"  # among the arrays: its bytes
SUFFIX = ".npz"


class Trained(NamedTuple):
    """A trained detector: enough to detect with, or to train on."""

    experiment: config.Experiment
    variables: PyTree

    def detector(self) -> detectors.Detector:
        """Returns the detector that the variables are for."""
        return detectors.build(self.experiment)


def save(path: pathlib.Path, experiment: config.Experiment, variables: PyTree) -> None:
    """Writes a detector, whole or not at all; a file of that name is replaced.

    Raises:
        ValueError: where the name does not end in .npz.
    """
    if path.suffix != SUFFIX:
        raise ValueError(f"detector_file.save: expected a name that ends in {SUFFIX}, got {path}")
    arrays = flax.traverse_util.flatten_dict(jax.device_get(variables), sep="/")
    text = config.to_json(experiment).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as aside, aside.open("wb") as file:
        np.savez(file, **{_CONFIG: np.frombuffer(text, np.uint8)}, **arrays)


def is_one(arrays: Mapping[str, np.ndarray]) -> bool:
    """Returns whether a file's arrays are those of a whole detector."""
    return _CONFIG in arrays


def of_arrays(arrays: Mapping[str, np.ndarray], source: str) -> Trained:
    """Returns the detector of a file's arrays.

    Raises:
        ValueError: where its config is not one of this version.
    """
    try:
        experiment = config.from_json(arrays[_CONFIG].tobytes().decode())
    except (ValueError, KeyError) as error:
        raise ValueError(f"{source}: {_CONFIG} is not the config of a detector: {error}") from None
    names, unreported = experiment.class_names, experiment.decoder.unreported
    if names and len(names) + 1 + len(unreported) != experiment.model.num_classes:
        raise ValueError(
            f"{source}: its config names {len(names)} classes, but its network scores "
            f"{experiment.model.num_classes} with the background, of which {len(unreported)} are "
            "not reported"
        )
    rest = {name: value for name, value in arrays.items() if name != _CONFIG}
    variables = flax.traverse_util.unflatten_dict(rest, sep="/")
    # A network without BatchNorm has no statistics to save.
    return Trained(experiment, {"params": {}, "batch_stats": {}} | variables)


def load(path: pathlib.Path) -> Trained:
    """Reads what `save` wrote.

    Raises:
        ValueError: where the file is missing, damaged or holds something else.
    """
    if not path.exists():
        raise ValueError(f"--weights: expected a file that launch.import_weights wrote; no {path}")
    arrays = files.read(path, "npz")
    if not is_one(arrays):
        raise ValueError(
            f"{path}: expected a detector as launch.import_weights writes it, with its config; "
            "bare weights are read with --config.init_from"
        )
    return of_arrays(arrays, str(path))
