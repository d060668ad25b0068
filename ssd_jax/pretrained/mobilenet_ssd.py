"""MobileNet-SSD of Caffe (chuanqi305), as it was trained and as it is deployed."""

from collections.abc import Callable

import numpy as np

from ssd_jax.detectors.input import Input
from ssd_jax.models.mobilenet_v1 import FEATURES
from ssd_jax.pretrained.released import Entry, Released, caffe_conv, caffe_layer, from_oihw

# The prototxt multiplies by .007843.
INPUT = Input((127.5,) * 3, (1 / 0.007843,) * 3, "bgr")


def _table(layer: Callable[[str, str], dict[str, Entry]]) -> dict[str, Entry]:
    table = layer("backbone/conv0", "conv0")
    for i in range(1, len(FEATURES)):
        table |= layer(f"backbone/conv{i}_depthwise", f"conv{i}/dw")
        table |= layer(f"backbone/conv{i}_pointwise", f"conv{i}")
    sources = ["conv11", "conv13"]
    for i in range(1, 5):
        table |= layer(f"extra{i}/squeeze", f"conv{i + 13}_1")
        table |= layer(f"extra{i}/expand", f"conv{i + 13}_2")
        sources.append(f"conv{i + 13}_2")
    for i, source in enumerate(sources, start=1):
        table |= caffe_conv(f"head{i}/offsets", f"{source}_mbox_loc")
        table |= caffe_conv(f"head{i}/logits", f"{source}_mbox_conf")
    return table


def _trained(ours: str, theirs: str) -> dict[str, Entry]:
    return caffe_layer(ours, theirs, f"{theirs}/bn", f"{theirs}/scale")


def _deployed(ours: str, theirs: str) -> dict[str, Entry]:
    """BatchNorm is worked into the convolution; a bias is left of it."""
    return {
        f"params/{ours}/conv/kernel": Entry(f"{theirs}/0", from_oihw),
        f"params/{ours}/bn/bias": Entry(f"{theirs}/1", np.ravel),
    }


# Caffe's own epsilon.
_OVERRIDES = {"config.model.batch_norm_epsilon": 1e-5, "config.decoder.pre_nms_top_k": 100}

TRAINED = Released(
    name="MobileNet-SSD of Caffe",
    signature=("conv11_mbox_loc/0", "conv17_2_mbox_conf/0", "conv0/bn/0"),
    table=_table(_trained),
    input=INPUT,
    overrides=_OVERRIDES,
)
DEPLOYED = Released(
    name="MobileNet-SSD of Caffe, deployed",
    signature=("conv11_mbox_loc/0", "conv17_2_mbox_conf/0", "conv0/1"),
    table=_table(_deployed),
    input=INPUT,
    overrides=_OVERRIDES | {"config.model.folded": True},
)
