"""Where a run begins: fresh variables, and other weights in their place."""

import fnmatch
import logging
import operator
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import flax.traverse_util
import numpy as np
from jaxtyping import PyTree

from ssd_jax import config
from ssd_jax import weight_files as files
from ssd_jax.checkpoints import detector_file
from ssd_jax.checkpoints.trained import load
from ssd_jax.pretrained import known
from ssd_jax.pretrained.class_heads import choose, class_places, is_class_head
from ssd_jax.pretrained.released import listed, without_prefix

log = logging.getLogger(__name__)


class Fit(NamedTuple):
    """What became of every array of a detector and of a file, by name."""

    loaded: tuple[str, ...]
    classes: tuple[str, ...]  # class heads, for other classes: left fresh
    misfits: tuple[str, ...]  # in both, with different shapes (both are given)
    fresh: tuple[str, ...]  # in the detector only
    unused: tuple[str, ...]  # in the file only
    not_asked: tuple[str, ...] = ()  # left out by config.init_only
    reordered: tuple[str, ...] = ()  # of those loaded: class heads, in this detector's order
    their_classes: tuple[str, ...] = ()  # of the file's detector, where it names them


def initialize(variables: PyTree, source: str, experiment: config.Experiment) -> tuple[PyTree, Fit]:
    """Returns variables in which other weights replace fresh ones, and an account.

    A file's first convolution is adapted to the order of the channels and the scale of the pixels;
    it cannot be to their mean. Class heads for other classes are left fresh, and those for the same
    ones take this detector's order. Any other array of another shape is an error, unless
    `experiment.init_partial`. `experiment.init_only` names the arrays to take.

    Args:
        variables: fresh, of the detector.
        source: a workdir of this project, a file of `launch.import_weights`, or a file of one of
            `known.FAMILIES`.
        experiment: of the detector.

    Raises:
        ValueError: where the source cannot be read, an array does not fit or none does, or it was
            trained on another normalisation of the pixels.
    """
    path = pathlib.Path(source).expanduser()
    values, trained = _read(path, experiment)
    flat = flax.traverse_util.flatten_dict(variables, sep="/")
    asked = _asked(flat, experiment.init_only)
    fits, classes, misfits, reordered = {}, [], [], []
    places = trained and class_places(trained, experiment)
    for name in asked:
        if name not in values:
            continue
        if trained and is_class_head(name):
            if places is None:
                classes.append(name)
                continue
            if places != tuple(range(trained.model.num_classes)):
                values[name] = choose(values[name], trained.model.num_classes, places)
                reordered.append(name)
        theirs, ours = values[name].shape, flat[name].shape
        if theirs == ours:
            fits[name] = np.asarray(values[name], flat[name].dtype)
        else:
            misfits.append(f"{name} {theirs} -> {ours}")
    fit = Fit(
        loaded=tuple(fits),
        classes=tuple(classes),
        misfits=tuple(misfits),
        fresh=tuple(name for name in asked if name not in values),
        unused=tuple(name for name in values if name not in flat),
        not_asked=tuple(name for name in flat if name not in asked),
        reordered=tuple(name for name in reordered if name in fits),
        their_classes=trained.class_names if trained else (),
    )
    if misfits and not experiment.init_partial:
        raise ValueError(
            f"config.init_from: {len(misfits)} arrays of {source} have another shape than this "
            f"detector's: {listed(misfits, '; ')}. Name those to take with config.init_only, or "
            "leave these fresh with config.init_partial"
        )
    if not fits:
        raise ValueError(
            f"config.init_from: nothing of {source} fits this detector; it has "
            f"{listed(list(values))}; the detector has {listed(list(flat))}"
        )
    return flax.traverse_util.unflatten_dict(flat | fits, sep="/"), fit


def _asked(names: Iterable[str], patterns: Sequence[str]) -> list[str]:
    """Returns the arrays that patterns of paths ask for, parameters and statistics."""
    if not patterns:
        return list(names)
    paths = {name: name.partition("/")[2] for name in names}
    hits = {
        pattern: {name for name, path in paths.items() if fnmatch.fnmatchcase(path, pattern)}
        for pattern in patterns
    }
    if missed := [pattern for pattern, found in hits.items() if not found]:
        raise ValueError(
            f"config.init_only: {', '.join(missed)} matches no parameter of this detector"
        )
    found = set().union(*hits.values())
    return [name for name in paths if name in found]


def report(fit: Fit, source: str) -> None:
    """Logs which arrays were loaded, and which were not."""
    log.info("Loaded %d arrays of %s", len(fit.loaded), source)
    theirs = f" ({listed(fit.their_classes)})" if fit.their_classes else ""
    for heading, names in (
        (f"class heads begin anew, for other classes than theirs{theirs}", fit.classes),
        ("class heads take the order of this detector's classes", fit.reordered),
        ("of another shape, left fresh", fit.misfits),
        ("not in it, left fresh", fit.fresh),
        ("not asked for by config.init_only, left fresh", fit.not_asked),
        ("in it and not used", fit.unused),
    ):
        if names:
            log.info("  %d %s: %s", len(names), heading, listed(names))


def _read(
    path: pathlib.Path, experiment: config.Experiment
) -> tuple[dict[str, np.ndarray], config.Experiment | None]:
    """Returns a source's arrays under our names, and its config if it is a whole detector."""
    if path.is_dir():
        trained, variables = load(path)
    else:
        arrays = files.read(path)
        if not detector_file.is_one(arrays):
            return _file(path, arrays, experiment), None
        trained, variables = detector_file.of_arrays(arrays, str(path))
    if trained.input != experiment.input:
        raise ValueError(
            f"config.input: {experiment.input}, but the weights of {path} were trained on "
            f"{trained.input}; set config.input to that"
        )
    if trained.model.folded != experiment.model.folded:
        raise ValueError(
            f"config.model.folded: {experiment.model.folded}, but the weights of {path} have "
            f"{trained.model.folded}: BatchNorm is worked into the convolutions of one of them"
        )
    return flax.traverse_util.flatten_dict(variables, sep="/"), trained


def _file(
    path: pathlib.Path, values: Mapping[str, np.ndarray], experiment: config.Experiment
) -> dict[str, np.ndarray]:
    values, prefix = without_prefix(values, known.FAMILIES)
    if prefix:
        log.info("%s: its names are read without their prefix %s", path, prefix)
    family = known.find(values)
    if family is None:
        names = ", ".join(family.name for family in known.FAMILIES)
        raise ValueError(
            f"pretrained: {path} is none of the files that are known here ({names}); its arrays "
            f"are {listed(list(values))}"
        )
    for name, released in family.settings.items():
        ours = operator.attrgetter(name)(experiment.model)
        if ours != released:
            message = "config.model.%s is %r; these weights were trained with %r"
            log.warning(message, name, ours, released)
    converted = family.convert(values, experiment.input)
    used = set(family.used)
    # The others keep their names, for the account.
    return converted | {name: value for name, value in values.items() if name not in used}
