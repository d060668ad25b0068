import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssd_jax import config, detectors
from ssd_jax.config import part
from ssd_jax.detectors.anchor_rules import ExplicitSizes
from ssd_jax.detectors.input import Input
from ssd_jax.ops import boxes, coding, losses, matching
from ssd_jax.types import Predictions, Targets


@pytest.fixture
def detector(tiny):
    tiny.model.num_classes = 4
    return detectors.build(config.resolve(tiny))


def targets(detector, rng, batch=3, G=4):
    corner = rng.uniform(0, 0.6, (batch, G, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(0.1, 0.4, (batch, G, 2))], axis=-1)
    valid = rng.random((batch, G)) < 0.7
    valid[0] = False
    labels = np.where(valid, rng.integers(1, detector.num_classes, (batch, G)), 0)
    return Targets(
        jnp.asarray(boxes, jnp.float32), jnp.asarray(labels, jnp.int32), jnp.asarray(valid)
    )


def predictions(detector, rng, batch=3):
    A, C = len(detector.anchors), detector.num_classes
    return Predictions(
        jnp.asarray(rng.normal(size=(batch, A, 4)), jnp.float32),
        jnp.asarray(rng.normal(size=(batch, A, C)), jnp.float32),
    )


def labelled_boxes(boxes_xyxy, labels, valid):
    rows = np.round(np.asarray(boxes_xyxy), 3)[np.asarray(valid)]
    return {(int(c), *row) for c, row in zip(np.asarray(labels)[valid], rows, strict=True)}


def test_anchors_fit_the_maps(detector):
    # Maps 8, 4, 2 with 4, 6, 4 boxes: 256 + 96 + 16.
    assert detector.anchors.shape == (368, 4)
    variables = jax.jit(detector.init)(jax.random.key(0))
    outputs, stats = detector.apply(variables, jnp.zeros((2, 64, 64, 3)), train=False)
    assert outputs.offsets.shape == (2, 368, 4)
    assert outputs.logits.shape == (2, 368, 4)
    jax.tree.map(np.testing.assert_array_equal, stats, variables["batch_stats"])


def test_the_loss_is_the_images_sums_over_the_batchs_positives(detector):
    rng = np.random.default_rng(0)
    outputs, batch = predictions(detector, rng), targets(detector, rng)
    terms = detector.loss(outputs, batch)
    sums, positives = np.zeros(2), 0
    for i in range(3):
        matches = matching.match(batch.boxes_xyxy[i], batch.valid[i], detector.anchors)
        one = losses.multibox(
            outputs.offsets[i],
            outputs.logits[i],
            batch.boxes_xyxy[i],
            batch.labels[i],
            matches,
            detector.anchors,
        )
        sums += [float(one.localization), float(one.confidence)]
        positives += int(matches.positive.sum())
    assert positives > 3
    np.testing.assert_allclose([terms.localization, terms.confidence], sums / positives, rtol=1e-5)
    assert float(terms.num_positives) == positives


def test_objects_predicted_exactly_are_detected(detector):
    rng = np.random.default_rng(1)
    batch = targets(detector, rng)
    match = jax.vmap(lambda b, v: matching.match(b, v, detector.anchors))
    matches = match(batch.boxes_xyxy, batch.valid)
    matched = jnp.take_along_axis(batch.boxes_xyxy, matches.gt_index[..., None], axis=1)
    labels = jnp.where(
        matches.positive, jnp.take_along_axis(batch.labels, matches.gt_index, axis=1), 0
    )
    outputs = Predictions(
        coding.encode(matched, jnp.broadcast_to(detector.anchors, matched.shape)),
        20.0 * jax.nn.one_hot(labels, detector.num_classes),
    )
    found = detector.detect(outputs)
    for i in range(3):
        expected = labelled_boxes(batch.boxes_xyxy[i], batch.labels[i], batch.valid[i])
        got = labelled_boxes(found.boxes_xyxy[i], found.labels[i], found.valid[i])
        # Two objects of one class may overlap enough for one to be suppressed, none is made up.
        assert got <= expected
        assert len(expected) - len(got) <= 1
    assert not found.valid[0].any()


def test_nothing_to_learn_is_no_loss_and_no_gradient(detector):
    rng = np.random.default_rng(2)
    outputs, batch = predictions(detector, rng), targets(detector, rng)
    empty = batch._replace(valid=jnp.zeros_like(batch.valid))
    loss = lambda o: detector.loss(o, empty).total  # noqa: E731
    assert float(loss(outputs)) == 0
    assert all((np.asarray(g) == 0).all() for g in jax.grad(loss)(outputs))


def test_anchors_across_the_border_can_be_left_out_of_training(tiny, detector):
    tiny.model.num_classes = 4
    tiny.loss.border_anchors = False
    strict = detectors.build(config.resolve(tiny))
    rng = np.random.default_rng(3)
    outputs, batch = predictions(detector, rng), targets(detector, rng)
    corners = np.asarray(boxes.cxcywh_to_xyxy(detector.anchors))
    inside = ((corners >= -1e-5) & (corners <= 1 + 1e-5)).all(axis=1)
    assert 0 < inside.sum() < len(inside)
    # By hand: the same loss of a detector that has no other anchors.
    parts = np.zeros(3)
    for i in range(3):
        few = detector.anchors[inside]
        objects = batch.boxes_xyxy[i], batch.valid[i]
        matches = matching.match(*objects, few)
        one = losses.multibox(
            outputs.offsets[i][inside],
            outputs.logits[i][inside],
            batch.boxes_xyxy[i],
            batch.labels[i],
            matches,
            few,
        )
        parts += [float(one.localization), float(one.confidence), int(matches.positive.sum())]
    terms = strict.loss(outputs, batch)
    expected = [parts[0] / parts[2], parts[1] / parts[2], parts[2]]
    np.testing.assert_allclose(
        [terms.localization, terms.confidence, terms.num_positives], expected, rtol=1e-5
    )
    gradient = jax.grad(lambda o: strict.loss(o, batch).total)(outputs)
    assert all(np.any(g[:, inside]) and not np.any(g[:, ~inside]) for g in gradient)
    # They detect as before, and with True they learn as before.
    jax.tree.map(np.testing.assert_array_equal, strict.detect(outputs), detector.detect(outputs))
    everywhere = jax.grad(lambda o: detector.loss(o, batch).total)(outputs)
    assert np.any(everywhere.logits[:, ~inside])


def test_no_anchor_inside_the_border_is_an_error(tiny):
    tiny.model.num_classes = 4
    tiny.loss.border_anchors = False
    tiny.anchors = part(ExplicitSizes((70.0, 80.0, 90.0), ratios=tiny.anchors.ratios))
    with pytest.raises(ValueError, match=r"config\.loss\.border_anchors: every anchor crosses"):
        detectors.build(config.resolve(tiny))


def test_several_sizes_on_one_map(tiny):
    tiny.model.num_classes = 4
    ratios = tiny.anchors.ratios
    tiny.anchors.more_sizes = ((), (), ((48.0, 60.0), (60.0, 0.0)))
    with pytest.raises(ValueError, match=r"'linear' has no more_sizes; sizes has it"):
        config.resolve(tiny)
    tiny.anchors = part(
        ExplicitSizes(
            min_sizes=(8.0, 16.0, 32.0),
            max_sizes=(16.0, 32.0, 48.0),
            more_sizes=((), (), ((48.0, 60.0), (60.0, 0.0))),
            ratios=ratios,
        )
    )
    detector = detectors.build(config.resolve(tiny))
    # Ratios 2; 2, 3; 2: the last map has 4 + 4 and, without a second square, 3.
    assert detector.anchor_spec.per_cell == (4, 6, 11)
    outputs, _ = detector.apply(
        jax.jit(detector.init)(jax.random.key(0)), jnp.zeros((1, 64, 64, 3)), train=False
    )
    assert outputs.logits.shape[1] == len(detector.anchors) == 64 * 4 + 16 * 6 + 4 * 11


def test_input_is_normalised_in_rgb_and_then_reordered():
    images = jnp.array([[[[10.0, 20.0, 40.0]]]])
    spec = Input(mean=(8.0, 16.0, 32.0), scale=(1.0, 2.0, 4.0))
    np.testing.assert_allclose(spec.standardize(images), [[[[2.0, 2.0, 2.0]]]])
    spec = Input(mean=(9.0, 18.0, 37.0), channel_order="bgr")
    np.testing.assert_allclose(spec.standardize(images), [[[[3.0, 2.0, 1.0]]]])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "sdd"}, r"config\.model: .*ssd.* got 'sdd'"),
        ({"model.backbone": "vgg"}, r"config\.model\.backbone: .* got 'vgg'"),
        ({"model.num_classes": 0}, r"num_classes: expected .* got 0"),
        ({"model.dtype": "float16"}, r"config\.model\.dtype: .* got 'float16'"),
        (
            {"model.extras.sources": ("conv4_1", "fc7")},
            r"config\.model\.extras\.sources: .*conv4_3.* got 'conv4_1'",
        ),
        ({"model.extras.l2_norm": (20.0,)}, r"config\.model\.extras\.l2_norm: .* got \(20"),
        ({"model.extras.layers": ((256, 512, 5, 1, 0),)}, r"input of \(64, 64\) is too small"),
        ({"anchors": "preset"}, r"preset: 'ssd300_voc' is for 6 maps.* has 3"),
        ({"anchors": "preset", "anchors.preset": "ssd300"}, r"ssd300_"),
        ({"anchors.ratios": ((2.0,),)}, r"config\.anchors\.ratios: .* 3 maps, got 1"),
        ({"anchors.s_min": 0.95}, r"s_min"),
        ({"input.channel_order": "gbr"}, r"config\.input\.channel_order: .* got 'gbr'"),
        ({"loss.localization": "giou"}, r"config\.loss\.localization: .* 'giou'"),
        ({"loss.confidence": "hinge"}, r"config\.loss\.confidence: .* 'hinge'"),
        ({"decoder.iou_threshold": 45.0}, r"iou_threshold"),
        ({"model.cascade": False}, r"'ssd' has no cascade; refinedet has it: .*config\.model=ref"),
    ],
)
def test_a_config_that_cannot_be_built_says_why(tiny, changes, message):
    tiny.model.num_classes = 4
    values = tiny.to_dict()

    def build():
        config.override(values, {f"config.{path}": value for path, value in changes.items()})
        return detectors.build(config.resolve(values))

    with pytest.raises(ValueError, match=message):
        build()


def test_explicit_sizes_and_steps(tiny):
    tiny.model.num_classes = 4
    sizes = (8.0, 16.0, 32.0)
    tiny.anchors = part(
        ExplicitSizes(sizes, (16.0, 32.0, 0.0), ratios=tiny.anchors.ratios, steps=sizes)
    )
    detector = detectors.build(config.resolve(tiny))
    # The last map has no second square: 64 * 4 + 16 * 6 + 4 * 3.
    assert detector.anchor_spec.per_map == (256, 96, 12)
    np.testing.assert_allclose(detector.anchors[0], [4 / 64, 4 / 64, 8 / 64, 8 / 64])


def test_a_rectangular_input_has_anchors_that_are_square_in_pixels(tiny):
    tiny.model.num_classes = 4
    tiny.model.image_size = (64, 128)
    detector = detectors.build(config.resolve(tiny))
    assert [entry.map_size for entry in detector.anchor_spec.maps] == [(8, 16), (4, 8), (2, 4)]
    width, height = detector.anchors[0, 2:] * [128, 64]
    assert width == pytest.approx(height)
    outputs, _ = detector.apply(
        jax.jit(detector.init)(jax.random.key(0)), jnp.zeros((1, 64, 128, 3)), train=False
    )
    assert outputs.offsets.shape[1] == len(detector.anchors)
