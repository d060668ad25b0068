"""The convolutions that score the classes: their size and order are those of the classes."""

import re
from collections.abc import Sequence

import numpy as np

from ssd_jax import config

_LOGITS = re.compile(r"params/head\d+/logits/(kernel|bias)")


def is_class_head(name: str) -> bool:
    """Returns whether an array belongs to the class scores."""
    return _LOGITS.fullmatch(name) is not None


def class_places(trained: config.Experiment, ours: config.Experiment) -> tuple[int, ...] | None:
    """Returns the logit of the trained detector for each of ours, background included.

    None stands for other classes. Where either does not name its classes, their number decides.
    """
    if not (trained.class_names and ours.class_names):
        num_classes = trained.model.num_classes
        return tuple(range(num_classes)) if num_classes == ours.model.num_classes else None
    if set(trained.class_names) != set(ours.class_names):
        return None
    unreported = trained.decoder.unreported
    logits = [i for i in range(1, trained.model.num_classes) if i not in unreported]
    numbers = dict(zip(trained.class_names, logits, strict=True))
    return (0, *(numbers[name] for name in ours.class_names))


def choose(scores: np.ndarray, num_classes: int, places: Sequence[int]) -> np.ndarray:
    """Returns the last axis, [boxes * classes], with some of the classes, in that order.

    Raises:
        ValueError: where the axis is not of that many classes.
    """
    if scores.shape[-1] % num_classes:
        raise ValueError(
            f"pretrained: a class head of shape {scores.shape} is not of {num_classes} classes"
        )
    parts = scores.reshape(*scores.shape[:-1], -1, num_classes)[..., list(places)]
    return parts.reshape(*scores.shape[:-1], -1)
