"""What the evaluators compare: the annotated objects and the detections of each image, in pixels.

Pixel boxes are continuous here: x0, y0, x1, y1 are the edges of the box, so its width is x1 - x0.
A COCO box (x, y, w, h) is (x, y, x + w, y + h). A VOC box counts pixels from 1 and includes the
last one, so it is (xmin - 1, ymin - 1, xmax, ymax); VOC's inclusive width, xmax - xmin + 1, is then
exactly x1 - x0, and VOC's IoU with its "+ 1"s is exactly the continuous IoU. Both metrics
therefore share these boxes and one IoU.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from ssd_jax.data import records
from ssd_jax.inference import ImageDetections


class GroundTruth(NamedTuple):
    """The annotated objects of one image."""

    image_id: str
    height: int
    width: int
    boxes_xyxy: np.ndarray  # float64[n, 4], continuous pixels
    labels: np.ndarray  # int32[n], 1 .. C-1
    difficult: np.ndarray  # bool[n]: VOC's flag, an object that counts neither way
    crowd: np.ndarray  # bool[n]: COCO's iscrowd, a region of many objects
    area: np.ndarray  # float64[n], pixels: the annotated area (of the mask, in COCO)


def of_record(record: records.Record) -> GroundTruth:
    """Returns all objects of a record, in pixels of its picture."""
    return GroundTruth(
        image_id=record.image_id,
        height=record.height,
        width=record.width,
        boxes_xyxy=record.boxes_in_pixels(),
        labels=record.labels,
        difficult=record.difficult,
        crowd=record.crowd,
        area=record.area.astype(np.float64),
    )


class ObjectTable(NamedTuple):
    """The objects of all images in one table, image after image; see _DTYPES."""

    image: np.ndarray  # int64[n], position of the image in the data set
    boxes_xyxy: np.ndarray
    labels: np.ndarray
    difficult: np.ndarray
    crowd: np.ndarray
    area: np.ndarray


class DetectionTable(NamedTuple):
    """The detections of all images in one table, in the order in which they were given."""

    image: np.ndarray  # int64[n], position of the image in the data set
    boxes_xyxy: np.ndarray
    scores: np.ndarray
    labels: np.ndarray


_Table = TypeVar("_Table", ObjectTable, DetectionTable)

# The columns of the tables: boxes are [n, 4], the others [n].
_DTYPES = {"boxes_xyxy": np.float64, "labels": np.int64, "difficult": bool, "crowd": bool,
           "area": np.float64, "scores": np.float64}  # fmt: skip


def tabulate(
    ground_truths: Sequence[GroundTruth],
    detections: Iterable[ImageDetections],
    *,
    num_classes: int,
) -> tuple[ObjectTable, DetectionTable]:
    """Checks the two sides of an evaluation and lays each out as one table.

    Args:
        ground_truths: every image of the data set, those without objects too.
        detections: at most one entry per image, in any order; an image left out has none.
        num_classes: C, background included.

    Raises:
        ValueError: for ground truth that `tabulate_objects` refuses, an image given twice,
            detections of an unknown image, arrays of the wrong shape, labels outside 1 .. C-1,
            scores or corners that are not finite, or boxes that are inside out.
    """
    objects = tabulate_objects(ground_truths, num_classes=num_classes)
    detections = list(detections)
    position = {truth.image_id: i for i, truth in enumerate(ground_truths)}
    for found in detections:
        if found.image_id not in position:
            raise ValueError(
                f"ground_truth.tabulate: detections of image '{found.image_id}', which is not "
                f"among the {len(position)} images of the ground truth"
            )
    positions = [position[found.image_id] for found in detections]
    table = _table(DetectionTable, "detections", detections, positions)
    _check_values("detections", table, num_classes, ground_truths)
    return objects, table


def tabulate_objects(ground_truths: Sequence[GroundTruth], *, num_classes: int) -> ObjectTable:
    """Checks the ground truth and lays it out as one table; see `tabulate`.

    Raises:
        ValueError: for no image at all, an image given twice, arrays of the wrong shape, labels
            outside 1 .. C-1, areas or corners that are not finite, negative areas, or boxes that
            are inside out; with the image and the remedy.
    """
    if not ground_truths:
        raise ValueError("ground_truth.tabulate: expected at least one image, got none")
    table = _table(ObjectTable, "ground truth", ground_truths, range(len(ground_truths)))
    _check_values("ground truth", table, num_classes, ground_truths)
    return table


def xywh(boxes_xyxy: np.ndarray) -> np.ndarray:
    """Returns the corner, the width and the height of each box, [n, 4], as COCO writes them."""
    corners, opposite = boxes_xyxy[:, :2], boxes_xyxy[:, 2:]
    return np.concatenate([corners, opposite - corners], axis=1)


def _table(
    kind: type[_Table], side: str, entries: Sequence[Any], positions: Sequence[int]
) -> _Table:
    """Returns one table of all entries, each at its image's position.

    Raises:
        ValueError: where an image occurs twice, or the arrays of one do not agree.
    """
    names = kind._fields[1:]  # all but `image`, which are the entries' own fields
    first: dict[str, int] = {}
    counts = np.zeros(len(entries), np.int64)
    for number, entry in enumerate(entries):
        if entry.image_id in first:
            raise ValueError(
                f"ground_truth.tabulate: {side} of image '{entry.image_id}' twice, as number "
                f"{first[entry.image_id]} and {number}: name no picture twice, and give pictures "
                "of different splits different ids"
            )
        first[entry.image_id] = number
        boxes, *others = (np.shape(getattr(entry, name)) for name in names)
        counts[number] = boxes[0]
        # An image without boxes may write them as [], whose shape is (0,).
        if (boxes != (boxes[0], 4) and boxes != (0,)) or any(x != boxes[:1] for x in others):
            raise ValueError(
                f"ground_truth.tabulate: expected boxes [n, 4] and one entry per box in the {side} "
                f"of image '{entry.image_id}', got {boxes} and {', '.join(map(str, others))}"
            )
    columns = []
    for name in names:
        width = (4,) if name == "boxes_xyxy" else ()
        parts = (np.reshape(getattr(entry, name), (-1, *width)) for entry in entries)
        # The empty part is for a data set without any box.
        column = np.concatenate([np.zeros((0, *width), _DTYPES[name]), *parts])
        columns.append(column.astype(_DTYPES[name]))
    return kind(np.repeat(np.array(positions, np.int64), counts), *columns)


def _check_values(
    side: str,
    table: ObjectTable | DetectionTable,
    num_classes: int,
    ground_truths: Sequence[GroundTruth],
) -> None:
    """Raises for the first box whose label, corners or number (area or score) cannot be used."""
    boxes, remedy = table.boxes_xyxy, ""
    numbers = table.area if isinstance(table, ObjectTable) else table.scores
    in_range = (table.labels >= 1) & (table.labels < num_classes)
    is_finite = np.isfinite(boxes).all(axis=1) & np.isfinite(numbers)
    rules = [
        (in_range, f"a label in 1 .. {num_classes - 1} (0 is background)"),
        (is_finite, "finite corners, areas and scores"),
        ((boxes[:, :2] <= boxes[:, 2:]).all(axis=1), "x0 <= x1 and y0 <= y1"),
    ]
    if isinstance(table, ObjectTable):
        rules.append((table.area >= 0, "an area of at least 0"))
        remedy = "; correct the annotation and prepare the data set again"
    for kept, expected in rules:
        if not kept.all():
            row = np.flatnonzero(~kept)[0]
            raise ValueError(
                f"ground_truth.tabulate: expected {expected}, got label {table.labels[row]}, box "
                f"{boxes[row].tolist()}, {numbers[row]} in the {side} of image "
                f"'{ground_truths[table.image[row]].image_id}'{remedy}"
            )
