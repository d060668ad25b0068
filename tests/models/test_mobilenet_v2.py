import jax
import jax.numpy as jnp
import numpy as np

from ssd_jax.models.mobilenet_v2 import FEATURES, MobileNetV2
from ssd_jax.models.style import Style


def shapes(model, size):
    images = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    features, variables = jax.eval_shape(
        lambda x: model.init_with_output(jax.random.key(0), x, train=False), images
    )
    return {name: x.shape[1:] for name, x in features.items()}, variables


def count(tree):
    return sum(x.size for x in jax.tree.leaves(tree))


def test_v2_has_the_released_maps_and_parameters():
    features, variables = shapes(MobileNetV2().module(Style(batch_norm=True, relu6=True)), 320)
    assert set(features) == set(FEATURES)
    assert features["block14_expand"] == (20, 20, 576)
    assert features["block14"] == (10, 10, 160)
    assert features["conv18"] == (10, 10, 1280)
    # The published 3,504,872 without the classifier's 1280 * 1000 + 1000.
    assert count(variables["params"]) == 3_504_872 - 1_281_000


def test_v2_blocks_add_their_input_only_where_the_shape_stays():
    model = MobileNetV2().module(Style(0.1, batch_norm=True, relu6=True))
    x = jnp.asarray(np.random.default_rng(0).normal(size=(1, 32, 32, 3)), jnp.float32)
    variables = model.init(jax.random.key(0), x, train=False)
    norms = variables["params"]
    silent = {}
    for i in (2, 3):  # block 2 strides, block 3 does not
        zeros = jax.tree.map(jnp.zeros_like, norms[f"block{i}_project"])
        silent[f"block{i}_project"] = zeros
    features = model.apply(variables | {"params": norms | silent}, x, train=False)
    assert not features["block2"].any()
    np.testing.assert_array_equal(features["block3"], features["block2"])
    silent.pop("block2_project")
    features = model.apply(variables | {"params": norms | silent}, x, train=False)
    np.testing.assert_array_equal(features["block3"], features["block2"])
    assert features["block3"].any()
