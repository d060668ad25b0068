"""MobileNetV1 with TF-slim's names, as released for ImageNet."""

from collections.abc import Mapping

import numpy as np

from ssd_jax import config
from ssd_jax.models.mobilenet import V1_FEATURES

# A key that tells such a file from others.
SIGNATURE = "MobilenetV1/Conv2d_0/weights"

# What the released weights were trained with; their padding was TensorFlow's.
INPUT = config.Input((127.5,) * 3, (127.5,) * 3, "rgb")
SETTINGS = {"batch_norm": True, "batch_norm_epsilon": 1e-3, "padding": "same"}

# Ours by theirs, after a layer's name.
_NORM = {
    "params/bn/scale": "BatchNorm/gamma",
    "params/bn/bias": "BatchNorm/beta",
    "batch_stats/bn/mean": "BatchNorm/moving_mean",
    "batch_stats/bn/var": "BatchNorm/moving_variance",
}


def names() -> dict[str, str]:
    """Returns the name of every array of our backbone, with the name that TF-slim gives it."""
    layers = {"conv0": ("Conv2d_0", "weights")}
    for i in range(1, len(V1_FEATURES)):
        layers[f"conv{i}_depthwise"] = (f"Conv2d_{i}_depthwise", "depthwise_weights")
        layers[f"conv{i}_pointwise"] = (f"Conv2d_{i}_pointwise", "weights")
    table = {}
    for ours, (theirs, kernel) in layers.items():
        for name, key in {"params/conv/kernel": kernel, **_NORM}.items():
            collection, rest = name.split("/", 1)
            table[f"{collection}/backbone/{ours}/{rest}"] = f"MobilenetV1/{theirs}/{key}"
    return table


def convert(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the backbone's arrays under our names and in our layout.

    Raises:
      ValueError: where an array is missing.
    """
    table = names()
    if missing := [key for key in table.values() if key not in arrays]:
        raise ValueError(
            f"pretrained: expected a whole MobileNetV1, but it lacks {', '.join(missing[:3])}"
            + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
        )
    converted = {}
    for ours, theirs in table.items():
        array = np.asarray(arrays[theirs], np.float32)
        # A depthwise kernel is [rows, columns, channels, 1] there, and [.., 1, channels] here.
        is_depthwise = theirs.endswith("depthwise_weights")
        converted[ours] = array.transpose(0, 1, 3, 2) if is_depthwise else array
    return converted
