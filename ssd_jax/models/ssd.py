"""SSD: a backbone, extra feature layers, and a head on every source (SSD, figure 2)."""

from collections.abc import Mapping

import jax.numpy as jnp
from flax import linen as nn

from ssd_jax.models.heads import MultiboxHead
from ssd_jax.models.layers import ConvLayer, FeatureMap, L2Norm, Style, scale_channels
from ssd_jax.types import Predictions

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


class SSD(nn.Module):
    """The network of SSD, MobileNet-SSD and SSDLite: any backbone that returns named maps.

    Attributes:
      backbone: called as `backbone(images, train=...)`; its last feature map feeds the extras.
      sources: names of its maps that get a head, finest first.
      extras: the layers after the backbone; each gets a head.
      boxes_per_cell: of every source and extra, in order.
      num_classes: C, background included.
      l2_norm: initial scale of the L2Norm on each source that has one.
      head_kernels: side of each head's convolutions, pixels.
      separable: SSDLite's extras and heads: depthwise and 1x1 in place of a convolution.
      width, style: of the extras; the heads have no BatchNorm but the style's dtype.
    """

    backbone: nn.Module
    sources: tuple[str, ...]
    extras: tuple[ExtraLayer, ...]
    boxes_per_cell: tuple[int, ...]
    num_classes: int
    l2_norm: Mapping[str, float]
    head_kernels: tuple[int, ...]
    separable: bool = False
    width: float = 1.0
    style: Style = Style()

    def setup(self) -> None:
        """Declares the layers, so that `feature_maps` and `__call__` share them."""
        self.norms = {
            name: L2Norm(scale, name=f"{name}_norm") for name, scale in self.l2_norm.items()
        }
        self.extra_layers = [
            ExtraLayers(layer, self.separable, self.width, self.style, name=f"extra{i}")
            for i, layer in enumerate(self.extras, start=1)
        ]
        self.heads = [
            MultiboxHead(k, self.num_classes, kernel, self.separable, self.style, name=f"head{i}")
            for i, (k, kernel) in enumerate(
                zip(self.boxes_per_cell, self.head_kernels, strict=True), start=1
            )
        ]

    def feature_maps(self, images: FeatureMap, *, train: bool) -> list[FeatureMap]:
        """Returns the maps that the heads read, finest first.

        Args:
          images: float [B, H, W, 3], normalised as the backbone expects.
          train: use and update the batch's own statistics in BatchNorm.
        """
        features = self.backbone(images, train=train)
        maps = [
            self.norms[name](features[name]) if name in self.norms else features[name]
            for name in self.sources
        ]
        x = list(features.values())[-1]
        for layer in self.extra_layers:
            x = layer(x, train=train)
            maps.append(x)
        return maps

    def __call__(self, images: FeatureMap, *, train: bool) -> Predictions:
        """Returns the predictions for every anchor: map by map, each in rows, columns, boxes."""
        maps = self.feature_maps(images, train=train)
        each = [head(x, train=train) for head, x in zip(self.heads, maps, strict=True)]
        offsets, logits = zip(*each, strict=True)
        return Predictions(jnp.concatenate(offsets, axis=1), jnp.concatenate(logits, axis=1))


class ExtraLayers(nn.Module):
    """One step below the backbone: a 1x1 convolution, then a wider one that shrinks the map.

    Attributes:
      shape: channels of the two, and kernel, stride, padding of the second.
      separable: the second as a depthwise and a 1x1 convolution.
      width, style: of both.
    """

    shape: ExtraLayer
    separable: bool
    width: float
    style: Style

    @nn.compact
    def __call__(self, x: FeatureMap, *, train: bool) -> FeatureMap:
        """Returns the smaller map."""
        squeeze, channels, kernel, stride, padding = self.shape
        squeeze, channels = (scale_channels(n, self.width) for n in (squeeze, channels))
        window = {"kernel": kernel, "stride": stride, "padding": padding, "style": self.style}
        x = ConvLayer(squeeze, kernel=1, style=self.style, name="squeeze")(x, train=train)
        if not self.separable:
            return ConvLayer(channels, name="expand", **window)(x, train=train)
        x = ConvLayer(depthwise=True, name="depthwise", **window)(x, train=train)
        return ConvLayer(channels, kernel=1, style=self.style, name="expand")(x, train=train)
