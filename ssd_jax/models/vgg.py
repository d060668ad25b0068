"""VGG16 up to fc7, with the fully connected layers as convolutions (SSD, section 3)."""

from collections.abc import Mapping

from flax import linen as nn

from ssd_jax.models.layers import ConvLayer, FeatureMap, Style, max_pool, scale_channels

# (stage, its convolutions, channels); a pooling follows each stage.
STAGES = ((1, 2, 64), (2, 2, 128), (3, 3, 256), (4, 3, 512), (5, 3, 512))
FC_CHANNELS = 1024

# The feature maps it returns, which can be sources.
FEATURES = ("conv1_2", "conv2_2", "conv3_3", "conv4_3", "conv5_3", "fc7")


class VGG16(nn.Module):
    """The backbone of SSD300, SSD512 and RefineDet.

    Attributes:
      width: multiplies every channel count.
      pool5_stride: 1 for SSD, with a window of 3; 2 for RefineDet and the "no atrous" row of SSD's
        ablation, with a window of 2.
      fc6_dilation: 6 for SSD, 3 for RefineDet, 1 for "no atrous".
      style: of its convolutions.
    """

    width: float = 1.0
    pool5_stride: int = 1
    fc6_dilation: int = 6
    style: Style = Style()

    @nn.compact
    def __call__(self, images: FeatureMap, *, train: bool) -> Mapping[str, FeatureMap]:
        """Returns the feature maps that can be sources, after their ReLU, by Caffe's names."""
        features = {}
        x = images
        for stage, convolutions, channels in STAGES:
            for i in range(1, convolutions + 1):
                name = f"conv{stage}_{i}"
                channels_here = scale_channels(channels, self.width)
                x = ConvLayer(channels_here, style=self.style, name=name)(x, train=train)
            features[name] = x
            if stage < 5 or self.pool5_stride == 2:
                x = max_pool(x, window=2, stride=2)
            else:
                x = max_pool(x, window=3, stride=1, padding=1)
        channels = scale_channels(FC_CHANNELS, self.width)
        x = ConvLayer(channels, dilation=self.fc6_dilation, style=self.style, name="fc6")(
            x, train=train
        )
        features["fc7"] = ConvLayer(channels, kernel=1, style=self.style, name="fc7")(
            x, train=train
        )
        return features
