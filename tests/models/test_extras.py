import jax
import jax.numpy as jnp
import pytest

from configs import mobilenet_ssd
from ssd_jax import config, detectors
from ssd_jax.models.extras import Extras
from ssd_jax.models.mobilenet_v1 import MobileNetV1
from ssd_jax.models.style import Style

LAYERS = ((32, 64, 3, 2, 1), (16, 32, 3, 1, 0))


def run(extras, size=64):
    style = Style(batch_norm=True)
    module = extras.module(MobileNetV1("conv5").module(style), style)
    images = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    maps, variables = jax.eval_shape(
        lambda x: module.init_with_output(jax.random.key(0), x, train=False), images
    )
    return [x.shape[1:] for x in maps], variables["params"]


@pytest.mark.parametrize("form", ["plain", "separable", "bottleneck"])
def test_maps_are_those_of_the_backbone_and_one_for_each_layer(form):
    extras = Extras(("conv1", "conv5"), (), LAYERS, form)
    maps, params = run(extras)
    # 64 pixels: conv1 32, conv5 8; stride 2 makes 4 of it, and a 3x3 without padding 2.
    assert maps == [(32, 32, 64), (8, 8, 256), (4, 4, 64), (2, 2, 32)]
    assert len(maps) == extras.num_maps
    assert set(params) == {"backbone", "extra1", "extra2"}
    inside = {"plain": {"squeeze", "expand"}, "bottleneck": {"block"}}
    assert set(params["extra1"]) == inside.get(form, {"squeeze", "depthwise", "expand"})


def test_a_scale_of_zero_is_no_l2_norm():
    _, params = run(Extras(("conv1", "conv5"), (0.0, 8.0)))
    assert set(params) == {"backbone", "conv5_norm"}
    assert params["conv5_norm"]["scale"].shape == (256,)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sources": ()}, r"Extras\.sources: expected at least one map"),
        ({"l2_norm": (20.0,)}, r"Extras\.l2_norm: expected one scale for each of .*conv4_3"),
        ({"form": "residual"}, r"Extras\.form: expected one of .* got 'residual'"),
    ],
)
def test_contradictions_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Extras(**fields)


def test_ssdlite_replaces_every_convolution_of_extras_and_heads():
    values = mobilenet_ssd.get_config("lite,voc")
    values.model.num_classes = 21
    params = jax.eval_shape(detectors.build(config.resolve(values)).init, jax.random.key(0))
    params = params["params"]
    assert params["extra1"]["depthwise"]["conv"]["kernel"].shape == (3, 3, 1, 256)
    assert params["extra1"]["expand"]["conv"]["kernel"].shape == (1, 1, 256, 512)
    assert params["head1"]["logits_depthwise"]["conv"]["kernel"].shape == (3, 3, 1, 576)
    assert params["head1"]["logits"]["kernel"].shape == (1, 1, 576, 3 * 21)
