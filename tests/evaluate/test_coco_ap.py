import contextlib
import io
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssd_jax.evaluate import coco_ap
from ssd_jax.evaluate.ground_truth import tabulate

SEEDS = st.integers(0, 2**32 - 1)
TWELVE = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
BOX, FAR = (0, 0, 50, 50), (50, 50, 100, 100)  # 2500 square pixels: medium
ONE = pytest.approx(1, abs=1e-12)  # the reference divides by (true + false + epsilon)


def scores_of(truths, detections, *, num_classes=2):
    objects, found = tabulate(truths, detections, num_classes=num_classes)
    return coco_ap.evaluate(objects, found, num_images=len(truths), num_classes=num_classes)


def pycocotools_evaluation(truths, detections, *, num_classes):
    """The reference's COCOeval after its three steps, with its text swallowed."""
    coco = pytest.importorskip("pycocotools.coco")
    cocoeval = pytest.importorskip("pycocotools.cocoeval")

    def dataset(entries, details):
        annotations = [
            {
                "image_id": i,
                "category_id": int(label),
                "bbox": [float(x) for x in (x0, y0, x1 - x0, y1 - y0)],
            }
            | details(entry, row)
            for i, entry in enumerate(entries)
            for row, ((x0, y0, x1, y1), label) in enumerate(
                zip(entry.boxes_xyxy, entry.labels, strict=True)
            )
        ]
        table = coco.COCO()
        table.dataset = {
            "images": [{"id": i} for i in range(len(entries))],
            "categories": [{"id": label} for label in range(1, num_classes)],
            "annotations": [x | {"id": k} for k, x in enumerate(annotations, start=1)],
        }
        table.createIndex()
        return table

    def truth_details(entry, row):
        # An area beyond every range, so that a difficult object is expected of no detection.
        area = 1e11 if entry.difficult[row] else float(entry.area[row])
        return {"area": area, "iscrowd": int(entry.crowd[row])}

    def found_details(entry, row):
        x0, y0, x1, y1 = entry.boxes_xyxy[row]
        return {"area": float((x1 - x0) * (y1 - y0)), "score": float(entry.scores[row])}

    with contextlib.redirect_stdout(io.StringIO()):
        reference = cocoeval.COCOeval(
            dataset(truths, truth_details), dataset(detections, found_details), "bbox"
        )
        reference.evaluate()
        reference.accumulate()
        reference.summarize()
    return reference


@given(seed=SEEDS)
def test_equals_pycocotools_bit_for_bit(scene, seed):
    truths, detections = scene(seed, crowds=True)
    reference = pycocotools_evaluation(truths, detections, num_classes=4)
    scores = scores_of(truths, detections, num_classes=4)
    assert tuple(scores.summary) == TWELVE
    ours = np.nan_to_num(list(scores.summary.values()), nan=-1)
    np.testing.assert_array_equal(ours, reference.stats)
    precision = reference.eval["precision"][..., 0, 2]
    for name, rows in (("AP", slice(None)), ("AP50", slice(0, 1)), ("AP75", slice(5, 6))):
        for k, ap in enumerate(scores.per_class[name]):
            table = precision[rows, :, k]
            expected = table[table > -1].mean() if (table > -1).any() else math.nan
            np.testing.assert_array_equal(ap, expected)


def test_ap_by_hand(truth, found):
    # Two objects in one image. By falling score: a box that overlaps the first by 90 % (true at
    # .5, .55, ... .9: nine of ten thresholds), one on nothing, and the second object exactly.
    truths = [truth("a", [BOX, FAR])]
    boxes = [(0, 0, 50, 45), (60, 0, 80, 20), FAR]
    scores = scores_of(truths, [found("a", boxes, [0.9, 0.8, 0.7])])
    # Up to .9: true, false, true: precision 1 at the 51 recalls 0 .. .50, 2/3 at the other 50.
    low = (51 * 1 + 50 * 2 / 3) / 101
    # At .95: false, false, true: precision 1/3 at the first 51 recalls, none beyond.
    high = 51 / 3 / 101
    assert scores.summary["AP50"] == pytest.approx(low)
    assert scores.summary["AP75"] == pytest.approx(low)
    assert scores.summary["AP"] == pytest.approx((9 * low + high) / 10)
    # Among medium objects the box on nothing is too small to count (400 square pixels), the first
    # one is not (2250): true, true at nine thresholds; false, true at .95.
    assert scores.summary["APm"] == pytest.approx((9 * 1 + 51 / 2 / 101) / 10)
    assert math.isnan(scores.summary["APs"])
    assert math.isnan(scores.summary["APl"])
    # The best detection finds one object of two at nine thresholds, all three find both.
    assert scores.summary["AR1"] == pytest.approx(0.9 / 2)
    assert scores.summary["AR10"] == pytest.approx((0.9 + 1) / 2)


def test_sizes_are_of_the_annotated_area(truth, found):
    truths = [truth("a", [BOX], area=[1000.0])]  # a thin mask in a box of 2500: below 32^2
    scores = scores_of(truths, [found("a", [BOX], [0.9])])
    assert scores.summary["APs"] == ONE
    assert math.isnan(scores.summary["APm"])


def test_difficult_objects_count_neither_way(truth, found):
    truths = [truth("a", [BOX, FAR], difficult=[True, False])]
    alone = scores_of(truths, [found("a", [FAR], [0.5])]).summary
    assert [alone[name] for name in ("AP", "AR1", "APm")] == [ONE] * 3
    both = scores_of(truths, [found("a", [BOX, FAR], [0.9, 0.5])]).summary
    assert [both[name] for name in ("AP", "AR10", "APm")] == [ONE] * 3
    # Unlike a crowd, it excuses one detection, and only one that fits it well.
    twice = scores_of(truths, [found("a", [BOX, BOX, FAR], [0.9, 0.8, 0.5])]).summary
    assert twice["AP"] == pytest.approx(0.5)


def test_a_crowd_excuses_every_detection_inside_it(truth, found):
    truths = [truth("a", [(0, 0, 100, 40), FAR], crowd=[True, False])]
    inside = [(0, 0, 20, 20), (20, 0, 50, 30), (60, 10, 90, 40)]
    scores = scores_of(truths, [found("a", [*inside, FAR], [0.9, 0.8, 0.7, 0.6])])
    assert scores.summary["AP"] == ONE


def test_empty_sides(truth, found):
    nothing = scores_of([truth("a", [BOX]), truth("b")], [])
    assert nothing.summary["AP"] == nothing.summary["APm"] == nothing.summary["AR100"] == 0
    assert math.isnan(nothing.summary["APl"])
    for detections in ([], [found("a")], [found("a", [BOX], [0.9])]):
        without_objects = scores_of([truth("a"), truth("b")], detections)
        assert all(math.isnan(value) for value in without_objects.summary.values())
        assert all(np.isnan(values).all() for values in without_objects.per_class.values())
    # A class of which there is no object has no AP, whatever was found of it.
    some = scores_of(
        [truth("a", [BOX])], [found("a", [BOX, BOX], [0.9, 0.9], [1, 2])], num_classes=3
    )
    np.testing.assert_allclose(some.per_class["AP"], [1, np.nan], rtol=1e-12)
    assert some.summary["AP"] == ONE


def test_nothing_is_printed(truth, found, capfd):
    scores_of([truth("a", [BOX])], [found("a", [BOX], [0.9])])
    assert capfd.readouterr() == ("", "")


def test_published_coco_figures(shared, truth, found):
    folder = shared / "fixtures" / "coco100"
    annotations = json.loads((folder / "instances_val2014_100.json").read_text())
    results = json.loads((folder / "instances_val2014_fakebbox100_results.json").read_text())
    label_of = {c["id"]: i for i, c in enumerate(annotations["categories"], start=1)}

    def columns(entries, image_id):
        rows = [entry for entry in entries if entry["image_id"] == image_id]
        boxes = np.array([row["bbox"] for row in rows]).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        return rows, boxes, [label_of[row["category_id"]] for row in rows]

    truths, detections = [], []
    # Equal scores are read in the order of the images, which in COCO is that of their numbers.
    for image in sorted(annotations["images"], key=lambda image: image["id"]):
        rows, boxes, labels = columns(annotations["annotations"], image["id"])
        crowd, area = [row["iscrowd"] for row in rows], [row["area"] for row in rows]
        truths.append(truth(str(image["id"]), boxes, labels, crowd=crowd, area=area))
        rows, boxes, labels = columns(results, image["id"])
        detections.append(found(str(image["id"]), boxes, [row["score"] for row in rows], labels))
    summary = scores_of(truths, detections, num_classes=81).summary
    published = {"AP": 0.504581, "AP50": 0.696973, "AP75": 0.572982}
    for name, value in published.items():
        assert summary[name] == pytest.approx(value, abs=5e-7)
    published = {"APs": 0.5856, "APm": 0.5194, "APl": 0.5014}
    published |= {"AR1": 0.3868, "AR10": 0.5937, "AR100": 0.5954}
    for name, value in published.items():
        assert summary[name] == pytest.approx(value, abs=5e-5)
