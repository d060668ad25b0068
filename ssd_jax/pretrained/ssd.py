"""SSD300 and SSD512 on VGG16, trained: of Caffe (the authors'), ssd.pytorch and torchvision."""

import numpy as np

from ssd_jax.detectors.input import Input
from ssd_jax.pretrained import vgg16
from ssd_jax.pretrained.released import Entry, Released, caffe_conv, torch_conv

# Of SSD300 and SSD512: the extras, and the sources by Caffe's names.
_NUM_EXTRAS = {300: 4, 512: 5}
_FIRST = "params/backbone/conv1_1/conv/kernel"
_NORM = "params/conv4_3_norm/scale"
# conv4_3's place among torchvision's `features`; what follows it is in `extra`.
_FEATURES = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21)

CAFFE_INPUT = Input((123.0, 117.0, 104.0), (1.0, 1.0, 1.0), "bgr")
# The port loads pictures in OpenCV's order, subtracts the mean and turns them round.
PORT_INPUT = Input((123.0, 117.0, 104.0), (1.0, 1.0, 1.0), "rgb")
# Means of .48235, .45882, .40784 on 0-1, and a division by 1/255.
_TORCHVISION_INPUT = Input((122.99925, 116.9991, 103.9992), (1.0, 1.0, 1.0), "rgb")


def _caffe(size: int) -> Released:
    num_extras = _NUM_EXTRAS[size]
    table = dict(vgg16.CAFFE_REDUCED.table) | {_NORM: Entry("conv4_3_norm/0", np.ravel)}
    sources = ["conv4_3_norm", "fc7"]
    for i in range(1, num_extras + 1):
        table |= caffe_conv(f"params/extra{i}/squeeze/conv", f"conv{i + 5}_1")
        table |= caffe_conv(f"params/extra{i}/expand/conv", f"conv{i + 5}_2")
        sources.append(f"conv{i + 5}_2")
    for i, source in enumerate(sources, start=1):
        table |= caffe_conv(f"params/head{i}/offsets", f"{source}_mbox_loc")
        table |= caffe_conv(f"params/head{i}/logits", f"{source}_mbox_conf")
    return Released(
        name=f"SSD{size} of Caffe",
        signature=("conv4_3_norm_mbox_conf/0", f"{sources[-1]}_mbox_conf/0"),
        table=table,
        first=_FIRST,
        input=CAFFE_INPUT,
    )


def _port() -> Released:
    num_extras = _NUM_EXTRAS[300]
    table = vgg16.with_prefix(vgg16.TORCH_REDUCED.table, "vgg.")
    table |= {_NORM: Entry("L2Norm.weight")}
    for i in range(num_extras):
        table |= torch_conv(f"params/extra{i + 1}/squeeze/conv", f"extras.{2 * i}")
        table |= torch_conv(f"params/extra{i + 1}/expand/conv", f"extras.{2 * i + 1}")
    for i in range(2 + num_extras):
        table |= torch_conv(f"params/head{i + 1}/offsets", f"loc.{i}")
        table |= torch_conv(f"params/head{i + 1}/logits", f"conf.{i}")
    return Released(
        name="SSD300 of ssd.pytorch",
        signature=("vgg.0.weight", "L2Norm.weight", f"conf.{1 + num_extras}.weight"),
        table=table,
        first=_FIRST,
        input=PORT_INPUT,
        overrides={"config.anchors.clip": "cxcywh", "config.decoder.pre_nms_top_k": 200},
    )


def _torchvision() -> Released:
    convolutions = [f"features.{i}" for i in _FEATURES]
    convolutions += [f"extra.0.{i}" for i in (1, 3, 5)]
    layers = dict(zip(vgg16.CONVOLUTION_NAMES, convolutions, strict=True))
    layers |= {"fc6": "extra.0.7.1", "fc7": "extra.0.7.3"}
    table: dict[str, Entry] = {_NORM: Entry("backbone.scale_weight")}
    for ours, theirs in layers.items():
        table |= torch_conv(f"params/backbone/{ours}/conv", f"backbone.{theirs}")
    for i in range(1, 5):
        table |= torch_conv(f"params/extra{i}/squeeze/conv", f"backbone.extra.{i}.0")
        table |= torch_conv(f"params/extra{i}/expand/conv", f"backbone.extra.{i}.2")
    for i in range(6):
        head = f"params/head{i + 1}"
        table |= torch_conv(f"{head}/offsets", f"head.regression_head.module_list.{i}")
        table |= torch_conv(f"{head}/logits", f"head.classification_head.module_list.{i}")
    return Released(
        name="SSD300 of torchvision",
        signature=("backbone.scale_weight", "head.classification_head.module_list.5.weight"),
        table=table,
        first=_FIRST,
        input=_TORCHVISION_INPUT,
        overrides={"config.anchors.clip": "sides", "config.decoder.clip_before_nms": True},
    )


# In the order in which they are asked: a file of 512 has what one of 300 has.
CAFFE = {size: _caffe(size) for size in (512, 300)}
PORT = _port()  # it has no 512
TORCHVISION = _torchvision()
