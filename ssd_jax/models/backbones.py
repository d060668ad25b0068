"""The backbones that a config can name."""

from ssd_jax.models.mobilenet_v1 import MobileNetV1
from ssd_jax.models.mobilenet_v2 import MobileNetV2
from ssd_jax.models.resnet import ResNet
from ssd_jax.models.vgg import VGG16
from ssd_jax.registry import Registry

# A backbone has `features`, the names of the maps that can be sources, finest first; `relu6`,
# whether its activations are cut off at 6; and `module(style)`, images -> maps by name.
BACKBONES = Registry(
    "backbone",
    {
        "vgg16": VGG16,
        "resnet": ResNet,
        "mobilenet_v1": MobileNetV1,
        "mobilenet_v2": MobileNetV2,
    },
)
