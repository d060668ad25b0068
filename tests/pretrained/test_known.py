"""Every family of files: its table is whole, and its arrays land where they belong."""

import operator
import re

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssd_jax.detectors.input import Input
from ssd_jax.detectors.ssd import SSD
from ssd_jax.models.extras import Extras
from ssd_jax.models.mobilenet_v1 import MobileNetV1
from ssd_jax.models.mobilenet_v2 import MobileNetV2
from ssd_jax.models.resnet import ResNet
from ssd_jax.models.style import Style
from ssd_jax.models.vgg import VGG16
from ssd_jax.pretrained import known, resnet, vgg16
from ssd_jax.pretrained.released import Entry, Released, caffe_norm, from_oihw

NORMALISED = Style(batch_norm=True)


def backbone(family):
    if "VGG16" in family.name:
        return VGG16().module(Style())
    if "MobileNetV1" in family.name:
        return MobileNetV1().module(NORMALISED)
    if "MobileNetV2" in family.name:
        return MobileNetV2().module(NORMALISED)
    return ResNet(int(re.search(r"ResNet-(\d+)", family.name)[1])).module(NORMALISED)


@pytest.mark.parametrize("family", known.FAMILIES, ids=lambda family: family.name)
def test_a_table_names_every_array_of_the_backbone_once(family):
    shapes = jax.eval_shape(
        lambda: backbone(family).init(jax.random.key(0), jnp.zeros((1, 64, 64, 3)), train=False)
    )
    flat = flax.traverse_util.flatten_dict(shapes, sep="/")
    ours = {"{}/backbone/{}".format(*name.split("/", 1)): x.shape for name, x in flat.items()}
    if family is vgg16.CONVOLUTIONS:
        ours = {name: shape for name, shape in ours.items() if "/fc" not in name}
    assert set(family.table) == set(ours)
    theirs = [entry.theirs for entry in family.table.values()]
    assert len(set(theirs)) == len(theirs)
    assert family.first in ours
    assert ours[family.first][2] == 3
    if family.settings:
        network = SSD(backbone=ResNet(), extras=Extras(("res5c",), ()))
        operator.attrgetter(*family.settings)(network)


@pytest.mark.parametrize("family", known.FAMILIES, ids=lambda family: family.name)
def test_a_file_is_recognised_as_its_own_family(family):
    names = {entry.theirs for entry in family.table.values()} | set(family.signature)
    assert known.find(dict.fromkeys(names, np.zeros(1))) is family


def test_nothing_else_is_recognised():
    assert known.find({"a": np.zeros(1), "conv1.weight": np.zeros(1)}) is None


def test_the_order_and_the_scale_of_the_first_kernel_are_adapted():
    """The same pixels give the same map, whatever the network was trained to see."""
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(4, 3, 3, 3)).astype(np.float32)  # out, in, rows, columns
    pixels = rng.uniform(0, 255, (7, 7, 3))

    def normalized(spec):
        values = (pixels - spec.mean) / spec.scale
        return values if spec.channel_order == "rgb" else values[..., ::-1]

    def convolve(x, weights):
        windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(0, 1))
        return np.einsum("yxcij,ijco->yxo", windows, weights)

    trained = Input((10.0, 20.0, 30.0), (2.0, 3.0, 5.0), "bgr")
    family = Released("a", ("k",), {"w": Entry("k", from_oihw)}, trained)
    expected = convolve(normalized(trained), kernel.transpose(2, 3, 1, 0))
    for order in ("rgb", "bgr"):
        wanted = Input((10.0, 20.0, 30.0), (1.0, 7.0, 4.0), order)
        weights = family.convert({"k": kernel}, wanted)["w"]
        np.testing.assert_allclose(convolve(normalized(wanted), weights), expected, rtol=1e-4)
    with pytest.raises(ValueError, match=r"config\.input: the mean is .* set config\.input\.mean"):
        family.convert({"k": kernel}, Input((12.0, 20.0, 30.0), (1.0,) * 3, "rgb"))


def test_fully_connected_layers_are_decimated():
    """By loops: output o of 4 o, tap (i, j) of (3 i, 3 j) (SPEC, section 1)."""
    rng = np.random.default_rng(0)
    weight = rng.integers(0, 100, (4096, 512 * 7 * 7)).astype(np.int16)
    small = vgg16.decimate_fc6(weight)
    assert small.shape == (3, 3, 512, 1024)
    for o, c, i, j in [(0, 0, 0, 0), (1023, 511, 2, 2), (17, 300, 1, 2)]:
        assert small[i, j, c, o] == weight[4 * o, c * 49 + 3 * i * 7 + 3 * j]
    fc7 = rng.integers(0, 100, (4096, 4096)).astype(np.int16)
    assert vgg16.decimate_fc7(fc7).shape == (1, 1, 1024, 1024)
    assert vgg16.decimate_fc7(fc7)[0, 0, 5, 9] == fc7[36, 20]
    assert vgg16.decimate_bias(np.arange(4096))[3] == 12


def test_a_block_of_each_resnet():
    torch = resnet.TORCHVISION[101].table
    assert torch["params/backbone/res4b22/branch2b/conv/kernel"].theirs == "layer3.22.conv2.weight"
    assert torch["batch_stats/backbone/res3a/branch1/bn/var"].theirs == (
        "layer2.0.downsample.1.running_var"
    )
    caffe = resnet.CAFFE[101].table
    assert caffe["params/backbone/res3b3/branch2c/conv/kernel"].theirs == "res3b3_branch2c/0"
    assert caffe["params/backbone/res5a/branch1/bn/scale"].theirs == "scale5a_branch1/0"


def test_caffes_statistics_are_divided_by_their_count():
    entries = caffe_norm("x/bn", "bn", "scale")
    arrays = {"bn/0": [6.0, 9.0], "bn/1": [3.0, 1.5], "bn/2": [3.0], "scale/0": [1.0, 2.0]}
    arrays = {name: np.array(x, np.float32) for name, x in arrays.items()}
    arrays["scale/1"] = np.array([[[[5.0, 7.0]]]], np.float32)  # as old files shape it
    # The first kernel is none of these: it only has to be one.
    arrays["k"] = np.ones((1, 3, 1, 1), np.float32)
    table = {"w": Entry("k", from_oihw)} | entries
    spec = Input()
    family = Released("a", ("k",), table, spec)
    found = family.convert(arrays, spec)
    assert found["batch_stats/x/bn/mean"].tolist() == [2.0, 3.0]
    assert found["batch_stats/x/bn/var"].tolist() == [1.0, 0.5]
    assert found["params/x/bn/scale"].tolist() == [1.0, 2.0]
    assert found["params/x/bn/bias"].tolist() == [5.0, 7.0]
    assert set(family.used) == set(arrays)
    # 0 stands for statistics that were never summed.
    assert family.convert(arrays | {"bn/2": np.zeros(1)}, spec)["batch_stats/x/bn/mean"][0] == 6.0
    with pytest.raises(ValueError, match="expected one number in bn/2"):
        family.convert(arrays | {"bn/2": np.zeros(2)}, spec)
    del arrays["bn/2"]
    with pytest.raises(ValueError, match="lacks bn/2"):
        family.convert(arrays, spec)
