"""MobileNetV1 for ImageNet: TF-slim's, and Caffe's (shicai)."""

import numpy as np

from ssd_jax.detectors.input import Input
from ssd_jax.models.mobilenet_v1 import FEATURES
from ssd_jax.pretrained.released import Entry, Released, caffe_layer


def _depthwise(kernel: np.ndarray) -> np.ndarray:
    """[rows, columns, channels, 1] there, and [.., 1, channels] here."""
    return kernel.transpose(0, 1, 3, 2)


def _slim_layer(ours: str, theirs: str, kernel: Entry) -> dict[str, Entry]:
    entries = {
        f"params/backbone/{ours}/conv/kernel": kernel,
        f"params/backbone/{ours}/bn/scale": Entry("BatchNorm/gamma"),
        f"params/backbone/{ours}/bn/bias": Entry("BatchNorm/beta"),
        f"batch_stats/backbone/{ours}/bn/mean": Entry("BatchNorm/moving_mean"),
        f"batch_stats/backbone/{ours}/bn/var": Entry("BatchNorm/moving_variance"),
    }
    prefix = f"MobilenetV1/{theirs}/"
    return {name: entry._replace(theirs=prefix + entry.theirs) for name, entry in entries.items()}


def _slim_table() -> dict[str, Entry]:
    table = _slim_layer("conv0", "Conv2d_0", Entry("weights"))
    depthwise = Entry("depthwise_weights", _depthwise)
    for i in range(1, len(FEATURES)):
        table |= _slim_layer(f"conv{i}_depthwise", f"Conv2d_{i}_depthwise", depthwise)
        table |= _slim_layer(f"conv{i}_pointwise", f"Conv2d_{i}_pointwise", Entry("weights"))
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
        table |= caffe_layer(f"backbone/{ours}", theirs, f"{theirs}/bn", f"{theirs}/scale")
    return table


TF_SLIM = Released(
    name="MobileNetV1 of TF-slim",
    signature=("MobilenetV1/Conv2d_0/weights",),
    table=_slim_table(),
    input=Input((127.5,) * 3, (127.5,) * 3, "rgb"),
    settings={"batch_norm": True, "batch_norm_epsilon": 1e-3, "padding": "same"},
)
CAFFE = Released(
    name="MobileNetV1 of Caffe",
    signature=("conv2_1/dw/0", "conv6/sep/0", "conv1/bn/0"),
    table=_caffe_table(),
    input=Input((123.68, 116.78, 103.94), (1 / 0.017,) * 3, "bgr"),
    settings={"batch_norm": True, "batch_norm_epsilon": 1e-5, "padding": "symmetric"},
)
