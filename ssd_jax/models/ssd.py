"""SSD's network: sources, a neck, and a head on every map (SSD, figure 2; DSSD, figure 1)."""

from flax import linen as nn

from ssd_jax.models.depthwise import FeatureMap
from ssd_jax.models.heads import Heads
from ssd_jax.models.style import Style
from ssd_jax.types import Predictions


class SSDModule(nn.Module):
    """The network of SSD, MobileNet-SSD, SSDLite and DSSD.

    The parameters of `maps` and of `neck` stand beside the heads' in the tree.
    """

    maps: nn.Module  # images -> maps; this field's name is part of the backbone's random keys
    neck: nn.Module  # maps -> the maps that the heads read
    heads: Heads
    boxes_per_cell: tuple[int, ...]  # of every map, in order
    num_classes: int  # C, background included
    style: Style  # of the prediction modules; the heads take its dtype

    @nn.compact
    def __call__(self, images: FeatureMap, *, train: bool) -> Predictions:
        """Returns the predictions for every anchor: map by map, each in rows, columns, boxes."""
        nn.share_scope(self, self.maps)
        nn.share_scope(self, self.neck)
        maps = self.neck(self.maps(images, train=train), train=train)
        maps = self.heads.before(maps, "prediction", self.style, train)
        return self.heads.predict(maps, self.boxes_per_cell, self.num_classes, self.style, train)
