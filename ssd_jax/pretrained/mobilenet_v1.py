"""MobileNetV1 with TF-slim's names, as released for ImageNet."""

import numpy as np

from ssd_jax import config
from ssd_jax.models.mobilenet import V1_FEATURES
from ssd_jax.pretrained.released import Entry, Released


def _depthwise(kernel: np.ndarray) -> np.ndarray:
    """[rows, columns, channels, 1] there, and [.., 1, channels] here."""
    return kernel.transpose(0, 1, 3, 2)


def _table() -> dict[str, Entry]:
    layers = {"conv0": ("Conv2d_0", Entry("weights"))}
    for i in range(1, len(V1_FEATURES)):
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


TF_SLIM = Released(
    name="MobileNetV1 of TF-slim",
    signature=("MobilenetV1/Conv2d_0/weights",),
    table=_table(),
    first="params/backbone/conv0/conv/kernel",
    input=config.Input((127.5,) * 3, (127.5,) * 3, "rgb"),
    settings={"batch_norm": True, "batch_norm_epsilon": 1e-3, "padding": "same"},
)
