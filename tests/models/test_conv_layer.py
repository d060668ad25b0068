import jax
import jax.numpy as jnp
import numpy as np

from ssd_jax.models.conv_layer import ConvLayer
from ssd_jax.models.style import Style


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
