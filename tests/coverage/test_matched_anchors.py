import io

import numpy as np
from PIL import Image

from ssd_jax.coverage import matched_anchors
from ssd_jax.data.records import Record

# Halves and quarters of the picture, cxcywh.
ANCHORS = np.array(
    [[0.25, 0.5, 0.5, 1.0], [0.75, 0.5, 0.5, 1.0], [0.5, 0.5, 1.0, 1.0], [0.9, 0.9, 0.1, 0.1]],
    np.float32,
)


def record(boxes, labels, crowd=None):
    encoded = io.BytesIO()
    Image.new("RGB", (80, 40)).save(encoded, "PNG")
    n = len(labels)
    return Record(
        image_id="a",
        image=encoded.getvalue(),
        height=40,
        width=80,
        boxes_xyxy=np.array(boxes, np.float32).reshape(-1, 4),
        labels=np.array(labels, np.int32),
        difficult=np.zeros(n, bool),
        crowd=np.array(crowd or [False] * n, bool),
        area=np.ones(n, np.float32),
    )


def test_positives_of_each_object():
    one = record([[0, 0, 0.5, 1], [0.8, 0.8, 0.9, 0.9]], [1, 2])
    matched = matched_anchors.matched_anchors(one, ANCHORS, iou_threshold=0.5)
    # The left half is the first object and the whole picture overlaps it by exactly half; the
    # small object's best is anchor 3, by 25 / (100 + 100 - 25) of its 20ths.
    np.testing.assert_array_equal(matched.gt_index, [0, 0, 1])
    np.testing.assert_allclose(matched.iou, [1, 0.5, 25 / 175], atol=1e-4)
    np.testing.assert_allclose(matched.boxes_xyxy[0], [0, 0, 0.5, 1], atol=1e-6)
    stricter = matched_anchors.matched_anchors(one, ANCHORS, iou_threshold=0.6)
    np.testing.assert_array_equal(stricter.gt_index, [0, 1])


def test_crowds_and_empty_pictures_match_nothing():
    crowd = record([[0, 0, 0.5, 1]], [1], crowd=[True])
    assert not len(matched_anchors.matched_anchors(crowd, ANCHORS, iou_threshold=0.5).gt_index)
    empty = record([], [])
    matched = matched_anchors.matched_anchors(empty, ANCHORS, iou_threshold=0.5)
    assert matched_anchors.picture(empty, matched, ("a",)).size == (80, 40)


def test_the_picture_shows_the_anchors():
    one = record([[0, 0, 0.5, 1]], [1])
    matched = matched_anchors.matched_anchors(one, ANCHORS[:3], iou_threshold=0.4)
    drawn = np.asarray(matched_anchors.picture(one, matched, ("a",)))
    assert drawn.shape == (40, 80, 3)
    assert drawn[:, 79].any()  # the right border of the whole picture's anchor
    assert not drawn[10:30, 60].any()
