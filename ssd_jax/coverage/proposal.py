"""Anchors for a data set, from the clusters of its boxes, as values of a config."""

import dataclasses
import itertools

import numpy as np
from jaxtyping import Float

from ssd_jax import config
from ssd_jax.coverage import clustering
from ssd_jax.coverage.annotations import BoxSet
from ssd_jax.detectors import anchor_spec
from ssd_jax.detectors.anchor_rules import ExplicitSizes
from ssd_jax.ops.anchors import AnchorMap, AnchorSpec, both_orientations, generate

# Clustering and search look at so many boxes at most, drawn at random.
_MOST_BOXES = 20_000
_ROUNDS = 20
# The weight of a box's best IoU beside its being covered: enough to break ties.
_IOU_WEIGHT = 0.01

# For each map the numbers of two sizes: a cell's first square, and its second or None.
_State = list[tuple[int, int | None]]


def propose(
    experiment: config.Experiment, data: BoxSet, *, clusters: int = 20, seed: int = 0
) -> ExplicitSizes:
    """Returns anchors that cover a data set with as many boxes in a cell as a config has now.

    Clusters give the sizes and the ratios to choose from, and coverage decides where they go:

    1. The sizes to choose from are the sides of squares with the areas of k-means' centres
       (`clustering.by_size`), and those that the config has now.
    2. A map with n ratios (each with its inverse) gets the upper n of n + 1 clusters of the boxes'
       ratios (`clustering.by_ratio`), since its squares serve the lowest. Where that covers less,
       all maps keep their ratios.
    3. Each map in turn takes the sizes of squares that leave the fewest boxes without an anchor at
       the matching IoU, round after round until none changes. Sizes rise from map to map, so that
       coarser maps keep the larger objects: a map's second square is at most the next one's first.

    The search begins with sizes that are evenly spread, and with those of the config where they
    rise like that; its anchors then cover no fewer of the boxes that it looks at. `clip` is kept,
    but the search looks at unclipped anchors.

    Args:
        experiment: the config whose maps, steps and numbers of boxes are kept.
        data: the boxes; at most 20,000 are looked at, drawn at random.
        clusters: how many sizes to look for, at most as many as there are different boxes.
        seed: the seed of the clustering and of the drawing.

    Raises:
        ValueError: for a data set without boxes, for too few sizes, or for a config with several
            scales on one map.
    """
    spec = anchor_spec(experiment)
    if any(entry.more_sizes for entry in spec.maps):
        raise ValueError(
            "proposal.propose: expected one scale on each map, got config.anchors.more_sizes "
            f"{[entry.more_sizes for entry in spec.maps]}"
        )
    boxes = data.sample_on(spec.image_size, _MOST_BOXES, seed)
    sides = boxes[:, 2:] - boxes[:, :2]
    clusters = min(clusters, clustering.most(sides))
    now = [_squares(spec, entry) for entry in spec.maps]
    centres = clustering.by_size(sides, clusters, seed=seed).centres
    sizes = np.sqrt(centres.prod(axis=1)).round(2)
    sizes = np.unique([*sizes, *(size for pair in now for size in pair if size)])
    if len(sizes) <= len(now):
        raise ValueError(
            f"proposal.propose: expected more sizes than the {len(now)} maps, got {len(sizes)} of "
            f"{clusters} clusters"
        )
    starts = [_spread(len(sizes), [bool(second) for _, second in now])]
    number = {size: i for i, size in enumerate(sizes)}
    current = [(number[first], number[second] if second else None) for first, second in now]
    starts += [current] if _rises(current) else []
    clustered = [_ratios(sides, len(entry.ratios) // 2, seed) for entry in spec.maps]
    # Boxes that are all but squares ask for no ratio beside 1.
    usable = [clustered] if all(ratio > 1 for own in clustered for ratio in own) else []
    kept = [tuple(float(ratio) for ratio in entry.ratios[::2]) for entry in spec.maps]
    found = [
        (*_ascend(search, start), ratios)
        for ratios in (*usable, kept)
        for search in [_Search(spec, boxes, sizes, ratios, experiment.loss.iou_threshold)]
        for start in starts
    ]
    _, state, ratios = max(found, key=lambda one: one[0])
    # The side of the second square is the root of both sizes' product.
    second = [0.0 if b is None else round(float(sizes[b] ** 2 / sizes[a]), 2) for a, b in state]
    return ExplicitSizes(
        min_sizes=tuple(float(sizes[a]) for a, _ in state),
        max_sizes=tuple(second) if any(second) else (),
        ratios=tuple(ratios),
        steps=tuple(float(entry.step[0]) for entry in spec.maps if entry.step is not None),
        clip=spec.clip,
    )


def flags(anchors: ExplicitSizes) -> list[str]:
    """Returns the flags that give a config these anchors on a command line."""
    default = ExplicitSizes()
    names = [field.name for field in dataclasses.fields(anchors)]
    changed = [name for name in names if getattr(anchors, name) != getattr(default, name)]
    fields = [f"--config.anchors.{name}={getattr(anchors, name)}" for name in changed]
    return ["--config.anchors=sizes", *fields]


def _ratios(sides: Float[np.ndarray, "n 2"], count: int, seed: int) -> tuple[float, ...]:
    if not count:
        return ()
    clusters = min(count + 1, clustering.most(sides))
    centres = clustering.by_ratio(sides, clusters, seed=seed).centres[:, 0]
    found = [float(ratio) for ratio in centres.round(2)][-count:]
    return (*[1.0] * (count - len(found)), *found)


def _squares(spec: AnchorSpec, entry: AnchorMap) -> tuple[float, float]:
    """Returns the sides of the squares of a map's cells now, the second 0 where there is none."""
    cell = generate(dataclasses.replace(spec, maps=(entry,), clip=""))[: entry.per_cell]
    sides = (cell[:, 2].astype(np.float64) * spec.image_size[1]).round(2)
    return float(sides[0]), float(sides[1]) if entry.max_size is not None else 0.0


def _spread(num_sizes: int, two: list[bool]) -> _State:
    lows = [i * (num_sizes - 1) // len(two) for i in range(len(two))]
    return [(low, low + 1 if second else None) for low, second in zip(lows, two, strict=True)]


def _rises(state: _State) -> bool:
    own = all(high is None or low < high for low, high in state)
    pairs = itertools.pairwise(state)
    return own and all(
        low < next_low and (high or 0) <= next_low for (low, high), (next_low, _) in pairs
    )


class _Search:
    """The best IoU of every box with the anchors of a choice of sizes, from tables."""

    def __init__(
        self,
        spec: AnchorSpec,
        boxes: Float[np.ndarray, "n 4"],
        sizes: Float[np.ndarray, " k"],
        ratios: list[tuple[float, ...]],
        iou_threshold: float,
    ):
        self.num_sizes, self.iou_threshold = len(sizes), iou_threshold
        # The IoU on each map by size, with a square alone and with the ratios too: [k, n].
        self.squares, self.cells = [], []
        for entry, own in zip(spec.maps, ratios, strict=True):
            distance = _to_nearest_centre(boxes, entry, spec.image_size)
            table = np.stack([_shape_iou(boxes, distance, s, s) for s in sizes])
            self.squares.append(table)
            for ratio in both_orientations(*own):
                root = np.sqrt(ratio)
                stretched = [_shape_iou(boxes, distance, s * root, s / root) for s in sizes]
                table = np.maximum(table, np.stack(stretched))
            self.cells.append(table)

    def best_iou(self, i: int, low: int, high: int | None) -> Float[np.ndarray, " n"]:
        """Returns the boxes' best IoU on one map."""
        only_one = self.cells[i][low]
        return only_one if high is None else np.maximum(only_one, self.squares[i][high])

    def value(self, best: Float[np.ndarray, " n"]) -> float:
        """Returns the number of covered boxes, plus a little for their IoU."""
        return np.count_nonzero(best >= self.iou_threshold) + _IOU_WEIGHT * float(best.sum())


def _ascend(search: _Search, start: _State) -> tuple[float, _State]:
    """Returns the value and the state after improving one map at a time, the others fixed."""
    state, m, k = list(start), len(start), search.num_sizes
    value = 0.0
    for _ in range(_ROUNDS):
        before = list(state)
        for i in range(m):
            others = [search.best_iou(j, *state[j]) for j in range(m) if j != i]
            rest = np.max(others, axis=0) if others else np.float32(0)
            below, high_below = state[i - 1] if i else (-1, None)
            first = below + 1 if high_below is None else high_below
            next_low = state[i + 1][0] if i + 1 < m else k
            options = [
                (low, high)
                for low in range(first, next_low)
                for high in (
                    [None] if state[i][1] is None else range(low + 1, min(next_low + 1, k))
                )
            ]
            values = [search.value(np.maximum(rest, search.best_iou(i, *one))) for one in options]
            value, state[i] = max(zip(values, options, strict=True), key=lambda one: one[0])
        if state == before:
            break
    return value, state


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
