import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssd_jax import config, detectors
from ssd_jax.detectors.losses import L2, Focal, SmoothL1, Softmax
from ssd_jax.detectors.multibox import Multibox
from ssd_jax.types import Predictions, Targets

LOGITS = np.array([[2.0, 0.5, -1.0], [0.0, 0.0, 0.0], [-3.0, 1.0, 4.0]], np.float32)
LABELS = np.array([0, 1, 2], np.int32)


@pytest.mark.parametrize(("alpha", "gamma"), [(0.25, 2.0), (0.6, 0.0), (1.0, 5.0)])
def test_the_focal_loss_is_the_papers(alpha, gamma):
    # -a (1 - p)^g log p of the class that is right; a for objects, 1 - a for background.
    p = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)
    p = p[np.arange(3), LABELS]
    expected = -np.array([1 - alpha, alpha, alpha]) * (1 - p) ** gamma * np.log(p)
    found = Focal(alpha, gamma).loss(jnp.asarray(LOGITS), jnp.asarray(LABELS))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)
    assert Focal.negative_ratio is None


@pytest.mark.parametrize("part", [Softmax(), Focal()])
def test_scores_are_probabilities(part):
    scores = part.scores(jnp.asarray(LOGITS))
    np.testing.assert_allclose(scores.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(scores[1], 1 / 3, rtol=1e-6)


def test_localization_losses_by_hand():
    errors = jnp.array([[0.0, 0.5, -1.0, -3.0]])
    np.testing.assert_allclose(SmoothL1().loss(errors), [[0, 0.125, 0.5, 2.5]])
    np.testing.assert_allclose(L2().loss(errors), [[0, 0.125, 0.5, 4.5]])


@pytest.mark.parametrize("fields", [{"alpha": 1.5}, {"alpha": -0.1}, {"gamma": -1.0}])
def test_values_out_of_range_are_refused(fields):
    with pytest.raises(ValueError, match=r"Focal\.\w+: expected alpha in \[0, 1\] and gamma >= 0"):
        Focal(**fields)


def test_what_a_config_says_of_a_loss_reaches_it(tiny):
    """Settings -> objective -> the sum over the anchors of a picture."""
    tiny.model.num_classes = 4
    experiment = config.resolve(tiny)
    A = len(detectors.build(experiment).anchors)
    rng = np.random.default_rng(0)
    predictions = Predictions(
        jnp.asarray(rng.normal(size=(1, A, 4)), jnp.float32),
        jnp.asarray(rng.normal(size=(1, A, 4)), jnp.float32),
    )
    targets = Targets(jnp.array([[[0.1, 0.2, 0.6, 0.9]]]), jnp.array([[2]]), jnp.array([[True]]))

    def terms(**fields):
        loss = Multibox(**fields)
        detector = detectors.build(dataclasses.replace(experiment, loss=loss))
        return jax.tree.map(float, detector.loss(predictions, targets))

    focal = [terms(confidence=Focal(*x)).confidence for x in ((0.25, 2.0), (0.25, 1.0), (0.5, 2.0))]
    assert len({round(x, 6) for x in focal}) == 3
    # Gamma 0 and alpha .5 are half of the cross-entropy over every negative.
    plain = terms(confidence=Softmax(negative_ratio=float(A))).confidence
    assert terms(confidence=Focal(0.5, 0.0)).confidence == pytest.approx(plain / 2, rel=1e-5)
    few = terms(confidence=Softmax(negative_ratio=1.0)).confidence
    assert few < terms(confidence=Softmax(negative_ratio=3.0)).confidence < plain
    one, two = terms(), terms(alpha=2.0, localization=L2())
    assert two.confidence == pytest.approx(one.confidence, rel=1e-6)
    assert two.localization != pytest.approx(one.localization, rel=1e-3)
    assert two.total == pytest.approx(two.confidence + 2 * two.localization, rel=1e-5)
