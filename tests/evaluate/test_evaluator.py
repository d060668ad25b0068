import numpy as np
import pytest

from ssd_jax import config, detectors
from ssd_jax.data import records
from ssd_jax.evaluate.evaluator import Evaluator, in_pixels
from ssd_jax.types import Detections


def test_detections_are_clipped_and_those_without_area_dropped():
    boxes = [
        (0.1, 0.2, 0.5, 0.6),
        (-0.5, 0.5, 0.25, 1.5),  # partly outside
        (1.0, 0.1, 1.4, 0.4),  # outside: nothing is left
        (-0.3, -0.3, -0.1, -0.1),
        (0.2, 0.2, 0.200004, 0.4),  # 0.0008 of 200 pixels, which three decimals do not show
        (0.2, 0.2, 0.20001, 0.4),  # 0.002 pixels
        (0.6, 0.2, 0.5, 0.6),  # inside out
        (0.1, 0.2, 0.5, 0.6),  # padding
    ]
    scores = np.arange(8, 0, -1, np.float32) / 10
    found = Detections(
        boxes_xyxy=np.array(boxes, np.float32),
        scores=scores,
        labels=np.arange(1, 9, dtype=np.int32),
        valid=np.arange(8) < 7,
    )
    pixels = in_pixels(found, "a", 100, 200)
    assert pixels.image_id == "a"
    assert pixels.labels.tolist() == [1, 2, 6]
    np.testing.assert_array_equal(pixels.scores, scores[[0, 1, 5]])
    expected = [(20, 20, 100, 60), (0, 50, 50, 100), (40, 20, 40.002, 40)]
    np.testing.assert_allclose(pixels.boxes_xyxy, expected, atol=2e-5)


def test_a_box_that_is_not_a_number_is_not_lost_in_silence():
    found = Detections(
        boxes_xyxy=np.full((1, 4), np.nan, np.float32),
        scores=np.ones(1, np.float32),
        labels=np.ones(1, np.int32),
        valid=np.ones(1, bool),
    )
    assert len(in_pixels(found, "a", 100, 200).boxes_xyxy) == 1


@pytest.mark.parametrize("source", ["shapes:val,shapes:val", "shapes:val[:4]+val[3:]"])
def test_an_id_that_is_repeated_is_said_at_once(tiny, source):
    experiment = config.resolve(tiny)
    classes = records.open_source("shapes:val", experiment.data.data_dir).class_names
    experiment = config.with_classes(experiment, classes, "shapes")
    with pytest.raises(ValueError, match=r"shapes:val.* cannot be evaluated: .*of image .* twice"):
        Evaluator(experiment, detectors.build(experiment), source=source)


@pytest.mark.parametrize("area", [float("nan"), -1.0])
def test_an_area_that_cannot_be_scored_is_said_at_once(tiny, area, monkeypatch):
    experiment = config.resolve(tiny)
    source = records.open_source("shapes:val", experiment.data.data_dir)
    experiment = config.with_classes(experiment, source.class_names, "shapes")
    read = records.Source.__getitem__

    def damaged(self, index):
        record = read(self, index)
        return record._replace(area=np.full_like(record.area, area)) if index == 7 else record

    monkeypatch.setattr(records.Source, "__getitem__", damaged)
    message = f"shapes:val cannot be evaluated: .*{area}.*'{source[7].image_id}'; correct the annot"
    with pytest.raises(ValueError, match=message):
        Evaluator(experiment, detectors.build(experiment))
