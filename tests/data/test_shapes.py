import itertools

import numpy as np
import pytest

from ssd_jax.data import images, shape_drawing, shapes


def boxes_in_pixels(scene):
    return scene.boxes_xyxy * (scene.width, scene.height, scene.width, scene.height)


def test_a_scene_is_a_function_of_seed_split_and_number():
    first, second = (shapes.ShapeScenes(image_size=64).scene("val", 3) for _ in range(2))
    assert first.image == second.image
    np.testing.assert_array_equal(first.boxes_xyxy, second.boxes_xyxy)
    np.testing.assert_array_equal(first.labels, second.labels)


def test_no_two_scenes_are_the_same():
    scenes = [
        shapes.ShapeScenes(image_size=32, seed=seed).scene(split, number).image
        for seed in (0, 1)
        for split in ("train", "val")
        for number in range(8)
    ]
    assert len(set(scenes)) == len(scenes)


def test_splits_and_ids():
    dataset = shapes.ShapeScenes(num_train=3, num_val=2, image_size=32)
    assert dataset.split_sizes == {"train": 3, "val": 2}
    ids = [scene.image_id for split in ("train", "val") for scene in dataset.examples(split, None)]
    assert ids == ["train_000000", "train_000001", "train_000002", "val_000000", "val_000001"]


def test_scenes_are_as_they_were_asked_for():
    dataset = shapes.ShapeScenes(image_size=96, object_size=(0.2, 0.5), max_objects=5)
    scenes = [dataset.scene("train", number) for number in range(60)]
    assert len(dataset.class_names) == 10
    assert set(np.concatenate([scene.labels for scene in scenes])) == set(range(10))
    counts = [len(scene.labels) for scene in scenes]
    assert (min(counts), max(counts)) == (1, 5)
    for scene in scenes:
        assert (scene.height, scene.width) == (96, 96)
        assert images.decode(scene.image).shape == (96, 96, 3)
        boxes = boxes_in_pixels(scene)
        np.testing.assert_array_equal(boxes, boxes.round())
        assert boxes.min() >= 0
        assert boxes.max() <= 96
        longer = (boxes[:, 2:] - boxes[:, :2]).max(axis=1)
        assert longer.max() <= 0.5 * 96 + 1
        # Both ends of a shape may lose a sixth to the border, thin parts a pixel to rounding.
        assert longer.min() >= 0.2 * 96 * 2 / 3 - 1
    sizes = np.concatenate(
        [(boxes_in_pixels(s)[:, 2:] - boxes_in_pixels(s)[:, :2]).max(axis=1) for s in scenes]
    )
    assert sizes.max() > 0.45 * 96
    # Uniform from .2 to .5, but large shapes find a free place less often.
    assert 0.27 * 96 < np.median(sizes) < 0.37 * 96


@pytest.fixture
def bare(monkeypatch):
    """Scenes of shapes in colours 1, 2, ... on black: no textures, no clutter, no noise."""
    painted = itertools.count(1)

    def paint(rng, under, mask):
        return np.where(mask[..., np.newaxis] >= 0.5, np.float32(next(painted)), under)

    def draw(**options):
        nonlocal painted
        painted = itertools.count(1)
        rng = np.random.default_rng(options.pop("number"))
        return shapes.ShapeScenes(**options)._draw(rng)

    monkeypatch.setattr(shapes, "_paint", paint)
    monkeypatch.setattr(shapes, "_NOISE", 0.0)
    monkeypatch.setattr(
        shape_drawing, "background", lambda rng, side: np.zeros((side, side, 3), np.float32)
    )
    return draw


@pytest.mark.parametrize("number", range(12))
def test_boxes_are_tight_around_the_pixels(bare, number):
    image, objects = bare(number=number, image_size=80, max_objects=1, object_size=(0.1, 0.9))
    rows, columns = np.nonzero(image[..., 0])
    expected = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    assert len(objects) == 1
    np.testing.assert_array_equal(objects[0].box, expected)
    assert objects[0].area == len(rows)


def test_every_shape_keeps_three_quarters_of_its_area_visible(bare):
    overlapping = 0
    for number in range(20):
        image, objects = bare(number=number, image_size=80, max_objects=8, object_size=(0.3, 0.7))
        for colour, item in enumerate(objects, start=1):
            visible = np.count_nonzero(image[..., 0] == colour)
            assert visible >= 0.75 * item.area
            overlapping += visible < item.area
    assert overlapping > 5


def whitened(name, turns):
    """A shape's mask at unit covariance, at every turn: what no rotation or aspect changes."""
    outline = shape_drawing.OUTLINES[name]
    coarse = outline.transform(np.eye(2) * 60, 80 + 80j)
    y, x = np.nonzero(shape_drawing.coverage(coarse, (160, 160)) >= 0.5)
    points = np.stack((x - 79.5, y - 79.5)) / 60
    centre = points.mean(axis=1)
    values, vectors = np.linalg.eigh(np.cov(points))
    whitening = vectors @ np.diag(values**-0.5) @ vectors.T
    for angle in np.linspace(0, 2 * np.pi, turns, endpoint=False):
        rotation = np.array(((np.cos(angle), -np.sin(angle)), (np.sin(angle), np.cos(angle))))
        matrix = rotation @ whitening
        shift = complex(*(32 - 10 * matrix @ centre))
        yield shape_drawing.coverage(outline.transform(10 * matrix, shift), (64, 64)) >= 0.5


def test_no_class_can_be_turned_or_stretched_into_another():
    for name, other in itertools.combinations(shape_drawing.OUTLINES, 2):
        (fixed,) = whitened(name, turns=1)
        overlaps = [
            np.count_nonzero(fixed & mask) / np.count_nonzero(fixed | mask)
            for turned in whitened(other, turns=36)
            for mask in (turned, turned[:, ::-1])
        ]
        assert max(overlaps) < 0.92, (name, other)


def shoelace(points):
    following = np.roll(points, -1)
    return abs((points.conj() * following).imag.sum()) / 2


@pytest.mark.parametrize("name", shape_drawing.OUTLINES)
def test_coverage_is_that_of_the_polygon(name):
    outline = shape_drawing.OUTLINES[name].transform(np.eye(2) * 30.3, 40.6 + 39.2j)
    area = shoelace(outline.border) - (0 if outline.hole is None else shoelace(outline.hole))
    coverage = shape_drawing.coverage(outline, (80, 80))
    # Pillow draws the border's samples, too: an eighth of a pixel around, much for a thin bolt.
    assert coverage.sum() == pytest.approx(area, rel=0.05)


@pytest.mark.parametrize("name", ["ellipse", "rectangle", "cross", "ring"])
def test_coverage_is_where_the_polygon_is(name):
    # Symmetric about (40.6, 39.2), where pixel k covers k .. k + 1.
    outline = shape_drawing.OUTLINES[name].transform(np.eye(2) * 30.3, 40.6 + 39.2j)
    coverage = shape_drawing.coverage(outline, (80, 80))
    centres = np.arange(80) + 0.5
    assert coverage.sum(axis=0) @ centres / coverage.sum() == pytest.approx(40.6, abs=0.1)
    assert coverage.sum(axis=1) @ centres / coverage.sum() == pytest.approx(39.2, abs=0.1)


@pytest.mark.parametrize("object_size", [(0, 0.5), (0.5, 0.2), (0.1, 1.5)])
def test_impossible_sizes_are_refused(object_size):
    with pytest.raises(ValueError, match="expected 0 < smallest <= largest <= 1"):
        shapes.ShapeScenes(object_size=object_size)
