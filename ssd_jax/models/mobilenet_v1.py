"""MobileNetV1 without its classifier, with every map that can be a source by name."""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

from flax import linen as nn

from ssd_jax.models.conv_layer import ConvLayer
from ssd_jax.models.depthwise import FeatureMap
from ssd_jax.models.style import Style

# Channels and stride of conv1 .. conv13, each a depthwise and a 1x1 convolution
# (MobileNets, table 1).
LAYERS = (
    *((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)),
    *((512, 1),) * 5,
    *((1024, 2), (1024, 1)),
)
FEATURES = tuple(f"conv{i}" for i in range(len(LAYERS) + 1))


@dataclasses.dataclass(frozen=True)
class MobileNetV1:
    """The backbone of MobileNet-SSD, which reads conv11 (stride 16) and conv13 (stride 32).

    Attributes:
        last_layer: the last layer to build, by its name in FEATURES.
    """

    last_layer: str = FEATURES[-1]
    relu6: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Refuses an unknown layer."""
        if self.last_layer not in FEATURES:
            raise ValueError(
                f"MobileNetV1.last_layer: expected one of {FEATURES}, got {self.last_layer!r}"
            )

    @property
    def features(self) -> tuple[str, ...]:
        """The maps that can be sources, finest first."""
        return FEATURES[: FEATURES.index(self.last_layer) + 1]

    def module(self, style: Style) -> nn.Module:
        """Returns the network, images [B, H, W, 3] -> maps by name."""
        return MobileNetV1Module(self, style)


class MobileNetV1Module(nn.Module):
    """The network of `MobileNetV1`."""

    settings: MobileNetV1
    style: Style  # released with BatchNorm and plain ReLU

    @nn.compact
    def __call__(self, images: FeatureMap, *, train: bool) -> Mapping[str, FeatureMap]:
        """Returns the map after every layer, `conv0` to the last one."""
        style = self.style
        first, *names = self.settings.features
        x = ConvLayer(style.channels(32), stride=2, style=style, name=first)(images, train=train)
        features = {first: x}
        for name, (channels, stride) in zip(names, LAYERS, strict=False):
            depthwise = ConvLayer(
                stride=stride, depthwise=True, style=style, name=f"{name}_depthwise"
            )
            pointwise = ConvLayer(
                style.channels(channels), kernel=1, style=style, name=f"{name}_pointwise"
            )
            x = features[name] = pointwise(depthwise(x, train=train), train=train)
        return features
