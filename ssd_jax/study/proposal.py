"""Anchors for a data set, from the clusters of its boxes, as values of a config."""

import dataclasses

import numpy as np
from jaxtyping import Float

from ssd_jax import config
from ssd_jax.detectors.anchors import experiment_spec
from ssd_jax.ops.anchors import AnchorMap, AnchorSpec, both_orientations
from ssd_jax.study import clustering
from ssd_jax.study.annotations import BoxSet

# Boxes that clustering and search look at; of more, so many are drawn at random.
MOST_BOXES = 50_000
_ROUNDS = 20
# What a box's best IoU counts beside its being covered: enough to tell equals apart.
_IOU_WEIGHT = 0.01


def propose(
    experiment: config.Experiment, data: BoxSet, *, clusters: int = 20, seed: int = 0
) -> config.Anchors:
    """Returns anchors that cover a data set with as many boxes in a cell as a config has now.

    The clusters say which sizes and ratios there are, and coverage where they go:

    1. The sizes are the sides of squares with the areas of k-means' centres (`clustering.by_size`).
    2. A map with n ratios (each with its inverse) gets the upper n of n + 1 clusters of the boxes'
       ratios (`clustering.by_ratio`); the lowest is what its squares are for.
    3. Map by map, the pair of sizes for the two squares of a cell is taken that leaves the fewest
       boxes without an anchor at the matching IoU, round after round until none changes. Sizes
       rise from map to map, so that coarser maps keep the larger objects: a map's second square is
       at most the next one's first.

    Args:
      experiment: whose maps, steps and numbers of boxes are kept.
      data: the boxes.
      clusters: how many sizes to choose from, more than there are maps.
      seed: of the clustering, and of the choice of boxes where there are more than 50,000.

    Returns:
      The config's group, in sizes of pixels; what plays no part beside them stays as it was.

    Raises:
      ValueError: for too few clusters, or too few different boxes.
    """
    spec = experiment_spec(experiment)
    height, width = spec.image_size
    boxes = data.sample(MOST_BOXES, seed) * np.array((width, height) * 2)
    boxes = boxes[(boxes[:, 2:] > boxes[:, :2]).all(axis=1)]
    sides = boxes[:, 2:] - boxes[:, :2]
    centres = clustering.by_size(sides, clusters, seed=seed).centres
    sizes = np.unique(np.sqrt(centres.prod(axis=1)).round(1))
    if len(sizes) <= len(spec.maps):
        raise ValueError(
            f"proposal.propose: expected clusters of more sizes than the {len(spec.maps)} maps, "
            f"got {len(sizes)} of {clusters} clusters"
        )
    ratios = [_ratios(sides, len(entry.ratios) // 2, seed) for entry in spec.maps]
    chosen = _choose(spec, boxes, sizes, ratios, experiment.loss.iou_threshold)
    # The second square's side is the root of both sizes' product.
    high = [round(float(b**2 / a), 2) if b else 0.0 for a, b in chosen]
    steps = tuple(float(entry.step[0]) for entry in spec.maps if entry.step is not None)
    return dataclasses.replace(
        experiment.anchors,
        preset="",
        min_sizes=tuple(float(a) for a, _ in chosen),
        max_sizes=tuple(high) if any(high) else (),
        ratios=tuple(ratios),
        steps=steps,
        whole_pixels=False,
        clip=spec.clip,
    )


def overrides(old: config.Anchors, new: config.Anchors) -> list[str]:
    """Returns the flags that turn one group of anchors into another on a command line."""
    names = [field.name for field in dataclasses.fields(config.Anchors)]
    changed = [name for name in names if getattr(old, name) != getattr(new, name)]
    return [f"--config.anchors.{name}={getattr(new, name)}" for name in changed]


def _ratios(sides: Float[np.ndarray, "n 2"], count: int, seed: int) -> tuple[float, ...]:
    if not count:
        return ()
    centres = clustering.by_ratio(sides, count + 1, seed=seed).centres[1:, 0]
    return tuple(float(ratio) for ratio in centres.round(2))


def _choose(
    spec: AnchorSpec,
    boxes: Float[np.ndarray, "n 4"],
    sizes: Float[np.ndarray, " k"],
    ratios: list[tuple[float, ...]],
    iou_threshold: float,
) -> list[tuple[float, float]]:
    """Returns the side of the squares of each map's cells, the second 0 where there is none."""
    m, k = len(spec.maps), len(sizes)
    squares, cells = [], []  # best IoU of each box with a square alone, and with the ratios too
    for entry, own in zip(spec.maps, ratios, strict=True):
        distance = _to_nearest_centre(boxes, entry, spec.image_size)
        table = np.stack([_shape_iou(boxes, distance, s, s) for s in sizes])
        squares.append(table)
        for ratio in both_orientations(*own):
            root = np.sqrt(ratio)
            stretched = [_shape_iou(boxes, distance, s * root, s / root) for s in sizes]
            table = np.maximum(table, np.stack(stretched))
        cells.append(table)

    def value(best: np.ndarray) -> float:
        return np.count_nonzero(best >= iou_threshold) + _IOU_WEIGHT * best.sum(dtype=np.float64)

    def of(i: int, low: int, high: int | None) -> np.ndarray:
        return cells[i][low] if high is None else np.maximum(cells[i][low], squares[i][high])

    two = [entry.max_size is not None for entry in spec.maps]
    # Evenly spread at first; in numbers of sizes, the second None where a cell has one square.
    lows = [i * (k - 1) // m for i in range(m)]
    state = [(low, low + 1 if second else None) for low, second in zip(lows, two, strict=True)]
    for _ in range(_ROUNDS):
        before = list(state)
        for i in range(m):
            others = [of(j, *state[j]) for j in range(m) if j != i]
            rest = np.max(others, axis=0) if others else np.zeros(len(boxes), np.float32)
            below = state[i - 1] if i else (-1, None)
            first = below[0] + 1 if below[1] is None else below[1]
            next_low = state[i + 1][0] if i + 1 < m else k
            options = [
                (low, high)
                for low in range(first, next_low)
                for high in (range(low + 1, min(next_low + 1, k)) if two[i] else [None])
            ]
            state[i] = max(options, key=lambda option: value(np.maximum(rest, of(i, *option))))
        if state == before:
            break
    return [(sizes[low], 0.0 if high is None else sizes[high]) for low, high in state]


def _to_nearest_centre(
    boxes: Float[np.ndarray, "n 4"], entry: AnchorMap, image_size: tuple[int, int]
) -> Float[np.ndarray, "n 2"]:
    """Returns how far each box's centre is from that of the nearest cell, (x, y), pixels."""
    cells = np.array(entry.map_size[::-1])
    step = np.array(entry.step[::-1]) if entry.step else np.array(image_size[::-1]) / cells
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    nearest = np.clip(np.round(centres / step - entry.offset), 0, cells - 1)
    return np.abs(centres - (nearest + entry.offset) * step)


def _shape_iou(
    boxes: Float[np.ndarray, "n 4"], distance: Float[np.ndarray, "n 2"], width: float, height: float
) -> Float[np.ndarray, " n"]:
    """Returns the IoU of each box with one shape of anchor in its nearest cell.

    No other cell has a larger one: a farther centre shares less on either axis.
    """
    sides, shape = boxes[:, 2:] - boxes[:, :2], np.array((width, height))
    shared = np.minimum(np.minimum(sides, shape), (sides + shape) / 2 - distance)
    shared = np.maximum(shared, 0).prod(axis=1)
    return (shared / (sides.prod(axis=1) + width * height - shared)).astype(np.float32)
