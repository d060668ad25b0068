"""VGG16's files: ImageNet's with three names, SSD's `reducedfc`, and the convolutions alone."""

from collections.abc import Mapping

import numpy as np

from ssd_jax.detectors.input import Input
from ssd_jax.models.vgg import STAGES
from ssd_jax.pretrained.released import TORCHVISION_INPUT, Entry, Released, Transform, from_oihw

CAFFE_INPUT = Input((123.68, 116.779, 103.939), (1.0, 1.0, 1.0), "bgr")

CONVOLUTION_NAMES = tuple(
    f"conv{stage}_{i}" for stage, count, _ in STAGES for i in range(1, count + 1)
)
# The convolutions among the modules of torchvision's `features` and of the port's list.
TORCH_INDEX = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)


def decimate_fc6(weight: np.ndarray) -> np.ndarray:
    """Returns fc6 of ImageNet, [4096, 512 * 7 * 7], as SSD's 3x3 convolution.

    It has every 4th output and every 3rd tap (SSD, section 3; the released code's `subsample`).
    """
    return from_oihw(weight.reshape(4096, 512, 7, 7)[::4, :, ::3, ::3])


def decimate_fc7(weight: np.ndarray) -> np.ndarray:
    """Returns fc7, [4096, 4096], as a 1x1 convolution of every 4th output and input."""
    return from_oihw(weight.reshape(4096, 4096, 1, 1)[::4, ::4])


def decimate_bias(bias: np.ndarray) -> np.ndarray:
    """Returns every 4th output."""
    return bias.ravel()[::4]


def _keras_fc6(weight: np.ndarray) -> np.ndarray:
    """[7 * 7 * 512, 4096] there, with the channels last."""
    return weight.reshape(7, 7, 512, 4096)[::3, ::3, :, ::4]


def _keras_fc7(weight: np.ndarray) -> np.ndarray:
    return weight[None, None, ::4, ::4]


# How to decimate the matrices of ImageNet's files.
_MATRICES = {"fc6": decimate_fc6, "fc7": decimate_fc7}
_KERAS_MATRICES = {"fc6": _keras_fc6, "fc7": _keras_fc7}


def _table(
    layers: Mapping[str, str],
    kernel: str,
    bias: str,
    transform: Transform = from_oihw,
    matrices: Mapping[str, Transform] | None = None,
) -> dict[str, Entry]:
    """Returns the table of layers, given their names by ours and the names of a layer's arrays.

    `matrices` transform fc6 and fc7 where these have to be decimated.
    """
    table: dict[str, Entry] = {}
    for ours, theirs in layers.items():
        decimate = (matrices or {}).get(ours)
        name = f"params/backbone/{ours}/conv"
        table[f"{name}/kernel"] = Entry(kernel.format(theirs), decimate or transform)
        table[f"{name}/bias"] = Entry(bias.format(theirs), decimate_bias if decimate else np.ravel)
    return table


_PLACES = dict(zip(CONVOLUTION_NAMES, map(str, TORCH_INDEX), strict=True))
_FEATURES = {ours: f"features.{place}" for ours, place in _PLACES.items()}
_CONVOLUTIONS = {name: name for name in CONVOLUTION_NAMES}
_LAYERS = _CONVOLUTIONS | {"fc6": "fc6", "fc7": "fc7"}

TORCHVISION = Released(
    name="VGG16 of torchvision",
    signature=("features.0.weight", "features.28.weight", "classifier.0.weight"),
    table=_table(
        _FEATURES | {"fc6": "classifier.0", "fc7": "classifier.3"},
        "{}.weight",
        "{}.bias",
        matrices=_MATRICES,
    ),
    input=TORCHVISION_INPUT,
)
# fc6 and fc7 of the Caffe model are matrices; those of VGG_ILSVRC_16_layers_fc_reduced are not.
CAFFE = Released(
    name="VGG16 of Caffe",
    signature=("conv1_1/0", "conv5_3/0", "fc6/0", "fc8/0"),
    table=_table(_LAYERS, "{}/0", "{}/1", matrices=_MATRICES),
    input=CAFFE_INPUT,
)
CAFFE_REDUCED = Released(
    name="VGG16 reducedfc of Caffe",
    signature=("conv1_1/0", "conv5_3/0", "fc6/0", "fc7/0"),
    table=_table(_LAYERS, "{}/0", "{}/1"),
    input=CAFFE_INPUT,
)


def reduced(prefix: str = "") -> dict[str, Entry]:
    """Returns the table of ssd.pytorch's list of modules, below the prefix of its network."""
    return _table(
        _PLACES | {"fc6": "31", "fc7": "33"}, f"{prefix}{{}}.weight", f"{prefix}{{}}.bias"
    )


# vgg16_reducedfc.pth: the same weights. Its first convolution takes RGB: the port loads pictures in
# OpenCV's order and turns them round.
TORCH_REDUCED = Released(
    name="VGG16 reducedfc of ssd.pytorch",
    signature=("0.weight", "28.weight", "31.weight", "33.weight"),
    table=reduced(),
    input=Input((123.0, 117.0, 104.0), (1.0, 1.0, 1.0), "rgb"),
)

# Keras's names of the layers, and those of a network that names them by kind and number.
_BLOCKS = {ours: ours.replace("conv", "block").replace("_", "_conv") for ours in CONVOLUTION_NAMES}
_BLOCKS |= {"fc6": "fc1", "fc7": "fc2"}
_KINDS = {ours: f"conv2d_{i}" if i else "conv2d" for i, ours in enumerate(CONVOLUTION_NAMES)}
_KINDS |= {"fc6": "dense", "fc7": "dense_1"}
_IN_MODEL = "model_weights/{0}/{0}/"
# Of the files that Keras released, of whole models and of their weights as Keras 2 and 3 save them.
_KERAS_NAMES = {
    "": (_BLOCKS, "{0}/{0}_W_1:0", "{0}/{0}_b_1:0"),
    ", saved by Keras 2": (_BLOCKS, f"{_IN_MODEL}kernel:0", f"{_IN_MODEL}bias:0"),
    ", weights of Keras 2": (_BLOCKS, "{0}/{0}/kernel:0", "{0}/{0}/bias:0"),
    ", saved by Keras 3": (_BLOCKS, f"{_IN_MODEL}kernel", f"{_IN_MODEL}bias"),
    ", weights of Keras 3": (_KINDS, "layers/{0}/vars/0", "layers/{0}/vars/1"),
}
KERAS = tuple(
    Released(
        name=f"VGG16 of Keras{form}",
        signature=(kernel.format(layers["conv1_1"]), kernel.format(layers["fc7"])),
        table=_table(layers, kernel, bias, np.asarray, _KERAS_MATRICES),
        input=CAFFE_INPUT,
    )
    for form, (layers, kernel, bias) in _KERAS_NAMES.items()
)
CONVOLUTIONS = Released(
    name="VGG16's convolutions, [rows, columns, in, out]",
    signature=("conv1_1/kernel", "conv5_3/kernel"),
    table=_table(_CONVOLUTIONS, "{}/kernel", "{}/bias", np.asarray),
    input=CAFFE_INPUT,
)
