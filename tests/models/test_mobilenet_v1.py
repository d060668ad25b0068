import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssd_jax.models.mobilenet_v1 import FEATURES, MobileNetV1
from ssd_jax.models.style import Style

BATCH_NORM = Style(batch_norm=True)


def shapes(model, size):
    images = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    features, variables = jax.eval_shape(
        lambda x: model.init_with_output(jax.random.key(0), x, train=False), images
    )
    return {name: x.shape[1:] for name, x in features.items()}, variables


def count(tree):
    return sum(x.size for x in jax.tree.leaves(tree))


def test_v1_has_the_released_maps_and_parameters():
    features, variables = shapes(MobileNetV1().module(BATCH_NORM), 300)
    assert set(features) == set(FEATURES)
    assert features["conv5"] == (38, 38, 256)
    assert features["conv11"] == (19, 19, 512)
    assert features["conv13"] == (10, 10, 1024)
    # By hand: a first convolution, then 9 weights a channel and in x out for each layer, and two
    # BatchNorm values for each channel.
    channels = (32, 64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
    pairs = list(itertools.pairwise(channels))
    convolutions = 27 * 32 + sum(9 * a + a * b for a, b in pairs)
    norms = 2 * (32 + sum(a + b for a, b in pairs))
    assert count(variables["params"]) == convolutions + norms == 3_206_976
    assert count(variables["batch_stats"]) == norms


def test_a_backbone_can_end_early():
    features, variables = shapes(MobileNetV1("conv5").module(BATCH_NORM), 64)
    assert set(features) == {f"conv{i}" for i in range(6)}
    assert "conv6_pointwise" not in variables["params"]


def test_relu6_and_same_padding_follow_the_style():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(1, 8, 8, 3)) * 100, jnp.float32)
    for style, top in ((Style(0.25, relu6=True), True), (Style(0.25), False)):
        model = MobileNetV1("conv0").module(style)
        variables = model.init(jax.random.key(0), x, train=False)
        assert (float(model.apply(variables, x, train=False)["conv0"].max()) == 6) == top
    # 8 pixels at stride 2: symmetric padding sees pixel -1 first, SAME begins with pixel 0.
    one = jnp.zeros((1, 8, 8, 3)).at[0, 0, 0].set(1.0)
    kernel = jnp.zeros((3, 3, 3, 8)).at[0, 0].set(1.0)  # the upper left tap
    for same, expected in ((True, 3.0), (False, 0.0)):
        model = MobileNetV1("conv0").module(Style(width=0.25, same_padding=same))
        variables = model.init(jax.random.key(0), one, train=False)
        conv = variables["params"]["conv0"]["conv"] | {"kernel": kernel}
        y = model.apply({"params": {"conv0": {"conv": conv}}}, one, train=False)["conv0"]
        assert float(y[0, 0, 0, 0]) == expected


def test_a_layer_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match=r"MobileNetV1\.last_layer: expected .* got 'conv14'"):
        MobileNetV1("conv14")
