"""What the evaluators compare: the annotated objects and the detections of each image, in pixels.

Pixel boxes are continuous here: x0, y0, x1, y1 are the edges of the box, so its width is x1 - x0.
A COCO box (x, y, w, h) is (x, y, x + w, y + h). A VOC box counts pixels from 1 and includes the
last one, so it is (xmin - 1, ymin - 1, xmax, ymax); VOC's inclusive width, xmax - xmin + 1, is then
exactly x1 - x0, and VOC's IoU with its "+ 1"s is exactly the continuous IoU. Both metrics
therefore share these boxes and one IoU.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

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
    """Returns what a record says of its picture, in pixels, nothing dropped."""
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
    """The objects of all images in one table, image after image."""

    image: np.ndarray  # int64[n], position of the image in the data set
    boxes_xyxy: np.ndarray  # float64[n, 4]
    labels: np.ndarray  # int64[n]
    difficult: np.ndarray  # bool[n]
    crowd: np.ndarray  # bool[n]
    area: np.ndarray  # float64[n]


class DetectionTable(NamedTuple):
    """The detections of all images in one table, in the order in which they were given."""

    image: np.ndarray  # int64[n], position of the image in the data set
    boxes_xyxy: np.ndarray  # float64[n, 4]
    scores: np.ndarray  # float64[n]
    labels: np.ndarray  # int64[n]


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
            scores or corners that are not finite, boxes that are inside out.
    """
    objects = tabulate_objects(ground_truths, num_classes=num_classes)
    detections = list(detections)
    position = {truth.image_id: i for i, truth in enumerate(ground_truths)}
    _check_ids("detections", detections)
    for found in detections:
        if found.image_id not in position:
            raise ValueError(
                f"ground_truth.tabulate: detections of image '{found.image_id}', which is not "
                f"among the {len(position)} images of the ground truth"
            )
    found_positions = np.array([position[x.image_id] for x in detections], np.int64)
    found = DetectionTable(
        image=np.repeat(found_positions, _counts("detections", detections, first_column=1)),
        boxes_xyxy=_stack([x.boxes_xyxy for x in detections], np.float64, 4),
        scores=_stack([x.scores for x in detections], np.float64),
        labels=_stack([x.labels for x in detections], np.int64),
    )
    image_ids = [truth.image_id for truth in ground_truths]
    _check_values("detections", found, found.scores, num_classes, image_ids)
    return objects, found


def tabulate_objects(ground_truths: Sequence[GroundTruth], *, num_classes: int) -> ObjectTable:
    """Checks the ground truth and lays it out as one table.

    Args:
        ground_truths: every image of the data set, those without objects too.
        num_classes: C, background included.

    Raises:
        ValueError: for no image at all, an image given twice, arrays of the wrong shape, labels
            outside 1 .. C-1, areas or corners that are not finite, negative areas, boxes that are
            inside out; with the image and the remedy.
    """
    if not ground_truths:
        raise ValueError("ground_truth.tabulate: expected at least one image, got none")
    _check_ids("ground truth", ground_truths)
    truth_counts = _counts("ground truth", ground_truths, first_column=3)
    objects = ObjectTable(
        image=np.repeat(np.arange(len(ground_truths)), truth_counts),
        boxes_xyxy=_stack([x.boxes_xyxy for x in ground_truths], np.float64, 4),
        labels=_stack([x.labels for x in ground_truths], np.int64),
        difficult=_stack([x.difficult for x in ground_truths], bool),
        crowd=_stack([x.crowd for x in ground_truths], bool),
        area=_stack([x.area for x in ground_truths], np.float64),
    )
    image_ids = [truth.image_id for truth in ground_truths]
    _check_values("ground truth", objects, objects.area, num_classes, image_ids)
    return objects


def _check_ids(side: str, entries: Sequence[GroundTruth] | Sequence[ImageDetections]) -> None:
    """Raises where an image occurs twice."""
    first: dict[str, int] = {}
    for number, entry in enumerate(entries):
        if entry.image_id in first:
            raise ValueError(
                f"ground_truth.tabulate: {side} of image '{entry.image_id}' twice, as number "
                f"{first[entry.image_id]} and {number}: name no picture twice, and give pictures "
                "of different splits different ids"
            )
        first[entry.image_id] = number


def _counts(
    side: str, entries: Sequence[GroundTruth] | Sequence[ImageDetections], *, first_column: int
) -> np.ndarray:
    """Returns the boxes of each entry, int64[entries]; raises where its arrays do not agree."""
    counts = np.zeros(len(entries), np.int64)
    for i, entry in enumerate(entries):
        boxes, *others = (np.shape(column) for column in entry[first_column:])
        counts[i] = boxes[0]
        # An image without boxes may write them as [], whose shape is (0,).
        if (boxes != (boxes[0], 4) and boxes != (0,)) or any(x != boxes[:1] for x in others):
            raise ValueError(
                f"ground_truth.tabulate: expected boxes [n, 4] and one entry per box in the {side} "
                f"of image '{entry.image_id}', got {boxes} and {', '.join(map(str, others))}"
            )
    return counts


def _stack(columns: list[np.ndarray], dtype: type, *width: int) -> np.ndarray:
    """Returns the columns of all images below each other, also where there are none."""
    empty = np.zeros((0, *width), dtype)
    return np.concatenate([empty, *(np.reshape(x, (-1, *width)) for x in columns)]).astype(dtype)


def _check_values(
    side: str,
    table: ObjectTable | DetectionTable,
    numbers: np.ndarray,
    num_classes: int,
    image_ids: list[str],
) -> None:
    """Raises for the first box whose label, corners or number (area or score) cannot be used."""
    boxes = table.boxes_xyxy
    rules = (
        (
            (table.labels >= 1) & (table.labels < num_classes),
            f"a label in 1 .. {num_classes - 1} (0 is background)",
        ),
        (np.isfinite(boxes).all(axis=1) & np.isfinite(numbers), "finite corners, areas and scores"),
        ((boxes[:, :2] <= boxes[:, 2:]).all(axis=1), "x0 <= x1 and y0 <= y1"),
    )
    remedy = ""
    if isinstance(table, ObjectTable):
        rules = (*rules, (table.area >= 0, "an area of at least 0"))
        remedy = "; correct the annotation and prepare the data set again"
    for kept, expected in rules:
        if not kept.all():
            row = np.flatnonzero(~kept)[0]
            raise ValueError(
                f"ground_truth.tabulate: expected {expected}, got label {table.labels[row]}, box "
                f"{boxes[row].tolist()}, {numbers[row]} in the {side} of image "
                f"'{image_ids[table.image[row]]}'{remedy}"
            )
