import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import mobilenet_ssd
from ssd_jax import config, detectors
from ssd_jax.models.mobilenet_v1 import MobileNetV1
from ssd_jax.models.mobilenet_v2 import MobileNetV2
from ssd_jax.models.style import Style

NORMALISED = Style(batch_norm=True)


def shapes(model, size):
    images = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    features, variables = jax.eval_shape(
        lambda x: model.init_with_output(jax.random.key(0), x, train=False), images
    )
    return {name: x.shape[1:] for name, x in features.items()}, variables


def count(tree):
    return sum(x.size for x in jax.tree.leaves(tree))


def test_v1_has_the_released_maps_and_parameters():
    features, variables = shapes(MobileNetV1().module(NORMALISED), 300)
    assert set(features) == set(MobileNetV1().features)
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


def test_v2_has_the_released_maps_and_parameters():
    features, variables = shapes(MobileNetV2().module(Style(batch_norm=True, relu6=True)), 320)
    assert set(features) == set(MobileNetV2.features)
    assert features["block14_expand"] == (20, 20, 576)
    assert features["block14"] == (10, 10, 160)
    assert features["conv18"] == (10, 10, 1280)
    # The published 3,504,872 without the classifier's 1280 * 1000 + 1000.
    assert count(variables["params"]) == 3_504_872 - 1_281_000


def test_a_backbone_can_end_early():
    features, variables = shapes(MobileNetV1(last_layer="conv5").module(NORMALISED), 64)
    assert set(features) == {f"conv{i}" for i in range(6)}
    assert "conv6_pointwise" not in variables["params"]


def test_v2_blocks_add_their_input_only_where_the_shape_stays():
    model = MobileNetV2().module(Style(width=0.1, batch_norm=True, relu6=True))
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


def test_relu6_and_same_padding_follow_the_style():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(1, 8, 8, 3)) * 100, jnp.float32)
    for style, top in ((Style(width=0.25, relu6=True), True), (Style(width=0.25), False)):
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


@pytest.mark.parametrize(
    ("variant", "maps"),
    [("300,voc", (19, 10, 5, 3, 2, 1)), ("lite,voc", (19, 10, 5, 3, 2, 1))],
)
def test_mobilenet_ssd_has_1917_boxes(variant, maps):
    values = mobilenet_ssd.get_config(variant)
    values.model.num_classes = 21
    detector = detectors.build(config.resolve(values))
    assert detector.anchors.shape == (1917, 4)
    assert tuple(m.map_size for m in detector.anchor_spec.maps) == tuple((n, n) for n in maps)
    # One square of 60 pixels and 2:1 both ways on the first map: 60 * sqrt(2) = 84.85.
    np.testing.assert_allclose(
        detector.anchors[:3, 2:] * 300,
        [[60, 60], [84.85281, 42.42641], [42.42641, 84.85281]],
        rtol=1e-5,
    )
    # 19 cells without a fixed step: the first centre is at half a cell.
    np.testing.assert_allclose(detector.anchors[0, :2], 0.5 / 19, rtol=1e-6)


def test_ssdlite_replaces_every_convolution_of_extras_and_heads():
    values = mobilenet_ssd.get_config("lite,voc")
    values.model.num_classes = 21
    params = jax.eval_shape(detectors.build(config.resolve(values)).init, jax.random.key(0))
    params = params["params"]
    assert params["extra1"]["depthwise"]["conv"]["kernel"].shape == (3, 3, 1, 256)
    assert params["extra1"]["expand"]["conv"]["kernel"].shape == (1, 1, 256, 512)
    assert params["head1"]["logits_depthwise"]["conv"]["kernel"].shape == (3, 3, 1, 576)
    assert params["head1"]["logits"]["kernel"].shape == (1, 1, 576, 3 * 21)
