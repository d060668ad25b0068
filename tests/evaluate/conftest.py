"""Small data sets for the evaluators' tests."""

import numpy as np
import pytest

from ssd_jax.evaluate.ground_truth import GroundTruth
from ssd_jax.inference import ImageDetections


def make_truth(image_id, boxes=(), labels=None, *, difficult=None, crowd=None, area=None):
    boxes = np.array(boxes, np.float64).reshape(-1, 4)
    n = len(boxes)
    return GroundTruth(
        image_id,
        height=100,
        width=100,
        boxes_xyxy=boxes,
        labels=np.array([1] * n if labels is None else labels, np.int32),
        difficult=np.array([False] * n if difficult is None else difficult, bool),
        crowd=np.array([False] * n if crowd is None else crowd, bool),
        area=np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) if area is None else np.array(area),
    )


def make_found(image_id, boxes=(), scores=(), labels=None):
    boxes = np.array(boxes, np.float64).reshape(-1, 4)
    return ImageDetections(
        image_id,
        boxes,
        scores=np.array(scores, np.float64),
        labels=np.array([1] * len(boxes) if labels is None else labels, np.int32),
    )


def make_scene(seed, *, num_classes=4, crowds=False):
    """Up to four images of whole-pixel boxes; many detections are objects, slightly moved."""
    rng = np.random.default_rng(seed)

    def boxes(n):
        corners = np.sort(rng.integers(0, 100, (2, n, 2)), axis=0)
        return np.concatenate([corners[0], corners[1] + 1], axis=1).astype(np.float64)

    truths, detections = [], []
    for i in range(rng.integers(1, 5)):
        n = int(rng.integers(0, 6))
        truths.append(
            make_truth(
                f"image{i}",
                boxes(n),
                rng.integers(1, num_classes, n),
                difficult=rng.random(n) < 0.25,
                crowd=rng.random(n) < (0.2 if crowds else 0),
                area=rng.integers(1, 120, n) ** 2.0,
            )
        )
        copies = rng.integers(0, n, 2 * n) if n else np.zeros(0, int)
        moved = truths[-1].boxes_xyxy[copies] + rng.integers(-8, 9, (len(copies), 4))
        moved = np.concatenate([moved[:, :2], np.maximum(moved[:, 2:], moved[:, :2] + 1)], axis=1)
        stray = int(rng.integers(0, 4))
        count = len(copies) + stray
        labels = np.concatenate([truths[-1].labels[copies], rng.integers(1, num_classes, stray)])
        detections.append(
            make_found(
                f"image{i}",
                np.concatenate([moved, boxes(stray)]),
                rng.integers(0, 10, count) / 10,  # few values: there are ties
                np.where(rng.random(count) < 0.9, labels, rng.integers(1, num_classes, count)),
            )
        )
    return truths, detections


@pytest.fixture(scope="session")
def truth():
    return make_truth


@pytest.fixture(scope="session")
def found():
    return make_found


@pytest.fixture(scope="session")
def scene():
    return make_scene
