import json
import math

import numpy as np
import pytest
import rich.console
from hypothesis import given
from hypothesis import strategies as st

from ssd_jax.evaluate import metrics

SEEDS = st.integers(0, 2**32 - 1)
NAMES = ("cat", "dog", "cow")
BOX, FAR = (0, 0, 50, 50), (50, 50, 100, 100)


def test_every_number_by_hand(truth, found):
    truths = [
        truth("a", [BOX, FAR], [1, 2], difficult=[False, True]),
        truth("b", [BOX, FAR], [1, 2], crowd=[False, True]),
        truth("c"),
    ]
    # Of the two cats one is found exactly; the box on the other has an IoU of .4.
    detections = [found("a", [BOX], [0.9]), found("b", [(0, 0, 50, 20), FAR], [0.8, 0.7], [1, 3])]
    found_all = metrics.evaluate(truths, detections, NAMES, iou_thresholds=(0.3, 0.5))
    scores = found_all.metrics
    # At .5: true, false: precision 1 at the six levels 0 .. .5; area 1/2. At .3 both are true.
    assert scores["mAP"] == pytest.approx(6 / 11)
    assert scores["mAP_area"] == pytest.approx(0.5)
    assert scores["mAP@0.3"] == pytest.approx(1)
    assert "mAP@0.5" not in scores
    # COCO: precision 1 at the 51 recalls 0 .. .50, at every IoU.
    assert scores["AP"] == scores["AP50"] == scores["AP75"] == pytest.approx(51 / 101)
    assert scores["AR1"] == pytest.approx(0.5)
    assert scores["APs"] is None
    assert (scores["num_images"], scores["num_objects"], scores["num_uncounted"]) == (3, 2, 2)
    assert (scores["num_detections"], scores["num_classes_scored"]) == (3, 1)
    assert scores["per_class"]["cat"] == {
        "AP_11point": pytest.approx(6 / 11),
        "AP_area": pytest.approx(0.5),
        "AP_11point@0.3": pytest.approx(1),
        "AP": pytest.approx(51 / 101),
        "AP50": pytest.approx(51 / 101),
        "AP75": pytest.approx(51 / 101),
        "num_objects": 2,
        "num_uncounted": 0,
        "num_detections": 2,
    }
    # Only difficult objects and crowds, and only a false detection: neither class is scored.
    dog, cow = scores["per_class"]["dog"], scores["per_class"]["cow"]
    assert dog["AP_11point"] is dog["AP"] is cow["AP_area"] is cow["AP50"] is None
    assert (dog["num_objects"], dog["num_uncounted"], dog["num_detections"]) == (0, 2, 0)
    assert (cow["num_objects"], cow["num_uncounted"], cow["num_detections"]) == (0, 0, 1)
    assert [curve.num_objects for curve in found_all.curves] == [2, 0, 0]


@given(seed=SEEDS)
def test_means_are_over_the_classes_with_objects(scene, seed):
    truths, detections = scene(seed, crowds=True)
    scores = metrics.evaluate(truths, detections, NAMES).metrics
    for mean, key in (("mAP", "AP_11point"), ("mAP_area", "AP_area"), ("AP", "AP")):
        values = [x[key] for x in scores["per_class"].values() if x["num_objects"]]
        assert None not in values
        assert scores[mean] == (pytest.approx(np.mean(values)) if values else None)
        assert len(values) == scores["num_classes_scored"]
    for count in ("num_objects", "num_uncounted", "num_detections"):
        assert scores[count] == sum(x[count] for x in scores["per_class"].values())


@given(seed=SEEDS)
def test_is_json_without_nan_and_survives_the_file(scene, tmp_path_factory, seed):
    truths, detections = scene(seed)
    scores = metrics.evaluate(truths, detections, NAMES, iou_thresholds=(0.75,)).metrics
    path = tmp_path_factory.mktemp("metrics") / "metrics.json"
    metrics.write_metrics(path, scores | {"seconds": 1.5})

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    read = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    assert read == scores | {"seconds": 1.5}


def test_writing_a_nan_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        metrics.write_metrics(tmp_path / "metrics.json", {"mAP": math.nan})


def test_equal_class_names_are_an_error(truth):
    with pytest.raises(ValueError, match="different class names"):
        metrics.evaluate([truth("a")], [], ("cat", "cat"))


def test_table_has_a_row_per_class_and_the_means(truth, found):
    truths = [truth("a", [BOX, BOX], [1, 2])]
    detections = [found("a", [BOX], [0.9])]
    names = ("[red]cell", "Blutplättchen")  # not markup
    scores = metrics.evaluate(truths, detections, names, iou_thresholds=(0.3,)).metrics
    console = rich.console.Console(width=80)
    with console.capture() as capture:
        console.print(metrics.metrics_table(scores))
    lines = [line.split() for line in capture.get().splitlines() if line.strip()]
    assert lines[0] == ["class", "objects", "found", "VOC07", "@0.3", "VOC12", "AP", "AP50", "AP75"]
    assert ["[red]cell", "1", "1", *["1.000"] * 6] in lines
    assert ["Blutplättchen", "1", "0", *["0.000"] * 6] in lines
    assert ["all", "2", "1", *["0.500"] * 6] in lines
    assert lines[-1][:4] == ["APs", "-", "APm", "0.500"]


def test_table_of_nothing(truth):
    scores = metrics.evaluate([truth("a")], [], NAMES).metrics
    console = rich.console.Console(width=80)
    with console.capture() as capture:
        console.print(metrics.metrics_table(scores))
    assert capture.get().count(" - ") >= 3 * 5
