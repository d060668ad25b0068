"""RefineDet320 and 512 on VGG16, trained: of Caffe (the authors') and of RefineDet.PyTorch."""

import numpy as np

from ssd_jax.pretrained import vgg16
from ssd_jax.pretrained.released import Entry, Released, caffe_conv, from_iohw, torch_conv
from ssd_jax.pretrained.ssd import CAFFE_INPUT, PORT_INPUT

_MAPS = 4


def _caffe() -> Released:
    table = dict(vgg16.CAFFE_REDUCED.table)
    for source in ("conv4_3_norm", "conv5_3_norm"):
        table[f"params/{source}/scale"] = Entry(f"{source}/0", np.ravel)
    table |= caffe_conv("extra1/squeeze/conv", "conv6_1")
    table |= caffe_conv("extra1/expand/conv", "conv6_2")
    for i, source in enumerate(("conv4_3_norm", "conv5_3_norm", "fc7", "conv6_2"), start=1):
        table |= caffe_conv(f"arm{i}_offsets", f"{source}_mbox_loc")
        table |= caffe_conv(f"arm{i}_logits", f"{source}_mbox_conf")
        level = i + 2  # P3 is read off conv4_3
        for ours, theirs in (("conv1", "TL{}_1"), ("conv2", "TL{}_2"), ("conv3", "P{}")):
            table |= caffe_conv(f"tcb{i}/{ours}/conv", theirs.format(level))
        if i < _MAPS:
            table |= caffe_conv(f"tcb{i}/up", f"P{level + 1}-up", from_iohw)
        table |= caffe_conv(f"head{i}/offsets", f"P{level}_mbox_loc")
        table |= caffe_conv(f"head{i}/logits", f"P{level}_mbox_conf")
    return Released(
        name="RefineDet of Caffe",
        signature=("conv4_3_norm_mbox_conf/0", "P3_mbox_conf/0"),
        table=table,
        input=CAFFE_INPUT,
    )


def _port() -> Released:
    table = vgg16.reduced("vgg.")
    for source in ("conv4_3", "conv5_3"):
        table[f"params/{source}_norm/scale"] = Entry(f"{source}_L2Norm.weight")
    table |= torch_conv("extra1/squeeze/conv", "extras.0")
    table |= torch_conv("extra1/expand/conv", "extras.1")
    for i in range(_MAPS):
        ours = f"tcb{i + 1}"
        # Lists of modules, three of a block's first two convolutions and of its last one.
        table |= torch_conv(f"{ours}/conv1/conv", f"tcb0.{3 * i}")
        table |= torch_conv(f"{ours}/conv2/conv", f"tcb0.{3 * i + 2}")
        table |= torch_conv(f"{ours}/conv3/conv", f"tcb2.{3 * i + 1}")
        if i < _MAPS - 1:
            table |= torch_conv(f"{ours}/up", f"tcb1.{i}", from_iohw)
        table |= torch_conv(f"arm{i + 1}_offsets", f"arm_loc.{i}")
        table |= torch_conv(f"arm{i + 1}_logits", f"arm_conf.{i}")
        table |= torch_conv(f"head{i + 1}/offsets", f"odm_loc.{i}")
        table |= torch_conv(f"head{i + 1}/logits", f"odm_conf.{i}")
    return Released(
        name="RefineDet of RefineDet.PyTorch",
        signature=("vgg.0.weight", "conv4_3_L2Norm.weight", "odm_conf.3.weight"),
        table=table,
        input=PORT_INPUT,
        overrides={"config.anchors.clip": "cxcywh"},
    )


# The same arrays for both sizes.
CAFFE = _caffe()
PORT = _port()
