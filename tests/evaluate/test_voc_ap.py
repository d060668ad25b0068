import math
import pathlib
import time
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssd_jax.evaluate import voc_ap
from ssd_jax.evaluate.ground_truth import DetectionTable, ObjectTable, tabulate

SEEDS = st.integers(0, 2**32 - 1)
BOX, FAR = (0, 0, 10, 10), (50, 50, 60, 60)


def curves_of(truths, detections, *, num_classes=2, iou_threshold=0.5):
    objects, found = tabulate(truths, detections, num_classes=num_classes)
    return voc_ap.precision_recall(
        objects,
        found,
        voc_ap.best_overlaps(objects, found),
        num_classes=num_classes,
        iou_threshold=iou_threshold,
    )


def curve_of(truths, detections, **kwargs):
    return curves_of(truths, detections, **kwargs)[0]


def curve_from(recall, precision, num_objects):
    return voc_ap.Curve(np.zeros(len(recall)), np.array(recall), np.array(precision), num_objects)


# The two rules, worked out by hand.


def test_ap_by_hand():
    # Four objects; detections by falling score: true, false, true, true.
    # recall     1/4  1/4  2/4  3/4
    # precision   1   1/2  2/3  3/4       envelope 1, 3/4, 3/4, 3/4
    curve = curve_from([0.25, 0.25, 0.5, 0.75], [1, 1 / 2, 2 / 3, 3 / 4], 4)
    # 11 points: 1 at recalls 0 .1 .2; 3/4 at .3 .4 .5 .6 .7; 0 at .8 .9 1.
    assert voc_ap.eleven_point_ap(curve) == pytest.approx((3 * 1 + 5 * 0.75) / 11)
    # Area: 1/4 * 1, then 2/4 * 3/4.
    assert voc_ap.area_ap(curve) == pytest.approx(0.25 + 0.5 * 0.75)


@pytest.mark.parametrize("found", range(11))
def test_a_recall_of_k_tenths_reaches_k_levels_or_k_plus_one(found):
    recall = np.arange(1, found + 1) / 10
    curve = curve_from(recall, np.ones(found), 10)
    # Level 0 and one level per tenth; but 3 * .1, 6 * .1 and 7 * .1 are above 3/10, 6/10 and 7/10.
    points = 0 if found == 0 else found if found in (3, 6, 7) else found + 1
    assert voc_ap.eleven_point_ap(curve) == pytest.approx(points / 11)
    assert voc_ap.area_ap(curve) == pytest.approx(found / 10)


def test_no_detections_is_zero_and_no_objects_is_nan():
    assert voc_ap.eleven_point_ap(curve_from([], [], 3)) == 0
    assert voc_ap.area_ap(curve_from([], [], 3)) == 0
    for curve in (curve_from([], [], 0), curve_from([0.0], [0.0], 0)):
        assert math.isnan(voc_ap.eleven_point_ap(curve))
        assert math.isnan(voc_ap.area_ap(curve))


# Which detection takes which object.


def test_the_second_detection_of_an_object_is_false(truth, found):
    curve = curve_of([truth("a", [BOX])], [found("a", [BOX, (0, 0, 10, 9)], [0.8, 0.9])])
    # The worse box has the higher score, so it takes the object: true, false.
    np.testing.assert_array_equal(curve.precision, [1, 1 / 2])
    np.testing.assert_array_equal(curve.recall, [1, 1])
    np.testing.assert_array_equal(curve.scores, [0.9, 0.8])


def test_a_detection_does_not_fall_back_to_a_free_object(truth, found):
    # Both detections overlap the first object most (IoU 1 and .9) although the second object is
    # free and overlaps the lower one by 81 / 100: VOC looks at the best object only.
    truths = [truth("a", [BOX, (0, 0, 9, 9)])]
    curve = curve_of(truths, [found("a", [BOX, (0, 0, 10, 9)], [0.9, 0.8])])
    # 90 / 100 with the first, 81 / 90 with the second: equal, and the first in order counts.
    np.testing.assert_array_equal(curve.precision, [1, 1 / 2])
    np.testing.assert_array_equal(curve.recall, [1 / 2, 1 / 2])


def test_iou_of_exactly_the_threshold_is_enough(truth, found):
    half = (0, 0, 10, 5)  # 50 of 100 pixels
    curve = curve_of([truth("a", [BOX])], [found("a", [half], [0.9])], iou_threshold=0.5)
    np.testing.assert_array_equal(curve.precision, [1])
    curve = curve_of([truth("a", [BOX])], [found("a", [half], [0.9])], iou_threshold=0.51)
    np.testing.assert_array_equal(curve.precision, [0])


def test_images_and_classes_are_kept_apart(truth, found):
    truths = [truth("a", [BOX], [1]), truth("b", [BOX], [2])]
    detections = [found("a", [BOX], [0.9], [2]), found("b", [BOX], [0.9], [2])]
    first, second, third = curves_of(truths, detections, num_classes=4)
    assert (first.num_objects, second.num_objects, third.num_objects) == (1, 1, 0)
    assert voc_ap.area_ap(first) == 0
    np.testing.assert_array_equal(second.precision, [0, 1 / 2])  # equal scores: "a" was given first
    assert math.isnan(voc_ap.area_ap(third))


@pytest.mark.parametrize("flag", ["difficult", "crowd"])
def test_difficult_objects_count_neither_way(truth, found, flag):
    truths = [truth("a", [BOX, FAR], **{flag: [True, False]})]
    # Found once, found twice, or missed: the curve is that of the other object alone.
    for copies in (0, 1, 2):
        boxes = [BOX] * copies + [FAR]
        curve = curve_of(truths, [found("a", boxes, [0.9] * copies + [0.5])])
        assert curve.num_objects == 1
        np.testing.assert_array_equal(curve.scores, [0.5])
        np.testing.assert_array_equal(curve.precision, [1])
        np.testing.assert_array_equal(curve.recall, [1])
    # Overlapped by less than the threshold, it excuses nothing: 40 of 100 pixels.
    curve = curve_of(truths, [found("a", [(0, 0, 10, 4)], [0.9])])
    np.testing.assert_array_equal(curve.precision, [0])
    # A class of difficult objects alone is not scored, however many are found.
    truths = [truth("a", [BOX], **{flag: [True]})]
    assert math.isnan(voc_ap.eleven_point_ap(curve_of(truths, [found("a", [BOX], [0.9])])))


def test_boxes_without_area_overlap_nothing(truth, found):
    point = (5, 5, 5, 5)
    curve = curve_of([truth("a", [point])], [found("a", [point, BOX], [0.9, 0.8])])
    np.testing.assert_array_equal(curve.precision, [0, 0])


@pytest.mark.parametrize("iou_threshold", [0.0, -0.5, 1.5, math.nan])
def test_an_iou_threshold_outside_its_range_is_an_error(truth, iou_threshold):
    with pytest.raises(ValueError, match=r"threshold in \(0, 1\]"):
        curves_of([truth("a")], [], iou_threshold=iou_threshold)


# An independent oracle: VOC's loop over detections, in VOC's own inclusive pixels.


def inclusive_iou(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0]) + 1
    height = min(a[3], b[3]) - max(a[1], b[1]) + 1
    if width <= 0 or height <= 0:
        return 0.0
    area_a = (a[2] - a[0] + 1) * (a[3] - a[1] + 1)
    area_b = (b[2] - b[0] + 1) * (b[3] - b[1] + 1)
    return width * height / (area_a + area_b - width * height)


def oracle(truths, detections, label, iou_threshold):
    """Returns the 11-point and the area AP, None for a class without objects."""
    objects, total = {}, 0
    for truth in truths:
        rows = zip(truth.boxes_xyxy, truth.labels, truth.difficult, strict=True)
        objects[truth.image_id] = [
            {"box": (x0 + 1, y0 + 1, x1, y1), "difficult": flag, "taken": False}
            for (x0, y0, x1, y1), of_class, flag in rows
            if of_class == label
        ]
        total += sum(not o["difficult"] for o in objects[truth.image_id])
    entries = [
        (score, (x0 + 1, y0 + 1, x1, y1), found.image_id)
        for found in detections
        for (x0, y0, x1, y1), score, of_class in zip(*found[1:], strict=True)
        if of_class == label
    ]
    if total == 0:
        return None
    num_true = num_false = 0
    points = []
    for _, box, image_id in sorted(entries, key=lambda entry: -entry[0]):
        best, best_iou = None, -1.0
        for candidate in objects[image_id]:
            if (overlap := inclusive_iou(candidate["box"], box)) > best_iou:
                best, best_iou = candidate, overlap
        if best_iou < iou_threshold:
            num_false += 1
        elif best["difficult"]:
            pass
        elif best["taken"]:
            num_false += 1
        else:
            num_true += 1
            best["taken"] = True
        if num_true + num_false:
            points.append((Fraction(num_true, total), Fraction(num_true, num_true + num_false)))
    eleven = 0.0
    for level in range(11):
        eleven += max((float(p) for r, p in points if float(r) >= level * 0.1), default=0.0) / 11
    area, before = Fraction(0), Fraction(0)
    for recall in sorted({r for r, _ in points}):
        area += (recall - before) * max(p for r, p in points if r >= recall)
        before = recall
    return eleven, float(area)


@given(seed=SEEDS, iou_threshold=st.sampled_from([0.1, 0.3, 0.5, 0.75, 1.0]))
def test_equals_the_loop_over_inclusive_pixels(scene, seed, iou_threshold):
    truths, detections = scene(seed)
    curves = curves_of(truths, detections, num_classes=4, iou_threshold=iou_threshold)
    for label, curve in enumerate(curves, start=1):
        expected = oracle(truths, detections, label, iou_threshold)
        if expected is None:
            assert math.isnan(voc_ap.eleven_point_ap(curve))
            assert math.isnan(voc_ap.area_ap(curve))
        else:
            assert voc_ap.eleven_point_ap(curve) == pytest.approx(expected[0], abs=1e-12)
            assert voc_ap.area_ap(curve) == pytest.approx(expected[1], abs=1e-12)


# What must not matter.


def aps(truths, detections):
    curves = curves_of(truths, detections, num_classes=4)
    return [[voc_ap.eleven_point_ap(c), voc_ap.area_ap(c)] for c in curves]


def without_ties(detections, rng):
    scores = rng.permutation(sum(len(found.scores) for found in detections)) + 1.0
    parts = np.split(scores, np.cumsum([len(found.scores) for found in detections])[:-1])
    return [f._replace(scores=part) for f, part in zip(detections, parts, strict=True)]


@given(seed=SEEDS)
def test_only_the_order_of_the_scores_matters(scene, seed):
    truths, detections = scene(seed)
    changed = [found._replace(scores=np.exp(3 * found.scores) - 7) for found in detections]
    np.testing.assert_array_equal(aps(truths, detections), aps(truths, changed))


@given(seed=SEEDS)
def test_the_order_of_images_does_not_matter(scene, seed):
    truths, detections = scene(seed)
    detections = without_ties(detections, np.random.default_rng(seed))
    expected = aps(truths, detections)
    np.testing.assert_array_equal(aps(truths[::-1], detections), expected)
    np.testing.assert_array_equal(aps(truths, detections[::-1]), expected)


@given(seed=SEEDS)
def test_a_detection_of_lowest_score_never_lowers_ap(scene, found, seed):
    truths, detections = scene(seed)
    extra = truths[0].boxes_xyxy[:1]
    changed = [
        found(
            "image0",
            np.concatenate([detections[0].boxes_xyxy, extra]),
            np.concatenate([detections[0].scores, [-1.0] * len(extra)]),
            np.concatenate([detections[0].labels, truths[0].labels[:1]]),
        ),
        *detections[1:],
    ]
    before, after = np.array(aps(truths, detections)), np.array(aps(truths, changed))
    assert np.all((after >= before) | np.isnan(before))


@given(seed=SEEDS)
def test_perfect_detections_have_an_ap_of_one(scene, found, seed):
    truths, _ = scene(seed)
    # One copy of an object that stands there twice could only take the first of the two.
    truths = [t for t in truths if len(np.unique(t.boxes_xyxy, axis=0)) == len(t.boxes_xyxy)]
    detections = [found(t.image_id, t.boxes_xyxy, [0.5] * len(t.labels), t.labels) for t in truths]
    if truths:
        values = np.array(aps(truths, detections))
        np.testing.assert_allclose(values[~np.isnan(values)], 1, rtol=1e-12)


# Real figures.


def read_case(folder: pathlib.Path, truth, found):
    """Rows `object x y w h` and `object score x y w h`; corners x + w, y + h are inclusive."""

    def rows(kind, path):
        lines = (folder / kind / path.name).read_text().split("\n")
        return np.array([line.split()[1:] for line in lines if line], float)

    truths, detections = [], []
    for path in sorted((folder / "gts").iterdir()):
        x, y, w, h = rows("gts", path).T
        truths.append(truth(path.stem, np.stack([x - 1, y - 1, x + w, y + h], axis=1)))
        score, x, y, w, h = rows("dets", path).T
        boxes = np.stack([x - 1, y - 1, x + w, y + h], axis=1)
        detections.append(found(path.stem, boxes, score))
    return truths, detections


@pytest.mark.parametrize(
    ("iou_threshold", "eleven_point", "area"),
    [
        (0.1, 0.3333333333, 0.3371980676),
        (0.3, 0.2683982683, 0.2456866804),
        (0.5, 0.0303030303, 0.0222222222),
        (0.75, 0.0, 0.0),
    ],
)
def test_published_case(shared, truth, found, iou_threshold, eleven_point, area):
    case = read_case(shared / "fixtures" / "voc_case_1", truth, found)
    curve = curve_of(*case, iou_threshold=iou_threshold)
    assert voc_ap.eleven_point_ap(curve) == pytest.approx(eleven_point, abs=1e-10)
    assert voc_ap.area_ap(curve) == pytest.approx(area, abs=1e-10)


def test_a_set_of_the_size_of_voc07_test_takes_seconds():
    rng = np.random.default_rng(0)

    def table(n):
        corners = np.sort(rng.uniform(0, 500, (2, n, 2)), axis=0)
        return rng.integers(0, 4952, n), np.concatenate(corners, axis=1), rng.integers(1, 21, n)

    image, boxes, labels = table(14976)
    no = np.zeros(14976, bool)
    objects = ObjectTable(image, boxes, labels, rng.random(14976) < 0.2, no, np.ones(14976))
    image, boxes, labels = table(310_000)
    found = DetectionTable(image, boxes, rng.random(310_000), labels)
    start = time.perf_counter()
    overlaps = voc_ap.best_overlaps(objects, found)
    curves = voc_ap.precision_recall(objects, found, overlaps, num_classes=21, iou_threshold=0.5)
    assert time.perf_counter() - start < 10  # about .2 s; a loop over detections takes minutes
    assert sum(curve.num_objects for curve in curves) == np.sum(~objects.difficult)
