import dataclasses
import math

import numpy as np
import pytest

from configs import dssd, quickstart, ssd
from ssd_jax import config, detectors
from ssd_jax.coverage import annotations, measure
from ssd_jax.detectors.multibox import Multibox
from ssd_jax.ops import anchors as ops_anchors

# On 128 pixels: maps 16, 8, 4, 2 with squares of about 15, 42, 65, 92 pixels and larger.
EXPERIMENT = config.resolve(quickstart.get_config())


def box_set(*images, size=(128, 128), name="made"):
    images = [np.array(boxes, np.float32).reshape(-1, 4) for boxes in images]
    return annotations.BoxSet(
        name=name,
        class_names=("cat", "dog"),
        images=tuple(
            annotations.ImageBoxes(str(i), boxes, np.arange(len(boxes)) % 2 + 1, size)
            for i, boxes in enumerate(images)
        ),
        dropped=0,
    )


def random_boxes(num_images, seed=0, most=9):
    """Images of 0 to `most` boxes of all sizes, some of them twice."""
    rng = np.random.default_rng(seed)
    images = []
    for _ in range(num_images):
        count = rng.integers(0, most + 1)
        sides = np.exp(rng.uniform(np.log(0.04), 0, (count, 2)))
        low = rng.uniform(0, 1, (count, 2)) * (1 - sides)
        boxes = np.concatenate((low, low + sides), axis=1)
        if count > 1 and rng.random() < 0.2:
            boxes[1] = boxes[0]
        images.append(boxes)
    return box_set(*images)


def iou_by_hand(boxes, corners):
    """[G, A], in the float32 that the matcher compares with its threshold."""
    table = np.zeros((len(boxes), len(corners)), np.float32)
    for g, (x0, y0, x1, y1) in enumerate(boxes.astype(np.float32)):
        width = np.minimum(x1, corners[:, 2]) - np.maximum(x0, corners[:, 0])
        height = np.minimum(y1, corners[:, 3]) - np.maximum(y0, corners[:, 1])
        shared = np.maximum(width, 0) * np.maximum(height, 0)
        areas = (corners[:, 2] - corners[:, 0]) * (corners[:, 3] - corners[:, 1])
        table[g] = shared / ((x1 - x0) * (y1 - y0) + areas - shared)
    return table


def slow_coverage(experiment, data):
    """Image by image, one pair of the bipartite rule at a time."""
    spec = detectors.anchor_spec(experiment)
    anchors = ops_anchors.generate(spec)
    corners = np.concatenate(
        (anchors[:, :2] - anchors[:, 2:] / 2, anchors[:, :2] + anchors[:, 2:] / 2), axis=1
    )
    threshold = experiment.loss.iou_threshold
    best, positives, matched, source = [], [], [], []
    uses = np.zeros(len(anchors), int)
    for image in data.images:
        if not len(image.labels):
            continue
        iou = iou_by_hand(image.boxes_xyxy, corners)
        owner = np.where(iou.max(axis=0) >= threshold, iou.argmax(axis=0), -1)
        free = iou.copy()
        for _ in image.labels:
            # The lowest anchor goes first, then the lowest object.
            a, g = np.unravel_index(free.T.argmax(), free.T.shape)
            if free[g, a] <= 1e-6:
                break
            owner[a] = g
            free[g] = free[:, a] = 0
        for g in range(len(image.labels)):
            own = np.flatnonzero(owner == g)
            best.append(iou[g].max())
            positives.append(len(own))
            matched.append(iou[g, own].max() if len(own) else 0)
            source.append(
                np.searchsorted(np.cumsum(spec.per_map), own[iou[g, own].argmax()], side="right")
                if len(own)
                else -1
            )
        uses += owner >= 0
    return np.array(best), np.array(positives), np.array(matched), np.array(source), uses


def assert_agrees(experiment, data):
    found = measure.measure(experiment, data)
    best, positives, matched, source, uses = slow_coverage(experiment, data)
    np.testing.assert_allclose(found.best_iou, best, atol=2e-6)
    np.testing.assert_array_equal(found.covered, best >= experiment.loss.iou_threshold)
    np.testing.assert_array_equal(found.positives, positives)
    np.testing.assert_allclose(found.matched_iou, matched, atol=2e-6)
    np.testing.assert_array_equal(found.source, source)
    np.testing.assert_array_equal(found.uses, uses)
    return found


@pytest.mark.parametrize(("iou_threshold", "num_images"), [(0.5, 200), (0.35, 60)])
def test_it_agrees_with_a_slow_computation(iou_threshold, num_images):
    experiment = dataclasses.replace(EXPERIMENT, loss=Multibox(iou_threshold=iou_threshold))
    found = assert_agrees(experiment, random_boxes(num_images))
    figures = found.figures()
    assert 0.3 < figures["covered"] < 0.9
    assert 0 < figures["forced"] < 0.7
    assert {0, 1, 2} <= set(found.source) <= {0, 1, 2, 3}


def test_it_agrees_with_a_slow_computation_on_voc(shared):
    path = shared / "data" / "voc_boxes" / "instances_voc_test2007.json.gz"
    whole = annotations.read([str(path)])
    rng = np.random.default_rng(0)
    chosen = rng.choice(len(whole.images), 200, replace=False)
    data = whole._replace(images=tuple(whole.images[i] for i in chosen))
    found = assert_agrees(config.resolve(ssd.get_config("300,voc")), data)
    assert found.spec.num_anchors == 8732
    assert len(found.labels) > 400


def test_figures_by_hand():
    # 128 pixels, one map of 4 x 4 cells, squares of 32 and 64: cells have their centres at 16, 48,
    # 80 and 112.
    spec = ops_anchors.AnchorSpec((128, 128), (ops_anchors.AnchorMap((4, 4), 32.0, 128.0),))
    data = box_set(
        # The first cell itself: IoU 1. With the square of 64 about it, 32 x 32 / 64 x 64 = .25.
        # And a 16 x 16 inside the second cell: 256 / 1024 = .25, so it is matched by force.
        np.array([[0, 0, 32, 32], [40, 8, 56, 24]]) / 128,
        [],
        # 64 x 64 between four cells, from 32 to 96: each of the squares of 64, from 16 to 80 and so
        # on, shares 48 x 48 with it: 2304 / (2 x 4096 - 2304) = .3913; a cell 1024 / 4096 = .25.
        np.array([[32, 32, 96, 96]]) / 128,
        size=(256, 512),
    )
    experiment = dataclasses.replace(EXPERIMENT, name="cells")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure, "anchor_spec", lambda _: spec)
        found = measure.measure(experiment, data)
    np.testing.assert_allclose(found.best_iou, [1, 0.25, 2304 / 5888], atol=1e-6)
    np.testing.assert_array_equal(found.positives, [1, 1, 1])
    np.testing.assert_array_equal(found.forced, [False, True, True])
    # On their pictures of 512 x 256 the sides are 4 and 2 times as long: 8192, 2048, 32768.
    np.testing.assert_allclose(found.picture_area, [8192, 2048, 32768], rtol=1e-5)
    figures = found.figures()
    assert figures["covered"] == pytest.approx(1 / 3)
    assert math.isnan(figures["covered_small"])
    assert figures["covered_medium"] == pytest.approx(1 / 2)  # 32^2 = 1024 and 96^2 = 9216
    assert figures["covered_large"] == 0
    assert figures["forced"] == pytest.approx(2 / 3)
    assert figures["unmatched"] == 0
    assert figures["positives"] == 1
    assert figures["unused"] == pytest.approx(29 / 32)
    # Squares of 64 in all cells but the inner 2 x 2.
    assert figures["crossing"] == pytest.approx(12 / 32)
    on_input = found.figures("input")  # areas 1024, 256, 4096
    assert on_input["covered_small"] == 0
    assert on_input["covered_medium"] == pytest.approx(1 / 2)
    assert math.isnan(on_input["covered_large"])


def test_sizes_are_cocos():
    area = np.array([1023.9, 1024, 9215.9, 9216, np.nan])
    assert measure.size_classes(area).tolist() == ["small", "medium", "medium", "large", "unknown"]


def test_without_objects_there_is_nothing_to_count():
    found = measure.measure(EXPERIMENT, box_set([], []))
    figures = found.figures()
    assert math.isnan(figures["covered"])
    assert figures["unused"] == 1


def test_pictures_of_unknown_size_have_no_size_class():
    data = random_boxes(5)
    data = data._replace(images=tuple(image._replace(size=None) for image in data.images))
    figures = measure.measure(EXPERIMENT, data).figures()
    assert all(math.isnan(figures[f"covered_{size}"]) for size in measure.SIZES)
    assert 0 < figures["covered"] < 1


def test_a_wrong_word_for_the_sizes():
    with pytest.raises(ValueError, match="'picture' or the 'input', got 'canvas'"):
        measure.measure(EXPERIMENT, box_set([])).figures("canvas")


def test_the_anchors_are_those_of_the_detector():
    # Whose map of 5 x 5 has steps of 64, which is 321 / 5 = 64.2 no more.
    spec = detectors.anchor_spec(config.resolve(dssd.get_config("321,voc,ssd")))
    assert spec.num_anchors == 17080
    assert spec.maps[3].step == (64, 64)
