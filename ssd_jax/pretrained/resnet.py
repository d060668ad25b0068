"""ResNet-50 and ResNet-101 of torchvision (and timm, which kept its names) and of Caffe."""

from collections import Counter
from collections.abc import Iterator

from ssd_jax.detectors.input import Input
from ssd_jax.models.resnet import block_names
from ssd_jax.pretrained.released import TORCHVISION_INPUT, Entry, Released, caffe_layer, torch_layer

# A block's convolutions by our and Caffe's names, and torchvision's convolution and BatchNorm.
_CONVOLUTIONS = {
    "branch1": ("downsample.0", "downsample.1"),
    "branch2a": ("conv1", "bn1"),
    "branch2b": ("conv2", "bn2"),
    "branch2c": ("conv3", "bn3"),
}


def _convolutions(depth: int) -> Iterator[tuple[str, str, str]]:
    """Yields the block of every convolution, torchvision's name of the block, and its own name."""
    places = Counter()
    for block in block_names(depth):
        stage = int(block[3])
        for name in _CONVOLUTIONS:
            if name != "branch1" or not places[stage]:  # only the first has one on the shortcut
                yield block, f"layer{stage - 1}.{places[stage]}", name
        places[stage] += 1


def _torch_table(depth: int) -> dict[str, Entry]:
    table = torch_layer("backbone/conv1", "conv1", "bn1")
    for block, prefix, name in _convolutions(depth):
        conv, norm = _CONVOLUTIONS[name]
        table |= torch_layer(f"backbone/{block}/{name}", f"{prefix}.{conv}", f"{prefix}.{norm}")
    return table


def _caffe_table(depth: int) -> dict[str, Entry]:
    table = caffe_layer("backbone/conv1", "conv1", "bn_conv1", "scale_conv1")
    for block, _, name in _convolutions(depth):
        theirs = f"{block.removeprefix('res')}_{name}"
        ours = f"backbone/{block}/{name}"
        table |= caffe_layer(ours, f"res{theirs}", f"bn{theirs}", f"scale{theirs}")
    return table


# What ResNet-101 has and ResNet-50 has not; the deeper one is therefore asked first.
_DEEP = {50: "layer3.5.conv1.weight", 101: "layer3.22.conv1.weight"}
_DEEP_CAFFE = {50: "res4f_branch2a/0", 101: "res4b22_branch2a/0"}
_SETTINGS = {"batch_norm": True, "batch_norm_epsilon": 1e-5}

TORCHVISION = {
    depth: Released(
        name=f"ResNet-{depth} of torchvision",
        signature=("conv1.weight", "layer4.2.conv3.weight", _DEEP[depth]),
        table=_torch_table(depth),
        input=TORCHVISION_INPUT,
        settings=_SETTINGS | {"backbone.form": "torchvision"},
    )
    for depth in (101, 50)
}
CAFFE = {
    depth: Released(
        name=f"ResNet-{depth} of Caffe",
        signature=("conv1/0", "res2a_branch1/0", _DEEP_CAFFE[depth]),
        table=_caffe_table(depth),
        # Its mean is a picture, whose mean colour this is.
        input=Input((123.0, 117.0, 104.0), (1.0, 1.0, 1.0), "bgr"),
        settings=_SETTINGS | {"backbone.form": "original"},
    )
    for depth in (101, 50)
}
