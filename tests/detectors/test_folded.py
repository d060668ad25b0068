import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import dssd, mobilenet_ssd, ssd
from ssd_jax import config, detectors


def small_dssd():
    values = dssd.get_config("321,voc,dssd")
    values.model.backbone.depth = 50
    values.model.extras.sources = ("res3d", "res5c")
    values.model.extras.layers = ((256, 1024, 2, 2, 0),)
    values.model.heads.kernels = (3,)
    values.anchors.min_sizes, values.anchors.max_sizes = (8.0, 16.0, 32.0), (16.0, 32.0, 64.0)
    values.anchors.ratios, values.anchors.steps = ((2.0,),) * 3, ()
    return values


def small_ssdlite():
    return mobilenet_ssd.get_config("lite,voc")


@pytest.mark.parametrize("make", [small_dssd, small_ssdlite])
def test_folded_inference_equals_unfolded(make):
    values = make()
    values.model.image_size = (64, 64) if make is small_dssd else (96, 96)
    values.model.width = 0.05
    values.model.num_classes = 4
    # Two values, so that the wrong one in a layer shows.
    values.model.added_epsilon, values.model.batch_norm_epsilon = 0.3, 0.01
    experiment = config.resolve(values)
    detector = detectors.build(experiment)
    variables = jax.jit(detector.init)(jax.random.key(0))
    rng = np.random.default_rng(0)

    def trained(path, x):
        """Statistics and parameters as a training might leave them."""
        name = path[-1].key
        if name in ("var", "scale"):
            return jnp.asarray(rng.uniform(0.5, 1.5, x.shape), jnp.float32)
        if name in ("mean", "bias"):
            return jnp.asarray(rng.normal(0, 0.3, x.shape), jnp.float32)
        return x * 5.0 if x.std() < 0.02 else x

    variables = jax.tree_util.tree_map_with_path(trained, variables)
    folded, folded_variables = detectors.build(experiment).fold(variables)
    assert folded_variables["batch_stats"] == {}
    images = jnp.asarray(rng.uniform(0, 255, (2, *detector.image_size, 3)), jnp.float32)
    expected, _ = jax.jit(lambda v, x: detector.apply(v, x, train=False))(variables, images)
    actual, _ = jax.jit(lambda v, x: folded.apply(v, x, train=False))(folded_variables, images)
    for a, b in zip(actual, expected, strict=True):
        assert np.std(b) > 1e-2
        assert np.abs(a - b).max() <= 1e-4 * np.abs(b).max()
    # Every BatchNorm is gone, and the tree is what the folded network wants.
    wanted = jax.eval_shape(folded.init, jax.random.key(0))["params"]
    assert jax.tree.map(jnp.shape, folded_variables["params"]) == jax.tree.map(jnp.shape, wanted)


def test_without_batch_norm_nothing_is_folded():
    values = ssd.get_config("300,voc")
    values.model.num_classes, values.model.width = 3, 0.02
    experiment = config.resolve(values)
    variables = {"params": {"a": 1}, "batch_stats": {}}
    detector, same = detectors.build(experiment).fold(variables)
    assert same is variables
    assert detector.num_classes == 3
