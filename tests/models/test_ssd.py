import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs.ssd import LAYERS_300, LAYERS_512
from ssd_jax.models.extras import Extras
from ssd_jax.models.heads import Heads
from ssd_jax.models.necks import NoNeck
from ssd_jax.models.ssd import SSDModule
from ssd_jax.models.style import Style
from ssd_jax.models.vgg import VGG16

BOXES_300 = (4, 6, 6, 6, 4, 4)
BOXES_512 = (4, 6, 6, 6, 6, 4, 4)


def make(size, *, num_classes=21, pool5_stride=1, fc6_dilation=6, width=1.0, **style):
    layers, boxes = (LAYERS_300, BOXES_300) if size == 300 else (LAYERS_512, BOXES_512)
    style = Style(width=width, **style)
    backbone = VGG16(pool5_stride, fc6_dilation).module(style)
    return SSDModule(
        maps=Extras(("conv4_3", "fc7"), (20.0, 0.0), layers).module(backbone, style),
        neck=NoNeck().module(style),
        heads=Heads(),
        boxes_per_cell=boxes,
        num_classes=num_classes,
        style=style,
    )


def shapes(model, size):
    images = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    variables = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), images)
    apply = lambda v, x: model.apply(v, x, train=False)  # noqa: E731
    return variables, jax.eval_shape(apply, variables, images)


def count(variables):
    return sum(x.size for x in jax.tree.leaves(variables["params"]))


@pytest.mark.parametrize(
    ("num_classes", "expected"), [(21, 26_285_486), (91, 35_641_826)], ids=["voc", "coco"]
)
def test_ssd300_has_the_released_number_of_parameters(num_classes, expected):
    # A class more is 9 weights for each channel of a source and 1 bias, for each of its boxes:
    # (512*4 + 1024*6 + 512*6 + 256*6 + 256*4 + 256*4) * 9 + 30 = 133,662, and 70 classes more are
    # 9,356,340 = 35,641,826 - 26,285,486.
    variables, _ = shapes(make(300, num_classes=num_classes), 300)
    assert count(variables) == expected


def test_ssd512_parameters():
    # What SSD512 has beyond SSD300, whose other weights have the same shapes.
    variables, _ = shapes(make(512), 512)
    ssd300, _ = shapes(make(300), 300)
    conv12 = (256 * 128 + 128) + (4 * 4 * 128 * 256 + 256)
    # The fifth source has 6 boxes in place of 4, and a sixth and a seventh map of 256 have 4.
    heads = 256 * 9 * (2 + 4) * (4 + 21) + (2 + 4) * (4 + 21)
    assert count(variables) == count(ssd300) + conv12 + heads


@pytest.mark.parametrize(
    ("size", "maps", "anchors"),
    [
        (300, [(38, 512), (19, 1024), (10, 512), (5, 256), (3, 256), (1, 256)], 8732),
        (512, [(64, 512), (32, 1024), (16, 512), (8, 256), (4, 256), (2, 256), (1, 256)], 24564),
    ],
)
def test_map_sizes_and_predictions(size, maps, anchors):
    model = make(size)
    _, features = shapes(model.maps, size)
    assert [x.shape for x in features] == [(1, side, side, channels) for side, channels in maps]
    _, predictions = shapes(model, size)
    assert predictions.offsets.shape == (1, anchors, 4)
    assert predictions.logits.shape == (1, anchors, 21)


def test_without_atrous_fc7_has_half_the_resolution():
    _, features = shapes(make(300, pool5_stride=2, fc6_dilation=1).maps, 300)
    assert [x.shape[1] for x in features][:2] == [38, 10]


def test_predictions_are_in_rows_columns_boxes():
    # Only the bias of one box of one map is not zero, so it shows where that box's values land.
    model = make(300, num_classes=3, width=0.02)
    images = jnp.zeros((1, 75, 75, 3))
    variables = jax.tree.map(lambda x: jnp.zeros(x.shape), shapes(model, 75)[0])
    head = variables["params"]["head2"]
    head["offsets"]["bias"] = jnp.zeros(24).at[2 * 4 + 1].set(5.0)  # third box, dy
    head["logits"]["bias"] = jnp.zeros(18).at[2 * 3 + 2].set(7.0)  # third box, class 2
    predictions = model.apply(variables, images, train=False)
    # Input 75: maps 10 and 5, so the second one begins after 10*10*4 anchors.
    expected = 400 + np.arange(25) * 6 + 2
    np.testing.assert_array_equal(np.nonzero(predictions.offsets[0, :, 1])[0], expected)
    np.testing.assert_array_equal(np.nonzero(predictions.logits[0, :, 2])[0], expected)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_small_ssd_predicts_float32_whatever_it_computes_in(dtype):
    model = make(300, width=0.02, batch_norm=True, dtype=dtype)
    images = jnp.asarray(np.random.default_rng(0).normal(size=(2, 96, 128, 3)), jnp.float32)
    variables = model.init(jax.random.key(0), images, train=False)
    assert {x.dtype for x in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    predictions = model.apply(variables, images, train=False)
    assert {x.dtype for x in predictions} == {jnp.dtype("float32")}
    assert all(np.isfinite(x).all() for x in predictions)
