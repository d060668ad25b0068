import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ssd_jax.ops import coding

encode, decode = jax.jit(coding.encode), jax.jit(coding.decode)
gradients_of_summed_encode = jax.jit(jax.grad(lambda *xs: coding.encode(*xs).sum(), (0, 1)))
centres = st.floats(0, 1, width=32)
sides = st.floats(2**-10, 1, width=32)
cxcywh = st.tuples(
    hnp.arrays(np.float32, (4, 2), elements=centres), hnp.arrays(np.float32, (4, 2), elements=sides)
).map(lambda parts: np.concatenate(parts, axis=1))


def corners(boxes):
    return np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], 1)


def test_encode_by_hand():
    # Box (.3, .2)-(.7, .6): centre (.5, .4), size (.4, .4). Anchor: centre (.4, .5), size (.2, .8).
    # (.5 - .4) / .2 / .1 = 5, (.4 - .5) / .8 / .1 = -1.25, log(.4 / .2) / .2 = 5 log 2, and
    # log(.4 / .8) / .2 = -5 log 2.
    box, anchor = jnp.array([0.3, 0.2, 0.7, 0.6]), jnp.array([0.4, 0.5, 0.2, 0.8])
    expected = [5, -1.25, 5 * np.log(2), -5 * np.log(2)]
    np.testing.assert_allclose(coding.encode(box, anchor), expected, rtol=1e-5)
    # With all divisors 1 the same differences are not divided.
    plain = coding.encode(box, anchor, variances=(1.0, 1.0, 1.0, 1.0))
    np.testing.assert_allclose(plain, [0.5, -0.125, np.log(2), -np.log(2)], rtol=1e-5)


def test_decode_by_hand():
    # Centre (.4 + 5 * .1 * .2, .5 - 1.25 * .1 * .8) = (.5, .4); size (.2 * 2, .8 / 2) = (.4, .4).
    offsets = jnp.array([5, -1.25, 5 * np.log(2), -5 * np.log(2)], jnp.float32)
    anchor = jnp.array([0.4, 0.5, 0.2, 0.8])
    np.testing.assert_allclose(coding.decode(offsets, anchor), [0.3, 0.2, 0.7, 0.6], rtol=1e-5)


def test_no_offset_is_the_anchor_itself():
    anchors = jnp.array([[0.5, 0.25, 0.25, 0.5]])
    np.testing.assert_array_equal(
        coding.decode(jnp.zeros((1, 4)), anchors), [[0.375, 0, 0.625, 0.5]]
    )


@given(cxcywh, cxcywh)
def test_decode_inverts_encode(boxes, anchors):
    boxes = corners(boxes)
    # float32 loses up to an ulp of the coordinates, then the log of a ratio of at most 2^10.
    np.testing.assert_allclose(decode(encode(boxes, anchors), anchors), boxes, atol=1e-5)


@given(cxcywh, cxcywh)
def test_encode_equals_the_formula_in_float64(boxes, anchors):
    expected = np.concatenate(
        [
            (boxes[:, :2].astype(np.float64) - anchors[:, :2]) / anchors[:, 2:] / 0.1,
            np.log(boxes[:, 2:].astype(np.float64) / anchors[:, 2:]) / 0.2,
        ],
        axis=1,
    )
    # A corner holds 2^-24 of 1; divided by the smallest side and by .1 that is about 6e-4.
    np.testing.assert_allclose(encode(corners(boxes), anchors), expected, atol=2e-3)


@pytest.mark.parametrize(
    ("box", "anchor"),
    [
        pytest.param([0.0, 0, 0, 0], [0.5, 0.5, 0.1, 0.1], id="padding"),
        pytest.param([0.2, 0.2, 0.2, 0.7], [0.5, 0.5, 0.1, 0.1], id="no width"),
        pytest.param([0.7, 0.7, 0.2, 0.2], [0.5, 0.5, 0.1, 0.1], id="corners swapped"),
        pytest.param([0.2, 0.2, 0.7, 0.7], [0.5, 0.5, 0.0, 0.0], id="anchor without area"),
        pytest.param([0.0, 0, 0, 0], [0.0, 0.0, 0.0, 0.0], id="nothing at all"),
    ],
)
def test_encode_of_degenerate_boxes_is_finite_with_finite_gradients(box, anchor):
    box, anchor = jnp.array(box), jnp.array(anchor)
    assert np.isfinite(encode(box, anchor)).all()
    gradients = gradients_of_summed_encode(box, anchor)
    assert all(np.isfinite(g).all() for g in gradients)


def test_decode_does_not_overflow_and_reaches_every_box_of_the_image():
    anchor = jnp.array([0.5, 0.5, 1e-6, 1e-6])
    whole = jnp.array([0.0, 0.0, 1.0, 1.0])
    # The smallest anchor to the largest box is a ratio of 1e6, where the guard begins.
    np.testing.assert_allclose(decode(encode(whole, anchor), anchor), whole, atol=1e-5)
    far, gradient = jax.value_and_grad(lambda x: coding.decode(x, anchor).sum())(jnp.full(4, 1e4))
    assert np.isfinite(far)
    assert np.isfinite(gradient).all()


def test_under_jit_and_vmap():
    rng = np.random.default_rng(0)
    anchors = jnp.asarray(rng.uniform(0.1, 0.9, (6, 4)), jnp.float32)
    offsets = jnp.asarray(rng.normal(size=(3, 6, 4)), jnp.float32)
    eager = jnp.stack([coding.decode(row, anchors) for row in offsets])
    batched = jax.jit(jax.vmap(coding.decode, (0, None)))(offsets, anchors)
    np.testing.assert_allclose(batched, eager, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(decode(offsets[0], anchors), eager[0], rtol=1e-5, atol=1e-6)
    back = jax.jit(jax.vmap(coding.encode, (0, None)))(batched, anchors)
    np.testing.assert_allclose(back, offsets, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["encode", "decode"])
def test_wrong_arguments_are_refused(name):
    untyped = inspect.unwrap(getattr(coding, name))
    with pytest.raises(ValueError, match=rf"coding\.{name}: expected anchors_cxcywh .*\(3, 5\)"):
        untyped(jnp.zeros((3, 4)), jnp.zeros((3, 5)))
    with pytest.raises(ValueError, match=rf"coding\.{name}: expected four variances > 0"):
        untyped(jnp.zeros((3, 4)), jnp.zeros((3, 4)), variances=(0.1, 0.1, 0.2))
    with pytest.raises(ValueError, match=rf"coding\.{name}: expected four variances > 0"):
        untyped(jnp.zeros((3, 4)), jnp.zeros((3, 4)), variances=(0.1, 0.1, 0.2, 0.0))
