"""Coverage by size, aspect, class and map: the rows of tables, and all of it for JSON."""

import math
from typing import Any, NamedTuple

import numpy as np

from ssd_jax.coverage.measure import SIZES, Coverage, crossing, share, size_classes

# Width over height on the network's input, by the ratios that anchors have.
ASPECTS = (
    ("taller than 3 to 1", 0, 1 / 3),
    ("tall, 1.5 to 3", 1 / 3, 1 / 1.5),
    ("about square", 1 / 1.5, 1.5),
    ("wide, 1.5 to 3", 1.5, 3),
    ("wider than 3 to 1", 3, math.inf),
)
_BINS = 20  # of the histogram of best IoU
_MOST_POSITIVES = 30  # of the histogram of positives; objects with more count here


class Row(NamedTuple):
    """What is known of some of the objects; nan where there are none."""

    name: str
    objects: int
    covered: float  # share with an anchor at the matching IoU
    forced: float  # share matched only by the bipartite rule
    best_iou: float  # mean
    positives: float  # mean number of anchors trained towards an object


class MapRow(NamedTuple):
    """What is known of a map's anchors."""

    name: str
    anchors: int
    unused: float  # share that no object is matched with
    crossing: float  # share that reaches over the border
    positives: int  # pairs of an object and an anchor trained towards it


def groups(coverage: Coverage, measured_on: str = "picture") -> dict[str, list[Row]]:
    """Returns the rows by "size", "aspect", "class" and "map", each of every object once.

    Args:
        coverage: what to divide.
        measured_on: where the size is measured, "picture" or "input"; see `measure.size_classes`.
            Aspects are those on the network's input. An object's map is the one of its best anchor
            among those trained towards it.
    """
    sizes = size_classes(coverage.area(measured_on))
    width, height = coverage.sides.T
    aspect = width / np.maximum(height, 1e-9)
    by_size = [(name, sizes == name) for name in SIZES]
    if (unknown := sizes == "unknown").any():
        by_size.append(("unknown", unknown))
    by_map = [(name, coverage.source == i) for i, name in enumerate(map_names(coverage))]
    if (none := coverage.source < 0).any():
        by_map.append(("none", none))
    divisions = {
        "size": by_size,
        "aspect": [(name, (aspect >= low) & (aspect < high)) for name, low, high in ASPECTS],
        "class": [
            (name, coverage.labels == label)
            for label, name in enumerate(coverage.class_names, start=1)
        ],
        "map": by_map,
    }
    return {
        division: [_row(coverage, name, of) for name, of in parts]
        for division, parts in divisions.items()
    }


def maps(coverage: Coverage) -> list[MapRow]:
    """Returns a row for the anchors of each map."""
    ends = np.cumsum(coverage.spec.per_map)[:-1]
    uses_of, crossing_of = (np.split(x, ends) for x in (coverage.uses, crossing(coverage.spec)))
    return [
        MapRow(name, len(uses), share(uses == 0), share(over), int(uses.sum()))
        for name, uses, over in zip(map_names(coverage), uses_of, crossing_of, strict=True)
    ]


def map_names(coverage: Coverage) -> list[str]:
    """Returns the names of the maps: "38 x 38", by rows and columns."""
    return [f"{rows} x {columns}" for rows, columns in (m.map_size for m in coverage.spec.maps)]


def best_iou_histogram(coverage: Coverage) -> tuple[np.ndarray, np.ndarray]:
    """Returns the number of objects by their best IoU, and the edges of the bins."""
    return np.histogram(coverage.best_iou, bins=_BINS, range=(0, 1))


def as_json(coverage: Coverage, measured_on: str = "picture") -> dict[str, Any]:
    """Returns everything as values of JSON, with null in place of nan."""
    counts, edges = best_iou_histogram(coverage)
    values = {
        "config": coverage.name,
        "data": coverage.data,
        "images": coverage.num_images,
        "objects": len(coverage.labels),
        "anchors": coverage.spec.num_anchors,
        "iou_threshold": coverage.iou_threshold,
        "sizes_measured_on": measured_on,
        "figures": coverage.figures(measured_on),
        "best_iou_histogram": {"edges": edges.round(6).tolist(), "objects": counts.tolist()},
        "positives_histogram": np.bincount(
            np.minimum(coverage.positives, _MOST_POSITIVES), minlength=_MOST_POSITIVES + 1
        ).tolist(),
        "groups": {
            division: [row._asdict() for row in rows]
            for division, rows in groups(coverage, measured_on).items()
        },
        "maps": [row._asdict() for row in maps(coverage)],
    }
    return _without_nan(values)


def _row(coverage: Coverage, name: str, of: np.ndarray) -> Row:
    values = (coverage.covered, coverage.forced, coverage.best_iou, coverage.positives)
    return Row(name, int(of.sum()), *(share(each[of]) for each in values))


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nan(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
