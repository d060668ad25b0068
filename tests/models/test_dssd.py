import jax
import jax.numpy as jnp
import pytest

from configs import dssd
from ssd_jax import config, detectors

MAPS = {"321": (40, 20, 10, 5, 3, 1), "513": (64, 32, 16, 8, 4, 2, 1)}
DATA = {"321": "voc", "513": "coco"}
ANCHORS = {"321": 17_080, "513": 43_688}  # as published
CLASSES = 21


def build(size, stage, changes={}):  # noqa: B006
    values = dssd.get_config(f"{size},{DATA[size]},{stage}")
    values.model.num_classes = CLASSES
    values = values.to_dict()
    config.override(values, {f"config.model.{path}": x for path, x in changes.items()})
    detector = detectors.build(config.resolve(values))
    variables = jax.eval_shape(detector.init, jax.random.key(0))
    return detector, variables["params"]


def count(tree):
    return sum(x.size for x in jax.tree.leaves(tree))


def block(inputs, squeeze, channels, *, project, entrance=1, middle=3):
    """A bottleneck by hand: weights, and BatchNorm's scale and bias of every convolution."""
    branch = entrance**2 * inputs * squeeze + middle**2 * squeeze**2 + squeeze * channels
    branch += 2 * (2 * squeeze + channels)
    return branch + project * (entrance**2 * inputs * channels + 2 * channels)


def heads(channels, num_maps):
    """Eight boxes in a cell, 4 offsets and C scores; 5x5 on the first two maps."""
    kernels = [5, 5] + [3] * (num_maps - 2)
    return sum((k * k * channels + 1) * 8 * (4 + CLASSES) for k in kernels)


def ssd_part(size):
    backbone = 44_549_160 - 2_049_000  # published ResNet-101, without the classifier
    entrances = (2, 2, 3, 3) if size == "321" else (2,) * 5
    inputs = (2048, *(1024,) * (len(entrances) - 1))
    pairs = zip(inputs, entrances, strict=True)
    return backbone + sum(block(i, 256, 1024, project=True, entrance=k) for i, k in pairs)


def sources(size):
    return (512, 2048, *(1024,) * (len(MAPS[size]) - 2))


@pytest.mark.parametrize("size", MAPS)
def test_maps_and_boxes(size):
    detector, _ = build(size, "ssd")
    variables = jax.eval_shape(detector.init, jax.random.key(0))
    images = jax.ShapeDtypeStruct((1, int(size), int(size), 3), jnp.float32)
    maps = jax.eval_shape(
        lambda v, x: detector.network.maps.apply(v, x, train=False), variables, images
    )
    expected = [(1, n, n, c) for n, c in zip(MAPS[size], sources(size), strict=True)]
    assert [x.shape for x in maps] == expected
    assert detector.anchors.shape == (ANCHORS[size], 4)
    # The centres lie on the picture: the offset is half a cell.
    assert ((detector.anchors[:, :2] > 0) & (detector.anchors[:, :2] < 1)).all()


def test_boxes_of_the_papers_321():
    detector, _ = build("321", "ssd")
    sizes = [entry.min_size for entry in detector.anchor_spec.maps]
    assert sizes == [32.1, 64.2, 121.98, 179.76, 237.54, 295.32]
    assert detector.anchor_spec.maps[-1].max_size == 353.1
    coco = build("513", "ssd")[0].anchor_spec.maps
    assert [entry.min_size for entry in coco] == [
        20.52, 51.3, 138.51, 225.72, 312.93, 400.14, 487.35
    ]  # fmt: skip
    assert coco[-1].max_size == 574.56


@pytest.mark.parametrize("size", MAPS)
@pytest.mark.parametrize("form", ["a", "b", "c", "d"])
def test_parameters_of_ssd_with_each_prediction_module(size, form):
    _, params = build(size, "ssd", {"heads.prediction_module": form})
    modules = {
        "a": lambda c: 0,
        "b": lambda c: block(c, 256, c, project=False),
        "c": lambda c: block(c, 256, 1024, project=True),
        "d": lambda c: block(c, 256, 1024, project=True) + block(1024, 256, 1024, project=True),
    }
    channels = sources(size)
    expected = ssd_part(size) + sum(map(modules[form], channels))
    if form in "cd":
        expected += heads(1024, len(channels))
    else:
        kernels = [5, 5] + [3] * (len(channels) - 2)
        pairs = zip(kernels, channels, strict=True)
        expected += sum((k * k * c + 1) * 8 * (4 + CLASSES) for k, c in pairs)
    assert count(params) == expected


def test_the_papers_figure_has_a_1x1_convolution_in_the_middle():
    _, released = build("321", "ssd")
    _, figure = build("321", "ssd", {"heads.prediction_kernel": 1})
    assert count(released) - count(figure) == 6 * 8 * 256 * 256


@pytest.mark.parametrize("size", MAPS)
@pytest.mark.parametrize("combination", ["product", "sum"])
def test_parameters_of_dssd(size, combination):
    detector, params = build(size, "dssd", {"neck.combination": combination})
    assert detector.anchors.shape == (ANCHORS[size], 4)
    channels = sources(size)
    expected = ssd_part(size) + heads(1024, len(channels))

    def conv(inputs):
        return 9 * inputs * 512 + 2 * 512

    deepest = 1024
    for i in range(len(channels) - 1):
        # 3x3 from 1 to 3 and from 3 to 5 (321); 2x2 elsewhere.
        larger, smaller = MAPS[size][i : i + 2]
        kernel = 2 if larger == 2 * smaller else 3
        inputs = deepest if i == len(channels) - 2 else 512
        expected += kernel**2 * inputs * 512  # the deconvolution, without a bias
        expected += conv(512) + conv(channels[i]) + conv(512)
        expected += block(512, 256, 1024, project=True)
    expected += block(deepest, 256, 1024, project=True)
    assert count(params) == expected


def test_maps_that_do_not_double_are_refused():
    values = dssd.get_config("321,voc,dssd")
    values.model.num_classes = CLASSES
    values.model.image_size = (341, 341)  # maps 43, 22, ...
    values.anchors.steps = ()
    with pytest.raises(ValueError, match=r"config\.model\.image_size: maps of .* take 321 or 513"):
        detectors.build(config.resolve(values))


@pytest.mark.parametrize(
    ("field", "value"),
    [("heads.prediction_module", "e"), ("neck.combination", "mean"), ("freeze_batch_norm", "x")],
)
def test_unknown_variants_are_named(field, value):
    with pytest.raises(ValueError, match=rf"config\.model\.{field}: expected .* got '{value}'"):
        build("321", "dssd", {field: value})
