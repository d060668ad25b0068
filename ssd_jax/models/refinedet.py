"""RefineDet: anchors are refined on the maps of the backbone, then classified on richer ones.

Zhang et al., "Single-Shot Refinement Neural Network for Object Detection", figure 1.
"""

from collections.abc import Sequence

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from ssd_jax.models.heads import MultiboxHead, read_boxes
from ssd_jax.models.layers import FeatureMap, Style, scale_channels
from ssd_jax.models.prediction_module import PredictionModule
from ssd_jax.models.source_maps import SourceMaps
from ssd_jax.models.transfer_connection import TransferConnection
from ssd_jax.types import RefinedPredictions


class RefineDet(nn.Module):
    """The network of RefineDet, on any backbone.

    Attributes:
      maps: of the anchor refinement module (ARM); their parameters stand beside the heads'.
      boxes_per_cell: of every map, in order.
      num_classes: C, background included.
      head_kernels: side of each head's convolutions, pixels.
      cascade: the ARM moves the anchors.
      negative_filtering: the ARM says which anchors hold no object. Without it and the cascade
        there is no ARM.
      transfer_connections: the detection module (ODM) reads transfer connection blocks; otherwise
        the ARM's maps.
      prediction_module, prediction_kernel: before every head; see `PredictionModule`. Released with
        "c" on ResNet-101.
      channels: of the transfer connections.
      width, style: of all but the heads, which have no BatchNorm but its dtype.
    """

    maps: SourceMaps
    boxes_per_cell: tuple[int, ...]
    num_classes: int
    head_kernels: tuple[int, ...]
    cascade: bool = True
    negative_filtering: bool = True
    transfer_connections: bool = True
    prediction_module: str = "a"
    prediction_kernel: int = 3
    channels: int = 256
    width: float = 1.0
    style: Style = Style()

    @nn.compact
    def __call__(self, images: FeatureMap, *, train: bool) -> RefinedPredictions:
        """Returns the predictions for every anchor: map by map, each in rows, columns, boxes."""
        nn.share_scope(self, self.maps)
        maps = self.maps(images, train=train)
        arm = self._before_heads("arm", maps, train)
        arm_offsets = self._refine("offsets", arm, 4) if self.cascade else None
        arm_logits = self._refine("logits", arm, 2) if self.negative_filtering else None

        odm = self._transfer(maps, train) if self.transfer_connections else maps
        odm = self._before_heads("odm", odm, train)
        each = [
            MultiboxHead(k, self.num_classes, kernel, style=self.style, name=f"head{i}")(
                x, train=train
            )
            for i, (x, k, kernel) in enumerate(
                zip(odm, self.boxes_per_cell, self.head_kernels, strict=True), start=1
            )
        ]
        offsets, logits = (jnp.concatenate(part, axis=1) for part in zip(*each, strict=True))
        return RefinedPredictions(arm_offsets, arm_logits, offsets, logits)

    def _refine(
        self, name: str, maps: Sequence[FeatureMap], values: int
    ) -> Float[Array, "B A values"]:
        cells = zip(maps, self.boxes_per_cell, self.head_kernels, strict=True)
        return jnp.concatenate(
            [
                read_boxes(x, k, values, kernel, self.style, f"arm{i}_{name}")
                for i, (x, k, kernel) in enumerate(cells, start=1)
            ],
            axis=1,
        )

    def _transfer(self, maps: Sequence[FeatureMap], train: bool) -> list[FeatureMap]:
        """Returns the transfer connections' maps, built from the deepest one up."""
        channels = scale_channels(self.channels, self.width)
        results, deeper = [], None
        for i in range(len(maps), 0, -1):
            block = TransferConnection(channels, self.style, name=f"tcb{i}")
            deeper = block(maps[i - 1], deeper, train=train)
            results.insert(0, deeper)
        return results

    def _before_heads(self, name: str, maps: Sequence[FeatureMap], train: bool) -> list[FeatureMap]:
        form, kernel = self.prediction_module, self.prediction_kernel
        return [
            PredictionModule(form, kernel, self.width, self.style, name=f"{name}_pm{i}")(
                x, train=train
            )
            for i, x in enumerate(maps, start=1)
        ]
