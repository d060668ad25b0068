"""Other people's trained detectors, whole: every array used, and a config that reproduces them."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import flax.traverse_util
import jax
import numpy as np
from jaxtyping import PyTree

from ssd_jax import config, detectors
from ssd_jax.pretrained import class_names, mobilenet_ssd, refinedet, ssd
from ssd_jax.pretrained.class_heads import is_class_head
from ssd_jax.pretrained.released import Released

# What import_weights takes, by the network's name. The boxes of VOC and of COCO are the same arrays
# to a file, so that its owner has to say.
FAMILIES: Mapping[str, tuple[Released, ...]] = {
    "ssd300_voc": (ssd.CAFFE[300], ssd.PORT),
    "ssd300_coco": (ssd.CAFFE[300], ssd.PORT, ssd.TORCHVISION),
    "ssd512_voc": (ssd.CAFFE[512],),
    "ssd512_coco": (ssd.CAFFE[512],),
    "mobilenet_ssd": (mobilenet_ssd.TRAINED, mobilenet_ssd.DEPLOYED),
    "refinedet320": (refinedet.CAFFE, refinedet.PORT),
    "refinedet512": (refinedet.CAFFE, refinedet.PORT),
}

# What the files of a data set score, background included: COCO's numbers go to 90.
_SCORED = {"voc": (21,), "coco": (81, 91)}
_SHOWN = 5


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
    """Returns whose file it is.

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
        f"{', '.join(list(arrays)[:_SHOWN])} and {max(len(arrays) - _SHOWN, 0)} more"
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
        family: whose it is.
        experiment: of the network as configured here, with the family's overrides; its input and
            its classes are filled in.
        names: of the classes, without background, in the order of the file's; () for
            `class_names.released`. Classes called `class_names.NOBODY` are not reported; their
            logits stay, so that the scores of the others are the file's.
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
    names = tuple(names) or class_names.released(num_classes)
    is_partial = len(names) + 1 != num_classes
    if is_partial and not allow_partial:
        raise ValueError(
            f"pretrained: this file scores {num_classes - 1} classes and the background, but "
            f"{len(names)} are named: {', '.join(names)}. Name as many, or use --allow_partial to "
            "leave the class heads untrained"
        )
    kept = _check_names(names)
    unreported = tuple(i for i, name in enumerate(names, start=1) if name == class_names.NOBODY)
    experiment = dataclasses.replace(
        experiment,
        input=family.input,
        class_names=kept,
        model=dataclasses.replace(
            experiment.model, num_classes=len(kept) + 1 if is_partial else num_classes
        ),
        decoder=dataclasses.replace(
            experiment.decoder, unreported=() if is_partial else unreported
        ),
    )
    detector = detectors.build(experiment)
    shapes = jax.eval_shape(detector.init, jax.random.key(0))
    ours = flax.traverse_util.flatten_dict(shapes, sep="/")
    fresh = tuple(name for name in ours if is_partial and is_class_head(name))
    _check_shapes(family, theirs, {n: x.shape for n, x in ours.items() if n not in fresh})
    values = {name: theirs[name] for name in ours if name not in fresh}
    if fresh:
        fresh_variables = jax.jit(detector.init)(jax.random.key(0))
        made = flax.traverse_util.flatten_dict(fresh_variables, sep="/")
        values |= {name: np.asarray(made[name]) for name in fresh}
    used = family.used_for(set(values) - set(fresh))
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
    """Checks that a file whose classes nobody named is of the data set that its model is of.

    Raises:
        ValueError: where it scores as many classes as another model's files, which have the same
            arrays and other default boxes.
    """

    def scored(name: str) -> tuple[int, ...]:
        return _SCORED.get(name.rpartition("_")[2], ())

    others = [
        name
        for name, families in FAMILIES.items()
        if imported.family in families and imported.num_scored in scored(name)
    ]
    if others and model not in others:
        raise ValueError(
            f"--model: this file scores {imported.num_scored - 1} classes, as "
            f"{' and '.join(others)} does, and {model} has other default boxes. Name the classes "
            f"with --classes if the file was trained on those of {model}"
        )


def _check_names(names: Sequence[str]) -> tuple[str, ...]:
    """Returns the names without NOBODY."""
    kept = tuple(name for name in names if name != class_names.NOBODY)
    if not kept:
        raise ValueError("--classes: expected the name of a class, all are left out")
    if twice := [name for name in kept if kept.count(name) > 1 or not name.strip()]:
        raise ValueError(f"--classes: expected names that differ, got {twice[0]!r}, twice or empty")
    return kept


def _check_shapes(
    family: Released, theirs: Mapping[str, np.ndarray], ours: Mapping[str, tuple[int, ...]]
) -> None:
    wrong = [
        f"{family.table[name].theirs} is {theirs[name].shape}, our {name} is {shape}"
        for name, shape in ours.items()
        if name in theirs and theirs[name].shape != shape
    ]
    lacking = [name for name in ours if name not in theirs]
    if lacking:
        raise ValueError(
            f"pretrained: {family.name} has nothing for {', '.join(lacking[:_SHOWN])} of this "
            "config; is this the right --model?"
        )
    if wrong:
        more = f"; and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise ValueError(
            f"pretrained: {family.name}, as [rows, columns, in, out]: "
            f"{'; '.join(wrong[:_SHOWN])}{more}"
        )
