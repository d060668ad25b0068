import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from ssd_jax.models import batch_norm
from ssd_jax.models.batch_norm import BatchNorm


def data(shape=(3, 4, 5, 6)):
    rng = np.random.default_rng(0)
    x = rng.normal(2.0, 3.0, shape).astype(np.float32)
    return x, rng.normal(size=shape[-1]).astype(np.float32), rng.normal(size=shape[-1])


def by_definition(x, scale, bias, epsilon):
    mean = x.mean(axis=(0, 1, 2))
    centred = x - mean
    var = (centred * centred).mean(axis=(0, 1, 2))
    return centred / jnp.sqrt(var + epsilon) * scale + bias


def test_the_batch_is_normalised_and_the_gradient_is_that_of_the_definition():
    x, scale, bias = data()
    bias = bias.astype(np.float32)
    cotangent = np.random.default_rng(1).normal(size=x.shape).astype(np.float32)
    y, mean, var = batch_norm.normalize_by_batch(x, scale, bias, 1e-3)
    np.testing.assert_allclose(y, by_definition(x, scale, bias, 1e-3), atol=1e-5)
    np.testing.assert_allclose(mean, x.mean(axis=(0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(var, x.var(axis=(0, 1, 2)), rtol=1e-4)

    def total(function):
        return lambda *args: jnp.sum(function(*args) * cotangent)

    ours = jax.grad(
        total(lambda *args: batch_norm.normalize_by_batch(*args, 1e-3)[0]), argnums=(0, 1, 2)
    )
    autodiff = jax.grad(total(lambda *args: by_definition(*args, 1e-3)), argnums=(0, 1, 2))
    arguments = (jnp.asarray(x), jnp.asarray(scale), jnp.asarray(bias))
    for a, b in zip(ours(*arguments), autodiff(*arguments), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_a_constant_map_has_no_variance_and_a_finite_gradient():
    x = jnp.full((2, 3, 3, 4), 1000.0)
    value, gradient = jax.value_and_grad(
        lambda x: batch_norm.normalize_by_batch(x, jnp.ones(4), jnp.zeros(4), 1e-5)[0].sum()
    )(x)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


def test_statistics_run_and_are_used_as_in_flax():
    x, _, _ = data()
    ours, flax = BatchNorm(0.9, 1e-3), nn.BatchNorm(momentum=0.9, epsilon=1e-3)
    v = ours.init(jax.random.key(0), x, use_running_average=False)
    w = flax.init(jax.random.key(0), x, use_running_average=False)
    assert jax.tree.structure(v) == jax.tree.structure(w)
    for running in (False, False, True):
        y, changed = ours.apply(v, x, use_running_average=running, mutable=["batch_stats"])
        z, expected = flax.apply(w, x, use_running_average=running, mutable=["batch_stats"])
        np.testing.assert_allclose(y, z, rtol=1e-4, atol=1e-5)
        for a, b in zip(jax.tree.leaves(changed), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4)
        v, w = v | changed, w | expected
