"""All families of files that are known here."""

from collections.abc import Mapping

import numpy as np

from ssd_jax.pretrained import mobilenet_v1, mobilenet_v2, resnet, vgg16
from ssd_jax.pretrained.released import Released

# In the order in which they are asked: a file of the first also has what the second looks for.
FAMILIES: tuple[Released, ...] = (
    mobilenet_v1.TF_SLIM,
    mobilenet_v1.CAFFE,
    mobilenet_v2.TORCHVISION,
    vgg16.TORCHVISION,
    vgg16.CAFFE,
    vgg16.CAFFE_REDUCED,
    vgg16.TORCH_REDUCED,
    *vgg16.KERAS,
    vgg16.CONVOLUTIONS,
    *resnet.TORCHVISION.values(),
    *resnet.CAFFE.values(),
)


def find(arrays: Mapping[str, np.ndarray]) -> Released | None:
    """Returns the family of a file's arrays, or None."""
    return next((family for family in FAMILIES if family.recognises(arrays)), None)
