"""MobileNetV1 for ImageNet: TF-slim's, and Caffe's (shicai)."""

import numpy as np

from ssd_jax.detectors.input import Input
from ssd_jax.models.mobilenet_v1 import FEATURES
from ssd_jax.pretrained.released import Entry, Released, caffe_norm, from_oihw


def _depthwise(kernel: np.ndarray) -> np.ndarray:
    """[rows, columns, channels, 1] there, and [.., 1, channels] here."""
    return kernel.transpose(0, 1, 3, 2)


def _table() -> dict[str, Entry]:
    layers = {"conv0": ("Conv2d_0", Entry("weights"))}
    for i in range(1, len(FEATURES)):
        depthwise = Entry("depthwise_weights", _depthwise)
        layers[f"conv{i}_depthwise"] = (f"Conv2d_{i}_depthwise", depthwise)
        layers[f"conv{i}_pointwise"] = (f"Conv2d_{i}_pointwise", Entry("weights"))
    table = {}
    for ours, (theirs, kernel) in layers.items():
        entries = {
            ("params", "conv/kernel"): kernel,
            ("params", "bn/scale"): Entry("BatchNorm/gamma"),
            ("params", "bn/bias"): Entry("BatchNorm/beta"),
            ("batch_stats", "bn/mean"): Entry("BatchNorm/moving_mean"),
            ("batch_stats", "bn/var"): Entry("BatchNorm/moving_variance"),
        }
        for (group, name), entry in entries.items():
            full = f"MobilenetV1/{theirs}/{entry.theirs}"
            table[f"{group}/backbone/{ours}/{name}"] = entry._replace(theirs=full)
    return table


# Caffe numbers the blocks within a resolution.
_CAFFE_BLOCKS = (
    *("2_1", "2_2", "3_1", "3_2", "4_1", "4_2"),
    *("5_1", "5_2", "5_3", "5_4", "5_5", "5_6", "6"),
)


def _caffe_table() -> dict[str, Entry]:
    layers = {"conv0": "conv1"}
    for i, block in enumerate(_CAFFE_BLOCKS, start=1):
        layers[f"conv{i}_depthwise"] = f"conv{block}/dw"
        layers[f"conv{i}_pointwise"] = f"conv{block}/sep"
    table: dict[str, Entry] = {}
    for ours, theirs in layers.items():
        table[f"params/backbone/{ours}/conv/kernel"] = Entry(f"{theirs}/0", from_oihw)
        table |= caffe_norm(f"backbone/{ours}/bn", f"{theirs}/bn", f"{theirs}/scale")
    return table


TF_SLIM = Released(
    name="MobileNetV1 of TF-slim",
    signature=("MobilenetV1/Conv2d_0/weights",),
    table=_table(),
    first="params/backbone/conv0/conv/kernel",
    input=Input((127.5,) * 3, (127.5,) * 3, "rgb"),
    settings={"batch_norm": True, "batch_norm_epsilon": 1e-3, "padding": "same"},
)
CAFFE = Released(
    name="MobileNetV1 of Caffe",
    signature=("conv2_1/dw/0", "conv6/sep/0", "conv1/bn/0"),
    table=_caffe_table(),
    first="params/backbone/conv0/conv/kernel",
    input=Input((123.68, 116.78, 103.94), (1 / 0.017,) * 3, "bgr"),
    settings={"batch_norm": True, "batch_norm_epsilon": 1e-5, "padding": "symmetric"},
)
