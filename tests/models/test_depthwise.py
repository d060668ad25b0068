import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssd_jax.models import depthwise
from ssd_jax.models.depthwise import DepthwiseConv

CASES = [
    # size, channels, kernel, stride, padding
    ((9, 7), 5, 3, 1, ((1, 1), (1, 1))),
    ((9, 8), 5, 3, 2, ((1, 1), (1, 1))),
    ((8, 8), 4, 3, 2, ((0, 1), (0, 1))),  # TensorFlow's SAME
    ((7, 9), 3, 5, 1, ((2, 2), (2, 2))),
    ((6, 6), 2, 2, 2, ((0, 0), (0, 0))),
    ((10, 9), 3, 3, 3, ((0, 2), (1, 0))),
    ((3, 3), 2, 3, 1, ((0, 0), (0, 0))),
]


def operands(size, channels, kernel, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(2, *size, channels)).astype(np.float32)
    return x, rng.normal(size=(kernel, kernel, 1, channels)).astype(np.float32)


def by_loops(x, kernel, stride, padding):
    x = np.pad(x, ((0, 0), *padding, (0, 0)))
    k = kernel.shape[0]
    height, width = ((n - k) // stride + 1 for n in x.shape[1:3])
    out = np.zeros((len(x), height, width, x.shape[3]))
    for row in range(height):
        for column in range(width):
            window = x[:, row * stride : row * stride + k, column * stride : column * stride + k]
            out[:, row, column] = (window * kernel[:, :, 0]).sum(axis=(1, 2))
    return out


@pytest.mark.parametrize(("size", "channels", "kernel", "stride", "padding"), CASES)
def test_both_implementations_are_the_convolution(size, channels, kernel, stride, padding):
    x, weights = operands(size, channels, kernel)
    expected = by_loops(x, weights, stride, padding)
    for implementation in (depthwise._shifted, depthwise._convolution):
        result = implementation(jnp.asarray(x), weights, stride=stride, padding=padding)
        np.testing.assert_allclose(result, expected, atol=1e-5)
    np.testing.assert_allclose(
        jax.jit(depthwise.depthwise, static_argnums=(2, 3))(x, weights, stride, padding),
        expected,
        atol=1e-5,
    )


@pytest.mark.parametrize(("size", "channels", "kernel", "stride", "padding"), CASES)
def test_both_implementations_have_the_same_gradients(size, channels, kernel, stride, padding):
    x, weights = operands(size, channels, kernel)
    cotangent = np.random.default_rng(1).normal(size=by_loops(x, weights, stride, padding).shape)
    arguments = (jnp.asarray(x), jnp.asarray(weights), jnp.asarray(cotangent, jnp.float32))
    options = {"stride": stride, "padding": padding}
    expected = depthwise._convolution_gradients(*arguments, **options)  # XLA's own transposition
    shifted = jax.jit(depthwise._shifted_gradients, static_argnames=("stride", "padding"))
    for a, b in zip(shifted(*arguments, **options), expected, strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, atol=1e-4)
    _, transpose = jax.vjp(lambda x, k: depthwise.depthwise(x, k, stride, padding), *arguments[:2])
    for a, b in zip(transpose(arguments[2]), expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_a_cpu_gets_the_shifted_products_and_an_accelerator_the_convolution():
    x, weights = operands((8, 8), 16, 3)
    traced = jax.jit(lambda x, k: depthwise.depthwise(x, k, 1, ((1, 1), (1, 1)))).trace(x, weights)
    assert "convolution" not in traced.lower(lowering_platforms=("cpu",)).as_text()
    assert "convolution" in traced.lower(lowering_platforms=("cuda",)).as_text()
    assert "convolution" in traced.lower(lowering_platforms=("tpu",)).as_text()


def test_bfloat16_computes_in_bfloat16_and_keeps_float32_parameters():
    layer = DepthwiseConv(3, 1, ((1, 1), (1, 1)), jnp.bfloat16)
    x = jnp.ones((1, 4, 4, 3))
    variables = layer.init(jax.random.key(0), x)
    assert variables["params"]["kernel"].dtype == jnp.float32
    assert layer.apply(variables, x).dtype == jnp.bfloat16
    gradients = jax.grad(lambda v: layer.apply(v, x).sum().astype(jnp.float32))(variables)
    assert gradients["params"]["kernel"].dtype == jnp.float32
