"""COCO's average precision and recall: IoU .50:.05:.95, by object size and detections per image.

The matching is hotcoco's, which gives the same numbers as pycocotools, bit for bit (the tests
compare the two), without its text on the terminal and about fifty times faster.
"""

from typing import NamedTuple

import hotcoco
import numpy as np

from ssd_jax.evaluate.ground_truth import DetectionTable, ObjectTable, xywh

# COCO leaves out an object whose area is outside the range that is measured, and the widest range
# ends at 1e10. An object of this area is left out of them all: that is VOC's rule for difficult
# objects. (iscrowd would also leave it out, but with another overlap and for many detections.)
_UNCOUNTED_AREA = 1e12

# Places in the library's tables: IoU thresholds, sizes of objects, detections per image.
_IOUS = {"AP": slice(None), "AP50": slice(0, 1), "AP75": slice(5, 6)}
_ALL_SIZES, _SIZES = 0, {"s": 1, "m": 2, "l": 3}
_LIMITS = {"1": 0, "10": 1, "100": 2}


class CocoScores(NamedTuple):
    """COCO's twelve numbers, and three of each class; NaN where there is no object to find."""

    summary: dict[str, float]  # AP AP50 AP75 APs APm APl AR1 AR10 AR100 ARs ARm ARl
    per_class: dict[str, np.ndarray]  # AP AP50 AP75, float64[C - 1]


def evaluate(
    objects: ObjectTable, detections: DetectionTable, *, num_images: int, num_classes: int
) -> CocoScores:
    """Returns the scores of a data set's detections by COCO's rules.

    Crowds are ignored as COCO does; difficult objects are left out: neither they nor the one
    detection matched with each count. Of an image and a class the best 100 detections count. The
    images include those without objects, and the classes the background.
    """
    truth = hotcoco.COCO.from_arrays(
        images=[{"id": i} for i in range(num_images)],
        categories=[{"id": label, "name": str(label)} for label in range(1, num_classes)],
        image_ids=objects.image,
        category_ids=objects.labels,
        boxes=xywh(objects.boxes_xyxy),
        area=np.where(objects.difficult, _UNCOUNTED_AREA, objects.area),
        iscrowd=objects.crowd,
    )
    boxes = xywh(detections.boxes_xyxy)
    rows = np.column_stack([detections.image, boxes, detections.scores, detections.labels])
    results = truth.loadRes(rows)
    evaluation = hotcoco.COCOeval(truth, results, "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    precision = evaluation.eval["precision"]  # [10 IoUs, 101 recalls, C - 1, 4 sizes, 3 limits]
    recall = evaluation.eval["recall"]  # [10 IoUs, C - 1, 4 sizes, 3 limits]

    of_all = precision[..., _ALL_SIZES, -1]
    summary = {name: _mean(of_all[rows]) for name, rows in _IOUS.items()}
    summary |= {f"AP{name}": _mean(precision[..., i, -1]) for name, i in _SIZES.items()}
    summary |= {f"AR{name}": _mean(recall[..., _ALL_SIZES, i]) for name, i in _LIMITS.items()}
    summary |= {f"AR{name}": _mean(recall[..., i, -1]) for name, i in _SIZES.items()}
    per_class = {
        name: np.array([_mean(of_all[rows, :, k]) for k in range(num_classes - 1)])
        for name, rows in _IOUS.items()
    }
    return CocoScores(summary, per_class)


def _mean(table: np.ndarray) -> float:
    """Returns the mean of the entries that have objects (the others are -1), NaN without any."""
    return float(table[table > -1].mean()) if (table > -1).any() else float("nan")
