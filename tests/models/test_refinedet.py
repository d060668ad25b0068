import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import refinedet
from ssd_jax import config, detectors

MAPS = {"320": (40, 20, 10, 5), "512": (64, 32, 16, 8)}
CHANNELS = {"vgg16": (512, 512, 1024, 512), "resnet101": (512, 1024, 2048, 1024)}
CLASSES = 21


def build(network, backbone, changes={}):  # noqa: B006
    values = refinedet.get_config(f"{network},{backbone},voc")
    values.model.num_classes = CLASSES
    values = values.to_dict()
    config.override(values, {f"config.model.{path}": x for path, x in changes.items()})
    detector = detectors.build(config.resolve(values))
    variables = jax.eval_shape(detector.init, jax.random.key(0))
    return detector, variables["params"], variables["batch_stats"]


def count(tree):
    return sum(x.size for x in jax.tree.leaves(tree))


def conv(kernel, inputs, outputs):
    return kernel * kernel * inputs * outputs + outputs


def vgg_by_hand():
    """VGG16 to conv5_3 (14,714,688, as published), fc6, fc7, conv6_1, conv6_2, two L2Norms."""
    widths = [3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
    stages = sum(conv(3, a, b) for a, b in itertools.pairwise(widths))
    assert stages == 14_714_688
    fc = conv(3, 512, 1024) + conv(1, 1024, 1024)
    return stages + fc + conv(1, 1024, 256) + conv(3, 256, 512) + 2 * 512


def arm_by_hand(channels):
    """Three anchors in a cell: 4 offsets and 2 scores of each."""
    return sum(conv(3, c, 3 * 4) + conv(3, c, 3 * 2) for c in channels)


def tcb_by_hand(channels):
    """Three convolutions on every map; a 2x2 transposed one on all but the last."""
    convolutions = sum(conv(3, c, 256) + 2 * conv(3, 256, 256) for c in channels)
    return convolutions + 3 * (2 * 2 * 256 * 256 + 256)


def odm_by_hand(channels=256):
    return 4 * (conv(3, channels, 3 * 4) + conv(3, channels, 3 * CLASSES))


@pytest.mark.parametrize("size", MAPS)
@pytest.mark.parametrize("backbone", CHANNELS)
def test_maps_and_anchors(size, backbone):
    detector, params, batch_stats = build(size, backbone)
    images = jax.ShapeDtypeStruct((1, int(size), int(size), 3), jnp.float32)
    maps = jax.eval_shape(
        lambda v, x: detector.network.maps.apply(v, x, train=False),
        {"params": params, "batch_stats": batch_stats},
        images,
    )
    expected = [(1, n, n, c) for n, c in zip(MAPS[size], CHANNELS[backbone], strict=True)]
    assert [x.shape for x in maps] == expected
    # 3 (1600 + 400 + 100 + 25) and 3 (4096 + 1024 + 256 + 64), as published.
    A = {"320": 6375, "512": 16320}[size]
    assert detector.anchors.shape == (A, 4)
    predictions = jax.eval_shape(
        lambda v, x: detector.apply(v, x, train=False)[0],
        {"params": params, "batch_stats": batch_stats},
        images,
    )
    shapes = [x.shape for x in predictions]
    assert shapes == [(1, A, 4), (1, A, 2), (1, A, 4), (1, A, CLASSES)]


def test_anchors_are_those_of_the_paper():
    detector, _, _ = build("320", "vgg16")
    # The first cell of the first map, stride 8: a square of 32, and twice as wide or as tall.
    pixels = detector.anchors[:3] * 320
    half = 2**0.5
    expected = [(4, 4, 32, 32), (4, 4, 32 * half, 32 / half), (4, 4, 32 / half, 32 * half)]
    np.testing.assert_allclose(pixels, expected, rtol=1e-5)
    np.testing.assert_allclose(detector.anchors[-3] * 320, (288, 288, 256, 256))


@pytest.mark.parametrize("size", MAPS)
def test_parameters_on_vgg16(size):
    _, params, batch_stats = build(size, "vgg16")
    channels = CHANNELS["vgg16"]
    by_hand = vgg_by_hand() + arm_by_hand(channels) + tcb_by_hand(channels) + odm_by_hand()
    assert count(params) == by_hand == 34_440_884
    assert count(batch_stats) == 0


@pytest.mark.parametrize("size", MAPS)
def test_parameters_on_resnet101(size):
    _, params, batch_stats = build(size, "resnet101")

    def block(inputs, squeeze, channels, *, project, entrance=1):
        """Weights and BatchNorm's scale and bias; the shortcut's convolution where there is one."""
        weights = entrance**2 * inputs * squeeze + 9 * squeeze * squeeze + squeeze * channels
        norms = 2 * (2 * squeeze + channels)
        shortcut = entrance**2 * inputs * channels + 2 * channels
        return weights + norms + project * shortcut, norms + project * 2 * channels

    backbone, norms = 7 * 7 * 3 * 64 + 2 * 64, 2 * 64
    inputs = 64
    for blocks, squeeze in ((3, 64), (4, 128), (23, 256), (3, 512)):
        for i in range(blocks):
            both = block(inputs, squeeze, 4 * squeeze, project=i == 0)
            backbone, norms, inputs = backbone + both[0], norms + both[1], 4 * squeeze
    assert backbone == 44_549_160 - (2048 * 1000 + 1000)  # published, without the classifier

    channels = CHANNELS["resnet101"]
    parts = [block(2048, 256, 1024, project=True, entrance=2)]  # res6
    parts += [block(c, 256, 1024, project=True) for c in channels]  # before the ARM's heads
    parts += [block(256, 256, 1024, project=True) for _ in channels]  # before the ODM's
    # BatchNorm in place of a bias in the transfer connections' convolutions: one value more.
    tcb = tcb_by_hand(channels) + 12 * 256
    parts.append((tcb, 12 * 2 * 256))
    heads = arm_by_hand((1024,) * 4) + odm_by_hand(1024)
    assert count(params) == backbone + sum(p for p, _ in parts) + heads
    assert count(batch_stats) == norms + sum(n for _, n in parts)


@pytest.mark.parametrize(
    ("off", "gone"),
    [
        ({"negative_filtering": False}, {f"arm{i}_logits" for i in (1, 2, 3, 4)}),
        ({"cascade": False}, {f"arm{i}_offsets" for i in (1, 2, 3, 4)}),
        ({"neck": "none"}, {f"tcb{i}" for i in (1, 2, 3, 4)}),
    ],
)
def test_what_is_switched_off_has_no_parameters(off, gone):
    _, whole, _ = build("320", "vgg16")
    _, params, _ = build("320", "vgg16", off)
    assert set(whole) - set(params) == gone
    kept = set(params) if "neck" not in off else set(params) - {"head1", "head2"}
    same = {name: whole[name] for name in kept if not name.startswith("head")}
    assert jax.tree.map(lambda x: x.shape, same) == jax.tree.map(
        lambda x: x.shape, {name: params[name] for name in same}
    )


def test_a_size_whose_maps_do_not_halve_is_refused():
    values = refinedet.get_config("320,vgg16,voc")
    values.model.num_classes = CLASSES
    values.model.image_size = (300, 300)
    with pytest.raises(ValueError, match=r"config\.model\.image_size: maps of .* multiple of 64"):
        detectors.build(config.resolve(values))


def test_prediction_modules_are_checked_and_take_their_kernel():
    _, released, _ = build("320", "resnet101")
    _, figure, _ = build("320", "resnet101", {"heads.prediction_kernel": 1})
    # Before four heads of each module, 3x3 of 256 channels becomes 1x1.
    assert count(released) - count(figure) == 8 * 8 * 256 * 256
    with pytest.raises(ValueError, match=r"config\.model\.heads\.prediction_module: .* got 'e'"):
        build("320", "vgg16", {"heads.prediction_module": "e"})
