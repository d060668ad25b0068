"""PASCAL VOC's average precision: the 11-point rule of 2007 and the area rule of 2010 to 2012.

The rules are those of the VOC development kit (VOCevaldet.m): the detections of a class, over all
images, are read by falling score. Each looks at the object of its class and image that it overlaps
most. With an IoU of the threshold or more it is true if the object was not taken before and false
if it was; below the threshold it is false. A detection of a difficult object counts neither way,
and difficult objects are not expected to be found. COCO's crowds are treated as difficult.

Equal scores are read in the order in which the detections were given; of two objects overlapped
equally the one given first counts.
"""

import itertools
from typing import NamedTuple

import numpy as np

from ssd_jax.evaluate.ground_truth import DetectionTable, ObjectTable

# An object is found where the IoU is at least this.
IOU_THRESHOLD = 0.5


class Overlaps(NamedTuple):
    """The object that each detection overlaps most, of its own class and image."""

    object: np.ndarray  # int64[n], row of the object table; -1 where it overlaps none
    iou: np.ndarray  # float64[n], 0 where it overlaps none


class Curve(NamedTuple):
    """Precision and recall of one class after each detection that counts, by falling score."""

    scores: np.ndarray  # float64[k]
    recall: np.ndarray  # float64[k]
    precision: np.ndarray  # float64[k]
    num_objects: int  # objects that are expected to be found


def best_overlaps(objects: ObjectTable, detections: DetectionTable) -> Overlaps:
    """Returns for each detection the object of its class and image with the largest IoU.

    Memory is linear in the number of detections, however crowded the images are.
    """
    # One number per pair of image and class; the objects that share it follow each other.
    stride = 1 + max(objects.labels.max(initial=0), detections.labels.max(initial=0))
    object_group = objects.image * stride + objects.labels
    order = np.argsort(object_group, kind="stable")
    detection_group = detections.image * stride + detections.labels
    first = np.searchsorted(object_group[order], detection_group, side="left")
    last = np.searchsorted(object_group[order], detection_group, side="right")

    best = np.full(len(detection_group), -1)
    best_iou = np.zeros(len(detection_group))
    # Every detection meets the first object of its group, then every one the second, and so on.
    for nth in range((last - first).max(initial=0)):
        rows = np.flatnonzero(first + nth < last)
        candidates = order[first[rows] + nth]
        iou = _paired_iou(objects.boxes_xyxy[candidates], detections.boxes_xyxy[rows])
        better = iou > best_iou[rows]
        best[rows[better]] = candidates[better]
        best_iou[rows[better]] = iou[better]
    return Overlaps(best, best_iou)


def precision_recall(
    objects: ObjectTable,
    detections: DetectionTable,
    overlaps: Overlaps,
    *,
    num_classes: int,
    iou_threshold: float,
) -> tuple[Curve, ...]:
    """Returns the curve of each of the C - 1 classes, that of label 1 first.

    Args:
        objects: the objects of the data set.
        detections: its detections.
        overlaps: what `best_overlaps` returns for the two.
        num_classes: C, background included.
        iou_threshold: the least IoU that counts as found, in (0, 1].
    """
    if not 0 < iou_threshold <= 1:
        raise ValueError(
            f"voc_ap.precision_recall: expected an IoU threshold in (0, 1], got {iou_threshold}"
        )
    optional = objects.difficult | objects.crowd
    order = np.lexsort((-detections.scores, detections.labels))  # by class, then by falling score
    labels, scores = detections.labels[order], detections.scores[order]
    index = overlaps.object[order]
    hit = overlaps.iou[order] >= iou_threshold
    uncounted = np.zeros(len(order), bool)
    uncounted[hit] = optional[index[hit]]
    claims = np.flatnonzero(hit)
    first_claims = np.unique(index[claims], return_index=True)[1]
    true = np.zeros(len(order), bool)
    true[claims[first_claims]] = True

    labels, scores, true = labels[~uncounted], scores[~uncounted], true[~uncounted]
    starts = np.searchsorted(labels, np.arange(1, num_classes + 1))
    num_objects = np.bincount(objects.labels[~optional], minlength=num_classes)
    curves = []
    for label, (start, end) in enumerate(itertools.pairwise(starts), start=1):
        num_true = np.cumsum(true[start:end])
        curves.append(
            Curve(
                scores=scores[start:end],
                recall=num_true / max(1, num_objects[label]),
                precision=num_true / np.arange(1, end - start + 1),
                num_objects=int(num_objects[label]),
            )
        )
    return tuple(curves)


def envelope(precision: np.ndarray) -> np.ndarray:
    """Returns the largest precision at each point of a curve or after it."""
    return np.maximum.accumulate(precision[::-1])[::-1]


def eleven_point_ap(curve: Curve) -> float:
    """Returns VOC07's AP: the mean of the largest precision at recall >= 0, .1, ... 1.

    NaN for a class without objects. The levels are those of the usual Python implementations,
    np.arange(0, 1.1, .1), so that numbers compare: .3, .6 and .7 are a last bit larger there than
    the nearest double, and a recall of exactly 3/10, 3/5 or 7/10 does not reach them.
    """
    if curve.num_objects == 0:
        return float("nan")
    reached = np.searchsorted(curve.recall, np.linspace(0, 1, 11))
    return float(np.append(envelope(curve.precision), 0.0)[reached].mean())


def area_ap(curve: Curve) -> float:
    """Returns VOC10-12's AP: the area under the envelope of precision over recall.

    NaN for a class without objects.
    """
    if curve.num_objects == 0:
        return float("nan")
    return float(np.sum(np.diff(curve.recall, prepend=0.0) * envelope(curve.precision)))


def _paired_iou(a_xyxy: np.ndarray, b_xyxy: np.ndarray) -> np.ndarray:
    """Returns the IoU of each box with the box in the same row, float64[n]; 0 without area."""
    sides = np.minimum(a_xyxy[:, 2:], b_xyxy[:, 2:]) - np.maximum(a_xyxy[:, :2], b_xyxy[:, :2])
    intersection = np.prod(np.maximum(sides, 0), axis=1)
    areas = np.prod(a_xyxy[:, 2:] - a_xyxy[:, :2], axis=1)
    areas = areas + np.prod(b_xyxy[:, 2:] - b_xyxy[:, :2], axis=1)
    union = areas - intersection
    return np.divide(intersection, union, out=np.zeros_like(union), where=union > 0)
