import jax.numpy as jnp
import numpy as np
import pytest

from ssd_jax.models.pooling import max_pool


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
