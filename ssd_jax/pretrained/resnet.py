"""ResNet-50 and ResNet-101 of torchvision (and timm, which kept its names) and of Caffe."""

from ssd_jax.detectors.input import Input
from ssd_jax.models.resnet import block_names
from ssd_jax.pretrained.released import (
    TORCHVISION_INPUT,
    Entry,
    Released,
    caffe_norm,
    from_oihw,
    torch_layer,
)

# Ours, torchvision's and Caffe's name of a block's convolutions.
_CONVOLUTIONS = (
    ("branch1", "downsample.0", "downsample.1", "branch1"),
    ("branch2a", "conv1", "bn1", "branch2a"),
    ("branch2b", "conv2", "bn2", "branch2b"),
    ("branch2c", "conv3", "bn3", "branch2c"),
)


def _torch_table(depth: int) -> dict[str, Entry]:
    table = torch_layer("conv1", "conv1", "bn1")
    places = dict.fromkeys("2345", 0)
    for block in block_names(depth):
        stage = block[3]
        prefix = f"layer{int(stage) - 1}.{places[stage]}"
        for ours, conv, norm, _ in _CONVOLUTIONS:
            if ours == "branch1" and places[stage] > 0:
                continue
            table |= torch_layer(f"{block}/{ours}", f"{prefix}.{conv}", f"{prefix}.{norm}")
        places[stage] += 1
    return table


def _caffe_layer(ours: str, conv: str, suffix: str) -> dict[str, Entry]:
    kernel = {f"params/backbone/{ours}/conv/kernel": Entry(f"{conv}/0", from_oihw)}
    return kernel | caffe_norm(f"backbone/{ours}/bn", f"bn{suffix}", f"scale{suffix}")


def _caffe_table(depth: int) -> dict[str, Entry]:
    table = _caffe_layer("conv1", "conv1", "_conv1")
    firsts = set()
    for block in block_names(depth):
        stage = block[3]
        for ours, _, _, theirs in _CONVOLUTIONS:
            if ours == "branch1" and stage in firsts:
                continue
            suffix = f"{block.removeprefix('res')}_{theirs}"
            table |= _caffe_layer(f"{block}/{ours}", f"res{suffix}", suffix)
        firsts.add(stage)
    return table


_FIRST = "params/backbone/conv1/conv/kernel"
# What ResNet-101 has and ResNet-50 has not; the deeper one is therefore asked first.
_DEEP = {50: "layer3.5.conv1.weight", 101: "layer3.22.conv1.weight"}
_DEEP_CAFFE = {50: "res4f_branch2a/0", 101: "res4b22_branch2a/0"}

TORCHVISION = {
    depth: Released(
        name=f"ResNet-{depth} of torchvision",
        signature=("conv1.weight", "layer4.2.conv3.weight", _DEEP[depth]),
        table=_torch_table(depth),
        first=_FIRST,
        input=TORCHVISION_INPUT,
        settings={"batch_norm": True, "batch_norm_epsilon": 1e-5, "backbone.form": "torchvision"},
    )
    for depth in (101, 50)
}
CAFFE = {
    depth: Released(
        name=f"ResNet-{depth} of Caffe",
        signature=("conv1/0", "res2a_branch1/0", _DEEP_CAFFE[depth]),
        table=_caffe_table(depth),
        first=_FIRST,
        # Its mean is a picture, whose mean colour this is.
        input=Input((123.0, 117.0, 104.0), (1.0, 1.0, 1.0), "bgr"),
        settings={"batch_norm": True, "batch_norm_epsilon": 1e-5, "backbone.form": "original"},
    )
    for depth in (101, 50)
}
