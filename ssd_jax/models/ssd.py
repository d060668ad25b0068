"""SSD: a backbone, extra feature layers, and a head on every source (SSD, figure 2)."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from ssd_jax.models.heads import MultiboxHead
from ssd_jax.models.layers import ConvReLU, FeatureMap, L2Norm, scale_channels
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


class SSD(nn.Module):
    """The network of SSD300 and SSD512, for any backbone that returns named feature maps.

    Attributes:
      backbone: called as `backbone(images, train=...)`; its last feature map feeds the extras.
      sources: names of its maps that get a head, finest first.
      extras: the layers after the backbone; each gets a head.
      boxes_per_cell: of every source and extra, in order.
      num_classes: C, background included.
      l2_norm: initial scale of the L2Norm on each source that has one.
      width, batch_norm, freeze_batch_norm, dtype: of the extras.
    """

    backbone: nn.Module
    sources: tuple[str, ...]
    extras: tuple[ExtraLayer, ...]
    boxes_per_cell: tuple[int, ...]
    num_classes: int
    l2_norm: Mapping[str, float]
    width: float = 1.0
    batch_norm: bool = False
    freeze_batch_norm: bool = False
    dtype: Any = jnp.float32

    def setup(self) -> None:
        """Declares the layers, so that `feature_maps` and `__call__` share them."""
        common = {
            "batch_norm": self.batch_norm,
            "freeze_batch_norm": self.freeze_batch_norm,
            "dtype": self.dtype,
        }
        self.norms = {
            name: L2Norm(scale, name=f"{name}_norm") for name, scale in self.l2_norm.items()
        }
        self.extra_layers = [
            (
                ConvReLU(
                    scale_channels(squeeze, self.width),
                    kernel=1,
                    padding=0,
                    name=f"extra{i}_1",
                    **common,
                ),
                ConvReLU(
                    scale_channels(channels, self.width),
                    kernel=kernel,
                    stride=stride,
                    padding=padding,
                    name=f"extra{i}_2",
                    **common,
                ),
            )
            for i, (squeeze, channels, kernel, stride, padding) in enumerate(self.extras, start=1)
        ]
        self.heads = [
            MultiboxHead(k, self.num_classes, dtype=self.dtype, name=f"head{i}")
            for i, k in enumerate(self.boxes_per_cell, start=1)
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
        for squeeze, expand in self.extra_layers:
            x = expand(squeeze(x, train=train), train=train)
            maps.append(x)
        return maps

    def __call__(self, images: FeatureMap, *, train: bool) -> Predictions:
        """Returns the predictions for every anchor: map by map, each in rows, columns, boxes."""
        maps = self.feature_maps(images, train=train)
        each = [head(x) for head, x in zip(self.heads, maps, strict=True)]
        offsets, logits = zip(*each, strict=True)
        return Predictions(jnp.concatenate(offsets, axis=1), jnp.concatenate(logits, axis=1))
