"""SSD: a backbone, extra feature layers, and a head on every source (SSD, figure 2)."""

from collections.abc import Sequence

import jax.numpy as jnp
from flax import linen as nn

from ssd_jax.models.heads import MultiboxHead
from ssd_jax.models.layers import FeatureMap, Style
from ssd_jax.models.prediction_module import PredictionModule
from ssd_jax.models.source_maps import SourceMaps
from ssd_jax.types import Predictions


class SSD(nn.Module):
    """The network of SSD, MobileNet-SSD and SSDLite: any backbone that returns named maps.

    Attributes:
      maps: what the heads read; its parameters stand beside theirs in the tree.
      boxes_per_cell: of every map, in order.
      num_classes: C, background included.
      head_kernels: side of each head's convolutions, pixels.
      separable: SSDLite's heads: depthwise and 1x1 in place of a convolution.
      prediction_module, prediction_kernel: before every head (DSSD); see `PredictionModule`.
      width: of the prediction modules.
      style: of the prediction modules, and its dtype of the heads, which have no BatchNorm.
    """

    maps: SourceMaps
    boxes_per_cell: tuple[int, ...]
    num_classes: int
    head_kernels: tuple[int, ...]
    separable: bool = False
    prediction_module: str = "a"
    prediction_kernel: int = 3
    width: float = 1.0
    style: Style = Style()

    @nn.compact
    def __call__(self, images: FeatureMap, *, train: bool) -> Predictions:
        """Returns the predictions for every anchor: map by map, each in rows, columns, boxes."""
        nn.share_scope(self, self.maps)
        maps = self.decode(self.maps(images, train=train), train=train)
        each = []
        cells = zip(maps, self.boxes_per_cell, self.head_kernels, strict=True)
        for i, (x, k, kernel) in enumerate(cells, start=1):
            module = PredictionModule(
                self.prediction_module,
                self.prediction_kernel,
                self.width,
                self.style,
                name=f"prediction{i}",
            )
            head = MultiboxHead(
                k, self.num_classes, kernel, self.separable, self.style, name=f"head{i}"
            )
            each.append(head(module(x, train=train), train=train))
        offsets, logits = zip(*each, strict=True)
        return Predictions(jnp.concatenate(offsets, axis=1), jnp.concatenate(logits, axis=1))

    def decode(self, maps: Sequence[FeatureMap], *, train: bool) -> Sequence[FeatureMap]:
        """Returns what the heads read: here the maps themselves."""
        del train
        return maps
