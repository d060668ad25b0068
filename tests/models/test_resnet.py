import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssd_jax.models.resnet import ResNet, block_names
from ssd_jax.models.style import Style

NORMALISED = Style(batch_norm=True)


def shapes(model, size):
    images = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    features, variables = jax.eval_shape(
        lambda x: model.init_with_output(jax.random.key(0), x, train=False), images
    )
    return {name: x.shape[1:] for name, x in features.items()}, variables["params"]


def count(tree):
    return sum(x.size for x in jax.tree.leaves(tree))


def test_names_are_those_of_the_released_nets():
    assert block_names(50)[:4] == ("res2a", "res2b", "res2c", "res3a")
    assert len(block_names(50)) == 16
    assert {"res3b3", "res4b22", "res5c"} < set(block_names(101))
    assert len(block_names(101)) == 33


@pytest.mark.parametrize(("depth", "published"), [(50, 25_557_032), (101, 44_549_160)])
@pytest.mark.parametrize("form", ["original", "torchvision"])
def test_published_number_of_parameters(depth, published, form):
    _, params = shapes(ResNet(depth, form=form).module(NORMALISED), 224)
    assert count(params) == published - 2049 * 1000


def test_conv5_keeps_conv4s_resolution_where_dilated():
    features, _ = shapes(ResNet(101, dilated_conv5=True).module(NORMALISED), 321)
    # conv1 161, pool1 80 by the ceiling of (161 - 3) / 2, then 40 and 20.
    assert features["res2c"] == (80, 80, 256)
    assert features["res3b3"] == (40, 40, 512)
    assert features["res4b22"] == (20, 20, 1024)
    assert features["res5c"] == (20, 20, 2048)
    plain, _ = shapes(ResNet(101).module(NORMALISED), 320)
    assert plain["res5c"] == (10, 10, 2048)


def test_the_two_forms_stride_in_different_places():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(1, 64, 64, 3)), jnp.float32)
    outputs = []
    for form in ("original", "torchvision"):
        model = ResNet(50, form).module(Style(width=0.05, batch_norm=True))
        variables = model.init(jax.random.key(0), x, train=False)
        outputs.append(model.apply(variables, x, train=False)["res3a"])
    assert outputs[0].shape == outputs[1].shape
    assert not np.allclose(*outputs)
