import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssd_jax.models.conv_layer import ConvLayer
from ssd_jax.models.l2_norm import L2Norm
from ssd_jax.models.pooling import max_pool
from ssd_jax.models.style import Style


@pytest.mark.parametrize(
    ("size", "window", "stride", "padding", "expected"),
    [
        (300, 2, 2, 0, 150),
        (75, 2, 2, 0, 38),  # ceil((75 - 2) / 2) + 1: Caffe's, where floor would give 37
        (19, 3, 1, 1, 19),  # pool5
        (321, 3, 2, 0, 160),
        (162, 3, 2, 0, 81),  # ceil((162 - 3) / 2) + 1 = 81, the last window over the edge
        (1, 2, 2, 0, 1),
        # Padded by 1: ceil((4 + 2 - 2) / 2) + 1 = 3 windows at -1, 1, 3, all of them inside.
        (4, 2, 2, 1, 3),
        # ceil((3 + 2 - 2) / 2) + 1 = 3, but the third would begin at 3, past the end: 2.
        (3, 2, 2, 1, 2),
    ],
)
def test_max_pool_rounds_up(size, window, stride, padding, expected):
    x = np.random.default_rng(0).normal(size=(1, size, size, 1)).astype(np.float32)
    pooled = np.asarray(max_pool(jnp.asarray(x), window=window, stride=stride, padding=padding))
    assert pooled.shape == (1, expected, expected, 1)
    for i in range(expected):
        low, high = i * stride - padding, i * stride - padding + window
        rows = x[0, max(low, 0) : high, : window - padding, 0]
        np.testing.assert_array_equal(pooled[0, i, 0, 0], rows.max())


def test_l2_norm_has_unit_length_times_the_scale():
    x = jnp.asarray([[[[3.0, 4.0]]]])
    layer = L2Norm(initial_scale=20.0)
    y = layer.apply(layer.init(jax.random.key(0), x), x)
    np.testing.assert_allclose(y, [[[[12.0, 16.0]]]], rtol=1e-6)  # 20 * (3, 4) / 5


def test_l2_norm_of_nothing_is_finite_with_its_gradient():
    x = jnp.zeros((1, 1, 1, 4))
    layer = L2Norm()
    variables = layer.init(jax.random.key(0), x)
    gradient = jax.grad(lambda x: layer.apply(variables, x).sum())(x)
    assert np.isfinite(gradient).all()


def test_the_width_scales_channels():
    assert Style(width=1.0).channels(512) == 512
    assert Style(width=0.25).channels(512) == 128
    assert Style(width=0.1).channels(64) == 8  # 6.4 is nearest to 8
    assert Style(width=0.01).channels(8) == 8


def test_frozen_batch_norm_leaves_its_statistics_alone():
    x = jnp.asarray(np.random.default_rng(0).normal(2.0, 3.0, (4, 5, 5, 3)), jnp.float32)
    for frozen in (False, True):
        layer = ConvLayer(8, style=Style(batch_norm=True, freeze_batch_norm=frozen))
        variables = layer.init(jax.random.key(0), x, train=False)
        _, updated = layer.apply(variables, x, train=True, mutable=["batch_stats"])
        unchanged = jax.tree.map(np.array_equal, variables["batch_stats"], updated["batch_stats"])
        assert all(jax.tree.leaves(unchanged)) == frozen


def test_batch_norm_drops_the_bias_of_its_convolution():
    x = jnp.zeros((1, 4, 4, 3))
    shapes = jax.eval_shape(
        lambda: ConvLayer(8, style=Style(batch_norm=True)).init(jax.random.key(0), x, train=False)
    )
    assert set(shapes["params"]["conv"]) == {"kernel"}
