import numpy as np
import pytest

from ssd_jax.evaluate.ground_truth import tabulate

BOX = (10, 20, 30, 60)


def test_tables_follow_the_images_of_the_ground_truth(truth, found):
    truths = [
        truth("a", [BOX, (0, 0, 5, 5)], [2, 1], difficult=[False, True], area=[700, 25]),
        truth("b"),
        truth("c", [BOX], [3], crowd=[True]),
    ]
    # Given in another order, and one image has no entry.
    detections = [found("c", [BOX], [0.25], [3]), found("a", [BOX, BOX], [0.5, 0.75], [1, 2])]
    objects, boxes = tabulate(truths, detections, num_classes=4)
    np.testing.assert_array_equal(objects.image, [0, 0, 2])
    np.testing.assert_array_equal(objects.boxes_xyxy, [BOX, (0, 0, 5, 5), BOX])
    np.testing.assert_array_equal(objects.labels, [2, 1, 3])
    np.testing.assert_array_equal(objects.difficult, [False, True, False])
    np.testing.assert_array_equal(objects.crowd, [False, False, True])
    np.testing.assert_array_equal(objects.area, [700, 25, 20 * 40])
    np.testing.assert_array_equal(boxes.image, [2, 0, 0])
    np.testing.assert_array_equal(boxes.boxes_xyxy, [BOX, BOX, BOX])
    np.testing.assert_array_equal(boxes.scores, [0.25, 0.5, 0.75])
    np.testing.assert_array_equal(boxes.labels, [3, 1, 2])


@pytest.mark.parametrize("empty", [np.zeros((0, 4)), np.zeros(0), []])
def test_an_image_without_boxes_may_write_them_in_any_empty_shape(truth, found, empty):
    truths = [truth("a")._replace(boxes_xyxy=empty), truth("b", [BOX])]
    detections = [found("a")._replace(boxes_xyxy=empty, scores=[], labels=[])]
    objects, boxes = tabulate(truths, detections, num_classes=2)
    np.testing.assert_array_equal(objects.image, [1])
    assert boxes.boxes_xyxy.shape == (0, 4)
    assert tabulate(truths, [], num_classes=2)[1].boxes_xyxy.shape == (0, 4)


def test_float32_detections_become_float64(truth, found):
    detections = [found("a", [BOX], [0.5])]
    detections = [detections[0]._replace(boxes_xyxy=detections[0].boxes_xyxy.astype(np.float32))]
    _, boxes = tabulate([truth("a")], detections, num_classes=2)
    assert boxes.boxes_xyxy.dtype == np.float64


def test_what_cannot_be_scored_is_named(truth, found):
    def fails(truths, detections, match):
        with pytest.raises(ValueError, match=match):
            tabulate(truths, detections, num_classes=3)

    good = truth("a", [BOX])
    fails([], [], "at least one image")
    fails([good, good], [], "ground truth of image 'a' twice")
    fails([good, truth("b"), good], [], "'a' twice, as number 0 and 2: .* different ids")
    fails([good], [found("a"), found("a")], "detections of image 'a' twice")
    for area in (np.nan, np.inf, -np.inf):
        bad = truth("a", [BOX], area=[area])
        fails([bad], [], f"finite.*, {area} in the ground truth of image 'a'; correct the annot")
    fails([truth("a", [BOX], area=[-0.5])], [], r"an area of at least 0, got .*, -0\.5 in .*'a'")
    fails([good], [found("z")], "image 'z', which is not among the 1 images")
    # Classes that are off by one, at either end.
    fails([truth("a", [BOX], [0])], [], r"label in 1 \.\. 2 \(0 is background\), got label 0")
    fails([good], [found("a", [BOX], [0.5], [3])], r"got label 3.* in the detections of image 'a'")
    fails([truth("a", [(30, 20, 10, 60)])], [], "x0 <= x1 and y0 <= y1")
    fails([good], [found("a", [(10, 60, 30, 20)], [0.5])], "x0 <= x1 and y0 <= y1")
    fails([good], [found("a", [BOX], [np.nan])], "finite")
    fails([good], [found("a", [(10, 20, np.inf, 60)], [0.5])], "finite")
    fails([good], [found("a", [BOX], [0.5, 0.5], [1])], r"one entry per box.*'a', got \(1, 4\)")
    fails([good._replace(difficult=np.zeros(2, bool))], [], "one entry per box")
    five = found("a")._replace(boxes_xyxy=np.zeros((1, 5)), scores=[0.5], labels=[1])
    fails([good], [five], r"expected boxes \[n, 4\]")
    # Five boxes written as columns hold as many numbers as five rows would.
    columns = found("a", [BOX] * 5, [0.5] * 5)
    fails([good], [columns._replace(boxes_xyxy=columns.boxes_xyxy.T)], r"expected boxes \[n, 4\]")
