"""SSD300 and SSD512 on VGG16, trained: of Caffe (the authors'), ssd.pytorch and torchvision."""

import numpy as np

from ssd_jax.detectors.input import Input
from ssd_jax.pretrained import vgg16
from ssd_jax.pretrained.released import Entry, Released, caffe_conv, torch_conv

_NORM = "params/conv4_3_norm/scale"

CAFFE_INPUT = Input((123.0, 117.0, 104.0), (1.0, 1.0, 1.0), "bgr")
# The port loads pictures in OpenCV's order, subtracts the mean and turns them round.
PORT_INPUT = Input((123.0, 117.0, 104.0), (1.0, 1.0, 1.0), "rgb")
# Means of .48235, .45882, .40784 on 0-1, and a division by 1/255.
_TORCHVISION_INPUT = Input((122.99925, 116.9991, 103.9992), (1.0, 1.0, 1.0), "rgb")


def _caffe(size: int, num_extras: int) -> Released:
    table = vgg16.CAFFE_REDUCED.table | {_NORM: Entry("conv4_3_norm/0", np.ravel)}
    sources = ["conv4_3_norm", "fc7"]
    for i in range(1, num_extras + 1):
        table |= caffe_conv(f"extra{i}/squeeze/conv", f"conv{i + 5}_1")
        table |= caffe_conv(f"extra{i}/expand/conv", f"conv{i + 5}_2")
        sources.append(f"conv{i + 5}_2")
    for i, source in enumerate(sources, start=1):
        table |= caffe_conv(f"head{i}/offsets", f"{source}_mbox_loc")
        table |= caffe_conv(f"head{i}/logits", f"{source}_mbox_conf")
    return Released(
        name=f"SSD{size} of Caffe",
        signature=("conv4_3_norm_mbox_conf/0", f"{sources[-1]}_mbox_conf/0"),
        table=table,
        input=CAFFE_INPUT,
    )


def _port() -> Released:
    table = vgg16.reduced("vgg.") | {_NORM: Entry("L2Norm.weight")}
    for i in range(4):
        table |= torch_conv(f"extra{i + 1}/squeeze/conv", f"extras.{2 * i}")
        table |= torch_conv(f"extra{i + 1}/expand/conv", f"extras.{2 * i + 1}")
    for i in range(6):
        table |= torch_conv(f"head{i + 1}/offsets", f"loc.{i}")
        table |= torch_conv(f"head{i + 1}/logits", f"conf.{i}")
    return Released(
        name="SSD300 of ssd.pytorch",
        signature=("vgg.0.weight", "L2Norm.weight", "conf.5.weight"),
        table=table,
        input=PORT_INPUT,
        overrides={"config.anchors.clip": "cxcywh", "config.decoder.pre_nms_top_k": 200},
    )


def _torchvision() -> Released:
    # What follows conv4_3 in `features` is in `extra`.
    convolutions = [f"features.{i}" for i in vgg16.TORCH_INDEX[:10]]
    convolutions += [f"extra.0.{i}" for i in (1, 3, 5)]
    layers = dict(zip(vgg16.CONVOLUTION_NAMES, convolutions, strict=True))
    layers |= {"fc6": "extra.0.7.1", "fc7": "extra.0.7.3"}
    table: dict[str, Entry] = {}
    for ours, theirs in layers.items():
        table |= torch_conv(f"backbone/{ours}/conv", f"backbone.{theirs}")
    table[_NORM] = Entry("backbone.scale_weight")
    for i in range(1, 5):
        table |= torch_conv(f"extra{i}/squeeze/conv", f"backbone.extra.{i}.0")
        table |= torch_conv(f"extra{i}/expand/conv", f"backbone.extra.{i}.2")
    for i in range(6):
        head = f"head{i + 1}"
        table |= torch_conv(f"{head}/offsets", f"head.regression_head.module_list.{i}")
        table |= torch_conv(f"{head}/logits", f"head.classification_head.module_list.{i}")
    return Released(
        name="SSD300 of torchvision",
        signature=("backbone.scale_weight", "head.classification_head.module_list.5.weight"),
        table=table,
        input=_TORCHVISION_INPUT,
        overrides={"config.anchors.clip": "sides", "config.decoder.clip_before_nms": True},
    )


# In the order in which they are asked: a file of 512 has what one of 300 has.
CAFFE = {512: _caffe(512, num_extras=5), 300: _caffe(300, num_extras=4)}
PORT = _port()  # it has no 512
TORCHVISION = _torchvision()
