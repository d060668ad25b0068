"""RefineDet's objective and decoder, against loops written from the paper."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import refinedet
from ssd_jax import config, detectors
from ssd_jax.ops import coding
from ssd_jax.types import RefinedPredictions, Targets

VARIANCES = (0.1, 0.1, 0.2, 0.2)


def build(**changes):
    values = refinedet.get_config("small,vgg16,voc")
    values.model.image_size = (64, 64)  # maps 8, 4, 2, 1: 255 anchors
    values.model.width = 0.02
    values.model.num_classes = 4
    values.anchors.min_sizes = (8.0, 16.0, 24.0, 40.0)
    values = values.to_dict()
    config.override(
        values, {f"config.{name.replace('__', '.')}": value for name, value in changes.items()}
    )
    return detectors.build(config.resolve(values))


@pytest.fixture(scope="module")
def detector():
    return build()


def random_predictions(detector, seed=0, batch=1):
    rng = np.random.default_rng(seed)
    A, C = len(detector.anchors), detector.num_classes

    def normal(values, scale=1.0):
        return jnp.asarray(scale * rng.normal(size=(batch, A, values)), jnp.float32)

    return RefinedPredictions(normal(4, 0.5), normal(2, 3.0), normal(4), normal(C))


def objects(*boxes, slots=4):
    """One image with these (x0, y0, x1, y1, label), padded."""
    rows = [*boxes, *[(0, 0, 0, 0, 0)] * (slots - len(boxes))]
    table = np.array([rows], np.float32)
    return Targets(
        jnp.asarray(table[..., :4]),
        jnp.asarray(table[..., 4], jnp.int32),
        jnp.asarray(table[..., 4] > 0),
    )


TWO = ((0.1, 0.2, 0.45, 0.6, 2), (0.5, 0.55, 0.95, 0.9, 3))


# ---- the loss of one image in plain Python, from the paper's section 3.1 and SPEC


def iou(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def corners(box):
    x, y, w, h = box
    return (x - w / 2, y - h / 2, x + w / 2, y + h / 2)


def move(anchor, offsets):
    x, y, w, h = anchor
    return (
        x + offsets[0] * VARIANCES[0] * w,
        y + offsets[1] * VARIANCES[1] * h,
        w * math.exp(offsets[2] * VARIANCES[2]),
        h * math.exp(offsets[3] * VARIANCES[3]),
    )


def offsets_to(box, anchor):
    x, y, w, h = anchor
    centre, size = (
        ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2),
        (box[2] - box[0], box[3] - box[1]),
    )
    return (
        (centre[0] - x) / w / VARIANCES[0],
        (centre[1] - y) / h / VARIANCES[1],
        math.log(size[0] / w) / VARIANCES[2],
        math.log(size[1] / h) / VARIANCES[3],
    )


def assign(boxes, anchors):
    """Each anchor's object or None, and its best IoU: every object its best, others from .5."""
    table = [[iou(box, corners(anchor)) for anchor in anchors] for box in boxes]
    owner, best = {}, [max((row[a] for row in table), default=0.0) for a in range(len(anchors))]
    left = set(range(len(boxes)))
    while left:
        pairs = [(table[g][a], -a, -g) for g in left for a in range(len(anchors)) if a not in owner]
        value, a, g = max(pairs)
        if value <= 1e-6:
            break
        owner[-a] = -g
        left.remove(-g)
    for a in range(len(anchors)):
        if a not in owner and boxes and best[a] >= 0.5:
            owner[a] = max(range(len(boxes)), key=lambda g, a=a: (table[g][a], -g))
    return owner, best


def cross_entropy(scores, label):
    largest = max(scores)
    return largest + math.log(sum(math.exp(s - largest) for s in scores)) - scores[label]


def multibox(offsets, scores, boxes, labels, anchors, may_be_negative, may_be_positive=None):
    owner, best = assign(boxes, anchors)
    if may_be_positive is not None:
        owner = {a: g for a, g in owner.items() if may_be_positive[a]}
    localization = confidence = 0.0
    for a, g in owner.items():
        for predicted, wanted in zip(offsets[a], offsets_to(boxes[g], anchors[a]), strict=True):
            error = abs(predicted - wanted)
            localization += error**2 / 2 if error < 1 else error - 0.5
        confidence += cross_entropy(scores[a], labels[g])
    negatives = [
        cross_entropy(scores[a], 0)
        for a in range(len(anchors))
        if a not in owner and best[a] < 0.5 and may_be_negative[a]
    ]
    confidence += sum(sorted(negatives, reverse=True)[: 3 * len(owner)])
    return localization, confidence, len(owner)


def loss_by_hand(predictions, targets, anchors, *, filter_positives=False, threshold=0.99):
    arm_offsets, arm_scores, offsets, scores = (np.asarray(x[0], np.float64) for x in predictions)
    real = np.asarray(targets.valid[0])
    boxes = [tuple(map(float, box)) for box in np.asarray(targets.boxes_xyxy[0])[real]]
    labels = [int(label) for label in np.asarray(targets.labels[0])[real]]
    anchors = [tuple(map(float, anchor)) for anchor in anchors]
    everywhere = [True] * len(anchors)
    arm = multibox(arm_offsets, arm_scores, boxes, [1] * len(boxes), anchors, everywhere)
    refined = [move(a, o) for a, o in zip(anchors, arm_offsets, strict=True)]
    background = [math.exp(-cross_entropy(s, 0)) for s in arm_scores]
    open_ = [b <= threshold for b in background]
    odm = multibox(
        offsets, scores, boxes, labels, refined, open_, open_ if filter_positives else None
    )
    parts = []
    for localization, confidence, positives in (arm, odm):
        parts += [localization / max(1, positives), confidence / max(1, positives), positives]
    return parts


def as_list(terms):
    return [
        float(x)
        for x in (
            terms.arm_localization,
            terms.arm_confidence,
            terms.arm_num_positives,
            terms.localization,
            terms.confidence,
            terms.num_positives,
        )
    ]


def all_filtered(predictions):
    """The ARM is sure of background everywhere."""
    sure = jnp.broadcast_to(jnp.array([9.0, -9.0]), predictions.arm_logits.shape)
    return predictions._replace(arm_logits=sure)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("targets", [objects(*TWO), objects()], ids=["objects", "none"])
@pytest.mark.parametrize("filtered", [False, True])
def test_the_loss_equals_loops_from_the_paper(detector, seed, targets, filtered):
    predictions = random_predictions(detector, seed)
    if filtered:
        predictions = all_filtered(predictions)
    terms = detector.loss(predictions, targets)
    expected = loss_by_hand(predictions, targets, detector.anchors)
    np.testing.assert_allclose(as_list(terms), expected, rtol=1e-5, atol=1e-6)
    total = expected[0] + expected[1] + expected[3] + expected[4]
    assert float(terms.total) == pytest.approx(total, rel=1e-5)
    assert (expected[2] > 0) == bool(targets.valid.any())
    gradient = jax.grad(lambda p: detector.loss(p, targets).total)(predictions)
    assert all(np.isfinite(x).all() for x in gradient)
    if not targets.valid.any():
        assert not any(np.any(x) for x in gradient)


def test_filtering_spares_positives_unless_asked():
    targets = objects(*TWO)
    lenient, strict = build(), build(model__filter_positives=True)
    predictions = random_predictions(lenient, 4)
    kept = float(lenient.loss(predictions, targets).num_positives)
    terms = strict.loss(predictions, targets)
    expected = loss_by_hand(predictions, targets, strict.anchors, filter_positives=True)
    np.testing.assert_allclose(as_list(terms), expected, rtol=1e-5)
    everything = all_filtered(predictions)
    assert float(lenient.loss(everything, targets).num_positives) == kept > 0
    nothing = strict.loss(everything, targets)
    assert float(nothing.num_positives) == float(nothing.confidence) == 0


def test_anchors_across_the_border_can_be_left_out_of_training(detector):
    strict, targets = build(loss__border_anchors=False), objects(*TWO)
    inside = np.array(
        [min(corners(a)) >= -1e-5 and max(corners(a)) <= 1 + 1e-5 for a in strict.anchors]
    )
    assert 0 < inside.sum() < len(inside)
    predictions = random_predictions(strict, 7)
    few = jax.tree.map(lambda x: x[:, inside], predictions)
    expected = loss_by_hand(few, targets, strict.anchors[inside])
    np.testing.assert_allclose(as_list(strict.loss(predictions, targets)), expected, rtol=1e-5)
    jax.tree.map(
        np.testing.assert_array_equal, strict.detect(predictions), detector.detect(predictions)
    )


def test_each_module_divides_by_its_own_positives_of_the_batch(detector):
    images = [objects(*TWO), objects(TWO[0]), objects()]
    predictions = random_predictions(detector, 5, batch=3)
    batch = jax.tree.map(lambda *x: jnp.concatenate(x), *images)
    sums = np.zeros(6)
    for i, image in enumerate(images):
        one = jax.tree.map(lambda x, i=i: x[i : i + 1], predictions)
        parts = np.array(loss_by_hand(one, image, detector.anchors))
        counts = np.maximum(parts[[2, 2, 2, 5, 5, 5]], 1)
        sums += parts * np.where([0, 0, 1, 0, 0, 1], 1, counts)
    expected = sums / np.where([0, 0, 1, 0, 0, 1], 1, sums[[2, 2, 2, 5, 5, 5]])
    np.testing.assert_allclose(as_list(detector.loss(predictions, batch)), expected, rtol=1e-5)


def test_no_gradient_reaches_the_arm_through_the_odm(detector):
    predictions, targets = random_predictions(detector, 6), objects(*TWO)

    def odm(p):
        terms = detector.loss(p, targets)
        return terms.localization + terms.confidence

    gradient = jax.grad(odm)(predictions)
    assert not np.any(gradient.arm_offsets)
    assert not np.any(gradient.arm_logits)
    assert np.any(gradient.offsets)
    assert np.any(gradient.logits)
    # By its own loss it learns, and through the features the ODM's loss reaches the backbone.
    own = jax.grad(lambda p: detector.loss(p, targets).total)(predictions)
    assert np.any(own.arm_offsets)
    assert np.any(own.arm_logits)
    variables = jax.jit(detector.init)(jax.random.key(0))
    images = jnp.asarray(np.random.default_rng(0).uniform(0, 255, (1, 64, 64, 3)), jnp.float32)

    def of_params(params):
        return odm(detector.apply({**variables, "params": params}, images, train=True)[0])

    gradient = jax.jit(jax.grad(of_params))(variables["params"])
    assert not any(np.any(x) for x in jax.tree.leaves(gradient["arm1_offsets"]))
    assert all(np.any(gradient["backbone"][name]["conv"]["kernel"]) for name in ("conv1_1", "fc7"))


@pytest.mark.parametrize(
    ("off", "predictions_gone", "terms_gone"),
    [
        (("negative_filtering",), {"arm_logits"}, {"arm_confidence"}),
        (("cascade",), {"arm_offsets"}, {"arm_localization"}),
        (("neck",), set(), set()),
        (
            ("negative_filtering", "cascade"),
            {"arm_offsets", "arm_logits"},
            {"arm_localization", "arm_confidence", "arm_num_positives"},
        ),
    ],
)
def test_off_means_off(detector, off, predictions_gone, terms_gone):
    smaller = build(**{f"model__{name}": "none" if name == "neck" else False for name in off})
    variables = jax.eval_shape(smaller.init, jax.random.key(0))
    images = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
    shapes = jax.eval_shape(lambda v, x: smaller.apply(v, x, train=False)[0], variables, images)
    assert {k for k, v in shapes._asdict().items() if v is None} == predictions_gone
    predictions = random_predictions(detector, 7)
    part = predictions._replace(**dict.fromkeys(predictions_gone))
    targets = objects(*TWO)
    terms = smaller.loss(part, targets)
    assert {k for k, v in terms._asdict().items() if v is None} == terms_gone
    present = (terms.arm_localization, terms.arm_confidence, terms.localization, terms.confidence)
    total = sum(float(x) for x in present if x is not None)
    assert float(terms.total) == pytest.approx(total, rel=1e-6)

    # What is off is replaced by what does nothing: anchors that stay, and no filter.
    inert = predictions
    if "cascade" in off:
        inert = inert._replace(arm_offsets=jnp.zeros_like(inert.arm_offsets))
    if "negative_filtering" in off:
        inert = inert._replace(arm_logits=jnp.zeros_like(inert.arm_logits))
    expected = loss_by_hand(inert, targets, detector.anchors)
    odm = [float(x) for x in (terms.localization, terms.confidence, terms.num_positives)]
    np.testing.assert_allclose(odm, expected[3:], rtol=1e-5)
    assert smaller.detect(part).valid.shape == (1, 200)


def test_detections_pass_the_filter_and_both_decodings(detector):
    A = len(detector.anchors)
    rng = np.random.default_rng(8)
    arm_offsets = jnp.asarray(rng.normal(size=(1, A, 4)), jnp.float32)
    chosen, hidden = 100, 230
    wanted = jnp.array([[0.2, 0.3, 0.5, 0.7], [0.6, 0.1, 0.9, 0.4]])
    moved = coding.decode(arm_offsets[0], detector.anchors)
    centre, size = (moved[:, :2] + moved[:, 2:]) / 2, moved[:, 2:] - moved[:, :2]
    refined = jnp.concatenate([centre, size], axis=1)
    offsets = (
        jnp.zeros((A, 4))
        .at[jnp.array([chosen, hidden])]
        .set(coding.encode(wanted, refined[jnp.array([chosen, hidden])]))
    )
    logits = jnp.zeros((A, 4)).at[:, 0].set(12.0)
    logits = (
        logits.at[chosen].set(jnp.array([0.0, 0, 9, 0])).at[hidden].set(jnp.array([0, 9.0, 0, 0]))
    )
    # Objectness .5 for all, and under .01 for the second object: log(.009 / .991) = -4.7.
    arm_logits = jnp.zeros((A, 2)).at[hidden, 1].set(-4.7)
    predictions = RefinedPredictions(arm_offsets, arm_logits[None], offsets[None], logits[None])
    found = detector.detect(predictions)
    assert int(found.valid.sum()) == 1
    np.testing.assert_allclose(found.boxes_xyxy[0, 0], wanted[0], atol=1e-5)
    assert int(found.labels[0, 0]) == 2
    lenient = build(model__objectness_threshold=0.005)
    assert int(lenient.detect(predictions).valid.sum()) == 2
