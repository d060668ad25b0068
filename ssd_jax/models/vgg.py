"""VGG16 up to fc7, with the fully connected layers as convolutions (SSD, section 3)."""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

from flax import linen as nn

from ssd_jax.models.conv_layer import ConvLayer
from ssd_jax.models.depthwise import FeatureMap
from ssd_jax.models.pooling import max_pool
from ssd_jax.models.style import Style

# (stage, its convolutions, channels); a pooling follows each stage.
STAGES = ((1, 2, 64), (2, 2, 128), (3, 3, 256), (4, 3, 512), (5, 3, 512))
FC_CHANNELS = 1024

FEATURES = ("conv1_2", "conv2_2", "conv3_3", "conv4_3", "conv5_3", "fc7")


@dataclasses.dataclass(frozen=True)
class VGG16:
    """The backbone of SSD300, SSD512 and RefineDet.

    Attributes:
        pool5_stride: 1 for SSD, with a window of 3; 2 for RefineDet and the "no atrous" row of
            SSD's ablation, with a window of 2.
        fc6_dilation: 6 for SSD, 3 for RefineDet, 1 for "no atrous".
    """

    pool5_stride: int = 1
    fc6_dilation: int = 6
    # The maps that can be sources, finest first.
    features: ClassVar[tuple[str, ...]] = FEATURES
    relu6: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Refuses values that no layer can have."""
        if self.pool5_stride not in (1, 2):
            raise ValueError(f"VGG16.pool5_stride: expected 1 or 2, got {self.pool5_stride}")
        if self.fc6_dilation < 1:
            raise ValueError(f"VGG16.fc6_dilation: expected at least 1, got {self.fc6_dilation}")

    def module(self, style: Style) -> nn.Module:
        """Returns the network, images [B, H, W, 3] -> maps by name."""
        return VGG16Module(self, style)


class VGG16Module(nn.Module):
    """The network of `VGG16`."""

    settings: VGG16
    style: Style

    @nn.compact
    def __call__(self, images: FeatureMap, *, train: bool) -> Mapping[str, FeatureMap]:
        """Returns the feature maps that can be sources, after their ReLU, by Caffe's names."""
        style, features = self.style, {}
        x = images
        for stage, convolutions, channels in STAGES:
            for i in range(1, convolutions + 1):
                name = f"conv{stage}_{i}"
                layer = ConvLayer(style.channels(channels), style=style, name=name)
                x = layer(x, train=train)
            features[name] = x
            if stage < 5 or self.settings.pool5_stride == 2:
                x = max_pool(x, window=2, stride=2)
            else:
                x = max_pool(x, window=3, stride=1, padding=1)
        channels, dilation = style.channels(FC_CHANNELS), self.settings.fc6_dilation
        x = ConvLayer(channels, dilation=dilation, style=style, name="fc6")(x, train=train)
        features["fc7"] = ConvLayer(channels, kernel=1, style=style, name="fc7")(x, train=train)
        return features
