"""k-means over boxes, for the sizes and the aspect ratios of a data set."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

_ROUNDS = 300


class Clusters(NamedTuple):
    """The result of one k-means."""

    centres: Float[np.ndarray, "k d"]  # by rising area, or by rising ratio
    assignment: Int[np.ndarray, " n"]  # of every box
    error: float  # the mean distance of a box to its centre


def by_size(sides: Float[np.ndarray, "n 2"], k: int, *, seed: int = 0) -> Clusters:
    """Returns k boxes that stand for the sizes of many, by the distance 1 - IoU.

    IoU is that of two boxes with one centre (Redmon & Farhadi, "YOLO9000", section 2); a centre is
    the mean width and height of its boxes. The sides, width and height, have any unit.

    Raises:
        ValueError: for fewer different boxes than k.
    """
    width, height = sides[:, :1], sides[:, 1:]
    area = width * height

    def distance(centres: np.ndarray) -> np.ndarray:
        shared = np.minimum(width, centres[:, 0]) * np.minimum(height, centres[:, 1])
        return 1 - shared / (area + centres.prod(-1) - shared)

    found = _k_means(sides, k, distance, seed)
    order = np.argsort(found.centres.prod(-1), kind="stable")
    return _reordered(found, order)


def by_ratio(sides: Float[np.ndarray, "n 2"], k: int, *, seed: int = 0) -> Clusters:
    """Returns k aspect ratios, longer side over shorter, that stand for those of many boxes.

    The distance is that of the logarithms, so that twice and half as long are equally far; a
    centre is the geometric mean of its boxes' ratios. Width and height have the same unit.

    Raises:
        ValueError: for fewer different ratios than k.
    """
    logs = np.abs(np.log(sides[:, :1] / sides[:, 1:]))
    found = _k_means(logs, k, lambda centres: np.abs(logs - centres.T), seed)
    found = found._replace(centres=np.exp(found.centres))
    return _reordered(found, np.argsort(found.centres[:, 0], kind="stable"))


def most(sides: Float[np.ndarray, "n 2"]) -> int:
    """Returns the most clusters there can be, of sizes and of ratios alike."""
    ratios = np.abs(np.log(sides[:, 0] / sides[:, 1]))
    return min(len(np.unique(sides, axis=0)), len(np.unique(ratios)))


def _k_means(
    points: np.ndarray, k: int, distance: Callable[[np.ndarray], np.ndarray], seed: int
) -> Clusters:
    """Lloyd's algorithm from k-means++'s first centres."""
    points = points.astype(np.float64)
    if k < 1 or len(np.unique(points, axis=0)) < k:
        raise ValueError(
            f"clustering: expected 1 <= k <= the number of different boxes, got k {k} and "
            f"{len(points)} boxes"
        )
    rng = np.random.default_rng(seed)
    centres = points[rng.integers(len(points))][None]
    while len(centres) < k:
        nearest = distance(centres).min(axis=1).clip(0)
        chosen = rng.choice(len(points), p=nearest**2 / (nearest**2).sum())
        centres = np.concatenate((centres, points[chosen][None]))
    distances = distance(centres)
    assignment = distances.argmin(axis=1)
    for _ in range(_ROUNDS):
        members = np.bincount(assignment, minlength=k)
        for axis, values in enumerate(points.T):
            sums = np.bincount(assignment, values, minlength=k)
            centres[:, axis] = np.where(members, sums / np.maximum(members, 1), centres[:, axis])
        before, distances = assignment, distance(centres)
        assignment = distances.argmin(axis=1)
        if (assignment == before).all():
            break
    return Clusters(centres, assignment, float(distances.min(axis=1).mean()))


def _reordered(found: Clusters, order: np.ndarray) -> Clusters:
    place = np.argsort(order)
    return found._replace(centres=found.centres[order], assignment=place[found.assignment])


def elbow(errors: Sequence[float]) -> int:
    """Returns the number of clusters after which another no longer pays.

    DSSD adds clusters while each takes away more than a fifth of the error (section 3.1). The
    errors are those of 1, 2, ... clusters.
    """
    for k in range(1, len(errors)):
        if errors[k] > 0.8 * errors[k - 1]:
            return k
    return len(errors)
