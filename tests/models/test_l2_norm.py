import jax
import jax.numpy as jnp
import numpy as np

from ssd_jax.models.l2_norm import L2Norm


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
