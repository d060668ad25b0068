"""SSD's network: sources, a neck, and a head on every map (SSD, figure 2; DSSD, figure 1)."""

import jax.numpy as jnp
from flax import linen as nn

from ssd_jax.models.depthwise import FeatureMap
from ssd_jax.models.heads import Heads, MultiboxHead
from ssd_jax.models.style import Style
from ssd_jax.types import Predictions


class SSDModule(nn.Module):
    """The network of SSD, MobileNet-SSD, SSDLite and DSSD.

    Attributes:
        maps: images -> the maps of the sources; its parameters stand beside the heads' in the tree.
        neck: maps -> the maps that the heads read; its parameters stand there, too.
        heads: the settings of the heads.
        boxes_per_cell: the default boxes in a cell of every map, in order.
        num_classes: C, background included.
        style: the style of the prediction modules; the heads take its dtype.
    """

    maps: nn.Module  # its name is part of the random keys of the backbone
    neck: nn.Module
    heads: Heads
    boxes_per_cell: tuple[int, ...]
    num_classes: int
    style: Style

    @nn.compact
    def __call__(self, images: FeatureMap, *, train: bool) -> Predictions:
        """Returns the predictions for every anchor: map by map, each in rows, columns, boxes."""
        nn.share_scope(self, self.maps)
        nn.share_scope(self, self.neck)
        maps = self.neck(self.maps(images, train=train), train=train)
        maps = self.heads.before(maps, "prediction", self.style, train)
        kernels = self.heads.kernels_of(len(maps))
        each = []
        for i, (x, k) in enumerate(zip(maps, self.boxes_per_cell, strict=True)):
            head = MultiboxHead(
                k,
                self.num_classes,
                kernels[i],
                self.heads.separable,
                self.style,
                name=f"head{i + 1}",
            )
            each.append(head(x, train=train))
        offsets, logits = zip(*each, strict=True)
        return Predictions(jnp.concatenate(offsets, axis=1), jnp.concatenate(logits, axis=1))
