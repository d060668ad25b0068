"""MobileNetV1 and V2 without their classifiers, with every map that can be a source by name."""

from collections.abc import Mapping

from flax import linen as nn

from ssd_jax.models.layers import ConvLayer, FeatureMap, Style, scale_channels

# Channels and stride of conv1 .. conv13, each a depthwise and a 1x1 convolution
# (MobileNets, table 1).
V1_LAYERS = (
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (1024, 2),
    (1024, 1),
)
V1_FEATURES = tuple(f"conv{i}" for i in range(len(V1_LAYERS) + 1))

# Expansion, channels, repetitions, stride of the first (MobileNetV2, table 2).
V2_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
V2_LAST_CHANNELS = 1280
V2_NUM_BLOCKS = sum(repetitions for _, _, repetitions, _ in V2_STAGES)
V2_FEATURES = (
    "conv0",
    *(f"block{i}" for i in range(1, V2_NUM_BLOCKS + 1)),
    # A block's expanded map, before its depthwise convolution; SSDLite reads block14's.
    *(f"block{i}_expand" for i in range(2, V2_NUM_BLOCKS + 1)),
    "conv18",
)


class MobileNetV1(nn.Module):
    """The backbone of MobileNet-SSD, which reads conv11 (stride 16) and conv13 (stride 32).

    Attributes:
      width: multiplies every channel count.
      depth: the last layer that is built, by its name in V1_FEATURES.
      style: of its convolutions; released with BatchNorm and plain ReLU.
    """

    width: float = 1.0
    depth: str = V1_FEATURES[-1]
    style: Style = Style(batch_norm=True)

    @nn.compact
    def __call__(self, images: FeatureMap, *, train: bool) -> Mapping[str, FeatureMap]:
        """Returns the map after every layer, `conv0` to `depth`."""
        channels = scale_channels(32, self.width)
        x = ConvLayer(channels, stride=2, style=self.style, name="conv0")(images, train=train)
        features = {"conv0": x}
        for name, (channels, stride) in zip(V1_FEATURES[1:], V1_LAYERS, strict=True):
            if self.depth in features:
                break
            channels = scale_channels(channels, self.width)
            depthwise = ConvLayer(
                stride=stride, depthwise=True, style=self.style, name=f"{name}_depthwise"
            )
            pointwise = ConvLayer(channels, kernel=1, style=self.style, name=f"{name}_pointwise")
            x = features[name] = pointwise(depthwise(x, train=train), train=train)
        return features


class MobileNetV2(nn.Module):
    """The backbone of SSDLite, which reads block14's expansion (stride 16) and conv18 (32).

    Attributes:
      width: multiplies every channel count; conv18 is never narrower than released.
      style: of its convolutions; released with BatchNorm and ReLU6.
    """

    width: float = 1.0
    style: Style = Style(batch_norm=True, relu6=True)

    @nn.compact
    def __call__(self, images: FeatureMap, *, train: bool) -> Mapping[str, FeatureMap]:
        """Returns every map in V2_FEATURES, the deepest last."""
        style = self.style
        channels = scale_channels(32, self.width)
        x = ConvLayer(channels, stride=2, style=style, name="conv0")(images, train=train)
        features = {"conv0": x}
        number = 0
        for expansion, stage_channels, repetitions, first_stride in V2_STAGES:
            channels = scale_channels(stage_channels, self.width)
            for repetition in range(repetitions):
                number += 1
                name = f"block{number}"
                stride = first_stride if repetition == 0 else 1
                y = x
                if expansion > 1:
                    wide = x.shape[-1] * expansion
                    y = ConvLayer(wide, kernel=1, style=style, name=f"{name}_expand")(
                        y, train=train
                    )
                    features[f"{name}_expand"] = y
                y = ConvLayer(stride=stride, depthwise=True, style=style, name=f"{name}_depthwise")(
                    y, train=train
                )
                # The bottleneck is linear: an activation would lose what few channels hold.
                y = ConvLayer(
                    channels, kernel=1, activation=False, style=style, name=f"{name}_project"
                )(y, train=train)
                x = x + y if x.shape == y.shape and stride == 1 else y
                features[name] = x
        last = max(V2_LAST_CHANNELS, scale_channels(V2_LAST_CHANNELS, self.width))
        features["conv18"] = ConvLayer(last, kernel=1, style=style, name="conv18")(x, train=train)
        return features
