"""VGG16's files: ImageNet's with three names, SSD's `reducedfc`, and the convolutions alone."""

from collections.abc import Callable

import numpy as np

from ssd_jax.detectors.input import Input
from ssd_jax.models.vgg import STAGES
from ssd_jax.pretrained.released import TORCHVISION_INPUT, Entry, Released, Table, from_oihw

CAFFE_INPUT = Input((123.68, 116.779, 103.939), (1.0, 1.0, 1.0), "bgr")

CONVOLUTION_NAMES = tuple(
    f"conv{stage}_{i}" for stage, count, _ in STAGES for i in range(1, count + 1)
)
# The convolutions among the modules of torchvision's `features` and of the port's list.
_TORCH_INDEX = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)


def decimate_fc6(weight: np.ndarray) -> np.ndarray:
    """fc6 of ImageNet, [4096, 512 * 7 * 7], as SSD's 3x3 convolution.

    Every 4th output and every 3rd tap (SSD, section 3; the released code's `subsample`).
    """
    return from_oihw(weight.reshape(4096, 512, 7, 7)[::4, :, ::3, ::3])


def decimate_fc7(weight: np.ndarray) -> np.ndarray:
    """fc7, [4096, 4096], as a 1x1 convolution: every 4th output and input."""
    return from_oihw(weight.reshape(4096, 4096, 1, 1)[::4, ::4])


def decimate_bias(bias: np.ndarray) -> np.ndarray:
    """Every 4th output."""
    return bias.ravel()[::4]


def _keras_fc6(weight: np.ndarray) -> np.ndarray:
    """[7 * 7 * 512, 4096] there, with the channels last."""
    return weight.reshape(7, 7, 512, 4096)[::3, ::3, :, ::4]


def _keras_fc7(weight: np.ndarray) -> np.ndarray:
    return weight[None, None, ::4, ::4]


def _layer(ours: str, kernel: Entry, bias: Entry) -> dict[str, Entry]:
    prefix = f"params/backbone/{ours}/conv"
    return {f"{prefix}/kernel": kernel, f"{prefix}/bias": bias}


def with_prefix(table: Table, prefix: str) -> dict[str, Entry]:
    """Returns the table of a network of which this one is a part, under a name."""
    return {ours: x._replace(theirs=prefix + x.theirs) for ours, x in table.items()}


def _convolutions(
    kernel: Callable[[int, str], str],
    bias: Callable[[int, str], str],
    transform: Callable[[np.ndarray], np.ndarray],
) -> dict[str, Entry]:
    """The 13 convolutions, by what their place and our name are called there."""
    table: dict[str, Entry] = {}
    for i, ours in enumerate(CONVOLUTION_NAMES):
        table |= _layer(ours, Entry(kernel(i, ours), transform), Entry(bias(i, ours), np.ravel))
    return table


_FIRST = "params/backbone/conv1_1/conv/kernel"

TORCHVISION = Released(
    name="VGG16 of torchvision",
    signature=("features.0.weight", "features.28.weight", "classifier.0.weight"),
    table=_convolutions(
        lambda i, _: f"features.{_TORCH_INDEX[i]}.weight",
        lambda i, _: f"features.{_TORCH_INDEX[i]}.bias",
        from_oihw,
    )
    | _layer(
        "fc6",
        Entry("classifier.0.weight", decimate_fc6),
        Entry("classifier.0.bias", decimate_bias),
    )
    | _layer(
        "fc7",
        Entry("classifier.3.weight", decimate_fc7),
        Entry("classifier.3.bias", decimate_bias),
    ),
    first=_FIRST,
    input=TORCHVISION_INPUT,
)

# fc6 and fc7 of the Caffe model are matrices; those of VGG_ILSVRC_16_layers_fc_reduced are not.
CAFFE = Released(
    name="VGG16 of Caffe",
    signature=("conv1_1/0", "conv5_3/0", "fc6/0", "fc8/0"),
    table=_convolutions(lambda _, x: f"{x}/0", lambda _, x: f"{x}/1", from_oihw)
    | _layer("fc6", Entry("fc6/0", decimate_fc6), Entry("fc6/1", decimate_bias))
    | _layer("fc7", Entry("fc7/0", decimate_fc7), Entry("fc7/1", decimate_bias)),
    first=_FIRST,
    input=CAFFE_INPUT,
)
CAFFE_REDUCED = Released(
    name="VGG16 reducedfc of Caffe",
    signature=("conv1_1/0", "conv5_3/0", "fc6/0", "fc7/0"),
    table=_convolutions(lambda _, x: f"{x}/0", lambda _, x: f"{x}/1", from_oihw)
    | _layer("fc6", Entry("fc6/0", from_oihw), Entry("fc6/1", np.ravel))
    | _layer("fc7", Entry("fc7/0", from_oihw), Entry("fc7/1", np.ravel)),
    first=_FIRST,
    input=CAFFE_INPUT,
)
# vgg16_reducedfc.pth: the same weights, as a list of modules. Its first convolution takes RGB: the
# port loads pictures in OpenCV's order and turns them round.
TORCH_REDUCED = Released(
    name="VGG16 reducedfc of ssd.pytorch",
    signature=("0.weight", "28.weight", "31.weight", "33.weight"),
    table=_convolutions(
        lambda i, _: f"{_TORCH_INDEX[i]}.weight", lambda i, _: f"{_TORCH_INDEX[i]}.bias", from_oihw
    )
    | _layer("fc6", Entry("31.weight", from_oihw), Entry("31.bias"))
    | _layer("fc7", Entry("33.weight", from_oihw), Entry("33.bias")),
    first=_FIRST,
    input=Input((123.0, 117.0, 104.0), (1.0, 1.0, 1.0), "rgb"),
)


def _keras_layers() -> dict[str, tuple[str, str]]:
    """Keras's name of every layer, and that of a network which names layers by kind and number."""
    layers = {}
    for i, ours in enumerate(CONVOLUTION_NAMES):
        block, number = ours.removeprefix("conv").split("_")
        layers[ours] = (f"block{block}_conv{number}", f"conv2d_{i}" if i else "conv2d")
    return layers | {"fc6": ("fc1", "dense"), "fc7": ("fc2", "dense_1")}


# {0} is the layer's name, {1} that by kind and number: of the files that Keras released, of whole
# models and of their weights as Keras 2 and 3 save them.
_KERAS_NAMES = {
    "": ("{0}/{0}_W_1:0", "{0}/{0}_b_1:0"),
    ", saved by Keras 2": ("model_weights/{0}/{0}/kernel:0", "model_weights/{0}/{0}/bias:0"),
    ", weights of Keras 2": ("{0}/{0}/kernel:0", "{0}/{0}/bias:0"),
    ", saved by Keras 3": ("model_weights/{0}/{0}/kernel", "model_weights/{0}/{0}/bias"),
    ", weights of Keras 3": ("layers/{1}/vars/0", "layers/{1}/vars/1"),
}


def _keras(form: str) -> Released:
    kernel, bias = _KERAS_NAMES[form]
    table: dict[str, Entry] = {}
    for ours, names in _keras_layers().items():
        transforms = {"fc6": (_keras_fc6, decimate_bias), "fc7": (_keras_fc7, decimate_bias)}
        of_kernel, of_bias = transforms.get(ours, (lambda k: k, lambda b: b))
        table |= _layer(
            ours, Entry(kernel.format(*names), of_kernel), Entry(bias.format(*names), of_bias)
        )
    first, last = (_keras_layers()[layer] for layer in ("conv1_1", "fc7"))
    return Released(
        name=f"VGG16 of Keras{form}",
        signature=(kernel.format(*first), kernel.format(*last)),
        table=table,
        first=_FIRST,
        input=CAFFE_INPUT,
    )


KERAS = tuple(map(_keras, _KERAS_NAMES))
CONVOLUTIONS = Released(
    name="VGG16's convolutions, [rows, columns, in, out]",
    signature=("conv1_1/kernel", "conv5_3/kernel"),
    table=_convolutions(lambda _, x: f"{x}/kernel", lambda _, x: f"{x}/bias", lambda k: k),
    first=_FIRST,
    input=CAFFE_INPUT,
)
