"""Where a run begins: fresh variables with what fits of other weights in their place."""

import logging
import pathlib
from typing import NamedTuple

import flax.traverse_util
import jax
import numpy as np
from jaxtyping import PyTree

from ssd_jax import config
from ssd_jax.pretrained import files, known
from ssd_jax.train import checkpoint

log = logging.getLogger(__name__)

_SHOWN = 5


class Fit(NamedTuple):
    """What became of every array of a detector and of a file, by name."""

    loaded: tuple[str, ...]
    misfits: tuple[str, ...]  # in both, with different shapes (both are given)
    fresh: tuple[str, ...]  # in the detector only
    unused: tuple[str, ...]  # in the file only


def initialize(variables: PyTree, source: str, experiment: config.Experiment) -> tuple[PyTree, Fit]:
    """Returns variables in which what fits was taken from other weights, and an account of it.

    Args:
      variables: fresh, of the detector.
      source: a workdir of this project, or a file of one of `known.FAMILIES`.
      experiment: of the detector; its input must be what the weights were trained on. The order of
        the channels and the scale of a file's first convolution are adapted; the mean cannot be.

    Raises:
      ValueError: where the source cannot be read, nothing of it fits, or it was trained on another
        normalisation of the pixels.
    """
    path = pathlib.Path(source).expanduser()
    values = _workdir(path, experiment) if path.is_dir() else _file(path, experiment)
    flat = flax.traverse_util.flatten_dict(variables, sep="/")
    fits, misfits = {}, []
    for name, fresh in flat.items():
        if name in values and values[name].shape == fresh.shape:
            fits[name] = np.asarray(values[name], fresh.dtype)
        elif name in values:
            misfits.append(f"{name} {values[name].shape} -> {fresh.shape}")
    fit = Fit(
        loaded=tuple(fits),
        misfits=tuple(misfits),
        fresh=tuple(name for name in flat if name not in values),
        unused=tuple(name for name in values if name not in flat),
    )
    if not fits:
        theirs, ours = (", ".join(list(names)[:_SHOWN]) for names in (values, flat))
        raise ValueError(
            f"config.init_from: nothing of {source} fits this detector; it has {theirs}, ...; "
            f"the detector has {ours}, ..."
        )
    return flax.traverse_util.unflatten_dict(flat | fits, sep="/"), fit


def report(fit: Fit, source: str) -> None:
    """Says in the log what was loaded and what was not."""
    log.info("Loaded %d arrays of %s", len(fit.loaded), source)
    for heading, names in (
        ("of another shape, left fresh", fit.misfits),
        ("not in it, left fresh", fit.fresh),
        ("in it and not used", fit.unused),
    ):
        if names:
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            log.info("  %d %s: %s%s", len(names), heading, ", ".join(names[:_SHOWN]), more)


def _workdir(path: pathlib.Path, experiment: config.Experiment) -> dict[str, np.ndarray]:
    trained_on = config.load(path / config.FILE).input
    if trained_on != experiment.input:
        raise ValueError(
            f"config.input: {experiment.input}, but the weights of {path} were trained on "
            f"{trained_on}; set config.input to that"
        )
    variables = jax.device_get(checkpoint.load_variables(path))
    return flax.traverse_util.flatten_dict(variables, sep="/")


def _file(path: pathlib.Path, experiment: config.Experiment) -> dict[str, np.ndarray]:
    values = files.read(path)
    family = known.find(values)
    if family is None:
        names = ", ".join(family.name for family in known.FAMILIES)
        raise ValueError(
            f"pretrained: {path} is none of the files that are known here ({names}); its first "
            f"arrays are {', '.join(list(values)[:_SHOWN])}"
        )
    for name, released in family.settings.items():
        if getattr(experiment.model, name) != released:
            log.warning(
                "config.model.%s is %r; these weights were trained with %r",
                name,
                getattr(experiment.model, name),
                released,
            )
    converted = family.convert(values, experiment.input)
    used = set(family.used)
    # Under their own names, so that the account lists them.
    rest = {name: value for name, value in values.items() if name not in used}
    return converted | rest
