import jax
import numpy as np
import pytest

from ssd_jax.models.transposed_convolution import TransposedConv


@pytest.mark.parametrize(("kernel", "stride"), [(2, 2), (3, 1), (2, 1)])
def test_it_adds_each_pixels_kernel_where_it_stands(kernel, stride):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 3, 4, 5)).astype(np.float32)
    model = TransposedConv(6, kernel, stride)
    variables = model.init(jax.random.key(0), x)
    weights = np.asarray(variables["params"]["kernel"])
    expected = np.zeros((2, 2 * stride + kernel, 3 * stride + kernel, 6))
    for i in range(3):
        for j in range(4):
            square = np.einsum("bi,rcio->brco", x[:, i, j], weights)
            rows, columns = slice(i * stride, i * stride + kernel), slice(j * stride, None)
            expected[:, rows, columns][:, :, :kernel] += square
    np.testing.assert_allclose(model.apply(variables, x), expected, atol=1e-5)
