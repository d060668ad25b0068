"""What every system reads its predictions off: maps of a backbone and of the layers after it."""

import dataclasses
from collections.abc import Mapping

from flax import linen as nn

from ssd_jax.models.layers import (
    ADDED_DEVIATION,
    ConvLayer,
    FeatureMap,
    L2Norm,
    Style,
    scale_channels,
)
from ssd_jax.models.resnet import Bottleneck

ExtraLayer = tuple[int, int, int, int, int]

# (1x1 channels, 3x3 channels, kernel, stride, padding) of conv8 and on, as released.
SSD300_EXTRAS: tuple[ExtraLayer, ...] = (
    (256, 512, 3, 2, 1),
    (128, 256, 3, 2, 1),
    (128, 256, 3, 1, 0),
    (128, 256, 3, 1, 0),
)
SSD512_EXTRAS: tuple[ExtraLayer, ...] = (
    (256, 512, 3, 2, 1),
    (128, 256, 3, 2, 1),
    (128, 256, 3, 2, 1),
    (128, 256, 3, 2, 1),
    (128, 256, 4, 1, 1),
)
# conv14 and on of MobileNet-SSD.
MOBILENET_EXTRAS: tuple[ExtraLayer, ...] = (
    (256, 512, 3, 2, 1),
    (128, 256, 3, 2, 1),
    (128, 256, 3, 2, 1),
    (64, 128, 3, 2, 1),
)
# conv6_1 and conv6_2 of RefineDet's VGG16.
REFINEDET_VGG16_EXTRAS: tuple[ExtraLayer, ...] = ((256, 512, 3, 2, 1),)
# Bottlenecks after ResNet-101: channels of the inner and of the last convolutions; the first ones'
# window. RefineDet's res6, and DSSD's res6 and on.
RES6: tuple[ExtraLayer, ...] = ((256, 1024, 2, 2, 0),)
DSSD321_EXTRAS: tuple[ExtraLayer, ...] = (*RES6 * 2, *((256, 1024, 3, 1, 0),) * 2)
DSSD513_EXTRAS: tuple[ExtraLayer, ...] = RES6 * 5

EXTRA_FORMS = ("plain", "separable", "bottleneck")


class SourceMaps(nn.Module):
    """A backbone's named maps and one more for each extra layer.

    Attributes:
      backbone: called as `backbone(images, train=...)`; its last feature map feeds the extras.
      sources: names of its maps, finest first.
      extras: the layers after the backbone; each gives a map.
      l2_norm: initial scale of the L2Norm on each source that has one.
      form: of the extras, one of EXTRA_FORMS.
      width, style: of the extras.
    """

    backbone: nn.Module
    sources: tuple[str, ...]
    extras: tuple[ExtraLayer, ...] = ()
    l2_norm: Mapping[str, float] = nn.FrozenDict()
    form: str = "plain"
    width: float = 1.0
    style: Style = Style()

    @nn.compact
    def __call__(self, images: FeatureMap, *, train: bool) -> list[FeatureMap]:
        """Returns the maps that the heads read, finest first.

        Args:
          images: float [B, H, W, 3], normalised as the backbone expects.
          train: use and update the batch's own statistics in BatchNorm.
        """
        features = self.backbone(images, train=train)
        maps = []
        for name in self.sources:
            scale = self.l2_norm.get(name)
            x = features[name]
            maps.append(x if scale is None else L2Norm(scale, name=f"{name}_norm")(x))
        x = list(features.values())[-1]
        for i, shape in enumerate(self.extras, start=1):
            layer = ExtraLayers(shape, self.form, self.width, self.style, name=f"extra{i}")
            x = layer(x, train=train)
            maps.append(x)
        return maps


class ExtraLayers(nn.Module):
    """One step below the backbone: narrow, then wider convolutions that shrink the map.

    Attributes:
      shape: channels of the two, and kernel, stride, padding of the one that shrinks.
      form: "plain": 1x1, then a convolution that shrinks (SSD). "separable": the second as a
        depthwise and a 1x1 convolution (SSDLite). "bottleneck": a residual block that shrinks at
        its entrance (DSSD, RefineDet on ResNet-101).
      width, style: of all.
    """

    shape: ExtraLayer
    form: str
    width: float
    style: Style

    @nn.compact
    def __call__(self, x: FeatureMap, *, train: bool) -> FeatureMap:
        """Returns the smaller map."""
        squeeze, channels, kernel, stride, padding = self.shape
        squeeze, channels = (scale_channels(n, self.width) for n in (squeeze, channels))
        window = {"kernel": kernel, "stride": stride, "padding": padding}
        if self.form == "bottleneck":
            style = dataclasses.replace(self.style, initial_deviation=ADDED_DEVIATION)
            return Bottleneck(squeeze, channels, style, name="block", **window)(x, train=train)
        x = ConvLayer(squeeze, kernel=1, style=self.style, name="squeeze")(x, train=train)
        if self.form == "plain":
            return ConvLayer(channels, style=self.style, name="expand", **window)(x, train=train)
        x = ConvLayer(depthwise=True, style=self.style, name="depthwise", **window)(x, train=train)
        return ConvLayer(channels, kernel=1, style=self.style, name="expand")(x, train=train)
