"""MobileNetV2 without its classifier, with every map that can be a source by name."""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

from flax import linen as nn

from ssd_jax.models.conv_layer import ConvLayer
from ssd_jax.models.depthwise import FeatureMap
from ssd_jax.models.style import Style

# Expansion, channels, repetitions, stride of the first (MobileNetV2, table 2).
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
LAST_CHANNELS = 1280
NUM_BLOCKS = sum(repetitions for _, _, repetitions, _ in STAGES)
FEATURES = (
    "conv0",
    *(f"block{i}" for i in range(1, NUM_BLOCKS + 1)),
    # A block's expanded map, before its depthwise convolution; SSDLite reads block14's.
    *(f"block{i}_expand" for i in range(2, NUM_BLOCKS + 1)),
    "conv18",
)


@dataclasses.dataclass(frozen=True)
class MobileNetV2:
    """The backbone of SSDLite, which reads block14's expansion (stride 16) and conv18 (32)."""

    # The maps that can be sources.
    features: ClassVar[tuple[str, ...]] = FEATURES
    relu6: ClassVar[bool] = True

    def module(self, style: Style) -> nn.Module:
        """Returns the network, images [B, H, W, 3] -> maps by name."""
        return MobileNetV2Module(self, style)


class MobileNetV2Module(nn.Module):
    """The network of `MobileNetV2`; conv18 is never narrower than released."""

    settings: MobileNetV2
    style: Style  # released with BatchNorm and ReLU6

    @nn.compact
    def __call__(self, images: FeatureMap, *, train: bool) -> Mapping[str, FeatureMap]:
        """Returns every map in FEATURES, the deepest last."""
        style = self.style
        channels = style.channels(32)
        x = ConvLayer(channels, stride=2, style=style, name="conv0")(images, train=train)
        features = {"conv0": x}
        number = 0
        for expansion, stage_channels, repetitions, first_stride in STAGES:
            channels = style.channels(stage_channels)
            for repetition in range(repetitions):
                number += 1
                name = f"block{number}"
                stride = first_stride if repetition == 0 else 1
                y = x
                if expansion > 1:
                    wide = x.shape[-1] * expansion
                    expand = ConvLayer(wide, kernel=1, style=style, name=f"{name}_expand")
                    y = features[f"{name}_expand"] = expand(y, train=train)
                depthwise = ConvLayer(
                    stride=stride, depthwise=True, style=style, name=f"{name}_depthwise"
                )
                # The bottleneck is linear: an activation would lose what few channels hold.
                project = ConvLayer(
                    channels, kernel=1, activation=False, style=style, name=f"{name}_project"
                )
                y = project(depthwise(y, train=train), train=train)
                x = x + y if x.shape == y.shape and stride == 1 else y
                features[name] = x
        last = max(LAST_CHANNELS, style.channels(LAST_CHANNELS))
        features["conv18"] = ConvLayer(last, kernel=1, style=style, name="conv18")(x, train=train)
        return features
