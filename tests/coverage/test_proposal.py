import dataclasses
import itertools

import numpy as np
import pytest

from configs import mobilenet_ssd, quickstart, refinedet, ssd
from launch import cli
from ssd_jax import config
from ssd_jax.coverage import annotations, clustering, measure, proposal
from ssd_jax.detectors import anchor_spec
from ssd_jax.detectors.anchor_rules import ExplicitSizes
from ssd_jax.ops import boxes as ops_boxes
from ssd_jax.ops.anchors import generate


def box_set(boxes):
    boxes = np.asarray(boxes, np.float32).reshape(-1, 4)
    labels = np.ones(len(boxes), np.int32)
    return annotations.BoxSet("made", ("cat",), (annotations.ImageBoxes("0", boxes, labels),), 0)


def random_boxes(count, low, high, seed=0):
    """Squares and boxes of 1:2 and 2:1, with sides from `low` to `high` of the picture."""
    rng = np.random.default_rng(seed)
    side = np.exp(rng.uniform(np.log(low), np.log(high), (count, 1)))
    root = np.sqrt(rng.choice([0.5, 1, 2], (count, 1)))
    sides = np.concatenate((side * root, side / root), axis=1)
    corner = rng.uniform(0, 1, (count, 2)) * (1 - sides)
    return np.concatenate((corner, corner + sides), axis=1)


@pytest.mark.parametrize(
    "values",
    [
        ssd.get_config("300,voc"),
        ssd.get_config("small,bccd"),  # not square, a first scale of its own
        mobilenet_ssd.get_config("300,voc"),  # one square in the cells of its first map
        refinedet.get_config("320,vgg16,voc"),  # in all cells
        quickstart.get_config(),  # no ratios
    ],
    ids=lambda values: values.name,
)
def test_the_flags_build_the_anchors_that_are_proposed(values):
    experiment = config.resolve(values)
    proposed = proposal.propose(experiment, box_set(random_boxes(300, 0.05, 0.6)), clusters=12)
    wanted = dataclasses.replace(experiment, anchors=proposed)
    now, then = anchor_spec(experiment), anchor_spec(wanted)
    assert then.per_cell == now.per_cell
    assert then.num_anchors == now.num_anchors
    lows = [entry.min_size for entry in then.maps]
    assert lows == sorted(lows)

    rest, overrides = cli.take_overrides(["train", *proposal.flags(proposed)])
    assert rest == ["train"]
    flagged = values.to_dict()
    config.override(flagged, overrides)
    assert config.resolve(flagged) == wanted


def test_it_covers_more_than_anchors_for_other_boxes():
    # Squares of the quickstart's maps begin at 15 pixels of 128; these are 6 to 13.
    experiment = config.resolve(quickstart.get_config())
    data = box_set(random_boxes(400, 0.05, 0.1))
    now = measure.measure(experiment, data).figures()["covered"]
    proposed = proposal.propose(experiment, data, clusters=8)
    then = measure.measure(dataclasses.replace(experiment, anchors=proposed), data)
    assert then.figures()["covered"] > 1.5 * now


@pytest.mark.parametrize("high", [0.25, 0.9])
def test_it_covers_no_less_than_before(high):
    experiment = config.resolve(ssd.get_config("small,bccd"))
    data = box_set(random_boxes(300, 0.1, high))
    # So few clusters that the config's own sizes are most of what there is to choose from.
    proposed = proposal.propose(experiment, data, clusters=2)
    now = measure.measure(experiment, data).covered.sum()
    then = measure.measure(dataclasses.replace(experiment, anchors=proposed), data).covered.sum()
    assert then >= now


def test_no_other_choice_of_the_sizes_covers_more():
    # Two maps with two squares in a cell: 5 sizes, of which each map takes two, rising.
    experiment = config.resolve(mobilenet_ssd.get_config("practice"))
    data = box_set(random_boxes(200, 0.15, 0.5))

    def covered(anchors):
        spec = anchors.spec((224, 224), [(14, 14), (7, 7)])
        corners = ops_boxes.cxcywh_to_xyxy(generate(spec))
        best = ops_boxes.pairwise_iou(data.boxes().astype(np.float32), corners).max(axis=1)
        return float((best >= 0.5).sum() + 0.01 * best.sum())

    proposed = proposal.propose(experiment, data, clusters=5)
    sides = data.sides() * 224
    sizes = np.sqrt(clustering.by_size(sides, 5).centres.prod(axis=1)).round(1)
    others = [
        dataclasses.replace(
            proposed,
            min_sizes=(float(sizes[a]), float(sizes[c])),
            max_sizes=(float(sizes[b] ** 2 / sizes[a]), float(sizes[d] ** 2 / sizes[c])),
        )
        for a, b, c, d in itertools.product(range(5), repeat=4)
        if a < b <= c < d
    ]
    assert len(others) == 15
    # Sizes in the config are rounded.
    assert covered(proposed) == pytest.approx(max(map(covered, others)), abs=0.01)
    assert covered(proposed) > min(map(covered, others)) + 5


def test_the_search_sees_what_the_matcher_sees():
    # The best IoU by the nearest cell, beside that over all anchors.
    experiment = config.resolve(ssd.get_config("small,bccd"))
    spec = anchor_spec(experiment)
    boxes = random_boxes(200, 0.03, 0.9)
    found = measure.measure(experiment, box_set(boxes)).best_iou
    pixels = boxes * np.array((256, 192) * 2)
    best = np.zeros(len(boxes))
    for entry in spec.maps:
        distance = proposal._to_nearest_centre(pixels, entry, spec.image_size)
        second = np.sqrt(entry.min_size * entry.max_size)
        shapes = [(entry.min_size, entry.min_size), (second, second)]
        for ratio in entry.ratios:
            shapes.append((entry.min_size * ratio**0.5, entry.min_size / ratio**0.5))
        for shape in shapes:
            best = np.maximum(best, proposal._shape_iou(pixels, distance, *shape))
    np.testing.assert_allclose(found, best, atol=1e-5)


def test_squares_of_one_size_keep_the_ratios():
    experiment = config.resolve(mobilenet_ssd.get_config("practice"))
    corner = np.random.default_rng(0).integers(0, 40, (50, 2)) * 4 / 256
    data = box_set(np.concatenate((corner, corner + 64 / 256), axis=1))  # 56 of 224 pixels
    proposed = proposal.propose(experiment, data)
    assert proposed.ratios == experiment.anchors.ratios
    assert 56 in np.round(proposed.min_sizes, 1)


def test_without_boxes():
    experiment = config.resolve(quickstart.get_config())
    with pytest.raises(ValueError, match="got k 0 and 0 boxes"):
        proposal.propose(experiment, box_set([]))


def test_several_scales_on_one_map_are_refused():
    values = quickstart.get_config()
    sizes = ExplicitSizes(
        min_sizes=(15.0, 30.0, 60.0, 90.0),
        more_sizes=((), (), (), ((110.0, 0.0),)),
        ratios=values.anchors.ratios,
    )
    values.anchors = config.part(sizes)
    with pytest.raises(ValueError, match=r"one scale on each map, got config.anchors.more_sizes"):
        proposal.propose(config.resolve(values), box_set([(0.1, 0.1, 0.4, 0.5)]))
