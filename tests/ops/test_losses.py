import functools
import inspect
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ssd_jax.ops import losses, matching
from ssd_jax.types import LossTerms, Matches

A, G, C = 30, 4, 5

jit_match = jax.jit(matching.match)


def log_softmax(logits):
    shifted = np.asarray(logits, np.float64)
    shifted = shifted - shifted.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


# --- one anchor at a time


def test_smooth_l1_by_hand():
    # .5 * .5^2 = .125; at 1 both branches give .5; |-3| - .5 = 2.5.
    x = jnp.array([0.0, 0.5, -1.0, 1.0, -3.0])
    np.testing.assert_allclose(losses.smooth_l1(x), [0, 0.125, 0.5, 0.5, 2.5])
    slopes = jax.grad(lambda x: losses.smooth_l1(x).sum())(x)
    np.testing.assert_allclose(slopes, [0, 0.5, -1, 1, -1])  # x inside, the sign outside


def test_l2_by_hand():
    np.testing.assert_allclose(losses.l2(jnp.array([0.0, 0.5, -3.0])), [0, 0.125, 4.5])


def test_cross_entropy_by_hand():
    # exp: 1, 2, 1; probabilities 1/4, 1/2, 1/4.
    logits = jnp.log(jnp.array([[1.0, 2, 1], [1, 2, 1]]))
    actual = losses.softmax_cross_entropy(logits, jnp.array([0, 1]))
    np.testing.assert_allclose(actual, [np.log(4), np.log(2)], rtol=1e-6)


cross_entropy = jax.jit(losses.softmax_cross_entropy)
focal_loss = jax.jit(losses.focal, static_argnames=("alpha", "gamma"))
logits_strategy = hnp.arrays(np.float32, (A, C), elements=st.floats(-50, 50, width=32))
labels_strategy = hnp.arrays(np.int32, A, elements=st.integers(0, C - 1))


@given(logits_strategy, labels_strategy)
def test_cross_entropy_equals_float64(logits, labels):
    actual = cross_entropy(logits, labels)
    expected = -np.take_along_axis(log_softmax(logits), labels[:, None], 1)[:, 0]
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)
    assert (np.asarray(actual) >= 0).all()


def test_cross_entropy_of_extreme_logits_is_finite():
    logits = jnp.array([[1e4, -1e4, 0.0], [-1e4, 1e4, 0]])
    value, gradient = jax.value_and_grad(
        lambda x: losses.softmax_cross_entropy(x, jnp.array([0, 0])).sum()
    )(logits)
    assert value == 2e4
    np.testing.assert_allclose(gradient, [[0, 0, 0], [-1, 1, 0]])


def test_a_label_beyond_the_classes_gives_nan():
    assert np.isnan(losses.softmax_cross_entropy(jnp.zeros((1, 3)), jnp.array([3]))).all()


def test_focal_by_hand():
    # p = 1/4 and 1/2: .25 * (3/4)^2 log 4 for class 1 and .75 * (1/2)^2 log 2 for background.
    logits = jnp.log(jnp.array([[1.0, 1, 2], [2, 1, 1]]))
    expected = [0.25 * 0.5625 * np.log(4), 0.75 * 0.25 * np.log(2)]
    np.testing.assert_allclose(losses.focal(logits, jnp.array([1, 0])), expected, rtol=1e-6)


@given(logits_strategy, labels_strategy, st.sampled_from([0.0, 0.5, 2.0]))
def test_focal_equals_float64(logits, labels, gamma):
    log_p = np.take_along_axis(log_softmax(logits), labels[:, None], 1)[:, 0]
    expected = -np.where(labels > 0, 0.3, 0.7) * (-np.expm1(log_p)) ** gamma * log_p
    actual = focal_loss(logits, labels, alpha=0.3, gamma=gamma)
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_focal_has_finite_gradients_where_the_probability_is_one_or_zero(gamma):
    logits = jnp.array([[100.0, 0, 0], [-100.0, 100, 0], [0, 0, 0]])
    gradient = jax.jit(
        jax.grad(lambda x: losses.focal(x, jnp.array([0, 0, 1]), gamma=gamma).sum())
    )(logits)
    assert np.isfinite(gradient).all()
    np.testing.assert_allclose(gradient[0], 0, atol=1e-6)


@pytest.mark.parametrize("settings", [{"alpha": 1.5}, {"alpha": -0.1}, {"gamma": -1.0}])
def test_focal_settings_out_of_range_are_refused(settings):
    with pytest.raises(ValueError, match=r"losses\.focal: expected alpha in \[0, 1\] and gamma"):
        losses.focal(jnp.zeros((2, 3)), jnp.zeros(2, jnp.int32), **settings)


def test_labels_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"expected logits \[\.\.\., C\] and labels"):
        inspect.unwrap(losses._log_probability)(jnp.zeros((2, 3)), jnp.zeros(3, jnp.int32))


# --- the multibox loss


def scene(seed, num_objects=3):
    """Random predictions and objects; some anchors lie on the objects."""
    rng = np.random.default_rng(seed)
    centre, size = rng.uniform(0.2, 0.8, (G, 2)), rng.uniform(0.1, 0.4, (G, 2))
    objects = np.concatenate([centre - size / 2, centre + size / 2], 1)
    anchors = np.concatenate([rng.uniform(0, 1, (A, 2)), rng.uniform(0.1, 0.5, (A, 2))], 1)
    anchors[: 2 * G] = np.tile(np.concatenate([centre, size], 1), (2, 1)) * rng.uniform(
        0.9, 1.1, (2 * G, 4)
    )
    return {
        "offsets": rng.normal(0, 2, (A, 4)).astype(np.float32),
        "logits": rng.normal(0, 2, (A, C)).astype(np.float32),
        "gt_boxes_xyxy": objects.astype(np.float32),
        "gt_labels": rng.integers(1, C, G).astype(np.int32),
        "valid": np.arange(G) < num_objects,
        "anchors_cxcywh": anchors.astype(np.float32),
    }


def multibox(offsets, logits, gt_boxes_xyxy, gt_labels, valid, anchors_cxcywh, **settings):
    m = matching.match(gt_boxes_xyxy, valid, anchors_cxcywh)
    return losses.multibox(offsets, logits, gt_boxes_xyxy, gt_labels, m, anchors_cxcywh, **settings)


def multibox_by_loop(
    offsets,
    logits,
    gt_boxes_xyxy,
    gt_labels,
    valid,
    anchors_cxcywh,
    *,
    eligible=None,
    negative_iou=0.5,
    negative_ratio=3.0,
    localization="smooth_l1",
    confidence="softmax",
    alpha=1.0,
    focal_alpha=0.25,
    focal_gamma=2.0,
    variances=(0.1, 0.1, 0.2, 0.2),
):
    """The loss as it is written, anchor by anchor, in float64."""
    m = jax.tree.map(np.asarray, jit_match(gt_boxes_xyxy, valid, anchors_cxcywh))
    log_p = log_softmax(logits)

    def anchor_confidence(a, label):
        cross_entropy = -log_p[a, label]
        if confidence == "softmax":
            return cross_entropy
        weight = focal_alpha if label else 1 - focal_alpha
        return weight * (1 - np.exp(-cross_entropy)) ** focal_gamma * cross_entropy

    location = classes = 0.0
    negatives = []
    for a in range(A):
        if m.positive[a]:
            x0, y0, x1, y1 = gt_boxes_xyxy[m.gt_index[a]].astype(np.float64)
            ax, ay, aw, ah = anchors_cxcywh[a].astype(np.float64)
            difference = ((x0 + x1) / 2 - ax) / aw, ((y0 + y1) / 2 - ay) / ah
            difference += np.log((x1 - x0) / aw), np.log((y1 - y0) / ah)
            for i in range(4):
                error = abs(offsets[a, i] - difference[i] / variances[i])
                is_square = localization == "l2" or error < 1
                location += 0.5 * error**2 if is_square else error - 0.5
            classes += anchor_confidence(a, gt_labels[m.gt_index[a]])
        elif m.iou[a] < negative_iou and (eligible is None or eligible[a]):
            negatives.append(a)
    count = m.positive.sum()
    negatives.sort(key=lambda a: log_p[a, 0])
    if count == 0:
        negatives = []
    elif negative_ratio is not None:
        negatives = negatives[: int(negative_ratio * count)]
    classes += sum(anchor_confidence(a, 0) for a in negatives)
    return LossTerms(classes + alpha * location, location, classes, count)


SETTINGS = {
    "as published": {},
    "fewer negatives, heavier boxes": {"negative_ratio": 1.5, "alpha": 2.5},
    "no negatives": {"negative_ratio": 0.0},
    "l2": {"localization": "l2"},
    "focal": {
        "confidence": "focal",
        "negative_ratio": None,
        "focal_alpha": 0.4,
        "focal_gamma": 1.5,
    },
    "mined focal": {"confidence": "focal"},
    "a band that is neither": {"negative_iou": 0.1, "negative_ratio": None},
    "some cannot be negatives": {"eligible": np.arange(A) % 3 > 0, "negative_ratio": None},
    "other variances": {"variances": (1.0, 0.5, 0.25, 2.0)},
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_multibox_equals_the_loop(settings):
    jitted = jax.jit(functools.partial(multibox, **settings))
    for seed, num_objects in itertools.product(range(4), (0, 1, G)):
        arguments = scene(seed, num_objects)
        expected = multibox_by_loop(**arguments, **settings)
        actual = jitted(**arguments)
        assert actual.num_positives == expected.num_positives
        assert (expected.num_positives > 0) == (num_objects > 0)
        np.testing.assert_allclose(np.array(actual), np.array(expected), rtol=2e-5, atol=1e-5)


def test_multibox_by_hand():
    # Two anchors: the first is the object itself, of class 2; the second is its one negative.
    anchors = np.float32([[0.25, 0.25, 0.5, 0.5], [0.75, 0.75, 0.5, 0.5]])
    m = Matches(np.int32([0, 0]), np.array([True, False]), np.float32([1, 0]))
    # All targets are 0: smooth-L1 of (.5, -2, 0, 0) is .125 + 1.5.
    offsets = np.float32([[0.5, -2, 0, 0], [9, 9, 9, 9]])
    # Class 2 of the first has probability 1/2, background of the second 1/4: log 2 + log 4.
    logits = np.log(np.float32([[1, 1, 2], [1, 2, 1]]))
    terms = losses.multibox(
        offsets, logits, np.float32([[0, 0, 0.5, 0.5]]), np.int32([2]), m, anchors, alpha=2.0
    )
    expected = (3 * np.log(2) + 2 * 1.625, 1.625, 3 * np.log(2), 1)
    np.testing.assert_allclose(np.array(terms), expected, rtol=1e-6)


total_and_gradients = jax.jit(
    jax.value_and_grad(
        lambda offsets, logits, rest: multibox(offsets, logits, **rest).total, (0, 1)
    )
)


def split(arguments):
    rest = dict(arguments)
    return rest.pop("offsets"), rest.pop("logits"), rest


def test_gradients_reach_only_what_was_trained():
    arguments = scene(0)
    _, (offsets_gradient, logits_gradient) = total_and_gradients(*split(arguments))
    m = jax.tree.map(
        np.asarray, jit_match(*[arguments[k] for k in ("gt_boxes_xyxy", "valid", "anchors_cxcywh")])
    )
    np.testing.assert_array_equal((np.asarray(offsets_gradient) != 0).any(axis=1), m.positive)
    trained = (np.asarray(logits_gradient) != 0).any(axis=1)
    background = log_softmax(arguments["logits"])[:, 0]
    can_be = ~m.positive & (m.iou < 0.5)
    count = min(3 * m.positive.sum(), can_be.sum())
    assert count < can_be.sum()  # some are left out
    hardest = np.flatnonzero(can_be)[np.argsort(background[can_be])][:count]
    np.testing.assert_array_equal(np.flatnonzero(trained & ~m.positive), np.sort(hardest))
    # Cross-entropy: softmax minus one at the label.
    labels = np.where(m.positive, arguments["gt_labels"][m.gt_index], 0)
    expected = np.exp(log_softmax(arguments["logits"])) - np.eye(C)[labels]
    np.testing.assert_allclose(logits_gradient, expected * trained[:, None], atol=1e-6)


@pytest.mark.parametrize("fill", [0.0, np.nan])
def test_padding_teaches_nothing(fill):
    arguments = scene(1, num_objects=0)
    arguments["gt_boxes_xyxy"] = np.full((G, 4), fill, np.float32)
    arguments["gt_labels"] = np.zeros(G, np.int32)
    value, gradients = total_and_gradients(*split(arguments))
    assert value == 0
    for gradient in gradients:
        np.testing.assert_array_equal(gradient, 0)


def test_no_slots_at_all_is_no_loss():
    arguments = scene(1)
    for name in ("gt_boxes_xyxy", "gt_labels", "valid"):
        arguments[name] = arguments[name][:0]
    value, gradients = total_and_gradients(*split(arguments))
    assert value == 0
    for gradient in gradients:
        np.testing.assert_array_equal(gradient, 0)


def test_what_padded_slots_hold_does_not_matter():
    arguments = scene(2, num_objects=2)
    expected = total_and_gradients(*split(arguments))
    arguments["gt_boxes_xyxy"][2:], arguments["gt_labels"][2:] = np.nan, 99
    jax.tree.map(np.testing.assert_array_equal, total_and_gradients(*split(arguments)), expected)


@pytest.mark.parametrize(
    "objects",
    [
        pytest.param([[0.3, 0.3, 0.6, 0.6]] * G, id="one object several times"),
        pytest.param([[0.4, 0.4, 0.4, 0.4]] * G, id="no area"),
        pytest.param([[0.4, 0.2, 0.4, 0.8], [0.2, 0.2, 0.7, 0.7]] * 2, id="a line"),
    ],
)
def test_awkward_objects_have_finite_gradients(objects):
    arguments = scene(3, num_objects=G)
    arguments["gt_boxes_xyxy"] = np.float32(objects)
    value, gradients = total_and_gradients(*split(arguments))
    assert np.isfinite(value)
    assert all(np.isfinite(g).all() for g in gradients)


def test_half_precision_predictions_are_summed_in_float32():
    arguments = scene(0)
    for name in ("offsets", "logits"):
        arguments[name] = jnp.asarray(arguments[name], jnp.bfloat16)
    terms = jax.jit(multibox)(**arguments)
    assert {part.dtype for part in terms} == {jnp.dtype("float32")}
    rounded = {
        k: np.asarray(v, np.float32) if k in ("offsets", "logits") else v
        for k, v in arguments.items()
    }
    np.testing.assert_allclose(terms.total, multibox_by_loop(**rounded).total, rtol=1e-5)


def test_a_batch_is_divided_by_all_its_positives():
    images = [scene(0, G), scene(1, 0), scene(2, 1)]
    batch = {k: np.stack([image[k] for image in images]) for k in images[0]}
    per_image = [multibox_by_loop(**image) for image in images]
    batched = jax.jit(lambda batch: losses.normalize(jax.vmap(lambda x: multibox(**x))(batch)))(
        batch
    )
    sums = np.sum(np.array(per_image), axis=0)
    expected = np.append(sums[:3] / sums[3], sums[3])
    np.testing.assert_allclose(np.array(batched), expected, rtol=2e-5)
    assert batched.num_positives > 2


def test_a_batch_without_objects_is_zero():
    terms = losses.normalize(LossTerms(*[jnp.zeros(3)] * 4))
    np.testing.assert_array_equal(np.array(terms), 0)


NOTHING_MATCHED = Matches(np.zeros(A, np.int32), np.zeros(A, bool), np.zeros(A, np.float32))


@pytest.mark.parametrize(
    "settings", [{"localization": "smooth-l1"}, {"confidence": "sigmoid"}], ids=str
)
def test_unknown_losses_are_refused(settings):
    ((argument, name),) = settings.items()
    arguments = scene(0)
    del arguments["valid"]
    with pytest.raises(ValueError, match=rf"losses\.multibox: expected {argument} to be .*{name}"):
        losses.multibox(**arguments, matches=NOTHING_MATCHED, **settings)


def test_shapes_that_do_not_fit_are_refused():
    arguments = scene(0)
    del arguments["valid"]
    wrong = {"offsets": (A - 1, 4), "logits": (A + 1, C), "gt_boxes_xyxy": (G + 1, 4)}
    for name, shape in wrong.items():
        with pytest.raises(ValueError, match=r"losses\.multibox: expected offsets \[A, 4\]"):
            inspect.unwrap(losses.multibox)(
                **{**arguments, name: np.zeros(shape, np.float32)}, matches=NOTHING_MATCHED
            )
