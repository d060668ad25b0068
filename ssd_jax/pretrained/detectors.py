"""Other people's trained detectors, whole: every array used, and a config that reproduces them."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import flax.traverse_util
import jax
import numpy as np
from jaxtyping import PyTree

from ssd_jax import config, detectors
from ssd_jax.pretrained import mobilenet_ssd, refinedet, released_classes, ssd
from ssd_jax.pretrained.class_heads import is_class_head
from ssd_jax.pretrained.released import Released, listed

# The files that import_weights takes, by the network's name. In a file the boxes of VOC and of COCO
# are the same arrays, so its owner has to tell them apart.
FAMILIES: Mapping[str, tuple[Released, ...]] = {
    "ssd300_voc": (ssd.CAFFE[300], ssd.PORT),
    "ssd300_coco": (ssd.CAFFE[300], ssd.PORT, ssd.TORCHVISION),
    "ssd512_voc": (ssd.CAFFE[512],),
    "ssd512_coco": (ssd.CAFFE[512],),
    "mobilenet_ssd": (mobilenet_ssd.TRAINED, mobilenet_ssd.DEPLOYED),
    "refinedet320": (refinedet.CAFFE, refinedet.PORT),
    "refinedet512": (refinedet.CAFFE, refinedet.PORT),
}

# The number of classes that a data set's files score, background included: COCO's go to 90.
_SCORED = {"voc": (21,), "coco": (81, 91)}


class Imported(NamedTuple):
    """A detector that was read from somebody's file."""

    family: Released
    experiment: config.Experiment
    variables: PyTree
    used: tuple[str, ...]  # arrays of the file
    unused: tuple[str, ...]  # arrays of the file
    fresh: tuple[str, ...]  # arrays of ours that were left as `init` made them: class heads
    num_scored: int  # classes of the file, background included


def find(arrays: Mapping[str, np.ndarray], model: str) -> Released:
    """Returns the family of a file.

    Raises:
        ValueError: for an unknown model, or arrays of none of its families.
    """
    if model not in FAMILIES:
        raise ValueError(f"--model: expected one of {', '.join(FAMILIES)}; got {model!r}")
    for family in FAMILIES[model]:
        if family.recognises(arrays):
            return family
    known = "; ".join(
        f"{family.name} (has {' and '.join(family.signature)})" for family in FAMILIES[model]
    )
    raise ValueError(
        f"pretrained: as {model} these files are known: {known}. This one has "
        f"{listed(list(arrays))}"
    )


def convert(
    arrays: Mapping[str, np.ndarray],
    family: Released,
    experiment: config.Experiment,
    *,
    names: Sequence[str] = (),
    allow_partial: bool = False,
) -> Imported:
    """Returns somebody's detector as one of ours.

    Args:
        arrays: of the file.
        family: of the file.
        experiment: of the network as configured here, with the family's overrides; its input and
            its classes are filled in.
        names: of the classes, without background, in the file's order; () for
            `released_classes.names`. Classes called `released_classes.NOBODY` are not reported;
            their logits stay, so that the others have the file's scores.
        allow_partial: leave the class heads fresh where the file has another number of classes.

    Raises:
        ValueError: where the file lacks an array, or one has another shape than ours.
    """
    theirs = family.convert(arrays, family.input)
    boxes = experiment.anchors.per_cell(experiment.model.num_maps)
    scores = theirs["params/head1/logits/bias"].size
    if scores % boxes[0]:
        raise ValueError(
            f"pretrained: the first class head has {scores} scores, which {boxes[0]} boxes a cell "
            "cannot share; is this the right --model?"
        )
    num_classes = scores // boxes[0]
    names = tuple(names) or released_classes.names(num_classes)
    is_partial = len(names) + 1 != num_classes
    if is_partial and not allow_partial:
        raise ValueError(
            f"pretrained: this file scores {num_classes - 1} classes and the background, but "
            f"{len(names)} are named: {', '.join(names)}. Name as many, or use --allow_partial to "
            "leave the class heads untrained"
        )
    kept = _check_names(names)
    unreported = tuple(
        i for i, name in enumerate(names, start=1) if name == released_classes.NOBODY
    )
    if is_partial:
        num_ours, unreported = len(kept) + 1, ()
    else:
        num_ours = num_classes
    experiment = dataclasses.replace(
        experiment,
        input=family.input,
        class_names=kept,
        model=dataclasses.replace(experiment.model, num_classes=num_ours),
        decoder=dataclasses.replace(experiment.decoder, unreported=unreported),
    )
    detector = detectors.build(experiment)
    shapes = jax.eval_shape(detector.init, jax.random.key(0))
    ours = flax.traverse_util.flatten_dict(shapes, sep="/")
    fresh = tuple(name for name in ours if is_partial and is_class_head(name))
    _check_shapes(family, theirs, {n: x.shape for n, x in ours.items() if n not in fresh})
    values = {name: theirs[name] for name in ours if name not in fresh}
    used = family.used_for(values)
    if fresh:
        made = jax.jit(detector.init)(jax.random.key(0))
        made = flax.traverse_util.flatten_dict(made, sep="/")
        values |= {name: np.asarray(made[name]) for name in fresh}
    return Imported(
        family,
        experiment,
        {"params": {}, "batch_stats": {}} | flax.traverse_util.unflatten_dict(values, sep="/"),
        used=used,
        unused=tuple(name for name in arrays if name not in set(used)),
        fresh=fresh,
        num_scored=num_classes,
    )


def check_classes(model: str, imported: Imported) -> None:
    """Raises a ValueError for a file without named classes that another model's data set fits.

    The files of that model have the same arrays and other default boxes; it is known by the number
    of classes that it scores.
    """
    fitting = [
        name
        for name, families in FAMILIES.items()
        if imported.family in families
        and imported.num_scored in _SCORED.get(name.rpartition("_")[2], ())
    ]
    if fitting and model not in fitting:
        raise ValueError(
            f"--model: this file scores {imported.num_scored - 1} classes, as "
            f"{' and '.join(fitting)} does, and {model} has other default boxes. Name the classes "
            f"with --classes if the file was trained on those of {model}"
        )


def _check_names(names: Sequence[str]) -> tuple[str, ...]:
    """Returns the names without NOBODY."""
    kept = tuple(name for name in names if name != released_classes.NOBODY)
    if not kept:
        raise ValueError("--classes: expected the name of a class, all are left out")
    if twice := [name for name in kept if kept.count(name) > 1 or not name.strip()]:
        raise ValueError(f"--classes: expected names that differ, got {twice[0]!r}, twice or empty")
    return kept


def _check_shapes(
    family: Released, theirs: Mapping[str, np.ndarray], ours: Mapping[str, tuple[int, ...]]
) -> None:
    if lacking := [name for name in ours if name not in theirs]:
        raise ValueError(
            f"pretrained: {family.name} has nothing for {listed(lacking)} of this config; is this "
            "the right --model?"
        )
    wrong = [
        f"{family.table[name].theirs} is {theirs[name].shape}, our {name} is {shape}"
        for name, shape in ours.items()
        if theirs[name].shape != shape
    ]
    if wrong:
        raise ValueError(
            f"pretrained: {family.name}, as [rows, columns, in, out]: {listed(wrong, '; ')}"
        )
